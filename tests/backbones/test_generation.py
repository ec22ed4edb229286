"""Free answers: argmax token by token whatever a folder's generation_config says, and cut at the first of all ends."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from families import SAVE
from minigpt4_parts import save_minigpt4
from more_families import MORE
from PIL import Image
from safetensors.torch import load_file, save_file

from fgvedit.backbones import open_backbone
from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone, PromptedModel
from fgvedit.editors.memory.counterfactual import CounterfactualModel
from fgvedit.schema import Edit, ImageRef


def photo() -> ImageRef:
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((56, 56)).convert("RGB").save(buffer, "PNG")
    return ImageRef("photo", buffer.getvalue())


SAVERS: dict[str, Callable[[Path], object]] = {"minigpt4": save_minigpt4, **SAVE, **MORE}
QUERIES = [Query("What colour is the card?", photo()), Query("What?")]
EDIT = Edit(photo(), "How many cards?", "two")
STEPS = 4


def options(said: Sequence[int]) -> dict[str, dict[str, Any]]:
    """What a generation configuration can say, in words that change an answer which would be `said`."""
    first, other = said[0], next(token for token in range(50, 100) if token not in said)
    return {
        "repetition_penalty": {"repetition_penalty": 0.01},
        "no_repeat_ngram_size": {"no_repeat_ngram_size": 1},
        "encoder_repetition_penalty": {"encoder_repetition_penalty": 9.0},
        "encoder_no_repeat_ngram_size": {"encoder_no_repeat_ngram_size": 1},
        "bad_words_ids": {"bad_words_ids": [[first], [first, other]]},
        "suppress_tokens": {"suppress_tokens": [first]},
        "begin_suppress_tokens": {"begin_suppress_tokens": [first]},
        "forced_bos_token_id": {"forced_bos_token_id": other},
        "forced_eos_token_id": {"forced_eos_token_id": other},
        "min_new_tokens": {"min_new_tokens": STEPS},
        "min_length": {"min_length": 1000},
        "exponential_decay_length_penalty": {"exponential_decay_length_penalty": (0, 1e6)},
        "sequence_bias": {"sequence_bias": [[[other], 1e6]]},
        "guidance_scale": {"guidance_scale": 30.0},
        "watermarking_config": {"watermarking_config": {"bias": 1e6, "greenlist_ratio": 0.5}},
        "do_sample": {"do_sample": True, "temperature": 1e6, "top_k": 0, "top_p": 1.0},
        "num_beams": {"num_beams": 4, "num_return_sequences": 3, "length_penalty": 9.0, "early_stopping": True},
        "num_beam_groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 9.0},
        "penalty_alpha": {"penalty_alpha": 0.9, "top_k": 40},
        "dola_layers": {"dola_layers": "high"},
        "prompt_lookup_num_tokens": {"prompt_lookup_num_tokens": 3},
        "max_length": {"max_length": 1, "max_new_tokens": 1},
        "max_time": {"max_time": 1e-9},
        "return_dict_in_generate": {"return_dict_in_generate": True, "output_scores": True},
        "token_healing": {"token_healing": True},
        "use_cache": {"use_cache": False},
        "cache_implementation": {"cache_implementation": "static"},
        "renormalize_logits": {"renormalize_logits": True, "remove_invalid_values": True},
    }


OLD = {"repetition_penalty": 9.0, "no_repeat_ngram_size": 1, "num_beams": 3, "max_length": 20}


def everything(said: Sequence[int]) -> dict[str, Any]:
    return {name: value for option in options(said).values() for name, value in option.items()}


@torch.no_grad()
def argmax(
    model: PromptedModel, prompts: Sequence[str], images: Sequence[Any], ends: Sequence[int] = ()
) -> list[list[int]]:
    """Of each prompt alone the likeliest token behind it and those before, by whole forward passes, up to an end."""
    rows: list[list[int]] = []
    for prompt, image in zip(prompts, images, strict=True):
        said: list[int] = []
        while len(said) < STEPS and not set(said) & set(ends):
            said.append(int(model.logits(model.inputs([prompt], [image], [said]))[0, -1].argmax()))
        rows.append(said)
    return rows


def found(model: PromptedModel, prompts: Sequence[str], images: Sequence[Any]) -> list[list[int]]:
    """What it generates for all of them together."""
    with torch.no_grad():
        return model.continuations(model.inputs(prompts, images), STEPS).tolist()


def padded(model: PromptedModel, rows: list[list[int]]) -> list[list[int]]:
    return [[*row, *[model.tokenizer.pad_token_id] * (max(map(len, rows)) - len(row))] for row in rows]


def asked(backbone: Backbone) -> tuple[list[str], list[Any]]:
    return [backbone.prompt(query.question) for query in QUERIES], [query.image for query in QUERIES]


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **changes}))


@pytest.fixture(scope="module")
def saved(random_blip2: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("generating")

    def folder(name: str) -> Path:
        if name != "blip2" and not (root / name).exists():
            SAVERS[name](root / name)
        return random_blip2 if name == "blip2" else root / name

    return folder


@functools.cache
def opened(folder: Path) -> tuple[Backbone, list[list[int]]]:
    """A backbone, and what it would say if there were no end."""
    backbone = open_backbone(str(folder))
    return backbone, argmax(backbone, *asked(backbone))


def saying(monkeypatch: pytest.MonkeyPatch, model: Any, **said: Any) -> None:
    """Let a model of transformers have read this generation_config.json."""
    monkeypatch.setattr(model, "generation_config", transformers.GenerationConfig(**said))


def late(said: Sequence[int]) -> int:
    """The last of these tokens that is not there before: as an end it leaves what it can."""
    return max(said, key=said.index)


families = pytest.mark.parametrize("name", ["blip2", *SAVERS])


# Greedy


@families
def test_no_option_changes_what_is_said(name: str, saved: Callable[[str], Path], monkeypatch):
    backbone, unended = opened(saved(name))
    end = late(unended[0])
    expected = padded(backbone, argmax(backbone, *asked(backbone), [end, *backbone.ends.tokens]))
    for option, said in options(unended[0]).items():
        for model in (backbone.model, backbone.language_model):
            saying(monkeypatch, model, eos_token_id=[end], **said)
        assert found(backbone, *asked(backbone)) == expected, option


# How the cache is kept, and in how many tokens at once they are looked at, is no matter of what is said.
HARMLESS = {"use_cache", "cache_implementation", "renormalize_logits", "prompt_lookup_num_tokens", "max_length"}


def by_transformers(backbone: Backbone, prompt: str) -> Any:
    """What the model's own `generate` gives, or the error that it raises."""
    inputs = {name: value for name, value in backbone.inputs([prompt], [None]).items() if name != "position_ids"}
    try:
        made = backbone.language_model.generate(**inputs, max_new_tokens=STEPS)
    except Exception as error:  # each of them fails in its own way
        return error
    given = inputs["input_ids"].shape[1] if "input_ids" in inputs else 0
    return made[:, given:].tolist() if isinstance(made, torch.Tensor) else made


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_options_would_change_it(saved: Callable[[str], Path], monkeypatch):
    """For one model or another, with an end or without."""
    changed: set[str] = set()
    for name in ("blip2", "llava", "qwen2_vl", "gemma3"):
        backbone, (_, unended) = opened(saved(name))
        prompt = backbone.prompt(QUERIES[1].question)
        for ends in ([], [late(unended)]):
            expected = argmax(backbone, [prompt], [None], ends)
            for option, said in {"none": {}, **options(unended)}.items():
                saying(monkeypatch, backbone.language_model, eos_token_id=ends or None, **said)
                changed |= {option} if by_transformers(backbone, prompt) != expected else set()
    assert options([0]).keys() - changed <= HARMLESS and "none" not in changed


