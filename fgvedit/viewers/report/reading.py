"""A finished run, read and checked: its manifest, its rows and where its router looked."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgvedit.dataset import Loaded, load_records
from fgvedit.evaluation.rows import Row, checked_row
from fgvedit.schema import Record
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import read_json
from fgvedit.viewers.pages.fit import FITS

FORMATS = (1, 2)
MANIFEST: dict[str, tuple[type, ...]] = {
    "editor.name": (str,),
    "editor.config": (dict,),
    "backbone.name": (str,),
    "dataset.name": (str,),
    "dataset.split": (str,),
    "dataset.revision": (str,),
    "dataset.limit": (int, type(None)),
    "protocols": (list,),
    "sequence": (int, type(None)),
    "seed": (int,),
    "device": (str,),
    "dtype": (str,),
    "rows_sha256": (str,),
}


@dataclass(frozen=True)
class Run:
    """`rows`: every row, those of format 1 with what they lack; `looks`: record id -> its line of `looks.jsonl`."""

    folder: Path
    manifest: Mapping[str, Any]
    rows: list[Row]
    looks: dict[str, Mapping[str, Any]]

    @property
    def sequence(self) -> int | None:
        """How many edits were made one after the other; None where each was alone in force."""
        return self.manifest.get("sequence")

    def rows_of(self) -> dict[str, list[Row]]:
        """record id -> its rows, in their order."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row["record_id"], []).append(row)
        return found


def read_run(folder: Path) -> Run:
    """The finished run in `folder`. Raises `FGVEditError`, naming the file and the line or field, for a folder that
    holds none, a run that is not finished, and files that are damaged or not of one run."""
    if not folder.is_dir():
        raise FGVEditError(f"'{folder}': there is no such folder; expected one that python -m fgvedit.run made")
    path = folder / "result.json"
    if not path.is_file():
        raise _unfinished(folder)
    result = read_json(path)
    if not isinstance(result, dict) or result.get("format") not in FORMATS:
        found = result.get("format") if isinstance(result, dict) else type(result).__name__
        raise FGVEditError(f"'{path}': format: found {found!r}, expected one of {', '.join(map(str, FORMATS))}")
    manifest = result.get("manifest")
    for name, types in MANIFEST.items():
        value: Any = manifest
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if not _is(value, types):
            raise FGVEditError(f"'{path}': manifest.{name}: found {value!r}, expected {_named(types)}")
    rows = _read_rows(folder / "rows.jsonl", result["manifest"])
    return Run(folder, result["manifest"], rows, _read_looks(folder / "looks.jsonl"))


def _unfinished(folder: Path) -> FGVEditError:
    path = folder / "run.json"
    if not path.is_file():
        return FGVEditError(f"'{folder}' holds no run: expected result.json, found neither that nor run.json")
    run = read_json(path)
    try:
        editor, data = run["editor"], run["dataset"]
        registered = editor["class"].startswith(("fgvedit.", "baselines."))
        options = {
            "--editor": editor["name"] if registered else editor["class"],
            "--backbone": run["backbone"]["name"],
            "--dataset": data["name"],
            "--split": data["split"],
            "--limit": data["limit"],
            "--sequence": run.get("sequence"),
            "--protocol": ",".join(run["protocols"]),
            "--seed": run["seed"],
            "--out": folder,
        }
    except (KeyError, TypeError, AttributeError):
        return FGVEditError(f"'{path}' is damaged: expected the editor, the backbone and the data of a run")
    said = " ".join(f"{name} {shlex.quote(str(value))}" for name, value in options.items() if value is not None)
    return FGVEditError(
        f"the run in '{folder}' is not finished; what it was started with goes on (python -m fgvedit.run {said}, with "
        "--set, --checkpoint, --device and --dtype as they were then)"
    )


def _read_rows(path: Path, manifest: Mapping[str, Any]) -> list[Row]:
    """Rows whose text has the hash that the manifest says."""
    data = path.read_bytes() if path.is_file() else None
    if data is None:
        raise FGVEditError(f"'{path}' is missing; expected the rows of the run beside its result.json")
    rows = [checked_row(value, f"'{path}': line {number}") for number, value in _lines(path, data)]
    found = hashlib.sha256(data).hexdigest()
    if found != manifest["rows_sha256"]:
        raise FGVEditError(
            f"'{path}' holds other rows than result.json is of: each of its {len(rows):,} lines can be read, but their "
            f"SHA-256 is {found[:12]}…, expected {manifest['rows_sha256'][:12]}…"
        )
    if not rows:
        raise FGVEditError(f"'{path}' holds no row; expected at least one")
    return rows


