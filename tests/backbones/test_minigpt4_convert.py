"""The converter of MiniGPT-4: what it makes of the three parts, and what it refuses."""

from __future__ import annotations

import functools
import json
import re
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from huggingface_hub import split_torch_state_dict_into_shards
from minigpt4_parts import Parts, change_json, projection, save_minigpt4, save_parts
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer

from fgvedit.backbones.families.minigpt4 import MiniGPT4Config, MiniGPT4Processor
from fgvedit.backbones.families.minigpt4 import convert as module
from fgvedit.backbones.families.minigpt4.convert import convert
from fgvedit.util.errors import FGVEditError, command_line


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return save_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_minigpt4(tmp_path_factory.mktemp("converted") / "minigpt4-7b")


@pytest.fixture
def own(parts: Parts, tmp_path: Path) -> Parts:
    """Parts that a test may damage."""
    copied = Path(shutil.copytree(parts.blip2.parent, tmp_path / "own"))
    return Parts(*(copied / path.name for path in vars(parts).values()))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {
        name: value
        for file in folder.glob("*.safetensors")
        for name, value in safetensors.torch.load_file(file).items()
    }


def test_every_tensor_is_copied(parts, folder):
    blip2, vicuna = weights(parts.blip2), weights(parts.vicuna)
    trained = torch.load(parts.projection)["model"]
    expected = {
        **{name: value for name, value in blip2.items() if not name.startswith("language_")},
        **{f"language_model.{name}": value for name, value in vicuna.items()},
        **{f"language_projection.{name}": trained[f"llama_proj.{name}"] for name in ("weight", "bias")},
    }
    found = weights(folder)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(parts, folder, tmp_path, dtype):
    out = tmp_path / "half"
    convert(parts.blip2, parts.vicuna, parts.projection, out, dtype)
    whole, half = weights(folder), weights(out)
    for name, value in half.items():
        whole_precision = name.startswith(("qformer.", "query_tokens"))
        assert value.dtype == (torch.float32 if whole_precision else dtype)
        assert torch.equal(value, whole[name].to(value.dtype))
    assert re.findall(r'"dtype": "(\w+)"', (out / "config.json").read_text()) == [str(dtype).removeprefix("torch.")]
    opened = AutoModelForImageTextToText.from_pretrained(out, dtype="auto").state_dict()
    assert opened["language_model.lm_head.weight"].dtype == dtype
    if dtype == torch.float16:  # for bfloat16 transformers rounds the Q-Former, too
        assert all(torch.equal(value, half[name]) and value.dtype == half[name].dtype for name, value in opened.items())


def test_several_files_of_weights(parts, folder, tmp_path, monkeypatch):
    split = functools.partial(split_torch_state_dict_into_shards, max_shard_size=50_000)
    monkeypatch.setattr(module, "split_torch_state_dict_into_shards", split)
    out = tmp_path / "several"
    convert(parts.blip2, parts.vicuna, parts.projection, out, torch.float32)
    assert len(list(out.glob("*.safetensors"))) > 3
    again, once = (AutoModelForImageTextToText.from_pretrained(path).state_dict() for path in (out, folder))
    assert again.keys() == once.keys() and all(torch.equal(again[name], once[name]) for name in once)


def test_the_same_parts_give_the_same_files(parts, folder, tmp_path):
    """A backbone's revision is made of them."""
    again = save_minigpt4(tmp_path / "elsewhere")
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }


def test_parts_are_read_anew_each_time(own, tmp_path):
    for name, value in {"first": 1.0, "second": 2.0}.items():
        made = projection()
        made["model"]["llama_proj.bias"].fill_(value)
        torch.save(made, own.projection, _use_new_zipfile_serialization=False)
        convert(own.blip2, own.vicuna, own.projection, tmp_path / name)
        assert weights(tmp_path / name)["language_projection.bias"].unique().tolist() == [value]


