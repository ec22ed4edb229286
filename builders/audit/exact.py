"""The best that any rule can do that is given a part of what a router is given: counted, nothing learned."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from builders.audit.cases import Case
from builders.audit.figures import balanced

SHUFFLES = 200  # of the labels, for what chance gives

View = Callable[[Case], Hashable]

# Whether there is an image at all is known with eyes shut, and is a part of the text therefore.
TEXT = "text"
VIEWS: dict[str, View] = {
    TEXT: lambda case: (case.question, case.target, case.asked, bool(case.shown)),
    "image + edit": lambda case: (case.image, case.question, case.target),
    "image + probe": lambda case: (case.shown, case.asked),
    "all three": lambda case: (case.image, case.question, case.target, case.shown, case.asked),
}


def best_rule(cases: Sequence[Case], view: View) -> dict[str, Any]:
    """What the best rule reaches that knows a view of each case alone, over the values that come up more than once: of
    one that comes up once nothing can be said.

    `coverage`: the percent of cases with such a value; `best`: balanced accuracy, at least 50; `chance`: what the same
    rule reaches on average, and at most in 97.5 of 100 draws, where labels are drawn instead; `entropy`: bits of the
    label that are left when the view is known (1: all); `most`: percent that no rule can surpass over all cases, those
    whose value comes up once taken as known. The last four are None where no value of one label or the other repeats.
    """
    _, at, counts = np.unique(_numbers([view(case) for case in cases]), return_inverse=True, return_counts=True)
    repeats = counts[at] > 1
    found: dict[str, Any] = {"coverage": round(100 * float(repeats.mean()), 2)}
    kept = [case for case, again in zip(cases, repeats, strict=True) if again]
    inside = np.array([case.inside for case in kept], dtype=bool)
    if not inside.any() or inside.all():
        return {**found, "best": None, "chance": None, "entropy": None, "most": None}
    values = np.unique(at[repeats], return_inverse=True)[1]
    weights = _weights(inside, values)
    best = balanced(kept, (weights[0] >= weights[1])[values] == inside)
    shuffled = _by_chance(inside, values)
    most = float(repeats.mean()) * best["value"] + 100 * float(1 - repeats.mean())
    return {
        **found,
        "best": best,
        "chance": {"mean": round(float(shuffled.mean()), 2), "high": round(float(np.percentile(shuffled, 97.5)), 2)},
        "entropy": round(_entropy(weights), 4),
        "most": round(most, 2),
    }


def _numbers(values: Sequence[Hashable]) -> np.ndarray:
    """A number for each different value, in the order in which they come up."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values])


def _weights(inside: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(2, values): the share of each label's cases that have a value, halved, so that all sum to 1."""
    size = values.max() + 1
    return np.array([np.bincount(values[side], minlength=size) / (2 * side.sum()) for side in (inside, ~inside)])


def _by_chance(inside: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(SHUFFLES,): the best rule's balanced accuracy in percent where labels say nothing."""
    rng = np.random.default_rng(0)
    return np.array([100 * _weights(rng.permutation(inside), values).max(axis=0).sum() for _ in range(SHUFFLES)])


def _entropy(weights: np.ndarray) -> float:
    share = weights / weights.sum(axis=0)
    bits = -np.where(share > 0, share * np.log2(np.where(share > 0, share, 1)), 0).sum(axis=0)
    return float(abs((weights.sum(axis=0) * bits).sum()))
