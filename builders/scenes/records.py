"""From scenes to records: an edit of one attribute of one entity, and probes of each kind that is built."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from builders.scenes.facts import facts_of
from builders.scenes.language import (
    FORMS,
    NAMINGS,
    REFERENCES,
    Question,
    ask,
    names,
    offer,
    phrasings,
    put,
    true_answer,
)
from builders.scenes.scene import ATTRIBUTES, KINDS, PLACES, Entity, Scene, encode, render, scene_stream
from fgvedit.probes import current_kinds

EDITS_PER_IMAGE = 2
# (kind, attribute) pairs that are edited in the test split alone: one of every other kind, each attribute in turn.
_HELD_OUT = {(kind, tuple(ATTRIBUTES)[number % len(ATTRIBUTES)]) for number, kind in enumerate(KINDS[::2])}


@dataclass(frozen=True)
class Picture:
    """A scene with its encoded image."""

    image_id: str
    scene: Scene
    data: bytes


def held_out(kind: str, attribute: str) -> bool:
    """Whether an edit of this attribute of this kind of entity is found in the test split alone."""
    return (kind, attribute) in _HELD_OUT


def draw(rng: random.Random, split: str, images: int, seed: int) -> list[tuple[Scene, list[dict[str, Any]]]]:
    """The scenes of a split, each with its `EDITS_PER_IMAGE` edits; scenes that offer fewer are passed over."""
    stream = scene_stream(split, seed)
    drawn: list[tuple[Scene, list[dict[str, Any]]]] = []
    seen: set[Scene] = set()
    while len(drawn) < images:
        scene = next(stream)
        if scene in seen:
            continue
        seen.add(scene)
        rows = scene_rows(rng, scene, split)
        if len(rows) == EDITS_PER_IMAGE:
            drawn.append((scene, rows))
    return drawn


def split_random(split: str, seed: int) -> random.Random:
    """The random numbers of a split."""
    return random.Random(f"records/{split}/{seed}")


def split_rows(split: str, images: int, seed: int) -> list[dict[str, Any]]:
    """The rows of a split ("train" or "test"), `EDITS_PER_IMAGE` for each of its images, in the record form."""
    rng = split_random(split, seed)
    drawn = draw(rng, split, images, seed)
    pictures = [
        Picture(f"scenes-{split}-{number:05d}", scene, encode(render(scene))) for number, (scene, _) in enumerate(drawn)
    ]
    elsewhere = _by_name(pictures)
    return [
        _finish(rng, row, picture, elsewhere, f"{picture.image_id}-{number}")
        for picture, (_, rows) in zip(pictures, drawn, strict=True)
        for number, row in enumerate(rows)
    ]


def scene_rows(rng: random.Random, scene: Scene, split: str) -> list[dict[str, Any]]:
    """Up to `EDITS_PER_IMAGE` edits of different entities, each with its probes on this scene."""
    rows = []
    order = list(range(len(scene.entities)))
    rng.shuffle(order)
    # an entity with a twin is the harder one to edit alone, so it goes first
    order.sort(key=lambda index: not scene.alike(scene.entities[index]))
    for index in order:
        attributes = list(ATTRIBUTES)
        rng.shuffle(attributes)
        for attribute in attributes:
            if split == "train" and held_out(scene.entities[index].kind, attribute):
                continue
            row = _edit(rng, scene, index, attribute, split)
            if row:
                rows.append(row)
                break
        if len(rows) == EDITS_PER_IMAGE:
            break
    return rows


def _edit(rng: random.Random, scene: Scene, index: int, attribute: str, split: str) -> dict[str, Any] | None:
    """One edit with the probes that its own image answers, or None where the scene offers too few."""
    entity = scene.entities[index]
    question = ask(rng, scene, index, attribute, "open", NAMINGS[attribute], split)
    reference = ask(rng, scene, index, attribute, "open", REFERENCES[attribute], split)
    if question is None or reference is None:
        return None
    answer = entity.value(attribute)
    taken = {other.value(attribute) for other in scene.entities} if attribute in ("kind", "place") else {answer}
    target = rng.choice([value for value in ATTRIBUTES[attribute] if value not in taken])

    after = _with_value(scene, index, attribute, target)
    outside = _out_of_scope(rng, scene, after, question, split)
    reference_out = _reference_out(rng, scene, after, question, split)
    if outside is None or reference_out is None:
        return None
    probes = [
        *(("rephrase", put_again, target) for put_again in _rephrased(rng, question, split)),
        *(
            ("in_scope", entailed, entailed.answer(target))
            for entailed in _in_scope(rng, question, answer, target, split)
        ),
        *(("out_of_scope", other, true_answer(scene, other)) for other in outside),
        ("reference_in", reference, target),
        ("reference_out", reference_out, true_answer(scene, reference_out)),
    ]
    return {
        "asked": question,
        "question": question.text,
        "answer": answer,
        "target": target,
        "entity": {"name": question.name, "box": list(map(float, entity.box))},
        "probes": [{"kind": kind, "question": probe.text, "answer": right} for kind, probe, right in probes],
    }


def _with_value(scene: Scene, index: int, attribute: str, value: str) -> tuple[Scene, Entity]:
    """The scene in which an attribute of one entity is changed, and that entity."""
    changes: dict[str, Any] = {attribute: value}
    if attribute == "place":
        changes = {"cell": PLACES.index(value)}
    elif attribute == "count":
        changes = {"count": int(value)}
    entity = replace(scene.entities[index], **changes)
    entities = [*scene.entities[:index], entity, *scene.entities[index + 1 :]]
    return Scene(tuple(sorted(entities, key=lambda one: one.cell)), scene.background), entity


def _means_the_same(scene: Scene, after: tuple[Scene, Entity], edited: int, question: Question) -> bool:
    """Whether the question's name fits the same entity where the edit is true: an edit to red makes two red cards."""
    changed, entity = after
    asked = entity if question.entity == edited else scene.entities[question.entity]
    return names(changed, asked).get(question.naming) == question.name


