"""A data set as a repository for the Hugging Face hub: files, card, Croissant metadata, checksums; and its upload."""
