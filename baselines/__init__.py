"""Editors to compare with: plug-ins of `fgvedit`, one folder each."""
