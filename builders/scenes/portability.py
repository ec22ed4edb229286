"""What follows only from edit and image together: comparisons of the edited entity with another, and numbers of cards
in a row or column.

Whether an answer changes with the edit depends on the other entity's value, or on where the edited one stands, and so
on the image.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from builders.scenes.edited import Edited
from builders.scenes.language import NAMES, Question, all_names, put, spoken
from builders.scenes.scene import COLUMNS, ROWS, Entity, Scene

# Phrasings, by attribute and what is asked of it. {x} is the edited entity, {z} another one, {line} a row or a column,
# {v} a value. The last one of each list is found in the test split alone.
Key: TypeAlias = tuple[str, str]
COMPARISONS: dict[Key, tuple[str, ...]] = {
    ("color", "same"): (
        "Do {x} and {z} have the same color?",
        "Does {x} have the same color as {z}?",
        "Is the color of {x} also the color of {z}?",
    ),
    ("color", "different"): (
        "Do {x} and {z} have different colors?",
        "Does {x} have another color than {z}?",
        "Is the color of {x} another one than that of {z}?",
    ),
    ("count", "same"): (
        "Do {x} and {z} have the same number of pictures?",
        "Does {x} have as many pictures as {z}?",
        "Is the number of pictures on {x} also the number on {z}?",
    ),
    ("count", "different"): (
        "Do {x} and {z} have different numbers of pictures?",
        "Does {x} have another number of pictures than {z}?",
        "Is the number of pictures on {x} another one than that on {z}?",
    ),
    ("count", "more"): (
        "Does {x} have more pictures than {z}?",
        "Are there more pictures on {x} than on {z}?",
        "Is the number of pictures on {x} above the number on {z}?",
    ),
    ("place", "row"): (
        "Are {x} and {z} in the same row?",
        "Is {x} in the same row as {z}?",
        "Is the row of {x} also the row of {z}?",
    ),
    ("place", "column"): (
        "Are {x} and {z} in the same column?",
        "Is {x} in the same column as {z}?",
        "Is the column of {x} also the column of {z}?",
    ),
    ("place", "other row"): (
        "Are {x} and {z} in different rows?",
        "Is {x} in another row than {z}?",
        "Is the row of {x} another one than that of {z}?",
    ),
    ("place", "other column"): (
        "Are {x} and {z} in different columns?",
        "Is {x} in another column than {z}?",
        "Is the column of {x} another one than that of {z}?",
    ),
}
TALLIES: dict[Key, tuple[str, ...]] = {
    ("color", "tally"): (
        "How many cards in the {line} are {v}?",
        "How many {v} cards are in the {line}?",
        "What is the number of {v} cards in the {line}?",
    ),
    ("count", "tally"): (
        "How many cards in the {line} have {v}?",
        "How many cards with {v} are in the {line}?",
        "What is the number of cards with {v} in the {line}?",
    ),
    ("kind", "tally"): (
        "How many cards in the {line} show {v}?",
        "How many cards that show {v} are in the {line}?",
        "What is the number of cards in the {line} that show {v}?",
    ),
}
_HOLDS: Mapping[str, Callable[[Entity, Entity, str], bool]] = {
    "same": lambda x, z, attribute: x.value(attribute) == z.value(attribute),
    "different": lambda x, z, attribute: x.value(attribute) != z.value(attribute),
    "more": lambda x, z, _: x.count > z.count,
    "row": lambda x, z, _: x.row == z.row,
    "column": lambda x, z, _: x.column == z.column,
    "other row": lambda x, z, _: x.row != z.row,
    "other column": lambda x, z, _: x.column != z.column,
}
LINES = {
    **{f"{row} row": (row, "row") for row in ROWS},
    **{f"{column} column": (column, "column") for column in COLUMNS},
}


@dataclass(frozen=True)
class Asked:
    """A question with its right answers: where nothing is edited, and where the edit is true."""

    text: str
    before: str
    after: str

    @property
    def changes(self) -> bool:
        """Whether the edit changes the answer."""
        return self.before != self.after


def portability(rng: random.Random, edited: Edited, question: Question, split: str) -> tuple[Asked, Asked] | None:
    """A question whose answer the edit changes, and one of the same sort, with the same answer before the edit, whose
    answer it leaves: neither words nor what the model says without the edit tell which it is. None where the scene has
    no such two.

    `question`: the edit's own.
    """
    found: dict[tuple[str, str], dict[bool, list[Asked]]] = defaultdict(lambda: {True: [], False: []})
    for sort, asked in (*_comparisons(rng, edited, question, split), *_tallies(rng, edited, question, split)):
        if asked.changes or asked.before != edited.target:
            found[sort, asked.before][asked.changes].append(asked)
    both = [asked for asked in found.values() if asked[True] and asked[False]]
    if not both:
        return None
    answer = rng.choice(sorted({asked[True][0].after for asked in both}))  # first, so that none is right more often
    chosen = rng.choice([asked for asked in both if asked[True][0].after == answer])
    return rng.choice(chosen[True]), rng.choice(chosen[False])


def known(key: Key, split: str) -> tuple[str, ...]:
    """The phrasings of a comparison or a tally that a split may use."""
    every = (COMPARISONS | TALLIES)[key]
    return every if split == "test" else every[:-1]


def holds(relation: str, x: Entity, z: Entity, attribute: str) -> bool:
    """Whether a comparison of `COMPARISONS` is true of two entities."""
    return _HOLDS[relation](x, z, attribute)


def _comparisons(rng: random.Random, edited: Edited, question: Question, split: str) -> Iterator[tuple[str, Asked]]:
    """Comparisons of the edited entity, named as in the edit, with each other one."""
    attribute = edited.attribute
    for index, other in enumerate(edited.scene.entities):
        names = [
            (naming, name)
            for naming, texts in all_names(edited.scene, other).items()
            for name in texts
            if naming in NAMES[attribute] and edited.means_the_same(put(index, attribute, "open", naming, name, "{x}"))
        ]
        if index == edited.index or not names:
            continue
        name = rng.choice(names)[1]
        for about, relation in COMPARISONS:
            if about == attribute:
                said = [holds(relation, x, other, attribute) for x in (edited.entity, edited.after[1])]
                text = rng.choice(known((about, relation), split)).format(x=question.name, z=name)
                yield relation, Asked(text, *("yes" if one else "no" for one in said))


def _tallies(rng: random.Random, edited: Edited, question: Question, split: str) -> Iterator[tuple[str, Asked]]:
    """How many cards of a row or column have the old value, or the target."""
    key = (edited.attribute, "tally")
    if key not in TALLIES or question.naming in ("place", "side"):
        return  # the name would tell whether the entity stands there
    vertical = any(word in question.name for word in ("above", "below"))
    beside = question.naming in ("beside", "neighbour")
    for line, (_, direction) in LINES.items():
        if beside and (direction == "row") == vertical:
            continue
        for value in (edited.old, edited.target):
            said = spoken(edited.attribute, value, "verify")
            text = rng.choice(known(key, split)).format(line=line, v=said)
            scenes = (edited.scene, edited.after[0])
            numbers = [tally(scene, line, edited.attribute, value) for scene in scenes]
            yield f"{key[1]} of {value}", Asked(text, *numbers)


def tally(scene: Scene, line: str, attribute: str, value: str) -> str:
    """How many cards of a row or column of `LINES` have this value."""
    where, direction = LINES[line]
    lines = ROWS if direction == "row" else COLUMNS
    standing = [entity for entity in scene.entities if lines[getattr(entity, direction)] == where]
    return str(sum(entity.value(attribute) == value for entity in standing))
