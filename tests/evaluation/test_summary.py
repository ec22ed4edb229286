"""What a run prints at its end, and what is derived of specificity."""

from __future__ import annotations

from typing import Any

import pytest
from board_samples import make_result, make_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvedit.evaluation.metrics import beyond_nothing, metrics_from_rows
from fgvedit.evaluation.summary import CONTROL, OLDER, is_control, summary
from fgvedit.probes import BEYOND_NOTHING, kinds, metrics, shown_metrics

CHANCE = st.floats(0, 1)


@settings(max_examples=20, deadline=None)
@given(CHANCE, CHANCE, st.sampled_from([None, 2]))
def test_beyond_nothing_is_what_in_scope_and_retention_are_above_100(scope: float, kept: float, sequence: int | None):
    rows = make_rows({"in_scope": scope, "out_of_scope": kept}, 4, sequence)
    figures = metrics_from_rows(rows)
    found = beyond_nothing(figures)
    assert len(found) == 2 * (2 if sequence else 1)
    for name in found:
        protocol, _, end = name.partition("/")[0], *name.rpartition(BEYOND_NOTHING.name)[1:]
        figure = found[f"{protocol}/{BEYOND_NOTHING.name}{end}"]
        both = sum(figures[f"{protocol}/{name}{end}"]["value"] for name in ("in_scope", "retention"))
        assert figure["value"] == pytest.approx(both - 100, abs=3e-4)
        of = figures[f"{protocol}/specificity{end}"]
        assert [figure[key] for key in ("low", "high")] == pytest.approx([2 * of[key] - 100 for key in ("low", "high")])
        assert -100 <= figure["low"] <= figure["value"] <= figure["high"] <= 100


def test_doing_nothing_has_0_and_a_faultless_editor_100():
    nothing = make_rows({name: 0.0 for name, kind in kinds().items() if kind.changes})
    for rows, expected in ((nothing, 0), (make_rows(1.0), 100)):
        found = beyond_nothing(metrics_from_rows(rows))
        assert {figure[key] for figure in found.values() for key in ("value", "low", "high")} == {expected}
    assert beyond_nothing(metrics_from_rows([row for row in nothing if row["kind"] == "in_scope"])) == {}


def test_it_is_shown_beside_specificity_and_stored_nowhere():
    names = list(shown_metrics())
    assert names[names.index("specificity") + 1] == BEYOND_NOTHING.name and BEYOND_NOTHING.name not in metrics()
    assert [name for name in names if name != BEYOND_NOTHING.name] == list(metrics())


@pytest.mark.parametrize("sequence", [None, 4])
def test_the_summary_says_what_each_metric_means(sequence: int | None):
    rows = [row for row in make_rows(0.7, 4, sequence) if row["kind"] != "reference_out"]
    *tables, meanings = summary(make_result("mine", rows)).split("\n\n")
    shown = [metric for name, metric in shown_metrics().items() if name != "reference_out"]
    for table in tables:
        lines = table.splitlines()[-len(shown) :]
        assert [line.partition("  ")[0] for line in lines] == [metric.name for metric in shown]
    for line, metric in zip(meanings.splitlines(), shown, strict=True):
        assert line.startswith(f"{metric.name} ") and line.endswith(f" {metric.meaning}")
        assert ("needs eyes" in line, "retired" in line) == (metric.needs_eyes, metric.retired)
    assert len(tables) == (2 if sequence else 1)


def test_the_summary_says_that_a_run_is_the_control():
    rows = make_rows(0.5, 2)

    def of(**editor: Any) -> dict[str, Any]:
        return make_result("none", rows, editor=editor)

    assert is_control(of(**{"class": CONTROL})["manifest"]) and not is_control(of()["manifest"])
    assert summary(of(**{"class": CONTROL})).startswith("none (the control: no edit at all) on tiny, 2 records")
    assert summary(of()).startswith("none on tiny, 2 records")
    assert is_control(of(control=True)["manifest"])


def test_the_summary_of_a_run_on_older_data_says_what_is_known_of_them():
    rows = make_rows(0.5, 2)
    for revision, replaced in OLDER.items():
        said = summary(make_result("mine", rows, dataset={"name": "a-folder", "revision": revision})).split("\n\n")
        assert said[-1] == replaced.known and replaced.tag in replaced.known
    assert len(summary(make_result("mine", rows)).split("\n\n")) == len(said) - 1
