"""Result files side by side. Reads what `fgvedit.run` wrote and needs no torch."""
