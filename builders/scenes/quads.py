"""Quads: two images, two edits and two questions whose every pair is in scope in one image and out of scope in the
other, so that neither words, nor one image with the edit or the question alone, tell which.

Image B is image A with two cards' places, colours or counts exchanged. The edits are of one attribute, to one target,
in one phrasing, and so are the questions. In A the first names of both mean one card and the second names another; in B
the first edit's name means what the second question's name does: one sort of name goes with what is exchanged, the
other does not.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

from builders.scenes.edited import Edited, Named, named
from builders.scenes.language import NAMES, Question, phrasings, put
from builders.scenes.scene import ATTRIBUTES, KINDS, Entity, Scene, exchanged

EXCHANGES = ("place", "color", "count")
# What the questions offer: nothing; yes or no about the target, or about the old value; the choice between them.
FORM_OF = {
    "open": "open",
    "target": "verify",
    "old": "verify",
    "target or old": "choice",
    "old or target": "choice",
}
# Features that are wanted more or less often than others of their sort, and so many times as often.
_WANTED = {
    ("attribute", "color"): 1.3,
    ("attribute", "count"): 1.3,
    ("attribute", "kind"): 0.7,
    ("attribute", "place"): 0.6,
    ("offer", "open"): 1.3,
    ("offer", "old"): 1.2,
    ("offer", "target or old"): 0.4,
    ("offer", "old or target"): 0.4,
}
_ANOTHERS = 0.6  # how often a new colour or number is another card's
# (kind, attribute) pairs that are edited in the test split alone: one of every other kind, each attribute in turn.
_HELD_OUT = {(kind, tuple(ATTRIBUTES)[number % len(ATTRIBUTES)]) for number, kind in enumerate(KINDS[::2])}

Pair: TypeAlias = tuple[str, str]
_Names: TypeAlias = list[tuple[str, Pair]]  # sorts of names, each with a name for either entity


def held_out(kind: str, attribute: str) -> bool:
    """Whether an edit of this attribute of this kind of entity is found in the test split alone."""
    return (kind, attribute) in _HELD_OUT


@dataclass(frozen=True)
class Plan:
    """What a quad is to be, short of its target and its phrasings.

    `scenes`: A and B. `edits`, `probes`: two names each, of the sorts `edit_naming` and `probe_naming`. `offer`: what
    the questions offer, of `FORM_OF`.
    """

    scenes: tuple[Scene, Scene]
    exchange: str
    attribute: str
    offer: str
    edit_naming: str
    edits: Pair
    probe_naming: str
    probes: Pair

    @cached_property
    def entities(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The indices of the entities that the edits' names mean, in A and in B."""
        here, there = (tuple(named(scene)[self.edit_naming, name] for name in self.edits) for scene in self.scenes)
        return (here[0], here[1]), (there[0], there[1])

    @property
    def edited(self) -> list[Entity]:
        """What is edited: two entities in A, two in B."""
        return [
            scene.entities[index]
            for scene, indices in zip(self.scenes, self.entities, strict=True)
            for index in indices
        ]

    @property
    def features(self) -> tuple[tuple[str, str], ...]:
        """What is to be found among quads as often as it is wanted, by sort."""
        return (
            ("attribute", self.attribute),
            ("offer", self.offer),
            ("exchange", self.exchange),
            ("edits named", self.edit_naming),
            ("questions named", self.probe_naming),
            ("twins", str(bool(self.scenes[0].alike(self.edited[0])))),
            *(("edited", f"{kind}'s {self.attribute}") for kind in sorted({entity.kind for entity in self.edited})),
        )


@dataclass(frozen=True)
class Quad:
    """A plan with a target, and the phrasings and the offered values that both edits, and both questions, have."""

    plan: Plan
    target: str
    edit_phrasing: str
    probe_phrasing: str
    values: tuple[str, ...]

    def edit(self, image: int, number: int) -> Edited:
        """The first or the second edit, in A (0) or B (1)."""
        plan = self.plan
        return Edited(plan.scenes[image], plan.entities[image][number], plan.attribute, self.target)

    def edit_question(self, image: int, number: int) -> Question:
        """What the first or the second edit asks."""
        plan, index = self.plan, self.plan.entities[image][number]
        return put(index, plan.attribute, "open", plan.edit_naming, plan.edits[number], self.edit_phrasing)

    def probe_question(self, image: int, number: int) -> Question:
        """The first or the second question."""
        plan, form = self.plan, FORM_OF[self.plan.offer]
        index = plan.entities[image][number if image == 0 else 1 - number]
        name = plan.probes[number]
        return put(index, plan.attribute, form, plan.probe_naming, name, self.probe_phrasing, self.values)

    @property
    def names_stay(self) -> bool:
        """Whether each name means the same card with any of the edits as without."""
        return all(
            self.edit(image, number).means_the_same(question(image, one))
            for image, number, one in itertools.product((0, 1), repeat=3)
            for question in (self.edit_question, self.probe_question)
        )


