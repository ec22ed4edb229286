"""MiniGPT-4: the model against its three parts put together by hand; the converter, and what it refuses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from minigpt4_parts import IMAGE_SIZE, QUERIES, Parts, save_minigpt4, save_parts
from rows import image_ref
from torch import nn
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    Blip2ForConditionalGeneration,
    LlamaForCausalLM,
)

from fgvedit.backbones.families.minigpt4 import MiniGPT4Config, MiniGPT4ForConditionalGeneration, MiniGPT4Processor
from fgvedit.backbones.families.minigpt4.modeling import prompt_ids

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
        blip2: Any = Blip2ForConditionalGeneration.from_pretrained(parts.blip2).eval()
        self.vision, self.qformer, self.queries = blip2.vision_model, blip2.qformer, blip2.query_tokens
        self.llama: Any = LlamaForCausalLM.from_pretrained(parts.vicuna).eval()
        trained = torch.load(parts.projection)["model"]
        self.linear = nn.Linear(24, 32)
        self.linear.load_state_dict({name: trained[f"llama_proj.{name}"] for name in ("weight", "bias")})

    def embeddings(self, before: list[int], pixels: torch.Tensor, after: list[int]) -> torch.Tensor:
        states = self.vision(pixels).last_hidden_state
        asked = self.qformer(query_embeds=self.queries, encoder_hidden_states=states).last_hidden_state
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
    # A BERT of 12 blocks, 768 wide; every other one attends to the image, too.
    attention = 4 * linear(768, 768) + 2 * 768
    crossed = 2 * linear(768, 768) + 2 * linear(1408, 768) + 2 * 768
    qformer = 2 * 768 + 12 * (attention + linear(768, 3072) + linear(3072, 768) + 2 * 768) + 6 * crossed
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
        index = ids.index(-1)
        given = (ids[:index], ((raw - mean) / std).permute(2, 0, 1)[None], ids[index + 1 :])
        expected = composition.logits(*given)
        torch.testing.assert_close(logits[row, -expected.shape[1] :], expected[0], rtol=1e-4, atol=1e-4)
        assert generated[row, -4:].tolist() == composition.greedy(*given, 4)
    assert made["attention_mask"].sum(dim=1).tolist() != [made["input_ids"].shape[1]] * 2  # one was padded


def test_the_processor_takes_text_alone(processor):
    made = processor(text=QUESTION, return_tensors="pt")
    assert made.keys() == {"input_ids", "attention_mask"}
    assert made["input_ids"][0].tolist() == prompt_ids(processor.tokenizer, QUESTION, "native")
