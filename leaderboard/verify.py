"""Whether a run's file says what its rows say, and its rows what the data say.

Each check raises `FGVEditError` for the first thing that is wrong; `faults` makes all of them. Nothing needs torch, and
nothing of a run is executed: a row's scores are computed again from its answers where the protocol allows it, and every
metric, interval and router figure from the rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fgvedit.errors import FGVEditError, unknown
from fgvedit.normalise import normalise
from fgvedit.results import MUST_CHANGE, metrics_from_rows, router_from_rows
from leaderboard import migrate
from leaderboard.data import Known, expected_rows
from leaderboard.reading import parse_rows, read_json, rows_text
from leaderboard.texts import check_text

PROTOCOLS = ("paper", "generation")  # whose scores can be checked
TEXT_LENGTH = 300  # of a name in a manifest
CONFIG_LENGTH = 4000  # of a text in an editor's configuration
Row = Mapping[str, Any]

normalised = lru_cache(maxsize=1 << 16)(normalise)


@dataclass(frozen=True)
class Run:
    """`result` and `rows`: in the current format; `text`: the rows' file as it was written."""

    result: dict[str, Any]
    rows: list[dict[str, Any]]
    text: bytes

    @property
    def manifest(self) -> dict[str, Any]:
        return self.result["manifest"]


def read_run(result: Path, rows: Path) -> Run:
    """A run from its result file and its rows (`rows.jsonl` or `rows.jsonl.xz`), of any format.

    Raises `FGVEditError` where one of them is not there, not valid, or beyond the bounds of `leaderboard.reading`.
    """
    found = migrate.current_result(read_json(result), f"'{result}'")
    text = rows_text(rows)
    return Run(found, migrate.current_rows(parse_rows(text, rows), f"'{rows}'"), text)


def verify(run: Run, known: Known) -> None:
    """Raises `FGVEditError` for the first fault."""
    for fault in faults(run, known):
        raise FGVEditError(fault)


def faults(run: Run, known: Known) -> Iterator[str]:
    """A sentence for each check that does not hold."""
    checks: tuple[Callable[[], None], ...] = (
        lambda: check_manifest(run),
        lambda: check_data(run, known),
        lambda: check_scores(run.rows),
        lambda: check_routes(run.rows),
        lambda: check_metrics(run),
    )
    for check in checks:
        try:
            check()
        except FGVEditError as error:
            yield str(error)


# -- the manifest --------------------------------------------------------------------------------------------------


def check_manifest(run: Run) -> None:
    """Its texts can be shown, its protocols are known, it is of one of the two tracks, and its rows are its own."""
    for name, value in run.manifest.items():
        _check_texts(value, f"manifest.{name}")
    for protocol in run.manifest["protocols"]:
        if protocol not in PROTOCOLS:
            raise unknown("protocol", protocol, PROTOCOLS)
    limit = run.manifest["dataset"]["limit"]
    if run.manifest["sequence"] is None and limit is not None:
        raise FGVEditError(
            f"manifest.dataset.limit is {limit}: the run is on the first {limit} records; expected the whole split "
            "(a limit only with --sequence)"
        )
    sha256 = hashlib.sha256(run.text).hexdigest()
    if run.manifest["rows_sha256"] != sha256:
        raise FGVEditError(
            f"manifest.rows_sha256 is '{run.manifest['rows_sha256']}', that of the rows is '{sha256}'; expected the "
            "rows that this result was made from"
        )


