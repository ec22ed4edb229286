"""What a base model's own answers give away, without any edit: whether it says the same of the probe as of the edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from builders.audit.cases import Ask, Case
from builders.audit.exact import best_rule
from builders.audit.figures import Figure, mean_of_kinds, share
from fgvedit.evaluation.normalise import normalise
from fgvedit.probes import Metric, kind_of
from fgvedit.schema import Record

if TYPE_CHECKING:
    from fgvedit.backbones.base import Backbone


def asker(backbone: Backbone) -> Ask:
    """Asks a backbone as a run does: all of a record's questions in one batch, answered freely."""
    from fgvedit.backbones.answering import Query  # which needs torch, as nothing else here does

    def ask(records: Sequence[Record]) -> list[list[str]]:
        shown = {probe.image.key: probe.image for record in records for probe in record.asked if probe.image}
        backbone.encoded(list(shown.values()))
        queries = [[Query(probe.question, probe.image) for probe in record.asked] for record in records]
        return [backbone.generate(some) for some in queries]

    return ask


def agrees(case: Case) -> bool:
    """Whether the base model answers the probe as it answers the edit's question."""
    return normalise(_said(case)[0]) == normalise(_said(case)[1])


def agreement(cases: Sequence[Case]) -> Figure | None:
    """What the best rule reaches in a contest that knows this one thing."""
    best: Figure | None = best_rule(cases, agrees)["best"]
    return best


def of_kind(cases: Sequence[Case]) -> dict[str, Any]:
    """Of the cases of one kind: `agrees`; `rule`: on how many "in scope if the answers agree" is right; `as_unedited`:
    how many are answered as the data say that an unedited, faultless model does, None where the data do not say it."""
    right = kind_of(cases[0].kind).right
    rule = [agrees(case) == case.inside for case in cases]
    before = [case.old if right == "the new answer" else case.answer for case in cases]
    known = None
    if right != "the entailed answer":
        known = share(cases, [_is(_said(case)[1], answer) for case, answer in zip(cases, before, strict=True)])
    return {"agrees": share(cases, map(agrees, cases)), "rule": share(cases, rule), "as_unedited": known}


def unedited_score(metric: Metric, cases: Sequence[Case]) -> Figure | None:
    """What a model scores that is not edited, `none`, by free answers; None for a metric that scores rows by a function
    of its own."""
    if metric.of_row is not None:
        return None
    return mean_of_kinds(cases, [not case.inside or _is(_said(case)[1], case.answer) for case in cases])


def described(backbone: Backbone) -> Mapping[str, str]:
    """Which backbone was asked, for a report."""
    return {"name": backbone.name, "revision": str(backbone.revision)}


def _said(case: Case) -> tuple[str, str]:
    assert case.said is not None, "a base model was asked"
    return case.said


def _is(said: str, answer: str) -> bool:
    return normalise(said) == normalise(answer)
