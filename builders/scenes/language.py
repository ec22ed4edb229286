"""The English of the scenes: how an entity is named, how a question about it is put, and what the answer is."""

from __future__ import annotations

import random
from dataclasses import dataclass

from builders.scenes.scene import ATTRIBUTES, RELATIONS, Entity, Scene

# Phrasings of a question, by what it asks about and its form. {x} is the entity, {X} the same with a capital,
# {v} and {w} are values. The last ones of each list, as many as TEST_ONLY says, are found in the test split alone.
TEST_ONLY = {"open": 2, "verify": 1, "choice": 1}
PHRASINGS = {
    ("color", "open"): [
        "What color is {x}?",
        "Which color does {x} have?",
        "What is the color of {x}?",
        "Tell me the color of {x}.",
        "{X} has which color?",
        "What color does {x} have?",
        "Name the color of {x}.",
    ],
    ("count", "open"): [
        "How many pictures are on {x}?",
        "How many pictures does {x} have?",
        "What is the number of pictures on {x}?",
        "Tell me how many pictures {x} has.",
        "{X} has how many pictures?",
        "What number of pictures is on {x}?",
        "Name the number of pictures on {x}.",
    ],
    ("kind", "open"): [
        "What picture is on {x}?",
        "What is shown on {x}?",
        "Which picture does {x} show?",
        "Tell me what is on {x}.",
        "{X} shows which picture?",
        "What does {x} show?",
        "Name the picture on {x}.",
    ],
    ("place", "open"): [
        "Where is {x}?",
        "What is the place of {x}?",
        "In which place is {x}?",
        "Tell me where {x} is.",
        "{X} is in which place?",
        "Which place does {x} have?",
        "Name the place of {x}.",
    ],
    ("color", "verify"): [
        "Is {x} {v}?",
        "Does {x} have the color {v}?",
        "Is the color of {x} {v}?",
        "Is {v} the color of {x}?",
    ],
    ("count", "verify"): [
        "Does {x} have {v}?",
        "Does {x} show {v}?",
        "Is it true that {x} has {v}?",
        "Can {v} be seen on {x}?",
    ],
    ("kind", "verify"): [
        "Is there {v} on {x}?",
        "Does {x} show {v}?",
        "Is the picture on {x} {v}?",
        "Is {v} shown on {x}?",
    ],
    ("place", "verify"): [
        "Is {x} at the {v}?",
        "Is the place of {x} the {v}?",
        "Is the {v} the place of {x}?",
        "Does {x} have the place {v}?",
    ],
    ("color", "choice"): [
        "Is {x} {v} or {w}?",
        "Which color is {x}, {v} or {w}?",
        "Does {x} have the color {v} or {w}?",
        "Is the color of {x} {v} or {w}?",
    ],
    ("count", "choice"): [
        "Does {x} have {v} or {w}?",
        "How many pictures are on {x}, {v} or {w}?",
        "Does {x} show {v} or {w}?",
        "Can {v} or {w} be seen on {x}?",
    ],
    ("kind", "choice"): [
        "Is there {v} or {w} on {x}?",
        "Which picture is on {x}, {v} or {w}?",
        "Does {x} show {v} or {w}?",
        "Is the picture on {x} {v} or {w}?",
    ],
    ("place", "choice"): [
        "Is {x} at the {v} or the {w}?",
        "Where is {x}, the {v} or the {w}?",
        "Is the place of {x} the {v} or the {w}?",
        "Does {x} have the place {v} or {w}?",
    ],
}
FORMS = ("open", "verify", "choice")
# The sorts of names by which a question about an attribute may name an entity: they do not give it away, and stay true
# where it is edited.
NAMES = {
    "kind": ("color", "count", "place", "beside"),
    "color": ("kind", "side", "neighbour", "count", "place", "beside"),
    "count": ("kind", "tint", "side", "neighbour", "color", "place", "beside"),
    "place": ("kind", "tint", "color", "count"),
}


@dataclass(frozen=True)
class Question:
    """A question about one attribute of one entity (its index in the scene).

    `phrasing` is the template, `naming` how the entity is named, `values` what a verify or choice question offers.
    """

    text: str
    entity: int
    attribute: str
    form: str
    naming: str
    phrasing: str
    name: str
    values: tuple[str, ...] = ()

    def answer(self, value: str) -> str:
        """The right answer where the entity's attribute has this value."""
        if self.form == "verify":
            return "yes" if self.values == (value,) else "no"
        return value


def true_answer(scene: Scene, question: Question) -> str:
    """The right answer where nothing is edited."""
    return question.answer(scene.entities[question.entity].value(question.attribute))


def names(scene: Scene, entity: Entity) -> dict[str, str]:
    """A way to name the entity that fits no other entity of the scene, by the sort of name."""
    return {naming: texts[0] for naming, texts in all_names(scene, entity).items()}


