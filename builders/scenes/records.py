"""From scenes to records: quads, the four edits of each, and probes of every kind around an edit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from builders.scenes.edited import Edited
from builders.scenes.facts import facts_of
from builders.scenes.language import Question, true_answer
from builders.scenes.pictures import Elsewhere, Picture, other_value, picture, seen
from builders.scenes.portability import Asked, portability
from builders.scenes.quads import Balance, Quad, filled, plans
from builders.scenes.scene import Scene, scene_stream
from builders.scenes.worded import rephrased, worded_in, worded_out
from fgvedit.schema import NO_ANSWER

GROUPS = {"train": 825, "test": 275}  # of the shipped splits
SEED = 0  # of the shipped splits
EDITS = 4  # of a quad: two in each of its images
GROUPS_AT_ONCE = 275  # quads whose images are each other's other images; a row group of a file
HARD = ("in_scope", "out_of_scope")
Row = dict[str, Any]


@dataclass(frozen=True)
class Record:
    """One edit of a quad, in image A (0) or B (1), and the probes that its own scene answers, as (kind, question,
    answer). `changed`: the scene with another value, and that value."""

    image: int
    edited: Edited
    question: Question
    probes: tuple[tuple[str, str, str], ...]
    changed: tuple[Scene, str]


@dataclass(frozen=True)
class Group:
    """A quad and its records, in an order that tells nothing."""

    quad: Quad
    records: tuple[Record, ...]


def draw(split: str, seed: int) -> Iterator[Group]:
    """Groups without end, each of another scene; scenes that have no quad are passed over."""
    rng = random.Random(f"records/{split}/{seed}")
    balance = Balance()
    seen: set[Scene] = set()
    for scene in scene_stream(split, seed):
        group = None if scene in seen else _group(rng, scene, balance, split)
        if group is not None:
            seen.update(group.quad.plan.scenes)
            balance.use(group.quad.plan)
            yield group


def _group(rng: random.Random, scene: Scene, balance: Balance, split: str) -> Group | None:
    """The rarest quad of a scene of which four records can be made."""
    possible = list(plans(scene, split))
    rng.shuffle(possible)
    for plan in sorted(possible, key=balance.cost):
        quad = filled(rng, plan, split)
        records = quad and _records(rng, quad, split)
        if quad and records:
            return Group(quad, records)
    return None


def _records(rng: random.Random, quad: Quad, split: str) -> tuple[Record, ...] | None:
    """The quad's four records; None where one of them cannot have a probe of every kind."""
    first, turned = rng.randrange(2), rng.randrange(2)
    found = []
    for image in (first, 1 - first):
        for number in (turned, 1 - turned):
            record = _record(rng, quad, image, number, split)
            if record is None:
                return None
            found.append(record)
    return tuple(found)


def _record(rng: random.Random, quad: Quad, image: int, number: int, split: str) -> Record | None:
    edited, question = quad.edit(image, number), quad.edit_question(image, number)
    outside = worded_out(rng, edited, question, split)
    entailed = portability(rng, edited, question, split)
    changed = other_value(rng, edited, question)
    if outside is None or entailed is None or changed is None:
        return None
    probes = [
        *(("rephrase", again.text, edited.target) for again in rephrased(rng, question, split)),
        *_hard(edited, [quad.probe_question(image, one) for one in (0, 1)]),
        *(("worded_in", asked.text, asked.answer(edited.target)) for asked in worded_in(rng, edited, question, split)),
        *(("worded_out", asked.text, true_answer(edited.scene, asked)) for asked in outside),
        *_ported(*entailed),
    ]
    texts = [text for _, text, _ in probes]
    if len(set(texts)) < len(texts) or question.text in texts:
        return None
    return Record(image, edited, question, tuple(probes), changed)


def _hard(edited: Edited, questions: list[Question]) -> Iterator[tuple[str, str, str]]:
    """The quad's two questions in their order, of which one is about the edited entity."""
    for asked in questions:
        if asked.entity == edited.index:
            yield "in_scope", asked.text, asked.answer(edited.target)
        else:
            yield "out_of_scope", asked.text, true_answer(edited.scene, asked)


