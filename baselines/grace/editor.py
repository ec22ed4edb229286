"""GRACE (Hartvigsen et al., NeurIPS 2023): edits as keys and values in front of one linear map; no weight changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from fgvedit.backbones.answering import Forced, Query
from fgvedit.backbones.base import Backbone
from fgvedit.editors.contract import EditedModel, Editor, Route, unedited
from fgvedit.editors.fine_tuning import Optimisation, edit_loss, optimise
from fgvedit.editors.parameters import chosen_linear, read_by
from fgvedit.editors.routing import Routed
from fgvedit.schema import Edit
from fgvedit.util.options import check_positive

SLACK = 1 + 1e-5  # an edit that a ball was expanded to must not fall out of it by rounding


class GRACE(Editor):
    """A codebook of keys and values in front of one linear map (Hartvigsen et al., NeurIPS 2023, Algorithm 1)."""

    name = "grace"

    @dataclass(frozen=True)
    class Config:
        """`layer`, `module`: the linear map whose output is replaced (index of the language layer, name within it).

        `epsilon`: the radius that a ball starts with, in units of the map's input. `value_init`: "cold" (uniform in
        [0, 1)) or "warm" (what the map gave out). `lr`, `steps`, `stop_loss`: Adam on a value, see `Optimisation`.
        """

        layer: int
        module: str
        epsilon: float = 1.0
        value_init: Literal["cold", "warm"] = "cold"
        lr: float = 1.0
        steps: int = 20
        stop_loss: float = 0.0

        def __post_init__(self) -> None:
            check_positive(self, "epsilon")

    def __init__(self, backbone: Backbone, config: Config) -> None:
        super().__init__(backbone, config)
        self.module = chosen_linear(backbone, config.layer, config.module)
        self.optimisation = Optimisation(optimiser="adam", lr=config.lr, steps=config.steps, stop_loss=config.stop_loss)

    @property
    def trained_parameters(self) -> int:
        """How many one value has: the width of the map's output."""
        return self.module.out_features

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        """Add each edit to a codebook and learn its values: queries within a ball are answered with its value."""
        if not edits:
            yield unedited(self.backbone)
            return
        codebook = Codebook(self.config.epsilon)
        for index, edit in enumerate(edits):
            self._add(codebook, edit, index)
        yield self._under(codebook, edits)

    @contextmanager
    def edit_sequentially(self) -> Iterator[Callable[[Edit], EditedModel]]:
        """As all edits so far together, but a ball whose edits are the same as before keeps its value."""
        made: list[Edit] = []
        codebook = Codebook(self.config.epsilon)

        def make(edit: Edit) -> EditedModel:
            made.append(edit)
            self._add(codebook, edit, len(made) - 1)
            return self._under(codebook, made)

        yield make

    def _add(self, codebook: Codebook, edit: Edit, index: int) -> None:
        (key,) = self._keys([Query(edit.question, edit.image)])
        codebook.add(key, edit.target, index)

    def _under(self, codebook: Codebook, edits: Sequence[Edit]) -> EditedModel:
        for entry in codebook.entries:
            if entry.learnt != entry.edits:
                entry.value = self._learn(entry, [edits[index] for index in entry.edits])
                entry.learnt = list(entry.edits)
        values = {entry.edits[0]: entry.value for entry in codebook.entries if entry.value is not None}

        def route(queries: Sequence[Query]) -> list[Route]:
            return [
                Route("edited" if distance <= entry.epsilon else "base", entry.edits[0], similarity(distance, entry))
                for entry, distance in codebook.nearest(torch.stack(self._keys(queries)))
            ]

        return Routed(self.backbone.cached_answerer, Replacing(self.backbone, self.module, values), route)

    def _keys(self, queries: Sequence[Query]) -> list[torch.Tensor]:
        """(width,) for each query: what the map reads at the prompt's end."""
        return [tokens[-1] for tokens in read_by(self.module, self.backbone, queries)]

    def _learn(self, entry: Entry, edits: Sequence[Edit]) -> torch.Tensor:
        """The value (width of the map's output,), float32, under which the backbone gives these edits' targets."""
        if entry.start is None:
            entry.start = self._start(entry.key)
        parameter = nn.Parameter(entry.start.clone())
        # The loss has the end of sequence after each target.
        ends = [len(self.backbone.answer_ids(edit.target)) + 2 for edit in edits]

        def loss() -> torch.Tensor:
            with replaced(self.module, parameter.expand(len(edits), -1), ends):
                return edit_loss(self.backbone, edits)

        optimise(loss, [parameter], self.optimisation)
        return parameter.detach()

    def _start(self, key: torch.Tensor) -> torch.Tensor:
        """What a value is before it learns (width,), float32."""
        if self.config.value_init == "cold":
            return torch.rand(self.module.out_features, device=self.backbone.device)
        with torch.no_grad():
            return self.module(key.to(self.module.weight.dtype)).float()


