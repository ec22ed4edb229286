"""Sequential editing: which records are edited one on top of the other, and when their probes are asked. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fgvedit.util.errors import FGVEditError


class EvaluationPoint(NamedTuple):
    """When the probes of a record are asked. `record`: its index in its sequence; `edits`: how many are in force;
    `edits_since`: how many of them were made after the record's own."""

    record: int
    edits: int
    edits_since: int


def sequences(groups: Sequence[str], edits: int) -> list[list[int]]:
    """The records of each sequence of `edits` edits, by their indices. `groups`: that of each record.

    The first record of each group, in their order, `edits` at a time; what is left over at the end is left out. No
    group is edited twice: a second edit may rightly change what the probes of the first one ask.
    Raises `FGVEditError` for fewer than two edits, and where there is not one whole sequence.
    """
    if edits < 2:
        raise FGVEditError(f"--sequence is {edits}; expected 2 or more edits, or no --sequence for one by one")
    first: dict[str, int] = {}
    for index, group in enumerate(groups):
        first.setdefault(group, index)
    if len(first) < edits:
        raise FGVEditError(
            f"--sequence is {edits}, but the {len(groups)} records are of {len(first)} different groups; expected a "
            f"group for each edit: --sequence {max(len(first), 2)} or less, or more records"
        )
    indices = list(first.values())
    return [indices[start : start + edits] for start in range(0, len(indices) - edits + 1, edits)]


def evaluation_points(edits: int) -> list[EvaluationPoint]:
    """When the probes of a sequence of so many records are asked, in order: each record's right after its own edit,
    then once more after all; the last one's are asked once."""
    after_own = [EvaluationPoint(index, index + 1, 0) for index in range(edits)]
    return after_own + [EvaluationPoint(index, edits, edits - 1 - index) for index in range(edits - 1)]
