"""A lock that a file stands for: held by one process at a time, and gone with it, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path


class Held(Exception):
    """Another process holds the lock."""


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Inside, no other process is inside with the same `path`, whose folder has to be there.

    The file is made, and goes at the end; one that a killed process left is no hindrance. On a file system that knows
    no locks, which is said once on the standard error, all may be inside. Raises `Held` where another process is.
    """
    file = _open(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(file)


def _open(path: Path) -> int:
    """A descriptor of the file at `path`, which holds its lock."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            os.close(file)
            raise Held(str(path)) from error
        except OSError as error:
            print(f"note: '{path.parent}' cannot be locked ({error.strerror}): one process at a time", file=sys.stderr)
            return file
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        os.close(file)  # whoever held it was done between the two calls, and took the file along
