"""SERAC: MSCKE's memory, routing and counterfactual model, behind a scope classifier that reads text alone."""
