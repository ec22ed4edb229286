"""A second opinion on `scenes`: what an image shows, from its pixels, and what a question asks, from its words.

Of the builder it uses what a card looks like and the list of phrasings, and none of how records are made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from builders.scenes.language import PHRASINGS
from builders.scenes.portability import COMPARISONS, TALLIES
from builders.scenes.scene import CELL, COLORS, COLUMNS, COUNTS, GRID, KINDS, PLACES, ROWS, Entity, Scene, render
from fgvedit.schema import ImageRef, Record

STEPS = {"above": (-1, 0), "below": (1, 0), "left of": (0, -1), "right of": (0, 1)}
_KIND, _COLOR, _REL = "|".join(KINDS), "|".join(COLORS), "|".join(STEPS)
_PLACE = "|".join(sorted(PLACES, key=len, reverse=True))
_NAME = (
    rf"(?:the (?:(?:{_COLOR}|left|right|upper|lower) )?(?:{_KIND}) card|the (?:{_COLOR}) card|the (?:{_PLACE}) card"
    rf"|the (?:(?:{_KIND}) )?card (?:{_REL}) the (?:{_KIND}) card|the card with (?:1 picture|[234] pictures))"
)
_VALUE = {"kind": rf"an? (?:{_KIND})", "color": _COLOR, "count": "1 picture|[234] pictures", "place": _PLACE}


@dataclass(frozen=True)
class Asked:
    """A question taken apart. `values`: what it offers, in its order; `phrasing`: the template it was made from."""

    attribute: str
    form: str
    name: str
    values: tuple[str, ...]
    phrasing: str

    def answer(self, value: str) -> str:
        """The right answer where the attribute has this value."""
        if self.form == "verify":
            return "yes" if self.values[0] == value else "no"
        assert self.form == "open" or value in self.values
        return value


@dataclass(frozen=True)
class Compared:
    """A question of portability taken apart: of two cards, or of a value and a row or column."""

    attribute: str
    relation: str
    phrasing: str
    parts: dict[str, str]

    def answer(self, scene: Scene, one: Entity | None, other: Entity | None) -> str:
        """The right answer in a scene, in which `one` is the card that the first name means, and so on."""
        if self.relation == "tally":
            where, direction = self.parts["line"].split()
            lines, step = (ROWS, GRID) if direction == "row" else (COLUMNS, 1)
            cells = [entity for entity in scene.entities if lines[entity.cell // step % GRID] == where]
            return str(sum(value(entity, self.attribute) == _bare(self.parts["v"]) for entity in cells))
        assert one and other
        holds = {
            "same": value(one, self.attribute) == value(other, self.attribute),
            "more": one.count > other.count,
            "row": one.cell // GRID == other.cell // GRID,
            "column": one.cell % GRID == other.cell % GRID,
        }
        opposite = {"different": "same", "other row": "row", "other column": "column"}.get(self.relation)
        return "yes" if (not holds[opposite] if opposite else holds[self.relation]) else "no"


_LINE = f"(?:{'|'.join(ROWS)}) row|(?:{'|'.join(COLUMNS)}) column"


def _pattern(template: str, attribute: str) -> re.Pattern[str]:
    pattern = re.escape(template).replace(r"\{X\}", r"\{x\}")
    value = _VALUE[attribute]
    for slot, what in (("x", _NAME), ("z", _NAME), ("line", _LINE), ("v", value), ("w", value)):
        pattern = pattern.replace(rf"\{{{slot}\}}", f"(?P<{slot}>{what})")
    return re.compile(pattern, re.IGNORECASE)


def _bare(said: str) -> str:
    return re.sub(r"^an? | pictures?$", "", said)


@cache
def _patterns() -> list[tuple[re.Pattern[str], str, str, str]]:
    return [
        (_pattern(template, attribute), attribute, form, template)
        for (attribute, form), templates in PHRASINGS.items()
        for template in templates
    ]


@cache
def _compared() -> list[tuple[re.Pattern[str], str, str, str]]:
    return [
        (_pattern(template, attribute), attribute, relation, template)
        for (attribute, relation), templates in (COMPARISONS | TALLIES).items()
        for template in templates
    ]


@cache
def compared(question: str) -> Compared:
    """Fails unless the question can be read in one way."""
    readings = []
    for pattern, attribute, relation, phrasing in _compared():
        match = pattern.fullmatch(question)
        if match:
            readings.append(Compared(attribute, relation, phrasing, match.groupdict()))
    assert len(readings) == 1, (question, readings)
    return readings[0]


@cache
def take_apart(question: str) -> Asked:
    """Fails unless the question can be read in one way."""
    readings = []
    for pattern, attribute, form, template in _patterns():
        match = pattern.fullmatch(question)
        if match:
            parts = match.groupdict()
            values = [_bare(parts[slot]) for slot in "vw" if parts.get(slot)]
            name = parts["x"][0].lower() + parts["x"][1:]
            readings.append(Asked(attribute, form, name, tuple(values), template))
    assert len(readings) == 1, (question, readings)
    return readings[0]


def fits(scene: Scene, name: str) -> list[Entity]:
    """The entities that a name may mean."""
    words = name.removeprefix("the ")
    beside = re.fullmatch(rf"(?:({_KIND}) )?card ({_REL}) the ({_KIND}) card", words)
    if beside:
        kind, relation, anchor_kind = beside.groups()
        anchors = [entity for entity in scene.entities if entity.kind == anchor_kind]
        if len(anchors) != 1:
            return []
        row, column = divmod(anchors[0].cell, GRID)
        step = STEPS[relation]
        there = [e for e in scene.entities if divmod(e.cell, GRID) == (row + step[0], column + step[1])]
        return [entity for entity in there if kind in (None, entity.kind)]
    if counted := re.fullmatch(r"card with (\d) pictures?", words):
        return [entity for entity in scene.entities if entity.count == int(counted[1])]
    first, _, kind = words.removesuffix(" card").rpartition(" ")
    if f"{first} {kind}".strip() in PLACES:
        return [entity for entity in scene.entities if place(entity) == f"{first} {kind}".strip()]
    if kind in COLORS:
        return [entity for entity in scene.entities if entity.color == kind]
    same = [entity for entity in scene.entities if entity.kind == kind]
    if first in COLORS:
        return [entity for entity in same if entity.color == first]
    if first:  # left, right, upper, lower: of several
        at = [entity.cell % GRID if first in ("left", "right") else entity.cell // GRID for entity in same]
        edge = (min if first in ("left", "upper") else max)(at) if len(at) > 1 else None
        return [entity for entity, where in zip(same, at, strict=True) if where == edge]
    return same


def the_one(scene: Scene, name: str) -> Entity:
    """The only entity that a name may mean."""
    (entity,) = fits(scene, name)
    return entity


def place(entity: Entity) -> str:
    row, column = ROWS[entity.cell // GRID], COLUMNS[entity.cell % GRID]
    return "center" if (row, column) == ("middle", "center") else f"{row} {column}"


def value(entity: Entity, attribute: str) -> str:
    return {"kind": entity.kind, "color": entity.color, "count": str(entity.count), "place": place(entity)}[attribute]


def with_edit(scene: Scene, edited: Entity, attribute: str, target: str) -> tuple[Scene, Entity]:
    """The scene in which the edit is true, and its entity there."""
    changes: dict[str, object] = {attribute: target}
    if attribute == "place":
        changes = {"cell": next(cell for cell in range(GRID * GRID) if place(replace(edited, cell=cell)) == target)}
    elif attribute == "count":
        changes = {"count": int(target)}
    after = replace(edited, **changes)  # type: ignore[arg-type]
    return replace(scene, entities=tuple(after if e == edited else e for e in scene.entities)), after


def look(image: ImageRef) -> Scene:
    """The scene that an image shows as it is drawn, looked at once; where cards stand to the pixel."""
    if image.key not in _seen:
        _seen[image.key] = Scene(tuple(_entities(np.asarray(image.open(), dtype=np.float32))), 0)
    return _seen[image.key]


def look_again(image: ImageRef) -> Scene:
    """The scene that another picture shows: cards are compared with every card, whatever the brightness, near where
    they are found. Where they stand to the pixel is not read."""
    pixels = np.asarray(image.open(), dtype=np.float32)
    return Scene(tuple(_entities_again(pixels)), 0)


_seen: dict[str, Scene] = {}


def _entities(pixels: np.ndarray) -> Iterator[Entity]:
    """Cards are found as what is not background, then compared with every card of their colour."""
    for cell in range(GRID * GRID):
        y, x = cell // GRID * CELL, cell % GRID * CELL
        crop = pixels[y : y + CELL, x : x + CELL]
        card = np.abs(crop - pixels[0, 0]).max(axis=-1) > 12
        if card.any():
            top, left = int(card.any(axis=1).argmax()), int(card.any(axis=0).argmax())
            kind, color, count = _closest(crop[top : top + _card_size(), left : left + _card_size()])
            yield Entity(kind, color, count, cell, (left - _margin(), top - _margin()))


_NEAR = range(-2, 3)  # pixels


def _entities_again(pixels: np.ndarray) -> Iterator[Entity]:
    templates, shown = _templates()
    padded = np.pad(pixels, ((8, 8), (8, 8), (0, 0)), mode="edge")
    background = np.median(pixels[[CELL - 1, CELL, 2 * CELL - 1, 2 * CELL]].reshape(-1, 3), axis=0)  # between cards
    for cell in range(GRID * GRID):
        y, x = cell // GRID * CELL + 8, cell % GRID * CELL + 8
        crop = padded[y : y + CELL, x : x + CELL]
        card = np.abs(crop - background).max(axis=-1) > 12
        if card.mean() < 0.4:
            continue
        top, left = int((card.mean(axis=1) > 0.4).argmax()), int((card.mean(axis=0) > 0.4).argmax())
        near = [_quarter(padded[y + top + dy :, x + left + dx :]) for dy in _NEAR for dx in _NEAR]
        alike = templates @ np.stack([patch / np.linalg.norm(patch) for patch in near]).T
        yield Entity(*shown[int(alike.max(axis=1).argmax())], cell, (0, 0))


def _quarter(pixels: np.ndarray) -> np.ndarray:
    """A card's worth of pixels at half the width and height, flat."""
    half = _card_size() // 2
    return pixels[: 2 * half, : 2 * half].reshape(half, 2, half, 2, 3).mean(axis=(1, 3)).ravel()


