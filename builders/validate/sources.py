"""The rows of a data set, one after the other, from Parquet or JSON; and what has not their form."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import jsonschema
import pyarrow

from fgvedit.dataset import Source, locate, not_on_hub, parquet_file, parquet_source
from fgvedit.schema import OPTIONAL, features
from fgvedit.util.errors import FGVEditError, one_line, unknown
from fgvedit.util.files import is_unicode, read_json

NOT_RECORDS = ("labels", "dataset_info", "dataset_infos", "croissant")  # JSON that lies beside the data
ROWS_AT_ONCE = 16  # with their images in memory
_SCHEMA = json.loads((Path(__file__).parent / "record.schema.json").read_text(encoding="utf-8"))
_RECORD = jsonschema.Draft202012Validator(_SCHEMA)


@dataclass(frozen=True)
class Misfit:
    """A row, or a whole file, that has not the form of `fgvedit.schema`."""

    record: str
    detail: str
    spare: bool = False  # a column too many: the rows can be read all the same


def open_source(name: str, config: str | None = None, instead: str = "--config with one of them") -> Source:
    """The data set `name`: a configuration of the embedded data, a folder of Parquet (or of JSON or JSONL, a file or
    more a split) or a data set's id on the Hugging Face hub, which is fetched whole into the cache.

    `config`: which configuration of a folder or hub data set; None: its default one. `instead`: what is expected where
    it has several and no default one.
    Raises `FGVEditError` where there is none of these, or no such configuration.
    """
    folder, own = locate(name) or (_from_hub(name), None)
    if own is not None and config not in (None, own):
        raise unknown(f"configuration of data set '{name}'", str(config), [own])
    if own is not None or next(folder.rglob("*.parquet"), None) is not None:
        return parquet_source(name, folder, own or config, instead)
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".jsonl"))
    by_split: dict[str, list[Path]] = {}
    for file in files:
        if file.stem not in NOT_RECORDS:
            by_split.setdefault(re.sub(r"-\d+(-of-\d+)?$", "", file.stem), []).append(file)
    if not by_split:
        raise FGVEditError(
            f"data set '{name}': expected files of records (.parquet, .jsonl or .json) in folder '{folder}', found none"
        )
    if config is not None:
        raise FGVEditError(f"data set '{name}': found --config {config}; expected none, JSON files have one only")
    return Source(name, "default", by_split, folder)


def misfits(file: Path) -> list[Misfit]:
    """What is amiss with the columns of a Parquet file; none of a JSON file, whose rows are checked one by one."""
    if file.suffix != ".parquet":
        return []
    schema = parquet_file(file).schema_arrow
    # Without what `datasets` noted in the file, so that files written by other means are held to the same.
    found = datasets.Features.from_arrow_schema(schema.remove_metadata())
    expected = datasets.Features.from_arrow_schema(features().arrow_schema.remove_metadata())
    faults = []
    for column, kind in expected.items():
        if column not in found and column not in OPTIONAL:
            faults.append(Misfit(file.name, f"column '{column}' is missing; expected {', '.join(expected)}"))
        elif column in found and found[column] != kind:
            faults.append(Misfit(file.name, f"column '{column}' holds {found[column]}; expected {kind}"))
    spare = [column for column in found if column not in expected]
    return faults + [Misfit(file.name, f"column '{column}' is none of fgvedit.schema", True) for column in spare]


def rows_of(file: Path) -> Iterator[dict[str, Any] | Misfit]:
    """The rows of a file with their images as {"bytes", "path"}, and with those of the `OPTIONAL` columns that are
    there; in its place, a JSON row that has not their form.

    Raises `FGVEditError` for a file that is damaged.
    """
    if file.suffix == ".parquet":
        try:
            for batch in parquet_file(file).iter_batches(ROWS_AT_ONCE, columns=list(features())):
                yield from batch.to_pylist()
        except (pyarrow.ArrowException, OSError) as error:
            raise FGVEditError(f"data file '{file}' is damaged ({one_line(error)}); expected whole Parquet") from error
        return
    for where, row in _json_rows(file):
        fault = jsonschema.exceptions.best_match(_RECORD.iter_errors(row))
        if fault is not None:
            named = row.get("id") if isinstance(row, dict) else None
            field = "/".join(map(str, fault.absolute_path)) or "the record"
            yield Misfit(named if isinstance(named, str) else where, f"{field}: {_short(fault.message)}")
            continue
        for part in (row, *row["probes"]):
            part["image"] = _json_image(part.get("image"), file, where)
            part["image_id"] = part.get("image_id") or ""
        yield row


def _json_rows(file: Path) -> Iterator[tuple[str, Any]]:
    """Each row with where it stands. A `.json` file holds a list, and is read whole."""
    if file.suffix == ".json":
        rows = read_json(file)
        if not isinstance(rows, list):
            raise FGVEditError(f"'{file}': expected a list of records, found {type(rows).__name__}")
        for number, row in enumerate(rows):
            yield f"{file.name}[{number}]", row
        return
    with open(file, encoding="utf-8") as lines:
        number = 0
        try:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"{file.name}:{number}", json.loads(line)
        except ValueError as error:
            raise FGVEditError(f"'{file}', line {number}: expected a record as JSON, found {error}") from error


def _json_image(value: Any, file: Path, where: str) -> dict[str, Any] | None:
    """An image as it stands in JSON (a path, {"path"}, or {"bytes"} in base64), as Parquet has it."""
    if value is None:
        return None
    if isinstance(value, str):
        value = {"path": value}
    data, path = value.get("bytes"), value.get("path")
    if data is not None:
        try:
            return {"bytes": base64.b64decode(data, validate=True), "path": path}
        except ValueError as error:
            raise FGVEditError(f"'{file}', {where}: expected an image's bytes in base64, found {error}") from error
    if "\0" in path or not is_unicode(path):
        raise FGVEditError(f"'{file}', {where}: expected the path of an image, found {path!a}")
    return {"bytes": None, "path": str(file.parent / path)}


def _from_hub(name: str) -> Path:
    try:
        return Path(
            huggingface_hub.snapshot_download(
                name, repo_type="dataset", allow_patterns=["*.parquet", "*.json", "*.jsonl", "README.md"]
            )
        )
    except Exception as error:  # the hub's client raises many types: no network, no such data set, no permission
        raise not_on_hub(name, error) from error


def _short(text: str, most: int = 200) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
