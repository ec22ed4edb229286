"""Metrics and intervals from rows, against plain computations."""

from __future__ import annotations

import random
import re
import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvedit.evaluation.metrics import metrics_from_rows, paired_difference, paired_differences, router_from_rows
from fgvedit.evaluation.rows import away
from fgvedit.evaluation.summary import summary
from fgvedit.probes import changes, probe_kinds
from fgvedit.probes import metrics as all_metrics
from fgvedit.util.errors import FGVEditError

KINDS = ("edit", *probe_kinds())
SPECIFICITY = ("in_scope", "out_of_scope")


def row(kind: str, score: float, group: int = 0, protocol: str = "paper", number: int = 0, **changes: Any) -> dict:
    """Of one of two records, each of an image of its own, which are a group."""
    record = f"{group}.{number % 2}"
    return {
        "record_id": f"r{record}",
        "image_id": f"i{record}",
        "group": f"g{group}",
        "protocol": protocol,
        "kind": kind,
        "probe": number,
        "score": score,
        "rho": None,
        "route": "edited",
        **changes,
    }


@st.composite
def some_rows(draw: st.DrawFn) -> list[dict]:
    drawn = st.tuples(
        st.sampled_from(KINDS), st.floats(0, 1), st.integers(0, 5), st.sampled_from(["paper", "generation"])
    )
    return [row(*values, number=number) for number, values in enumerate(draw(st.lists(drawn, min_size=1, max_size=40)))]


@settings(max_examples=40, deadline=None)
@given(some_rows())
def test_values_are_means_in_percent_inside_their_intervals(rows: list[dict]):
    metrics = metrics_from_rows(rows)
    for protocol in ("paper", "generation"):
        means = {}
        for kind in KINDS:
            scores = [r["score"] for r in rows if r["kind"] == kind and r["protocol"] == protocol]
            if scores:
                means[kind] = 100 * statistics.fmean(scores)
        expected = {}
        for name, kinds in ((name, one.kinds) for name, one in all_metrics().items()):
            if kinds[0] in means and len(kinds) == 1:
                expected[f"{protocol}/{name}"] = means[kinds[0]]
        if "in_scope" in means and "out_of_scope" in means:
            expected[f"{protocol}/specificity"] = (means["in_scope"] + means["out_of_scope"]) / 2
        found = {name: metric for name, metric in metrics.items() if name.startswith(protocol + "/")}
        assert {name: metric["value"] for name, metric in found.items()} == pytest.approx(expected, abs=1e-3)
    for metric in metrics.values():
        assert 0 <= metric["low"] <= metric["value"] <= metric["high"] <= 100


@settings(max_examples=20, deadline=None)
@given(some_rows(), st.randoms())
def test_the_order_of_rows_does_not_matter(rows: list[dict], chance: random.Random):
    shuffled = rows[:]
    chance.shuffle(shuffled)
    assert metrics_from_rows(shuffled) == metrics_from_rows(rows)


def test_every_kind_has_its_metric():
    rows = [row(kind, number / 20, number=number) for number, kind in enumerate(KINDS)]
    values = {name: metric["value"] for name, metric in metrics_from_rows(rows).items()}
    at = {kind: 5.0 * number for number, kind in enumerate(KINDS)}
    named = {
        "edit": "reliability",
        "rephrase": "generality",
        "text_locality": "locality",
        "out_of_scope": "retention",
    }
    assert values == {
        **{f"paper/{kind}": at[kind] for kind in KINDS if kind not in named},
        **{f"paper/{metric}": at[kind] for kind, metric in named.items()},
        "paper/specificity": (at["in_scope"] + at["out_of_scope"]) / 2,
    }


def test_specificity_weighs_its_halves_alike_whatever_their_numbers():
    rows = [row("in_scope", 1.0)] + [row("out_of_scope", 0.0, number=n) for n in range(9)]
    specificity = metrics_from_rows(rows)["paper/specificity"]
    assert (specificity["value"], specificity["probes"], specificity["groups"]) == (50, 10, 1)


def test_intervals_are_those_of_independent_groups():
    rows = [row("edit", float(group % 4 == 0), group) for group in range(400)]
    metric = metrics_from_rows(rows)["paper/reliability"]
    half = 196 * (0.25 * 0.75 / 400) ** 0.5  # the normal approximation, in percent
    assert metric["value"] == 25
    assert metric["low"] == pytest.approx(25 - half, abs=1)
    assert metric["high"] == pytest.approx(25 + half, abs=1)


def test_more_probes_of_the_same_groups_do_not_narrow_an_interval():
    once = [row("edit", float(group % 2), group) for group in range(20)]
    often = [row("edit", float(group % 2), group, number=n) for group in range(20) for n in range(10)]
    one, many = (metrics_from_rows(rows)["paper/reliability"] for rows in (once, often))
    assert (one["low"], one["high"]) == (many["low"], many["high"])
    assert (one["probes"], many["probes"], many["groups"]) == (20, 200, 20)


