"""The backbone against the model's own forward pass and generation, and against damaged checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from rows import QUERIES, image_ref

from fgvedit.backbones import open_backbone
from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone
from fgvedit.schema import ImageRef
from fgvedit.util.errors import FGVEditError

QUESTIONS = ["What colour is the card?", "What?", "Which of the cards, of all of them, is blue?"]
ANSWERS = ["blue", "a rather long answer", "no"]


@pytest.fixture
def reference(random_blip2: Path) -> tuple[transformers.Blip2ForConditionalGeneration, transformers.Blip2Processor]:
    """The same checkpoint, opened and used as transformers documents it."""
    model = transformers.Blip2ForConditionalGeneration.from_pretrained(random_blip2).eval()
    return model, transformers.Blip2Processor.from_pretrained(random_blip2)


def prompt(question: str) -> str:
    return f"Question: {question} Short answer:"


def reference_inputs(processor, texts: list[str], images: list[ImageRef]):
    return processor(images=[image.open() for image in images], text=texts, return_tensors="pt", padding=True)


def our_logits(
    backbone: Backbone, texts: list[str], images: list[ImageRef | None]
) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = backbone.inputs(texts, images)
    with torch.no_grad():
        return backbone.logits(inputs), inputs["attention_mask"]


@torch.no_grad()
def test_logits_of_one_image_are_the_models_own(backbone, reference):
    model, processor = reference
    text = prompt(QUESTIONS[0]) + " blue"
    expected = model(**reference_inputs(processor, [text], [image_ref()])).logits
    found, mask = our_logits(backbone, [text], [image_ref()])
    assert found.shape == expected.shape and mask.all()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_logits_of_a_padded_batch_are_the_models_own_one_by_one(backbone, reference):
    model, processor = reference
    images = [image_ref(number) for number in range(3)]
    texts = [prompt(question) for question in QUESTIONS]
    found, mask = our_logits(backbone, texts, images)
    assert not mask.all()
    for row, row_mask, text, image in zip(found, mask, texts, images, strict=True):
        expected = model(**reference_inputs(processor, [text], [image])).logits[0]
        torch.testing.assert_close(row[row_mask.bool()], expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_text_only_questions_go_to_the_language_model_alone(backbone, reference):
    model, processor = reference
    texts = [prompt(question) for question in QUESTIONS]
    found, mask = our_logits(backbone, texts, [None, image_ref(), None])
    for position in (0, 2):
        ids = processor.tokenizer(texts[position], return_tensors="pt")
        expected = model.language_model(input_ids=ids["input_ids"], attention_mask=ids["attention_mask"]).logits[0]
        torch.testing.assert_close(found[position][mask[position].bool()], expected, atol=1e-4, rtol=1e-4)


def test_greedy_generation_is_the_models_own_token_for_token(backbone, reference, monkeypatch):
    model, processor = reference
    images = [image_ref(number) for number in range(3)]
    generate, batches = backbone.language_model.generate, []
    monkeypatch.setattr(backbone.language_model, "generate", lambda **kw: batches.append(generate(**kw)) or batches[-1])
    answers = backbone.generate([Query(q, i) for q, i in zip(QUESTIONS, images, strict=True)], max_new_tokens=12)
    for question, image, answer, found in zip(QUESTIONS, images, answers, batches[0].tolist(), strict=True):
        inputs = reference_inputs(processor, [prompt(question)], [image])
        tokens = model.generate(**inputs, max_new_tokens=12, do_sample=False)[
            0, inputs["input_ids"].shape[1] :
        ].tolist()
        padding = [processor.tokenizer.pad_token_id] * (len(found) - len(tokens))
        assert found == tokens + padding
        assert answer == processor.decode(tokens, skip_special_tokens=True).strip()
    assert any(answers)


def test_text_only_generation_is_the_language_models_own(backbone, reference):
    model, processor = reference
    ids = processor.tokenizer(prompt(QUESTIONS[0]), return_tensors="pt")
    tokens = model.language_model.generate(
        input_ids=ids["input_ids"], attention_mask=ids["attention_mask"], max_new_tokens=12, do_sample=False
    )[0, ids["input_ids"].shape[1] :]
    expected = processor.tokenizer.decode(tokens, skip_special_tokens=True).strip()
    assert backbone.generate([Query(QUESTIONS[0])], max_new_tokens=12) == [expected]


@torch.no_grad()
def test_teacher_forcing_covers_image_prompt_and_answer(backbone, reference):
    model, processor = reference
    queries = [Query(q, image_ref(n)) for n, q in enumerate(QUESTIONS)]
    for forced, query, answer in zip(backbone.teacher_force(queries, ANSWERS), queries, ANSWERS, strict=True):
        assert query.image is not None
        inputs = reference_inputs(processor, [f"{prompt(query.question)} {answer}"], [query.image])
        logits = model(**inputs).logits[0]
        assert torch.equal(forced.top.long(), logits.topk(10).indices)
        count = len(processor.tokenizer(" " + answer, add_special_tokens=False)["input_ids"])
        assert forced.answer.tolist() == inputs["input_ids"][0, -count:].tolist()
        assert forced.predicted.tolist() == logits.argmax(-1)[-count - 1 : -1].tolist()


def test_a_batch_whose_logits_are_too_many_is_halved(backbone, monkeypatch):
    queries = [Query(q, image_ref(n)) for n, q in enumerate(QUESTIONS)]
    whole = backbone.teacher_force(queries, ANSWERS)
    passes = []
    hook = backbone.language_model.register_forward_hook(lambda _, __, out: passes.append(out.logits.shape))
    rows, length, vocabulary = 3, len(whole[2].top), backbone.language_model.config.vocab_size
    monkeypatch.setattr("fgvedit.backbones.base.LOGITS", 2 * length * vocabulary)
    halved = backbone.teacher_force(queries, ANSWERS)
    hook.remove()
    assert [shape[0] for shape in passes] == [1, rows - 1]
    for one, other in zip(whole, halved, strict=True):
        assert torch.equal(one.top[:, 0], other.top[:, 0]) and torch.equal(one.answer, other.answer)


def test_answer_loss_is_an_independent_cross_entropy(backbone, reference):
    model, processor = reference
    images = [image_ref(0), None, image_ref(2)]
    total, count = torch.zeros(()), 0
    for question, image, answer in zip(QUESTIONS, images, ANSWERS, strict=True):
        text = processor.tokenizer(prompt(question))["input_ids"]
        ids = torch.tensor([text + processor.tokenizer(" " + answer)["input_ids"] + [processor.tokenizer.eos_token_id]])
        embeds = model.language_model.get_input_embeddings()(ids)
        if image is not None:
            pixels = processor.image_processor(image.open(), return_tensors="pt")["pixel_values"]
            embeds = torch.cat([model.get_image_features(pixels).pooler_output, embeds], dim=1)
        log_probabilities = model.language_model(inputs_embeds=embeds).logits[0].log_softmax(-1)
        for back in range(1, ids.shape[1] - len(text) + 1):
            total = total - log_probabilities[-back - 1, ids[0, -back]]
            count += 1
    found = backbone.answer_loss([prompt(question) for question in QUESTIONS], images, ANSWERS)
    torch.testing.assert_close(found, total / count, atol=1e-4, rtol=1e-4)


def test_answer_loss_has_a_gradient_where_it_is_asked_for(backbone):
    backbone.connector.requires_grad_(True)
    backbone.answer_loss([prompt("What?")], [image_ref()], ["blue"]).backward()
    assert backbone.connector.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in backbone.language_model.parameters())


def test_an_image_is_encoded_once(backbone):
    images = [image_ref(0), image_ref(1), image_ref(0)]
    features = backbone.features(images)
    assert [feature.shape for feature in features] == [(QUERIES, backbone.feature_width)] * 3
    assert backbone.encoded_images == 2
    again = ImageRef("another name of the same bytes", images[0].data)
    assert torch.equal(backbone.features([again])[0], features[0])
    backbone.generate([Query("What?", images[1])])
    backbone.teacher_force([Query("What?", images[1])], ["blue"])
    assert backbone.encoded_images == 2
    backbone.forget_images()
    backbone.features(images)
    assert backbone.encoded_images == 4


def test_an_image_is_read_the_same_in_any_batch(backbone, monkeypatch):
    images = [image_ref(number) for number in range(5)]
    together = backbone.encode_images(images)
    monkeypatch.setattr("fgvedit.backbones.families.blip2.ENCODE_BATCH", 2)
    torch.testing.assert_close(backbone.encode_images(images), together, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_a_backbone_is_frozen_and_named_after_its_content(backbone, random_blip2, copy_of):
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())
    assert not backbone.model.training
    assert len(backbone.language_layers) == 2
    assert backbone.name == "random"
    copy = copy_of(random_blip2)
    assert open_backbone(str(copy)).revision == backbone.revision
    text = (copy / "config.json").read_text()
    (copy / "config.json").write_text(text + "\n")
    assert open_backbone(str(copy)).revision != backbone.revision


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(random_blip2, dtype):
    half = open_backbone(str(random_blip2), dtype=dtype)
    assert half.dtype == dtype and half.features([image_ref()])[0].dtype == dtype
    assert len(half.generate([Query("What?", image_ref()), Query("What?")])) == 2


def test_a_real_photo(backbone, real_data):
    path = min((real_data / "coco_vqa" / "images").rglob("*.jpg"))
    photo = ImageRef(path.name, path.read_bytes())
    assert backbone.features([photo])[0].isfinite().all()


def test_opening_prints_nothing(random_blip2, capfd):
    open_backbone(str(random_blip2))
    assert capfd.readouterr() == ("", "")


def test_the_shipped_backbone():
    tiny = open_backbone("tiny")
    assert tiny.name == "tiny"
    assert tiny.features([image_ref()])[0].shape[-1] == tiny.feature_width


# Bad checkpoints


def refusal(folder: Path) -> str:
    with pytest.raises(FGVEditError) as caught:
        open_backbone(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def truncate(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def change_json(path: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_truncated_weights(random_blip2, copy_of, size):
    folder = copy_of(random_blip2)
    truncate(folder / "model.safetensors", size)
    assert str(folder / "model.safetensors") in refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file(random_blip2, copy_of, name):
    folder = copy_of(random_blip2)
    (folder / name).unlink()
    assert str(folder / name) in refusal(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "processor_config.json"])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: truncate(path, 40)])
def test_a_damaged_tokenizer_or_processor(random_blip2, copy_of, name, damage):
    folder = copy_of(random_blip2)
    damage(folder / name)
    assert str(folder) in refusal(folder)


def test_a_damaged_config(random_blip2, copy_of):
    folder = copy_of(random_blip2)
    truncate(folder / "config.json", 40)
    assert str(folder / "config.json") in refusal(folder)


def test_another_architecture(random_blip2, copy_of):
    folder = copy_of(random_blip2)
    change_json(folder / "config.json", lambda config: config.update(model_type="blip-3"))
    message = refusal(folder)
    assert str(folder / "config.json") in message and "the nearest is 'blip-2'" in message


def test_another_language_model(random_blip2, copy_of):
    folder = copy_of(random_blip2)
    change_json(folder / "config.json", lambda config: config["text_config"].update(model_type="t5"))
    message = refusal(folder)
    assert str(folder / "config.json") in message and "'t5'" in message


def test_weights_of_another_width(random_blip2, copy_of):
    folder = copy_of(random_blip2)
    change_json(folder / "config.json", lambda config: config["text_config"].update(ffn_dim=48))
    assert str(folder) in refusal(folder)


def test_weights_of_fewer_layers(random_blip2, copy_of):
    folder = copy_of(random_blip2)
    change_json(folder / "config.json", lambda config: config["text_config"].update(num_hidden_layers=3))
    message = refusal(folder)
    assert str(folder) in message and "missing keys" in message


def test_an_unknown_name():
    with pytest.raises(FGVEditError, match=r"unknown backbone 'tinny'.*did you mean 'tiny'\?"):
        open_backbone("tinny")
