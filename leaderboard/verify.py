"""Whether a run's file says what its rows say, and its rows what the data say.

Each check raises `FGVEditError` for the first thing that is wrong; `faults` makes all of them. Nothing needs torch, and
nothing of a run is executed: a row's scores are held to its answers as far as its protocol can, and every metric,
interval and router figure is computed again from the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgvedit.editors.supervision import checked_supervision
from fgvedit.evaluation.metrics import metrics_from_rows, router_from_rows
from fgvedit.evaluation.protocols import protocols
from fgvedit.evaluation.protocols.base import short
from fgvedit.evaluation.rows import AnyRow, Row
from fgvedit.evaluation.summary import is_control
from fgvedit.probes import OWN_METRICS, changes, kinds, metrics
from fgvedit.util.errors import FGVEditError, one_line, unknown
from leaderboard import migrate
from leaderboard.board import status_of_new
from leaderboard.data import Known, expected_rows
from leaderboard.ranking import parts_of
from leaderboard.reading import parse_rows, read_json, rows_text
from leaderboard.texts import check_text

TEXT_LENGTH = 300  # of a name in a manifest
CONFIG_LENGTH = 4000  # of a text in an editor's configuration


@dataclass(frozen=True)
class Run:
    """`result` and `rows`: in the current format; `text`: the rows' file as it was written."""

    result: dict[str, Any]
    rows: list[Row]
    text: bytes

    @property
    def manifest(self) -> dict[str, Any]:
        """What the run says that it was."""
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
    """A sentence for each check that does not hold; the first alone where the rows are not even those of the data."""
    try:
        check_manifest(run)
        check_data(run, known)
    except FGVEditError as error:
        yield str(error)
        return
    checks: tuple[Callable[[], None], ...] = (
        lambda: check_scores(run.rows),
        lambda: check_routes(run.rows),
        lambda: check_control(run),
        lambda: check_metrics(run),
    )
    for check in checks:
        try:
            check()
        except FGVEditError as error:
            yield str(error)


# -- the manifest --------------------------------------------------------------------------------------------------


def check_manifest(run: Run) -> None:
    """Its texts can be shown, its protocols and its word of supervision are known, it is of one of the two tracks, and
    its rows are its own."""
    for name, value in run.manifest.items():
        _check_texts(value, f"manifest.{name}")
    status_of_new(run.manifest)
    if "supervision" in run.manifest["editor"]:  # results were written before it was said
        checked_supervision(run.manifest["editor"]["supervision"], "manifest.editor.supervision")
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
    expected = {key_of(row): row for row in expected_rows(key, run.manifest)}
    records = len({record for record, *_ in expected})
    if about["records"] != records:
        raise FGVEditError(f"manifest.dataset.records is {about['records']}; expected {records}, as in the data")
    data = f"'{key.name}', split '{key.split}', at revision {key.revision[:8]}"
    _check_rows(run.rows, expected, f"{data}; expected its {records} records and their probes alone")


def _check_rows(rows: Sequence[AnyRow], expected: Mapping[Any, AnyRow], data: str) -> None:
    """`expected`: what the data say of each row, by its key; `data`: what they are called."""
    seen = set()
    for number, row in enumerate(rows, 1):
        at = key_of(row)
        if at in seen:
            fault = " is there twice; expected every probe once"
        elif at not in expected:
            fault = f" is not in the data {data}"
        else:
            wrong = [field for field, value in expected[at].items() if row[field] != value]
            fault = f": {_unlike(wrong[0], row, expected[at])}" if wrong else ""
        if fault:
            raise FGVEditError(f"row {number}: {named(row)}{fault}")
        seen.add(at)
    if missing := [row for at, row in expected.items() if at not in seen]:
        raise FGVEditError(
            f"{len(missing)} rows are missing, the first of them {named(missing[0])}; expected one for each probe of "
            "the data"
        )


def _unlike(field: str, row: AnyRow, expected: AnyRow) -> str:
    return f"{field} is {short(row[field])}; expected {short(expected[field])}, as in the data"


def key_of(row: AnyRow) -> tuple[str, str, int, int]:
    """What tells a row from the others of its run: record, protocol, edits in force and probe."""
    return row["record_id"], row["protocol"], row["edits"], row["probe"]