def _rephrased(rng: random.Random, question: Question, split: str) -> Iterator[Question]:
    """The same question in two other phrasings; in test one of them is not found in train."""
    known = [p for p in phrasings(question.attribute, "open", "train") if p != question.phrasing]
    new = [p for p in phrasings(question.attribute, "open", "new") if p != question.phrasing]
    chosen = [rng.choice(known), rng.choice(new)] if split == "test" else rng.sample(known, 2)
    for phrasing in chosen:
        yield put(question.entity, question.attribute, "open", question.naming, question.name, phrasing)


def _in_scope(rng: random.Random, question: Question, answer: str, target: str, split: str) -> Iterator[Question]:
    """A verify and a choice question about the edited attribute, whose answers follow from the edit."""
    for form in ("verify", "choice"):
        values = offer(rng, question.attribute, form, target, answer)
        phrasing = rng.choice(phrasings(question.attribute, form, split))
        yield put(question.entity, question.attribute, form, question.naming, question.name, phrasing, values)


def _out_of_scope(
    rng: random.Random, scene: Scene, after: tuple[Scene, Entity], question: Question, split: str
) -> list[Question] | None:
    """Three questions that the edit leaves alone; `after` is the scene, and the entity, as the edit has them.

    Another attribute of the same entity; the same attribute of another entity, of the same kind where there is one;
    any attribute of any other entity. Forms are mixed, so that no form tells that a question is in scope.
    """
    entity = scene.entities[question.entity]
    twins = [scene.entities.index(twin) for twin in scene.alike(entity)]
    others = [index for index in range(len(scene.entities)) if index != question.entity]
    other_attributes = [a for a in ATTRIBUTES if a != question.attribute and question.naming in NAMINGS[a]]
    other_attributes = other_attributes or [a for a in ATTRIBUTES if a != question.attribute]

    def draw(indices: Sequence[int], attributes: Sequence[str], namings: tuple[str, ...] | None) -> Question | None:
        for _ in range(20):
            index, attribute = rng.choice(indices), rng.choice(attributes)
            form = rng.choice((*FORMS, "open"))
            found = ask(rng, scene, index, attribute, form, namings or NAMINGS[attribute], split)
            if found and _means_the_same(scene, after, question.entity, found):
                return found
        return None

    chosen = [
        draw([question.entity], other_attributes, (question.naming,))
        or draw([question.entity], other_attributes, None),
        draw(twins or others, [question.attribute], None),
        draw(others, tuple(ATTRIBUTES), None),
    ]
    found = [probe for probe in chosen if probe is not None]
    return found if len(found) == 3 and len({probe.text for probe in found}) == 3 else None


