"""A results folder, read: runs that were submitted, and numbers that papers report. It needs no torch.

    results/
      runs/<id>/submission.json   who submitted it, and its status
      runs/<id>/result.json       the run's result file, in the format that was current when it was submitted
      runs/<id>/rows.jsonl.xz     the text of its rows, compressed
      reported/<id>.json          numbers taken from a paper
      data/<revision>-<split>.jsonl.xz   what rows of a data set that is not embedded must hold (`leaderboard.data`)

That each file is well formed is checked here; whether a run's numbers follow from its rows, and these from the data, in
`leaderboard.verify`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any

from fgvedit.evaluation.protocols import protocols
from fgvedit.evaluation.rows import Row
from fgvedit.util.errors import FGVEditError, unknown
from leaderboard import migrate
from leaderboard.reading import read_json, read_rows
from leaderboard.texts import check_link, check_text

ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
ID_LENGTH = 120
RUN_FILES = ("submission.json", "result.json", "rows.jsonl.xz")
# From what is claimed to what was seen twice.
REPORTED, UNCHECKED, VERIFIED, REPRODUCED = "reported", "unchecked-scores", "verified-rows", "reproduced"
STATUSES = {
    REPORTED: "a number taken from a paper; nothing here was computed again",
    UNCHECKED: "its rows were checked against the data and its metrics against its rows; the scores in these are as "
    "the run wrote them, as a protocol of its cannot compute them again",
    VERIFIED: "every number was computed again from the run's rows, which were checked against the data",
    REPRODUCED: "verified, and a maintainer ran it again",
}


@dataclass(frozen=True)
class Entry:
    """One submitted run. `result`: its result file, valid, in the current format; `reproduced`: see the schema."""

    id: str
    name: str
    link: str
    description: str
    submitted: str  # YYYY-MM-DD
    status: str  # of STATUSES
    reproduced: dict[str, Any] | None
    result: dict[str, Any] = field(repr=False)
    folder: Path

    def rows(self) -> list[Row]:
        """The run's rows in the current format, read from disk at each call.

        Raises `FGVEditError` where the file is not there, damaged or beyond the bounds of `leaderboard.reading`.
        """
        path = self.folder / "rows.jsonl.xz"
        return migrate.current_rows(read_rows(path), f"'{path}'")


@dataclass(frozen=True)
class Reported:
    """A paper's numbers. `rows`: {"editor", "backbone", "metrics": {"<protocol>/<metric>": percent}}."""

    id: str
    title: str
    link: str
    table: str  # or section: where in the paper they stand
    note: str
    dataset: str
    split: str
    protocol: str
    rows: list[dict[str, Any]]


def status_of_new(manifest: Mapping[str, Any]) -> str:
    """The status with which a run is accepted: whether all of its protocols hold a score to its row.

    Raises `FGVEditError`, with the nearest, for a protocol that is not registered here.
    """
    for name in manifest["protocols"]:
        if name not in protocols():
            raise unknown("protocol", name, protocols())
    return VERIFIED if all(protocols()[name].checked for name in manifest["protocols"]) else UNCHECKED


def hardware(manifest: Mapping[str, Any]) -> str:
    """What a run's seconds were measured on, in words; only its device where the run did not say (format 1)."""
    found = manifest["hardware"]
    if found is None:
        return manifest["device"]
    several = f"{found['processes']} × " if found["processes"] > 1 else ""
    threads = f", {found['threads']} thread{'s' if found['threads'] > 1 else ''}" if manifest["device"] == "cpu" else ""
    return f"{several}{found['name']}{threads}"


def read_results(folder: Path) -> tuple[list[Entry], list[Reported]]:
    """The submitted runs and the reported numbers of a results folder, each in the order of their ids.

    Raises `FGVEditError`, naming the file and the field, for the first thing that is not as it should be.
    """
    if not any((folder / inner).is_dir() for inner in ("runs", "reported")):
        found = "holds neither 'runs' nor 'reported'" if folder.is_dir() else "is no folder"
        raise FGVEditError(f"'{folder}' {found}; expected a results folder")
    runs, reported = sorted((folder / "runs").glob("*")), sorted((folder / "reported").glob("*"))
    return [read_entry(path) for path in runs], [read_reported(path) for path in reported]


def read_entry(folder: Path) -> Entry:
    """The run in `runs/<id>`."""
    check_id(folder.name, f"'{folder}'")
    if folder.is_symlink() or not folder.is_dir():
        raise FGVEditError(f"'{folder}' is not a folder; expected one a run")
    path = folder / "submission.json"
    about = read_json(path)
    check_submission(about, f"'{path}'")
    _expect_id(about["id"], folder.name, path)
    result = migrate.current_result(read_json(folder / "result.json"), f"'{folder / 'result.json'}'")
    del about["format"]
    return Entry(**about, result=result, folder=folder)


def read_reported(path: Path) -> Reported:
    """The numbers in `reported/<id>.json`."""
    found = read_json(path)
    migrate.check(found, "reported", f"'{path}' is not a valid file of reported numbers")
    _expect_id(found["id"], path.name.removesuffix(".json"), path)
    check_link(found["link"], f"'{path}': link")
    for name in ("title", "table", "note", "dataset", "split", "protocol"):
        check_text(found[name], f"'{path}': {name}")
    for number, row in enumerate(found["rows"]):
        for name in ("editor", "backbone"):
            check_text(row[name], f"'{path}': rows.{number}.{name}")
        for metric in row["metrics"]:
            check_text(metric, f"'{path}': rows.{number}.metrics: a name")
        if other := [metric for metric in row["metrics"] if metric.partition("/")[0] != found["protocol"]]:
            raise FGVEditError(f"'{path}': rows.{number}: '{other[0]}' is not of its protocol '{found['protocol']}'")
    return Reported(**{field.name: found[field.name] for field in fields(Reported)})


def check_submission(about: Any, where: str) -> None:
    """Raises `FGVEditError`, which starts with `where`, for a submission.json that is not valid, or unfit to show."""
    migrate.check(about, "submission", f"{where} is not a valid submission")
    for name in ("name", "description"):
        check_text(about[name], f"{where}: {name}")
    check_link(about["link"], f"{where}: link")
    check_date(about["submitted"], f"{where}: submitted")
    if by := about["reproduced"]:
        check_text(by["by"], f"{where}: reproduced.by")
        check_link(by["link"], f"{where}: reproduced.link")
        check_date(by["date"], f"{where}: reproduced.date")


def check_date(text: str, where: str) -> None:
    """Raises `FGVEditError`, which starts with `where`, for what is no day of the calendar."""
    try:
        found = date.fromisoformat(text).isoformat()
    except ValueError:
        found = ""
    if found != text:
        raise FGVEditError(f"{where} is {text!r}; expected a day such as 2026-01-31")


def check_id(id: str, where: str) -> None:
    """Raises `FGVEditError`, which starts with `where`, for what no folder of a run may be called."""
    if len(id) > ID_LENGTH or not ID.fullmatch(id):
        raise FGVEditError(
            f"{where}: the id {id[:60]!r} is not valid; expected at most {ID_LENGTH} lower-case letters and digits, in "
            "parts joined by hyphens"
        )


def _expect_id(found: str, expected: str, path: Path) -> None:
    if found != expected:
        raise FGVEditError(f"'{path}': id is '{found}'; expected '{expected}', as it is called")
