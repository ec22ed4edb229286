"""MiniGPT-4: the model against its three parts put together by hand; the converter, and what it refuses."""

from __future__ import annotations

import functools
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from huggingface_hub import split_torch_state_dict_into_shards
from minigpt4_parts import IMAGE_SIZE, QUERIES, Parts, change_json, projection, save_minigpt4, save_parts
from rows import image_ref
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    Blip2ForConditionalGeneration,
    LlamaForCausalLM,
)

from fgvedit.backbones.families.minigpt4 import MiniGPT4Config, MiniGPT4ForConditionalGeneration, MiniGPT4Processor
from fgvedit.backbones.families.minigpt4 import convert as module
from fgvedit.backbones.families.minigpt4.convert import convert
from fgvedit.backbones.families.minigpt4.modeling import prompt_ids
from fgvedit.util.errors import FGVEditError, command_line

QUESTION = "What colour is the card?"
BEFORE = (  # as the released code's conversation has it, spaces as Llama's tokenizer shows them
    "▁Give▁the▁following▁image:▁<Img>ImageContent</Img>.▁You▁will▁be▁able▁to▁see▁the▁image▁once▁I▁provide▁it▁to▁you."
    "▁Please▁answer▁my▁questions.###Human:▁"
)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return save_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_minigpt4(tmp_path_factory.mktemp("converted") / "minigpt4-7b")


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return MiniGPT4ForConditionalGeneration.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def processor(folder: Path) -> Any:
    return MiniGPT4Processor.from_pretrained(folder)


class Composition:
    """The parts as they were released, each opened by its own class."""

    def __init__(self, parts: Parts) -> None:
        seeing: Any = Blip2ForConditionalGeneration.from_pretrained(parts.blip2).eval()
        self.vision, self.qformer, self.queries = seeing.vision_model, seeing.qformer, seeing.query_tokens
        self.llama: Any = LlamaForCausalLM.from_pretrained(parts.vicuna).eval()
        trained = torch.load(parts.projection)["model"]
        self.linear = nn.Linear(24, 32)
        self.linear.load_state_dict({name: trained[f"llama_proj.{name}"] for name in ("weight", "bias")})

    def embeddings(self, before: list[int], pixels: torch.Tensor, after: list[int]) -> torch.Tensor:
        seen = self.vision(pixels).last_hidden_state
        asked = self.qformer(query_embeds=self.queries, encoder_hidden_states=seen).last_hidden_state
        words = (self.llama.get_input_embeddings()(torch.tensor([ids]).long()) for ids in (before, after))
        return torch.cat([next(words), self.linear(asked), next(words)], dim=1)

    @torch.no_grad()
    def logits(self, before: list[int], pixels: torch.Tensor, after: list[int]) -> torch.Tensor:
        return self.llama(inputs_embeds=self.embeddings(before, pixels, after)).logits

    def greedy(self, before: list[int], pixels: torch.Tensor, after: list[int], steps: int) -> list[int]:
        answer: list[int] = []
        for _ in range(steps):
            answer.append(int(self.logits(before, pixels, after + answer)[0, -1].argmax()))
        return answer


@pytest.fixture(scope="module")
def composition(parts: Parts) -> Composition:
    return Composition(parts)


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(1, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(5))


BEHIND, AHEAD = [1, 300, 41, 407], [310, 290, 350, 270, 399]


def with_image(before: list[int], after: list[int]) -> torch.Tensor:
    return torch.tensor([[*before, *[0] * QUERIES, *after]])


# The model


@pytest.mark.parametrize("before", [[], BEHIND], ids=["first", "in the middle"])
def test_logits_are_those_of_the_parts(model, composition, pixels, before):
    with torch.no_grad():
        logits = model(pixel_values=pixels, input_ids=with_image(before, AHEAD)).logits
    torch.testing.assert_close(logits, composition.logits(before, pixels, AHEAD))
    other = composition.logits(before, -pixels, AHEAD)
    assert not torch.allclose(logits[:, -1], other[:, -1], atol=0.1)  # the image counts


