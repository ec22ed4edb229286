"""IKE: the edit stands in the prompt, behind demonstrations of similar edits."""
