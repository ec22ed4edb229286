"""What a kill leaves: an act in a process of its own, which is killed before one of its changes to files."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

CHANGES = ("os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir")
WRITING = os.O_WRONLY | os.O_RDWR


def killed_before(change: int, act: Callable[[], object]) -> bool:
    """Run `act`, killed right before its change to files of this number, counted from 0; whether it makes so many.

    Where it does not, it has run to its end. What `act` prints or leaves in memory is gone.
    """
    child = os.fork()
    if child == 0:
        try:
            _kill_before(change)
            act()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "it failed by itself"
    return os.WIFSIGNALED(status)


def _kill_before(change: int) -> None:
    left = change

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in CHANGES or (event == "open" and arguments[2] & WRITING):
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(count)
