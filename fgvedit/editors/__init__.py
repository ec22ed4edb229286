"""How a model is edited: the contract of an editor, and what editors share."""
