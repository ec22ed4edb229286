"""Makes data: the embedded scenes and the tiny models trained on them."""