def _check_texts(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_texts(key, f"{where}: a name")
            _check_texts(inner, f"{where}.{key}")
    elif isinstance(value, list):
        for inner in value:
            _check_texts(inner, where)
    elif isinstance(value, str):
        configuration = where.startswith("manifest.editor.config.")
        most = CONFIG_LENGTH if configuration else TEXT_LENGTH
        if len(value) > most:
            raise FGVEditError(f"{where} has {len(value):,} characters; expected at most {most:,}")
        if not configuration:  # there, a prompt may have lines
            check_text(value, where)


# -- rows against the data -----------------------------------------------------------------------------------------


def check_data(run: Run, known: Known) -> None:
    """The rows are those of the data's records and probes, each once, with their questions and answers."""
    about = run.manifest["dataset"]
    key = known.find(about)
    for field in ("name", "config"):
        if about[field] != getattr(key, field):
            raise FGVEditError(
                f"manifest.dataset.{field} is {about[field]!r}; expected {getattr(key, field)!r}, as that revision is "
                "called"
            )
    missing = {key_of(row): row for row in expected_rows(key, run.manifest)}
    records = len({record for record, *_ in missing})
    if about["records"] != records:
        raise FGVEditError(f"manifest.dataset.records is {about['records']}; expected {records}, as in the data")
    seen = set()
    for number, row in enumerate(run.rows, 1):
        at = key_of(row)
        if at in seen:
            raise FGVEditError(f"row {number}: {named(row)} is there twice; expected every probe once")
        seen.add(at)
        expected = missing.pop(at, None)
        if expected is None:
            raise FGVEditError(
                f"row {number}: {named(row)} is not in the data '{key.name}', split '{key.split}', at revision "
                f"{key.revision[:8]}; expected its {records} records and their probes alone"
            )
        for field, value in expected.items():
            if row[field] != value:
                raise FGVEditError(
                    f"row {number}: {named(row)}: {field} is {_short(row[field])}; expected {_short(value)}, as in the "
                    "data"
                )
    for row in missing.values():
        raise FGVEditError(
            f"{len(missing)} rows are missing, the first of them {named(row)}; expected one for each probe of the data"
        )


def key_of(row: Row) -> tuple[str, str, int, int]:
    return row["record_id"], row["protocol"], row["edits"], row["probe"]


def named(row: Row) -> str:
    after = f", after {row['edits']} edits" if row["edits"] > 1 else ""
    return f"record {_short(row['record_id'])}, protocol {_short(row['protocol'])}, probe {row['probe']}{after}"


def _short(value: Any) -> str:
    """As Python writes it, which makes whatever cannot be seen visible."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


# -- rows by themselves --------------------------------------------------------------------------------------------


def check_scores(rows: Sequence[Row]) -> None:
    """`generation`: each score is what the answers make it. `paper`: 0 or 1 where the whole answer counts."""
    for number, row in enumerate(rows, 1):
        exact = row["kind"] in MUST_CHANGE
        if row["protocol"] == "generation":
            expected = row["answer"] if exact else row["before"]
            score = float(normalised(row["after"]) == normalised(expected))
            if row["score"] != score:
                raise FGVEditError(
                    f"row {number}: {named(row)}: score is {row['score']}; expected {score}, as the answer is "
                    f"{_short(row['after'])} where {_short(expected)} is right"
                )
        elif exact and row["score"] not in (0, 1):
            raise FGVEditError(
                f"row {number}: {named(row)}: score is {row['score']}; expected 0 or 1 for kind {_short(row['kind'])}"
            )


def check_routes(rows: Sequence[Row]) -> None:
    """A query has one route under every protocol, to an edit that is there; the base model answers as it did before."""
    routes: dict[tuple[str, int, int], Row] = {}
    before: dict[tuple[str, str, int], Row] = {}
    for number, row in enumerate(rows, 1):
        where = f"row {number}: {named(row)}"
        first = routes.setdefault((row["record_id"], row["edits"], row["probe"]), row)
        for field in ("route", "rho", "stored_edit"):
            if row[field] != first[field]:
                raise FGVEditError(
                    f"{where}: {field} is {row[field]!r}; expected {first[field]!r}, as under protocol "
                    f"{_short(first['protocol'])}"
                )
        if row["stored_edit"] is not None and row["stored_edit"] >= row["edits"]:
            raise FGVEditError(
                f"{where}: stored_edit is {row['stored_edit']}; expected null or one of the {row['edits']} edits in "
                "force, counted from 0"
            )
        first = before.setdefault((row["record_id"], row["protocol"], row["probe"]), row)
        if row["before"] != first["before"]:
            raise FGVEditError(
                f"{where}: before is {_short(row['before'])}; expected {_short(first['before'])}, as when it was first "
                "asked"
            )
        if row["route"] == "base":
            if row["after"] != row["before"]:
                raise FGVEditError(
                    f"{where}: after is {_short(row['after'])} by the base model; expected {_short(row['before'])}, "
                    "its answer before the edit"
                )
            if row["kind"] not in MUST_CHANGE and row["score"] != 1:
                raise FGVEditError(
                    f"{where}: score is {row['score']}; expected 1, as the base model's answer cannot have changed"
                )


# -- the figures ---------------------------------------------------------------------------------------------------


def check_metrics(run: Run) -> None:
    """Every metric, interval and router figure is the very number that the rows give."""
    _compare("metric", run.result["metrics"], metrics_from_rows(run.rows))
    router = {
        f"{protocol}/{name}": figure
        for protocol, figures in run.result["router"].items()
        for name, figure in figures.items()
    }
    recomputed = {
        f"{protocol}/{name}": figure
        for protocol, figures in router_from_rows(run.rows).items()
        for name, figure in figures.items()
    }
    _compare("router figure", router, recomputed)


def _compare(
    what: str, found: Mapping[str, Mapping[str, float]], recomputed: Mapping[str, Mapping[str, float]]
) -> None:
    for name, metric in recomputed.items():
        if name not in found:
            raise FGVEditError(f"{what} '{name}' is missing, recomputed from the rows it is {metric['value']}")
        for field, value in metric.items():
            if found[name][field] != value:
                of = "" if field == "value" else f"{field} of "
                raise FGVEditError(
                    f"{of}{what} '{name}' is {found[name][field]}, recomputed from the rows {value} "
                    f"({found[name][field] - value:+.10g})"
                )
    for name in found:
        if name not in recomputed:
            raise FGVEditError(f"{what} {_short(name)} does not follow from the rows; expected {', '.join(recomputed)}")


# -- which run it is -----------------------------------------------------------------------------------------------


def identity(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What makes two runs the same one, wherever and by whomever each was made."""
    editor, backbone, data = manifest["editor"], manifest["backbone"], manifest["dataset"]
    return {
        "editor.name": editor["name"],
        "editor.config": editor["config"],
        "editor.checkpoint": editor["checkpoint"],
        "backbone.revision": backbone["revision"],
        "backbone.input_mode": backbone["input_mode"],
        "dataset.revision": data["revision"],
        "dataset.split": data["split"],
        "dataset.limit": data["limit"],
        "protocols": sorted(manifest["protocols"]),
        "sequence": manifest["sequence"],
        "seed": manifest["seed"],
        "dtype": manifest["dtype"],
    }


def digests(rows: Sequence[Row]) -> dict[str, str]:
    """protocol -> a hash over what its rows answer and score, in whatever order and under whatever name they come.

    What decides nothing (a similarity, an index, the punctuation of an answer) does not count, so that another's run is
    known again where that was changed.
    """
    lines: dict[str, list[str]] = {}
    for row in rows:
        at = (row["record_id"], int(row["edits"]), int(row["probe"]))
        said = (*at, normalised(row["before"]), normalised(row["after"]), float(row["score"]))
        lines.setdefault(row["protocol"], []).append(json.dumps(said))
    return {protocol: hashlib.sha256("\n".join(sorted(own)).encode()).hexdigest() for protocol, own in lines.items()}


class Seen:
    """Runs so far, by what they are and what they answer."""

    def __init__(self) -> None:
        self._runs: dict[str, str] = {}  # identity or (protocol and digest) -> id

    def add(self, id: str, manifest: Mapping[str, Any], rows: Sequence[Row]) -> str | None:
        """A sentence that names the earlier run of which this is a copy. None where it is new; it then counts."""
        own = {json.dumps(identity(manifest), sort_keys=True): "the same editor, backbone, data and seed"}
        own |= {f"{p}/{digest}": f"answer for answer under protocol '{p}'" for p, digest in digests(rows).items()}
        for key, what in own.items():
            if key in self._runs:
                return f"the run is there already as '{self._runs[key]}' ({what}); expected a run of its own"
        self._runs |= dict.fromkeys(own, id)
        return None
