"""What a file's content is called."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def content_hash(files: Iterable[Path]) -> str:
    """SHA-256 (64 hex digits) over the names and contents of `files`, in the order of their names.

    Where the files lie does not matter; what they are called within their folder does.
    """
    total = hashlib.sha256()
    for path in sorted(files, key=lambda path: (path.name, str(path))):
        content = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                content.update(chunk)
        total.update(f"{path.name}\0{content.hexdigest()}\n".encode())
    return total.hexdigest()