@cache
def _templates() -> tuple[np.ndarray, list[tuple[str, str, int]]]:
    """Every card, small, as a row of length 1, and what it shows."""
    size = _card_size()
    rows, shown = [], []
    for color in COLORS:
        table, _, cards = _cards(color)
        rows += [_quarter(row.reshape(size, size, 3)) for row in table]
        shown += cards
    table = np.stack(rows)
    return table / np.linalg.norm(table, axis=1, keepdims=True), shown


def _card_size() -> int:
    return Entity(KINDS[0], "red", 1, 0, (0, 0)).box[2]


def _margin() -> int:
    return (CELL - _card_size()) // 2


@cache
def _cards(color: str) -> tuple[np.ndarray, np.ndarray, list[tuple[str, str, int]]]:
    """Every card of a colour, as a row of pixels, half its squared length, and what it shows."""
    shown = [(kind, color, count) for kind in KINDS for count in COUNTS]
    size, margin = _card_size(), _margin()
    rows = []
    for card in shown:
        image = render(Scene((Entity(*card, 0, (0, 0)),), 0)).convert("RGB")
        rows.append(np.asarray(image, dtype=np.float32)[margin : margin + size, margin : margin + size].ravel())
    table = np.stack(rows)
    return table, (table**2).sum(axis=1) / 2, shown


def _closest(crop: np.ndarray) -> tuple[str, str, int]:
    edge = crop[_card_size() // 2, 1]  # within the outline, where no picture reaches
    color = min(COLORS, key=lambda name: float(np.abs(edge - COLORS[name]).sum()))
    table, half_lengths, shown = _cards(color)
    return shown[int((half_lengths - table @ crop.ravel()).argmin())]


@dataclass(frozen=True)
class Read:
    """A record, its scene as seen, what its question asks, and the entity that it is about."""

    record: Record
    scene: Scene
    asked: Asked
    entity: Entity


def read(records: Sequence[Record]) -> list[Read]:
    found = []
    for record in records:
        scene, asked = look(record.image), take_apart(record.question)
        found.append(Read(record, scene, asked, the_one(scene, asked.name)))
    return found