@dataclass
class Entry:
    """A ball of prompts that share a value: its key (width,), its radius, the edits in it, the one that made it first,
    and their target; its value (width of the map's output,), from where it started to learn and of which edits."""

    key: torch.Tensor
    epsilon: float
    target: str
    edits: list[int] = field(default_factory=list)
    start: torch.Tensor | None = None
    value: torch.Tensor | None = None
    learnt: list[int] = field(default_factory=list)


class Codebook:
    """Which edit stands for which activations (the paper's Algorithm 1). `epsilon`: the radius that a ball starts with.

    Distances are Euclidean. Where a query lies in several balls, the nearest key counts.
    """

    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon
        self.entries: list[Entry] = []

    def add(self, key: torch.Tensor, target: str, edit: int) -> None:
        """Expand the nearest ball to hold `key` where it has the same target and a new ball would touch it; otherwise
        make a new ball, which halves the way to those of other targets that it would overlap."""
        distances = self.distances(key[None])[0].tolist()
        if distances:
            distance, entry = min(zip(distances, self.entries, strict=True), key=lambda pair: pair[0])
            if entry.target == target and distance <= entry.epsilon + self.epsilon:
                entry.epsilon = max(entry.epsilon, distance * SLACK)
                entry.edits.append(edit)
                return
            if distance == 0:  # the same prompt with another target: nothing is left to halve, the later one counts
                entry.target, entry.edits = target, [edit]
                return
        new = Entry(key, self.epsilon, target, [edit])
        for distance, entry in zip(distances, self.entries, strict=True):
            if entry.target != target and distance < entry.epsilon + self.epsilon:
                entry.epsilon = min(entry.epsilon, distance / 2)
                new.epsilon = min(new.epsilon, distance / 2)
        self.entries.append(new)

    def nearest(self, keys: torch.Tensor) -> list[tuple[Entry, float]]:
        """For each of `keys` (n, width) the entry of the nearest key and the distance to it."""
        found = self.distances(keys).min(dim=1)
        return [
            (self.entries[index], distance)
            for index, distance in zip(found.indices.tolist(), found.values.tolist(), strict=True)
        ]

    def distances(self, keys: torch.Tensor) -> torch.Tensor:
        """(n, entries) for keys (n, width); 0, exactly, for a key that is an entry's own."""
        if not self.entries:
            return keys.new_zeros(len(keys), 0)
        mine = torch.stack([entry.key for entry in self.entries])
        return torch.cdist(keys, mine, compute_mode="donot_use_mm_for_euclid_dist")


def similarity(distance: float, entry: Entry) -> float:
    """rho: 1 at the key, 0.5 at the edge of its ball."""
    return 2 ** (-distance / entry.epsilon)


@contextmanager
def replaced(module: nn.Module, values: torch.Tensor, ends: Sequence[int]) -> Iterator[None]:
    """Let `module` give out `values` (rows, width), one for each row of a left-padded batch, at the prompts' ends;
    `ends`: how many tokens from the row's end that is, 1 for the last.

    This holds for the first forward pass in the block: in generation that is the one over the prompts, and the passes
    over single new tokens after it see the value through the layers above.
    """
    waiting = True

    def replace(_: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor | None:
        nonlocal waiting
        if not waiting:
            return None
        waiting = False
        rows = output.reshape(len(values), -1, output.shape[-1]).clone()
        at = torch.tensor(ends, device=output.device)
        rows[torch.arange(len(values), device=output.device), -at] = values.to(output.dtype)
        return rows.reshape(output.shape)

    hook = module.register_forward_hook(replace)
    try:
        yield
    finally:
        hook.remove()


class Replacing:
    """The backbone with the value of each query's edit in force (see `fgvedit.editors.routing.InScopeAnswerer`).

    `values`: the edit that made a key -> its value (width,).
    """

    def __init__(self, backbone: Backbone, module: nn.Module, values: dict[int, torch.Tensor]) -> None:
        self.backbone = backbone
        self.module = module
        self.values = values

    def generate(self, queries: Sequence[Query], edits: Sequence[int | None], max_new_tokens: int) -> list[str]:
        """Greedy free answers, each with its edit's value at the prompt's end."""
        with self._replaced(edits, [1] * len(queries)):
            return self.backbone.generate(queries, max_new_tokens)

    def teacher_force(
        self, queries: Sequence[Query], edits: Sequence[int | None], answers: Sequence[str]
    ) -> list[Forced]:
        """What is predicted with the answers in the input, each with its edit's value at the prompt's end."""
        with self._replaced(edits, [len(self.backbone.answer_ids(answer)) + 1 for answer in answers]):
            return self.backbone.teacher_force(queries, answers)

    @contextmanager
    def _replaced(self, edits: Sequence[int | None], ends: Sequence[int]) -> Iterator[None]:
        rows = [self.values[edit] for edit in edits if edit is not None]
        if not rows:
            yield
            return
        with replaced(self.module, torch.stack(rows), ends):
            yield
