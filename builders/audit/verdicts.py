"""From figures to a verdict: can a metric be passed with eyes shut?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from builders.audit.exact import TEXT
from builders.audit.figures import Figure
from builders.audit.learned import BOTH, IMAGES, SAID, WORDS

SETTLES, SETTLES_LOW = 95.0, 90.0  # a rule settles a contest that is right so often, and its interval's low end
BLIND = 55.0  # text that is never surely above this is as good as nothing
SURELY = 52.0  # above chance; not 50, since the better of two learners, either way round, is above that by itself
PROBES, GROUPS = 20, 10  # of each label; of the contest: with fewer nothing is said
SHOWN = 65.0  # what another way than text has to reach to be named beside a verdict

NEEDS_EYES, PARTLY, SETTLED = "needs eyes", "partly", "settled by text"
TOO_LITTLE, NOT_CONTESTED = "too little data to tell", "not contested"

RULES = f"""\
{SETTLED}: a rule on text alone is right on at least {SETTLES:g} % (low end of its interval: {SETTLES_LOW:g})
{NEEDS_EYES}: the high end is at most {BLIND:g}, or no rule on text can be right on more (and the \
low end is not above that)
{PARTLY}: neither of these, and the low end is above {SURELY:g}
{TOO_LITTLE}: the rest, and fewer than {PROBES} probes of a label or {GROUPS} groups
Other ways than text are named from {SHOWN:g} % (low end: above {SURELY:g}), and settle it where text would."""


def enough(one: int, other: int, groups: int) -> bool:
    """Whether there are so many probes of the one label and the other, and groups, that something is said."""
    return min(one, other) >= PROBES and groups >= GROUPS


def settles(figure: Figure | None) -> bool:
    """Whether a rule that reaches this settles a contest."""
    return figure is not None and figure["value"] >= SETTLES and figure["low"] >= SETTLES_LOW


def text_figure(contest: Mapping[str, Any]) -> Figure | None:
    """What text alone reaches: the larger of what was learned from words and of what is known from other groups."""
    return best([(contest["learned"] or {}).get(WORDS), contest["elsewhere"][TEXT]["figure"]])


def best(figures: Iterable[Figure | None]) -> Figure | None:
    """The one with the largest value; None of none."""
    return max((figure for figure in figures if figure), key=lambda figure: figure["value"], default=None)


def of_contest(contest: Mapping[str, Any]) -> str:
    """The verdict on one contest of a report."""
    figure, most = text_figure(contest), contest["exact"][TEXT]["most"]
    if contest["learned"] is None or figure is None:
        return TOO_LITTLE
    if settles(figure):
        return SETTLED
    ceiling = most is not None and figure["low"] <= most <= BLIND
    if figure["high"] <= BLIND or ceiling:
        return NEEDS_EYES
    return PARTLY if figure["low"] > SURELY else TOO_LITTLE


def of_metric(verdicts: Iterable[str]) -> str:
    """The verdict on a metric, of those on the contests of its kinds."""
    found = {verdict for verdict in verdicts if verdict != NOT_CONTESTED}
    if len(found) <= 1:
        return next(iter(found), NOT_CONTESTED)
    return TOO_LITTLE if found == {NEEDS_EYES, TOO_LITTLE} else PARTLY


def other_ways(contest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What reaches at least `SHOWN` besides text, with no look at what an image shows of the entity: `way`, its figure,
    and whether it `settles` the contest. One that has words, too, counts where it surely adds to what it is made of.
    Nothing where there is too little to learn from."""
    learned, known, text = contest["learned"], contest["elsewhere"], text_figure(contest)
    if learned is None:
        return []
    images, answers = learned.get(IMAGES), contest["agreement"]
    ways = {
        **{view: known[view]["figure"] for view in ("image + edit", "image + probe")},
        "simple features of images": images,
        "simple features of images with words": _adding(learned.get(BOTH), text, images),
        "base answers": answers,
        "base answers with words": _adding(learned.get(SAID), text, answers),
    }
    shown = {way: of for way, of in ways.items() if of and of["value"] >= SHOWN and of["low"] > SURELY}
    return [
        {"way": way, **{name: of[name] for name in ("value", "low", "high")}, "settles": settles(of)}
        for way, of in shown.items()
    ]


def best_ways(contests: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The other ways of several contests, each as it is where it reaches most."""
    found: dict[str, dict[str, Any]] = {}
    for way in (way for contest in contests for way in contest["other_ways"]):
        if way["way"] not in found or way["value"] > found[way["way"]]["value"]:
            found[way["way"]] = way
    return list(found.values())


def _adding(figure: Figure | None, *parts: Figure | None) -> Figure | None:
    """The figure, where its value lies above the intervals of all of these, and none of them settles it already."""
    more = figure and all(part is None or figure["value"] > part["high"] for part in parts)
    return figure if more and not any(map(settles, parts)) else None
