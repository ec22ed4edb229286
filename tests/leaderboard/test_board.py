"""A results folder as it is read: what is there, and what is refused by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from board_samples import write_reported
from results_folder import write_entry

from fgvedit.evaluation.metrics import metrics_from_rows
from fgvedit.util.errors import FGVEditError
from leaderboard.board import read_results

RESULTS = Path(__file__).parents[2] / "leaderboard" / "results"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_entry(tmp_path, "good", skill=0.9)
    write_entry(tmp_path, "better", skill=0.95, status="reproduced")
    write_entry(tmp_path, "rows", skill=0.8, sequence=3)
    write_reported(tmp_path, "paper")
    return tmp_path


def test_a_results_folder_is_read(results: Path):
    entries, reported = read_results(results)
    assert [entry.id for entry in entries] == [
        "better-tiny-cards-dddddddd-0",
        "good-tiny-cards-dddddddd-0",
        "rows-tiny-cards-dddddddd-0-seq-3",
    ]
    assert [entry.status for entry in entries] == ["reproduced", "verified-rows", "verified-rows"]
    for entry in entries:
        assert entry.result["metrics"] == metrics_from_rows(entry.rows())
    assert reported[0].title == "A Paper on Editing" and reported[0].rows[0]["metrics"]["paper/specificity"] == 97.0


def test_a_folder_that_holds_no_results_is_said(tmp_path: Path):
    with pytest.raises(FGVEditError, match="neither 'runs' nor 'reported'"):
        read_results(tmp_path)
    with pytest.raises(FGVEditError, match="is no folder"):
        read_results(tmp_path / "missing")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"link": "javascript:alert(1)"}, "paper.json': link is 'javascript:alert"),
        ({"title": "A <script>"}, "paper.json': title is .* markup"),
        ({"protocol": "generation"}, "rows.0: 'paper/reliability' is not of its protocol 'generation'"),
        ({"rows": []}, "paper.json' is not a valid file of reported numbers: rows: "),
    ],
)
def test_reported_numbers_that_are_not_fit_are_named(changes, sentence, tmp_path: Path):
    write_reported(tmp_path, "paper", **changes)
    with pytest.raises(FGVEditError, match=sentence):
        read_results(tmp_path)


def test_the_leaderboard_needs_no_torch(results: Path, tmp_path: Path):
    program = (
        "import importlib, pkgutil, sys; import leaderboard; "
        "names = [one.name for one in pkgutil.walk_packages(leaderboard.__path__, 'leaderboard.')]; "
        "modules = {name: importlib.import_module(name) for name in names}; assert len(modules) > 15; "
        "modules['leaderboard.table'].main([sys.argv[1]]); "
        "modules['leaderboard.site.__main__'].main([sys.argv[1], '--out', sys.argv[2]]); "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", program, str(results), str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "better" in done.stdout, done.stderr
