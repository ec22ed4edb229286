"""Checkpoints: what they hold, and what is said of one that does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch
from samples import bits, same
from torch import nn

from fgvedit.editors.checkpoints import load_checkpoint, save_checkpoint
from fgvedit.util.errors import FGVEditError

BACKBONE: Any = SimpleNamespace(name="mine", revision="123", input_mode="native")


def parts() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"one": nn.Linear(3, 2), "other": nn.Linear(2, 2)})


def load(folder: Path, into: nn.Module, part: str = "") -> None:
    load_checkpoint(folder, into, "an-editor", BACKBONE, {"layers": 1}, part)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "saved", parts(), "an-editor", BACKBONE, {"layers": 1, "lr": 0.1})
    return tmp_path / "saved"


def test_it_comes_back_whole_or_a_part_of_it(saved: Path):
    assert sorted(path.name for path in saved.iterdir()) == ["editor.json", "model.safetensors"]
    weights = safetensors.torch.load_file(saved / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}
    expected = {name: value.half().float() for name, value in bits(parts()).items()}
    whole, one = nn.ModuleDict({"one": nn.Linear(3, 2), "other": nn.Linear(2, 2)}), nn.Linear(3, 2)
    load(saved, whole)
    load(saved, one, "one")
    assert same(bits(whole), expected)
    assert torch.equal(one.weight, expected["one.weight"]) and torch.equal(one.bias, expected["one.bias"])


def describe(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        described = json.loads((folder / "editor.json").read_text())
        (folder / "editor.json").write_text(json.dumps({**described, **changes}))

    return change


def rewrite(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def rewritten(folder: Path) -> None:
        weights = safetensors.torch.load_file(folder / "model.safetensors")
        change(weights)
        safetensors.torch.save_file(weights, folder / "model.safetensors")

    return rewritten


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, r"model\.safetensors' is truncated or damaged: expected a whole safetensors file, found \d+ bytes"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"model\.safetensors' is missing"),
        (lambda folder: (folder / "editor.json").unlink(), r"editor\.json' is missing"),
        (lambda folder: (folder / "editor.json").write_text('{"edi'), r"editor\.json' is damaged"),
        (lambda folder: (folder / "editor.json").write_text("[]"), r"editor\.json' is damaged"),
        (describe(editor="serac"), r"editor\.json': it was trained with editor 'serac'.*expected 'an-editor'"),
        (describe(backbone_revision="abc"), r"editor\.json': it was trained with backbone_revision 'abc'"),
        (describe(input_mode="paper"), r"editor\.json': it was trained with input_mode 'paper'.*expected 'native'"),
        (describe(config={"layers": 2}), r"trained with layers '2'.*expected '1'"),
        (rewrite(lambda weights: weights.pop("one.bias")), r"tensor 'one\.bias' has shape none, expected \[2\]"),
        (
            rewrite(lambda weights: weights.update({"one.weight": torch.zeros(2)})),
            r"tensor 'one\.weight' has shape \[2\], expected \[2, 3\]",
        ),
        (rewrite(lambda weights: weights.update(more=torch.zeros(2))), "tensor 'more' has shape .* expected no such"),
    ],
)
def test_one_that_does_not_fit_is_named_and_changes_nothing(saved: Path, damage: Callable[[Path], Any], message: str):
    damage(saved)
    mine = parts()
    before = bits(mine)
    with pytest.raises(FGVEditError, match=message):
        load(saved, mine)
    assert same(bits(mine), before)
