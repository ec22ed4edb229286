"""The page on adding a backbone: what it shows is taken from it and run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from families import SAVE
from rows import image_ref

from fgvedit.backbones import open_backbone
from fgvedit.backbones.answering import Query
from fgvedit.cli import check_editor
from fgvedit.util.errors import FGVEditError

PAGE = Path(__file__).parents[2] / "docs" / "add-a-backbone.md"


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the page, and the model that they name."""
    blocks = re.findall(r"```(?:yaml|python)\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert [name for name, _ in blocks] == ["my-llava.yaml", "patient_llava.py", "patient.yaml"]
    for name, text in blocks:
        (tmp_path / name).write_text(text)
    SAVE["llava"](tmp_path / "llava")
    return tmp_path


def test_the_yaml_file(written: Path):
    mine, plain = open_backbone(str(written / "my-llava.yaml")), open_backbone(str(written / "llava"))
    assert mine.prompt("What?") == "What? Answer in one word."
    assert mine.name == "my-llava" and mine.revision == plain.revision
    assert len(mine.language_layers) == 2
    assert len(mine.generate([Query("What?", image_ref())], 3)) == 1


def test_the_class(written: Path):
    mine, plain = open_backbone(str(written / "patient.yaml")), open_backbone(str(written / "llava"))
    assert type(mine).__name__ == "PatientLlava"
    assert mine.prompt("What?") == f"Look at the picture again. {plain.prompt('What?')}"


def test_the_check(written: Path, dataset_folder: Path, capsys):
    options = ["--backbone", str(written / "patient.yaml"), "--dataset", str(dataset_folder), "--device", "cpu"]
    assert check_editor.main(["ft-llm", *options, "--set", "layers=[-1]", "--set", "steps=3"]) == 0
    assert " 0 failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("patient_llava.py:Patient", "unknown class in '.*patient_llava.py' 'Patient'.*did you mean 'PatientLlava'"),
        ("none.py:Patient", "backbone '.*none.py:Patient': there is no file"),
        ("no.such.module:Patient", "no module 'no'"),
        ("fgvedit.schema:Edit", "expected a subclass of fgvedit.backbones.base.Backbone"),
    ],
)
def test_a_class_that_cannot_be_had(written: Path, target: str, message: str):
    (written / "wrong.yaml").write_text(f"folder: llava\nclass: {target}\n")
    with pytest.raises(FGVEditError, match=message):
        open_backbone(str(written / "wrong.yaml"))
