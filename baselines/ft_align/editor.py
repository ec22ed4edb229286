"""FT-Align: gradient descent on the edit, in the connector from image features to the language model's input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from torch import nn

from baselines.inner import Descent, fine_tuned, fine_tuned_in_turn
from fgvedit.editing import EditedModel, Editor, size
from fgvedit.schema import Edit


class FineTuneAlign(Editor):
    name = "ft-align"

    @dataclass(frozen=True, kw_only=True)
    class Config(Descent):
        """All parameters of the connector are trained; a question without an image never meets them."""

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        return dict(self.backbone.connector.named_parameters())

    @property
    def trained_parameters(self) -> int:
        return size(self.parameters.values())

    def edit(self, edits: Sequence[Edit]) -> AbstractContextManager[EditedModel]:
        return fine_tuned(self.backbone, self.parameters, edits, self.config)

    def edit_in_turn(self) -> AbstractContextManager[Callable[[Edit], EditedModel]]:
        return fine_tuned_in_turn(self.backbone, self.parameters, self.config)
