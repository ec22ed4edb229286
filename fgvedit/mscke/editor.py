"""MSCKE as an editor: what it is made of, where its checkpoint lies, and what it does with an edit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from fgvedit.backbones.base import Backbone
from fgvedit.checkpoints import load_checkpoint, save_checkpoint
from fgvedit.editing import EditedModel, Editor
from fgvedit.errors import FGVEditError
from fgvedit.mscke.clip import Clip
from fgvedit.mscke.counterfactual import CounterfactualModel
from fgvedit.mscke.routing import Routed
from fgvedit.mscke.scope import ScopeClassifier, similarity
from fgvedit.mscke.training import train
from fgvedit.schema import Edit, Record


class MSCKE(Editor):
    name = "mscke"
    trained = True

    @dataclass(frozen=True)
    class Config:
        """`clip`, `clip_weights`, `counterfactual`: see `Clip` and `CounterfactualModel`; `fusion`: see `Fusion`.

        `lr` goes to `lr_end` in a straight line. Loss weights (`answer_*` of the counterfactual model, `scope` of the
        classifier) and the optimiser, Adam, are those of the released code; `batch` counts records.
        """

        clip: str = "ViT-L-14"
        clip_weights: str = "openai"
        fusion: str = "dot"
        counterfactual: str = "facebook/opt-125m"
        counterfactual_layers: int = 0
        threshold: float = 0.5
        steps: int = 50_000
        batch: int = 1
        lr: float = 1e-5
        lr_end: float = 1e-5
        clip_gradient: float = 100.0
        answer_rephrase: float = 0.1
        answer_in_scope: float = 1.0
        scope: float = 1.0

        def __post_init__(self) -> None:
            for option in ("steps", "batch", "lr", "clip_gradient"):
                if (found := getattr(self, option)) <= 0:
                    raise FGVEditError(f"option '{option}' of MSCKE: found {found}, expected more than 0")

    # What a checkpoint must agree on; the rest of the configuration says how it was trained or is used.
    _ARCHITECTURE = ("clip", "fusion", "counterfactual", "counterfactual_layers")

    def __init__(self, backbone: Backbone, config: Config) -> None:
        super().__init__(backbone, config)
        clip = Clip(config.clip, config.clip_weights)
        self.classifier = ScopeClassifier(clip, config.fusion).to(backbone.device).eval()
        self.counterfactual = CounterfactualModel(backbone, config.counterfactual, config.counterfactual_layers).eval()

    @property
    def parts(self) -> nn.ModuleDict:
        """All that is trained."""
        return nn.ModuleDict({"classifier": self.classifier, "counterfactual": self.counterfactual})

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        # Each stored edit goes through CLIP once, here; the released code does it again for every query.
        z_edits = self.classifier.embed_edits(edits) if edits else None

        def rhos(queries: Sequence[Any]) -> Any:
            return similarity(z_edits, self.classifier.embed_queries(queries))  # type: ignore[arg-type]

        yield Routed(self.backbone.remembered, self.counterfactual, edits, rhos, self.config.threshold)

    def train(self, records: Sequence[Record], out: Path, seed: int) -> None:
        train(self.classifier, self.counterfactual, records, self.config, out, seed, self.backbone.revision)

    def save(self, folder: Path) -> None:
        save_checkpoint(folder, self.parts, self.name, self.backbone, asdict(self.config))

    def load(self, folder: Path) -> None:
        wanted = {option: getattr(self.config, option) for option in self._ARCHITECTURE}
        load_checkpoint(folder, self.parts, self.name, self.backbone, wanted)
        self.classifier.forget_images()
