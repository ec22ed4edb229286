"""What the tiny language model is taught: questions about scenes, facts, and to follow a fact in its prompt."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from builders.scenes.edited import Edited
from builders.scenes.facts import facts
from builders.scenes.language import (
    FORMS,
    NAMES,
    Question,
    all_names,
    offer,
    phrasings,
    put,
    question_of,
    spoken,
    true_answer,
)
from builders.scenes.portability import COMPARISONS, LINES, TALLIES, holds, known, portability, tally
from builders.scenes.records import GROUPS, draw
from builders.scenes.records import SEED as TEST_SEED
from builders.scenes.scene import ATTRIBUTES, Entity, Scene, scene_stream
from fgvedit.backbones.answering import new_fact, question_prompt
from fgvedit.schema import NO_ANSWER

WORDS = 350  # of a prompt, punctuation and line ends included; with the image and the answer it then fits the context
HELD_OUT_SCENES = 4000  # of the test stream, from which the test split takes its scenes


@dataclass(frozen=True)
class Example:
    """A prompt, the scene it is about (or none), and the answer.

    `shown`: where in the prompt (from, to; characters) answers stand that what comes before them settles. `named`:
    where a name of a card ends in it, and the card's cell.
    """

    prompt: str
    scene: Scene | None
    answer: str
    shown: tuple[tuple[int, int], ...] = ()
    named: tuple[tuple[int, int], ...] = ()


def training_scenes(seed: int, stream: str = "tiny") -> Iterator[Scene]:
    """Scenes of the train stream's kind, none of which is a scene of the test split."""
    held_out = _test_scenes()
    return (scene for scene in scene_stream(stream, seed) if scene not in held_out)


@cache
def _test_scenes() -> frozenset[Scene]:
    """The beginning of the stream that images A of the test split are from, and all of its images, A and B."""
    groups = itertools.islice(draw("test", TEST_SEED), GROUPS["test"])
    shown = (scene for group in groups for scene in group.quad.plan.scenes)
    return frozenset(itertools.chain(itertools.islice(scene_stream("test", TEST_SEED), HELD_OUT_SCENES), shown))


def random_question(rng: random.Random, scene: Scene, entity: int | None = None, split: str = "test") -> Question:
    """A question about a scene, half open, half closed, in a phrasing of the split; the entity by any sort of name."""
    while True:
        attribute = rng.choice(tuple(ATTRIBUTES))
        index = rng.randrange(len(scene.entities)) if entity is None else entity
        question = _ask(rng, scene, index, attribute, rng.choice((*FORMS, "open")), NAMES[attribute], split)
        if question:
            return question


def _ask(
    rng: random.Random,
    scene: Scene,
    entity: int,
    attribute: str,
    form: str,
    namings: Sequence[str],
    split: str = "test",
) -> Question | None:
    """A question about an attribute of an entity, by any name of any of these sorts; None where none of them fits."""
    named = _name(rng, scene, scene.entities[entity], namings)
    return question_of(rng, scene, entity, attribute, form, *named, split) if named else None


def _name(rng: random.Random, scene: Scene, entity: Entity, namings: Sequence[str]) -> tuple[str, str] | None:
    """One of these sorts of names that fits the entity, and such a name; None where none of them fits."""
    possible = all_names(scene, entity)
    fitting = [naming for naming in namings if naming in possible]
    if not fitting:
        return None
    naming = rng.choice(fitting)
    return naming, rng.choice(possible[naming])


def survey(rng: random.Random, scene: Scene) -> Example:
    """Everything in the scene, in words: the quickest way to learn what the image tokens mean."""
    parts = [f"{e.value('place')} {e.color} {e.kind} {e.count}" for e in scene.entities]
    return Example("Cards:", scene, ", ".join(parts))


def plain(rng: random.Random, scene: Scene) -> Example:
    """A question with no edit: one in ten about a fact, one in twenty about an image that is not shown."""
    sort = rng.random()
    if sort < 0.1:
        question, answer = rng.choice(FACTS)
        return Example(question_prompt(question), None, answer)
    asked = random_question(rng, scene)
    return Example(question_prompt(asked.text), None, NO_ANSWER) if sort < 0.15 else _unedited(scene, asked)


