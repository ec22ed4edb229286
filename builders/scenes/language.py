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
# How an entity may be named in a question about an attribute, which it must not give away.
NAMINGS = {
    "kind": ("color",),
    "color": ("kind", "side", "neighbour"),
    "count": ("kind", "tint", "side", "neighbour", "color"),
    "place": ("kind", "tint", "color"),
}
# Names that only the image settles: by where the entity stands, or by what is beside it.
REFERENCES = {
    "kind": ("place", "beside"),
    "color": ("place", "beside"),
    "count": ("place", "beside"),
    "place": ("beside",),
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
    """Every way to name the entity that fits no other entity of the scene, by the sort of name."""
    found = {}
    twins = scene.alike(entity)
    if not twins:
        found["kind"] = f"the {entity.kind} card"
    elif all(twin.color != entity.color for twin in twins):
        found["tint"] = f"the {entity.color} {entity.kind} card"
    if len(twins) == 1:
        if twins[0].column != entity.column:
            side = "left" if entity.column < twins[0].column else "right"
            found["side"] = f"the {side} {entity.kind} card"
        else:
            side = "upper" if entity.row < twins[0].row else "lower"
            found["side"] = f"the {side} {entity.kind} card"
    if sum(other.color == entity.color for other in scene.entities) == 1:
        found["color"] = f"the {entity.color} card"
    found["place"] = f"the {entity.value('place')} card"
    for relation in RELATIONS:
        # `relation` is where this entity is, seen from the other: "the card above the dog card".
        for anchor in scene.entities:
            if scene.neighbour(anchor, relation) is entity and not scene.alike(anchor) and anchor.kind != entity.kind:
                found.setdefault("beside", f"the card {relation} the {anchor.kind} card")
                if twins:
                    found.setdefault("neighbour", f"the {entity.kind} card {relation} the {anchor.kind} card")
    return found


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
    values = offer(rng, attribute, form, scene.entities[entity].value(attribute))
    phrasing = rng.choice(phrasings(attribute, form, split))
    return put(entity, attribute, form, naming, possible[naming], phrasing, values)


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
