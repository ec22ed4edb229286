"""Records and labels as reviewers and reports read them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema

from builders.sidecars import label_files
from builders.validate.sources import Misfit, misfits, rows_of
from fgvedit.dataset import Source
from fgvedit.schema import OPTIONAL
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import is_unicode

SCHEMA = json.loads((Path(__file__).parent / "labels.schema.json").read_text(encoding="utf-8"))
_LINE = jsonschema.Draft202012Validator(SCHEMA)


def rows(source: Source, split: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a data set, or of one split, each with its split and of a group: its image's where data have none.

    Raises `FGVEditError`, naming the record, for one that has not the form of records or has a field that is not text,
    and where some records alone have a group.
    """
    grouped: bool | None = None  # whether the first record says its group
    for name in source.files if split is None else [split]:
        for file in source.files[name]:
            faults: list[Misfit] = [fault for fault in misfits(file) if not fault.spare]
            for number, row in enumerate(faults or rows_of(file)):
                if isinstance(row, Misfit):
                    raise FGVEditError(f"data set '{source.name}', {row.record}: {row.detail}")
                where = f"data set '{source.name}', record '{row['id'] or f'{file.name}[{number}]'}'"
                for field, value in _texts(row):
                    if value is None or not is_unicode(value):
                        raise FGVEditError(f"{where}: {field}: found {value!r}, expected a text")
                grouped = "group" in row if grouped is None else grouped
                if ("group" in row) != grouped:
                    found, first = ("none", "one") if grouped else ("a group", "none")
                    raise FGVEditError(f"{where}: group: found {found}, expected {first} as in the first record")
                yield name, {"group": row["image_id"], **row}


def _texts(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What has to be text in a row of the right columns, by field; None in place of probes that are not there."""
    for name in ("id", "group", "image_id", "question", "answer", "target"):
        if name not in OPTIONAL or name in row:
            yield name, row[name]
    if row["probes"] is None:
        yield "probes", None
    for number, probe in enumerate(row["probes"] or ()):
        if probe is None:
            yield f"probes/{number}", None
        else:
            yield from ((f"probes/{number}/{name}", probe[name]) for name in ("kind", "question", "answer"))


def labels_of(source: Source) -> dict[str, dict[str, Any]]:
    """The lines of the files of labels of a data set, by the record's id; none where there are no such files."""
    return {name: line for file in label_files(source) for name, line in read_labels(file).items()}


def read_labels(path: Path) -> dict[str, dict[str, Any]]:
    """The lines of a file of labels, by the record's id: `labels.schema.json` says what a line holds.

    Raises `FGVEditError`, naming the file and the line, for one of another form, half a character in a text,
    or a second one of the same record.
    """
    found: dict[str, dict[str, Any]] = {}
    with open(path, encoding="utf-8") as lines:
        for number, text in enumerate(lines, 1):
            try:
                line = json.loads(text)
            except ValueError as error:
                raise FGVEditError(f"'{path}', line {number}: expected a label as JSON, found {error}") from error
            fault = jsonschema.exceptions.best_match(_LINE.iter_errors(line))
            if fault is not None:
                where = "/".join(map(str, fault.absolute_path)) or "the line"
                raise FGVEditError(f"'{path}', line {number}: {where}: {fault.message[:200]}")
            if not is_unicode(line):
                raise FGVEditError(f"'{path}', line {number}: found half a character in a text, expected whole ones")
            if line["id"] in found:
                raise FGVEditError(f"'{path}', line {number}: found record '{line['id']}' again, expected it once")
            found[line["id"]] = line
    return found
