"""A finished run, read and checked: its manifest, its rows and where its router attended."""

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
from fgvedit.evaluation.metrics import END
from fgvedit.evaluation.rows import Row, checked_row
from fgvedit.schema import Probe, Record
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import read_json
from fgvedit.util.options import fits
from fgvedit.viewers.pages.fit import FITS

FORMATS = (1, 2, 3)
TEXT, NUMBER, OBJECT = (str, "text"), (int, "a whole number"), (dict, "an object")
MAYBE = (int | None, "a whole number or null")
MANIFEST: dict[str, tuple[Any, str]] = {  # what a page needs of it: its type, and that in words
    "editor.name": TEXT,
    "editor.config": OBJECT,
    "backbone.name": TEXT,
    "dataset.name": TEXT,
    "dataset.split": TEXT,
    "dataset.revision": TEXT,
    "dataset.limit": MAYBE,
    "protocols": (list, "a list"),
    "sequence": MAYBE,
    "seed": NUMBER,
    "device": TEXT,
    "dtype": TEXT,
    "rows_sha256": TEXT,
}


@dataclass(frozen=True)
class Run:
    """A finished run. `rows`: every row, of older formats with what these lacked; `attention`: record id -> its line of
    `looks.jsonl` (see `fgvedit.evaluation.runs.probing.attention_line`)."""

    folder: Path
    manifest: Mapping[str, Any]
    rows: list[Row]
    attention: dict[str, Mapping[str, Any]]

    @property
    def sequence(self) -> int | None:
        """How many edits a sequence has; None where each edit was alone in force."""
        return self.manifest.get("sequence")

    @property
    def points(self) -> tuple[str, ...]:
        """The evaluation points, as metrics name them: "", right after a record's own edit, and in sequential editing
        `END`, after all edits."""
        return ("", END) if self.sequence else ("",)

    def points_of(self, row: Row) -> list[str]:
        """The evaluation points that a row counts for; that of a sequence's last edit counts for both."""
        if not self.sequence:
            return [""]
        return [name for name, now in (("", row["age"] == 0), (END, row["edits"] == self.sequence)) if now]

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
    for name, (hint, expected) in MANIFEST.items():
        value = result.get("manifest")
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if not fits(value, hint):
            raise FGVEditError(f"'{path}': manifest.{name}: found {value!r}, expected {expected}")
    rows = _read_rows(folder / "rows.jsonl", result["manifest"])
    return Run(folder, result["manifest"], rows, _read_attention(folder / "looks.jsonl"))


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


def _read_attention(path: Path) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for number, line in _lines(path, path.read_bytes()) if path.is_file() else ():
        where = f"'{path}': line {number}"
        try:
            rows, columns = line["grid"]
            maps = [line["edit"], *(one for one in line["probes"] if one is not None)]
            sizes = {len(base64.b64decode(one, validate=True)) for one in maps}
            fit = line.get("fit", FITS[0])
            found[line["record_id"]] = line
        except (KeyError, TypeError, ValueError) as error:
            raise FGVEditError(f"{where} is damaged: expected record_id, grid, edit and probes in base64") from error
        if sizes != {rows * columns}:
            raise FGVEditError(f"{where}: found maps of {sorted(sizes)} bytes, expected {rows} * {columns}")
        if fit not in FITS:
            raise FGVEditError(f"{where}: fit: found {str(fit)[:80]!r}, expected one of {', '.join(FITS)}")
    return found


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
    """Raises `FGVEditError` where these are not the record's rows, one for each question, protocol and evaluation
    point, or its attention maps are not of its questions."""
    asked = record.asked
    where = f"'{run.folder / 'rows.jsonl'}': record '{record.id}'"
    found: dict[tuple[str, int], set[int]] = {}
    for row in rows:
        index = row["probe"] + 1
        _check_asked(run, where, row, asked[index] if 0 <= index < len(asked) else None)
        probes = found.setdefault((row["protocol"], row["edits"]), set())
        if index in probes:
            raise FGVEditError(f"{where}: probe {row['probe']} is there twice for one protocol; expected it once")
        probes.add(index)
    line = run.attention.get(record.id)
    if line is not None and len(line["probes"]) != len(asked):
        raise FGVEditError(
            f"'{run.folder / 'looks.jsonl'}': record '{record.id}': found {len(line['probes'])} maps of probes, "
            f"expected {len(asked)}: of the edit and of each probe"
        )
    missing = [f"protocol '{name}'" for name in run.manifest["protocols"] if name not in {own for own, _ in found}]
    missing += [f"probe {min(set(range(len(asked))) - own) - 1}" for own in found.values() if len(own) < len(asked)]
    if missing:
        raise FGVEditError(f"{where}: {missing[0]} is missing; expected every probe under every protocol")


def _check_asked(run: Run, where: str, row: Row, probe: Probe | None) -> None:
    """Raises `FGVEditError` for a row of another question than its record's probe, or of another protocol."""
    if probe is None or (row["kind"], row["question"], row["answer"]) != (probe.kind, probe.question, probe.answer):
        raise FGVEditError(
            f"{where}: probe {row['probe']} is '{row['question'][:80]}' ({row['kind']}), which is not in its data; "
            "expected rows of the same data"
        )
    if row["protocol"] not in run.manifest["protocols"]:
        raise FGVEditError(f"{where}: protocol '{row['protocol'][:80]}' is not one of the manifest")
