"""Pictures of scenes: as they are drawn, seen another way, and of other scenes in which a question has the answer that
is wanted."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from PIL import Image, ImageEnhance

from builders.scenes.edited import Edited, named
from builders.scenes.language import Question
from builders.scenes.scene import (
    ATTRIBUTES,
    IMAGE_SIZE,
    Entity,
    Scene,
    encode,
    few_colors,
    moved,
    paste,
    render,
    scene_stream,
    with_value,
)

# How another picture differs, at most: in brightness and size (shares of 1), and in the quality of its WebP.
_BRIGHTER = 0.08
_LARGER = 0.01
_QUALITY = (60, 85)
_BACKGROUND = (195, 235)  # the range of each of red, green and blue
# Attributes of the entity that a sort of name says.
_SAID = {
    "kind": ("kind",),
    "tint": ("kind", "color"),
    "side": ("kind",),
    "neighbour": ("kind",),
    "color": ("color",),
    "count": ("count",),
}


@dataclass(frozen=True)
class Picture:
    """A scene with its encoded image, PNG or WebP."""

    image_id: str
    scene: Scene
    data: bytes

    @property
    def stored(self) -> dict[str, object]:
        """The image as `datasets` stores it."""
        suffix = "png" if self.data.startswith(b"\x89PNG") else "webp"
        return {"bytes": self.data, "path": f"{self.image_id}.{suffix}"}


def picture(image_id: str, scene: Scene) -> Picture:
    """The scene as it is drawn."""
    return Picture(image_id, scene, encode(render(scene)))


def seen(rng: random.Random, image_id: str, scene: Scene) -> Picture:
    """Another picture of the scene: the same cards in the same places, moved by pixels, on another background, a little
    brighter or darker; and half of the time a little larger or smaller, too, and compressed as photos are.

    All pictures but an edit's own are made so: how one looks does not tell what it is of.
    """
    background = tuple(rng.randint(*_BACKGROUND) for _ in range(3))
    image = paste(moved(rng, scene), Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), background))
    image = ImageEnhance.Brightness(image).enhance(1 + rng.uniform(-_BRIGHTER, _BRIGHTER))
    if rng.random() < 0.5:
        return Picture(image_id, scene, encode(few_colors(image)))
    side = round(IMAGE_SIZE * (1 + rng.uniform(-_LARGER, _LARGER)))
    image, around = image.resize((side, side), Image.Resampling.LANCZOS), image.getpixel((0, 0))
    framed = Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), around)
    framed.paste(image, ((IMAGE_SIZE - side) // 2,) * 2)
    buffer = io.BytesIO()
    framed.save(buffer, "WEBP", quality=rng.randint(*_QUALITY), method=6)
    return Picture(image_id, scene, buffer.getvalue())


def other_value(rng: random.Random, edited: Edited, question: Question) -> tuple[Scene, str] | None:
    """The scene with one value changed, the edited one, to neither the old value nor the target, and that value; None
    where no other value leaves the question's name to the entity alone."""
    taken = {entity.value(edited.attribute) for entity in edited.scene.entities}
    values = [value for value in ATTRIBUTES[edited.attribute] if value not in (edited.old, edited.target)]
    rng.shuffle(values)
    for value in values:
        if edited.attribute in ("kind", "place") and value in taken:
            continue
        other = replace(edited, target=value)
        if other.means_the_same(question):
            return other.after[0], value
    return None


ByName = Mapping[str, Sequence[tuple[Picture, Entity]]]


def by_name(pictures: Sequence[Picture]) -> ByName:
    """Where each name of an entity is found."""
    found: dict[str, list[tuple[Picture, Entity]]] = {}
    for shown in pictures:
        for (_, name), index in named(shown.scene).items():
            found.setdefault(name, []).append((shown, shown.scene.entities[index]))
    return found


class Elsewhere:
    """Other images in which a question has another answer: of those there are, or drawn anew."""

    def __init__(self, pictures: Sequence[Picture], stream: str, seed: int) -> None:
        self._by_name = by_name(pictures)
        self._scenes = scene_stream(stream, seed)

    def find(
        self, rng: random.Random, edited: Edited, question: Question, old: bool, group: str, image_id: str
    ) -> tuple[Picture, str]:
        """An image of another group in which the edit's question has its old answer, or neither that nor the target;
        and the answer there. `image_id`: what it is called if it is drawn anew."""

        def fits(value: str) -> bool:
            return value == edited.old if old else value not in (edited.old, edited.target)

        candidates = [
            (shown, entity.value(edited.attribute))
            for shown, entity in self._by_name.get(question.name, ())
            if not shown.image_id.startswith(group) and fits(entity.value(edited.attribute))
        ]
        if candidates:
            return rng.choice(candidates)
        values = [value for value in ATTRIBUTES[edited.attribute] if fits(value)]
        for scene in self._scenes:
            for entity in scene.entities:
                value = rng.choice(values)
                renamed = _renamed(scene, entity, edited, question, value)
                index = named(renamed).get((question.naming, question.name))
                if index is not None and renamed.entities[index].value(edited.attribute) == value:
                    return seen(rng, image_id, renamed), value
        raise AssertionError("scenes have no end")


def _renamed(scene: Scene, entity: Entity, edited: Edited, question: Question, value: str) -> Scene:
    """The scene with kinds, colours and numbers exchanged for each other throughout, so that `entity` has the value
    and what the question's name says of the edited entity; a neighbour, too, has the kind that the name speaks of."""
    wanted = {attribute: edited.entity.value(attribute) for attribute in _SAID.get(question.naming, ())}
    if edited.attribute != "place":
        wanted[edited.attribute] = value
    for attribute, new in wanted.items():
        scene = _swapped(scene, attribute, entity.value(attribute), new)
    beside = re.search(r"(above|below|left of|right of) the (\w+) card", question.name)
    if beside:
        here = next(one for one in scene.entities if one.cell == entity.cell)
        anchor = next((one for one in scene.entities if scene.neighbour(one, beside[1]) is here), None)
        scene = _swapped(scene, "kind", anchor.kind, beside[2]) if anchor else scene
    return scene


def _swapped(scene: Scene, attribute: str, one: str, other: str) -> Scene:
    """The scene with these two values exchanged throughout."""
    for index, card in enumerate(scene.entities):
        if card.value(attribute) in (one, other):
            scene = with_value(scene, index, attribute, other if card.value(attribute) == one else one)[0]
    return scene