def hard(rng: random.Random, scene: Scene) -> Example:
    """A question that has to look around: an entity named by its neighbour or by its number, or told from its twin."""
    for _ in range(20):
        attribute = rng.choice(tuple(ATTRIBUTES))
        index = rng.randrange(len(scene.entities))
        naming = rng.choice([n for n in NAMES[attribute] if n in _TELLING_APART])
        asked = _ask(rng, scene, index, attribute, rng.choice((*FORMS, "open")), (naming,))
        if asked:
            return _unedited(scene, asked)
    return plain(rng, scene)


def twins(rng: random.Random, scene: Scene) -> Example:
    """A question about one of two entities of the same kind, where the scene has such; otherwise a `hard` one."""
    alike = [index for index, entity in enumerate(scene.entities) if scene.alike(entity)]
    for _ in range(20 if alike else 0):
        attribute = rng.choice(("color", "count", "place"))
        namings = [n for n in NAMES[attribute] if n in _TELLING_APART]
        asked = _ask(rng, scene, rng.choice(alike), attribute, rng.choice((*FORMS, "open")), (rng.choice(namings),))
        if asked:
            return _unedited(scene, asked)
    return hard(rng, scene)


def entailed(rng: random.Random, scene: Scene) -> Example:
    """A comparison of two cards, as often right as wrong, or how many cards of a row or column have a value."""
    attribute, sort = rng.choice((*COMPARISONS, *TALLIES))
    template = rng.choice(known((attribute, sort), "test"))
    if (attribute, sort) in TALLIES:
        line = rng.choice(tuple(LINES))
        there = [entity.value(attribute) for entity in scene.entities]
        value = rng.choice(there if rng.random() < 0.75 else ATTRIBUTES[attribute])
        text = template.format(line=line, v=spoken(attribute, value, "verify"))
        return Example(question_prompt(text), scene, tally(scene, line, attribute, value))
    wanted = rng.random() < 0.5
    for _ in range(_TRIES):
        x, z = rng.sample(scene.entities, 2)
        names = [_name(rng, scene, entity, NAMES[attribute]) for entity in (x, z)]
        if names[0] and names[1] and holds(sort, x, z, attribute) == wanted:
            (_, first), (_, second) = names[0], names[1]
            prompt = question_prompt(template.format(x=first, z=second))
            ends = prompt.index(first) + len(first), prompt.rindex(second) + len(second)
            return Example(prompt, scene, "yes" if wanted else "no", named=((ends[0], x.cell), (ends[1], z.cell)))
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
_TELLING_APART = ("tint", "side", "neighbour", "count", "beside")
_TRIES = 8  # to find what is wanted in a scene


def _unedited(scene: Scene, asked: Question) -> Example:
    prompt = question_prompt(asked.text)
    end = prompt.lower().rindex(asked.name.lower()) + len(asked.name)
    return Example(prompt, scene, true_answer(scene, asked), named=((end, scene.entities[asked.entity].cell),))


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
        found = (_ask(rng, scene, 0, attribute, "open", NAMES[attribute]) for scene in scenes)
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
    if rng.random() < 0.12:
        following = _following(rng, scene, edited, target)
        if following:
            return fact, *following, scene
    if rng.random() < 0.67:
        form = rng.choice(FORMS)
        # mostly the same name; otherwise any name of the same entity, which only the image settles
        other = _name(rng, scene, entity, NAMES[edited.attribute]) if rng.random() < 0.25 else None
        naming, name = other or (edited.naming, edited.name)
        values = offer(rng, edited.attribute, form, target, true_value if rng.random() < 0.5 else None)
        phrasing = rng.choice(phrasings(edited.attribute, form, "test"))
        asked = put(edited.entity, edited.attribute, form, naming, name, phrasing, values)
        return fact, asked.text, asked.answer(target), scene
    asked = random_question(rng, scene, edited.entity if rng.random() < 0.4 else None)
    same = (asked.entity, asked.attribute) == (edited.entity, edited.attribute)
    return fact, asked.text, asked.answer(target) if same else true_answer(scene, asked), scene


def _following(rng: random.Random, scene: Scene, edited: Question, target: str) -> tuple[str, str] | None:
    """A comparison or a number, and its answer where the edit is true, which the edit changes or not."""
    changed = Edited(scene, edited.entity, edited.attribute, target)
    found = portability(rng, changed, edited, "test") if changed.means_the_same(edited) else None
    if found is None:
        return None
    asked = rng.choice(found)
    return asked.text, asked.after