def named(row: AnyRow) -> str:
    """A row for a sentence, by its key."""
    after = f", after {row['edits']} edits" if row["edits"] > 1 else ""
    return f"record {short(row['record_id'])}, protocol {short(row['protocol'])}, probe {row['probe']}{after}"


# -- rows by themselves --------------------------------------------------------------------------------------------


def check_scores(rows: Sequence[Row]) -> None:
    """Each score is what its row's texts make it, as far as its protocol can tell."""
    for number, row in enumerate(rows, 1):
        if fault := _fault_of_score(row):
            raise FGVEditError(f"row {number}: {named(row)}: {fault}")


def _fault_of_score(row: Row) -> str | None:
    """What the row's protocol says of its score; it may be anybody's, and fail."""
    try:
        return protocols()[row["protocol"]].fault(row)
    except Exception as error:
        return (
            f"protocol {short(row['protocol'])} cannot hold its score to it ({type(error).__name__}: "
            f"{one_line(error)}); expected a fault in words, or None"
        )


def check_routes(rows: Sequence[Row]) -> None:
    """A query has one route under every protocol, to an edit that is there; the base model answers as it did before."""
    routes: dict[tuple[str, int, int], Row] = {}
    before: dict[tuple[str, str, int], Row] = {}
    for number, row in enumerate(rows, 1):
        first = routes.setdefault((row["record_id"], row["edits"], row["probe"]), row)
        unedited = before.setdefault((row["record_id"], row["protocol"], row["probe"]), row)
        if fault := _fault_of_route(row, first) or _fault_of_base(row, unedited):
            raise FGVEditError(f"row {number}: {named(row)}: {fault}")


def _fault_of_route(row: AnyRow, first: AnyRow) -> str | None:
    """`first`: the first row of the same query, under whichever protocol."""
    for field in ("route", "rho", "stored_edit"):
        if row[field] != first[field]:
            return f"{field} is {row[field]!r}; expected {first[field]!r}, as under protocol {short(first['protocol'])}"
    if row["route"] == "mixed" and row["rho"] is None:
        return "rho is null; expected a number from 0 to 1, the second model's weight in a mixed answer"
    if row["stored_edit"] is not None and row["stored_edit"] >= row["edits"]:
        return (
            f"stored_edit is {row['stored_edit']}; expected null or one of the {row['edits']} edits in force, counted "
            "from 0"
        )
    return None


def _fault_of_base(row: Row, first: Row) -> str | None:
    """`first`: the first row of the same probe under the same protocol, whatever was edited by then."""
    if row["before"] != first["before"]:
        return f"before is {short(row['before'])}; expected {short(first['before'])}, as when it was first asked"
    if row["route"] != "base":
        return None
    if row["after"] != row["before"]:
        return (
            f"after is {short(row['after'])} by the base model; expected {short(row['before'])}, its answer before the "
            "edit"
        )
    if protocols()[row["protocol"]].checked and not changes(row["kind"]) and row["score"] != 1:
        return f"score is {row['score']}; expected 1, as the base model's answer cannot have changed"
    return None


def check_control(run: Run) -> None:
    """The control leaves every query to the base model."""
    if is_control(run.manifest):
        for number, row in enumerate(run.rows, 1):
            if row["route"] != "base":
                raise FGVEditError(
                    f"row {number}: {named(row)}: route is '{row['route']}' in a run of the control (manifest.editor); "
                    "expected 'base', as it makes no edit"
                )


# -- the figures ---------------------------------------------------------------------------------------------------


def check_metrics(run: Run) -> None:
    """Every metric, interval and router figure is the very number that the rows give.

    None may be missing of those that follow from the kinds of probes, and of the project's own; others that are
    registered here need not have been where the run was made.
    """
    found = run.result["metrics"]
    for name in found:
        if parts_of(name)[1] not in metrics():
            nearest = unknown("metric", parts_of(name)[1][:60], metrics())
            raise FGVEditError(f"metric {short(name)} is not registered here: {nearest}")
    needed = {kind.metric for kind in kinds().values()} | {metric.name for metric in OWN_METRICS}
    from_rows = metrics_from_rows(run.rows).items()
    _compare("metric", found, {name: one for name, one in from_rows if name in found or parts_of(name)[1] in needed})
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
            raise FGVEditError(f"{what} {short(name)} does not follow from the rows; expected {', '.join(recomputed)}")
