"""The commands, one module each; `fgvedit/run.py` and its like are their doors."""
