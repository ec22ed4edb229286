"""Ranks with ties, against a bootstrap written anew and against the pairwise one."""

from __future__ import annotations

import random
import statistics
from typing import Any

import numpy as np
import pytest
from board_samples import make_result, make_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvedit.evaluation.intervals import RESAMPLES
from fgvedit.evaluation.metrics import metrics_from_rows, paired_differences, resampled_metrics
from fgvedit.probes import metrics
from leaderboard.ranking import (
    SCORED,
    Block,
    Sampled,
    block_of,
    comparable,
    differences,
    ends,
    harmonic_mean,
    parts_of,
    ranks,
    sample,
    with_score,
)

BLOCK = block_of(make_result("any", make_rows(1.0, 1)))


def sampled(rows: list[dict[str, Any]]) -> Sampled:
    return sample(make_result("any", rows), rows)


def drawn(values: list[float], name: str = "paper/specificity", control: bool = False) -> Sampled:
    """A run of which every resample is given."""
    return Sampled({name: statistics.fmean(values)}, {name: np.array(values)}, {"paper": "same"}, control)


@pytest.mark.parametrize("sequence", [None, 4])
def test_differences_are_those_of_the_pairwise_bootstrap(sequence: int | None):
    ours, theirs = (make_rows(right, 16, sequence, seed) for right, seed in ((0.8, 1), (0.6, 2)))
    expected, pair = paired_differences(ours, theirs), (sampled(ours), sampled(theirs))
    assert len(expected) == 2 * len(metrics()) * (2 if sequence else 1)
    for name, metric in expected.items():
        there, back = (differences(one, [other], name)[0] for one, other in (pair, pair[::-1]))
        assert there == pytest.approx([metric["value"], metric["low"], metric["high"]], abs=2e-4)
        assert back == pytest.approx([-metric["value"], -metric["high"], -metric["low"]], abs=2e-4)


def test_resampled_values_give_the_intervals_of_the_metrics():
    rows = make_rows({"in_scope": 0.5, "out_of_scope": 0.7}, 10)
    resampled, run = resampled_metrics(rows), sampled(rows)
    for name, metric in metrics_from_rows(rows).items():
        assert len(resampled[name]) == RESAMPLES
        assert ends(run, name) == pytest.approx((metric["low"], metric["high"]), abs=1e-3)


def test_the_score_is_resampled_as_a_whole():
    """The harmonic mean of each resample, drawn here group by group."""
    rows = make_rows(0.7, 10, protocols=("paper",), seed=3)
    kinds = {"reliability": ["edit"], "locality": ["text_locality"], "generality": ["rephrase"],
             "specificity": ["in_scope", "out_of_scope"]}  # fmt: skip
    groups = sorted({row["group"] for row in rows})
    counts = np.random.default_rng(0).multinomial(len(groups), [1 / len(groups)] * len(groups), size=RESAMPLES)
    expected = []
    for count in counts:
        weight = dict(zip(groups, count, strict=True))
        means = {
            kind: sum(weight[r["group"]] * r["score"] for r in rows if r["kind"] == kind)
            / sum(weight[r["group"]] for r in rows if r["kind"] == kind)
            for these in kinds.values()
            for kind in these
        }
        parts = [100 * statistics.fmean(means[kind] for kind in kinds[metric]) for metric in SCORED]
        expected.append(statistics.harmonic_mean(parts))
    run = sampled(rows)
    np.testing.assert_allclose(run.resampled["paper/score"], expected, atol=1e-9)
    parts = [metrics_from_rows(rows)[f"paper/{metric}"]["value"] for metric in SCORED]
    assert run.values["paper/score"] == pytest.approx(statistics.harmonic_mean(parts), abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), min_size=20, max_size=20), min_size=1, max_size=6))
def test_a_rank_counts_those_that_are_better_beyond_doubt(runs: list[list[int]]):
    made = [drawn([float(value) for value in values]) for values in runs]
    found = ranks([(BLOCK, run) for run in made], "paper/specificity")

    def beats(other: list[int], one: list[int]) -> bool:
        gaps = sorted(a - b for a, b in zip(other, one, strict=True))
        low = gaps[0] + 0.475 * (gaps[1] - gaps[0])  # the 2.5th percentile of 20 values
        return min(low, statistics.fmean(other) - statistics.fmean(one)) > 1e-9

    assert found == [1 + sum(beats(other, one) for other in runs if other is not one) for one in runs]
    assert 1 in found


