"""A scene: three to six cards with pictures on a three-by-three grid, and how it is drawn."""

from __future__ import annotations

import io
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from PIL import Image, ImageDraw

from builders.scenes.sprites import PICTURES, sprite

KINDS = tuple(PICTURES)
COLORS = {
    "red": (214, 48, 49),
    "orange": (240, 147, 43),
    "yellow": (249, 220, 92),
    "green": (76, 175, 80),
    "blue": (52, 110, 219),
    "purple": (142, 68, 173),
    "brown": (121, 85, 61),
    "white": (250, 250, 250),
}
COUNTS = (1, 2, 3, 4)
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "center", "right")
PLACES = tuple("center" if (r, c) == ("middle", "center") else f"{r} {c}" for r in ROWS for c in COLUMNS)
GRID = 3
CELL = 48  # pixels
IMAGE_SIZE = GRID * CELL
_CARD = 42
_JITTER = 2
_BACKGROUNDS = ((206, 214, 224), (223, 228, 234), (210, 218, 205), (226, 216, 208))
# The top left corners of the pictures on a card, by their number, and the pictures' size.
_LAYOUTS = {
    1: (34, [(4, 4)]),
    2: (19, [(2, 11), (21, 11)]),
    3: (19, [(11, 2), (2, 21), (21, 21)]),
    4: (19, [(2, 2), (21, 2), (2, 21), (21, 21)]),
}
# Words for where one cell is from another, with the step (row, column) from the other to the one.
RELATIONS = {"above": (-1, 0), "below": (1, 0), "left of": (0, -1), "right of": (0, 1)}


@dataclass(frozen=True)
class Entity:
    """A card: what is pictured on it, its colour, how many pictures, its cell (0 to 8, row by row), its offset."""

    kind: str
    color: str
    count: int
    cell: int
    offset: tuple[int, int]

    @property
    def row(self) -> int:
        """0 to 2, from the top."""
        return self.cell // GRID

    @property
    def column(self) -> int:
        """0 to 2, from the left."""
        return self.cell % GRID

    def value(self, attribute: str) -> str:
        """The value of one of `ATTRIBUTES`, as it is said."""
        return PLACES[self.cell] if attribute == "place" else str(getattr(self, attribute))

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x, y, width, height in pixels."""
        margin = (CELL - _CARD) // 2
        return (self.column * CELL + margin + self.offset[0], self.row * CELL + margin + self.offset[1], _CARD, _CARD)


ATTRIBUTES = {"kind": KINDS, "color": tuple(COLORS), "count": tuple(map(str, COUNTS)), "place": PLACES}


@dataclass(frozen=True)
class Scene:
    """Entities in the order of their cells, on a background."""

    entities: tuple[Entity, ...]
    background: int

    def alike(self, entity: Entity) -> list[Entity]:
        """The other entities of the same kind."""
        return [other for other in self.entities if other is not entity and other.kind == entity.kind]

    def neighbour(self, entity: Entity, relation: str) -> Entity | None:
        """The entity that is `relation` ("above", …) of this one, in the adjacent cell."""
        step_row, step_column = RELATIONS[relation]
        row, column = entity.row + step_row, entity.column + step_column
        for other in self.entities:
            if (other.row, other.column) == (row, column):
                return other
        return None


def with_value(scene: Scene, index: int, attribute: str, value: str) -> tuple[Scene, Entity]:
    """The scene in which an attribute of one entity is changed, and that entity."""
    entity = _changed(scene.entities[index], attribute, value)
    entities = [*scene.entities[:index], entity, *scene.entities[index + 1 :]]
    return Scene(tuple(sorted(entities, key=lambda one: one.cell)), scene.background), entity


def exchanged(scene: Scene, one: int, other: int, attribute: str) -> Scene:
    """The scene in which two entities have each other's value of an attribute."""
    entities = list(scene.entities)
    values = entities[one].value(attribute), entities[other].value(attribute)
    entities[one] = _changed(entities[one], attribute, values[1])
    entities[other] = _changed(entities[other], attribute, values[0])
    return Scene(tuple(sorted(entities, key=lambda entity: entity.cell)), scene.background)


def _changed(entity: Entity, attribute: str, value: str) -> Entity:
    if attribute == "place":
        return replace(entity, cell=PLACES.index(value))
    changes: dict[str, Any] = {attribute: int(value) if attribute == "count" else value}
    return replace(entity, **changes)


def sample_scene(rng: random.Random) -> Scene:
    """A scene of 3 to 6 entities; in half of all scenes exactly two of them are of the same kind."""
    number = rng.randint(3, 6)
    cells = sorted(rng.sample(range(GRID * GRID), number))
    kinds = rng.sample(KINDS, number)
    if rng.random() < 0.5:
        one, other = rng.sample(range(number), 2)
        kinds[one] = kinds[other]
    entities = tuple(
        Entity(
            kind=kind,
            color=rng.choice(tuple(COLORS)),
            count=rng.choice(COUNTS),
            cell=cell,
            offset=_offset(rng),
        )
        for kind, cell in zip(kinds, cells, strict=True)
    )
    return Scene(entities, rng.randrange(len(_BACKGROUNDS)))


def moved(rng: random.Random, scene: Scene) -> Scene:
    """The scene with every card moved by pixels."""
    return replace(scene, entities=tuple(replace(entity, offset=_offset(rng)) for entity in scene.entities))


def _offset(rng: random.Random) -> tuple[int, int]:
    return rng.randint(-_JITTER, _JITTER), rng.randint(-_JITTER, _JITTER)


def scene_stream(name: str, seed: int) -> Iterator[Scene]:
    """Scenes without end, always the same for the same name and seed."""
    rng = random.Random(f"{name}/{seed}")
    while True:
        yield sample_scene(rng)


def has_twins(scene: Scene) -> bool:
    """Whether two of its entities are of the same kind."""
    return max(Counter(entity.kind for entity in scene.entities).values()) > 1


@cache
def _card(kind: str, color: str, count: int) -> Image.Image:
    """One card as RGBA."""
    card = Image.new("RGBA", (_CARD, _CARD))
    ImageDraw.Draw(card).rounded_rectangle((0, 0, _CARD - 1, _CARD - 1), 5, fill=COLORS[color], outline=(60, 60, 70))
    size, corners = _LAYOUTS[count]
    for corner in corners:
        card.alpha_composite(sprite(kind, size), corner)
    return card


def render(scene: Scene) -> Image.Image:
    """The scene as an RGB image of IMAGE_SIZE x IMAGE_SIZE pixels, with 64 colours, as it is stored."""
    return few_colors(paste(scene, Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), _BACKGROUNDS[scene.background])))


def few_colors(image: Image.Image) -> Image.Image:
    """The image in 64 colours."""
    return image.quantize(64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def paste(scene: Scene, background: Image.Image) -> Image.Image:
    """The background with the scene's cards on it."""
    for entity in scene.entities:
        card = _card(entity.kind, entity.color, entity.count)
        background.paste(card, entity.box[:2], card)
    return background


def encode(image: Image.Image) -> bytes:
    """PNG bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
