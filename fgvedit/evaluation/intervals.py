"""Means of scores and their 95 % intervals, from a bootstrap that draws whole groups. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fgvedit.evaluation.rows import AnyRow, group_of

RESAMPLES = 1000


# `value`: a mean in percent; `low`, `high`: the ends of its 95 % interval; `probes`: over how many probes; `groups`: of
# how many different groups of records.
Figure = dict[str, float | int]


class ClusteredScores:
    """Scores by label, and their bootstrap means over groups, since the probes of one group are not independent.

    `rows`: (n,), whose records' groups are drawn; `labels`: what each row's score is of, such as its kind; `scores`: 0
    to 1.
    """

    def __init__(self, rows: Sequence[AnyRow], labels: Sequence[str], scores: Sequence[float]) -> None:
        groups = {group: index for index, group in enumerate(sorted({group_of(row) for row in rows}))}
        self.labels = {label: index for index, label in enumerate(sorted(set(labels)))}
        at = (np.array([groups[group_of(row)] for row in rows]), np.array([self.labels[label] for label in labels]))
        self.sums = np.zeros((len(groups), len(self.labels)))
        self.counts = np.zeros((len(groups), len(self.labels)), dtype=np.int64)
        np.add.at(self.sums, at, scores)
        np.add.at(self.counts, at, 1)
        draws = np.random.default_rng(0).multinomial(len(groups), [1 / len(groups)] * len(groups), size=RESAMPLES)
        self.resampled = (draws @ self.sums, draws @ self.counts)

    def has(self, labels: Iterable[str]) -> bool:
        """Whether each of these labels has a score."""
        return all(label in self.labels for label in labels)

    def resampled_means(self, labels: Sequence[str]) -> np.ndarray:
        """(resamples,): the mean of the labels' means; NaN where a resample missed every group that has one of them."""
        columns = [self.labels[label] for label in labels]
        sums, counts = self.resampled[0][:, columns], self.resampled[1][:, columns]
        return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0).mean(axis=1)

    def mean(self, labels: Sequence[str]) -> Figure:
        """The mean of the labels' means, in percent, with its interval."""
        columns = [self.labels[label] for label in labels]
        value = np.mean([self.sums[:, c].sum() / self.counts[:, c].sum() for c in columns])
        low, high = interval(self.resampled_means(labels), value)
        return {
            "value": round(100 * float(value), 4),
            "low": round(100 * float(low), 4),
            "high": round(100 * float(high), 4),
            "probes": int(self.counts[:, columns].sum()),
            "groups": int((self.counts[:, columns].sum(axis=1) > 0).sum()),
        }


def interval(resampled: np.ndarray, value: Any) -> tuple[Any, Any]:
    """The ends of the 95 % interval of a value, or of an array of them (…), from their resamples (…, resamples).

    An interval holds its value. Resamples that are NaN, in any of the values, do not count.
    """
    drawn = resampled[..., ~np.isnan(resampled).reshape(-1, resampled.shape[-1]).any(axis=0)]
    low, high = np.percentile(drawn, [2.5, 97.5], axis=-1) if drawn.shape[-1] else (value, value)
    return np.minimum(low, value), np.maximum(high, value)
