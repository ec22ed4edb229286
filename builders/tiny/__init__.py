"""Trains the embedded backbone `tiny` (a small BLIP-2) and its CLIP, from nothing, on rendered scenes."""
