"""WISE (Wang et al., NeurIPS 2024): edits in a side memory, a copy of one linear map, and a router by activation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from fgvedit.backbones.answering import Forced, Query
from fgvedit.backbones.base import Backbone
from fgvedit.editors.contract import EditedModel, Editor, Route, restored, unedited
from fgvedit.editors.fine_tuning import Optimisation, edit_loss, optimise
from fgvedit.editors.parameters import chosen_linear, read_by
from fgvedit.editors.routing import Routed
from fgvedit.schema import Edit
from fgvedit.util.errors import FGVEditError
from fgvedit.util.options import check_positive


class WISE(Editor):
    """A side memory for one linear map, and a router by what it changes of the map's output (Wang et al., NeurIPS 2024;
    values of EasyEdit)."""

    name = "wise"

    @dataclass(frozen=True)
    class Config:
        """`layer`, `module`: the linear map that is copied (index of the language layer, name within it).

        `irrelevant`: text-only questions that the router learns to leave to the main memory. `lr`, `steps`,
        `stop_loss`: plain gradient descent on a shard. `norm_constraint`: how far an entry of the side memory may go
        from the main memory's. `mask_ratio`: the share of entries that a shard may change. `shard`: edits in a shard,
        `density`: the share of its changes, the largest, that it brings into the merged memory. `alpha`, `beta`,
        `gamma`: the margins of the routing loss. `act_ratio`: the threshold, as a share of the edits' least activation.
        """

        layer: int
        module: str
        irrelevant: list[str]
        lr: float = 1.0
        steps: int = 10
        stop_loss: float = 0.02
        norm_constraint: float = 1.0
        mask_ratio: float = 0.2
        shard: int = 500
        density: float = 0.53
        alpha: float = 5.0
        beta: float = 20.0
        gamma: float = 10.0
        act_ratio: float = 0.4

        def __post_init__(self) -> None:
            check_positive(self, "norm_constraint", "shard", "mask_ratio", "density", "act_ratio")
            for option in ("mask_ratio", "density", "act_ratio"):
                if (found := getattr(self, option)) > 1:
                    raise FGVEditError(f"option '{option}': found {found}, expected at most 1")
            for option in ("alpha", "beta", "gamma"):
                if (found := getattr(self, option)) < 0:
                    raise FGVEditError(f"option '{option}': found {found}, expected at least 0")
            if not self.irrelevant:
                raise FGVEditError("option 'irrelevant': found an empty list, expected one or more questions")

    def __init__(self, backbone: Backbone, config: Config) -> None:
        super().__init__(backbone, config)
        self.module = chosen_linear(backbone, config.layer, config.module)
        self.optimisation = Optimisation(optimiser="sgd", lr=config.lr, steps=config.steps, stop_loss=config.stop_loss)

    @property
    def trained_parameters(self) -> int:
        """How many a copy of the map's weight has."""
        return self.module.weight.numel()

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        """Learn the edits shard by shard, merge the shards into one side memory, and route by activation."""
        if not edits:
            yield unedited(self.backbone)
            return
        # The map's inputs come from below it: no side memory changes them, and they are computed once.
        size = self.config.shard
        read, irrelevant = self._read(edits), self._irrelevant()
        shards = [
            self._learn(edits[start : start + size], read[start : start + size], irrelevant, self._new_shard())
            for start in range(0, len(edits), size)
        ]
        yield self._under(shards, read)

    @contextmanager
    def edit_sequentially(self) -> Iterator[Callable[[Edit], EditedModel]]:
        """As in the paper: each edit is learnt by itself, and goes on from the side memory that those before it left
        behind; after `shard` edits the next copy, with a mask of its own, begins."""
        shards: list[Shard] = []
        read: list[torch.Tensor] = []
        irrelevant = self._irrelevant()

        def make(edit: Edit) -> EditedModel:
            if len(read) % self.config.shard == 0:
                shards.append(self._new_shard())
            own = self._read([edit])
            shards[-1] = self._learn([edit], own, irrelevant, shards[-1])
            read.extend(own)
            return self._under(shards, read)

        yield make

    def _under(self, shards: Sequence[Shard], read: Sequence[torch.Tensor]) -> EditedModel:
        """The backbone under edits of which the map reads `read`."""
        side = merge(self.module.weight.detach(), [shard.weight for shard in shards], self.config.density)
        change = side.float() - self.module.weight.detach().float()
        threshold = self.config.act_ratio * activations(read, change).min().item()
        only = 0 if len(read) == 1 else None

        def route(queries: Sequence[Query]) -> list[Route]:
            found = activations(read_by(self.module, self.backbone, queries), change).tolist()
            return [
                Route("edited" if delta >= threshold else "base", only, similarity(delta, threshold)) for delta in found
            ]

        return Routed(self.backbone.cached_answerer, SideMemory(self.backbone, self.module, side), route)

    def _read(self, edits: Sequence[Edit]) -> list[torch.Tensor]:
        """What the map reads over each edit's image and prompt."""
        return read_by(self.module, self.backbone, [Query(edit.question, edit.image) for edit in edits])

    def _irrelevant(self) -> list[torch.Tensor]:
        return read_by(self.module, self.backbone, [Query(question) for question in self.config.irrelevant])

    def _new_shard(self) -> Shard:
        main = self.module.get_parameter("weight").detach().clone()
        return Shard(main, torch.rand(main.shape, device=main.device) < self.config.mask_ratio)

    def _learn(
        self, edits: Sequence[Edit], read: Sequence[torch.Tensor], irrelevant: Sequence[torch.Tensor], shard: Shard
    ) -> Shard:
        """A shard optimised on these edits, changed only where its mask lets it."""
        config, weight, mask = self.config, self.module.get_parameter("weight"), shard.mask
        main = weight.detach().clone()
        low, high = main.float() - config.norm_constraint, main.float() + config.norm_constraint

        def loss() -> torch.Tensor:
            # The weight of the module is the side memory while it is learned.
            change = weight.float() - main.float()
            inside, outside = activations(read, change), activations(irrelevant, change)
            routing = routing_loss(inside, outside, config.alpha, config.beta, config.gamma)
            return edit_loss(self.backbone, edits) + routing

        def constrain(masters: list[torch.Tensor]) -> None:
            for master in masters:
                master.copy_(master.clamp(low, high))

        with restored({config.module: weight}):
            with torch.no_grad():
                weight.copy_(shard.weight)
            optimise(
                loss, [weight], self.optimisation, lambda found: [gradient * mask for gradient in found], constrain
            )
            return Shard(weight.detach().clone(), mask)


