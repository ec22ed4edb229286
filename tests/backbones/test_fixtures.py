"""The fixtures of `families.py`: each opens and answers as its family's checkpoints on the hub do."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from families import SAVE
from more_families import MORE
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

FAMILIES = {**SAVE, **MORE}
QUESTION, OTHER = "What colour is the card?", "How many people are there?"
SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
QWEN_TURN = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{}<|im_end|>\n<|im_start|>assistant\n"
PROMPTS = {
    "llava": "USER: <image>\n{} ASSISTANT:",
    "llava_onevision": "<|im_start|>user <image>\n{}<|im_end|><|im_start|>assistant\n",
    "instructblip": "{}",
    "qwen2_vl": SYSTEM + QWEN_TURN,
    "qwen2_5_vl": SYSTEM + QWEN_TURN,
    "qwen3_vl": QWEN_TURN,
    "llava_next": "[INST] <image>\n{} [/INST]",
    "internvl": "<|im_start|>user\n<IMG_CONTEXT>\n{}<|im_end|>\n<|im_start|>assistant\n",
    "idefics3": "User:<image>{}<end_of_utterance>\nAssistant:",
    "gemma3": "<start_of_turn>user\n<start_of_image>{}<end_of_turn>\n<start_of_turn>model\n",
    "mistral3": "[INST][IMG]{}[/INST]",
}
# For 640 x 480 pixels. LLaVA: 4 x 4 patches. OneVision: 2 x 2 of the whole, 6 x 6 of its 3 x 3 tiles less a row of
# padding above and below, and a newline for each row of these. Qwen: at most 40, in the photo's proportions: 5 x 7.
# LLaVA-NeXT: as OneVision, of 2 x 2 tiles. InternVL: 2 x 2 of the whole and of 3 x 2 tiles each. Idefics 3: of 2 x 2.
# Gemma 3: 2 x 2. Mistral 3: 3 x 4, in the photo's proportions, at most 4 a side.
IMAGE_TOKENS = {
    "llava": 4 * 4,
    "llava_onevision": 2 * 2 + 4 * 6 + 4,
    "instructblip": 12,
    "qwen2_vl": 5 * 7,
    "qwen2_5_vl": 5 * 7,
    "qwen3_vl": 5 * 7,
    "llava_next": 2 * 2 + 4 * 4 + 4,
    "internvl": 4 * (1 + 3 * 2),
    "idefics3": 4 * (1 + 2 * 2),
    "gemma3": 2 * 2,
    "mistral3": 3 * 4,
}


class Family(NamedTuple):
    name: str
    folder: Path
    model: Any
    processor: Any

    def inputs(self, question: str, image: Image.Image) -> Any:
        return self.processor(images=image, text=PROMPTS[self.name].format(question), return_tensors="pt")

    @torch.no_grad()
    def logits(self, question: str, image: Image.Image) -> torch.Tensor:
        return self.model(**self.inputs(question, image)).logits[0]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    folder = tmp_path_factory.mktemp("families") / request.param
    FAMILIES[request.param](folder)
    model, loading = AutoModelForImageTextToText.from_pretrained(
        folder, local_files_only=True, output_loading_info=True
    )
    assert not any(loading.values())
    return Family(request.param, folder, model.eval(), AutoProcessor.from_pretrained(folder, local_files_only=True))


@pytest.fixture
def photo() -> Image.Image:
    return Image.merge("RGB", [Image.linear_gradient("L").resize((640, 480)).rotate(turn) for turn in (0, 90, 180)])


@pytest.fixture
def other_photo(photo: Image.Image) -> Image.Image:
    return Image.eval(photo, lambda value: 255 - value)


def test_it_is_a_small_checkpoint_of_its_family(family, tmp_path):
    assert family.model.config.model_type == family.name
    assert all(weight.dtype == torch.float32 for weight in family.model.parameters())
    assert (family.folder / "model.safetensors").stat().st_size < 1_000_000
    FAMILIES[family.name](tmp_path / "again")
    for path in family.folder.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(family.folder)).read_bytes()


def test_its_prompt_is_that_of_the_hub(family):
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}
    if family.name == "instructblip":
        assert family.processor.chat_template is None
    else:
        prompt = family.processor.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)
        prompt = prompt.removeprefix(family.processor.tokenizer.bos_token or "")  # the tokenizer puts it there again
        assert prompt == PROMPTS[family.name].format(QUESTION)


def test_its_prompt_has_the_images_tokens(family, photo):
    ids = family.inputs(QUESTION, photo)["input_ids"][0].tolist()
    assert ids.count(family.model.config.image_token_id) == IMAGE_TOKENS[family.name]
    assert family.logits(QUESTION, photo).shape == (len(ids), len(family.processor.tokenizer))


def test_its_logits_change_with_image_and_question(family, photo, other_photo):
    last = family.logits(QUESTION, photo)[-1]
    assert last.isfinite().all()
    for changed in family.logits(QUESTION, other_photo)[-1], family.logits(OTHER, photo)[-1]:
        assert (last - changed).abs().mean() > last.std() / 10


def test_it_generates(family, photo):
    inputs = family.inputs(QUESTION, photo)
    tokens = family.model.generate(**inputs, do_sample=False, min_new_tokens=5, max_new_tokens=5)
    assert torch.equal(tokens[:, :-5], inputs["input_ids"])
    assert family.logits(QUESTION, photo)[-1].argmax() == tokens[0, -5]


@pytest.mark.parametrize("family", ["llava"], indirect=True)
def test_llavas_tokenizer_begins_every_text_with_a_space(family, photo):
    tokens = family.processor.tokenizer.convert_ids_to_tokens(family.inputs("blue", photo)["input_ids"][0].tolist())
    assert tokens[0] == "<s>" and tokens[1].startswith("▁")
    assert tokens[tokens.index("<image>") - 1] == "▁"  # the one in the prompt
    assert tokens[tokens.index("<image>") + 16 :][:2] == ["▁", "<0x0A>"]
    assert family.processor.tokenizer.tokenize(" blue") == ["▁", "▁blue"]


@pytest.mark.parametrize("family", ["instructblip"], indirect=True)
def test_instructblips_text_begins_behind_the_image(family, photo):
    inputs, tokenizer = family.inputs("blue", photo), family.processor.tokenizer
    assert tokenizer.convert_ids_to_tokens(inputs["input_ids"][0].tolist()) == ["<image>"] * 12 + ["</s>", "▁blue"]
    assert family.processor.qformer_tokenizer.decode(inputs["qformer_input_ids"][0]) == "[CLS] blue [SEP]"
