"""Probes that words settle: the edit's question in other words, what it entails of the entity as the edit names it, and
what is by its words another entity or another attribute."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from builders.scenes.edited import Edited
from builders.scenes.language import FORMS, NAMES, Question, ask, offer, phrasings, put, true_answer
from builders.scenes.scene import ATTRIBUTES

_TRIES = 20


def rephrased(rng: random.Random, question: Question, split: str) -> Iterator[Question]:
    """The same question in two other phrasings; in test one of them is not found in train."""
    known = [p for p in phrasings(question.attribute, "open", "train") if p != question.phrasing]
    new = [p for p in phrasings(question.attribute, "open", "new") if p != question.phrasing]
    chosen = [rng.choice(known), rng.choice(new)] if split == "test" else rng.sample(known, 2)
    for phrasing in chosen:
        yield put(question.entity, question.attribute, "open", question.naming, question.name, phrasing)


def worded_in(rng: random.Random, edited: Edited, question: Question, split: str) -> Iterator[Question]:
    """A yes-or-no question and a choice about the edited attribute, whose answers follow from the edit."""
    for form in ("verify", "choice"):
        values = offer(rng, question.attribute, form, edited.target, edited.old)
        phrasing = rng.choice(phrasings(question.attribute, form, split))
        yield put(question.entity, question.attribute, form, question.naming, question.name, phrasing, values)


def worded_out(rng: random.Random, edited: Edited, question: Question, split: str) -> list[Question] | None:
    """Three questions, in any form, that the edit leaves alone: another attribute of the same entity, the same
    attribute of another one by the same sort of name (of its twin, where that fits), and another attribute of another
    one. None where the scene has no such three."""
    scene, attribute = edited.scene, edited.attribute
    twins = [index for index, one in enumerate(scene.entities) if one in scene.alike(edited.entity)]
    others = [index for index in range(len(scene.entities)) if index != edited.index]
    rest = [a for a in ATTRIBUTES if a != attribute]
    own_name = [a for a in rest if question.naming in NAMES[a]]

    def draw(indices: Sequence[int], attributes: Sequence[str], namings: tuple[str, ...] | None) -> Question | None:
        for _ in range(_TRIES if indices and attributes else 0):
            about = rng.choice(attributes)
            form = rng.choice((*FORMS, "open"))
            found = ask(rng, scene, rng.choice(indices), about, form, namings or NAMES[about], split)
            if found and edited.means_the_same(found) and true_answer(scene, found) != edited.target:
                return found
        return None

    # "the card above the boat card" may well be "the card left of the dog card": names by neighbours tell nothing
    alike = () if question.naming in ("beside", "neighbour") else (question.naming,)
    same_attribute = alike and (draw(twins, [attribute], alike) or draw(others, [attribute], alike))
    chosen = [
        draw([edited.index], own_name, (question.naming,)) or draw([edited.index], rest, None),
        same_attribute or draw(others, rest, None),
        draw(others, rest, None),
    ]
    found = [probe for probe in chosen if probe]
    return found if len(found) == 3 and len({probe.text for probe in found}) == 3 else None