def test_configuration_and_tokenizer(folder):
    config, tokenizer = AutoConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert type(config) is MiniGPT4Config and config.text_config.model_type == "llama"
    assert config.image_token_id == tokenizer.convert_tokens_to_ids("<unk>") == 0
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)
    text = config.text_config
    assert (text.bos_token_id, text.eos_token_id, text.pad_token_id) == (1, 2, 2)
    assert len(tokenizer) == text.vocab_size and tokenizer("a")["input_ids"][0] == 1


def as_bins(vicuna: Path, legacy: bool) -> None:
    """Vicuna's weights as they were saved in 2023, with a buffer that is no more."""
    index = vicuna / "model.safetensors.index.json"
    files = json.loads(index.read_text())["weight_map"]
    for file in sorted(set(files.values())):
        tensors = safetensors.torch.load_file(vicuna / file)
        (vicuna / file).unlink()
        number = file.partition("model-")[2].removesuffix(".safetensors")
        if number.startswith("00001"):
            tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
        torch.save(tensors, vicuna / f"pytorch_model-{number}.bin", _use_new_zipfile_serialization=not legacy)
        for name in tensors:
            files[name] = f"pytorch_model-{number}.bin"
    index.unlink()
    (vicuna / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))


@pytest.mark.parametrize("legacy", [False, True])
def test_weights_of_before_safetensors(own, folder, tmp_path, legacy):
    as_bins(own.vicuna, legacy)
    convert(own.blip2, own.vicuna, own.projection, tmp_path / "out", torch.float32)
    found, expected = weights(tmp_path / "out"), weights(folder)
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


def test_another_q_former_than_the_released_one_is_warned_of(own, folder, tmp_path):
    change_json(own.blip2 / "config.json", text_config={"model_type": "opt"})
    with pytest.warns(UserWarning, match=r"--blip2 .* type 'opt'.* Salesforce/blip2-flan-t5-xxl"):
        convert(own.blip2, own.vicuna, own.projection, tmp_path / "out", torch.float32)
    found, expected = weights(tmp_path / "out"), weights(folder)
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


def test_files_of_t5_alone_need_not_be_there(own, folder, tmp_path):
    files = json.loads((own.blip2 / "model.safetensors.index.json").read_text())["weight_map"]
    needed = {file for name, file in files.items() if not name.startswith("language_")}
    others = set(files.values()) - needed
    assert needed and others
    for file in others:
        (own.blip2 / file).unlink()
    convert(own.blip2, own.vicuna, own.projection, tmp_path / "out", torch.float32)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


# What is refused


def change(folder: Path, name: str, by: Callable[[dict[str, torch.Tensor]], Any]) -> str:
    """Change the file of weights that holds a tensor; what the file is called."""
    for file in sorted(folder.glob("*.safetensors")):
        tensors = safetensors.torch.load_file(file)
        if name in tensors:
            by(tensors)
            safetensors.torch.save_file(tensors, file, metadata={"format": "pt"})
            return file.name
    raise AssertionError(f"{name} is in no file of {folder}")


VISION, LANGUAGE = "vision_model.encoder.layers.1.mlp.fc1.weight", "model.layers.1.mlp.up_proj.weight"


