"""The processes that share a run, under `accelerate launch` or `torchrun`. Where there is one, nothing is set up."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TypeVar

import torch

Value = TypeVar("Value")


def is_main_process() -> bool:
    """Whether this is the only process of the run, or the first of them."""
    return os.environ.get("RANK", "0") == "0"


def share() -> tuple[int, int]:
    """Which of the processes this is, counted from 0, and how many there are."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def join(device: torch.device) -> None:
    """Make the processes that share a run known to each other; each computes on a device of this type."""
    if share()[1] > 1:
        from accelerate import PartialState

        # Shares of the work may differ by more than the usual half hour.
        PartialState(cpu=device.type == "cpu", timeout=timedelta(days=7))


def wait() -> None:
    """Return when every process has called this."""
    if share()[1] > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


def from_the_first(value: Value) -> Value:
    """What the first process calls this with, in each of them."""
    if share()[1] == 1:
        return value
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0]
