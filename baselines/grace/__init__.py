"""GRACE: a codebook of activations in front of one linear map of the language model."""
