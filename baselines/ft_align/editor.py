"""FT-Align: gradient descent on the edit, in the connector from image features to the language model's input."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from baselines.inner import Descent, fine_tuned
from fgvedit.editing import EditedModel, Editor, size
from fgvedit.schema import Edit


class FineTuneAlign(Editor):
    name = "ft-align"

    @dataclass(frozen=True, kw_only=True)
    class Config(Descent):
        """All parameters of the connector are trained; a question without an image never meets them."""

    @property
    def trained_parameters(self) -> int:
        return size(self.backbone.connector.parameters())

    def edit(self, edits: Sequence[Edit]) -> AbstractContextManager[EditedModel]:
        return fine_tuned(self.backbone, dict(self.backbone.connector.named_parameters()), edits, self.config)
