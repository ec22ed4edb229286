"""Studies: several runs, compared and reported by one command (`python -m fgvedit.study`). One file a study."""
