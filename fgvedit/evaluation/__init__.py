"""How an editor is scored: runs, protocols, metrics, and what any editor has to keep to."""
