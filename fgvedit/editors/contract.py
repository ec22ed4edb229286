"""The contract of an editor: what it does with edits, and what it gives to be asked."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from fgvedit.backbones.answering import MAX_NEW_TOKENS, Answerer, Forced, Query
from fgvedit.backbones.base import Backbone
from fgvedit.editors.supervision import NONE, PAPERS_KINDS
from fgvedit.schema import Edit, Record
from fgvedit.util.errors import FGVEditError


@dataclass(frozen=True)
class Route:
    """Why a query was answered as it was.

    `to`: "base" (the unedited model), "edited" (a model with changed weights, layers or prompt), "counterfactual" (a
    second model) or "mixed" (both of these: rho is the second model's weight, and has to be there). `edit`: the index,
    among the edits in force, of the one that counted. `rho`: its similarity. Whether a query was sent away from the
    base model is said by `fgvedit.evaluation.rows.away`.
    """

    to: str
    edit: int | None = None
    rho: float | None = None


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """Where in two images a scope classifier attended to compare a query with a stored edit.

    `edit`: for the edit's fact, in the edit's image; `query`: for the query's question, in its own image, None where it
    has none. Both (rows, columns) of the image's patches, of sum 1, on the CPU. `fit`: of how much of an image that is
    (see `fgvedit.viewers.pages.fit.area`).
    """

    edit: torch.Tensor
    query: torch.Tensor | None
    fit: str = "squash"


class EditedModel(ABC):
    """A backbone under one or more edits. It answers as a backbone does and explains each answer.

    What it says of a query does not depend on which others are asked with it, nor on their order.
    """

    @abstractmethod
    def generate(self, queries: Sequence[Query], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
        """Greedy free answers, one for each query, as `Answerer.generate` gives them."""

    @abstractmethod
    def teacher_force(self, queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]:
        """What is predicted with each query's answer in the input, as `Answerer.teacher_force` gives it."""

    @abstractmethod
    def explain(self, queries: Sequence[Query]) -> list[Route]:
        """The route of each query."""

    def attention_maps(self, queries: Sequence[Query]) -> list[AttentionMaps] | None:
        """Where a router that reads images attended, for each query and the stored edit that counted; None for an
        editor that has no such router."""
        return None


class SingleRoute(EditedModel):
    """An edited model that answers every query through one answerer, by one route."""

    def __init__(self, answerer: Answerer, route: Route) -> None:
        self.answerer = answerer
        self.route = route

    def generate(self, queries: Sequence[Query], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
        """The answerer's greedy free answers."""
        return self.answerer.generate(queries, max_new_tokens)

    def teacher_force(self, queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]:
        """The answerer's predictions with the answers in the input."""
        return self.answerer.teacher_force(queries, answers)

    def explain(self, queries: Sequence[Query]) -> list[Route]:
        """The one route, for each query."""
        return [self.route] * len(queries)


def unedited(backbone: Backbone) -> EditedModel:
    """The backbone where no edit is in force."""
    return SingleRoute(backbone.cached_answerer, Route("base"))


class Editor(ABC):
    """A way to edit a backbone.

    A subclass has a `Config` dataclass, whose values for each backbone stand in `config.yaml` beside its module, and,
    where it is trained, its shipped checkpoints in `checkpoints/<backbone>/` there.

    `control`: whether it makes no edit at all, so that runs of it stand beside the others without a rank. An editor
    that is built on such a one, and edits, says False.
    """

    name: ClassVar[str]
    Config: ClassVar[type]
    control: ClassVar[bool] = False
    trained: ClassVar[bool] = False  # whether it needs `train` or `load` before it can edit
    architecture: ClassVar[tuple[str, ...]] = ()  # the options that shape what is trained: a checkpoint has its own

    def __init__(self, backbone: Backbone, config: Any) -> None:
        self.backbone = backbone
        self.config = config

    @property
    def supervision(self) -> str:
        """What it learned from beforehand, one of `fgvedit.editors.supervision.SUPERVISION`: unless an editor says
        otherwise, the paper's kinds of probes where it is `trained`, and nothing where it is not."""
        return PAPERS_KINDS if self.trained else NONE

    @property
    def trained_parameters(self) -> int | None:
        """How many parameters the method trains, ahead or for one edit; None where the editor does not say."""
        return None

    @abstractmethod
    def edit(self, edits: Sequence[Edit]) -> AbstractContextManager[EditedModel]:
        """The backbone under `edits`, of which there may be none. On leaving, after an exception too, the backbone is
        what it was, bit for bit.

        Raises `FGVEditError` for edits that the method cannot make.
        """

    def edit_sequentially(self) -> AbstractContextManager[Callable[[Edit], EditedModel]]:
        """Sequential editing: inside, each call makes one more edit on top of those made before, and gives the backbone
        under all of them; what an earlier call gave is no longer to be asked. On leaving, the backbone is what it was,
        bit for bit.

        Here the edits so far are made anew, together, which is right for a memory that keeps every edit as it is. An
        editor whose next edit goes on from what those before left behind says how.
        """
        return _together(self)

    def train(self, records: Sequence[Record], out: Path, seed: int) -> None:
        """Train on `records`, showing progress, with what is needed to go on after a stop in the folder `out`.

        Raises `FGVEditError` for an editor that is not trained, and for records that it cannot learn from.
        """
        raise FGVEditError(f"editor '{self.name}' has nothing to train; run it with python -m fgvedit.run")

    def save(self, folder: Path) -> None:
        """Write what was trained into a folder: safetensors and JSON."""
        raise FGVEditError(f"editor '{self.name}' has nothing to save")

    def load(self, folder: Path) -> None:
        """Read what `save` wrote. Raises `FGVEditError` for a checkpoint that is damaged or of another backbone."""
        raise FGVEditError(f"editor '{self.name}' has nothing to load")

    @classmethod
    def home(cls) -> Path:
        """The folder of its module, where `config.yaml` and `checkpoints/` are."""
        return Path(inspect.getfile(cls)).parent


@contextmanager
def _together(editor: Editor) -> Iterator[Callable[[Edit], EditedModel]]:
    made: list[Edit] = []
    with ExitStack() as in_force:

        def make(edit: Edit) -> EditedModel:
            in_force.close()
            made.append(edit)
            return in_force.enter_context(editor.edit(tuple(made)))

        yield make


def size(parameters: Iterable[torch.Tensor]) -> int:
    """How many numbers they hold, together."""
    return sum(parameter.numel() for parameter in parameters)


@contextmanager
def restored(parameters: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """Let the `with` block change these parameters, by name, in place; afterwards they hold the bits they held before,
    and their gradients are gone."""
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    requires_grad = {name: parameter.requires_grad for name, parameter in parameters.items()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(before[name])
                parameter.requires_grad_(requires_grad[name])
                parameter.grad = None
