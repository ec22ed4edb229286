"""Memory editors: stored edits, a scope classifier and a counterfactual model (MSCKE, SERAC)."""