def test_text_alone_is_the_language_model(model, composition):
    ids = torch.tensor([BEHIND + AHEAD])
    with torch.no_grad():
        assert torch.equal(model.language_model(ids).logits, composition.llama(ids).logits)


def test_greedy_generation_is_that_of_the_parts(model, composition, pixels):
    prompt = with_image(BEHIND, AHEAD)
    generated = model.generate(pixel_values=pixels, input_ids=prompt, max_new_tokens=8, do_sample=False)
    answer = composition.greedy(BEHIND, pixels, AHEAD, 8)
    assert 2 not in answer and len(set(answer)) > 1
    assert generated[0].tolist() == [*prompt[0].tolist(), *answer]


def test_generation_ends_at_the_tokenizers_end(folder, composition, pixels):
    """Vicuna's config.json says another token, see `minigpt4_parts`."""
    model: Any = MiniGPT4ForConditionalGeneration.from_pretrained(folder).eval()
    with torch.no_grad():
        read = composition.llama.model(inputs_embeds=composition.embeddings(BEHIND, pixels, AHEAD)).last_hidden_state
        model.language_model.lm_head.weight.zero_()
        model.language_model.lm_head.weight[2] = read[0, -1]  # "</s>" is the likeliest
    prompt = with_image(BEHIND, AHEAD)
    generated = model.generate(pixel_values=pixels, input_ids=prompt, max_new_tokens=8, do_sample=False)
    assert generated[0].tolist() == [*prompt[0].tolist(), 2]


@pytest.mark.parametrize("kind", [MiniGPT4ForConditionalGeneration, AutoModelForImageTextToText])
def test_saved_and_opened_again_it_is_the_same(model, pixels, tmp_path, kind):
    model.save_pretrained(tmp_path)
    again = kind.from_pretrained(tmp_path).eval()
    assert type(again) is MiniGPT4ForConditionalGeneration
    assert again.config.to_dict() == {**model.config.to_dict(), "_name_or_path": str(tmp_path)}
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    inputs = {"pixel_values": pixels, "input_ids": with_image(BEHIND, AHEAD)}
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, model(**inputs).logits)


def test_the_full_size_has_the_released_sizes():
    with torch.device("meta"):
        model = MiniGPT4ForConditionalGeneration(MiniGPT4Config(image_token_index=0))

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + outputs

    # EVA's ViT-g without its last block: 1408 wide, 39 blocks, 257 positions of 14 x 14 pixels.
    block = 2 * 2 * 1408 + linear(1408, 3 * 1408) + linear(1408, 1408) + linear(1408, 6144) + linear(6144, 1408)
    vision = 1408 + linear(3 * 14 * 14, 1408) + 257 * 1408 + 39 * block + 2 * 1408
    # A BERT of 12 blocks, 768 wide; every other one looks at the image, too.
    attention = 4 * linear(768, 768) + 2 * 768
    look = 2 * linear(768, 768) + 2 * linear(1408, 768) + 2 * 768
    qformer = 2 * 768 + 12 * (attention + linear(768, 3072) + linear(3072, 768) + 2 * 768) + 6 * look
    llama = 2 * 32000 * 4096 + 32 * (4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096) + 4096

    def size(*names: str) -> int:
        return sum(math.prod(value.shape) for name, value in model.named_parameters() if name.startswith(names))

    assert size("vision_model.") == vision
    assert size("qformer.", "query_tokens") == qformer + 32 * 768
    assert size("language_model.") == llama == 6_738_415_616
    assert model.language_projection.weight.shape == (4096, 768)  # of pretrained_minigpt4_7b.pth
    assert size("") == vision + qformer + 32 * 768 + linear(768, 4096) + llama


# Prompts


