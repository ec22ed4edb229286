"""WISE: a side memory for one linear map of the language model, and a router by activation."""
