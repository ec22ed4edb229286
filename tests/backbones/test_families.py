"""Every family against its model's own forward pass and generation, from raw images and texts."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from families import SAVE
from more_families import MORE, REFUSED
from PIL import Image

from fgvedit.backbones import open_backbone
from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone, answer_cross_entropy
from fgvedit.backbones.families import image_text
from fgvedit.schema import ImageRef
from fgvedit.util.errors import FGVEditError

QUESTIONS = ["What colour is the card?", "What?", "Which of the cards, of all of them, is blue?"]
ANSWERS = ["blue", "a rather long answer", "no"]
FAMILIES = {**SAVE, **MORE}
EVERY = pytest.mark.parametrize("family", FAMILIES, indirect=True)
EVERY_OWN = pytest.mark.parametrize("own_family", FAMILIES, indirect=True)


def photo(number: int, size: tuple[int, int]) -> ImageRef:
    import io

    image = Image.radial_gradient("L").resize(size).rotate(40 * number)
    image = Image.merge("RGB", [image, image.rotate(90), Image.new("L", size, 60 * number)])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return ImageRef(f"photo-{number}", buffer.getvalue())


# Of other sizes and shapes, for which some families have other numbers of tokens.
IMAGES = [photo(0, (640, 480)), photo(1, (300, 500)), photo(2, (448, 448))]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("families")

    def folder(name: str) -> Path:
        if not (root / name).exists():
            FAMILIES[name](root / name)
        return root / name

    return folder


@functools.cache
def opened(folder: Path) -> tuple[Any, Any]:
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder)
    return model.eval(), transformers.AutoProcessor.from_pretrained(folder)


class Family:
    """A backbone, and the same checkpoint opened and used as transformers documents it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backbone: Backbone = open_backbone(str(folder))
        self.model, self.processor = opened(folder)

    def text(self, question: str, answer: str, with_image: bool) -> str:
        prompt = self.backbone.prompt(question)
        if getattr(self.processor, "chat_template", None) is None:
            return f"{prompt} {answer}" if answer else prompt
        content = [{"type": "image"}] * with_image + [{"type": "text", "text": prompt}]
        turn = [{"role": "user", "content": content}]
        text = self.processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        text = text.removeprefix(self.processor.tokenizer.bos_token or "")  # the tokenizer puts it there again
        return text if not answer else text + ("" if text.endswith("\n") else " ") + answer

    def inputs(self, question: str, image: ImageRef | None, answer: str = "") -> dict[str, Any]:
        text = self.text(question, answer, image is not None)
        if image is None:
            return dict(self.processor.tokenizer(text, return_tensors="pt"))
        made = dict(self.processor(images=image.open(), text=text, return_tensors="pt"))
        if "qformer_input_ids" in made:  # the Q-Former reads the prompt alone, under teacher forcing too
            prompt = self.processor.qformer_tokenizer(self.text(question, "", True), return_tensors="pt")
            made |= {"qformer_input_ids": prompt["input_ids"], "qformer_attention_mask": prompt["attention_mask"]}
        return made

    def asked(self, image: ImageRef | None) -> Any:
        """What answers: of InstructBLIP, which takes no text alone, the language model."""
        return self.model.language_model if image is None and "qformer_tokenizer" in dir(self.processor) else self.model


shared = functools.cache(Family)


@pytest.fixture
def family(request: pytest.FixtureRequest, saved: Callable[[str], Path]) -> Family:
    """One for all tests that leave the model as it is; it has read no image yet."""
    found = shared(saved(request.param))
    found.backbone.forget_images()
    found.backbone.cached_answerer.forget()
    found.backbone.encoded_images = 0
    return found


@pytest.fixture
def own_family(request: pytest.FixtureRequest, saved: Callable[[str], Path]) -> Family:
    """One whose model a test may change."""
    return Family(saved(request.param))


@EVERY
@torch.no_grad()
@pytest.mark.parametrize(
    "images", [IMAGES[:1], IMAGES, [None], [None, None, None], [IMAGES[1], None, IMAGES[1]]], ids=str
)
def test_logits_are_the_models_own(family: Family, images: list[ImageRef | None]):
    """One image, a batch with padding, text only, a batch with and without images."""
    backbone, questions = family.backbone, QUESTIONS[: len(images)]
    answer_ids = [backbone.answer_ids(answer) for answer in ANSWERS[: len(images)]]
    inputs = backbone.inputs([backbone.prompt(question) for question in questions], images, answer_ids)
    found, mask = backbone.logits(inputs), inputs["attention_mask"]
    assert len(images) == 1 or not mask.all()
    for row, shown, question, image, answer in zip(found, mask, questions, images, ANSWERS, strict=False):
        expected = family.asked(image)(**family.inputs(question, image, answer)).logits[0]
        assert int(shown.sum()) == len(expected)
        torch.testing.assert_close(row[shown.bool()], expected, atol=2e-4, rtol=2e-4)


