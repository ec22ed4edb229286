"""FT-Align: gradient descent on the edit, in the connector from image features to the language model's input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from torch import nn

from fgvedit.editors.contract import EditedModel, Editor, size
from fgvedit.editors.fine_tuning import Optimisation, fine_tuned, fine_tuned_sequentially
from fgvedit.schema import Edit


class FineTuneAlign(Editor):
    """Fine-tuning on the edit in the connector (FT-Align of VLKEB, which trains BLIP-2's whole Q-Former)."""

    name = "ft-align"

    @dataclass(frozen=True, kw_only=True)
    class Config(Optimisation):
        """All parameters of the connector are trained; a question without an image never meets them."""

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The connector's parameters, by name."""
        return dict(self.backbone.connector.named_parameters())

    @property
    def trained_parameters(self) -> int:
        """How many the connector has."""
        return size(self.parameters.values())

    def edit(self, edits: Sequence[Edit]) -> AbstractContextManager[EditedModel]:
        """Fine-tune the connector on the edits, all in one batch."""
        return fine_tuned(self.backbone, self.parameters, edits, self.config)

    def edit_sequentially(self) -> AbstractContextManager[Callable[[Edit], EditedModel]]:
        """Each edit goes on from the connector as it is, with a new optimiser."""
        return fine_tuned_sequentially(self.backbone, self.parameters, self.config)
