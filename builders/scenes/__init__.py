"""Rendered scenes of several entities, with edits and probes whose right answers are known by construction."""
