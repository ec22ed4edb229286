"""Copies under other names, and runs that are not of the model that they name."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from results_folder import Change, both, change, set_in, set_row, set_rows, write_entry, write_run
from submitting import expect_refused, send

from leaderboard import check

RENAMED = set_in("manifest.editor.name", "new")
OTHER_BACKBONE = set_in("manifest.backbone.revision", "a" * 64)
OTHER_BEFORE = set_row({"kind": "edit", "protocol": "generation", "route": "edited"}, before="teal")


def shuffled(result: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    random.Random(0).shuffle(rows)


def of_one_protocol(result: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    result["manifest"]["protocols"] = ["generation"]
    rows[:] = [row for row in rows if row["protocol"] == "generation"]


def punctuated(row: dict[str, Any]) -> str:
    article = "The " if row["protocol"] == "generation" else ""
    return f"{row['before']}." if row["route"] == "base" else f"{article}{row['after'].upper()}."


def other_mistakes(row: dict[str, Any]) -> str:
    return "mauve" if row["score"] == 0 and row["route"] == "edited" else row["after"]


OF_ALL, SEED = "168 of 168 rows", "; only its seed is another, and the editor draws nothing from it"
COPIES = [
    (RENAMED, OF_ALL),
    (both(RENAMED, shuffled), OF_ALL),
    (both(RENAMED, of_one_protocol), "84 of 84 rows"),
    (both(RENAMED, set_rows(rho=lambda row: min(1, row["rho"] + 0.001))), OF_ALL),
    (both(RENAMED, set_rows(before=lambda row: f"{row['before']}.", after=punctuated)), OF_ALL),
    (both(RENAMED, set_rows(score=lambda row: row["score"] or -0.0)), OF_ALL),
    (both(RENAMED, set_rows(score=lambda row: row["score"] + 1e-12 * (0 < row["score"] < 1))), OF_ALL),
    (both(RENAMED, set_rows(after=other_mistakes)), OF_ALL),
    (both(RENAMED, OTHER_BEFORE), OF_ALL),
    (both(RENAMED, OTHER_BACKBONE), OF_ALL),
    (set_in("manifest.seed", 1), OF_ALL + SEED),
]


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder, to be read only, that holds the run `mine`."""
    folder = tmp_path_factory.mktemp("taken")
    write_entry(folder, "mine")
    return folder


@pytest.mark.parametrize(("how", "alike"), COPIES)
def test_a_copy_under_a_new_name_is_refused(how: Change, alike: str, mine: Path, taken: Path):
    there = rf"is there already as 'mine-tiny-cards-dddddddd-0' \(the same score and similarity in {alike}\)"
    expect_refused(change(mine, how), taken, there, name="All my own work")


def test_the_same_thing_run_again_is_refused(taken: Path, tmp_path: Path):
    again = write_run(tmp_path / "again", "mine", skill=0.81)  # not the same rows, but what was asked for is the same
    expect_refused(again, taken, "the same editor, configuration, checkpoint, backbone, data and seed")


def test_a_copy_with_a_few_changed_rows_is_refused_and_a_run_that_differs_in_more_is_not(tmp_path: Path):
    def changed(number: int) -> Change:
        def how(result: dict[str, Any], rows: list[dict[str, Any]]) -> None:
            for row in [row for row in rows if 0 < row["score"] < 1][:number]:
                row["score"] = 0.5

        return both(RENAMED, how)

    results = tmp_path / "results"
    folder = write_entry(results, "first", records=150, protocols=("paper",))
    mine = write_run(tmp_path / "mine", "first", records=150, protocols=("paper",))
    alike = f"'{folder.name}' .the same score and similarity in 1,049 of 1,050 rows"
    expect_refused(change(mine, changed(1)), results, alike)
    send(change(mine, changed(2)), results)


OTHER_WORDS = {"green": "grey", "red": "pink", "blue": "blue"}
OTHER_ANSWERS = set_rows(before=lambda row: OTHER_WORDS[row["before"]], after=lambda row: OTHER_WORDS[row["after"]])


@pytest.mark.parametrize("how", [set_rows(rho=lambda row: row["rho"] * 0.9), both(OTHER_BACKBONE, OTHER_ANSWERS)])
def test_two_runs_may_be_right_for_the_same_probes(how: Change, mine: Path, results: Path):
    """With a router of one's own, and on another backbone."""
    send(mine, results)
    send(change(mine, both(RENAMED, how)), results)
    assert check.main([str(results)]) == 0


# -- the base model ------------------------------------------------------------------------------------------------


def kept_by_decree(result: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Whatever the edit changed was said before it, too."""
    for row in rows:
        if row["protocol"] == "generation" and row["expected"] is None:
            row |= {"before": row["after"], "score": 1.0}


@pytest.mark.parametrize(("dtype", "most"), [("float32", 2), ("bfloat16", 10)])
def test_the_base_model_answers_as_in_other_runs(dtype: str, most: int, mine: Path, shared_results: Path):
    sentence = (
        r"before, the base model's answer, is another one than in 'other-tiny-cards-dddddddd-0' for 1\d of 84 probes "
        rf"under protocol 'generation'; expected at most {most}%"
    )
    expect_refused(change(mine, both(set_in("manifest.dtype", dtype), kept_by_decree)), shared_results, sentence)
