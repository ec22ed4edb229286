"""SERAC (Mitchell et al., ICML 2022) as the released FGVEdit code computes it: both models' answers mixed by rho."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fgvedit.editors.contract import EditedModel
from fgvedit.editors.memory.editor import MemoryEditor
from fgvedit.editors.memory.losses import mixture_losses
from fgvedit.editors.memory.mixture import BothModels, Mixture
from fgvedit.editors.memory.scope import Scope
from fgvedit.editors.memory.text_scope import ENCODER_OPTIONS, TextScopeOptions, text_scope
from fgvedit.editors.memory.texts import Texts
from fgvedit.editors.routing import most_similar
from fgvedit.editors.training import Losses
from fgvedit.schema import Edit

ABOVE_ZERO = math.ulp(0.0)  # with a rho of 0 there is nothing of the counterfactual model in the mixture


class MixedSERAC(MemoryEditor):
    """A memory behind a classifier that reads text alone, which is the weight of the counterfactual model in a mixture
    with the base model, in training and in use; nothing tells the classifier what it is to find.

    The class was called `SERAC` while it was what `serac-switch` is now: runs of that class are the switch's.
    """

    name = "serac"
    architecture = (*ENCODER_OPTIONS, *MemoryEditor.architecture)

    @dataclass(frozen=True, kw_only=True)
    class Config(TextScopeOptions, MemoryEditor.Config):
        """`locality`: the weight of the divergences from the base model out of scope; see `mixture_losses`."""

        answer_in_scope: float = 0.1
        locality: float = 1.0

    @property
    def told(self) -> Texts:
        """In the released code's words."""
        return "released"

    def build_classifier(self) -> Scope:
        """The configured text encoder, which reads the released code's texts."""
        return text_scope(self.backbone, self.config, "released")

    def edited(self, edits: Sequence[Edit]) -> EditedModel:
        """Every answer is of the mixture, under the most similar edit."""
        route = most_similar(self.classifier.remember(edits), ABOVE_ZERO, "mixed")
        return Mixture(BothModels(self.backbone, self.counterfactual), edits, route)

    def losses(self) -> Losses:
        """Of the mixture alone: `mixture_losses`."""
        config = self.config
        return mixture_losses(
            BothModels(self.backbone, self.counterfactual),
            self.classifier,
            config.answer_rephrase,
            config.answer_in_scope,
            config.locality,
        )