@EVERY
def test_the_image_is_not_encoded_again(family: Family):
    backbone = family.backbone
    queries = [Query(question, image) for question, image in zip(QUESTIONS, IMAGES, strict=True)]
    backbone.generate(queries, 2)
    assert backbone.encoded_images == 3
    tower: Any = family.backbone.model.get_encoder(modality="image")
    calls: list[torch.Tensor] = []
    blocks = max((part for part in tower.modules() if isinstance(part, torch.nn.ModuleList)), key=len)
    attention = [
        part for block in blocks for name, part in block.named_modules() if name.endswith(("attn", "attention"))
    ]
    assert attention
    hooks = [part.register_forward_hook(lambda *_: calls.append(torch.zeros(()))) for part in attention]
    try:
        backbone.teacher_force(queries, ANSWERS)
        backbone.generate(queries, 2)
        assert backbone.encoded_images == 3 and not calls
        backbone.forget_images()
        backbone.generate(queries[:1], 2)
        assert calls
    finally:
        for hook in hooks:
            hook.remove()


@EVERY
@pytest.mark.parametrize("images", [IMAGES, [None, None, None], [IMAGES[0], None, IMAGES[2]]], ids=str)
def test_greedy_generation_is_the_models_own_token_for_token(family: Family, images: list[ImageRef | None]):
    backbone = family.backbone
    with torch.no_grad():
        inputs = backbone.inputs([backbone.prompt(question) for question in QUESTIONS], images)
        found = backbone.continuations(inputs, 8)
    answers = backbone.generate([Query(q, i) for q, i in zip(QUESTIONS, images, strict=True)], 8)
    for tokens, answer, question, image in zip(found.tolist(), answers, QUESTIONS, images, strict=True):
        own = family.inputs(question, image)
        made = family.asked(image).generate(**own, max_new_tokens=8, do_sample=False)[0, own["input_ids"].shape[1] :]
        pad = backbone.tokenizer.pad_token_id
        assert tokens == made.tolist() + [pad] * (len(tokens) - len(made))
        assert answer == backbone.tokenizer.decode(made, skip_special_tokens=True).strip()


@EVERY
def test_the_end_of_an_answer_is_learnt_where_the_answer_ends(family: Family):
    """The loss against the model's own logits over prompt and answer, read from raw inputs."""
    backbone, image = family.backbone, IMAGES[0]
    with torch.no_grad():
        found = backbone.answer_loss([backbone.prompt(QUESTIONS[0])], [image], [ANSWERS[1]])
        own = family.inputs(QUESTIONS[0], image, ANSWERS[1])
        logits = family.model(**own).logits
    start = family.inputs(QUESTIONS[0], image)["input_ids"].shape[1]
    ids = [*own["input_ids"][0, start:].tolist(), backbone.tokenizer.eos_token_id]
    padded = torch.cat([logits, logits[:, -1:]], dim=1)  # as if the end stood in the input
    torch.testing.assert_close(found, answer_cross_entropy(padded, [ids]), atol=1e-4, rtol=1e-4)


@EVERY_OWN
def test_the_parts_that_editors_change(own_family: Family):
    backbone = own_family.backbone
    assert len(backbone.language_layers) == 2
    block = backbone.language_layers[-1]
    up, down = (block.get_submodule(name) for name in backbone.feed_forward)
    assert up.out_features == down.in_features == 64 and up.in_features == down.out_features == 32
    for parameter in backbone.connector.parameters():
        parameter.requires_grad_(True)
    backbone.answer_loss([backbone.prompt("What?")], [IMAGES[0]], ["blue"]).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in backbone.connector.parameters() if p.dim() > 1)
    connector = {id(parameter) for parameter in backbone.connector.parameters()}
    assert all(p.grad is None for p in backbone.model.parameters() if id(p) not in connector)


