"""How good the tiny backbone is, by free generation on the test split's images: `python -m builders.tiny evaluate`."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from builders.scenes.facts import facts
from builders.scenes.language import caption
from builders.scenes.scene import encode, render, scene_stream
from builders.tiny.clip import NAME
from fgvedit.backbones import open_backbone
from fgvedit.backbones.answering import Query, new_fact
from fgvedit.backbones.base import Backbone
from fgvedit.dataset import load_records
from fgvedit.editors.memory.clip import Clip
from fgvedit.evaluation.normalise import normalise
from fgvedit.probes import kind_of
from fgvedit.schema import ImageRef, Record

DEMONSTRATIONS = 4
_BATCH = 128


def evaluate() -> dict[str, dict[str, float | int]]:
    """Percent right and number asked, by group.

    `questions`: every question of the test split that asks about a scene and whose unedited answer is on record, right
    by that answer. `scene/…`: the same by the kind of probe. `no_image`: edits' questions without an image that get the
    answer that most of them get; none is right. `facts`: every text-only fact. `in_context`: a rephrase of the edit's
    question, after the edit as a new fact in the prompt; `demonstrated`: the same after four demonstrations from the
    train split. `clip`: descriptions of scenes of the test split's stream that `tiny-clip` finds nearest to their own
    image among a hundred. `yes`: questions that want "yes" or "no" whose right answer is "yes", and `said_yes`: those
    that the model answers so.
    """
    backbone = open_backbone("tiny")
    records = load_records("scenes", "test").records
    asked = list(_questions(records))
    asked += [("facts", Query(question), answer) for question, answer in facts()]
    said = _answer(backbone, [backbone.prompt(query.question) for _, query, _ in asked], [q.image for _, q, _ in asked])
    right: dict[str, list[bool]] = defaultdict(list)
    for (group, _, answer), found in zip(asked, said, strict=True):
        right[group].append(normalise(found) == normalise(answer))
        if answer in ("yes", "no"):
            right["yes"].append(answer == "yes")
            right["said_yes"].append(normalise(found) == "yes")
    right["clip"] = _described()
    if without := [probe.question for record in records for probe in record.probes_of("no_image")]:
        right["no_image"] = _alike(backbone, without)
    right["questions"] = [mark for group, marks in right.items() if group.startswith("scene/") for mark in marks]
    right["in_context"] = _in_context(backbone, records, [])
    right["demonstrated"] = _in_context(backbone, records, load_records("scenes", "train").records)
    return {
        group: {"percent": round(100 * sum(marks) / len(marks), 2), "asked": len(marks)}
        for group, marks in sorted(right.items())
    }


def _questions(records: Sequence[Record]) -> Iterator[tuple[str, Query, str]]:
    """(group, question, right answer of an unedited model) for all that the test split asks about images."""
    for record in records:
        yield "scene/edit", Query(record.question, record.image), record.answer
        for probe in record.probes:
            kind = kind_of(probe.kind)
            if kind.right == "the new answer":  # before the edit, its old one
                yield f"scene/{kind.name}", Query(probe.question, probe.image), record.answer
            elif kind.right == "as before" and probe.image is not None:
                yield f"scene/{kind.name}", Query(probe.question, probe.image), probe.answer


def _alike(backbone: Backbone, questions: Sequence[str]) -> list[bool]:
    """Whether a question without an image gets the answer that most of them get."""
    prompts = [backbone.prompt(question) for question in questions]
    said = [normalise(answer) for answer in _answer(backbone, prompts, [None] * len(prompts))]
    usual = Counter(said).most_common(1)[0][0]
    return [answer == usual for answer in said]


def _in_context(backbone: Backbone, records: Sequence[Record], shown: Sequence[Record]) -> list[bool]:
    """Whether a rephrase gets the new answer; before the new fact, demonstrations from `shown`, if there are any."""
    rng = random.Random(0)
    prompts, images, targets = [], [], []
    for record in records:
        probe = rng.choice(record.probes_of("rephrase"))
        demonstrations = [
            _demonstration(shown[rng.randrange(len(shown))]) for _ in range(DEMONSTRATIONS if shown else 0)
        ]
        fact = new_fact(record.edit.fact)
        prompts.append("".join([*demonstrations, fact, backbone.prompt(probe.question)]))
        images.append(record.image)
        targets.append(record.target)
    said = _answer(backbone, prompts, images)
    return [normalise(found) == normalise(target) for found, target in zip(said, targets, strict=True)]


def _demonstration(record: Record) -> str:
    probe = record.probes_of("rephrase")[0]
    return f"{new_fact(record.edit.fact)}Prompt: {probe.question} {probe.answer}\n\n"


@torch.no_grad()
def _described() -> list[bool]:
    rng = random.Random(0)
    clip = Clip(NAME).eval()
    stream = scene_stream("test", 0)
    right = []
    for _ in range(5):
        scenes = [next(stream) for _ in range(100)]
        images = [ImageRef(f"scene {number}", encode(render(scene))) for number, scene in enumerate(scenes)]
        seen, _ = clip.see(clip.pixels(images))
        said = clip.read([caption(rng, scene, most=2) for scene in scenes])
        alike = nn.functional.normalize(said, dim=-1) @ nn.functional.normalize(seen, dim=-1).T
        right += (alike.argmax(dim=1) == torch.arange(len(scenes))).tolist()
    return right


def _answer(backbone: Backbone, prompts: Sequence[str], images: Sequence[ImageRef | None]) -> list[str]:
    return [
        answer
        for start in range(0, len(prompts), _BATCH)
        for answer in backbone.complete(prompts[start : start + _BATCH], images[start : start + _BATCH], 10)
    ]
