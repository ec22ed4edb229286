"""What the tiny language model is taught: questions about scenes, facts, and to follow a fact in its prompt."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from builders.scenes.facts import facts
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
from builders.scenes.records import GROUPS, draw
from builders.scenes.records import SEED as TEST_SEED
from builders.scenes.scene import ATTRIBUTES, Scene, scene_stream
from fgvedit.backbones.answering import new_fact, question_prompt

WORDS = 350  # of a prompt, punctuation and line ends included; with the image and the answer it then fits the context
HELD_OUT_SCENES = 4000  # of the test stream, from which the test split takes its scenes


@dataclass(frozen=True)
class Example:
    """A prompt, the scene it is about (or none), and the answer.

    `shown`: where in the prompt (from, to; characters) answers stand that what comes before them settles.
    """

    prompt: str
    scene: Scene | None
    answer: str
    shown: tuple[tuple[int, int], ...] = ()


def training_scenes(seed: int) -> Iterator[Scene]:
    """Scenes of the train stream's kind, none of which is a scene of the test split."""
    held_out = _test_scenes()
    return (scene for scene in scene_stream("tiny", seed) if scene not in held_out)


@cache
def _test_scenes() -> frozenset[Scene]:
    """The beginning of the stream that images A of the test split are from, and all of its images, A and B."""
    groups = itertools.islice(draw("test", TEST_SEED), GROUPS["test"])
    shown = (scene for group in groups for scene in group.quad.plan.scenes)
    return frozenset(itertools.chain(itertools.islice(scene_stream("test", TEST_SEED), HELD_OUT_SCENES), shown))


def random_question(rng: random.Random, scene: Scene, entity: int | None = None) -> Question:
    """A question about a scene: half open, half closed; a third name the entity by its surroundings alone."""
    while True:
        attribute = rng.choice(tuple(ATTRIBUTES))
        form = rng.choice((*FORMS, "open"))
        namings = REFERENCES[attribute] if rng.random() < 0.35 else NAMINGS[attribute]
        index = rng.randrange(len(scene.entities)) if entity is None else entity
        question = ask(rng, scene, index, attribute, form, namings, "test")
        if question:
            return question


def survey(rng: random.Random, scene: Scene) -> Example:
    """Everything in the scene, in words: the quickest way to learn what the image tokens mean."""
    parts = [f"{e.value('place')} {e.color} {e.kind} {e.count}" for e in scene.entities]
    return Example("Cards:", scene, ", ".join(parts))


def plain(rng: random.Random, scene: Scene) -> Example:
    """A question with no edit: one in ten about a fact."""
    if rng.random() < 0.1:
        question, answer = rng.choice(FACTS)
        return Example(question_prompt(question), None, answer)
    return _unedited(scene, random_question(rng, scene))


def hard(rng: random.Random, scene: Scene) -> Example:
    """A question that has to look around: an entity named by its neighbour, or told from its twin."""
    for _ in range(20):
        attribute = rng.choice(tuple(ATTRIBUTES))
        index = rng.randrange(len(scene.entities))
        naming = rng.choice([n for n in (*NAMINGS[attribute], "beside") if n in _TELLING_APART])
        asked = ask(rng, scene, index, attribute, rng.choice((*FORMS, "open")), (naming,), "test")
        if asked:
            return _unedited(scene, asked)
    return plain(rng, scene)


def twins(rng: random.Random, scene: Scene) -> Example:
    """A question about one of two entities of the same kind, where the scene has such; otherwise a `hard` one."""
    alike = [index for index, entity in enumerate(scene.entities) if scene.alike(entity)]
    for _ in range(20 if alike else 0):
        attribute = rng.choice(("color", "count", "place"))
        namings = tuple(n for n in NAMINGS[attribute] if n in _TELLING_APART)
        index = rng.choice(alike)
        asked = ask(rng, scene, index, attribute, rng.choice((*FORMS, "open")), (rng.choice(namings),), "test")
        if asked:
            return _unedited(scene, asked)
    return hard(rng, scene)


def in_context(rng: random.Random, scene: Scene) -> Example:
    """A new fact, then a question that it settles (two in three) or leaves alone."""
    fact, question, answer, shown = _fact_and_question(rng, scene)
    return Example(_with_fact(rng, fact, question), shown, answer)


def with_demonstrations(rng: random.Random, scene: Scene) -> Example:
    """As `in_context`, after one to five demonstrations about other scenes, in the form that IKE gives them."""
    demonstrations = []
    others = scene_stream("demonstrations", rng.randrange(1 << 30))
    for _ in range(rng.randint(1, 5)):
        fact, question, answer, _ = _fact_and_question(rng, next(others))
        demonstrations.append(_demonstration(fact, question, answer))
    fact, question, answer, shown = _fact_and_question(rng, scene)
    return Example("".join(demonstrations) + _with_fact(rng, fact, question), shown, answer)


