"""MEND (Mitchell et al. 2022): small networks that turn the gradient of an edit into a better step."""
