"""MSCKE-MEND: MSCKE's scope classifier; inside its scope the MEND-edited model answers."""
