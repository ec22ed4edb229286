"""Copies under other names, and runs that are not of the model that they name."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from results_folder import Change, both, change, set_in, set_row, set_rows, write_entry, write_run
from submitting import content, send

from fgvedit.util.errors import FGVEditError
from leaderboard import check

RENAMED = set_in("manifest.editor.name", "new")
OTHER_BACKBONE = set_in("manifest.backbone.revision", "a" * 64)
OTHER_SEED = set_in("manifest.seed", 1)
OTHER_BEFORE = set_row({"kind": "edit", "protocol": "generation", "route": "edited"}, before="teal")


def shuffled(result: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    random.Random(0).shuffle(rows)


def of_one_protocol(result: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    result["manifest"]["protocols"] = ["generation"]
    rows[:] = [row for row in rows if row["protocol"] == "generation"]


def punctuated(row: dict[str, Any]) -> str:
    article = "The " if row["protocol"] == "generation" else ""
    return f"{row['before']}." if row["route"] == "base" else f"{article}{row['after'].upper()}."


COPIES: dict[str, Change] = {
    "renamed": set_rows(),
    "shuffled": shuffled,
    "of one protocol": of_one_protocol,
    "with other similarities": set_rows(rho=lambda row: min(1, row["rho"] + 0.001)),
    "punctuated": set_rows(before=lambda row: f"{row['before']}.", after=punctuated),
    "less nothing": set_rows(score=lambda row: row["score"] or -0.0),
    "a breath more": set_rows(score=lambda row: row["score"] + 1e-12 * (0 < row["score"] < 1)),
    "with other mistakes": set_rows(
        after=lambda row: "mauve" if row["score"] == 0 and row["route"] == "edited" else row["after"]
    ),
    "with one other answer before": OTHER_BEFORE,
    "of another backbone": OTHER_BACKBONE,
    "of another seed": OTHER_SEED,
}


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder, to be read only, that holds the run `mine`."""
    folder = tmp_path_factory.mktemp("taken")
    write_entry(folder, "mine")
    return folder


@pytest.mark.parametrize("what", COPIES)
def test_a_copy_under_a_new_name_is_refused(what: str, mine: Path, taken: Path):
    how = COPIES[what]
    change(mine, how if how is OTHER_SEED else both(RENAMED, how))
    before = content(taken)
    seed = "; only its seed is another, and the editor draws nothing from it" if how is OTHER_SEED else ""
    rows = 84 if how is of_one_protocol else 168
    alike = rf"the same score and similarity in {rows} of {rows} rows{seed}"
    with pytest.raises(FGVEditError, match=rf"is there already as 'mine-tiny-cards-dddddddd-0' \({alike}\)"):
        send(mine, taken, name="All my own work")
    assert content(taken) == before


def test_the_same_thing_run_again_is_refused(taken: Path, tmp_path: Path):
    again = write_run(tmp_path / "again", "mine", skill=0.81)  # not the same rows, but what was asked for is the same
    with pytest.raises(FGVEditError, match=r"the same editor, configuration, checkpoint, backbone, data and seed"):
        send(again, taken)


def test_a_copy_with_a_few_changed_rows_is_refused_and_a_run_that_differs_in_more_is_not(tmp_path: Path):
    def changed(number: int) -> Change:
        def how(result: dict[str, Any], rows: list[dict[str, Any]]) -> None:
            for row in [row for row in rows if 0 < row["score"] < 1][:number]:
                row["score"] = 0.5

        return both(RENAMED, how)

    results = tmp_path / "results"
    folder = write_entry(results, "first", records=150, protocols=("paper",))
    mine = write_run(tmp_path / "mine", "first", records=150, protocols=("paper",))
    change(mine, changed(1))
    with pytest.raises(FGVEditError, match=f"'{folder.name}' .the same score and similarity in 1,049 of 1,050 rows"):
        send(mine, results)
    send(change(mine, changed(2)), results)


OTHER_WORDS = {"green": "grey", "red": "pink", "blue": "blue"}
OWN: dict[str, Change] = {
    "a router of one's own": both(RENAMED, set_rows(rho=lambda row: row["rho"] * 0.9)),
    "another backbone": both(
        RENAMED,
        OTHER_BACKBONE,
        set_rows(before=lambda row: OTHER_WORDS[row["before"]], after=lambda row: OTHER_WORDS[row["after"]]),
    ),
}


@pytest.mark.parametrize("what", OWN)
def test_two_runs_may_be_right_for_the_same_probes(what: str, mine: Path, results: Path):
    send(mine, results)
    send(change(mine, OWN[what]), results)
    assert check.main([str(results)]) == 0


# -- the base model ------------------------------------------------------------------------------------------------


def kept_by_decree(result: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Whatever the edit changed was said before it, too."""
    for row in rows:
        if row["protocol"] == "generation" and row["expected"] is None:
            row |= {"before": row["after"], "score": 1.0}


@pytest.mark.parametrize(("dtype", "most"), [("float32", 2), ("bfloat16", 10)])
def test_the_base_model_answers_as_in_other_runs(dtype: str, most: int, mine: Path, shared_results: Path):
    change(mine, both(set_in("manifest.dtype", dtype), kept_by_decree))
    sentence = (
        r"before, the base model's answer, is another one than in 'other-tiny-cards-dddddddd-0' for 1\d of 84 probes "
        rf"under protocol 'generation'; expected at most {most}%"
    )
    with pytest.raises(FGVEditError, match=sentence):
        send(mine, shared_results)


def test_rounding_may_change_an_answer_of_the_base_model(mine: Path, results: Path):
    send(change(mine, OTHER_BEFORE), results)
    assert check.main([str(results)]) == 0
