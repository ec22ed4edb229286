"""What memory editors share: a memory of edits, a scope classifier, and the way to a counterfactual model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from fgvedit.backbones.base import Backbone
from fgvedit.editors.checkpoints import load_checkpoint, save_checkpoint
from fgvedit.editors.contract import EditedModel, Editor, size, unedited
from fgvedit.editors.memory.counterfactual import CounterfactualModel, Counterfactuals
from fgvedit.editors.memory.losses import memory_losses
from fgvedit.editors.memory.scope import Scope, attention_by
from fgvedit.editors.memory.texts import Texts
from fgvedit.editors.routing import Routed, most_similar
from fgvedit.editors.training import Training, train
from fgvedit.schema import Edit, Record


class MemoryEditor(Editor, ABC):
    """A memory of edits, a scope classifier and a counterfactual model (SERAC, Mitchell et al. 2022, section 3).

    A subclass says which classifier: SERAC's reads texts, MSCKE's (arXiv 2411.12790) images too.
    """

    trained = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Training):
        """`counterfactual`, its `_layers`, those `_trained`, its `_texts`: see `CounterfactualModel`; `threshold`: of
        rho, from which a query is inside.

        Loss weights (`answer_*` of the counterfactual model, `scope` of the classifier) are those of the released code.
        """

        counterfactual: str = "facebook/opt-125m"
        counterfactual_layers: int = 0
        counterfactual_trained: int = 0
        counterfactual_texts: Texts = "plain"
        threshold: float = 0.5
        answer_rephrase: float = 0.1
        answer_in_scope: float = 1.0
        scope: float = 1.0

    # What a checkpoint must agree on; the rest of the configuration says how it was trained or is used.
    architecture: ClassVar[tuple[str, ...]] = (
        "counterfactual",
        "counterfactual_layers",
        "counterfactual_trained",
        "counterfactual_texts",
    )

    def __init__(self, backbone: Backbone, config: Config) -> None:
        super().__init__(backbone, config)
        self.classifier = self.build_classifier().to(backbone.device).eval()
        source, layers, trained = config.counterfactual, config.counterfactual_layers, config.counterfactual_trained
        made = CounterfactualModel(backbone, source, layers, trained, config.counterfactual_texts)
        self.counterfactual = made.eval()

    @abstractmethod
    def build_classifier(self) -> Scope:
        """The classifier, as its configuration says, before it is trained or loaded."""

    @property
    def parts(self) -> nn.ModuleDict:
        """All that is trained."""
        return nn.ModuleDict({"classifier": self.classifier, "counterfactual": self.counterfactual})

    @property
    def trained_parameters(self) -> int:
        """How many classifier and counterfactual model have, frozen layers apart."""
        return size(self.parts.parameters())

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        """Store the edits: from the threshold on the counterfactual model answers, under the most similar one."""
        if not edits:
            yield unedited(self.backbone)
            return
        route = most_similar(self.classifier.remember(edits), self.config.threshold, "counterfactual")
        inside = Counterfactuals(self.counterfactual, edits)
        yield Routed(self.backbone.cached_answerer, inside, route, attention_by(self.classifier, edits))

    def train(self, records: Sequence[Record], out: Path, seed: int) -> None:
        """Learn classifier and counterfactual model together, by `memory_losses`."""
        config = self.config
        losses = memory_losses(
            self.classifier, self.counterfactual, config.answer_rephrase, config.answer_in_scope, config.scope
        )
        train(self.parts, losses, self.config, records, out, seed, self.backbone.revision)
        self.classifier.forget()

    def save(self, folder: Path) -> None:
        """Write classifier and counterfactual model."""
        save_checkpoint(folder, self.parts, self.name, self.backbone, asdict(self.config))

    def load(self, folder: Path) -> None:
        """Read classifier and counterfactual model. Raises `FGVEditError` for a checkpoint that does not fit."""
        wanted: Mapping[str, Any] = {option: getattr(self.config, option) for option in self.architecture}
        load_checkpoint(folder, self.parts, self.name, self.backbone, wanted)
        self.classifier.forget()
