"""Means of scores and their 95 % intervals, from a bootstrap that draws whole images. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fgvedit.evaluation.rows import AnyRow

RESAMPLES = 1000


# `value`: a mean in percent; `low`, `high`: the ends of its 95 % interval; `probes`: over how many probes; of how many
# different `images`.
Figure = dict[str, float | int]


class ClusteredScores:
    """Scores in groups, and their bootstrap means over images, since the probes of one image are not independent.

    `rows`: (n,), whose images are drawn; `groups`: the group of each; `scores`: 0 to 1.
    """

    def __init__(self, rows: Sequence[AnyRow], groups: Sequence[str], scores: Sequence[float]) -> None:
        images = {image: index for index, image in enumerate(sorted({row["image_id"] for row in rows}))}
        self.groups = {group: index for index, group in enumerate(sorted(set(groups)))}
        at = (np.array([images[row["image_id"]] for row in rows]), np.array([self.groups[group] for group in groups]))
        self.sums = np.zeros((len(images), len(self.groups)))
        self.counts = np.zeros((len(images), len(self.groups)), dtype=np.int64)
        np.add.at(self.sums, at, scores)
        np.add.at(self.counts, at, 1)
        draws = np.random.default_rng(0).multinomial(len(images), [1 / len(images)] * len(images), size=RESAMPLES)
        self.resampled = (draws @ self.sums, draws @ self.counts)

    def has(self, groups: Iterable[str]) -> bool:
        """Whether each of these groups has a score."""
        return all(group in self.groups for group in groups)

    def resampled_means(self, groups: Sequence[str]) -> np.ndarray:
        """(resamples,): the mean of the groups' means; NaN where a resample missed every image that has one of them."""
        columns = [self.groups[group] for group in groups]
        sums, counts = self.resampled[0][:, columns], self.resampled[1][:, columns]
        return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0).mean(axis=1)

    def mean(self, groups: Sequence[str]) -> Figure:
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
