"""Every kind of probe and every metric, once: what is asked, what is right after the edit, and how it is scored.

Row schemas, metrics, tables, pages, builders and docs take from here what they say of a kind or a metric. A new kind is
one more entry of `OWN_KINDS`, or, from outside the project, a `ProbeKind` under the entry-point group `fgvedit.probes`;
a metric over several kinds, or of its own score, is a `Metric` of `OWN_METRICS` or under `fgvedit.metrics`.
Nothing here needs torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Literal, get_args

from fgvedit.util.errors import FGVEditError, unknown
from fgvedit.util.plugins import loaded

KINDS_GROUP = "fgvedit.probes"
METRICS_GROUP = "fgvedit.metrics"
NAME = re.compile(r"[a-z][a-z0-9_]*")
TAKEN = ("score", "rank", "caught", "kept")  # by columns of tables, and by a router's figures

EDIT = "edit"  # the kind of the edit itself, asked as one more probe
EXACT, AS_BEFORE, TOP_1, TOP_10 = "exact", "as before", "top-1", "top-10"
RULES = {
    EXACT: "1 where the answer is the right one, else 0",
    AS_BEFORE: "1 where the answer is the one before the edit, else 0",
    TOP_1: "the share of positions whose most likely token is the one before the edit",
    TOP_10: "the share of (position, rank) pairs, ten ranks, whose token is the one before the edit",
}
_NEW = {"paper": EXACT, "generation": EXACT}
_KEPT = {"paper": TOP_10, "generation": AS_BEFORE}  # also for kinds that do not say it

Right = Literal["the new answer", "the entailed answer", "as before"]
Shown = Literal["own", "other", "none"]


@dataclass(frozen=True)
class ProbeKind:
    """One kind of probe.

    `asks`: what it is about, in one line, true of any data; `right`: what is right after the edit; `metric`: the metric
    that is the mean score of its probes; `image`: whether it shows the edit's own image, another one or none;
    `against`: the kind that it has to be told from, which asks likewise and has the other thing right ("": all that
    have); `same_words`: whether its question is the edit's, word for word; `needs_eyes`: whether it is meant that only
    an image tells the two apart (`builders.audit` measures whether data keep to it); `rules`: protocol -> how it is
    scored there, one of `RULES`: `EXACT` where it changes, else another one (a protocol that is not named scores it as
    the project's own kinds); `required`: whether every split has to have it; `or_else`: the kind that stands in for it
    where there is none of it, for a split to be valid and for an editor to be trained, never in a metric; `retired`:
    read, verified and shown in old data and runs, never built again. Raises `FGVEditError` for a field of another
    value.
    """

    name: str
    asks: str
    right: Right
    metric: str
    image: Shown = "own"
    needs_eyes: bool = False
    against: str = ""
    same_words: bool = False
    rules: Mapping[str, str] = field(default_factory=dict)
    required: bool = False
    or_else: str = ""
    retired: bool = False

    def __post_init__(self) -> None:
        where = f"kind of probe '{self.name}'"
        for field_, valid in (("right", get_args(Right)), ("image", get_args(Shown))):
            if getattr(self, field_) not in valid:
                raise unknown(f"{field_} of {where}", str(getattr(self, field_)), valid)
        for protocol, rule in self.rules.items():
            if rule not in RULES:
                raise unknown(f"rule of {where} under protocol '{protocol}'", str(rule), RULES)
            if (rule == EXACT) != self.changes:
                raise FGVEditError(
                    f"{where}: under protocol '{protocol}' its rule is '{rule}', and what is right is '{self.right}'; "
                    f"expected '{EXACT}' where the edit changes the answer, and only there"
                )

    @property
    def changes(self) -> bool:
        """Whether the edit has to change the answer."""
        return self.right != "as before"

    def rule(self, protocol: str) -> str:
        """How a protocol scores it: one of `RULES`."""
        return self.rules.get(protocol, EXACT if self.changes else _KEPT.get(protocol, AS_BEFORE))


@dataclass(frozen=True)
class Metric:
    """A metric: the mean, over its kinds of probes, of the mean score of each, in percent.

    `meaning`: in one line; `of_row`: the score, 0 to 1, that it takes of a row of `fgvedit.evaluation.rows`, where that
    is not the row's own.
    """

    name: str
    kinds: tuple[str, ...]
    meaning: str
    of_row: Callable[[Mapping[str, Any]], float] | None = None

    def __post_init__(self) -> None:
        if not self.kinds:
            raise FGVEditError(f"metric '{self.name}' is of no kind of probe; expected at least one")

    @property
    def needs_eyes(self) -> bool:
        """Whether one of its kinds is meant to ask what only an image settles."""
        return any(kinds()[kind].needs_eyes for kind in self.kinds)

    @property
    def retired(self) -> bool:
        """Whether all of its kinds are retired."""
        return all(kinds()[kind].retired for kind in self.kinds)


OWN_KINDS = (
    ProbeKind(EDIT, "the edit's question", "the new answer", "reliability", rules=_NEW, against="worded_out"),
    ProbeKind(
        "rephrase",
        "the edit's question in other words",
        "the new answer",
        "generality",
        rules=_NEW,
        against="worded_out",
        required=True,
    ),
    ProbeKind(
        "in_scope",
        "what the edit entails about the same entity",
        "the entailed answer",
        "in_scope",
        needs_eyes=True,
        rules=_NEW,
        against="out_of_scope",
        required=True,
        or_else="worded_in",
    ),
    ProbeKind(
        "out_of_scope",
        "another entity, or another attribute, in the same image",
        "as before",
        "retention",
        needs_eyes=True,
        rules=_KEPT,
        against="in_scope",
        required=True,
        or_else="worded_out",
    ),
    ProbeKind(
        "text_locality",
        "a question about something else, without an image",
        "as before",
        "locality",
        image="none",
        rules={**_KEPT, "paper": TOP_1},
        against="rephrase",
        required=True,
    ),
    ProbeKind(
        "worded_in",
        "what the edit entails about the same entity, named in the edit's words",
        "the entailed answer",
        "worded_in",
        rules=_NEW,
        against="worded_out",
    ),
    ProbeKind(
        "worded_out",
        "another entity, or another attribute, in the same image, as the words tell",
        "as before",
        "worded_out",
        rules=_KEPT,
        against="worded_in",
    ),
    ProbeKind(
        "other_view",
        "the edit's question about another picture of the same scene",
        "the new answer",
        "other_view",
        image="other",
        needs_eyes=True,
        rules=_NEW,
        against="other_image",
        same_words=True,
    ),
    ProbeKind(
        "other_image",
        "the edit's question about another image",
        "as before",
        "other_image",
        image="other",
        needs_eyes=True,
        rules=_KEPT,
        against="other_view",
        same_words=True,
    ),
    ProbeKind(
        "other_value",
        "the edit's question about its own scene with just this value changed",
        "as before",
        "other_value",
        image="other",
        needs_eyes=True,
        rules=_KEPT,
        against="other_view",
        same_words=True,
    ),
    ProbeKind(
        "no_image",
        "the edit's question without an image",
        "as before",
        "no_image",
        image="none",
        rules=_KEPT,
        against=EDIT,
        same_words=True,
    ),
    ProbeKind(
        "portability",
        "what follows only from edit and image together, and changes",
        "the entailed answer",
        "portability",
        needs_eyes=True,
        rules=_NEW,
        against="portability_same",
    ),
    ProbeKind(
        "portability_same",
        "such a question, which the edit leaves alone",
        "as before",
        "portability_same",
        needs_eyes=True,
        rules=_KEPT,
        against="portability",
    ),
    ProbeKind(
        "reference_in",
        "the edited entity, named only by its surroundings",
        "the new answer",
        "reference_in",
        needs_eyes=True,
        rules=_NEW,
        against="reference_out",
        retired=True,
    ),
    ProbeKind(
        "reference_out",
        "another entity, named only by its surroundings",
        "as before",
        "reference_out",
        needs_eyes=True,
        rules=_KEPT,
        against="reference_in",
        retired=True,
    ),
)
OWN_METRICS = (Metric("specificity", ("in_scope", "out_of_scope"), "the mean of in_scope and retention"),)
PAPER = ("reliability", "generality", "locality", "specificity")  # the paper's four, which tables show first
BEYOND_NOTHING = Metric(  # specificity in another scale, shown beside it and never stored
    "in_scope + retention - 100",
    ("in_scope", "out_of_scope"),
    "2 * specificity - 100: about 0 for doing nothing, 100 for a faultless editor",
)


@cache
def kinds() -> dict[str, ProbeKind]:
    """Name -> kind, the edit's first, the project's own before those of others.

    Raises `FGVEditError`, naming the entry point, for one that is no `ProbeKind` or whose name is taken or not lower
    case.
    """
    return _with_others(OWN_KINDS, ProbeKind, KINDS_GROUP, "kind of probe")


@cache
def metrics() -> dict[str, Metric]:
    """Name -> metric: the paper's four, then the others in the order of their kinds.

    Raises `FGVEditError` as `kinds` does, where two kinds feed one metric, and where a metric is of an unknown kind.
    """
    of_kinds: dict[str, Metric] = {}
    for kind in kinds().values():
        taken = kind.metric in (*of_kinds, *TAKEN, *(metric.name for metric in OWN_METRICS))
        if taken or not NAME.fullmatch(kind.metric):
            raise FGVEditError(
                f"kind of probe '{kind.name}' feeds the metric '{kind.metric}'; expected one of its own, of lower case "
                "and '_'"
            )
        of_kinds[kind.metric] = Metric(kind.metric, (kind.name,), f"{kind.asks}: {kind.right}")
    own = {metric.name: metric for metric in (*of_kinds.values(), *OWN_METRICS)}
    found = _with_others(own.values(), Metric, METRICS_GROUP, "metric")
    for metric in found.values():
        for kind in metric.kinds:
            kind_of(kind)
    return {name: found[name] for name in (*PAPER, *(name for name in found if name not in PAPER))}


def shown_metrics() -> dict[str, Metric]:
    """`metrics()` as they are shown: beside specificity stands `BEYOND_NOTHING`."""
    found: dict[str, Metric] = {}
    for name, metric in metrics().items():
        found |= {name: metric, **({BEYOND_NOTHING.name: BEYOND_NOTHING} if name == "specificity" else {})}
    return found


def _with_others(own: Iterable[Any], base: Any, group: str, what: str) -> dict[str, Any]:
    """The project's own and those of an entry-point group, in the order of their names."""
    found = {one.name: one for one in own}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        one = loaded(point, what)
        where = f"{what} '{point.name}' ({point.value})"
        if not isinstance(one, base):
            raise FGVEditError(f"{where} is {one!r}; expected a fgvedit.probes.{base.__name__}")
        if one.name in (*found, *TAKEN) or not NAME.fullmatch(one.name):
            raise FGVEditError(f"{where} is called '{one.name}'; expected a name of its own, of lower case and '_'")
        found[one.name] = one
    return found


def probe_kinds() -> tuple[str, ...]:
    """The names of all kinds but the edit's own."""
    return tuple(name for name in kinds() if name != EDIT)


def current_kinds() -> tuple[str, ...]:
    """The names of the kinds that are built: all but the edit's own and those that are retired."""
    return tuple(name for name in probe_kinds() if not kinds()[name].retired)


def kind_of(name: str) -> ProbeKind:
    """The kind called `name`. Raises `FGVEditError`, with the nearest name, where there is none."""
    if name not in kinds():
        raise unknown("probe kind", name, kinds())
    return kinds()[name]


def doing_for(kind: str) -> tuple[str, ...]:
    """The kinds of which a probe does for one of this kind: itself and, where there is none, the one that stands in."""
    return tuple(name for name in (kind, kind_of(kind).or_else) if name)


def changes(kind: str) -> bool:
    """Whether the edit has to change the answer to probes of this kind."""
    return kind_of(kind).changes


def described() -> dict[str, list[dict[str, Any]]]:
    """Kinds and metrics in their order as JSON, for pages; `derived`: of a metric that no run stores."""
    return {
        "kinds": [
            {
                "name": kind.name,
                "asks": kind.asks,
                "right": kind.right,
                "changes": kind.changes,
                "rules": {protocol: kind.rule(protocol) for protocol in _NEW},
                "metric": kind.metric,
                "needs_eyes": kind.needs_eyes,
                "retired": kind.retired,
            }
            for kind in kinds().values()
        ],
        "metrics": [
            {
                "name": metric.name,
                "meaning": metric.meaning,
                "kinds": list(metric.kinds),
                "needs_eyes": metric.needs_eyes,
                "retired": metric.retired,
                "derived": metric is BEYOND_NOTHING,
            }
            for metric in shown_metrics().values()
        ],
    }


def as_markdown() -> str:
    """The table of metrics as it stands in README.md: how each is scored under the project's own protocols, too. Those
    of retired kinds are left out."""
    header = ["metric", "asks", "right", "needs eyes", *(f"`{protocol}`" for protocol in _NEW)]
    lines = [header, ["---"] * len(header)]
    for metric in metrics().values():
        if metric.retired:
            continue
        own = [kinds()[kind] for kind in metric.kinds]
        of = "" if len(own) > 1 or own[0].name in (EDIT, metric.name) else f" (`{own[0].name}`)"
        asks, right = (own[0].asks, own[0].right) if len(own) == 1 else (metric.meaning, "")
        rules = [own[0].rule(protocol) if len(own) == 1 else "" for protocol in _NEW]
        lines.append([f"`{metric.name}`{of}", asks, right, "yes" if metric.needs_eyes else "no", *rules])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
