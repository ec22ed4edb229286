"""The input modes of BLIP-2 and MiniGPT-4: the processor's own, and the released FGVEdit code's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
import transformers
from families import SAVE
from PIL import Image
from tokenizers.processors import TemplateProcessing

from fgvedit.backbones import open_backbone
from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone
from fgvedit.backbones.families.minigpt4.modeling import SYSTEM
from fgvedit.editors.registry import open_editor
from fgvedit.schema import ImageRef
from fgvedit.util.errors import FGVEditError

QUESTIONS = ["What colour is the card?", "What?"]
ANSWERS = ["blue", "a long one"]


def photo(number: int) -> ImageRef:
    import io

    buffer = io.BytesIO()
    Image.radial_gradient("L").rotate(50 * number).resize((640, 480)).convert("RGB").save(buffer, "PNG")
    return ImageRef(f"photo-{number}", buffer.getvalue())


IMAGES = [photo(0), photo(1)]
ROUNDED = 0.02  # the processor resizes by torchvision, which rounds some pixels in another way than Pillow


@pytest.fixture(scope="module")
def blip2_with_bos(random_blip2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As OPT's tokenizer on the hub: the end of sequence stands before every text, too."""
    import shutil

    folder = Path(shutil.copytree(random_blip2, tmp_path_factory.mktemp("bos") / "blip2"))
    processor = transformers.Blip2Processor.from_pretrained(folder)
    end = processor.tokenizer.eos_token
    processor.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{end} $A", special_tokens=[(end, processor.tokenizer.eos_token_id)]
    )
    processor.save_pretrained(folder)
    return folder


def logits(backbone: Backbone, images: list[Any], answers: list[str]) -> list[torch.Tensor]:
    """Of each row, padding apart."""
    prompts = [backbone.prompt_of(Query(question, image)) for question, image in zip(QUESTIONS, images, strict=True)]
    inputs = backbone.inputs(prompts, images, [backbone.answer_ids(answer) for answer in answers])
    with torch.no_grad():
        found = backbone.logits(inputs)
    return [row[mask.bool()] for row, mask in zip(found, inputs["attention_mask"], strict=True)]


def paper_pixels(image: ImageRef, mean: list[float], std: list[float]) -> torch.Tensor:
    """The released code's image: 364 pixels a side, bicubic, whatever its shape was."""
    small = image.open().resize((364, 364), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(numpy.asarray(small, dtype=numpy.float32) / 255)
    return ((pixels - torch.tensor(mean)) / torch.tensor(std)).permute(2, 0, 1)[None]


@torch.no_grad()
def composed(model: Any, before: list[int], pixels: torch.Tensor | None, after: list[int]) -> torch.Tensor:
    """Logits of the parts put together by hand: text, image, text."""
    embed = model.language_model.get_input_embeddings()
    rows = [embed(torch.tensor(before, dtype=torch.long))]
    if pixels is not None:
        states = model.vision_model(pixels, interpolate_pos_encoding=True).last_hidden_state
        asked = model.qformer(query_embeds=model.query_tokens, encoder_hidden_states=states).last_hidden_state
        rows.append(model.language_projection(asked)[0])
    rows.append(embed(torch.tensor(after, dtype=torch.long)))
    return model.language_model(inputs_embeds=torch.cat(rows)[None]).logits[0]


def close(found: list[torch.Tensor], expected: list[torch.Tensor], atol: float = 2e-4) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, atol=atol, rtol=2e-4)


# BLIP-2


@torch.no_grad()
def test_blip2_native_is_what_the_processor_makes(blip2_with_bos: Path):
    model = transformers.Blip2ForConditionalGeneration.from_pretrained(blip2_with_bos).eval()
    processor = transformers.Blip2Processor.from_pretrained(blip2_with_bos)
    expected = []
    for question, answer, image in zip(QUESTIONS, ANSWERS, IMAGES, strict=True):
        text = f"Question: {question} Short answer: {answer}"
        inputs = processor(images=image.open(), text=text, return_tensors="pt")
        assert processor.tokenizer.eos_token_id in inputs["input_ids"][0].tolist()
        expected.append(model(**inputs).logits[0])
    close(logits(open_backbone(str(blip2_with_bos)), IMAGES, ANSWERS), expected)


