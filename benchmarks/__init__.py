"""What editing costs at the paper's size. Not part of the package: run from the root of a checkout."""
