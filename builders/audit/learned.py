"""What a learner finds that is trained on other groups: from words, from simple features of images, from both, and from
words with what a base model answers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from builders.audit import words
from builders.audit.cases import Case
from builders.audit.exact import CHANCE
from builders.audit.figures import balanced, share
from builders.audit.pictures import Look, compared

FOLDS = 5
MOST = 6000  # cases that are learned from, of a contest
WORDS, IMAGES, BOTH, SAID = "words", "images", "both", "words + base answers"
LEARNERS: dict[str, Callable[[], Any]] = {
    "regression": lambda: LogisticRegression(max_iter=200, class_weight="balanced"),
    "trees": lambda: HistGradientBoostingClassifier(
        max_iter=80,
        learning_rate=0.15,
        max_leaf_nodes=15,
        max_bins=32,
        class_weight="balanced",
        early_stopping=False,
        random_state=0,
    ),
}


def views(asked: bool) -> tuple[str, ...]:
    """What is learned from; `asked`: where a base model was asked."""
    return (WORDS, IMAGES, BOTH, *([SAID] if asked else []))


def fits(asked: bool) -> int:
    """Of a contest, for the bar."""
    return FOLDS * len(views(asked)) * len(LEARNERS)


def drawn(cases: Sequence[Case], seed: int = 0) -> list[Case]:
    """All cases, or those of so many groups, drawn with `seed`, that there are at least `MOST`."""
    groups = sorted({case.group for case in cases})
    counts = dict.fromkeys(groups, 0)
    for case in cases:
        counts[case.group] += 1
    kept: set[str] = set()
    total = 0
    for number in np.random.default_rng(seed).permutation(len(groups)):
        if total >= MOST:
            break
        kept.add(groups[number])
        total += counts[groups[number]]
    return [case for case in cases if case.group in kept]


def learned(
    cases: Sequence[Case], looks: Mapping[str, Look], progress: Callable[[], object] = lambda: None
) -> dict[str, dict[str, Any]]:
    """By view, what is reached on groups that were not trained on: max(accuracy, 100 - accuracy), balanced, in percent,
    with its interval; `learner`: the better of `LEARNERS`; `inverted`: whether it was wrong more often than right.

    `progress` is called after each of `fits`. There have to be cases of both labels, and more than one group.
    """
    matrices = _matrices(cases, looks)
    labels = np.array([case.inside for case in cases])
    found = {}
    for view in views(cases[0].said is not None):
        figures: list[dict[str, Any]] = []
        for name, make in LEARNERS.items():
            right = _held_out(make, matrices[view, name], labels, [case.group for case in cases], progress) == labels
            inverted = balanced(cases, right)["value"] < CHANCE
            figures.append({**balanced(cases, right != inverted), "learner": name, "inverted": inverted})
        found[view] = max(figures, key=lambda figure: figure["value"])  # of equals the first
    return found


def yes_by_words(cases: Sequence[Case], yes: Sequence[bool]) -> dict[str, Any]:
    """How often a regression that was trained on other groups tells from the words of a probe alone whether the right
    answer is yes: percent, with its interval; or how often it is wrong, where that is more often: `inverted`.

    Some have to be, some not, and there has to be more than one group.
    """
    groups, labels = [case.group for case in cases], np.array(yes)
    said = _held_out(lambda: LogisticRegression(max_iter=200), words.sparse_asked(cases), labels, groups, lambda: None)
    right = said == labels
    inverted = share(cases, right)["value"] < CHANCE
    return {**share(cases, right != inverted), "inverted": inverted}


def _matrices(cases: Sequence[Case], looks: Mapping[str, Look]) -> dict[tuple[str, str], Any]:
    """By view and learner; the regression takes numbers of one scale."""
    marks, common = words.sparse(cases), words.dense(cases)
    seen = np.array(
        [compared(looks[case.image], looks.get(case.shown), case.image == case.shown) for case in cases], np.float32
    )
    scaled = StandardScaler().fit_transform(seen.astype(np.float64))
    matrices = {
        (WORDS, "regression"): marks,
        (WORDS, "trees"): _varying(common),
        (IMAGES, "regression"): scaled,
        (IMAGES, "trees"): _varying(seen),
        (BOTH, "regression"): hstack([marks, csr_matrix(scaled)]).tocsr(),
        (BOTH, "trees"): _varying(np.hstack([common, seen])),
    }
    if cases[0].said is not None:
        matrices[SAID, "regression"] = hstack([marks, words.sparse_said(cases)]).tocsr()
        matrices[SAID, "trees"] = _varying(np.hstack([common, words.dense_said(cases)]))
    return matrices


def _varying(table: np.ndarray) -> np.ndarray:
    """Without the columns, but the first, that say the same of every case."""
    varies = table.min(axis=0) < table.max(axis=0)
    varies[0] = True
    return table[:, varies]


def _held_out(
    make: Callable[[], Any], features: Any, labels: np.ndarray, groups: Sequence[str], progress: Callable[[], object]
) -> np.ndarray:
    """Whether each case is said to be in scope by a learner that saw none of its group."""
    said = np.zeros(len(labels), dtype=bool)
    folds = min(FOLDS, len(set(groups)))
    for train, test in GroupKFold(folds).split(features, labels, groups):
        if labels[train].all() or not labels[train].any():
            said[test] = labels[train][0]
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                fitted = make().fit(features[train], labels[train])
            # Rounded, so that where nothing was learned the last digit of a sum does not decide.
            said[test] = fitted.decision_function(features[test]).round(6) > 0
        progress()
    return said
