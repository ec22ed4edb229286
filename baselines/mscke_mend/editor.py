"""MSCKE-MEND (the paper's strongest editor): inside the scope that MSCKE's classifier draws, MEND answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from torch import nn

from baselines.mend.editor import MEND, mend_step, stepped
from baselines.mend.networks import EditorNetworks, Factors, NetworkOptions
from fgvedit.backbones.answering import Forced, Query
from fgvedit.backbones.base import Backbone
from fgvedit.editors.checkpoints import load_checkpoint, save_checkpoint
from fgvedit.editors.contract import EditedModel, Editor, size, unedited
from fgvedit.editors.memory.clip import Clip
from fgvedit.editors.memory.scope import attention_by
from fgvedit.editors.memory.texts import Texts
from fgvedit.editors.mscke.classifier import ScopeClassifier
from fgvedit.editors.mscke.editor import MSCKE
from fgvedit.editors.registry import checkpoint_folder
from fgvedit.editors.routing import Routed, most_similar
from fgvedit.schema import Edit, Record

Answer = TypeVar("Answer")


class MSCKEMend(Editor):
    """MSCKE's scope classifier before a base model that MEND edits (arXiv 2411.12790, MSCKE-MEND)."""

    name = "mscke-mend"
    trained = True

    @dataclass(frozen=True, kw_only=True)
    class Config(NetworkOptions):
        """`clip`, `clip_weights`, `fusion`, `classifier_texts`, `threshold`: as MSCKE's. The others: as MEND's.

        `mscke`, `mend`: the folders of the two checkpoints that training puts together; empty for those shipped.
        """

        clip: str = "ViT-L-14"
        clip_weights: str = "openai"
        fusion: str = "dot"
        classifier_texts: Texts = "plain"
        threshold: float = 0.5
        mscke: str = ""
        mend: str = ""

    # What a checkpoint must agree on, with each of the two that it is made of.
    of_mscke = ("clip", "fusion", "classifier_texts")
    of_mend = MEND.architecture
    architecture = (*of_mscke, *of_mend)

    def __init__(self, backbone: Backbone, config: Config) -> None:
        super().__init__(backbone, config)
        clip = Clip(config.clip, config.clip_weights)
        classifier = ScopeClassifier(clip, config.fusion, config.classifier_texts)
        self.classifier = classifier.to(backbone.device).eval()
        self.networks = EditorNetworks(backbone, config).eval()

    @property
    def parts(self) -> nn.ModuleDict:
        """All that a checkpoint holds."""
        return nn.ModuleDict({"classifier": self.classifier, "networks": self.networks})

    @property
    def supervision(self) -> str:
        """Its classifier's; MEND's networks learn from no other probes."""
        return self.classifier.supervision

    @property
    def trained_parameters(self) -> int:
        """How many the classifier and MEND's networks have."""
        return size(self.parts.parameters())

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        """Store the edits, with MEND's step on each by itself, taken from the base weights."""
        yield self._edited(edits, [self._step(edit) for edit in edits]) if edits else unedited(self.backbone)

    @contextmanager
    def edit_sequentially(self) -> Iterator[Callable[[Edit], EditedModel]]:
        """Each edit's step is computed once: it knows of no other edit."""
        made: list[Edit] = []
        steps: list[Factors] = []

        def make(edit: Edit) -> EditedModel:
            made.append(edit)
            steps.append(self._step(edit))
            return self._edited(made, steps)

        yield make

    def _step(self, edit: Edit) -> Factors:
        return mend_step(self.backbone, self.networks, [edit])

    def _edited(self, edits: Sequence[Edit], steps: Sequence[Factors]) -> EditedModel:
        route = most_similar(self.classifier.remember(edits), self.config.threshold, "edited")
        inside = MendEdited(self.backbone, self.networks, steps)
        return Routed(self.backbone.cached_answerer, inside, route, attention_by(self.classifier, edits))

    def train(self, records: Sequence[Record], out: Path, seed: int) -> None:
        """Take the classifier of MSCKE's checkpoint and the networks of MEND's.

        Their losses have no parameter in common, so that training the two together is training each by itself.
        """
        mscke, mend = (
            checkpoint_folder(kind, self.backbone.name, Path(given) if given else None)
            for kind, given in ((MSCKE, self.config.mscke), (MEND, self.config.mend))
        )
        assert mscke and mend  # both are trained editors
        load_checkpoint(mscke, self.classifier, "mscke", self.backbone, self._options(self.of_mscke), "classifier")
        load_checkpoint(mend, self.networks, "mend", self.backbone, self._options(self.of_mend))
        self.classifier.forget()

    def save(self, folder: Path) -> None:
        """Write the classifier and MEND's networks."""
        save_checkpoint(folder, self.parts, self.name, self.backbone, asdict(self.config))

    def load(self, folder: Path) -> None:
        """Read the classifier and MEND's networks. Raises `FGVEditError` for a checkpoint that does not fit."""
        wanted = self._options(self.architecture)
        load_checkpoint(folder, self.parts, self.name, self.backbone, wanted)
        self.classifier.forget()

    def _options(self, names: Sequence[str]) -> dict[str, object]:
        return {name: getattr(self.config, name) for name in names}


class MendEdited:
    """Each query under MEND's step on the edit that counts for it, and on no other (see
    `fgvedit.editors.routing.InScopeAnswerer`).

    `steps`: what `mend_step` gave for each edit by itself.
    """

    def __init__(self, backbone: Backbone, networks: EditorNetworks, steps: Sequence[Factors]) -> None:
        self.backbone = backbone
        self.networks = networks
        self.steps = steps

    def generate(self, queries: Sequence[Query], edits: Sequence[int | None], max_new_tokens: int) -> list[str]:
        """Greedy free answers, each under its query's edit."""
        return self._by_edit(edits, lambda rows: self.backbone.generate([queries[row] for row in rows], max_new_tokens))

    def teacher_force(
        self, queries: Sequence[Query], edits: Sequence[int | None], answers: Sequence[str]
    ) -> list[Forced]:
        """What is predicted with the answers in the input, each under its query's edit."""
        return self._by_edit(
            edits,
            lambda rows: self.backbone.teacher_force([queries[row] for row in rows], [answers[row] for row in rows]),
        )

    def _by_edit(self, edits: Sequence[int | None], answer: Callable[[list[int]], list[Answer]]) -> list[Answer]:
        """The answers of all rows, those of each edit in one batch."""
        rows: dict[int, list[int]] = {}
        for row, edit in enumerate(edits):
            if edit is not None:
                rows.setdefault(edit, []).append(row)
        answers: dict[int, Answer] = {}
        for edit, own in rows.items():
            with stepped(self.networks, self.steps[edit]):
                answers.update(zip(own, answer(own), strict=True))
        return [answers[row] for row in range(len(edits))]