@dataclass(frozen=True, eq=False)
class Shard:
    """A copy of the map's weight, and which of its entries may change."""

    weight: torch.Tensor
    mask: torch.Tensor


def activations(read: Sequence[torch.Tensor], change: torch.Tensor) -> torch.Tensor:
    """The paper's Delta_act of each of `read`, (tokens, width) in float32: the length of a token's A(x) (W' - W), as a
    mean over the tokens. `change`: W' - W, (out, width)."""
    # One at a time, so that an edit's own query has, to the last bit, what the threshold was taken from.
    return torch.stack([(tokens @ change.T).norm(dim=-1).mean() for tokens in read])


def routing_loss(inside: torch.Tensor, outside: torch.Tensor, alpha: float, beta: float, gamma: float) -> torch.Tensor:
    """The paper's margins, as a mean over the pairs of an edit and an irrelevant prompt: the activation of the
    irrelevant one at most `alpha`, that of the edit at least `beta`, and `gamma` between them."""
    edits, others = inside[:, None], outside[None]
    return ((others - alpha).relu() + (beta - edits).relu() + (gamma - edits + others).relu()).mean()


def merge(main: torch.Tensor, shards: Sequence[torch.Tensor], density: float) -> torch.Tensor:
    """TIES (Yadav et al., 2023) of weights learned from `main`: of each shard's changes the largest `density` of all
    entries, and in every entry the mean of those whose sign is that of their sum. One shard needs no merging."""
    if len(shards) == 1:
        return shards[0]
    changes = torch.stack([trimmed(shard.float() - main.float(), density) for shard in shards])
    sign = torch.where(changes.sum(dim=0) >= 0, 1.0, -1.0)
    agree = changes.sign() == sign
    mean = (changes * agree).sum(dim=0) / agree.sum(dim=0).clamp_min(1)
    return (main.float() + mean).to(main.dtype)


def trimmed(change: torch.Tensor, density: float) -> torch.Tensor:
    """`change` with all but the largest `density` of its entries set to 0."""
    largest = change.abs().flatten().topk(max(1, int(density * change.numel()))).indices
    return torch.zeros_like(change).flatten().index_put((largest,), change.flatten()[largest]).view_as(change)


def similarity(delta: float, threshold: float) -> float:
    """rho: 0.5 at the threshold, towards 1 far above it."""
    return delta / (delta + threshold) if delta + threshold > 0 else 0.5


class SideMemory:
    """The backbone with the side memory, which is of all edits together, in the place of the main one, for as long as
    it takes to answer (see `fgvedit.editors.routing.InScopeAnswerer`)."""

    def __init__(self, backbone: Backbone, module: torch.nn.Linear, side: torch.Tensor) -> None:
        self.backbone = backbone
        self.module = module
        self.side = side

    def generate(self, queries: Sequence[Query], edits: Sequence[int | None], max_new_tokens: int) -> list[str]:
        """Greedy free answers with the side memory in force."""
        with self._in_place():
            return self.backbone.generate(queries, max_new_tokens)

    def teacher_force(
        self, queries: Sequence[Query], edits: Sequence[int | None], answers: Sequence[str]
    ) -> list[Forced]:
        """What is predicted with the answers in the input and the side memory in force."""
        with self._in_place():
            return self.backbone.teacher_force(queries, answers)

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        weight = self.module.get_parameter("weight")
        with restored({"weight": weight}):
            with torch.no_grad():
                weight.copy_(self.side)
            yield
