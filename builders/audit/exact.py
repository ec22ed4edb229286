"""The best that any rule can do that is given a part of what a router is given: counted, nothing learned."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from builders.audit.cases import Case
from builders.audit.figures import balanced

CHANCE = 50.0  # percent, each label counting a half
SHUFFLES = 100  # of the labels, for what chance gives

View = Callable[[Case], Hashable]

# Whether there is an image at all is known with eyes shut, and is a part of the text therefore.
TEXT = "text"
VIEWS: dict[str, View] = {
    TEXT: lambda case: (case.question, case.target, case.asked, bool(case.shown)),
    "image + edit": lambda case: (case.image, case.question, case.target),
    "image + probe": lambda case: (case.shown, case.asked),
    "all three": lambda case: (case.image, case.question, case.target, case.shown, case.asked),
}


def best_rule(cases: Sequence[Case], view: View, seed: int = 0) -> dict[str, Any]:
    """What the best rule reaches that knows a view of each case alone.

    Counted over the values that come up more than once: of one that comes up once nothing can be said.
    `coverage`: the percent of cases with such a value; `best`: balanced accuracy, at least 50; `chance`: what the same
    count gives, on average, where labels are drawn instead (with `seed`); `entropy`: bits of the label that are left
    when the view is known (1: all). These three are None where no value of one label or the other repeats. `most`:
    percent that no rule can surpass over all cases, those whose value comes up once taken as known; None where all
    cases have one label.
    """
    values = _numbers(view(case) for case in cases)
    repeats = np.bincount(values)[values] > 1
    inside = np.array([case.inside for case in cases])
    found: dict[str, Any] = {"coverage": _percent(repeats), "most": _most(inside, values)}
    inside = inside[repeats]
    if not inside.any() or inside.all():
        return {**found, "best": None, "chance": None, "entropy": None}
    kept, values = [case for case, again in zip(cases, repeats, strict=True) if again], _numbers(values[repeats])
    weights = _weights(inside, values)
    best = balanced(kept, (weights[0] >= weights[1])[values] == inside)
    return {
        **found,
        "best": best,
        "chance": round(_by_chance(inside, values, seed), 2),
        "entropy": round(_entropy(weights), 4),
    }


def known_elsewhere(cases: Sequence[Case], view: View) -> dict[str, Any]:
    """What the rule "as it is in the other groups" reaches over all cases, those whose value comes up in no other group
    guessed, right on a half of them; or its opposite, where that is right more often: `inverted`.

    `coverage`: the percent of cases whose value comes up in another group; `figure`: balanced accuracy, None where
    there is no such case. A value that is as often in scope as not is taken for out of scope.
    """
    values, groups = _numbers(view(case) for case in cases), _numbers(case.group for case in cases)
    inside = np.array([case.inside for case in cases])
    own = _numbers(zip(values.tolist(), groups.tolist(), strict=True))
    others = np.bincount(values)[values] - np.bincount(own)[own]
    told = others > 0
    if not told.any() or not inside.any() or inside.all():
        return {"coverage": _percent(told), "figure": None, "inverted": False}
    weights = np.where(inside, 0.5 / inside.sum(), -0.5 / (~inside).sum())
    lean = np.bincount(values, weights)[values] - np.bincount(own, weights)[own]
    right = np.where(told, (lean.round(12) > 0) == inside, 0.5)
    inverted = balanced(cases, right)["value"] < CHANCE
    return {
        "coverage": _percent(told),
        "figure": balanced(cases, 1 - right if inverted else right),
        "inverted": inverted,
    }


def _percent(marks: np.ndarray) -> float:
    return round(100 * float(marks.mean()), 2)


def _numbers(values: Iterable[Hashable]) -> np.ndarray:
    """A number for each different value, in the order in which they come up."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values])


def _weights(inside: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(2, values): the share of each label's cases that have a value, halved, so that all sum to 1."""
    size = values.max() + 1
    return np.array([np.bincount(values[side], minlength=size) / (2 * side.sum()) for side in (inside, ~inside)])


def _most(inside: np.ndarray, values: np.ndarray) -> float | None:
    if not inside.any() or inside.all():
        return None
    return round(100 * float(_weights(inside, values).max(axis=0).sum()), 2)


def _by_chance(inside: np.ndarray, values: np.ndarray, seed: int) -> float:
    """The best rule's balanced accuracy in percent where labels say nothing."""
    rng = np.random.default_rng(seed)
    drawn = [_weights(rng.permutation(inside), values).max(axis=0).sum() for _ in range(SHUFFLES)]
    return 100 * float(np.mean(drawn))


def _entropy(weights: np.ndarray) -> float:
    share = weights / weights.sum(axis=0)
    bits = -np.where(share > 0, share * np.log2(np.where(share > 0, share, 1)), 0).sum(axis=0)
    return abs(float((weights.sum(axis=0) * bits).sum()))
