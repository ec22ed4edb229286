"""An edit of a scene's entity: the scene as the edit has it, and whether a name still means the same there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeAlias

from builders.scenes.language import Question, all_names
from builders.scenes.scene import Entity, Scene, with_value

Named: TypeAlias = Mapping[tuple[str, str], int]


@lru_cache(maxsize=4096)
def named(scene: Scene) -> Named:
    """(sort of name, name) -> the index of the only entity that it fits."""
    return {
        (naming, name): index
        for index, entity in enumerate(scene.entities)
        for naming, names in all_names(scene, entity).items()
        for name in names
    }


@dataclass(frozen=True)
class Edited:
    """An edit of an attribute of the entity with this index to a target."""

    scene: Scene
    index: int
    attribute: str
    target: str

    @property
    def entity(self) -> Entity:
        """The entity as it is in the scene."""
        return self.scene.entities[self.index]

    @property
    def old(self) -> str:
        """The value that is edited."""
        return self.entity.value(self.attribute)

    @cached_property
    def after(self) -> tuple[Scene, Entity]:
        """The scene in which the edit is true, and the entity there."""
        return with_value(self.scene, self.index, self.attribute, self.target)

    def counterpart(self, index: int) -> Entity:
        """An entity of the scene, as it is where the edit is true."""
        return self.after[1] if index == self.index else self.scene.entities[index]

    def means_the_same(self, question: Question) -> bool:
        """Whether the question's name fits its entity alone where the edit is true, too: an edit to red makes two red
        cards."""
        found = named(self.after[0]).get((question.naming, question.name))
        return found is not None and self.after[0].entities[found] == self.counterpart(question.entity)