def test_ties_are_not_transitive_and_the_rank_says_what_is_sure():
    chance = random.Random(0)
    noise = [chance.gauss(0, 1) for _ in range(1000)]
    best = drawn([50 + x for x in noise])
    worse = drawn([49 + x for x in noise])  # always 1 below the best: told apart
    unsure = drawn([49.5 + 5 * chance.gauss(0, 1) for _ in range(1000)])  # from neither
    assert ranks([(BLOCK, run) for run in (worse, unsure, best)], "paper/specificity") == [2, 1, 1]


def test_equal_runs_share_a_rank_and_leave_the_next_ones_free():
    runs = [drawn([value] * 5) for value in (90.0, 90.0, 80.0, 70.0, 80.0)]
    assert ranks([(BLOCK, run) for run in runs], "paper/specificity") == [1, 1, 3, 5, 3]


def test_only_runs_of_one_group_and_the_same_probes_are_ranked_together():
    import dataclasses

    runs: list[tuple[Block, Sampled]] = [(BLOCK, drawn([90.0] * 5)), (BLOCK, drawn([80.0] * 5))]
    for field in dataclasses.fields(Block):
        other = dataclasses.replace(BLOCK, **{field.name: 7})  # type: ignore[arg-type]
        assert ranks([*runs, (other, drawn([99.0] * 5))], "paper/specificity") == [1, 2, 1]
    stranger = dataclasses.replace(drawn([99.0] * 5), probes={"paper": "others"})
    assert not comparable(stranger, runs[0][1], "paper/specificity")
    assert ranks([*runs, (BLOCK, stranger)], "paper/specificity") == [1, 2, 1]
    rowless = Sampled({"paper/specificity": 99.0}, {}, {})
    assert ranks([*runs, (BLOCK, rowless)], "paper/specificity") == [1, 2, None]
    assert ranks(runs, "generation/specificity") == [None, None]


def test_the_control_has_no_rank_and_does_not_count_in_others():
    runs = [drawn([value] * 5, control=value == 85.0) for value in (90.0, 85.0, 80.0)]
    assert ranks([(BLOCK, run) for run in runs], "paper/specificity") == [1, None, 2]
    rows = make_rows(0.5, 3)
    of: list[tuple[dict[str, Any], bool]] = [
        ({"class": "baselines.none.editor:NoEdit"}, True),
        ({"class": "editor:NoEdit", "control": True}, True),
        ({"class": "mine:NoEdit"}, False),
    ]
    for editor, control in of:
        assert sample(make_result("none", rows, editor=editor), rows).control == control


def test_which_probes_were_asked_tells_runs_apart():
    rows = make_rows(1.0, 3)
    same = sampled(make_rows(0.5, 3, seed=9)[::-1])
    assert sampled(rows).probes == same.probes and set(same.probes) == {"paper", "generation"}
    for change in ({"question": "Another?"}, {"image_id": "i9"}, {"group": "g9"}, {"kind": "rephrase"}, {"edits": 2}):
        assert sampled([{**rows[0], **change}, *rows[1:]]).probes["paper"] != same.probes["paper"]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=5))
def test_the_harmonic_mean(values: list[float]):
    expected = statistics.harmonic_mean(values) if all(values) else 0
    assert harmonic_mean(values) == pytest.approx(expected, abs=1e-4)
    assert harmonic_mean([np.array([value, 50.0]) for value in values])[0] == pytest.approx(expected, abs=1e-6)


def test_names_and_scores_of_evaluation_points():
    assert parts_of("paper/specificity@end") == ("paper", "specificity", "@end")
    values = {f"paper/{metric}{point}": 50.0 for metric in SCORED for point in ("", "@end")}
    found = with_score({**values, "generation/reliability": 1.0})
    assert found["paper/score"] == found["paper/score@end"] == 50 and "generation/score" not in found
