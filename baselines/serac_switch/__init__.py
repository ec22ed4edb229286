"""SERAC with MSCKE's training and switch: its routing and counterfactual model behind a classifier that reads text."""
