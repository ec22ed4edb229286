"""Every family: its checkpoint as on the hub, and its backbone against the model itself, from raw images and texts."""

from __future__ import annotations

import functools
import io
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


def photo(number: int, size: tuple[int, int]) -> ImageRef:
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
    model_class = transformers.AutoModelForImageTextToText
    model, loading = model_class.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    assert not any(loading.values())
    return model.eval(), transformers.AutoProcessor.from_pretrained(folder, local_files_only=True)


class Family:
    """A backbone, and the same checkpoint opened and used as transformers documents it."""

    def __init__(self, folder: Path) -> None:
        self.name, self.folder = folder.name, folder
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


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest, saved: Callable[[str], Path]) -> Family:
    """Each of them; one for all tests that leave the model as it is, which has read no image yet."""
    found = shared(saved(request.param))
    found.backbone.forget_images()
    found.backbone.cached_answerer.forget()
    found.backbone.encoded_images = 0
    return found


# -- the checkpoints themselves ----------------------------------------------------------------------------------------


SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
QWEN_TURN = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{}<|im_end|>\n<|im_start|>assistant\n"
PROMPTS = {  # and how many tokens a photo of 640 x 480 pixels has
    "llava": ("USER: <image>\n{} ASSISTANT:", 4 * 4),  # patches
    # 2 x 2 of the whole, 6 x 6 of its 3 x 3 tiles less a row of padding above and below, and a newline for each row
    "llava_onevision": ("<|im_start|>user <image>\n{}<|im_end|><|im_start|>assistant\n", 2 * 2 + 4 * 6 + 4),
    "instructblip": ("{}", 12),
    "qwen2_vl": (SYSTEM + QWEN_TURN, 5 * 7),  # at most 40, in the photo's proportions
    "qwen2_5_vl": (SYSTEM + QWEN_TURN, 5 * 7),
    "qwen3_vl": (QWEN_TURN, 5 * 7),
    "llava_next": ("[INST] <image>\n{} [/INST]", 2 * 2 + 4 * 4 + 4),  # as OneVision, of 2 x 2 tiles
    # 2 x 2 of the whole and of 3 x 2 tiles each
    "internvl": ("<|im_start|>user\n<IMG_CONTEXT>\n{}<|im_end|>\n<|im_start|>assistant\n", 4 * (1 + 3 * 2)),
    "idefics3": ("User:<image>{}<end_of_utterance>\nAssistant:", 4 * (1 + 2 * 2)),
    "gemma3": ("<start_of_turn>user\n<start_of_image>{}<end_of_turn>\n<start_of_turn>model\n", 2 * 2),
    "mistral3": ("[INST][IMG]{}[/INST]", 3 * 4),  # in the photo's proportions, at most 4 a side
}


def as_on_the_hub(family: Family, question: str, image: ImageRef = IMAGES[0]) -> Any:
    """What the model reads of a prompt as the hub's checkpoints have it."""
    return family.processor(images=image.open(), text=PROMPTS[family.name][0].format(question), return_tensors="pt")


def test_it_is_a_small_checkpoint_of_its_family(family: Family, tmp_path: Path):
    assert family.model.config.model_type == family.name
    assert all(weight.dtype == torch.float32 for weight in family.model.parameters())
    assert (family.folder / "model.safetensors").stat().st_size < 1_000_000
    FAMILIES[family.name](tmp_path / "again")
    for path in family.folder.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(family.folder)).read_bytes()


def test_its_prompt_is_that_of_the_hub_and_has_the_images_tokens(family: Family):
    text, image_tokens = PROMPTS[family.name]
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTIONS[0]}]}
    if family.name == "instructblip":
        assert family.processor.chat_template is None
    else:
        prompt = family.processor.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)
        prompt = prompt.removeprefix(family.processor.tokenizer.bos_token or "")  # the tokenizer puts it there again
        assert prompt == text.format(QUESTIONS[0])
    ids = as_on_the_hub(family, QUESTIONS[0])["input_ids"][0].tolist()
    assert ids.count(family.model.config.image_token_id) == image_tokens


@torch.no_grad()
def test_its_logits_change_with_image_and_question(family: Family):
    inputs = as_on_the_hub(family, QUESTIONS[0])
    logits = family.model(**inputs).logits[0]
    assert logits.shape == (inputs["input_ids"].shape[1], len(family.processor.tokenizer)) and logits.isfinite().all()
    others = as_on_the_hub(family, QUESTIONS[0], photo(3, (640, 480))), as_on_the_hub(family, QUESTIONS[2])
    for changed in others:
        difference = logits[-1] - family.model(**changed).logits[0, -1]
        assert difference.abs().mean() > logits[-1].std() / 10


