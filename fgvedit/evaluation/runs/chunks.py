"""The chunks of a run: finished rows, and what they cost, kept until all are there."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fgvedit.evaluation.rows import Row
from fgvedit.evaluation.runs.plan import Plan
from fgvedit.util.files import write_text


@dataclass
class Chunk:
    """The rows and attention maps of a chunk's records, and what they cost: seconds, images through the vision tower,
    bytes."""

    rows: list[Row]
    attention: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    edit_seconds: float = 0.0
    encoded_images: int = 0
    peak_memory: int = 0


def write_chunk(chunks: Path, number: int, chunk: Chunk) -> None:
    """Write a finished chunk into the folder `chunks`, whole or not at all."""
    write_text(chunks / f"{number:06}.json", json.dumps(vars(chunk), ensure_ascii=False))


def read_chunk(chunks: Path, plan: Plan, number: int, protocols: Sequence[str]) -> Chunk | None:
    """A finished chunk, or None where it has to be run (again)."""
    try:
        chunk = Chunk(**json.loads((chunks / f"{number:06}.json").read_text(encoding="utf-8")))
        found = [(row["record_id"], row["protocol"], row["edits"], row["probe"]) for row in chunk.rows]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
    return chunk if found == plan.keys(number, protocols) else None


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that PyTorch held on a CUDA device, elsewhere the most that the process held."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
