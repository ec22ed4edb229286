"""LoRA: low-rank adapters that learn the edit, and a module tree that comes back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from edits import EDIT, OTHER, QUERIES, QUERY, bits_kept
from samples import answers, bits, same
from torch import nn

from baselines.lora.editor import LoRA
from fgvedit.backbones import open_backbone
from fgvedit.backbones.base import Backbone
from fgvedit.editors.contract import Route
from fgvedit.editors.fine_tuning import edit_loss
from fgvedit.editors.registry import editor_config
from fgvedit.util.errors import FGVEditError

OPTIONS = {
    **{"targets": ["q_proj", "v_proj", "fc1"], "rank": 2, "alpha": 8},
    **{"optimiser": "adam", "lr": 0.02, "lr_decay": 1.0, "steps": 150, "stop_loss": 0.01},
}
TARGETS = ("self_attn.q_proj", "self_attn.v_proj", "fc1")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The first factor of each adapter is drawn."""
    torch.manual_seed(0)


def opened(backbone: Backbone, **options: Any) -> LoRA:
    return LoRA(backbone, editor_config(LoRA, backbone.name, {**OPTIONS, **options}))


@contextmanager
def structure_kept(backbone: Backbone) -> Iterator[None]:
    """Checks that the same modules, with the same attributes, hooks and modes, stand where they stood."""

    def structure() -> dict[str, Any]:
        hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        return {
            name: (
                id(module),
                type(module),
                set(vars(module)),
                module.training,
                [len(getattr(module, h)) for h in hooks],
            )
            for name, module in backbone.model.named_modules()
        }

    before, names = structure(), list(backbone.model.state_dict())
    try:
        yield
    finally:
        assert structure() == before
        assert list(structure()) == list(before) and list(backbone.model.state_dict()) == names


def matrices_of(backbone: Backbone) -> dict[str, torch.Tensor]:
    """The matrix that every linear map of the language layers applies, read off what it makes of the unit vectors."""
    matrices = {}
    for index, block in enumerate(backbone.language_layers):
        for name in (*TARGETS, "self_attn.k_proj", "self_attn.out_proj", "fc2"):
            module = block.get_submodule(name)
            width = module.in_features
            assert isinstance(width, int)
            with torch.no_grad():
                matrices[f"{index}.{name}"] = (module(torch.eye(width)) - module(torch.zeros(1, width))).T
    return matrices


def test_it_learns_the_edit_and_gives_back_the_base_model_bit_for_bit(backbone: Backbone):
    editor = opened(backbone)
    before = answers(backbone, QUERIES)
    with structure_kept(backbone), bits_kept(backbone):
        with editor.edit([EDIT]) as edited:
            assert edited.generate([QUERY]) == ["blue"] != before[0][:1]
            assert edited.explain(QUERIES) == [Route("edited", 0)] * 3
        assert answers(backbone, QUERIES) == before


def test_it_learns_several_edits_at_once(backbone: Backbone):
    with structure_kept(backbone), bits_kept(backbone), opened(backbone, rank=8).edit([EDIT, OTHER]) as edited:
        assert edited.generate(QUERIES[:2]) == ["blue", "round"]
        assert edited.explain([QUERY]) == [Route("edited")]


@pytest.mark.parametrize("layers", [None, [0], [-1]])
def test_only_the_targets_of_the_chosen_layers_change_and_by_a_matrix_of_low_rank(
    layers: list[int] | None, backbone: Backbone
):
    before = matrices_of(backbone)
    with opened(backbone, layers=layers, steps=10, stop_loss=0).edit([EDIT]):
        after = matrices_of(backbone)
    chosen = [0, 1] if layers is None else [layers[0] % 2]
    for name, matrix in after.items():
        index, _, module = name.partition(".")
        if int(index) in chosen and module in TARGETS:
            singular = torch.linalg.svdvals(matrix - before[name])
            assert singular[1] > 1e-3 and singular[2] < 1e-4 * singular[0], name
        else:
            assert torch.equal(matrix, before[name]), name


def test_the_update_is_alpha_over_rank_times_the_product_of_the_factors(backbone: Backbone):
    before = matrices_of(backbone)
    with opened(backbone, rank=4, alpha=12, steps=3, stop_loss=0).edit([EDIT]):
        adapter: Any = backbone.language_layers[0].get_submodule("fc1")
        product = adapter.lora_B["default"].weight @ adapter.lora_A["default"].weight
        change = matrices_of(backbone)["0.fc1"] - before["0.fc1"]
    torch.testing.assert_close(change, 3 * product.detach(), rtol=1e-3, atol=1e-4)


def test_the_base_weights_stay_while_the_edit_is_in_force(backbone: Backbone):
    before = bits(backbone.model)
    with opened(backbone).edit([EDIT]):
        for name, value in bits(backbone.model).items():
            if "lora_" not in name:
                assert torch.equal(value, before[name.replace(".base_layer", "")]), name


def test_before_its_first_step_it_is_the_base_model(backbone: Backbone):
    with opened(backbone, stop_loss=1e9).edit([EDIT]) as edited:
        assert answers(edited, QUERIES) == answers(backbone, QUERIES)
    found = []
    for lr in (1e-30, 0.02):
        with opened(backbone, optimiser="sgd", lr=lr, steps=1).edit([EDIT]):
            found.append(matrices_of(backbone))
    before = matrices_of(backbone)
    assert same(found[0], before) and not same(found[1], before)


