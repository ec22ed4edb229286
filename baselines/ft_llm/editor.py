"""FT-LLM: gradient descent on the edit, in named parameters of named language layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from baselines.inner import Descent, chosen_parameters, fine_tuned, fine_tuned_in_turn
from fgvedit.backbones.base import Backbone
from fgvedit.editing import EditedModel, Editor, size
from fgvedit.schema import Edit


class FineTuneLLM(Editor):
    name = "ft-llm"

    @dataclass(frozen=True, kw_only=True)
    class Config(Descent):
        """`layers`: indices of language layers, negative ones from the end; `parameters`: ends of names within one."""

        layers: list[int]
        parameters: list[str]

    def __init__(self, backbone: Backbone, config: Config) -> None:
        super().__init__(backbone, config)
        self.parameters = chosen_parameters(backbone, config.layers, config.parameters)

    @property
    def trained_parameters(self) -> int:
        return size(self.parameters.values())

    def edit(self, edits: Sequence[Edit]) -> AbstractContextManager[EditedModel]:
        return fine_tuned(self.backbone, self.parameters, edits, self.config)

    def edit_in_turn(self) -> AbstractContextManager[Callable[[Edit], EditedModel]]:
        return fine_tuned_in_turn(self.backbone, self.parameters, self.config)