def _reference_out(
    rng: random.Random, scene: Scene, after: tuple[Scene, Entity], question: Question, split: str
) -> Question | None:
    """The same attribute of another entity, named by its surroundings alone, which the edit leaves as they are."""
    others = [other for other in range(len(scene.entities)) if other != question.entity]
    rng.shuffle(others)
    for other in others:
        found = ask(rng, scene, other, question.attribute, "open", REFERENCES[question.attribute], split)
        if found and _means_the_same(scene, after, question.entity, found):
            return found
    return None


def _finish(
    rng: random.Random,
    row: dict[str, Any],
    picture: Picture,
    elsewhere: Mapping[str, Sequence[tuple[Picture, Entity]]],
    record_id: str,
) -> dict[str, Any]:
    """Add what lies outside the scene, a fact and another image, and the columns that name the record; leave out probes
    of a kind that is retired."""
    probes = [{**probe, "image": None, "image_id": picture.image_id} for probe in row["probes"]]
    split = picture.image_id.split("-")[1]
    fact, right = rng.choice(facts_of(split))
    probes.append({"kind": "text_locality", "question": fact, "answer": right, "image": None, "image_id": ""})
    other, right = _other_image(rng, row, picture, elsewhere, record_id)
    probes.append(
        {
            "kind": "other_image",
            "question": row["question"],
            "answer": right,
            "image": {"bytes": other.data, "path": f"{other.image_id}.png"},
            "image_id": other.image_id,
        }
    )
    return {
        "id": record_id,
        "image_id": picture.image_id,
        "image": {"bytes": picture.data, "path": f"{picture.image_id}.png"},
        "question": row["question"],
        "answer": row["answer"],
        "target": row["target"],
        "entity": row["entity"],
        "probes": [probe for probe in probes if probe["kind"] in current_kinds()],
    }


def _by_name(pictures: Sequence[Picture]) -> dict[str, list[tuple[Picture, Entity]]]:
    """Where each name of an entity is found."""
    found: dict[str, list[tuple[Picture, Entity]]] = {}
    for picture in pictures:
        for entity in picture.scene.entities:
            for name in names(picture.scene, entity).values():
                found.setdefault(name, []).append((picture, entity))
    return found


def _other_image(
    rng: random.Random,
    row: dict[str, Any],
    picture: Picture,
    elsewhere: Mapping[str, Sequence[tuple[Picture, Entity]]],
    record_id: str,
) -> tuple[Picture, str]:
    """Another image of the split in which the edit's question has another right answer.

    Where no image of the split has an entity of that name, a copy of the edit's own scene in which just the edited
    attribute of the entity is another one.
    """
    asked: Question = row["asked"]
    said = (row["answer"], row["target"])
    candidates = [
        (other, entity)
        for other, entity in elsewhere[asked.name]
        if other is not picture and entity.value(asked.attribute) not in said
    ]
    if candidates:
        other, entity = rng.choice(candidates)
        return other, entity.value(asked.attribute)
    scene, entity = _changed(rng, picture.scene, asked, said)
    return Picture(f"{record_id}-other", scene, encode(render(scene))), entity.value(asked.attribute)


def _changed(rng: random.Random, scene: Scene, asked: Question, said: tuple[str, str]) -> tuple[Scene, Entity]:
    """The scene with another value of the attribute asked for, such that the name still fits that entity alone."""
    taken = {entity.cell for entity in scene.entities}
    values = [value for value in ATTRIBUTES[asked.attribute] if value not in said]
    rng.shuffle(values)
    for value in values:
        if asked.attribute == "place" and PLACES.index(value) in taken:
            continue
        changed, entity = _with_value(scene, asked.entity, asked.attribute, value)
        if names(changed, entity).get(asked.naming) == asked.name:
            return changed, entity
    raise AssertionError(f"no other scene answers {asked.text!r}")
