"""A page on which anyone can edit a model and see what the edit did; needs the extra `demo`."""
