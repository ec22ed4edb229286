"""Records and labels as reviewers and reports read them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema

from builders.validate.sources import Misfit, Source, misfits, rows_of
from fgvedit.errors import FGVEditError

LABELS = "labels.jsonl"
SCHEMA = json.loads((Path(__file__).parent / "labels.schema.json").read_text(encoding="utf-8"))
_LINE = jsonschema.Draft202012Validator(SCHEMA)


def rows(source: Source) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a data set, each with its split. Raises `FGVEditError` for one that has not the form of records."""
    for split, files in source.files.items():
        for file in files:
            faults: list[Misfit] = [fault for fault in misfits(file) if not fault.spare]
            for row in faults or rows_of(file):
                if isinstance(row, Misfit):
                    raise FGVEditError(f"data set '{source.name}', {row.record}: {row.detail}")
                yield split, row


def labels_of(source: Source) -> dict[str, dict[str, Any]]:
    """The lines of `labels.jsonl` beside a data set's files, by the record's id; none where there is no such file. Of a
    published configuration they stand in `labels/`, beside the folder `data/`."""
    folders = {file.parent for files in source.files.values() for file in files}
    places = [folder / LABELS for folder in folders]
    places += [
        folder.parents[1] / "labels" / f"{source.config}.jsonl" for folder in folders if folder.parent.name == "data"
    ]
    files = [place for place in sorted(places) if place.is_file()]
    return {name: line for file in files for name, line in read_labels(file).items()}


def read_labels(path: Path) -> dict[str, dict[str, Any]]:
    """The lines of a file of labels, by the record's id: `labels.schema.json` says what a line holds.

    Raises `FGVEditError`, naming the file and the line, for one of another form or a second one of the same record.
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
            if line["id"] in found:
                raise FGVEditError(f"'{path}', line {number}: found record '{line['id']}' again, expected it once")
            found[line["id"]] = line
    return found
