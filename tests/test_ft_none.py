"""The two baselines that prove the contract: one changes weights and restores them, one does nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from conftest import image_ref
from dummy import write_dataset

from baselines.ft.editor import FineTune
from baselines.none.editor import NoEdit
from fgvedit.answering import Query
from fgvedit.backbones.base import Backbone
from fgvedit.dataset import load_records
from fgvedit.editing import editor_class, editor_config, open_editor
from fgvedit.errors import FGVEditError
from fgvedit.protocols import open_protocols
from fgvedit.runner import run
from fgvedit.schema import EXPECTED_SAME, Edit

EDIT = Edit(image_ref(), "What colour is the card?", "blue")
QUERY = Query(EDIT.question, EDIT.image)
OVERRIDES = {"layers": 2, "lr": 0.01, "steps": 60}


@pytest.fixture
def ft(backbone: Backbone) -> FineTune:
    return FineTune(backbone, editor_config(FineTune, backbone.name, OVERRIDES))


@contextmanager
def bits_kept(backbone: Backbone) -> Iterator[dict[str, torch.Tensor]]:
    """Checks that every parameter and buffer, and what they say about gradients, is as before; yields the values."""
    state = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    flags = {name: parameter.requires_grad for name, parameter in backbone.model.named_parameters()}
    yield state
    for name, value in backbone.model.state_dict().items():
        assert torch.equal(value, state[name]), name
    for name, parameter in backbone.model.named_parameters():
        assert parameter.requires_grad == flags[name] and parameter.grad is None, name


def test_ft_learns_the_edit_and_gives_back_the_base_model_bit_for_bit(ft: FineTune):
    backbone = ft.backbone
    before = backbone.generate([QUERY])
    assert before != ["blue"]
    with bits_kept(backbone) as state:
        with ft.edit([EDIT]) as edited:
            assert edited.generate([QUERY]) == ["blue"]
            forced = edited.teacher_force([QUERY], ["blue"])[0]
            assert forced.predicted.tolist() == forced.answer.tolist()
            assert edited.explain([QUERY])[0].to == "edited"
            changed = [n for n, value in backbone.model.state_dict().items() if not torch.equal(value, state[n])]
        assert backbone.generate([QUERY]) == before
    assert changed and all(name.endswith(tuple(ft.config.parameters)) for name in changed)


def test_ft_learns_several_edits_at_once(ft: FineTune):
    edits = [EDIT, Edit(image_ref(1), "What is the shape?", "round")]
    with bits_kept(ft.backbone), ft.edit(edits) as edited:
        assert edited.generate([Query(edit.question, edit.image) for edit in edits]) == ["blue", "round"]


def test_ft_restores_after_an_error(ft: FineTune):
    with bits_kept(ft.backbone), pytest.raises(RuntimeError, match="on purpose"), ft.edit([EDIT]):
        raise RuntimeError("on purpose")


def test_ft_restores_when_it_is_used_where_gradients_are_off(ft: FineTune):
    with bits_kept(ft.backbone), torch.no_grad(), ft.edit([EDIT]) as edited:
        assert edited.generate([QUERY]) == ["blue"]


def test_ft_learns_in_half_precision(ft: FineTune):
    ft.backbone.model.to(torch.bfloat16)
    ft.backbone.forget_images()
    with bits_kept(ft.backbone), ft.edit([EDIT]) as edited:
        assert edited.generate([QUERY]) == ["blue"]


def test_ft_stops_when_the_edit_is_learnt(ft: FineTune):
    learnt = FineTune(ft.backbone, editor_config(FineTune, ft.backbone.name, {**OVERRIDES, "stop_loss": 1e9}))
    with learnt.edit([EDIT]) as edited:
        assert edited.generate([QUERY]) == ft.backbone.generate([QUERY])


def test_ft_without_an_edit_is_the_base_model(ft: FineTune):
    with bits_kept(ft.backbone), ft.edit([]) as edited:
        assert edited.generate([QUERY]) == ft.backbone.generate([QUERY])


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("parameters", ["fc1.weigth"], "unknown parameter .*'fc1.weigth'.*did you mean 'fc1.weight'"),
        ("parameters", "fc1.weight", "option 'parameters' .* expected a list"),
        ("parameters", [], "option 'parameters' .* expected a list"),
        ("layers", 3, "found 3, expected at most the 2"),
        ("layers", 0, "option 'layers' .* expected more than 0"),
        ("lr", "fast", "option 'lr' .* expected a float"),
        ("lrs", 1.0, "unknown option .*'lrs'.*did you mean 'lr'"),
    ],
)
def test_ft_names_a_bad_option(backbone: Backbone, option: str, value: object, sentence: str):
    with pytest.raises(FGVEditError, match=sentence):
        FineTune(backbone, editor_config(FineTune, backbone.name, {**OVERRIDES, option: value}))


def test_ft_scores_full_reliability_and_gives_the_base_model_back_after_a_run(ft: FineTune, tmp_path: Path):
    data = load_records(str(write_dataset(tmp_path / "cards", 4)))
    with bits_kept(ft.backbone):
        result = run(ft, data, open_protocols("paper,generation"), tmp_path / "out")
    assert result["metrics"]["paper/reliability"]["value"] == 100
    assert result["metrics"]["generation/reliability"]["value"] == 100
    assert result["router"] == {}


def test_none_changes_no_answer(backbone: Backbone, tmp_path: Path):
    data = load_records(str(write_dataset(tmp_path / "cards", 4)))
    with bits_kept(backbone):
        result = run(NoEdit(backbone, NoEdit.Config()), data, open_protocols("paper,generation"), tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert all(row["before"] == row["after"] and row["route"] == "base" for row in rows)
    assert {row["score"] for row in rows if row["kind"] in EXPECTED_SAME} == {1}
    for protocol in ("paper", "generation"):
        values = {name: metric["value"] for name, metric in result["metrics"].items() if name.startswith(protocol)}
        assert values[f"{protocol}/reliability"] == values[f"{protocol}/generality"] == 0
        assert values[f"{protocol}/locality"] == values[f"{protocol}/retention"] == 100
        assert values[f"{protocol}/other_image"] == 100


@pytest.mark.parametrize(
    ("target", "kind"),
    [("baselines.none.editor:NoEdit", NoEdit), ("baselines.ft.editor:FineTune", FineTune)],
)
def test_the_baselines_are_found_by_their_module_and_class(target: str, kind: type, backbone: Backbone):
    assert editor_class(target) is kind
    if kind is NoEdit:
        assert isinstance(open_editor(target, backbone), NoEdit)


@pytest.mark.parametrize("name", ["tiny", "blip2-opt-2.7b", "minigpt4", "a backbone without a section"])
def test_the_shipped_configurations_are_valid(name: str):
    assert editor_config(FineTune, name).layers == 3
    assert editor_config(NoEdit, name) == NoEdit.Config()