class Trap:
    """What a pickle may do when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def save_projection(own: Parts, entry: str, **changes: Any) -> None:
    """The released file with another content of `entry`, where that is a dictionary, or with another entry."""
    made = projection()
    made[entry] = {**made[entry], **changes["more"]} if "more" in changes else changes["value"]
    torch.save(made, own.projection)


def weights_with_code(own: Parts) -> None:
    as_bins(own.vicuna, legacy=False)
    torch.save({"model.norm.weight": Trap(own.vicuna / "run")}, own.vicuna / "pytorch_model-00002-of-00004.bin")


def folders_swapped(own: Parts) -> None:
    own.blip2.rename(own.blip2.with_name("blip2"))
    own.vicuna.rename(own.blip2)


def another_tokenizer(own: Parts) -> None:
    made = json.loads((own.vicuna / "tokenizer.json").read_text())
    vocab = made["model"]["vocab"]
    vocab["<unk>"], vocab["<0x00>"] = vocab["<0x00>"], vocab["<unk>"]
    made["added_tokens"] = []
    (own.vicuna / "tokenizer.json").write_text(json.dumps(made))


def without(folder: Path, pattern: str) -> None:
    for file in folder.glob(pattern):
        file.unlink()


def first_bytes(file: Path, count: int) -> None:
    file.write_bytes(file.read_bytes()[:count])


# Name -> what is wrong with the parts, and what is said of it; {blip2}, {vicuna} and {projection} are where they are.
DAMAGES: dict[str, tuple[Callable[[Parts], Any], list[str]]] = {
    "lacks vision": (
        lambda own: change(own.blip2, VISION, lambda tensors: tensors.pop(VISION)),
        ["--blip2", "{blip2}", f"lacks tensor '{VISION}'"],
    ),
    "lacks a layer": (
        lambda own: change_json(own.vicuna / "config.json", num_hidden_layers=3),
        ["--vicuna", "lacks tensor 'model.layers.2.input_layernorm.weight' and 8 more"],
    ),
    "holds more vision": (
        lambda own: change(own.blip2, VISION, lambda tensors: tensors.update({"vision_model.more": torch.zeros(2)})),
        ["--blip2", "holds tensor 'vision_model.more'", "{changed}", "no place"],
    ),
    "holds more language": (
        lambda own: change(own.vicuna, LANGUAGE, lambda tensors: tensors.update({LANGUAGE + "_x": torch.zeros(2)})),
        ["--vicuna", f"holds tensor '{LANGUAGE}_x'", "{changed}"],
    ),
    "another shape": (
        lambda own: change(own.vicuna, LANGUAGE, lambda tensors: tensors.update({LANGUAGE: torch.zeros(3, 32)})),
        ["--vicuna", f"tensor '{LANGUAGE}'", "{changed}", "shape [3, 32]", "expected [48, 32]"],
    ),
    "projection of 13b": (
        lambda own: torch.save(projection(hidden_size=40), own.projection),
        ["--projection", "{projection}", "'llama_proj.weight'", "shape [40, 24]", "expected [32, 24]"],
    ),
    "projection of another": (
        lambda own: save_projection(own, "model", more={"llama_model.lora_A": torch.zeros(2)}),
        ["--projection", "holds tensor 'llama_model.lora_A'"],
    ),
    "projection without model": (
        lambda own: torch.save({"llama_proj.weight": torch.zeros(32, 24)}, own.projection),
        ["{projection}", "a dictionary of tensors in the entry 'model'"],
    ),
    "projection with code": (
        lambda own: save_projection(own, "config", value=Trap(own.vicuna / "run")),
        ["{projection}", "more than tensors"],
    ),
    "projection of bytes": (
        lambda own: own.projection.write_bytes(b"<html>quota exceeded</html>" * 40),
        ["{projection}", "is damaged"],
    ),
    "projection missing": (lambda own: own.projection.unlink(), ["--projection", "{projection}", "no such file"]),
    "weights with code": (weights_with_code, ["{vicuna}/pytorch_model-00002-of-00004.bin", "more than tensors"]),
    "no weights": (
        lambda own: without(own.vicuna, "model*"),
        ["--vicuna", "{vicuna}", "has no weights"],
    ),
    "a file missing": (
        lambda own: (own.vicuna / "model-00002-of-00004.safetensors").unlink(),
        ["--vicuna", "{vicuna}/model-00002-of-00004.safetensors", "missing"],
    ),
    "a file cut": (
        lambda own: first_bytes(own.blip2 / "model-00001-of-00005.safetensors", 3000),
        ["{blip2}/model-00001-of-00005.safetensors", "truncated or damaged", "3000 bytes"],
    ),
    "an index of something else": (
        lambda own: (own.vicuna / "model.safetensors.index.json").write_text("[]"),
        ["{vicuna}/model.safetensors.index.json", "index"],
    ),
    "folders swapped": (folders_swapped, ["--blip2", "model_type 'llama'", "expected 'blip-2'"]),
    "no folder": (
        lambda own: own.vicuna.rename(own.vicuna.with_name("elsewhere")),
        ["--vicuna", "{vicuna}", "no such folder"],
    ),
    "no configuration": (lambda own: (own.vicuna / "config.json").unlink(), ["--vicuna", "config.json"]),
    "no image processor": (
        lambda own: (own.blip2 / "preprocessor_config.json").unlink(),
        ["--blip2", "preprocessor_config.json"],
    ),
    "a cut tokenizer": (lambda own: (own.vicuna / "tokenizer.json").write_text("{"), ["--vicuna", "tokenizer"]),
    "a tokenizer of sentencepiece": (
        lambda own: (own.vicuna / "tokenizer.json").rename(own.vicuna / "tokenizer.model"),
        ["--vicuna", "the packages sentencepiece and protobuf"],
    ),
    "more tokens than rows": (
        lambda own: change_json(own.vicuna / "config.json", vocab_size=419),
        ["--vicuna", "420 tokens", "at most the 419"],
    ),
    "another tokenizer": (another_tokenizer, ["--vicuna", "<unk>, <s>, </s> at 3, 1, 2", "at 0, 1, 2"]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_parts_that_do_not_fit_are_refused_in_one_sentence(own, tmp_path, damage):
    spoil, expected = DAMAGES[damage]
    changed = spoil(own)
    with pytest.raises(FGVEditError) as refused:
        convert(own.blip2, own.vicuna, own.projection, tmp_path / "out")
    message = str(refused.value)
    told = [part.format(**vars(own), changed=changed) for part in expected]
    assert all(part in message for part in told), message
    assert "\n" not in message and "expected" in message
    assert [path.name for path in tmp_path.iterdir()] == ["own"]  # nothing is left behind
    assert not (own.vicuna / "run").exists()  # and nothing was run


@pytest.mark.parametrize("there", ["file", "folder"])
def test_what_is_there_is_not_written_over(parts, tmp_path, there):
    out = tmp_path / "out"
    inside = out if there == "file" else out / "kept"
    inside.parent.mkdir(exist_ok=True)
    inside.write_text("kept")
    with pytest.raises(FGVEditError, match=r"--out '.*out' holds something else"):
        convert(parts.blip2, parts.vicuna, parts.projection, out)
    assert inside.read_text() == "kept" and [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_is_filled_and_a_killed_conversion_forgotten(parts, folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / ".out.fgvedit-new").mkdir()
    (tmp_path / ".out.fgvedit-new" / "stale").touch()
    convert(parts.blip2, parts.vicuna, parts.projection, out, torch.float32)
    assert {path.name for path in out.iterdir()} == {path.name for path in folder.iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_conversion_that_breaks_off_leaves_nothing(parts, tmp_path, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MiniGPT4Processor, "save_pretrained", full)  # the last that is written
    with pytest.raises(OSError, match="No space left"):
        convert(parts.blip2, parts.vicuna, parts.projection, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_command_line(parts, tmp_path, monkeypatch, capsys):
    out = tmp_path / "minigpt4-7b"
    options = [f"--{option}={value}" for option, value in {**vars(parts), "out": out}.items()]
    monkeypatch.setattr(sys, "argv", ["convert", *options])
    monkeypatch.delitem(sys.modules, module.__name__)
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module(module.__name__, run_name="__main__")  # as python -m does
    assert f"python -m fgvedit.run --backbone {out} --editor mscke" in capsys.readouterr().out
    assert AutoConfig.from_pretrained(out).dtype == torch.float16
    with pytest.raises(SystemExit) as refused:
        command_line(module.main)
    said = f"error: --out '{out}' holds something else; expected a new or empty folder\n"
    assert refused.value.code == 2 and capsys.readouterr() == ("", said)