@pytest.mark.parametrize(
    ("mode", "image", "expected"),
    [
        ("native", [-1], f"<s>{BEFORE}<Img>@▁</Img>▁What▁colour▁is▁the▁card?###Assistant:▁"),
        ("native", [], f"<s>{BEFORE}What▁colour▁is▁the▁card?###Assistant:▁"),
        ("paper", [-1, -1], "▁###Human:▁<Img>@@▁</Img>▁▁What▁colour▁is▁the▁card?"),
        ("paper", [], "▁What▁colour▁is▁the▁card?"),
    ],
)
def test_prompts_are_the_released_codes(processor, mode, image, expected):
    ids = prompt_ids(processor.tokenizer, QUESTION, mode, image)
    assert "".join("@" if i < 0 else processor.tokenizer.convert_ids_to_tokens(i) for i in ids) == expected


def test_no_text_makes_a_placeholder(processor):
    ids = processor.tokenizer("Grüße, 漢字 🙂 \x00", add_special_tokens=False)["input_ids"]
    assert 0 not in ids and processor.tokenizer.decode(ids) == "Grüße, 漢字 🙂 \x00"


def test_the_processor_makes_what_the_model_reads(folder, model, processor, composition):
    images, texts = [image_ref(number).open() for number in (1, 2)], [QUESTION, "How many cards are there?"]
    made = AutoProcessor.from_pretrained(folder)(images=images, text=texts, return_tensors="pt")
    with torch.no_grad():
        logits = model(**made).logits
    generated = model.generate(**made, max_new_tokens=4, do_sample=False)
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.25])  # of this BLIP-2
    for row, (image, text) in enumerate(zip(images, texts, strict=True)):
        raw = torch.tensor(list(image.convert("RGB").tobytes())).reshape(IMAGE_SIZE, IMAGE_SIZE, 3) / 255
        ids = prompt_ids(processor.tokenizer, text, "native", [-1])
        place = ids.index(-1)
        given = (ids[:place], ((raw - mean) / std).permute(2, 0, 1)[None], ids[place + 1 :])
        expected = composition.logits(*given)
        torch.testing.assert_close(logits[row, -expected.shape[1] :], expected[0], rtol=1e-4, atol=1e-4)
        assert generated[row, -4:].tolist() == composition.greedy(*given, 4)
    assert made["attention_mask"].sum(dim=1).tolist() != [made["input_ids"].shape[1]] * 2  # one was padded


def test_the_processor_takes_text_alone(processor):
    made = processor(text=QUESTION, return_tensors="pt")
    assert made.keys() == {"input_ids", "attention_mask"}
    assert made["input_ids"][0].tolist() == prompt_ids(processor.tokenizer, QUESTION, "native")


# The converter


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {
        name: value
        for file in folder.glob("*.safetensors")
        for name, value in safetensors.torch.load_file(file).items()
    }


