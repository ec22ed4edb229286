"""The registry of kinds and metrics: what it says, what it refuses, and that the README says the same."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fgvedit import probes
from fgvedit.probes import Metric, ProbeKind
from fgvedit.util.errors import FGVEditError

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Has a kind or metric found under an entry-point group, as that of an installed package is."""

    def installed(group: str, name: str, found: Any) -> None:
        module = ModuleType("stranger")
        module.found = found  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "stranger", module)
        points = {group: [EntryPoint(name, "stranger:found", group)]}
        monkeypatch.setattr(probes, "entry_points", lambda group: points.get(group, []))
        forget()

    def forget() -> None:
        probes.kinds.cache_clear()
        probes.metrics.cache_clear()

    yield installed
    forget()


def test_the_papers_four_come_first_and_every_kind_feeds_a_metric():
    assert tuple(probes.metrics())[:4] == probes.PAPER == ("reliability", "generality", "locality", "specificity")
    for kind in probes.kinds().values():
        metric = probes.metrics()[kind.metric]
        assert kind.name in metric.kinds and metric.meaning == f"{kind.asks}: {kind.right}"
        assert metric.needs_eyes == kind.needs_eyes and set(kind.rules) == {"paper", "generation"}
        assert set(kind.rules.values()) <= set(probes.RULES)
        assert kind.changes == (kind.rule("a protocol of somebody's") == probes.EXACT)
    assert probes.metrics()["specificity"].kinds == ("in_scope", "out_of_scope")


def test_a_kind_that_does_not_say_how_it_is_scored_is_scored_as_ours_are():
    new, kept = (ProbeKind("theirs", "", right, "theirs") for right in ("the new answer", "as before"))  # type: ignore
    for protocol in ("paper", "generation", "somebody's"):
        assert new.rule(protocol) == "exact"
    assert [kept.rule(protocol) for protocol in ("paper", "generation", "somebody's")] == [
        probes.kinds()["out_of_scope"].rule("paper"),
        *["as before"] * 2,
    ]


def test_the_readme_shows_the_registrys_table():
    assert probes.as_markdown() in README.read_text(encoding="utf-8")


def test_a_kind_from_outside_comes_last_and_feeds_a_metric_of_its_own(install):
    install(probes.KINDS_GROUP, "counting", ProbeKind("counting", "how many", "as before", "counted", retired=True))
    assert tuple(probes.kinds())[-1] == probes.probe_kinds()[-1] == "counting"
    assert "counting" not in probes.current_kinds() and not probes.changes("counting")
    metric = probes.metrics()["counted"]
    assert (metric.kinds, metric.meaning, metric.retired) == (("counting",), "how many: as before", True)
    said = probes.described()
    assert said["kinds"][-1]["asks"] == "how many" and said["metrics"][-1]["name"] == "counted"


@pytest.mark.parametrize(
    ("group", "found", "sentence"),
    [
        (
            probes.KINDS_GROUP,
            "a text",
            r"kind of probe 'theirs' \(stranger:found\) is 'a text'; expected a .*ProbeKind",
        ),
        (
            probes.KINDS_GROUP,
            ProbeKind("rephrase", "", "as before", "theirs"),
            "is called 'rephrase'; expected a name of",
        ),
        (
            probes.KINDS_GROUP,
            ProbeKind("My Kind", "", "as before", "theirs"),
            "is called 'My Kind'; expected a name of",
        ),
        (
            probes.KINDS_GROUP,
            ProbeKind("theirs", "", "as before", "score"),
            "feeds the metric 'score'; expected one of",
        ),
        (probes.KINDS_GROUP, ProbeKind("theirs", "", "as before", "My @end"), "feeds the metric 'My @end'; expected"),
        (probes.KINDS_GROUP, ProbeKind("caught", "", "as before", "theirs"), "is called 'caught'; expected a name"),
        (probes.METRICS_GROUP, Metric("locality", ("edit",), ""), "metric 'theirs' .* is called 'locality'"),
        (probes.METRICS_GROUP, Metric("score", ("edit",), ""), "metric 'theirs' .* is called 'score'"),
        (probes.METRICS_GROUP, Metric("theirs", ("rephrased",), ""), "unknown probe kind 'rephrased'.*mean 'rephrase'"),
    ],
)
def test_what_cannot_be_registered_is_refused_by_name(install, group, found, sentence):
    install(group, "theirs", found)
    with pytest.raises(FGVEditError, match=sentence):
        probes.metrics()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"right": "As before"}, "unknown right of kind of probe 'theirs' 'As before'.*did you mean 'as before'"),
        ({"image": "Other"}, "unknown image of kind of probe 'theirs' 'Other'.*did you mean 'other'"),
        ({"rules": {"paper": "top1"}}, "unknown rule of kind of probe 'theirs' under protocol 'paper' 'top1'.*'top-1'"),
        ({"rules": {"paper": "exact"}}, "under protocol 'paper' its rule is 'exact', and what is right is 'as before'"),
        (
            {"right": "the new answer", "rules": {"paper": "top-1"}},
            "its rule is 'top-1', .*expected 'exact' where the edit",
        ),
    ],
)
def test_a_kind_that_cannot_be_scored_is_refused(fields, sentence):
    with pytest.raises(FGVEditError, match=sentence):
        ProbeKind(**{"name": "theirs", "asks": "", "right": "as before", "metric": "theirs", **fields})


def test_a_metric_is_of_a_kind():
    with pytest.raises(FGVEditError, match="metric 'theirs' is of no kind of probe"):
        Metric("theirs", (), "")


def test_a_module_that_is_not_there_is_named(install, monkeypatch):
    install(probes.KINDS_GROUP, "theirs", None)
    monkeypatch.delitem(sys.modules, "stranger")
    with pytest.raises(FGVEditError, match="kind of probe 'theirs' needs the module 'stranger'"):
        probes.kinds()
