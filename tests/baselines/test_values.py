"""Configurations beside the values of the references' own files, written down from these (the file stands by each)."""

from __future__ import annotations

from typing import Any

import pytest

from fgvedit.editors.registry import editor_class, editor_config

DEPTH = {"blip2-opt-2.7b": 32, "minigpt4-7b": 32, "llava-onevision-7b": 28, "qwen2-vl-7b": 28, "qwen3-vl-8b": 36}


def config(editor: str, backbone: str) -> Any:
    return editor_config(editor_class(editor), backbone)


def counted(layer: int, backbone: str) -> int:
    """A layer from the first on."""
    return layer % DEPTH[backbone]


# zjunlp/EasyEdit, hparams/LoRA/qwen3vl-4b.yaml, the one with lora_type: lora for a multimodal model; layers: [].
LORA = {"rank": 8, "alpha": 32, "dropout": 0.1, "targets": ["q_proj", "v_proj"], "layers": None}
LORA_STEPS = {"optimiser": "sgd", "lr": 0.1, "lr_decay": 0.9, "steps": 5, "weight_decay": 0.0, "stop_loss": 0.0}
# hparams/LoRA/qwen2.5-7b.yaml, the one with lora_type: lora for a language model.
LORA_OF_TEXT = {"optimiser": "adam", "lr": 5e-3, "lr_decay": 1.0, "steps": 60, "weight_decay": 0.0}


@pytest.mark.parametrize("backbone", ["blip2-opt-2.7b", "blip2-opt-6.7b", "minigpt4-7b", "qwen3-vl-8b", "another"])
def test_lora(backbone: str):
    found = vars(config("lora", backbone))
    assert {option: found[option] for option in LORA | LORA_STEPS} == LORA | LORA_STEPS


def test_lora_on_tiny():
    found = vars(config("lora", "tiny"))
    assert {option: found[option] for option in LORA | LORA_OF_TEXT} == LORA | LORA_OF_TEXT


@pytest.mark.parametrize(
    ("backbone", "layer", "steps"),
    [
        ("llava-onevision-7b", 18, 20),  # hparams/GRACE/llavaov-7b.yaml
        ("qwen2-vl-7b", 18, 20),  # qwen2vl-7b.yaml
        ("qwen3-vl-8b", 23, 20),  # qwen3vl-4b.yaml
        ("minigpt4-7b", 27, 50),  # llama-7b.yaml, its language model
    ],
)
def test_grace(backbone: str, layer: int, steps: int):
    found = config("grace", backbone)
    assert (counted(found.layer, backbone), found.steps) == (layer, steps)
    assert found.module in ("ffn.down", "mlp.down_proj")
    assert (found.lr, found.epsilon, found.value_init, found.stop_loss) == (1.0, 1.0, "cold", 0.0)


@pytest.mark.parametrize(
    ("backbone", "layer", "modules"),
    [
        ("blip2-opt-2.7b", 23, ("fc1",)),  # hparams/WISE/blip2.yaml
        ("minigpt4-7b", 23, ("mlp.down_proj",)),  # minigpt4.yaml
        ("llava-onevision-7b", 23, ("ffn.down",)),  # llavaov-7b.yaml
        ("qwen2-vl-7b", 23, ("ffn.down",)),  # qwen2vl-7b.yaml
        ("qwen3-vl-8b", 30, ("ffn.down",)),  # qwen3vl-4b.yaml
    ],
)
def test_wise(backbone: str, layer: int, modules: tuple[str, ...]):
    found = config("wise", backbone)
    assert counted(found.layer, backbone) == layer and found.module in modules
    assert (found.lr, found.steps, found.norm_constraint, found.mask_ratio) == (1.0, 10, 1.0, 0.2)
    assert (found.alpha, found.beta, found.gamma, found.act_ratio) == (5.0, 20.0, 10.0, 0.4)
    assert (found.shard, found.density) == (500, 0.53)


@pytest.mark.parametrize("editor", ["mend", "mscke-mend"])
@pytest.mark.parametrize(
    ("backbone", "layers", "parameters"),
    [
        ("blip2-opt-2.7b", [29, 30, 31], ["fc1.weight", "fc2.weight"]),  # hparams/TRAINING/MEND/blip2.yaml
        ("minigpt4-7b", [29, 30, 31], ["mlp.down_proj.weight", "mlp.up_proj.weight"]),  # minigpt4.yaml
        ("llava-onevision-7b", [25, 26, 27], ["ffn.up.weight", "ffn.down.weight"]),  # llavaov-7b.yaml
        ("qwen2-vl-7b", [25, 26, 27], ["ffn.up.weight", "ffn.down.weight"]),  # qwen2vl-7b.yaml
        ("qwen3-vl-8b", [25, 26, 27], ["ffn.up.weight", "ffn.down.weight"]),  # qwen3vl-4b.yaml
    ],
)
def test_mend(editor: str, backbone: str, layers: list[int], parameters: list[str]):
    found = config(editor, backbone)
    assert ([counted(layer, backbone) for layer in found.layers], found.parameters) == (layers, parameters)
    assert (found.rank, found.hidden_layers, found.edit_lr) == (1920, 1, 1e-4)


@pytest.mark.parametrize("backbone", ["blip2-opt-2.7b", "minigpt4-7b", "another"])
def test_the_training_of_mend(backbone: str):
    found = config("mend", backbone)
    assert (found.lr, found.lr_end, found.clip_gradient) == (1e-6, 1e-6, 100)
    assert (found.steps * found.batch, found.batch) == (30_000, 2)  # max_iters, accumulate_bs
    assert (found.answer_rephrase, found.answer_in_scope, found.locality) == (0.1, 0.1, 1.0)  # cedit, iedit, cloc


@pytest.mark.parametrize(
    ("backbone", "steps", "in_scope"),
    [("blip2-opt-2.7b", 50_000, 1.0), ("minigpt4-7b", 20_000, 0.1)],  # max_iters, iedit
)
def test_mscke(backbone: str, steps: int, in_scope: float):
    """hparams/TRAINING/MSCKE/{blip2,minigpt4}.yaml of the released code."""
    found = config("mscke", backbone)
    assert (found.steps, found.batch, found.lr, found.lr_end, found.clip_gradient) == (steps, 1, 1e-5, 1e-5, 100)
    assert (found.answer_rephrase, found.answer_in_scope, found.scope) == (0.1, in_scope, 1.0)


@pytest.mark.parametrize(("backbone", "rate"), [("blip2-opt-2.7b", 2e-4), ("minigpt4-7b", 1e-4)])
@pytest.mark.parametrize("editor", ["ft-llm", "ft-align"])
def test_ft(editor: str, backbone: str, rate: float):
    """VLKEB/VLKEB, hparams/FT/{blip2,minigpt4}{,_qformer}.yaml: edit_lr, num_steps, inner_params."""
    found = config(editor, backbone)
    assert (found.optimiser, found.lr, found.steps, found.stop_loss) == ("adamw", rate, 15, 0)
    assert editor == "ft-align" or found.layers == [31]


@pytest.mark.parametrize("backbone", ["blip2-opt-2.7b", "minigpt4-7b"])
def test_ike(backbone: str):
    """EasyEdit, hparams/IKE/{blip2,minigpt4}.yaml."""
    found = config("ike", backbone)
    assert (found.encoder, found.k) == ("all-MiniLM-L6-v2", 32)
