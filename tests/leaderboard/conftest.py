"""Results folders, made once, a run to submit, and a site."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from board_samples import write_results
from results_folder import write_entry, write_run


@pytest.fixture(scope="session")
def shared_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder, to be read only, that knows the made-up data, and holds another's run."""
    folder = tmp_path_factory.mktemp("shared") / "results"
    write_entry(folder, "other", skill=0.6)
    return folder


@pytest.fixture
def results(shared_results: Path, tmp_path: Path) -> Path:
    """The same, to be written to."""
    return Path(shutil.copytree(shared_results, tmp_path / "results"))


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The folder of a finished run."""
    return write_run(tmp_path / "mine", "mine")


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder, to be read only, of runs that can be ranked and compared."""
    folder = tmp_path_factory.mktemp("board") / "results"
    write_results(folder)
    return folder


@pytest.fixture(scope="session")
def site(board: Path) -> Path:
    """Its site."""
    from leaderboard.site.__main__ import main

    main([str(board), "--out", str(board.parent / "site")])
    return board.parent / "site"
