"""Percent of cases, with intervals from a bootstrap that draws whole groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from builders.audit.cases import Case
from fgvedit.evaluation.intervals import ClusteredScores

Figure = dict[str, float]  # value, low, high: percent, and the ends of its 95 % interval


def share(cases: Sequence[Case], marks: Iterable[Any]) -> Figure:
    """How many of the cases, at least one, are marked."""
    return _mean(cases, ["all"] * len(cases), marks)


def balanced(cases: Sequence[Case], right: Iterable[Any]) -> Figure:
    """How often a rule is right about cases of both labels, each label counting a half, whatever its number."""
    return _mean(cases, ["inside" if case.inside else "outside" for case in cases], right)


def mean_of_kinds(cases: Sequence[Case], scores: Iterable[float]) -> Figure:
    """The mean of the mean scores, 0 to 1, of the cases of each kind."""
    return _mean(cases, [case.kind for case in cases], scores)


def _mean(cases: Sequence[Case], parts: Sequence[str], scores: Iterable[Any]) -> Figure:
    clusters = [{"group": case.group} for case in cases]
    found = ClusteredScores(clusters, parts, [float(score) for score in scores]).mean(sorted(set(parts)))
    return {name: round(found[name], 2) for name in ("value", "low", "high")}