def plans(scene: Scene, split: str) -> Iterator[Plan]:
    """Every plan whose image A is this scene."""
    of: dict[int, list[tuple[str, str]]] = defaultdict(list)  # sorts of names and names, by entity
    for sort_and_name, index in named(scene).items():
        of[index].append(sort_and_name)
    for one, other in itertools.combinations(range(len(scene.entities)), 2):
        for exchange in EXCHANGES:
            if scene.entities[one].value(exchange) != scene.entities[other].value(exchange):
                scenes = (scene, exchanged(scene, one, other, exchange))
                for edits, probes in _exchanged_names(of[one], of[other], named(scenes[1])):
                    yield from _asking(scenes, exchange, edits, probes, split)


def _exchanged_names(
    one: Iterable[tuple[str, str]], other: Iterable[tuple[str, str]], there: Named
) -> Iterator[tuple[_Names, _Names]]:
    """Names of two entities, sort by sort, and other names of them that mean in B what the former do, exchanged."""
    meant: dict[tuple[int, int], list[tuple[str, Pair]]] = defaultdict(list)  # by what they mean in B
    for (naming, first), (same, second) in itertools.product(one, other):
        if naming == same and (naming, first) in there and (naming, second) in there:
            meant[there[naming, first], there[naming, second]].append((naming, (first, second)))
    for (first_there, second_there), edits in meant.items():
        yield edits, meant.get((second_there, first_there), [])


def _asking(scenes: tuple[Scene, Scene], exchange: str, edits: _Names, probes: _Names, split: str) -> Iterator[Plan]:
    """The plans with these names."""
    for (edit_naming, edit_names), (probe_naming, probe_names) in itertools.product(edits, probes):
        for attribute in ATTRIBUTES:
            if attribute != exchange and {edit_naming, probe_naming} <= set(NAMES[attribute]):
                plan = Plan(scenes, exchange, attribute, "open", edit_naming, edit_names, probe_naming, probe_names)
                if split == "test" or not any(held_out(entity.kind, attribute) for entity in plan.edited):
                    yield from (replace(plan, offer=offered) for offered in _offers(plan))


def _offers(plan: Plan) -> Iterable[str]:
    """What the questions may offer. Where old values differ, the base model's answers to them would tell the entities
    apart; but to whether it is the target it says no for all."""
    if len({entity.value(plan.attribute) for entity in plan.edited}) == 1:
        return FORM_OF
    return ("target",) if plan.attribute in ("kind", "place") else ()


class Balance:
    """How often each feature has been used, so that what is rare so far can be chosen next."""

    def __init__(self) -> None:
        self._used: Counter[tuple[str, str]] = Counter()

    def cost(self, plan: Plan) -> float:
        """How common the plan's features are so far; less is rarer."""
        return sum(self._used[feature] / _WANTED.get(feature, 1) for feature in plan.features)

    def use(self, plan: Plan) -> None:
        """Count the plan's features."""
        self._used.update(plan.features)


def filled(rng: random.Random, plan: Plan, split: str) -> Quad | None:
    """The plan as a quad with a target and phrasings drawn at random; None where an edit would give one of the names
    another meaning."""
    target = _target(rng, plan)
    if target is None:
        return None
    values = {"target": target, "old": plan.edited[0].value(plan.attribute)}
    offered = tuple(values[one] for one in plan.offer.split(" or ") if one in values)
    edit, probe = (rng.choice(phrasings(plan.attribute, form, split)) for form in ("open", FORM_OF[plan.offer]))
    quad = Quad(plan, target, edit, probe, offered)
    return quad if quad.names_stay else None


def _target(rng: random.Random, plan: Plan) -> str | None:
    """A new kind or place is one that no card of the scene has; a new colour or number may well be another card's."""
    attribute = plan.attribute
    old = {entity.value(attribute) for entity in plan.edited}
    there = {entity.value(attribute) for scene in plan.scenes for entity in scene.entities}
    free = [value for value in ATTRIBUTES[attribute] if value not in old]
    if attribute in ("kind", "place"):
        free = [value for value in free if value not in there]
    elif there - old and rng.random() < _ANOTHERS:
        free = sorted(there - old)
    return rng.choice(free) if free else None
