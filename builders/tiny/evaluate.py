"""How good the tiny backbone is, by free generation on the test split's images: `python -m builders.tiny evaluate`."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

from builders.scenes.facts import facts
from builders.tiny.clip import NAME, UNSCHOOLED
from builders.tiny.sight import sight
from fgvedit.backbones import open_backbone
from fgvedit.backbones.answering import Query, new_fact
from fgvedit.backbones.base import Backbone
from fgvedit.dataset import load_records
from fgvedit.evaluation.normalise import normalise
from fgvedit.probes import kind_of
from fgvedit.schema import ImageRef, Record

DEMONSTRATIONS = 4
_BATCH = 128


def evaluate() -> dict[str, dict[str, float | int]]:
    """Percent right and number asked, by group.

    `questions`: every question of the test split that asks about a scene and whose unedited answer is on record, right
    by that answer. `scene/…`: the same by the kind of probe. `facts`: every text-only fact. `in_context`: a rephrase of
    the edit's question, after the edit as a new fact in the prompt; `demonstrated`: the same after four demonstrations
    from the train split. `yes`: questions that want "yes" or "no" whose right answer is "yes", and `said_yes`: those
    that the model answers so. `tiny-clip/…`, `tiny-clip-unschooled/…`: see `builders.tiny.sight.sight`.
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
    right |= {f"{name}/{group}": marks for name in (NAME, UNSCHOOLED) for group, marks in sight(name).items()}
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
            elif kind.right == "as before" and kind.name != "text_locality":
                yield f"scene/{kind.name}", Query(probe.question, probe.image), probe.answer
        for changes, stays in zip(record.probes_of("portability"), record.probes_of("portability_same"), strict=True):
            yield "scene/portability", Query(changes.question, changes.image), stays.answer  # alike before the edit


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


def _answer(backbone: Backbone, prompts: Sequence[str], images: Sequence[ImageRef | None]) -> list[str]:
    return [
        answer
        for start in range(0, len(prompts), _BATCH)
        for answer in backbone.complete(prompts[start : start + _BATCH], images[start : start + _BATCH], 10)
    ]