def test_blip2_native_text_alone_begins_with_the_special_token(blip2_with_bos: Path):
    backbone = open_backbone(str(blip2_with_bos))
    texts = [f"Question: {q} Short answer: {a}" for q, a in zip(QUESTIONS, ANSWERS, strict=True)]
    rows = [backbone.tokenizer(text)["input_ids"] for text in texts]
    assert all(row[0] == backbone.tokenizer.eos_token_id for row in rows)
    close(logits(backbone, [None, None], ANSWERS), [composed(backbone.model, [], None, row) for row in rows])


def test_blip2_paper_has_large_images_and_no_special_token(blip2_with_bos: Path):
    backbone = open_backbone(str(blip2_with_bos), input_mode="paper")
    eyes = backbone.processor.image_processor  # type: ignore[attr-defined]
    expected = []
    for question, answer, image in zip(QUESTIONS, ANSWERS, IMAGES, strict=True):
        text = f"Question: {question} Short answer: {answer}"
        ids = backbone.tokenizer(text, add_special_tokens=False)["input_ids"]
        expected.append(composed(backbone.model, [], paper_pixels(image, eyes.image_mean, eyes.image_std), ids))
    close(logits(backbone, IMAGES, ANSWERS), expected, atol=ROUNDED)
    native = logits(open_backbone(str(blip2_with_bos)), IMAGES, ANSWERS)
    assert len(native[0]) == len(expected[0]) + 1


