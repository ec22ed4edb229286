"""Folders that are whole or absent, whatever a run dies of, and never at the cost of what lay there before."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import re
from functools import partial
from pathlib import Path

import pytest
from killing import killed_before

from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import is_unicode, read_json, whole_folder, write_json


def ours(folder: Path) -> bool:
    return (folder / "made").is_file()


def make(out: Path, text: str, keep_others: bool = False) -> None:
    with whole_folder(out, ours, keep_others) as folder:
        (folder / "made").write_text(text)


def held(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "above" / "out"
    with whole_folder(out) as folder:
        (folder / "made").write_text("first")
        assert not out.exists()
    assert held(tmp_path) == {"above/out/made": "first"}
    with whole_folder(out, ours) as folder:
        (folder / "made").write_text("second")
        assert held(out) == {"made": "first"}
    assert held(tmp_path) == {"above/out/made": "second"}


def test_an_empty_folder_may_be_there_and_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    make(tmp_path / "out", "text")
    assert (tmp_path / "out").is_symlink() and held(tmp_path / "disk") == {"made": "text"}
    assert sorted(os.listdir(tmp_path)) == ["disk", "out"]


@pytest.mark.parametrize("older", [True, False])
def test_what_fails_leaves_what_was_there(tmp_path: Path, older: bool) -> None:
    out = tmp_path / "out"
    if older:
        make(out, "older")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ZeroDivisionError), whole_folder(out, ours) as folder:
        (folder / "made").write_text("new")
        raise ZeroDivisionError
    assert sorted(tmp_path.rglob("*")) == before
    assert not older or held(out) == {"made": "older"}


@pytest.mark.parametrize("keep_others", [False, True])
def test_a_kill_at_any_moment_loses_nothing(tmp_path: Path, keep_others: bool) -> None:
    """What it leaves, and what a call that fails and one that does not make of it."""
    for change in itertools.count():
        folder = tmp_path / str(change)
        out = folder / "out"
        make(out, "older")
        others = {"out/.git/HEAD": "ref", "out/robots.txt": "all"} if keep_others else {}
        for name, text in others.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        older, new = ({"out/made": text, **others} for text in ("older", "new"))
        killed = killed_before(change, partial(make, out, "new", keep_others))
        left = {name: text for name, text in held(folder).items() if name.startswith("out/")}
        assert left in ({}, older, new)
        with pytest.raises(ZeroDivisionError), whole_folder(out, ours, keep_others):
            raise ZeroDivisionError
        assert held(folder) in (older, new)
        make(out, "new", keep_others)
        assert held(folder) == new
        if not killed:
            assert change > 5
            return


def test_folders_of_others_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis").write_text("all of it")
    (tmp_path / "file").write_text("text")
    before = held(tmp_path)
    for path in (out, tmp_path / "file"):
        with pytest.raises(FGVEditError, match="holds something else"):
            make(path, "text")
    make(tmp_path / "made", "text")
    with pytest.raises(FGVEditError, match="holds something else"), whole_folder(tmp_path / "made"):
        pass  # without a way to tell, none is ours
    monkeypatch.chdir(tmp_path / "made")
    for name in (".", "/", "..", "../made"):
        with pytest.raises(
            FGVEditError, match=f"--out '{name}' is the current folder or above it, and would be replaced"
        ):
            make(Path(name), "text")
    assert held(tmp_path) == {**before, "made/made": "text"}


def test_two_at_once_are_told_apart_and_lose_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out, "older")
    (out / "thesis").write_text("all of it")
    with whole_folder(out, ours, keep_others=True) as folder:
        with pytest.raises(FGVEditError, match=r"out': another process is writing it; expected to wait"):
            make(out, "second", keep_others=True)
        (folder / "made").write_text("first")
    assert held(tmp_path) == {"out/made": "first", "out/thesis": "all of it"}


def test_what_took_the_place_of_a_folder_after_a_kill_costs_neither(tmp_path: Path) -> None:
    """Killed between the two renames, and then somebody put another folder there."""
    out, older = tmp_path / "out", tmp_path / ".out.fgvedit-old"
    make(out, "older")
    (out / "thesis").write_text("all of it")
    for change in itertools.count():  # up to the moment in which neither folder is there
        if not killed_before(change, partial(make, out, "new", True)) or not out.exists():
            break
    assert not out.exists()
    out.mkdir()
    (out / "made").write_text("other")
    with pytest.raises(FGVEditError, match=r"fgvedit-old' is what lay in '.*out' when a run was killed"):
        make(out, "new", keep_others=True)
    assert held(older) == {"made": "older", "thesis": "all of it"} and held(out) == {"made": "other"}


def test_others_are_kept_by_what_a_folder_is_said_to_be_made_of(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("made", "images/old.png", "images/mine.png", "notes/deep/down.txt"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("older")
    (out / "empty").mkdir()
    (out / "link").symlink_to("notes")
    out.chmod(0o2775)
    with whole_folder(out, ours, keep_others=lambda folder: ["made", "images/old.png"]) as folder:
        (folder / "made").write_text("new")
        (folder / "images").mkdir()
        (folder / "images" / "new.png").write_text("new")
    kept = {"images/mine.png": "older", "notes/deep/down.txt": "older"}
    assert held(out) == {"made": "new", "images/new.png": "new", **kept}
    assert (out / "empty").is_dir() and os.readlink(out / "link") == "notes" and out.stat().st_mode & 0o7777 == 0o2775


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_no_hindrance(tmp_path, monkeypatch, capsys, code) -> None:
    def refuse(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    make(tmp_path / "out", "text")
    assert held(tmp_path) == {"out/made": "text"}
    assert re.fullmatch(r"note: '.*' cannot be locked \(.*\): one process at a time\n", capsys.readouterr().err)


def test_what_comes_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(FGVEditError, match="holds something else"), whole_folder(tmp_path / "out", ours):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis").write_text("all of it")
    assert held(tmp_path) == {"out/thesis": "all of it"}


def test_half_a_character_is_escaped_in_json(tmp_path: Path) -> None:
    value = {"half": "\ud83d", "whole": "é😀"}
    write_json(tmp_path / "file.json", value)
    assert json.loads((tmp_path / "file.json").read_bytes()) == read_json(tmp_path / "file.json") == value
    assert "é😀" in (tmp_path / "file.json").read_text(encoding="utf-8")
    assert not is_unicode([value]) and is_unicode(value["whole"])
