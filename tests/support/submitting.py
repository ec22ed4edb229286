"""Submissions by the command, and what a folder holds."""

from __future__ import annotations

from pathlib import Path

from leaderboard import submit

LINK = "https://example.org/code"


def send(folder: Path, results: Path, *options: str, name: str = "A method", link: str = LINK) -> None:
    """Submit the run in `folder`."""
    submit.main([str(folder), "--to", str(results), "--name", name, "--link", link, *options])


def content(folder: Path) -> dict[str, bytes]:
    """Path -> content of each file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
