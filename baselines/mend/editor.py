"""MEND as an editor: one step on the weights, along the gradient of the edits as the networks transform it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from baselines.mend.networks import EditorNetworks, Factors, NetworkOptions, counts, gradient_factors
from baselines.mend.training import mend_losses
from fgvedit.backbones.base import Backbone
from fgvedit.editors.checkpoints import load_checkpoint, save_checkpoint
from fgvedit.editors.contract import EditedModel, Editor, restored, size
from fgvedit.editors.fine_tuning import edit_loss, edited_model
from fgvedit.editors.training import Training, train
from fgvedit.schema import Edit, Record


class MEND(Editor):
    """A step on a few weights, along the gradient of the edits as trained networks transform it (Mitchell et al. 2022,
    with the settings and losses of the released FGVEdit code)."""

    name = "mend"
    trained = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Training, NetworkOptions):
        """`answer_rephrase`, `answer_in_scope`, `locality`: weights of the losses, see `mend_losses`."""

        answer_rephrase: float = 0.1
        answer_in_scope: float = 0.1
        locality: float = 1.0

        def __post_init__(self) -> None:
            Training.__post_init__(self)
            NetworkOptions.__post_init__(self)

    # What a checkpoint must agree on; the rest of the configuration says how it was trained.
    architecture = ("layers", "parameters", "rank", "hidden_layers", "edit_lr", "rate_speed")

    def __init__(self, backbone: Backbone, config: Config) -> None:
        super().__init__(backbone, config)
        self.networks = EditorNetworks(backbone, config).eval()

    @property
    def trained_parameters(self) -> int:
        """How many the networks and the rates have."""
        return size(self.networks.parameters())

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        """One step on the gradient of the mean loss of the edits."""
        with mend_edited(self.backbone, self.networks, edits) if edits else nullcontext():
            yield edited_model(self.backbone, edits)

    @contextmanager
    def edit_sequentially(self) -> Iterator[Callable[[Edit], EditedModel]]:
        """A step for each edit, computed on the weights as the steps before left them."""
        made: list[Edit] = []
        weights = {name: linear.get_parameter("weight") for name, linear in self.networks.linears.items()}
        with restored(weights):

            def make(edit: Edit) -> EditedModel:
                take(self.networks, mend_step(self.backbone, self.networks, [edit]))
                made.append(edit)
                return edited_model(self.backbone, made)

            yield make

    def train(self, records: Sequence[Record], out: Path, seed: int) -> None:
        """Learn networks and rates, by `mend_losses`; the backbone stays as it is."""
        config = self.config
        weights = (config.answer_rephrase, config.answer_in_scope, config.locality)
        losses = mend_losses(self.backbone, self.networks, *weights)
        train(self.networks, losses, self.config, records, out, seed, self.backbone.revision)

    def save(self, folder: Path) -> None:
        """Write networks, statistics and rates."""
        save_checkpoint(folder, self.networks, self.name, self.backbone, asdict(self.config))

    def load(self, folder: Path) -> None:
        """Read networks, statistics and rates. Raises `FGVEditError` for a checkpoint that does not fit."""
        wanted = {option: getattr(self.config, option) for option in self.architecture}
        load_checkpoint(folder, self.networks, self.name, self.backbone, wanted)


@contextmanager
def mend_edited(backbone: Backbone, networks: EditorNetworks, edits: Sequence[Edit]) -> Iterator[None]:
    """Inside, `backbone` has made MEND's step on one or more edits; afterwards it holds the bits it held before."""
    with stepped(networks, mend_step(backbone, networks, edits)):
        yield


def mend_step(backbone: Backbone, networks: EditorNetworks, edits: Sequence[Edit]) -> Factors:
    """For each weight, x (tokens, in) and rate * delta (tokens, out) of the transformed gradient of the mean loss of
    one or more edits; the step takes delta^T x off the weight."""
    step = {}
    for name, (x, delta) in gradient_factors(networks, lambda: edit_loss(backbone, edits)).items():
        with torch.no_grad():
            used = counts(x, delta)
            x, delta = networks(name, x[used], delta[used])
            step[name] = x, networks.rate(name) * delta
    return step


@contextmanager
def stepped(networks: EditorNetworks, step: Factors) -> Iterator[None]:
    """Inside, the weights have made a step that `mend_step` gave; afterwards they hold the bits they held before."""
    weights = {name: networks.linears[name].get_parameter("weight") for name in step}
    with restored(weights):
        take(networks, step)
        yield


@torch.no_grad()
def take(networks: EditorNetworks, step: Factors) -> None:
    """Make a step that `mend_step` gave on the weights as they are."""
    for name, (x, delta) in step.items():
        weight = networks.linears[name].get_parameter("weight")
        weight.copy_(weight.float() - delta.T @ x)
