"""The editor that does nothing, which is the control row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dummy import write_dataset
from samples import bits, same

from baselines.none.editor import NoEdit
from fgvedit.backbones.base import Backbone
from fgvedit.dataset import load_records
from fgvedit.editors.registry import editor_class, editor_config, open_editor
from fgvedit.evaluation.protocols import open_protocols
from fgvedit.evaluation.runs.runner import run
from fgvedit.evaluation.summary import CONTROL, is_control
from fgvedit.probes import changes


def test_none_changes_no_answer(backbone: Backbone, tmp_path: Path):
    data = load_records(str(write_dataset(tmp_path / "cards", 4)))
    before = bits(backbone.model)
    result = run(NoEdit(backbone, NoEdit.Config()), data, open_protocols("paper,generation"), tmp_path / "out")
    assert same(bits(backbone.model), before)
    assert result["manifest"]["editor"]["control"] is True and is_control(result["manifest"])
    assert result["manifest"]["editor"]["supervision"] == "none"
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert all(row["before"] == row["after"] and row["route"] == "base" for row in rows)
    assert {row["score"] for row in rows if not changes(row["kind"])} == {1}
    for protocol in ("paper", "generation"):
        values = {name: metric["value"] for name, metric in result["metrics"].items() if name.startswith(protocol)}
        assert values[f"{protocol}/reliability"] == values[f"{protocol}/generality"] == 0
        assert values[f"{protocol}/locality"] == values[f"{protocol}/retention"] == 100
        assert values[f"{protocol}/other_image"] == 100


def test_none_is_found_by_its_module_and_class(backbone: Backbone):
    target = "baselines.none.editor:NoEdit"
    assert editor_class(target) is NoEdit
    assert isinstance(open_editor(target, backbone), NoEdit)


def test_none_is_the_control_however_it_was_opened(backbone: Backbone, tmp_path: Path):
    data = load_records(str(write_dataset(tmp_path / "cards", 2)))
    editor = open_editor("baselines/none/editor.py:NoEdit", backbone)
    manifest = run(editor, data, open_protocols("generation"), tmp_path / "out")["manifest"]
    assert manifest["editor"]["class"] != CONTROL and is_control(manifest)


@pytest.mark.parametrize("name", ["tiny", "blip2-opt-2.7b", "minigpt4-7b", "a backbone without a section"])
def test_the_shipped_configuration_is_valid(name: str):
    assert editor_config(NoEdit, name) == NoEdit.Config()