@settings(max_examples=30, deadline=None)
@given(some_rows())
def test_rows_of_formats_without_groups_count_by_image(rows: list[dict]):
    old = [{name: value for name, value in r.items() if name != "group"} for r in rows]
    new = [{**r, "group": r["image_id"]} for r in rows]
    assert metrics_from_rows(old) == metrics_from_rows(new)
    assert router_from_rows([{**r, "rho": 0.5} for r in old]) == router_from_rows([{**r, "rho": 0.5} for r in new])
    assert all(figure["value"] == figure["low"] == 0 for figure in paired_differences(old, new).values())


def test_an_interval_is_a_point_where_there_is_one_group():
    metric = metrics_from_rows([row("edit", 1.0), row("edit", 0.0, number=1)])["paper/reliability"]
    assert (metric["low"], metric["value"], metric["high"]) == (50, 50, 50)


def test_a_kind_in_few_of_many_groups_still_has_its_interval():
    rows = [row("edit", 1.0, group) for group in range(50)] + [row("reference_in", 0.5, 0)]
    assert metrics_from_rows(rows)["paper/reference_in"]["value"] == 50


def test_the_router_is_right_when_it_sends_each_kind_where_it_belongs():
    rows = [
        row("edit", 0, rho=0.9, route="counterfactual"),
        row("rephrase", 0, rho=0.2, route="base", number=1),
        row("out_of_scope", 0, rho=0.1, route="base", number=2),
        row("text_locality", 0, rho=0.1, route="base", number=3),
        row("reference_out", 0, rho=0.8, route="edited", number=4),
    ]
    router = {name: metric["value"] for name, metric in router_from_rows(rows)["paper"].items()}
    assert router == {
        "caught": 50,
        "kept": pytest.approx(200 / 3, abs=1e-3),
        "edit": 100,
        "rephrase": 0,
        "out_of_scope": 100,
        "text_locality": 100,
        "reference_out": 0,
    }


def test_a_mixed_answer_counts_as_sent_away_from_half_on():
    rhos = {"edit": 0.5, "rephrase": 0.499, "out_of_scope": 0.4, "text_locality": 0.9}
    rows = [row(kind, 0, rho=rho, route="mixed", number=n) for n, (kind, rho) in enumerate(rhos.items())]
    router = {name: metric["value"] for name, metric in router_from_rows(rows)["paper"].items()}
    assert {kind: router[kind] for kind in rhos} == {
        "edit": 100.0,
        "rephrase": 0.0,
        "out_of_scope": 100.0,
        "text_locality": 0.0,
    }
    assert not away(row("edit", 0, route="mixed", rho=None))


def test_the_router_should_catch_the_edit_and_the_kinds_with_a_new_answer():
    for kind in KINDS:
        metric = router_from_rows([row(kind, 0, rho=1.0, route="edited")])["paper"][kind]
        assert metric["value"] == (100 if changes(kind) else 0)


def test_an_editor_without_a_similarity_has_no_router():
    assert router_from_rows([row("edit", 1.0)]) == {}


def test_the_summary_shows_each_metric_under_its_protocol():
    rows = [row("edit", 1.0), row("edit", 0.0, protocol="generation"), row("rephrase", 1.0)]
    manifest = {
        "editor": {"name": "ft"},
        "backbone": {"name": "tiny"},
        "dataset": {"name": "scenes", "split": "test", "records": 1, "revision": "0" * 64},
        "protocols": ["paper", "generation"],
        "sequence": None,
    }
    shown, _, meanings = summary({"manifest": manifest, "metrics": metrics_from_rows(rows)}).partition("\n\n")
    title, header, *lines = shown.splitlines()
    assert "ft on tiny, 1 records of scenes/test" in title
    assert header.split() == ["paper", "generation"]
    assert [line.split()[0] for line in lines] == ["reliability", "generality"]
    assert [float(number) for number in re.findall(r"[\d.]+", lines[0])] == [100, 100, 100, 0, 0, 0]
    assert [line.split()[0] for line in meanings.splitlines()] == ["reliability", "generality"]


# Paired differences


def two_runs(seed: int = 0, groups: int = 6) -> tuple[list[dict], list[dict]]:
    """The same probes in two runs of one protocol, with scores of their own; not every group has every kind."""
    chance = random.Random(seed)
    probes = [
        (kind, group, number)
        for group in range(groups)
        for number, kind in enumerate(["edit", "in_scope", "out_of_scope", "out_of_scope"])
        if chance.random() < 0.8
    ]
    first, second = (
        [row(kind, chance.random(), group, number=number) for kind, group, number in probes] for _ in range(2)
    )
    chance.shuffle(second)
    return first, second


def value_on(rows: list[dict], groups: list[str], kinds: tuple[str, ...]) -> float:
    """The mean of the kinds' means over these groups, each as often as it is named; nan where a kind has no probe."""
    means = []
    for kind in kinds:
        scores = [r["score"] for group in groups for r in rows if r["group"] == group and r["kind"] == kind]
        means.append(statistics.fmean(scores) if scores else float("nan"))
    return 100 * statistics.fmean(means)


