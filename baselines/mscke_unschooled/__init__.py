"""MSCKE on an encoder that cannot ground a name: what its classifier gains from one that can."""
