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
from fgvedit.editors.memory.losses import switch_losses
from fgvedit.editors.memory.scope import Scope, attention_by
from fgvedit.editors.memory.texts import Texts
from fgvedit.editors.routing import Routed, most_similar
from fgvedit.editors.training import Losses, Training, train
from fgvedit.schema import Edit, Record
from fgvedit.util.options import check_positive


class MemoryEditor(Editor, ABC):
    """A memory of edits, a scope classifier and a counterfactual model (SERAC, Mitchell et al. 2022, section 3).

    A subclass says which classifier, how the three answer together, and what they learn from.
    """

    trained = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Training):
        """`counterfactual`, its `_layers` and those `_trained`: see `CounterfactualModel`. `answer_*`: weights of the
        losses of right answers, by kind of probe.
        """

        counterfactual: str = "facebook/opt-125m"
        counterfactual_layers: int = 0
        counterfactual_trained: int = 0
        answer_rephrase: float = 0.1
        answer_in_scope: float = 1.0

    # What a checkpoint must agree on; the rest of the configuration says how it was trained or is used.
    architecture: ClassVar[tuple[str, ...]] = ("counterfactual", "counterfactual_layers", "counterfactual_trained")

    def __init__(self, backbone: Backbone, config: Config) -> None:
        super().__init__(backbone, config)
        self.classifier = self.build_classifier().to(backbone.device).eval()
        source, layers, trained = config.counterfactual, config.counterfactual_layers, config.counterfactual_trained
        self.counterfactual = CounterfactualModel(backbone, source, layers, trained, self.told).eval()

    @property
    @abstractmethod
    def told(self) -> Texts:
        """How the counterfactual model is told edit and query (see `CounterfactualModel.prompt`)."""

    @abstractmethod
    def build_classifier(self) -> Scope:
        """The classifier, as its configuration says, before it is trained or loaded."""

    @abstractmethod
    def edited(self, edits: Sequence[Edit]) -> EditedModel:
        """The backbone under one edit or more."""

    @abstractmethod
    def losses(self) -> Losses:
        """What classifier and counterfactual model learn from (see `fgvedit.editors.training.train`)."""

    @property
    def speeds(self) -> Mapping[str, float]:
        """How many times the learning rate that of a part is (see `fgvedit.editors.training.train`)."""
        return {}

    @property
    def parts(self) -> nn.ModuleDict:
        """All that is trained."""
        return nn.ModuleDict({"classifier": self.classifier, "counterfactual": self.counterfactual})

    @property
    def supervision(self) -> str:
        """Its classifier's; the counterfactual model learns from no other probes."""
        return self.classifier.supervision

    @property
    def trained_parameters(self) -> int:
        """How many classifier and counterfactual model have, frozen layers apart."""
        return size(self.parts.parameters())

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        """Store the edits; the backbone is not changed."""
        yield self.edited(edits) if edits else unedited(self.backbone)

    def train(self, records: Sequence[Record], out: Path, seed: int) -> None:
        """Learn classifier and counterfactual model together."""
        train(self.parts, self.losses(), self.config, records, out, seed, self.backbone.revision, self.speeds)
        self.classifier.forget()

    def save(self, folder: Path) -> None:
        """Write classifier and counterfactual model."""
        save_checkpoint(folder, self.parts, self.name, self.backbone, asdict(self.config))

    def load(self, folder: Path) -> None:
        """Read classifier and counterfactual model. Raises `FGVEditError` for a checkpoint that does not fit."""
        wanted: Mapping[str, Any] = {option: getattr(self.config, option) for option in self.architecture}
        load_checkpoint(folder, self.parts, self.name, self.backbone, wanted)
        self.classifier.forget()


class SwitchEditor(MemoryEditor):
    """A memory editor that switches between two models: from a threshold of rho on the counterfactual model answers,
    below it the base model. Its classifier learns to tell what is in scope.

    A subclass says which classifier: that of MSCKE (arXiv 2411.12790) reads images and texts.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MemoryEditor.Config):
        """`threshold`: of rho, from which a query is inside; `scope`: the weight of the classifier's losses, and
        `scope_speed` how many times the learning rate its own is: less than 1 keeps what its encoder knew before;
        `classifier_texts`: see `edit_text`; `counterfactual_texts`: see `CounterfactualModel`.
        """

        classifier_texts: Texts = "plain"
        counterfactual_texts: Texts = "plain"
        threshold: float = 0.5
        scope: float = 1.0
        scope_speed: float = 1.0

        def __post_init__(self) -> None:
            super().__post_init__()
            check_positive(self, "scope_speed")

    architecture = ("classifier_texts", *MemoryEditor.architecture, "counterfactual_texts")

    @property
    def told(self) -> Texts:
        """As configured."""
        return self.config.counterfactual_texts

    @property
    def speeds(self) -> Mapping[str, float]:
        """The classifier's."""
        return {"classifier": self.config.scope_speed}

    def edited(self, edits: Sequence[Edit]) -> EditedModel:
        """From the threshold on the counterfactual model answers, under the most similar edit."""
        route = most_similar(self.classifier.remember(edits), self.config.threshold, "counterfactual")
        inside = Counterfactuals(self.counterfactual, edits)
        return Routed(self.backbone.cached_answerer, inside, route, attention_by(self.classifier, edits))

    def losses(self) -> Losses:
        """Of rho by kind of probe, and of the counterfactual model's answers: `switch_losses`."""
        config = self.config
        return switch_losses(
            self.classifier, self.counterfactual, config.answer_rephrase, config.answer_in_scope, config.scope
        )
