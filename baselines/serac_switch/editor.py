"""SERAC (Mitchell et al., ICML 2022) with the scope supervised and one of two models answering, as MSCKE has it."""

from __future__ import annotations

from dataclasses import dataclass

from fgvedit.editors.memory.editor import SwitchEditor
from fgvedit.editors.memory.scope import Scope
from fgvedit.editors.memory.text_scope import ENCODER_OPTIONS, TextScopeOptions, text_scope


class SwitchSERAC(SwitchEditor):
    """MSCKE's memory, counterfactual model, routing and training behind a classifier that reads text alone."""

    name = "serac-switch"
    architecture = (*ENCODER_OPTIONS, *SwitchEditor.architecture)

    @dataclass(frozen=True, kw_only=True)
    class Config(TextScopeOptions, SwitchEditor.Config):
        """What `TextScopeOptions` and a memory editor that switches have."""

    def build_classifier(self) -> Scope:
        """The configured text encoder, which reads the configured texts."""
        return text_scope(self.backbone, self.config, self.config.classifier_texts)
