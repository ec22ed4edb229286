"""The command lines over real photos, on a saved model of every family: train MSCKE, then run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from families import SAVE
from real_photos import write_photos

from fgvedit.cli import check_editor, run, train

FAMILIES = ("blip2", "minigpt4", *SAVE)


@pytest.fixture(scope="module")
def photos(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "photos"
    write_photos(folder, real_data)
    return folder


@pytest.fixture
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Path]:
    def folder(name: str) -> Path:
        if name in SAVE:
            SAVE[name](tmp_path / name)
            return tmp_path / name
        return request.getfixturevalue(f"random_{name}")

    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_mscke_is_trained_and_run(family: str, saved, photos: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = saved(family)
    data = ["--backbone", str(folder), "--dataset", str(photos), "--device", "cpu"]
    train.main([*data, "--editor", "mscke", "--set", "clip=tiny-clip", "--set", "steps=2"])
    run.main([*data, "--editor", "mscke", "--limit", "2", "--out", "result"])
    assert f"mscke on {folder.name}, 2 records of" in capsys.readouterr().out
    result = json.loads((tmp_path / "result" / "result.json").read_text())
    assert result["manifest"]["editor"]["config"]["clip"] == "tiny-clip"  # the checkpoint's, though nobody said so
    rows = [json.loads(line) for line in (tmp_path / "result" / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * 2 * 6
    assert {row["route"] for row in rows} <= {"base", "counterfactual"}
    # 5 photos are seen by 4 records; a run of 2 sees 3 of them, each once, however often it is asked about.
    assert result["manifest"]["cost"]["encoded_images"] == 3


@pytest.mark.parametrize("family", ["qwen3_vl", "instructblip"])
def test_an_editor_passes_the_checks(family: str, saved, photos: Path, monkeypatch, tmp_path: Path, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--backbone", str(saved(family)), "--dataset", str(photos), "--device", "cpu"]
    assert check_editor.main(["ft-llm", *options, "--set", "layers=[-1]", "--set", "steps=2"]) == 0
    assert " 0 failed" in capsys.readouterr().out