@pytest.mark.parametrize(("metric", "kinds"), [("reliability", ("edit",)), ("specificity", SPECIFICITY)])
def test_a_paired_difference_is_that_of_both_runs_on_the_same_drawn_groups(metric, kinds):
    first, second = two_runs()
    groups = sorted({r["group"] for r in first})
    drawn = []
    for counts in np.random.default_rng(0).multinomial(len(groups), [1 / len(groups)] * len(groups), size=1000):
        sample = [group for group, count in zip(groups, counts, strict=True) for _ in range(count)]
        drawn.append(value_on(first, sample, kinds) - value_on(second, sample, kinds))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    value = value_on(first, groups, kinds) - value_on(second, groups, kinds)
    found = paired_difference(first, second, metric, "paper")
    assert (found["value"], found["low"], found["high"]) == pytest.approx((value, low, high), abs=1e-3)
    of_kinds = [r for r in first if r["kind"] in kinds]
    assert (found["probes"], found["groups"]) == (len(of_kinds), len({r["group"] for r in of_kinds}))


def test_identical_runs_do_not_differ():
    first, _ = two_runs()
    for metric in paired_differences(first, first[::-1]).values():
        assert (metric["value"], metric["low"], metric["high"]) == (0, 0, 0)


@settings(max_examples=30, deadline=None)
@given(some_rows(), st.data())
def test_a_difference_the_other_way_round_is_its_negative(rows: list[dict], data: st.DataObject):
    scores = data.draw(st.lists(st.floats(0, 1), min_size=len(rows), max_size=len(rows)))
    others = [{**r, "score": score} for r, score in zip(rows, scores, strict=True)]
    there, back = paired_differences(rows, others), paired_differences(others, rows)
    assert set(there) == set(back) == set(metrics_from_rows(rows))
    for name, metric in there.items():
        negated = (-metric["value"], -metric["high"], -metric["low"])
        assert (back[name]["value"], back[name]["low"], back[name]["high"]) == pytest.approx(negated, abs=2e-4)
        assert metric["low"] <= metric["value"] <= metric["high"]


def test_the_value_of_a_difference_is_the_difference_of_the_values():
    first, second = two_runs(1, groups=20)
    values, others = metrics_from_rows(first), metrics_from_rows(second)
    for name, metric in paired_differences(first, second).items():
        assert metric["value"] == pytest.approx(values[name]["value"] - others[name]["value"], abs=1e-3)


def test_pairing_narrows_the_interval_where_groups_are_hard_for_both_runs():
    chance = random.Random(0)
    hard = [chance.random() for _ in range(60)]
    first = [row("edit", score, group) for group, score in enumerate(hard)]
    second = [row("edit", 0.9 * score + 0.05 * chance.random(), group) for group, score in enumerate(hard)]
    paired = paired_difference(first, second, "reliability", "paper")
    alone = [metrics_from_rows(rows)["paper/reliability"] for rows in (first, second)]
    unpaired = sum((metric["high"] - metric["low"]) ** 2 for metric in alone) ** 0.5
    assert paired["high"] - paired["low"] < unpaired / 4
    assert paired["low"] > 0


def test_a_difference_in_specificity_weighs_the_halves_alike_whatever_their_numbers():
    first = [row("in_scope", 1.0)] + [row("out_of_scope", 0.5, number=n) for n in range(1, 10)]
    second = [row("in_scope", 0.0)] + [row("out_of_scope", 0.25, number=n) for n in range(1, 10)]
    assert paired_difference(first, second, "specificity", "paper")["value"] == (100 + 25) / 2


def test_runs_on_different_probes_are_refused():
    first, second = two_runs()
    lost = first[3]
    name = f"record '{lost['record_id']}', protocol 'paper', probe {lost['probe']} is missing in the"
    without = [r for r in second if (r["record_id"], r["probe"]) != (lost["record_id"], lost["probe"])]
    with pytest.raises(FGVEditError, match=f"{name} second run"):
        paired_differences(first, without)
    with pytest.raises(FGVEditError, match=f"{name} first run"):
        paired_difference(without, first, "reliability", "paper")
    with pytest.raises(FGVEditError, match="is there twice in the first run"):
        paired_differences([*first, lost], second)
    with pytest.raises(FGVEditError, match=r"its kind is '\w+' in the first run and 'rephrase' in the second"):
        paired_differences(first, [{**r, "kind": "rephrase"} for r in second])
    with pytest.raises(FGVEditError, match=r"its group is 'g\d' in the first run and 'i\d\.\d' in the second"):
        paired_differences(first, [{**r, "group": r["image_id"]} for r in second])


def test_a_difference_in_a_metric_without_probes_is_refused():
    first, second = two_runs()
    with pytest.raises(FGVEditError, match=r"'paper/reliabilty'.*did you mean 'paper/reliability'\?"):
        paired_difference(first, second, "reliabilty", "paper")
