"""A row: one probe under one protocol, as a run's `rows.jsonl` holds it. Nothing here needs torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import UnionType
from typing import Any, TypedDict, cast, get_args, get_origin, get_type_hints

from fgvedit.probes import kind_of
from fgvedit.util.errors import FGVEditError


class Row(TypedDict):
    """What was asked, what came of it, and why.

    `group`: the record's, see `fgvedit.schema.Record`.
    `kind`: of the probe; "edit" for the edit's own question. `probe`: its index within the record; -1 for the edit.
    `before`, `after`: the model's answers as text. `expected`: the right answer; None where it is the one before.
    `answer`: the probe's. `score`: 0 to 1. `rho`, `stored_edit`, `route`: see `fgvedit.editors.contract.Route`.
    `edits`: how many were in force. `age`: how many of them were made after the record's own ("edits since").
    """

    record_id: str
    image_id: str
    group: str
    protocol: str
    kind: str
    probe: int
    question: str
    before: str
    after: str
    expected: str | None
    answer: str
    score: float
    rho: float | None
    stored_edit: int | None
    route: str
    edits: int
    age: int


AnyRow = Mapping[str, Any]  # a `Row`, or what was read of one, of any format

MIXED_AWAY = 0.5  # from this rho on a mixed answer is no longer the base model's more than the second model's

LACKED = {1: ("edits", "age"), 2: ("group",)}  # format -> the columns that came with the next one


def completed(row: AnyRow) -> dict[str, Any]:
    """A row of any format with what it lacks: its edit was then alone in force, its record one of its image's group."""
    return {"group": row.get("image_id"), "edits": 1, "age": 0, **row}


def checked_row(value: Any, where: str) -> Row:
    """A row that was read, with what rows of older formats lacked.

    `where`: the file and line, for errors. Raises `FGVEditError`, naming the field, for a value of another type, an
    unknown kind and a score that is not from 0 to 1.
    """
    if not isinstance(value, dict):
        raise FGVEditError(f"{where}: found {type(value).__name__}, expected a row")
    row = completed(value)
    for name, types in _FIELDS.items():
        if name not in row or not _is(row[name], types):
            found = repr(row[name])[:80] if name in row else "none"
            raise FGVEditError(f"{where}: {name}: found {found}, expected {_named(types)}")
    try:
        kind_of(row["kind"])
    except FGVEditError as error:
        raise FGVEditError(f"{where}: kind: {error}") from error
    if not (math.isfinite(row["score"]) and 0 <= row["score"] <= 1):
        raise FGVEditError(f"{where}: score: found {row['score']}, expected 0 to 1")
    return cast(Row, row)


def group_of(row: AnyRow) -> str:
    """The group of the row's record, in a row of any format."""
    return row["group"] if "group" in row else row["image_id"]


def edits_of(row: AnyRow) -> int:
    """How many edits were in force, in a row of any format."""
    return row.get("edits", 1)


def edits_since(row: AnyRow) -> int:
    """How many edits were made after the record's own, in a row of any format."""
    return row.get("age", 0)


def away(row: AnyRow) -> bool:
    """Whether the router sent the row's query away from the base model: by its route; a mixed answer is the base
    model's below a rho of `MIXED_AWAY`."""
    return (row["rho"] or 0) >= MIXED_AWAY if row["route"] == "mixed" else row["route"] != "base"


def _types_of(hint: Any) -> tuple[type, ...]:
    types = get_args(hint) if get_origin(hint) is UnionType else (hint,)
    return (*types, int) if float in types else types


_FIELDS = {name: _types_of(hint) for name, hint in get_type_hints(Row).items()}


def _is(value: Any, types: tuple[type, ...]) -> bool:
    return isinstance(value, types) and not isinstance(value, bool)


def _named(types: tuple[type, ...]) -> str:
    names = {str: "text", int: "a whole number", float: "a number"}
    return " or ".join(names.get(one, "null") for one in types if one is not int or float not in types)
