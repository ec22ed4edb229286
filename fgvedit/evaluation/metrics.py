"""From rows to figures: metrics and what a router did, each with its interval, and how far two runs are apart.

Nothing here needs torch, so that anybody can score a published run again from its rows.

In sequential editing a probe is scored right after its record's own edit and once more at the end, after all of them:
two numbers, of which the second one's name ends in `@end`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from fgvedit.evaluation.intervals import ClusteredScores, Figure
from fgvedit.evaluation.rows import AnyRow, away, completed, edits_of, edits_since, group_of
from fgvedit.probes import BEYOND_NOTHING, Metric, changes, metrics
from fgvedit.util.errors import FGVEditError, unknown

END = "@end"  # of a name: after all edits of a sequence
IN_SCOPE_RECALL, OUT_OF_SCOPE_RECALL = "caught", "kept"  # as result files call them


def metrics_from_rows(rows: Iterable[AnyRow]) -> dict[str, Figure]:
    """`<protocol>/<metric>` -> its figure: the mean score of the metric's probes.

    A metric without a probe is left out. In sequential editing `<protocol>/<metric>` is right after each edit and
    `<protocol>/<metric>@end` after all of them.
    """
    return {name: scores.mean(kinds) for name, scores, kinds in _metrics(rows)}


def resampled_metrics(rows: Iterable[AnyRow]) -> dict[str, np.ndarray]:
    """`<protocol>/<metric>` -> (resamples,): its value in each of the resamples that its interval is from, in percent.

    Runs that hold the same probes are resampled alike, so that the difference of two of them, resample by resample, is
    the paired bootstrap of `paired_differences`. NaN where a resample missed every group that has such a probe.
    """
    return {name: 100 * scores.resampled_means(kinds) for name, scores, kinds in _metrics(rows)}


def _metrics(rows: Iterable[AnyRow]) -> Iterator[tuple[str, ClusteredScores, tuple[str, ...]]]:
    """Each metric that the rows have, its scores, and the kinds of probes among them that it is the mean of."""
    for protocol, point, own in _by_point(rows):
        kinds = [row["kind"] for row in own]
        scores = ClusteredScores(own, kinds, [row["score"] for row in own])
        for metric in metrics().values():
            if scores.has(metric.kinds):
                of_its_own = metric.of_row and ClusteredScores(own, kinds, [_scored(metric, row) for row in own])
                yield f"{protocol}/{metric.name}{point}", of_its_own or scores, metric.kinds


def _scored(metric: Metric, row: AnyRow) -> float:
    """The score that a metric of its own takes of a row; 0 of a row that is not of its kinds.

    Raises `FGVEditError`, naming metric and row, for what is no number from 0 to 1.
    """
    if not metric.of_row or row["kind"] not in metric.kinds:
        return 0.0
    try:
        score = float(metric.of_row(row))
    except Exception as error:  # somebody's own, of any type
        raise FGVEditError(f"metric '{metric.name}' of {_named(row)}: {type(error).__name__}: {error}") from error
    if not 0 <= score <= 1:
        raise FGVEditError(f"metric '{metric.name}' of {_named(row)} is {score}; expected 0 to 1")
    return score


def beyond_nothing(figures: Mapping[str, Figure]) -> dict[str, Figure]:
    """`BEYOND_NOTHING` of each specificity among figures, with the interval of that: 0 is what doing nothing earns."""
    found = {}
    for name, figure in figures.items():
        protocol, _, metric = name.partition("/")
        if metric.removesuffix(END) == "specificity":
            ends = {key: round(2 * figure[key] - 100, 4) for key in ("value", "low", "high")}
            found[f"{protocol}/{metric.replace('specificity', BEYOND_NOTHING.name)}"] = {**figure, **ends}
    return found


def paired_difference(rows_a: Iterable[AnyRow], rows_b: Iterable[AnyRow], metric: str, protocol: str) -> Figure:
    """How far run a is above run b in one metric; see `paired_differences`.

    Raises `FGVEditError` where the runs do not hold the same probes, or none of that protocol and metric.
    """
    differences = paired_differences(rows_a, rows_b)
    if f"{protocol}/{metric}" not in differences:
        raise unknown("metric of these runs", f"{protocol}/{metric}", differences)
    return differences[f"{protocol}/{metric}"]


def paired_differences(rows_a: Iterable[AnyRow], rows_b: Iterable[AnyRow]) -> dict[str, Figure]:
    """`<protocol>/<metric>` -> run a's value less run b's, as a figure in percentage points.

    A paired bootstrap: each resample draws the same groups for both runs, so what makes a group hard for both does not
    widen the interval. As both hold the same probes, the difference of their means is the mean of the differences. A
    metric with a score of its own is not compared.
    Raises `FGVEditError`, naming the first probe, where one run holds a probe that the other does not.
    """
    ours, theirs = _by_probe(rows_a, "first"), _by_probe(rows_b, "second")
    for here, there, run, other in ((ours, theirs, "second", "first"), (theirs, ours, "first", "second")):
        for key, row in here.items():
            if key not in there:
                raise FGVEditError(f"{_named(row)} is missing in the {run} run; expected the probes of the {other}")
    for key, row in ours.items():
        for field in ("kind", "image_id", "group"):
            if row[field] != theirs[key][field]:
                raise FGVEditError(
                    f"{_named(row)}: its {field} is '{row[field]}' in the first run and '{theirs[key][field]}' in the "
                    "second; expected runs on the same data"
                )
    differences = [{**row, "score": row["score"] - theirs[key]["score"]} for key, row in ours.items()]
    own = {metric.name for metric in metrics().values() if metric.of_row}
    return {
        name: figure
        for name, figure in metrics_from_rows(differences).items()
        if name.partition("/")[2].removesuffix(END) not in own
    }


def _by_probe(rows: Iterable[AnyRow], run: str) -> dict[tuple[str, str, int, int], AnyRow]:
    found: dict[tuple[str, str, int, int], AnyRow] = {}
    for row in rows:
        key = (row["record_id"], row["protocol"], edits_of(row), row["probe"])
        if key in found:
            raise FGVEditError(f"{_named(row)} is there twice in the {run} run; expected every probe once")
        found[key] = completed(row)
    return found


def _named(row: AnyRow) -> str:
    after = f", after {edits_of(row)} edits" if edits_of(row) > 1 else ""
    return f"record '{row['record_id']}', protocol '{row['protocol']}', probe {row['probe']}{after}"


def router_from_rows(rows: Iterable[AnyRow]) -> dict[str, dict[str, Figure]]:
    """protocol -> how often a probe was routed as its kind asks for, for editors that report a similarity (rho).

    `IN_SCOPE_RECALL`: kinds that the edit should change, sent away from the base model (see `away`);
    `OUT_OF_SCOPE_RECALL`: the other kinds, left to it; then each kind by itself. In sequential editing `<protocol>` is
    right after each edit, `<protocol>@end` after all of them.
    """
    found = {}
    for protocol, point, own in _by_point(rows):
        own = [row for row in own if row["rho"] is not None]
        if not own:
            continue
        right = [float(away(row) == changes(row["kind"])) for row in own]
        sides = [IN_SCOPE_RECALL if changes(row["kind"]) else OUT_OF_SCOPE_RECALL for row in own]
        grouped = (ClusteredScores(own, sides, right), ClusteredScores(own, [row["kind"] for row in own], right))
        found[protocol + point] = {name: scores.mean((name,)) for scores in grouped for name in scores.labels}
    return found


def _by_point(rows: Iterable[AnyRow]) -> list[tuple[str, str, list[AnyRow]]]:
    """Of each protocol the rows of probes asked right after their own edit, with "", and, in sequential editing, those
    asked after all edits, with `END`; both points hold the probes of a sequence's last edit."""
    found = []
    for protocol, own in _by_protocol(rows):
        found.append((protocol, "", [row for row in own if edits_since(row) == 0]))
        if (last := max(map(edits_of, own))) > 1:
            found.append((protocol, END, [row for row in own if edits_of(row) == last]))
    return found


def _by_protocol(rows: Iterable[AnyRow]) -> list[tuple[str, list[AnyRow]]]:
    """Rows of each protocol, sorted, so that sums do not depend on the order in which rows come."""
    found: dict[str, list[AnyRow]] = {}
    for row in rows:
        found.setdefault(row["protocol"], []).append(row)
    return [
        (protocol, sorted(own, key=lambda row: (group_of(row), row["record_id"], row["probe"], row["score"])))
        for protocol, own in sorted(found.items())
    ]