@pytest.mark.parametrize("where", ["answer_loss", "language_model.forward"])
def test_it_restores_after_an_error_in_the_optimisation(
    where: str, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    editor = opened(backbone)

    def failing(*_: Any, **__: Any) -> None:
        raise RuntimeError("on purpose")

    owner = backbone if where == "answer_loss" else backbone.language_model
    monkeypatch.setattr(owner, where.rpartition(".")[2], failing)
    with structure_kept(backbone), bits_kept(backbone), pytest.raises(RuntimeError, match="on purpose"):  # noqa: SIM117
        with editor.edit([EDIT]):
            pytest.fail("the edit was made")


def test_flags_are_given_back_where_parameters_were_trainable(backbone: Backbone):
    for parameter in backbone.language_layers[0].parameters():
        parameter.requires_grad_(True)
    with bits_kept(backbone), opened(backbone, steps=2).edit([EDIT]):
        pass


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_it_learns_in_half_precision_with_adapters_in_single(dtype: torch.dtype, random_blip2: Path):
    backbone = open_backbone(str(random_blip2), dtype=dtype)
    with structure_kept(backbone), bits_kept(backbone), torch.no_grad(), opened(backbone).edit([EDIT]) as edited:
        assert edited.generate([QUERY]) == ["blue"]
        factors = {n: p for n, p in backbone.model.named_parameters() if "lora_" in n}
        assert {parameter.dtype for parameter in factors.values()} == {torch.float32}
        assert len(factors) == 2 * 2 * len(TARGETS)


def test_dropout_is_on_while_it_learns_and_off_when_it_answers(backbone: Backbone):
    learnt = []
    for dropout in (0.0, 0.5):
        torch.manual_seed(0)
        with opened(backbone, dropout=dropout, steps=5, stop_loss=0).edit([EDIT]) as edited:
            learnt.append({n: p.detach() for n, p in backbone.model.named_parameters() if "lora_B" in n})
            assert answers(edited, QUERIES) == answers(edited, QUERIES)
            assert same(matrices_of(backbone), matrices_of(backbone))
    assert not same(*learnt)


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("targets", ["q_porj"], "'targets'.*'q_porj'.*expected one of .*self_attn.q_proj"),
        ("targets", ["self_attn"], "'targets'.*'self_attn'"),
        ("targets", [], "option 'targets': found an empty list"),
        ("targets", "q_proj", "option 'targets' .* expected a list"),
        ("layers", [], "option 'layers': found an empty list"),
        ("layers", [2], "option 'layers': found 2, expected -2 to 1"),
        ("rank", 0, "option 'rank': found 0, expected more than 0"),
        ("rank", 2.5, "option 'rank' .* expected a int"),
        ("alpha", -1, "option 'alpha': found -1, expected more than 0"),
        ("dropout", 1.0, r"option 'dropout': found 1\.0, expected from 0 to below 1"),
        ("steps", 0, "option 'steps': found 0, expected more than 0"),
    ],
)
def test_a_bad_option_is_named(option: str, value: object, sentence: str, backbone: Backbone):
    with pytest.raises(FGVEditError, match=sentence):
        opened(backbone, **{option: value})


def test_a_missing_peft_is_said_in_one_sentence(backbone: Backbone, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(
        FGVEditError, match=r"editor 'lora' needs the package 'peft'.*pip install 'fgvedit\[baselines\]'"
    ):
        opened(backbone)


def test_peft_is_not_imported_with_the_editors_module():
    import subprocess

    script = "import sys, baselines.lora.editor; sys.exit('peft' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("name", ["tiny", "blip2-opt-2.7b", "minigpt4-7b", "a backbone without a section"])
def test_the_shipped_configurations_are_valid(name: str):
    config = editor_config(LoRA, name)
    assert (config.rank, config.alpha, config.dropout, config.layers) == (8, 32, 0.1, None)


def test_under_its_values_adalora_is_another_method(backbone: Backbone, monkeypatch: pytest.MonkeyPatch):
    """Most of EasyEdit's files have such values for AdaLoRA, whose middle factor begins at 0 between two small ones."""
    import peft

    after = {}
    for kind, settings in (("lora", peft.LoraConfig), ("adalora", partial(peft.AdaLoraConfig, total_step=5))):
        monkeypatch.setattr(peft, "LoraConfig", settings)
        torch.manual_seed(0)
        editor = LoRA(backbone, editor_config(LoRA, "a backbone without a section"))
        with torch.no_grad(), editor.edit([EDIT]):
            after[kind] = edit_loss(backbone, [EDIT]).item()
    with torch.no_grad():
        before = edit_loss(backbone, [EDIT]).item()
    assert after["lora"] < before / 4 and after["adalora"] == pytest.approx(before, rel=1e-3)


def test_only_linear_maps_are_targets(backbone: Backbone):
    editor = opened(backbone, layers=[0], targets=["fc1", "q_proj"])
    assert list(editor.targets) == ["0.fc1", "0.self_attn.q_proj"]
    assert all(isinstance(backbone.language_layers[0].get_submodule(t[2:]), nn.Linear) for t in editor.targets)
