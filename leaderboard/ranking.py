"""Who is ahead of whom, and who cannot be told apart.

Runs are compared within a block: the same records, backbone and number of sequential edits, one protocol, one metric.
A run's rank is 1 more than the number of runs that are better beyond doubt, that is, whose paired bootstrap difference
to it has an interval above 0. Runs that cannot be told apart from the best share rank 1. Being told apart is not
transitive: where a is better than c beyond doubt and b can be told apart from neither, a and b share rank 1, and c has
rank 2, though b and c are not told apart. A run of wide intervals can so have a better rank than a higher value.

The control, the editor that does nothing, stands among the others without a rank and does not count in theirs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fgvedit.evaluation.intervals import interval
from fgvedit.evaluation.metrics import resampled_metrics
from fgvedit.evaluation.summary import is_control
from fgvedit.probes import PAPER, metrics

SCORE = "score"
SCORED = PAPER  # what <protocol>/score is the harmonic mean of


def ranked_by() -> tuple[str, ...]:
    """What runs can be ranked by, in the order of tables: the score, and every registered metric."""
    return (SCORE, *metrics())


@dataclass(frozen=True)
class Block:
    """What runs that are ranked together have in common, besides a protocol.

    `sequence`: how many edits were made one on top of the other; None: one by one.
    """

    dataset: str
    split: str
    revision: str
    records: int
    backbone: str
    weights: str  # the revision of the backbone
    input_mode: str
    sequence: int | None


def block_of(result: Mapping[str, Any]) -> Block:
    """The block of a run, from its result file."""
    manifest = result["manifest"]
    data, backbone = manifest["dataset"], manifest["backbone"]
    return Block(
        dataset=data["name"],
        split=data["split"],
        revision=data["revision"],
        records=data["records"],
        backbone=backbone["name"],
        weights=backbone["revision"],
        input_mode=backbone["input_mode"],
        sequence=manifest["sequence"],
    )


@dataclass(frozen=True)
class Sampled:
    """A run as the bootstrap sees it. `values` and `resampled`: by the name of a metric, `score` among them, in
    percent; `probes`: protocol -> a hash of the probes asked, in which runs that are compared must agree; `control`:
    whether it is the control, which is not ranked."""

    values: dict[str, float]
    resampled: dict[str, np.ndarray]
    probes: dict[str, str]
    control: bool = False


def sample(result: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Sampled:
    """A run with its resamples, from its result file and its rows."""
    values, resampled = with_score(values_of(result["metrics"])), with_score(resampled_metrics(rows))
    return Sampled(values, resampled, probes_of(rows), is_control(result["manifest"]))


def values_of(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Name -> value of the metrics of a result file."""
    return {name: figure["value"] for name, figure in figures.items()}


def with_score(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values and, of each protocol (and evaluation point) that has all of `SCORED`, their harmonic mean as
    `score`."""
    found = dict(values)
    for name in values:
        protocol, metric, point = parts_of(name)
        parts = [f"{protocol}/{other}{point}" for other in SCORED]
        if metric == SCORED[0] and all(part in values for part in parts):
            found[f"{protocol}/{SCORE}{point}"] = harmonic_mean([values[part] for part in parts])
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
    metric, at, point = rest.partition("@")
    return protocol, metric, at + point


def ends(run: Sampled, name: str) -> tuple[float, float]:
    """The 95 % interval of a run's value in a metric."""
    low, high = interval(run.resampled[name], run.values[name])
    return round(float(low), 4), round(float(high), 4)


def differences(ours: Sampled, others: Sequence[Sampled], name: str) -> np.ndarray:
    """(others, 3): how far our run is above each of the others in a metric, and the ends of the paired bootstrap's
    interval; in percentage points. All must be comparable with ours."""
    if not others:
        return np.empty((0, 3))
    values = ours.values[name] - np.array([other.values[name] for other in others])
    resampled = ours.resampled[name] - np.stack([other.resampled[name] for other in others])
    return np.stack([values, *interval(resampled, values)], axis=1).round(4)


def comparable(ours: Sampled, theirs: Sampled, name: str) -> bool:
    """Whether both runs have the metric, of the same probes."""
    protocol = parts_of(name)[0]
    both = all(name in run.values and name in run.resampled for run in (ours, theirs))
    return both and ours.probes[protocol] == theirs.probes[protocol]


def ranks(runs: Sequence[tuple[Block, Sampled]], name: str) -> list[int | None]:
    """The rank of each run in one metric among the runs of its block; None where it lacks the metric or its rows, and
    of the control, which does not count in the ranks of others."""
    protocol = parts_of(name)[0]
    together: dict[tuple[Block, str], list[int]] = {}
    for index, (block, run) in enumerate(runs):
        if comparable(run, run, name) and not run.control:
            together.setdefault((block, run.probes[protocol]), []).append(index)
    found: list[int | None] = [None] * len(runs)
    for indices in together.values():
        below = np.zeros(len(indices), dtype=int)  # how many are better beyond doubt
        for number, index in enumerate(indices):
            lines = differences(runs[index][1], [runs[other][1] for other in indices[number + 1 :]], name)
            below[number] += (lines[:, 2] < 0).sum()
            below[number + 1 :] += lines[:, 1] > 0
        for index, count in zip(indices, below.tolist(), strict=True):
            found[index] = 1 + count
    return found


def probes_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """protocol -> a hash of which probes of which records were asked, and when."""
    keys: dict[str, list[Any]] = {}
    for row in rows:
        key = [row[name] for name in ("record_id", "edits", "probe", "kind", "image_id", "group", "question", "answer")]
        keys.setdefault(row["protocol"], []).append(key)
    return {
        protocol: hashlib.sha256(json.dumps(sorted(own)).encode()).hexdigest() for protocol, own in sorted(keys.items())
    }
