"""FT-LLM: gradient descent on the edit, in named parameters of named language layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from fgvedit.backbones.base import Backbone
from fgvedit.editors.contract import EditedModel, Editor, size
from fgvedit.editors.fine_tuning import Optimisation, fine_tuned, fine_tuned_sequentially
from fgvedit.editors.parameters import chosen_parameters
from fgvedit.schema import Edit


class FineTuneLLM(Editor):
    """Fine-tuning on the edit in parameters of the language model (the paper's FT-LLM, after VLKEB's code)."""

    name = "ft-llm"

    @dataclass(frozen=True, kw_only=True)
    class Config(Optimisation):
        """`layers`: indices of language layers, negative ones from the end; `parameters`: ends of names within one."""

        layers: list[int]
        parameters: list[str]

    def __init__(self, backbone: Backbone, config: Config) -> None:
        super().__init__(backbone, config)
        self.parameters = chosen_parameters(backbone, config.layers, config.parameters)

    @property
    def trained_parameters(self) -> int:
        """How many `layers` and `parameters` name."""
        return size(self.parameters.values())

    def edit(self, edits: Sequence[Edit]) -> AbstractContextManager[EditedModel]:
        """Fine-tune on the edits, all in one batch."""
        return fine_tuned(self.backbone, self.parameters, edits, self.config)

    def edit_sequentially(self) -> AbstractContextManager[Callable[[Edit], EditedModel]]:
        """Each edit goes on from the weights as they are, with a new optimiser."""
        return fine_tuned_sequentially(self.backbone, self.parameters, self.config)