@pytest.mark.parametrize("family", ["llava"], indirect=True)
def test_llavas_tokenizer_begins_every_text_with_a_space(family: Family):
    tokens = family.processor.tokenizer.convert_ids_to_tokens(as_on_the_hub(family, "blue")["input_ids"][0].tolist())
    assert tokens[0] == "<s>" and tokens[1].startswith("▁")
    assert tokens[tokens.index("<image>") - 1] == "▁"  # the one in the prompt
    assert tokens[tokens.index("<image>") + 16 :][:2] == ["▁", "<0x0A>"]
    assert family.processor.tokenizer.tokenize(" blue") == ["▁", "▁blue"]


@pytest.mark.parametrize("family", ["instructblip"], indirect=True)
def test_instructblips_text_begins_behind_the_image(family: Family):
    inputs, tokenizer = as_on_the_hub(family, "blue"), family.processor.tokenizer
    assert tokenizer.convert_ids_to_tokens(inputs["input_ids"][0].tolist()) == ["<image>"] * 12 + ["</s>", "▁blue"]
    assert family.processor.qformer_tokenizer.decode(inputs["qformer_input_ids"][0]) == "[CLS] blue [SEP]"


# -- backbones ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
def expect_own_logits(family: Family, images: list[ImageRef | None]) -> None:
    """A batch's logits are those that the model has for each of its questions alone."""
    backbone, prompts = family.backbone, [family.backbone.prompt(question) for question in QUESTIONS[: len(images)]]
    inputs = backbone.inputs(prompts, images, [backbone.answer_ids(answer) for answer in ANSWERS[: len(images)]])
    found, mask = backbone.logits(inputs), inputs["attention_mask"]
    assert len(images) == 1 or not mask.all()
    for row, shown, question, image, answer in zip(found, mask, QUESTIONS, images, ANSWERS, strict=False):
        expected = family.asked(image)(**family.inputs(question, image, answer)).logits[0]
        assert int(shown.sum()) == len(expected)
        torch.testing.assert_close(row[shown.bool()], expected, atol=2e-4, rtol=2e-4)
        length = family.inputs(question, image)["input_ids"].shape[1]
        assert backbone.prompt_length(backbone.prompt(question), image) == length


@pytest.mark.parametrize(
    "images", [IMAGES[:1], IMAGES, [None], [None, None, None], [IMAGES[1], None, IMAGES[1]]], ids=str
)
def test_logits_are_the_models_own(family: Family, images: list[ImageRef | None]):
    """One image, a batch with padding, text only, a batch with and without images."""
    expect_own_logits(family, images)


def test_logits_are_the_models_own_for_real_photos(family: Family, real_data: Path):
    paths = sorted((real_data / "coco_vqa" / "images").rglob("*.jpg"))[:3]
    expect_own_logits(family, [ImageRef(path.name, path.read_bytes()) for path in paths])


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


def test_the_parts_that_editors_change(family: Family):
    """Gradients reach the connector and nothing else, and what is changed of it counts at once."""
    backbone = open_backbone(str(family.folder))
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
    query = [Query(QUESTIONS[0], IMAGES[0])]
    before = backbone.teacher_force(query, ["blue"])[0].top
    with torch.no_grad():
        for parameter in backbone.connector.parameters():
            parameter.mul_(-1)
    after = backbone.teacher_force(query, ["blue"])[0].top
    assert before.shape == after.shape and not torch.equal(before, after)
    assert backbone.encoded_images == 1


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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(family: Family, dtype: torch.dtype):
    half = open_backbone(str(family.folder), dtype=dtype)
    assert half.dtype == dtype
    queries = [Query("What?", IMAGES[0]), Query("What?")]
    assert len(half.generate(queries, 3)) == len(half.teacher_force(queries, ["blue", "no"])) == 2


def test_spread_over_the_devices_that_there_are(family: Family):
    spread = open_backbone(str(family.folder), device_map="auto")
    queries = [Query(QUESTIONS[0], IMAGES[0]), Query(QUESTIONS[1])]
    assert spread.generate(queries, 4) == family.backbone.generate(queries, 4)