def _lines(path: Path, data: bytes) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            yield number, json.loads(line.decode("utf-8"))
        except ValueError as error:
            raise FGVEditError(f"'{path}': line {number} is damaged: expected JSON, found {error}") from error


def _read_looks(path: Path) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for number, look in _lines(path, path.read_bytes()) if path.is_file() else ():
        where = f"'{path}': line {number}"
        try:
            rows, columns = look["grid"]
            maps = [look["edit"], *(one for one in look["probes"] if one is not None)]
            sizes = {len(base64.b64decode(one, validate=True)) for one in maps}
            fit = look.get("fit", FITS[0])
            found[look["record_id"]] = look
        except (KeyError, TypeError, ValueError) as error:
            raise FGVEditError(f"{where} is damaged: expected record_id, grid, edit and probes in base64") from error
        if sizes != {rows * columns}:
            raise FGVEditError(f"{where}: found maps of {sorted(sizes)} bytes, expected {rows} * {columns}")
        if fit not in FITS:
            raise FGVEditError(f"{where}: fit: found {str(fit)[:80]!r}, expected one of {', '.join(FITS)}")
    return found


def _is(value: Any, types: tuple[type, ...]) -> bool:
    return isinstance(value, types) and not (isinstance(value, bool) and bool not in types)


def _named(types: tuple[type, ...]) -> str:
    names = {str: "text", int: "a whole number", float: "a number", dict: "an object", list: "a list"}
    return " or ".join(names.get(one, "null") for one in types if one is not int or float not in types)


def data_of(run: Run, moved: str | None) -> Loaded:
    """The run's data, from where the manifest says or from where they were `moved`.

    Raises `FGVEditError` where they are not there or are not the ones that the run was made on.
    """
    data = run.manifest["dataset"]
    name = moved or data["name"]
    try:
        found = load_records(name, data["split"], data["limit"])
    except FGVEditError as error:
        if moved:
            raise
        raise FGVEditError(f"{error}; --dataset says where the run's data are now") from error
    if found.revision != data["revision"]:
        raise FGVEditError(
            f"data set '{name}' is of revision {found.revision[:12]}, the run in '{run.folder}' was made on "
            f"{data['revision'][:12]}; expected the same" + ("" if moved else ": --dataset says where that is now")
        )
    return found


def check_record(run: Run, record: Record, rows: list[Row]) -> None:
    """Raises `FGVEditError` where these are not the record's rows: one a question, protocol and moment."""
    asked = [(probe.kind, probe.question, probe.answer) for probe in record.asked]
    where = f"'{run.folder / 'rows.jsonl'}': record '{record.id}'"
    moments: dict[tuple[str, int], set[int]] = {}
    for row in rows:
        place = row["probe"] + 1
        if not 0 <= place < len(asked) or (row["kind"], row["question"], row["answer"]) != asked[place]:
            raise FGVEditError(
                f"{where}: probe {row['probe']} is '{row['question'][:80]}' ({row['kind']}), which is not in its data; "
                "expected rows of the same data"
            )
        if row["protocol"] not in run.manifest["protocols"]:
            raise FGVEditError(f"{where}: protocol '{row['protocol'][:80]}' is not one of the manifest")
        places = moments.setdefault((row["protocol"], row["edits"]), set())
        if place in places:
            raise FGVEditError(f"{where}: probe {row['probe']} is there twice for one protocol; expected it once")
        places.add(place)
    missing = [protocol for protocol in run.manifest["protocols"] if protocol not in {name for name, _ in moments}]
    short = [set(range(len(asked))) - places for places in moments.values() if len(places) < len(asked)]
    look = run.looks.get(record.id)
    if look is not None and len(look["probes"]) != len(asked):
        raise FGVEditError(
            f"'{run.folder / 'looks.jsonl'}': record '{record.id}': found {len(look['probes'])} maps of probes, "
            f"expected {len(asked)}: of the edit and of each probe"
        )
    if missing or short:
        what = f"protocol '{missing[0]}'" if missing else f"probe {min(short[0]) - 1}"
        raise FGVEditError(f"{where}: {what} is missing; expected every probe under every protocol")