def test_every_tensor_is_copied(parts, folder):
    seeing, vicuna = weights(parts.blip2), weights(parts.vicuna)
    trained = torch.load(parts.projection)["model"]
    expected = {
        **{name: value for name, value in seeing.items() if not name.startswith("language_")},
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
        kept = name.startswith(("qformer.", "query_tokens"))
        assert value.dtype == (torch.float32 if kept else dtype)
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
    places = json.loads(index.read_text())["weight_map"]
    for file in sorted(set(places.values())):
        tensors = safetensors.torch.load_file(vicuna / file)
        (vicuna / file).unlink()
        number = file.partition("model-")[2].removesuffix(".safetensors")
        if number.startswith("00001"):
            tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
        torch.save(tensors, vicuna / f"pytorch_model-{number}.bin", _use_new_zipfile_serialization=not legacy)
        for name in tensors:
            places[name] = f"pytorch_model-{number}.bin"
    index.unlink()
    (vicuna / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


@pytest.fixture
def own(tmp_path: Path) -> Parts:
    """Parts that a test may damage."""
    return save_parts(tmp_path / "own")


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
    places = json.loads((own.blip2 / "model.safetensors.index.json").read_text())["weight_map"]
    needed = {file for name, file in places.items() if not name.startswith("language_")}
    others = set(places.values()) - needed
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


LOOK, SPEAK = "vision_model.encoder.layers.1.mlp.fc1.weight", "model.layers.1.mlp.up_proj.weight"


def lacks_vision(own: Parts) -> list[str]:
    change(own.blip2, LOOK, lambda tensors: tensors.pop(LOOK))
    return ["--blip2", str(own.blip2), f"lacks tensor '{LOOK}'"]


def lacks_a_layer(own: Parts) -> list[str]:
    change_json(own.vicuna / "config.json", num_hidden_layers=3)
    return ["--vicuna", "lacks tensor 'model.layers.2.input_layernorm.weight' and 8 more"]


def holds_more_vision(own: Parts) -> list[str]:
    file = change(own.blip2, LOOK, lambda tensors: tensors.update({"vision_model.more": torch.zeros(2)}))
    return ["--blip2", "holds tensor 'vision_model.more'", file, "no place"]


def holds_more_language(own: Parts) -> list[str]:
    file = change(own.vicuna, SPEAK, lambda tensors: tensors.update({f"{SPEAK}_scale": torch.zeros(2)}))
    return ["--vicuna", f"holds tensor '{SPEAK}_scale'", file]


def another_shape(own: Parts) -> list[str]:
    file = change(own.vicuna, SPEAK, lambda tensors: tensors.update({SPEAK: torch.zeros(3, 32)}))
    return ["--vicuna", f"tensor '{SPEAK}'", file, "shape [3, 32]", "expected [48, 32]"]


def projection_of_13b(own: Parts) -> list[str]:
    torch.save(projection(hidden_size=40), own.projection)
    return ["--projection", str(own.projection), "'llama_proj.weight'", "shape [40, 24]", "expected [32, 24]"]


def projection_of_another(own: Parts) -> list[str]:
    made = projection()
    made["model"]["llama_model.lora_A"] = torch.zeros(2)
    torch.save(made, own.projection)
    return ["--projection", "holds tensor 'llama_model.lora_A'"]


def projection_without_model(own: Parts) -> list[str]:
    torch.save({"llama_proj.weight": torch.zeros(32, 24)}, own.projection)
    return [str(own.projection), "a dictionary of tensors in the entry 'model'"]


class Trap:
    """What a pickle may do when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def projection_with_code(own: Parts) -> list[str]:
    torch.save({**projection(), "config": Trap(own.vicuna / "run")}, own.projection)
    return [str(own.projection), "more than tensors"]


def projection_of_bytes(own: Parts) -> list[str]:
    own.projection.write_bytes(b"<html>quota exceeded</html>" * 40)
    return [str(own.projection), "is damaged"]


def projection_missing(own: Parts) -> list[str]:
    own.projection.unlink()
    return ["--projection", str(own.projection), "no such file"]


def weights_with_code(own: Parts) -> list[str]:
    as_bins(own.vicuna, legacy=False)
    file = own.vicuna / "pytorch_model-00002-of-00004.bin"
    torch.save({"model.norm.weight": Trap(own.vicuna / "run")}, file)
    return [str(file), "more than tensors"]


def no_weights(own: Parts) -> list[str]:
    for file in own.vicuna.glob("model*"):
        file.unlink()
    return ["--vicuna", str(own.vicuna), "has no weights"]


def a_file_missing(own: Parts) -> list[str]:
    (own.vicuna / "model-00002-of-00004.safetensors").unlink()
    return ["--vicuna", str(own.vicuna / "model-00002-of-00004.safetensors"), "missing"]


def a_file_cut(own: Parts) -> list[str]:
    file = own.blip2 / "model-00001-of-00005.safetensors"
    file.write_bytes(file.read_bytes()[:3000])
    return [str(file), "truncated or damaged", "3000 bytes"]


def an_index_of_something_else(own: Parts) -> list[str]:
    index = own.vicuna / "model.safetensors.index.json"
    index.write_text("[]")
    return [str(index), "index"]


def folders_swapped(own: Parts) -> list[str]:
    own.blip2.rename(own.blip2.with_name("blip2"))
    own.vicuna.rename(own.blip2)
    return ["--blip2", "model_type 'llama'", "expected 'blip-2'"]


def no_folder(own: Parts) -> list[str]:
    own.vicuna.rename(own.vicuna.with_name("elsewhere"))
    return ["--vicuna", str(own.vicuna), "no such folder"]


def no_configuration(own: Parts) -> list[str]:
    (own.vicuna / "config.json").unlink()
    return ["--vicuna", "config.json"]


def no_image_processor(own: Parts) -> list[str]:
    (own.blip2 / "preprocessor_config.json").unlink()
    return ["--blip2", "preprocessor_config.json"]


def a_cut_tokenizer(own: Parts) -> list[str]:
    (own.vicuna / "tokenizer.json").write_text("{")
    return ["--vicuna", "tokenizer"]


def a_tokenizer_of_sentencepiece(own: Parts) -> list[str]:
    (own.vicuna / "tokenizer.json").rename(own.vicuna / "tokenizer.model")
    return ["--vicuna", "the packages sentencepiece and protobuf"]


def more_tokens_than_rows(own: Parts) -> list[str]:
    change_json(own.vicuna / "config.json", vocab_size=419)
    return ["--vicuna", "420 tokens", "at most the 419"]


def another_tokenizer(own: Parts) -> list[str]:
    made = json.loads((own.vicuna / "tokenizer.json").read_text())
    vocab = made["model"]["vocab"]
    vocab["<unk>"], vocab["<0x00>"] = vocab["<0x00>"], vocab["<unk>"]
    made["added_tokens"] = []
    (own.vicuna / "tokenizer.json").write_text(json.dumps(made))
    return ["--vicuna", "<unk>, <s>, </s> at 3, 1, 2", "at 0, 1, 2"]


@pytest.mark.parametrize(
    "damage",
    [
        lacks_vision,
        lacks_a_layer,
        holds_more_vision,
        holds_more_language,
        another_shape,
        projection_of_13b,
        projection_of_another,
        projection_without_model,
        projection_with_code,
        projection_of_bytes,
        projection_missing,
        weights_with_code,
        no_weights,
        a_file_missing,
        a_file_cut,
        an_index_of_something_else,
        folders_swapped,
        no_folder,
        no_configuration,
        no_image_processor,
        a_cut_tokenizer,
        a_tokenizer_of_sentencepiece,
        more_tokens_than_rows,
        another_tokenizer,
    ],
)
def test_parts_that_do_not_fit_are_refused_in_one_sentence(own, tmp_path, damage):
    expected = damage(own)
    with pytest.raises(FGVEditError) as caught:
        convert(own.blip2, own.vicuna, own.projection, tmp_path / "out")
    message = str(caught.value)
    assert all(part in message for part in expected), message
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
    (tmp_path / ".out.tmp").mkdir()
    (tmp_path / ".out.tmp" / "stale").touch()
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
    program = [sys.executable, "-m", "fgvedit.backbones.families.minigpt4.convert"]
    done = subprocess.run([*program, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"python -m fgvedit.run --backbone {out} --editor mscke" in done.stdout
    assert AutoConfig.from_pretrained(out).dtype == torch.float16
    monkeypatch.setattr(sys, "argv", ["convert", *options])
    with pytest.raises(SystemExit) as caught:
        command_line(module.main)
    assert caught.value.code == 2
    assert capsys.readouterr() == (
        "",
        f"error: --out '{out}' holds something else; expected a new or empty folder\n",
    )
