"""MSCKE: a memory editor whose scope classifier reads images and texts."""

from __future__ import annotations

from dataclasses import dataclass

from fgvedit.editors.memory.clip import Clip
from fgvedit.editors.memory.editor import MemoryEditor
from fgvedit.editors.memory.texts import Texts
from fgvedit.editors.mscke.classifier import ScopeClassifier


class MSCKE(MemoryEditor):
    """The paper's editor (arXiv 2411.12790): SERAC with a multimodal scope classifier."""

    name = "mscke"
    architecture = ("clip", "fusion", "classifier_texts", *MemoryEditor.architecture)

    @dataclass(frozen=True, kw_only=True)
    class Config(MemoryEditor.Config):
        """`clip`, `clip_weights`: see `Clip`; `fusion`: see `Fusion`; `classifier_texts`: see `edit_text`."""

        clip: str = "ViT-L-14"
        clip_weights: str = "openai"
        fusion: str = "dot"
        classifier_texts: Texts = "plain"

    def build_classifier(self) -> ScopeClassifier:
        """CLIP and the fusion that the configuration names."""
        clip = Clip(self.config.clip, self.config.clip_weights)
        return ScopeClassifier(clip, self.config.fusion, self.config.classifier_texts)