def with_retrieved(rng: random.Random, scene: Scene) -> Example:
    """As `in_context`, after as many demonstrations as up to the whole context holds, of the sort that IKE retrieves:
    new facts about the same attribute, often in the very words of the last one, with other answers."""
    edited = _open_question(rng, scene)
    fact, question, answer, shown = _about(rng, scene, edited)
    last = _with_fact(rng, fact, question)
    room = rng.randint(40, WORDS) - _words(last)
    others = scene_stream("demonstrations", rng.randrange(1 << 30))
    demonstrations = ""
    answers: list[tuple[int, int]] = []
    while True:
        more, given = _retrieved(rng, others, edited)
        if _words(demonstrations) + _words(more) > room:
            return Example(demonstrations + last, shown, answer, tuple(answers))
        demonstrations += more
        end = len(demonstrations.rstrip())
        answers.append((end - len(given), end))


FACTS = facts()
_TELLING_APART = ("tint", "side", "neighbour", "beside")


def _unedited(scene: Scene, asked: Question) -> Example:
    return Example(question_prompt(asked.text), scene, true_answer(scene, asked))


def _with_fact(rng: random.Random, fact: str, question: str) -> str:
    asked = question_prompt(question) if rng.random() < 0.7 else f"Prompt: {question}"
    return new_fact(fact) + asked


def _demonstration(fact: str, question: str, answer: str) -> str:
    return f"{new_fact(fact)}Prompt: {question} {answer}\n\n"


def _retrieved(rng: random.Random, scenes: Iterator[Scene], edited: Question) -> tuple[str, str]:
    """A new fact near to `edited`, then a prompt that repeats it, rephrases it, or asks for a fact of another sort;
    and the prompt's answer."""
    attribute = edited.attribute
    asked = edited
    if rng.random() < 0.6:
        namings = NAMINGS[attribute] + REFERENCES[attribute]
        found = (ask(rng, scene, 0, attribute, "open", namings, "test") for scene in scenes)
        asked = next(question for question in found if question)
    value = rng.choice(ATTRIBUTES[attribute])
    fact = f"{asked.text} {value}"
    sort = rng.random()
    if sort < 0.4:
        return _demonstration(fact, asked.text, value), value
    if sort < 0.7:
        phrasing = rng.choice(phrasings(attribute, "open", "test"))
        return _demonstration(fact, put(0, attribute, "open", asked.naming, asked.name, phrasing).text, value), value
    question, answer = rng.choice(FACTS)
    return _demonstration(fact, question, answer), answer


def _words(text: str) -> int:
    return len(re.findall(r"\w+|[^\w\s]|\n", text))


def _open_question(rng: random.Random, scene: Scene) -> Question:
    edited = random_question(rng, scene)
    while edited.form != "open":
        edited = random_question(rng, scene)
    return edited


def _fact_and_question(rng: random.Random, scene: Scene) -> tuple[str, str, str, Scene | None]:
    """("question answer" of a new fact, a question, its answer, the scene it is about or none)."""
    if rng.random() < 0.1:  # the new fact replaces a known one
        (question, _), (_, target), (other, answer) = rng.choice(FACTS), rng.choice(FACTS), rng.choice(FACTS)
        return (
            (f"{question} {target}", question, target, None)
            if rng.random() < 0.67
            else (f"{question} {target}", other, target if other == question else answer, None)
        )
    return _about(rng, scene, _open_question(rng, scene))


def _about(rng: random.Random, scene: Scene, edited: Question) -> tuple[str, str, str, Scene | None]:
    """As `_fact_and_question`, with a new answer to `edited` as the fact."""
    entity = scene.entities[edited.entity]
    true_value = entity.value(edited.attribute)
    target = rng.choice([value for value in ATTRIBUTES[edited.attribute] if value != true_value])
    fact = f"{edited.text} {target}"
    if rng.random() < 0.1:
        question, answer = rng.choice(FACTS)
        return fact, question, answer, None
    if rng.random() < 0.67:
        form = rng.choice(FORMS)
        possible = names(scene, entity)
        allowed = NAMINGS[edited.attribute] + REFERENCES[edited.attribute]
        # mostly the same name; otherwise another name of the same entity, which only the image settles
        naming = rng.choice([n for n in allowed if n in possible]) if rng.random() < 0.25 else edited.naming
        values = offer(rng, edited.attribute, form, target, true_value if rng.random() < 0.5 else None)
        phrasing = rng.choice(phrasings(edited.attribute, form, "test"))
        asked = put(edited.entity, edited.attribute, form, naming, possible[naming], phrasing, values)
        return fact, asked.text, asked.answer(target), scene
    asked = random_question(rng, scene, edited.entity if rng.random() < 0.4 else None)
    same = (asked.entity, asked.attribute) == (edited.entity, edited.attribute)
    return fact, asked.text, asked.answer(target) if same else true_answer(scene, asked), scene
