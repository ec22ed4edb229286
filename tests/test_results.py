"""Metrics and intervals from rows, against plain computations."""

from __future__ import annotations

import random
import re
import statistics
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvedit.results import METRICS, metrics_from_rows, router_from_rows, summary
from fgvedit.schema import EXPECTED_NEW, PROBE_KINDS

KINDS = ("edit", *PROBE_KINDS)


def row(kind: str, score: float, image: int = 0, protocol: str = "paper", number: int = 0, **changes: Any) -> dict:
    return {
        "record_id": f"r{image}",
        "image_id": f"i{image}",
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
        expected = {f"{protocol}/{metric}": means[kind] for metric, kind in METRICS.items() if kind in means}
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
    rows = [row(kind, number / 10, number=number) for number, kind in enumerate(KINDS)]
    values = {name: metric["value"] for name, metric in metrics_from_rows(rows).items()}
    at = {kind: 10.0 * number for number, kind in enumerate(KINDS)}
    assert values == {
        "paper/reliability": at["edit"],
        "paper/generality": at["rephrase"],
        "paper/locality": at["text_locality"],
        "paper/specificity": (at["in_scope"] + at["out_of_scope"]) / 2,
        "paper/in_scope": at["in_scope"],
        "paper/retention": at["out_of_scope"],
        "paper/other_image": at["other_image"],
        "paper/reference_in": at["reference_in"],
        "paper/reference_out": at["reference_out"],
    }


def test_specificity_weighs_its_halves_alike_whatever_their_numbers():
    rows = [row("in_scope", 1.0)] + [row("out_of_scope", 0.0, number=n) for n in range(9)]
    specificity = metrics_from_rows(rows)["paper/specificity"]
    assert (specificity["value"], specificity["probes"], specificity["images"]) == (50, 10, 1)


def test_intervals_are_those_of_independent_images():
    rows = [row("edit", float(image % 4 == 0), image) for image in range(400)]
    metric = metrics_from_rows(rows)["paper/reliability"]
    half = 196 * (0.25 * 0.75 / 400) ** 0.5  # the normal approximation, in percent
    assert metric["value"] == 25
    assert metric["low"] == pytest.approx(25 - half, abs=1)
    assert metric["high"] == pytest.approx(25 + half, abs=1)


def test_more_probes_of_the_same_images_do_not_narrow_an_interval():
    once = [row("edit", float(image % 2), image) for image in range(20)]
    often = [row("edit", float(image % 2), image, number=n) for image in range(20) for n in range(10)]
    one, many = (metrics_from_rows(rows)["paper/reliability"] for rows in (once, often))
    assert (one["low"], one["high"]) == (many["low"], many["high"])
    assert (one["probes"], many["probes"], many["images"]) == (20, 200, 20)


def test_an_interval_is_a_point_where_there_is_one_image():
    metric = metrics_from_rows([row("edit", 1.0), row("edit", 0.0, number=1)])["paper/reliability"]
    assert (metric["low"], metric["value"], metric["high"]) == (50, 50, 50)


def test_a_kind_on_few_of_many_images_still_has_its_interval():
    rows = [row("edit", 1.0, image) for image in range(50)] + [row("reference_in", 0.5, 0)]
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


def test_the_router_should_catch_the_edit_and_the_kinds_with_a_new_answer():
    for kind in KINDS:
        metric = router_from_rows([row(kind, 0, rho=1.0, route="edited")])["paper"][kind]
        assert metric["value"] == (100 if kind in ("edit", *EXPECTED_NEW) else 0)


def test_an_editor_without_a_similarity_has_no_router():
    assert router_from_rows([row("edit", 1.0)]) == {}


def test_the_summary_shows_each_metric_under_its_protocol():
    rows = [row("edit", 1.0), row("edit", 0.0, protocol="generation"), row("rephrase", 1.0)]
    manifest = {
        "editor": {"name": "ft"},
        "backbone": {"name": "tiny"},
        "dataset": {"name": "scenes", "split": "test", "records": 1},
        "protocols": ["paper", "generation"],
    }
    title, header, *lines = summary({"manifest": manifest, "metrics": metrics_from_rows(rows)}).splitlines()
    assert "ft on tiny, 1 records of scenes/test" in title
    assert header.split() == ["paper", "generation"]
    assert [line.split()[0] for line in lines] == ["reliability", "generality"]
    assert [float(number) for number in re.findall(r"[\d.]+", lines[0])] == [100, 100, 100, 0, 0, 0]