@families
def test_a_folder_that_says_everything(name: str, saved: Callable[[str], Path], copy_of: Callable[[Path], Path]):
    """In generation_config.json, and, as old checkpoints have it, in config.json."""
    backbone, unended = opened(saved(name))
    folder = copy_of(saved(name))
    change_json(folder / "generation_config.json", **everything(unended[0]))
    config = json.loads((folder / "config.json").read_text())
    change_json(folder / "config.json", text_config={**config["text_config"], **OLD}, **OLD)
    changed = open_backbone(str(folder))
    rows = argmax(backbone, *asked(backbone), sorted(backbone.ends.tokens))
    assert found(changed, *asked(changed)) == padded(changed, rows)
    assert changed.generate(QUERIES, STEPS) == backbone.generate(QUERIES, STEPS)
    assert changed.cached_answerer.generate(QUERIES, STEPS) == backbone.generate(QUERIES, STEPS)


# Ends


def relabelled(folder: Path, one: int, other: int) -> None:
    """Exchange two tokens of a BLIP-2's language model, whose output weights are its embeddings."""
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("embed_tokens.weight"))
    weights[name][[one, other]] = weights[name][[other, one]]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_blip2_with_opt_stops_at_the_newline(saved: Callable[[str], Path], copy_of: Callable[[Path], Path]):
    """As transformers' converter leaves it: the text configuration's end is the newline, the tokenizer's is `</s>`."""
    backbone, (unended, _) = opened(saved("blip2"))
    newline, last = backbone.token_ids("\n")[0], late(unended)
    assert last != unended[0] and {newline, last}.isdisjoint(backbone.token_ids(asked(backbone)[0][0]))
    folder = copy_of(saved("blip2"))
    relabelled(folder, newline, last)
    (folder / "generation_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    change_json(folder / "config.json", text_config={**config["text_config"], "eos_token_id": newline})
    converted = open_backbone(str(folder))
    assert converted.ends.tokens == {newline, converted.tokenizer.convert_tokens_to_ids("</s>")}
    before = unended[: unended.index(last)]
    assert found(converted, *(part[:1] for part in asked(converted))) == [[*before, newline]]
    assert converted.generate(QUERIES[:1]) == [backbone.tokenizer.decode(before, skip_special_tokens=True).strip()]


def in_config(folder: Path, ids: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    change_json(folder / "config.json", text_config={**config["text_config"], "eos_token_id": ids})


def in_generation_config(folder: Path, ids: Any) -> None:
    change_json(folder / "generation_config.json", eos_token_id=ids)


def in_tokenizer(folder: Path, ids: Any) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(ids)
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("name", ["minigpt4", "llava", "qwen2_vl"])
@pytest.mark.parametrize(
    ("where", "several"),
    [(in_tokenizer, False), *((where, many) for where in (in_config, in_generation_config) for many in (False, True))],
)
def test_every_end_counts(
    name: str, several: bool, where: Callable[[Path, Any], None], saved: Callable[[str], Path], copy_of
):
    backbone, (unended, _) = opened(saved(name))
    end = late(unended)
    folder = copy_of(saved(name))
    where(folder, [299, end] if several else end)
    changed = open_backbone(str(folder))
    assert {end, *backbone.ends.tokens} - {backbone.tokenizer.eos_token_id} <= changed.ends.tokens
    prompts, images = asked(backbone)
    assert found(changed, prompts[:1], images[:1]) == argmax(backbone, prompts[:1], images[:1], [end])
    before = unended[: unended.index(end)]
    assert changed.generate(QUERIES[:1]) == [backbone.tokenizer.decode(before, skip_special_tokens=True).strip()]


@pytest.mark.parametrize("said", ["card", ["card", "", "card###"]])
def test_an_answer_is_cut_at_the_first_end(saved: Callable[[str], Path], monkeypatch, said: Any):
    """Whatever a model makes behind it; texts that end an answer count as well."""
    backbone, _ = opened(saved("blip2"))
    ids = [*backbone.token_ids(" a blue card"), backbone.tokenizer.eos_token_id, *backbone.token_ids(" or red")]
    monkeypatch.setattr(backbone, "continuations", lambda inputs, most: torch.tensor([ids]))
    assert backbone.generate(QUERIES[:1]) == ["a blue card"]
    saying(monkeypatch, backbone.model, stop_strings=said)
    assert backbone.generate(QUERIES[:1]) == ["a blue"]
    saying(monkeypatch, backbone.language_model, eos_token_id=[ids[1]])
    assert backbone.written(ids) == backbone.tokenizer.decode(ids[:1]).strip()


# Counterfactual models


@pytest.fixture
def counterfactual(saved: Callable[[str], Path], tmp_path: Path) -> Callable[[str, str], CounterfactualModel]:
    """Of a family, made of the backbone's own layers or of a folder of its language model."""

    def made(name: str, source: str) -> CounterfactualModel:
        backbone, folder = open_backbone(str(saved(name))), tmp_path / "language_model"
        said = {**everything([0]), "eos_token_id": [7, backbone.tokenizer.eos_token_id]}
        if source == "backbone":
            backbone.language_model.generation_config = transformers.GenerationConfig(**said)
        else:
            backbone.language_model.save_pretrained(folder)
            change_json(folder / "generation_config.json", **said)
        torch.manual_seed(0)
        return CounterfactualModel(backbone, source if source == "backbone" else str(folder), 0).eval()

    return made


@pytest.mark.parametrize(
    ("name", "source"), [("blip2", "backbone"), ("blip2", "folder"), ("minigpt4", "folder"), ("qwen2_vl", "backbone")]
)
def test_a_counterfactual_model_is_greedy_too(name: str, source: str, counterfactual, monkeypatch):
    model = counterfactual(name, source)
    prompts = [model.prompt(EDIT, query) for query in QUERIES]
    images = [query.image for query in QUERIES]
    end = late(argmax(model, prompts, images)[0])
    saying(monkeypatch, model.backbone.model, eos_token_id=end)  # of the backbone alone
    assert {end, 7, model.tokenizer.eos_token_id} <= model.ends.tokens
    rows = argmax(model, prompts, images, sorted(model.ends.tokens))
    assert found(model, prompts, images) == padded(model, rows)
    assert model.generate([EDIT, EDIT], QUERIES, STEPS) == [model.written(row) for row in rows]


def test_a_counterfactual_model_ends_where_minigpt4_does(counterfactual, monkeypatch):
    model = counterfactual("minigpt4", "backbone")
    said = torch.tensor([model.token_ids("red card###Human: And")])
    monkeypatch.setattr(model, "continuations", lambda inputs, most: said)
    assert model.generate([EDIT], QUERIES[:1]) == ["red card"]
