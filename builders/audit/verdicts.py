"""From figures to a verdict: can a metric be passed with eyes shut?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from builders.audit.exact import TEXT
from builders.audit.figures import Figure
from builders.audit.learned import IMAGES, WORDS

SETTLES, SETTLES_LOW = 95.0, 90.0  # a rule settles a contest that is right so often, and its interval's low end
BLIND = 55.0  # text that is never surely above this is as good as nothing
SURELY = 52.0  # above chance; not 50, since the better of two learners, either way round, is above that by itself
PROBES, GROUPS = 20, 10  # of each label; of the contest: with fewer nothing is said
HALF = 50.0  # the percent of probes of which something has to be known from other groups, to count

NEEDS_EYES, PARTLY, SETTLED = "needs eyes", "partly", "settled by text"
TOO_LITTLE, NOT_CONTESTED = "too little data to tell", "not contested"

RULES = f"""\
{SETTLED}: a rule on text alone is right on at least {SETTLES:g} % (low end of its interval: {SETTLES_LOW:g})
{NEEDS_EYES}: the high end is at most {BLIND:g}, or no rule on text can be right on more
{PARTLY}: neither of these, and the low end is above {SURELY:g}
{TOO_LITTLE}: the rest, and fewer than {PROBES} probes of a label or {GROUPS} groups"""


def elsewhere(contest: Mapping[str, Any], view: str) -> Figure | None:
    """What is known of a view from other groups, where it is of at least `HALF` of the probes; else None."""
    known = contest["elsewhere"][view]
    figure: Figure | None = known["figure"] if known["coverage"] >= HALF else None
    return figure


def settles(figure: Figure | None) -> bool:
    """Whether a rule that reaches this settles a contest."""
    return figure is not None and figure["value"] >= SETTLES and figure["low"] >= SETTLES_LOW


def text_figure(contest: Mapping[str, Any]) -> Figure | None:
    """What text alone reaches: the larger of what was learned from words and of what is known from other groups."""
    learned = contest["learned"][WORDS] if contest["learned"] else None
    figures = [figure for figure in (learned, elsewhere(contest, TEXT)) if figure]
    return max(figures, key=lambda figure: figure["value"], default=None)


def of_contest(contest: Mapping[str, Any]) -> str:
    """The verdict on one contest of a report."""
    figure, most = text_figure(contest), contest["exact"][TEXT]["most"]
    if contest["learned"] is None or figure is None:
        return TOO_LITTLE
    if settles(figure):
        return SETTLED
    if figure["high"] <= BLIND or (most is not None and most <= BLIND):
        return NEEDS_EYES
    return PARTLY if figure["low"] > SURELY else TOO_LITTLE


def of_metric(verdicts: Iterable[str]) -> str:
    """The verdict on a metric, of those on the contests of its kinds."""
    found = {verdict for verdict in verdicts if verdict != NOT_CONTESTED}
    if len(found) <= 1:
        return next(iter(found), NOT_CONTESTED)
    return TOO_LITTLE if found == {NEEDS_EYES, TOO_LITTLE} else PARTLY


def other_ways(contest: Mapping[str, Any]) -> list[str]:
    """What settles a contest besides text, with no look at what an image shows of the entity."""
    learned = contest["learned"] or {}
    ways = {view: settles(elsewhere(contest, view)) for view in ("image + edit", "image + probe")}
    ways["simple features of images"] = settles(learned.get(IMAGES))
    ways["base answers"] = settles(contest["agreement"])
    return [way for way, does in ways.items() if does]
