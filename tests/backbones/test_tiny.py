"""The shipped models do what the documentation says of them."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
import transformers
from PIL import Image

from builders.scenes.records import split_rows
from builders.scenes.scene import encode, render
from builders.tiny.__main__ import MODEL, QUALITY, SEED
from builders.tiny.clip import NAME, UNSCHOOLED
from builders.tiny.prompts import training_scenes
from fgvedit.backbones import open_backbone
from fgvedit.backbones.answering import Query
from fgvedit.dataset import load_records
from fgvedit.editors.memory.clip import SHIPPED
from fgvedit.editors.mscke.editor import MSCKE
from fgvedit.editors.registry import open_editor
from fgvedit.evaluation.protocols import open_protocols
from fgvedit.evaluation.protocols.generation import normalise
from fgvedit.evaluation.runs.runner import run
from fgvedit.probes import changes

LIMIT = 16 * 10**6  # bytes
POOL = 12_000  # rendered scenes that an eye was trained on


@pytest.fixture(scope="module")
def tiny():
    return open_backbone("tiny")


@pytest.fixture(scope="module")
def records():
    return load_records("scenes", "test", 60).records


def right(tiny, asked: list[tuple[Query, str]]) -> float:
    said = tiny.generate([query for query, _ in asked])
    return sum(normalise(a) == normalise(b) for a, (_, b) in zip(said, asked, strict=True)) / len(asked)


def test_shipped_weights_are_small():
    checkpoint = MSCKE.home() / "checkpoints" / "tiny" / "model.safetensors"
    clips = (SHIPPED / name / "open_clip_model.safetensors" for name in (NAME, UNSCHOOLED))
    for path in (MODEL / "model.safetensors", *clips, checkpoint):
        assert 0 < path.stat().st_size < LIMIT, path


def test_the_measured_quality_holds_on_a_sample(tiny, records):
    quality = json.loads((QUALITY / "quality.json").read_text())
    questions = [
        (Query(probe.question, probe.image), probe.answer)
        for record in records
        for probe in record.probes
        if probe.image is not None and not changes(probe.kind)
    ]
    assert right(tiny, questions) == pytest.approx(quality["questions"]["percent"] / 100, abs=0.05)


def test_answers_depend_on_the_image(tiny, records):
    """On a grey image it is not right more often than by guessing."""
    blind = type(records[0].image)("grey", encode(Image.new("RGB", (144, 144), (128, 128, 128))))
    shown = [(Query(record.question, record.image), record.answer) for record in records]
    blank = [(Query(query.question, blind), answer) for query, answer in shown]
    assert right(tiny, shown) > right(tiny, blank) + 0.5


def test_follows_a_fact_in_its_prompt(tiny, records):
    prompts = [f"New Fact: {r.question} {r.target}\n{tiny.prompt(r.question)}" for r in records]
    said = tiny.complete(prompts, [record.image for record in records], 10)
    assert sum(normalise(a) == normalise(r.target) for a, r in zip(said, records, strict=True)) >= 0.8 * len(records)


def test_transformers_alone_answers_the_same(tiny, records):
    """The folder is an ordinary BLIP-2 for whoever opens it without FGVEdit."""
    processor = transformers.Blip2Processor.from_pretrained(MODEL)
    model = transformers.Blip2ForConditionalGeneration.from_pretrained(MODEL).eval()
    for record in records[:5]:
        inputs = processor(images=record.image.open(), text=tiny.prompt(record.question), return_tensors="pt")
        with torch.no_grad():
            tokens = model.generate(**inputs, max_new_tokens=10, do_sample=False)
        new = tokens[0, inputs["input_ids"].shape[1] :] if tokens.shape[1] > inputs["input_ids"].shape[1] else tokens[0]
        said = processor.tokenizer.decode(new, skip_special_tokens=True).strip()
        assert said == tiny.generate([Query(record.question, record.image)])[0]


def test_the_shipped_mscke_edits_one_entity(tiny, tmp_path):
    data = load_records("scenes", "test", 24)
    result = run(open_editor("mscke", tiny), data, open_protocols("paper,generation"), tmp_path, limit=24)
    value = {name: metric["value"] for name, metric in result["metrics"].items()}
    for protocol in ("paper", "generation"):
        assert value[f"{protocol}/reliability"] >= 95
        assert value[f"{protocol}/generality"] >= 90
        assert value[f"{protocol}/locality"] >= 99.9
        assert value[f"{protocol}/specificity"] >= 65
        assert value[f"{protocol}/worded_out"] >= 85


@pytest.mark.slow
def test_no_test_image_was_trained_on():
    rows = list(itertools.chain.from_iterable(split_rows("test", 275, 0)))
    test = {row["image"]["bytes"] for row in rows}
    test |= {probe["image"]["bytes"] for row in rows for probe in row["probes"] if probe["image"]}
    for stream in ("tiny", "phrases"):
        pool = {encode(render(scene)) for scene in itertools.islice(training_scenes(SEED + 1, stream), POOL)}
        assert not pool & test
