"""From rows to the result file: metrics with their intervals, and the table that shows them.

A row is one probe under one protocol; `fgvedit.evaluation.runner` says what it holds. Nothing here needs torch, so that
anybody can score a published run again from its rows.

Where edits are made in a row, a probe is scored right after its record's own edit and once more at the end, after all
of them: two numbers, of which the second one's name ends in `@end`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fgvedit.schema import EDIT, EXPECTED_NEW
from fgvedit.util.errors import FGVEditError, unknown

RESAMPLES = 1000
# metric -> the probe kind whose mean score it is, in the order of the paper's tables
METRICS = {
    "reliability": "edit",
    "generality": "rephrase",
    "locality": "text_locality",
    "specificity": "",  # the mean of in_scope and retention
    "in_scope": "in_scope",
    "retention": "out_of_scope",
    "other_image": "other_image",
    "reference_in": "reference_in",
    "reference_out": "reference_out",
}
END = "@end"  # of a name: after all edits in a row
MUST_CHANGE = (EDIT, *EXPECTED_NEW)  # kinds that a router should send away from the base

Row = Mapping[str, Any]
Metric = dict[str, float | int]


def metrics_from_rows(rows: Iterable[Row]) -> dict[str, Metric]:
    """`<protocol>/<metric>` -> {value, low, high, probes, images}.

    `value`: the mean score of the metric's probes, 0 to 100; `low`, `high`: its 95 % interval, from a bootstrap that
    draws whole images, since the probes of one image are not independent. A metric without a probe is left out.
    Of edits in a row, `<protocol>/<metric>` is right after each and `<protocol>/<metric>@end` after all of them.
    """
    return {name: scores.mean(kinds) for name, scores, kinds in _metrics(rows)}


def resampled_metrics(rows: Iterable[Row]) -> dict[str, np.ndarray]:
    """`<protocol>/<metric>` -> its value in each of the `RESAMPLES` resamples that its interval comes from, in percent.

    Runs that hold the same probes are resampled alike, so that the difference of two of them, resample by resample, is
    the paired bootstrap of `paired_differences`. NaN where a resample missed every image that has such a probe.
    """
    return {name: 100 * scores.resampled_means(kinds) for name, scores, kinds in _metrics(rows)}


def _metrics(rows: Iterable[Row]) -> Iterator[tuple[str, _Clustered, tuple[str, ...]]]:
    """Each metric that the rows have, its scores, and the kinds of probes among them that it is the mean of."""
    for protocol, moment, own in _by_moment(rows):
        scores = _Clustered(own, [row["kind"] for row in own], [row["score"] for row in own])
        for metric, kind in METRICS.items():
            kinds = ("in_scope", "out_of_scope") if metric == "specificity" else (kind,)
            if scores.has(kinds):
                yield f"{protocol}/{metric}{moment}", scores, kinds


def paired_difference(rows_a: Iterable[Row], rows_b: Iterable[Row], metric: str, protocol: str) -> Metric:
    """How far run a is above run b in one metric; see `paired_differences`.

    Raises `FGVEditError` where the runs do not hold the same probes, or none of that protocol and metric.
    """
    differences = paired_differences(rows_a, rows_b)
    if f"{protocol}/{metric}" not in differences:
        raise unknown("metric of these runs", f"{protocol}/{metric}", differences)
    return differences[f"{protocol}/{metric}"]


def paired_differences(rows_a: Iterable[Row], rows_b: Iterable[Row]) -> dict[str, Metric]:
    """`<protocol>/<metric>` -> run a's value less run b's: {value, low, high, probes, images}, in percentage points.

    A paired bootstrap: each resample draws the same images for both runs, so what makes an image hard for both does not
    widen the interval. As both hold the same probes, the difference of their means is the mean of the differences.
    Raises `FGVEditError`, naming the first probe, where one run holds a probe that the other does not.
    """
    ours, theirs = _by_probe(rows_a, "first"), _by_probe(rows_b, "second")
    for here, there, run, other in ((ours, theirs, "second", "first"), (theirs, ours, "first", "second")):
        for key, row in here.items():
            if key not in there:
                raise FGVEditError(f"{_named(row)} is missing in the {run} run; expected the probes of the {other}")
    for key, row in ours.items():
        for field in ("kind", "image_id"):
            if row[field] != theirs[key][field]:
                raise FGVEditError(
                    f"{_named(row)}: its {field} is '{row[field]}' in the first run and '{theirs[key][field]}' in the "
                    "second; expected runs on the same data"
                )
    return metrics_from_rows({**row, "score": row["score"] - theirs[key]["score"]} for key, row in ours.items())


def _by_probe(rows: Iterable[Row], run: str) -> dict[tuple[str, str, int, int], Row]:
    found: dict[tuple[str, str, int, int], Row] = {}
    for row in rows:
        key = (row["record_id"], row["protocol"], _edits(row), row["probe"])
        if key in found:
            raise FGVEditError(f"{_named(row)} is there twice in the {run} run; expected every probe once")
        found[key] = row
    return found


def _named(row: Row) -> str:
    after = f", after {_edits(row)} edits" if _edits(row) > 1 else ""
    return f"record '{row['record_id']}', protocol '{row['protocol']}', probe {row['probe']}{after}"


def router_from_rows(rows: Iterable[Row]) -> dict[str, dict[str, Metric]]:
    """protocol -> how often a probe was routed as its kind asks for, for editors that report a similarity (rho).

    `caught`: kinds that the edit should change, sent away from the base model; `kept`: the other kinds, left to it;
    then each kind by itself. Of edits in a row, `<protocol>` is right after each, `<protocol>@end` after all of them.
    """
    found = {}
    for protocol, moment, own in _by_moment(rows):
        own = [row for row in own if row["rho"] is not None]
        if not own:
            continue
        right = [float((row["route"] != "base") == (row["kind"] in MUST_CHANGE)) for row in own]
        sides = _Clustered(own, ["caught" if row["kind"] in MUST_CHANGE else "kept" for row in own], right)
        kinds = _Clustered(own, [row["kind"] for row in own], right)
        found[protocol + moment] = {name: group.mean((name,)) for group in (sides, kinds) for name in group.groups}
    return found


def _by_moment(rows: Iterable[Row]) -> list[tuple[str, str, list[Row]]]:
    """Of each protocol the rows of probes asked right after their own edit, with "", and, where edits were made in a
    row, those asked after all of them, with `END`; both moments hold the probes of a row's last edit."""
    found = []
    for protocol, own in _by_protocol(rows):
        found.append((protocol, "", [row for row in own if row.get("age", 0) == 0]))
        if (last := max(map(_edits, own))) > 1:
            found.append((protocol, END, [row for row in own if _edits(row) == last]))
    return found


