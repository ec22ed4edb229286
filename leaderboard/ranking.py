"""Who is ahead of whom, and who cannot be told apart.

Runs are compared within a group: the same records, backbone and number of edits in a row, one protocol, one metric.
A run's rank is 1 more than the number of runs that are better beyond doubt, that is, whose paired bootstrap difference
to it has an interval above 0. Runs that cannot be told apart from the best share rank 1. Being told apart is not
transitive: where a is better than c beyond doubt and b can be told apart from neither, a and b share rank 1, and c has
rank 2, though b and c are not told apart. A run of wide intervals can so have a better rank than a higher value.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fgvedit.results import METRICS, resampled_metrics

SCORE = "score"
SCORED = ("reliability", "locality", "generality", "specificity")  # what <protocol>/score is the harmonic mean of
RANKED_BY = (SCORE, *METRICS)


@dataclass(frozen=True)
class Group:
    """What runs that are ranked together have in common, besides a protocol. `sequence`: edits in a row; None: one."""

    dataset: str
    split: str
    revision: str
    records: int
    limit: int | None
    backbone: str
    weights: str  # the revision of the backbone
    input_mode: str
    sequence: int | None


def group_of(result: Mapping[str, Any]) -> Group:
    manifest = result["manifest"]
    data, backbone = manifest["dataset"], manifest["backbone"]
    return Group(
        dataset=data["name"],
        split=data["split"],
        revision=data["revision"],
        records=data["records"],
        limit=data["limit"],
        backbone=backbone["name"],
        weights=backbone["revision"],
        input_mode=backbone["input_mode"],
        sequence=manifest["sequence"],
    )


@dataclass(frozen=True)
class Sampled:
    """A run as the bootstrap sees it. `values` and `resampled`: by the name of a metric, `score` among them, in
    percent; `probes`: protocol -> a hash of the probes asked, in which runs that are compared must agree."""

    values: dict[str, float]
    resampled: dict[str, np.ndarray]
    probes: dict[str, str]


def sample(metrics: Mapping[str, Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> Sampled:
    """`metrics`: those of the run's result file; `rows`: its rows."""
    return Sampled(with_score(values_of(metrics)), with_score(resampled_metrics(rows)), probes_of(rows))


def values_of(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    return {name: metric["value"] for name, metric in metrics.items()}


def with_score(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values and, of each protocol (and moment) that has all of `SCORED`, their harmonic mean as `score`."""
    found = dict(values)
    for name in values:
        protocol, metric, moment = parts_of(name)
        parts = [f"{protocol}/{other}{moment}" for other in SCORED]
        if metric == SCORED[0] and all(part in values for part in parts):
            found[f"{protocol}/{SCORE}{moment}"] = harmonic_mean([values[part] for part in parts])
    return found


def harmonic_mean(values: Sequence[Any]) -> Any:
    """Of numbers or of arrays, element by element; 0 where one of the values is 0."""
    stacked = np.stack([np.asarray(value, dtype=float) for value in values])
    with np.errstate(divide="ignore", over="ignore"):
        mean = len(values) / (1 / stacked).sum(axis=0)
    return mean if mean.ndim else round(float(mean), 4)


def parts_of(name: str) -> tuple[str, str, str]:
    """ "paper/specificity@end" -> ("paper", "specificity", "@end")."""
    protocol, _, rest = name.partition("/")
    metric, at, moment = rest.partition("@")
    return protocol, metric, at + moment


def interval(resampled: np.ndarray, value: float) -> tuple[float, float]:
    """The 95 % interval of a value, or of a difference, from its resamples."""
    drawn = resampled[~np.isnan(resampled)]
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (value, value)
    return round(float(min(low, value)), 4), round(float(max(high, value)), 4)


def difference(ours: Sampled, theirs: Sampled, name: str) -> tuple[float, float, float]:
    """How far our run is above theirs in a metric, and the paired bootstrap's interval; in percentage points."""
    value = ours.values[name] - theirs.values[name]
    return round(value, 4), *interval(ours.resampled[name] - theirs.resampled[name], value)


def comparable(ours: Sampled, theirs: Sampled, name: str) -> bool:
    """Whether both runs have the metric, of the same probes."""
    protocol = parts_of(name)[0]
    both = all(name in run.values and name in run.resampled for run in (ours, theirs))
    return both and ours.probes[protocol] == theirs.probes[protocol]


def ranks(runs: Sequence[tuple[Group, Sampled]], name: str) -> list[int | None]:
    """The rank of each run in one metric among the runs of its group; None where it lacks the metric or its rows."""
    found: list[int | None] = []
    for group, run in runs:
        if name not in run.values or name not in run.resampled:
            found.append(None)
            continue
        others = [other for its, other in runs if its == group and other is not run and comparable(other, run, name)]
        found.append(1 + sum(difference(other, run, name)[1] > 0 for other in others))
    return found


def probes_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """protocol -> a hash of which probes of which records were asked, and when."""
    keys: dict[str, list[Any]] = {}
    for row in rows:
        key = [
            row["record_id"],
            row["edits"],
            row["probe"],
            row["kind"],
            row["image_id"],
            row["question"],
            row["answer"],
        ]
        keys.setdefault(row["protocol"], []).append(key)
    return {
        protocol: hashlib.sha256(json.dumps(sorted(own)).encode()).hexdigest() for protocol, own in sorted(keys.items())
    }