@pytest.mark.parametrize(
    ("family", "index"),
    [("llava", 0), ("gemma3", 0), ("llava_onevision", 0), ("llava_next", 0), ("internvl", -1), ("idefics3", -1)],
    indirect=["family"],
)
@torch.no_grad()
def test_features_are_of_the_whole_image(family: Family, index: int):
    """Which of the tiles shows it is the family's own choice: before or behind those that it is cut into."""
    read: list[torch.Tensor] = []
    model = family.model.base_model
    connector = model.connector if hasattr(model, "connector") else model.multi_modal_projector
    hook = connector.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    for image in IMAGES:
        family.model(**family.inputs("What?", image))
        torch.testing.assert_close(family.backbone.features([image])[0], read.pop()[index])
    hook.remove()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("paligemma", "PaliGemmaForConditionalGeneration is not supported, since tokens of a prompt read those behind"),
        ("mllama", "MllamaForConditionalGeneration is not supported, since its images do not stand among the tokens"),
    ],
)
@pytest.mark.filterwarnings("ignore:__array__")  # a processor of theirs
def test_what_is_none_of_these_is_refused(name: str, found: str, tmp_path: Path):
    REFUSED[name](tmp_path)
    with pytest.raises(FGVEditError, match=f"{found}.*; expected a language model that reads") as error:
        open_backbone(str(tmp_path))
    assert "\n" not in str(error.value)


def test_an_encoder_and_decoder_are_refused(saved: Callable[[str], Path], copy_of: Callable[[Path], Path]):
    folder = copy_of(saved("llava"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "is_encoder_decoder": True}))
    with pytest.raises(FGVEditError, match="do not stand among the tokens that it continues; expected"):
        open_backbone(str(folder))


def test_a_connector_of_another_name_is_asked_for(saved: Callable[[str], Path], tmp_path: Path, monkeypatch):
    monkeypatch.setattr(image_text, "CONNECTORS", ("bridge",))
    with pytest.raises(FGVEditError, match=r"found no connector; expected one called bridge, or .*'connector'"):
        open_backbone(str(saved("llava")))
    entry = tmp_path / "mine.yaml"
    entry.write_text(f"folder: {saved('llava')}\nconnector: [model.multi_modal_projector]\n")
    assert open_backbone(str(entry)).generate([Query("What?", IMAGES[0])], 2)


def test_a_connector_that_images_pass_by_is_refused(saved: Callable[[str], Path], tmp_path: Path):
    entry = tmp_path / "mine.yaml"
    entry.write_text(f"folder: {saved('qwen3_vl')}\nconnector: [model.visual.merger]\n")
    with pytest.raises(FGVEditError, match=r"past the connector that was found; .*'connector'"):
        open_backbone(str(entry))


def test_a_sample_that_fails_is_one_sentence(saved: Callable[[str], Path], monkeypatch):
    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("grid")

    monkeypatch.setattr(transformers.LlavaModel, "get_image_features", broken)
    with pytest.raises(FGVEditError, match=r"not supported, since it fails on a sample \(.*grid.*\); expected"):
        open_backbone(str(saved("llava")))


@EVERY_OWN
def test_a_changed_connector_counts_at_once(own_family: Family):
    backbone = own_family.backbone
    query = [Query(QUESTIONS[0], IMAGES[0])]
    before = backbone.teacher_force(query, ["blue"])[0].top
    with torch.no_grad():
        for parameter in backbone.connector.parameters():
            parameter.mul_(-1)
    after = backbone.teacher_force(query, ["blue"])[0].top
    assert before.shape == after.shape and not torch.equal(before, after)
    assert backbone.encoded_images == 1


@EVERY
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(family: Family, dtype: torch.dtype):
    half = open_backbone(str(family.folder), dtype=dtype)
    assert half.dtype == dtype
    queries = [Query("What?", IMAGES[0]), Query("What?")]
    assert len(half.generate(queries, 3)) == len(half.teacher_force(queries, ["blue", "no"])) == 2


@EVERY
def test_spread_over_the_devices_that_there_are(family: Family):
    spread = open_backbone(str(family.folder), device_map="auto")
    queries = [Query(QUESTIONS[0], IMAGES[0]), Query(QUESTIONS[1])]
    assert spread.generate(queries, 4) == family.backbone.generate(queries, 4)


@EVERY
def test_a_real_photo(family: Family, real_data: Path):
    for path in sorted((real_data / "coco_vqa" / "images").rglob("*.jpg"))[:3]:
        image = ImageRef(path.name, path.read_bytes())
        inputs = family.inputs(QUESTIONS[0], image)
        with torch.no_grad():
            expected = family.model(**inputs).logits[0]
            prompt = family.backbone.prompt(QUESTIONS[0])
            found = family.backbone.logits(family.backbone.inputs([prompt], [image]))[0]
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=2e-4)
        assert family.backbone.prompt_length(prompt, image) == len(expected)
