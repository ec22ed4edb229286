"""MSCKE (arXiv 2411.12790): a memory of edits, a multimodal scope classifier and a counterfactual model."""
