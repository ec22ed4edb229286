"""What else can be had without looking: answers that are frequent, probes that are there twice, splits that share."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from math import log2
from typing import Any

from builders.audit.cases import Case, Reading
from builders.audit.exact import best_rule
from builders.audit.figures import Figure, share
from builders.audit.learned import drawn, yes_by_words
from builders.audit.verdicts import enough
from fgvedit.evaluation.normalise import normalise
from fgvedit.probes import EDIT

OPEN, YES_NO, CHOICE = FORMS = ("open", "yes/no", "choice")


def form(case: Case) -> str:
    """How a probe asks: for a choice between what it offers, for yes or no, or openly."""
    if " or " in f" {normalise(case.asked)} ":
        return CHOICE
    return YES_NO if normalise(case.answer) in ("yes", "no") else OPEN


def answers(cases: Sequence[Case], seed: int = 0) -> list[dict[str, Any]]:
    """Of the cases of one kind, by form: how many different answers there are, the most frequent one and its share,
    entropy in bits; `yes`: the share of "yes" where yes or no is asked; `first`: of choices between two whose answer is
    one of them, the share where it is the first; `by_words`: how often yes is told from no by a probe's words alone
    (`yes_by_words`). The last three are None for other forms, the last also where there are too few."""
    found = []
    for name in FORMS:
        some = [case for case in cases if form(case) == name]
        if some:
            found.append(
                {"form": name, **_answers(some, name), "by_words": _by_words(some, seed) if name == YES_NO else None}
            )
    return found


def _answers(cases: Sequence[Case], name: str) -> dict[str, Any]:
    counts = Counter(normalise(case.answer) for case in cases)
    answer, most = min(counts.items(), key=lambda item: (-item[1], item[0]))
    shares = [count / len(cases) for count in counts.values()]
    offered = [place for case in cases if (place := _offered(case)) is not None] if name == CHOICE else []
    return {
        "probes": len(cases),
        "different": len(counts),
        "frequent": answer,
        "share": _percent(most, len(cases)),
        "entropy": round(abs(sum(part * log2(part) for part in shares)), 2),
        "yes": _percent(counts["yes"], len(cases)) if name == YES_NO else None,
        "first": _percent(sum(offered), len(offered)) if offered else None,
    }


def _by_words(cases: Sequence[Case], seed: int) -> dict[str, Any] | None:
    yes = sum(normalise(case.answer) == "yes" for case in cases)
    if not enough(yes, len(cases) - yes, len({case.group for case in cases})):
        return None
    some = drawn(cases, seed)
    return yes_by_words(some, [normalise(case.answer) == "yes" for case in some])


def _offered(case: Case) -> bool | None:
    """Whether the right one of two offered answers is the first; None where it is neither or both."""
    before, _, after = f" {normalise(case.asked)} ".rpartition(" or ")
    answer = f" {normalise(case.answer)} "
    first, second = answer in f"{before} ", answer in f" {after}"
    return first if first != second else None


def truth_is_target(cases: Sequence[Case]) -> Figure | None:
    """Of probes out of scope: how often the right answer is the edit's target all the same, so that an edit that gets
    that far goes unseen."""
    outside = [case for case in cases if not case.inside]
    same = [normalise(case.answer) == normalise(case.target) for case in outside]
    return share(outside, same) if outside else None


def repeated(cases: Sequence[Case]) -> dict[str, Any]:
    """How many different probes there are, question and image, and the effective number: as many, all equally often,
    would meet by chance as often as these."""
    counts = Counter((case.shown, normalise(case.asked)) for case in cases).values()
    return {"different": len(counts), "effective": round(len(cases) ** 2 / sum(count**2 for count in counts), 1)}


def position(cases: Sequence[Case], seed: int = 0) -> dict[str, Any] | None:
    """What the place of a probe within its record tells; None where edits are among the cases, which have none."""
    return None if any(case.kind == EDIT for case in cases) else best_rule(cases, lambda case: case.place, seed)


def length(cases: Sequence[Case], seed: int = 0) -> dict[str, Any]:
    """What the number of a probe's words tells."""
    return best_rule(cases, lambda case: len(case.asked.split()), seed)


def shared(readings: Mapping[str, Reading]) -> list[dict[str, Any]]:
    """For each two splits, what both hold: texts in whatever letters, images to the byte."""
    found = []
    for one, other in itertools.combinations(readings, 2):
        first, second = _contents(readings[one]), _contents(readings[other])
        found += [
            {
                "splits": [one, other],
                "what": what,
                "both": len(first[what] & second[what]),
                "different": [len(first[what]), len(second[what])],
            }
            for what in first
        ]
    return found


def _contents(reading: Reading) -> dict[str, set[Any]]:
    cases = reading.cases
    return {
        "images": set(reading.looks),
        "edit questions": {normalise(case.question) for case in cases},
        "edits, question and target": {(normalise(case.question), normalise(case.target)) for case in cases},
        "probe questions": {normalise(case.asked) for case in cases if case.kind != EDIT},
        "edit and probe questions": {(normalise(case.question), normalise(case.asked)) for case in cases},
    }


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 2)