def all_names(scene: Scene, entity: Entity) -> dict[str, tuple[str, ...]]:
    """Every way to name the entity that fits no other entity of the scene, by the sort of name."""
    found: dict[str, tuple[str, ...]] = {}
    twins = scene.alike(entity)
    if not twins:
        found["kind"] = (f"the {entity.kind} card",)
    elif all(twin.color != entity.color for twin in twins):
        found["tint"] = (f"the {entity.color} {entity.kind} card",)
    if len(twins) == 1:
        found["side"] = (f"the {_side(entity, twins[0])} {entity.kind} card",)
    if sum(other.color == entity.color for other in scene.entities) == 1:
        found["color"] = (f"the {entity.color} card",)
    if sum(other.count == entity.count for other in scene.entities) == 1:
        found["count"] = (f"the card with {spoken('count', str(entity.count), 'verify')}",)
    found["place"] = (f"the {entity.value('place')} card",)
    beside = _beside(scene, entity)
    if beside:
        found["beside"] = tuple(f"the card {where}" for where in beside)
    if beside and twins:
        found["neighbour"] = tuple(f"the {entity.kind} card {where}" for where in beside)
    return found


def _side(entity: Entity, twin: Entity) -> str:
    if twin.column != entity.column:
        return "left" if entity.column < twin.column else "right"
    return "upper" if entity.row < twin.row else "lower"


def _beside(scene: Scene, entity: Entity) -> list[str]:
    """Where the entity is, seen from its neighbours: "above the dog card"."""
    return [
        f"{relation} the {anchor.kind} card"
        for relation in RELATIONS
        for anchor in scene.entities
        if scene.neighbour(anchor, relation) is entity and not scene.alike(anchor) and anchor.kind != entity.kind
    ]


def spoken(attribute: str, value: str, form: str) -> str:
    """A value as a verify or choice question offers it."""
    if form == "open":
        return value
    if attribute == "count":
        return "1 picture" if value == "1" else f"{value} pictures"
    if attribute == "kind":
        return f"an {value}" if value[0] in "aeiou" else f"a {value}"
    return value


def phrasings(attribute: str, form: str, split: str) -> list[str]:
    """The templates that a split may use: "train" and "test" as in the data, "new" for those found in test alone."""
    known = PHRASINGS[attribute, form]
    seen = known[: len(known) - TEST_ONLY[form]]
    return {"train": seen, "test": known, "new": known[len(seen) :]}[split]


def put(
    entity: int, attribute: str, form: str, naming: str, name: str, phrasing: str, values: tuple[str, ...] = ()
) -> Question:
    """The question in words."""
    offered = dict(zip("vw", (spoken(attribute, value, form) for value in values), strict=False))
    text = phrasing.format(x=name, X=name[0].upper() + name[1:], **offered)
    return Question(text, entity, attribute, form, naming, phrasing, name, values)


def offer(rng: random.Random, attribute: str, form: str, value: str, other: str | None = None) -> tuple[str, ...]:
    """The values that a question offers: right and wrong equally often, and the right one in either place.

    `other` is the wrong value to offer; without it, any.
    """
    if form == "open":
        return ()
    other = other or rng.choice([candidate for candidate in ATTRIBUTES[attribute] if candidate != value])
    if form == "verify":
        return (value,) if rng.random() < 0.5 else (other,)
    return (value, other) if rng.random() < 0.5 else (other, value)


def ask(
    rng: random.Random,
    scene: Scene,
    entity: int,
    attribute: str,
    form: str,
    namings: tuple[str, ...],
    split: str,
) -> Question | None:
    """A random question about an attribute of an entity, named in one of these ways; None where none of them fits."""
    possible = names(scene, scene.entities[entity])
    fitting = [naming for naming in namings if naming in possible]
    if not fitting:
        return None
    naming = rng.choice(fitting)
    return question_of(rng, scene, entity, attribute, form, naming, possible[naming], split)


def question_of(
    rng: random.Random, scene: Scene, entity: int, attribute: str, form: str, naming: str, name: str, split: str
) -> Question:
    """A question about an attribute of an entity by this name, in a random phrasing of the split."""
    values = offer(rng, attribute, form, scene.entities[entity].value(attribute))
    phrasing = rng.choice(phrasings(attribute, form, split))
    return put(entity, attribute, form, naming, name, phrasing, values)


def caption(rng: random.Random, scene: Scene, most: int) -> str:
    """What a person would write under the image: some of its entities, at `most`, each with what sets it apart."""
    parts = []
    for entity in rng.sample(scene.entities, rng.randint(1, most)):
        said = f"a {entity.color} card with {spoken('count', str(entity.count), 'verify')} of a {entity.kind}"
        place = f"at the {entity.value('place')}"
        above = scene.neighbour(entity, "above")
        beside = f"below the {above.kind} card" if above and rng.random() < 0.5 else place
        parts.append(f"{said} {beside}" if rng.random() < 0.7 else f"a {entity.color} {entity.kind} card {place}")
    return ", ".join(parts)
