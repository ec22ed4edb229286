"""Submissions by the command, and what a folder holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from fgvedit.util.errors import FGVEditError
from leaderboard import submit

LINK = "https://example.org/code"


def send(folder: Path, results: Path, *options: str, **about: str) -> None:
    """Submit the run in `folder`; `about`: its name, link and description."""
    said = {"name": "A method", "link": LINK, **about}
    submit.main([str(folder), "--to", str(results), *(f"--{name}={text}" for name, text in said.items()), *options])


def expect_refused(folder: Path, results: Path, sentence: str, **about: str) -> None:
    """That is refused in one short sentence, and nothing is written."""
    before = content(results)
    with pytest.raises(FGVEditError, match=sentence) as refused:
        send(folder, results, **about)
    assert content(results) == before and len(str(refused.value)) < 600 and "\n" not in str(refused.value)


def content(folder: Path) -> dict[str, bytes]:
    """Path -> content of each file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