def test_blip2_paper_text_alone_is_the_question(blip2_with_bos: Path):
    """As the released code's collate_fn has it: `loc` is question and answer, with no prompt around them."""
    backbone = open_backbone(str(blip2_with_bos), input_mode="paper")
    texts = ["What colour is the card? blue", "What? a long one"]
    rows = [backbone.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    close(logits(backbone, [None, None], ANSWERS), [composed(backbone.model, [], None, row) for row in rows])


def test_every_way_to_ask_without_an_image_is_that_of_the_input_mode(random_blip2: Path):
    from baselines.mend.training import _forced
    from fgvedit.editors.parameters import read_by

    query, other = Query("Who wrote it?"), Query("Who wrote it?", IMAGES[0])
    for mode, words in (("native", "Question: Who wrote it? Short answer:"), ("paper", "Who wrote it?")):
        backbone = open_backbone(str(random_blip2), input_mode=mode)
        length = len(backbone.prompt_ids(words, with_image=False))
        answer = backbone.answer_ids("me")
        assert len(backbone.teacher_force([query], ["me"])[0].top) == length + len(answer)
        assert backbone.generate([query]) == backbone.complete([words], [None], 10)
        assert len(read_by(backbone.language_layers[0].fc1, backbone, [query])[0]) == length
        assert _forced(backbone, [query], ["me"])[0].shape[1] == length + len(answer) + 1
        assert backbone.prompt_of(other) == "Question: Who wrote it? Short answer:"


def test_the_papers_model_with_a_language_model_that_has_an_encoder_is_refused(tmp_path: Path, random_blip2: Path):
    import json
    import shutil

    folder = Path(shutil.copytree(random_blip2, tmp_path / "t5"))
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] = {"model_type": "t5"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(FGVEditError, match="'t5', which has an encoder"):
        open_backbone(str(folder))


# MiniGPT-4


def pieces(backbone: Backbone, *texts: str) -> list[list[int]]:
    return [backbone.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]


def test_minigpt4_native_is_a_conversation_of_one_turn(random_minigpt4: Path):
    backbone = open_backbone(str(random_minigpt4))
    start, eyes, expected = backbone.tokenizer.bos_token_id, backbone.processor.image_processor, []  # type: ignore[attr-defined]
    for question, answer, image in zip(QUESTIONS, ANSWERS, IMAGES, strict=True):
        before, after, said = pieces(
            backbone,
            f"{SYSTEM}###Human: <Img>",
            f"</Img> Question: {question} Short answer:###Assistant: ",
            answer,
        )
        pixels = eyes(image.open(), return_tensors="pt")["pixel_values"]
        expected.append(composed(backbone.model, [start, *before], pixels, [*after, *said]))
    close(logits(backbone, IMAGES, ANSWERS), expected)


@torch.no_grad()
def test_minigpt4_native_is_the_models_own_forward_pass_and_generation(random_minigpt4: Path):
    import fgvedit.backbones.families.minigpt4  # noqa: F401  (the Auto classes know it from here on)

    backbone = open_backbone(str(random_minigpt4))
    model: Any = transformers.AutoModelForImageTextToText.from_pretrained(random_minigpt4).eval()
    processor: Any = transformers.AutoProcessor.from_pretrained(random_minigpt4)
    prompts = [backbone.prompt(question) for question in QUESTIONS]
    found = backbone.continuations(backbone.inputs(prompts, IMAGES), 6)
    for index, (prompt, image) in enumerate(zip(prompts, IMAGES, strict=True)):
        inputs = processor(images=image.open(), text=prompt, return_tensors="pt")
        close([logits(backbone, IMAGES, ["", ""])[index][: inputs["input_ids"].shape[1]]], [model(**inputs).logits[0]])
        made = model.generate(**inputs, max_new_tokens=6, do_sample=False)[0, inputs["input_ids"].shape[1] :].tolist()
        assert found[index].tolist()[: len(made)] == made


def test_minigpt4_paper_is_what_the_released_code_puts_around_a_text(random_minigpt4: Path):
    backbone = open_backbone(str(random_minigpt4), input_mode="paper")
    eyes, expected = backbone.processor.image_processor, []  # type: ignore[attr-defined]
    for question, answer, image in zip(QUESTIONS, ANSWERS, IMAGES, strict=True):
        before, between, text = pieces(
            backbone, "###Human: <Img>", "</Img> ", f"Question: {question} Short answer: {answer}"
        )
        pixels = paper_pixels(image, eyes.image_mean, eyes.image_std)
        expected.append(composed(backbone.model, before, pixels, [*between, *text]))
    close(logits(backbone, IMAGES, ANSWERS), expected, atol=ROUNDED)


def test_minigpt4_paper_text_alone_is_the_question(random_minigpt4: Path):
    backbone = open_backbone(str(random_minigpt4), input_mode="paper")
    texts = ["What colour is the card? blue", "What? a long one"]
    expected = [composed(backbone.model, [], None, ids) for ids in pieces(backbone, *texts)]
    close(logits(backbone, [None, None], ANSWERS), expected)


def test_minigpt4_ends_an_answer_at_the_next_turn(random_minigpt4: Path, monkeypatch):
    backbone = open_backbone(str(random_minigpt4))
    said = torch.tensor([backbone.tokenizer("red card###Human: And", add_special_tokens=False)["input_ids"]])
    monkeypatch.setattr(backbone, "continuations", lambda inputs, most: said)
    assert backbone.generate([Query("What?")]) == ["red card"]


# What was trained in one mode is not for the other


def test_a_checkpoint_of_the_other_input_mode_is_refused(random_blip2: Path, random_clip: Path, tmp_path: Path):
    from fgvedit.editors.mscke.editor import MSCKE

    options = {"clip": str(random_clip), "clip_weights": ""}
    paper = open_backbone(str(random_blip2), input_mode="paper")
    MSCKE(paper, MSCKE.Config(**options, counterfactual="backbone")).save(tmp_path / "paper")  # type: ignore[arg-type]
    open_editor("mscke", paper, checkpoint=tmp_path / "paper")  # with the options that it was saved with
    with pytest.raises(FGVEditError, match=r"trained with input_mode 'paper' .* expected 'native'"):
        open_editor("mscke", open_backbone(str(random_blip2)), checkpoint=tmp_path / "paper")


def test_only_the_papers_models_have_the_papers_mode(tmp_path: Path):
    for name in ("llava", "qwen2_vl"):
        SAVE[name](tmp_path / name)
        with pytest.raises(FGVEditError, match="has no input mode 'paper'; expected 'native'"):
            open_backbone(str(tmp_path / name), input_mode="paper")