def _ported(changes: Asked, stays: Asked) -> Iterator[tuple[str, str, str]]:
    yield "portability", changes.text, changes.after
    yield "portability_same", stays.text, stays.before


def split_rows(split: str, groups: int, seed: int) -> Iterator[list[Row]]:
    """The rows of a split ("train" or "test") in the record form, four a group, in lists of at most `GROUPS_AT_ONCE`
    groups' rows."""
    stream = draw(split, seed)
    for start in range(0, groups, GROUPS_AT_ONCE):
        size = min(GROUPS_AT_ONCE, groups - start)
        yield list(_rows([next(stream) for _ in range(size)], split, start, seed))


def _rows(groups: list[Group], split: str, start: int, seed: int) -> Iterator[Row]:
    rng = random.Random(f"around/{split}/{seed}/{start}")
    names = [f"scenes-{split}-{number:05d}" for number in range(start, start + len(groups))]
    own = [
        [picture(f"{name}-{letter}", scene) for letter, scene in zip("ab", group.quad.plan.scenes, strict=True)]
        for name, group in zip(names, groups, strict=True)
    ]
    again = [[seen(rng, f"{shown.image_id}-view", shown.scene) for shown in pair] for pair in own]
    elsewhere = Elsewhere([view for views in again for view in views], f"{split}/other/{start}", seed)
    for name, group, pair, views in zip(names, groups, own, again, strict=True):
        old = [number % 2 == 0 for number in range(EDITS)]  # whose other image has the old answer
        rng.shuffle(old)
        rows = []
        for number, (record, alike) in enumerate(zip(group.records, old, strict=True)):
            row_id = f"{name}-{number}"
            other = elsewhere.find(rng, record.edited, record.question, alike, name, f"{row_id}-other")
            rows.append(_row(rng, record, row_id, name, split, (pair[record.image], views[record.image], *other)))
        places = sorted(rng.sample(range(len(rows[0]["probes"])), 2))
        yield from ({**row, "probes": _placed(rng, row["probes"], places)} for row in rows)


def _placed(rng: random.Random, probes: list[Row], places: list[int]) -> list[Row]:
    """The probes in random order, but the hard ones in these places, as they are: in each of the two one is in scope in
    half of a group's records."""
    hard = [probe for probe in probes if probe["kind"] in HARD]
    rest = [probe for probe in probes if probe["kind"] not in HARD]
    rng.shuffle(rest)
    for place, probe in zip(places, hard, strict=True):
        rest.insert(place, probe)
    return rest


def _row(
    rng: random.Random,
    record: Record,
    row_id: str,
    group: str,
    split: str,
    shown: tuple[Picture, Picture, Picture, str],
) -> Row:
    """A record as a row. `shown`: its own image, another view of it, another image, and the right answer there."""
    own, view, other, answer = shown
    edited, question = record.edited, record.question.text
    changed = seen(rng, f"{row_id}-value", record.changed[0])
    fact, right = rng.choice(facts_of(split))
    probes = [_probe(kind, text, said, own.image_id) for kind, text, said in record.probes]
    probes += [
        _probe("text_locality", fact, right),
        _probe("other_view", question, edited.target, view.image_id, view),
        _probe("other_image", question, answer, other.image_id, other),
        _probe("other_value", question, record.changed[1], changed.image_id, changed),
        _probe("no_image", question, NO_ANSWER),
    ]
    return {
        "id": row_id,
        "group": group,
        "image_id": own.image_id,
        "image": own.stored,
        "question": question,
        "answer": edited.old,
        "target": edited.target,
        "entity": {"name": record.question.name, "box": list(map(float, edited.entity.box))},
        "probes": probes,
    }


def _probe(kind: str, question: str, answer: str, image_id: str = "", shown: Picture | None = None) -> Row:
    stored = shown.stored if shown else None
    return {"kind": kind, "question": question, "answer": answer, "image": stored, "image_id": image_id}
