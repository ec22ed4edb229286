"""MSCKE: a memory editor whose scope classifier reads images and texts."""

from __future__ import annotations

from dataclasses import dataclass

from fgvedit.editors.memory.clip import Clip
from fgvedit.editors.memory.editor import SwitchEditor
from fgvedit.editors.mscke.classifier import ScopeClassifier


class MSCKE(SwitchEditor):
    """The paper's editor (arXiv 2411.12790): SERAC with a multimodal scope classifier."""

    name = "mscke"
    architecture = ("clip", "fusion", *SwitchEditor.architecture)

    @dataclass(frozen=True, kw_only=True)
    class Config(SwitchEditor.Config):
        """`clip`, `clip_weights`: see `Clip`; `fusion`: see `Fusion`."""

        clip: str = "ViT-L-14"
        clip_weights: str = "openai"
        fusion: str = "dot"

    def build_classifier(self) -> ScopeClassifier:
        """CLIP and the fusion that the configuration names."""
        clip = Clip(self.config.clip, self.config.clip_weights)
        return ScopeClassifier(clip, self.config.fusion, self.config.classifier_texts)
