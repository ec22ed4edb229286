"""One file, or folder, for each family of backbones."""
