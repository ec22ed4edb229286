"""FT-L (L-infinity): fine-tune on the edit with every weight kept within a bound of what it was."""