def _edits(row: Row) -> int:
    return row.get("edits", 1)  # rows of format 1 do not say: each is of one edit


def _by_protocol(rows: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    """Rows of each protocol, sorted, so that sums do not depend on the order in which rows come."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["protocol"], []).append(row)
    return [
        (protocol, sorted(own, key=lambda row: (row["image_id"], row["record_id"], row["probe"], row["score"])))
        for protocol, own in sorted(groups.items())
    ]


class _Clustered:
    """Scores in groups, and their bootstrap means over images."""

    def __init__(self, rows: Sequence[Row], groups: Sequence[str], scores: Sequence[float]) -> None:
        images = {image: place for place, image in enumerate(sorted({row["image_id"] for row in rows}))}
        self.groups = {group: place for place, group in enumerate(sorted(set(groups)))}
        at = (np.array([images[row["image_id"]] for row in rows]), np.array([self.groups[group] for group in groups]))
        self.sums = np.zeros((len(images), len(self.groups)))
        self.counts = np.zeros((len(images), len(self.groups)), dtype=np.int64)
        np.add.at(self.sums, at, scores)
        np.add.at(self.counts, at, 1)
        draws = np.random.default_rng(0).multinomial(len(images), [1 / len(images)] * len(images), size=RESAMPLES)
        self.resampled = (draws @ self.sums, draws @ self.counts)

    def has(self, groups: Iterable[str]) -> bool:
        return all(group in self.groups for group in groups)

    def resampled_means(self, groups: Sequence[str]) -> np.ndarray:
        """The mean of the groups' means in each resample; NaN where it missed every image that has such a probe."""
        columns = [self.groups[group] for group in groups]
        sums, counts = self.resampled[0][:, columns], self.resampled[1][:, columns]
        return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0).mean(axis=1)

    def mean(self, groups: Sequence[str]) -> Metric:
        """The mean of the groups' means, in percent, with its interval."""
        columns = [self.groups[group] for group in groups]
        value = np.mean([self.sums[:, c].sum() / self.counts[:, c].sum() for c in columns])
        low, high = interval(self.resampled_means(groups), value)
        return {
            "value": round(100 * float(value), 4),
            "low": round(100 * float(low), 4),
            "high": round(100 * float(high), 4),
            "probes": int(self.counts[:, columns].sum()),
            "images": int((self.counts[:, columns].sum(axis=1) > 0).sum()),
        }


def interval(resampled: np.ndarray, value: Any) -> tuple[Any, Any]:
    """The ends of the 95 % interval of a value, or of an array of them (…), from their resamples (…, resamples).

    An interval holds its value. Resamples that are NaN, in any of the values, do not count.
    """
    drawn = resampled[..., ~np.isnan(resampled).reshape(-1, resampled.shape[-1]).any(axis=0)]
    low, high = np.percentile(drawn, [2.5, 97.5], axis=-1) if drawn.shape[-1] else (value, value)
    return np.minimum(low, value), np.maximum(high, value)


def summary(result: Mapping[str, Any]) -> str:
    """The metrics of a result as text: a line a metric, a column a protocol, the interval in brackets. Of edits in a
    row there are two tables: right after each edit, and after all of them."""
    manifest, metrics = result["manifest"], result["metrics"]
    data, edits = manifest["dataset"], manifest["sequence"]
    title = (
        f"{manifest['editor']['name']} on {manifest['backbone']['name']}, {data['records']} records of "
        f"{data['name']}/{data['split']}{f', {edits} edits in a row' if edits else ''}; percent, with 95 % intervals"
    )
    if not edits:
        return "\n".join([title, *_table(metrics, manifest["protocols"], "", "")])
    right_after = _table(metrics, manifest["protocols"], "", "right after")
    return "\n".join([title, *right_after, "", *_table(metrics, manifest["protocols"], END, f"after all {edits}")])


def _table(metrics: Mapping[str, Metric], protocols: Sequence[str], moment: str, corner: str) -> list[str]:
    lines = [[corner, *protocols]]
    for metric in METRICS:
        cells = [_cell(metrics.get(f"{protocol}/{metric}{moment}")) for protocol in protocols]
        if any(cells):
            lines.append([metric, *cells])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _cell(metric: Metric | None) -> str:
    return f"{metric['value']:6.2f} [{metric['low']:.2f}, {metric['high']:.2f}]" if metric else ""
