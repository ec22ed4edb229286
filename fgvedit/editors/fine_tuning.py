"""How an edit is learnt by gradient descent when it is made: what the fine-tuning and memory baselines share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from fgvedit.backbones.base import Backbone
from fgvedit.editors.contract import EditedModel, Route, SingleRoute, restored, unedited
from fgvedit.schema import Edit
from fgvedit.util.errors import FGVEditError, unknown
from fgvedit.util.options import check_positive

OPTIMISERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """How a few parameters learn an edit. `optimiser`: one of `OPTIMISERS`; `lr_decay`: what the learning rate is
    multiplied by after each step; `steps`: at most; `stop_loss`: nats a token of the answer, below which the edit is
    learnt (0: never stop early)."""

    optimiser: str = "adamw"
    lr: float
    lr_decay: float = 1.0
    steps: int
    stop_loss: float = 0.01
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise unknown("optimiser (option 'optimiser')", self.optimiser, OPTIMISERS)
        check_positive(self, "lr", "lr_decay", "steps")
        for option in ("stop_loss", "weight_decay"):
            if not (found := getattr(self, option)) >= 0:
                raise FGVEditError(f"option '{option}': found {found}, expected 0 or more")


def edit_loss(backbone: Backbone, edits: Sequence[Edit]) -> torch.Tensor:
    """The mean cross-entropy, in nats a token, of the edits' targets and the end of sequence after them, with gradient;
    each target follows its question and image."""
    prompts = [backbone.prompt(edit.question) for edit in edits]
    return backbone.answer_loss(prompts, [edit.image for edit in edits], [edit.target for edit in edits])


def optimise(
    loss: Callable[[], torch.Tensor],
    parameters: Sequence[nn.Parameter],
    settings: Optimisation,
    gradients: Callable[[list[torch.Tensor]], list[torch.Tensor]] | None = None,
    constrain: Callable[[list[torch.Tensor]], None] | None = None,
) -> None:
    """Change `parameters` in place until `loss()` is below `settings.stop_loss`, or for `settings.steps` steps.

    The optimiser works on copies in float32: a small step is lost in a half-precision weight. `gradients` may change
    the gradients before a step (a mask), `constrain` the float32 copies, in place, after it (a bound); both get one
    tensor for each parameter, in their order.
    """
    for parameter in parameters:
        parameter.requires_grad_(True)
    masters = [parameter.detach().float().clone() for parameter in parameters]
    optimiser = OPTIMISERS[settings.optimiser](masters, lr=settings.lr, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, settings.lr_decay)
    for _ in range(settings.steps):
        with torch.enable_grad():
            value = loss()
        # Reading the loss waits for the device, so it is read only where it can end this.
        if settings.stop_loss and value.item() < settings.stop_loss:
            break
        found = [gradient.float() for gradient in torch.autograd.grad(value, parameters)]
        for master, gradient in zip(masters, gradients(found) if gradients else found, strict=True):
            master.grad = gradient
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            if constrain:
                constrain(masters)
            for parameter, master in zip(parameters, masters, strict=True):
                parameter.copy_(master)


@contextmanager
def fine_tuned_sequentially(
    backbone: Backbone,
    parameters: Mapping[str, nn.Parameter],
    settings: Optimisation,
    constrain: Callable[[list[torch.Tensor]], None] | None = None,
) -> Iterator[Callable[[Edit], EditedModel]]:
    """Sequential editing: inside, each call goes on from the parameters as they are, by an optimisation of its own on
    one more edit; afterwards they hold their own bits again. `constrain`: see `optimise`."""
    made: list[Edit] = []
    with restored(parameters):

        def make(edit: Edit) -> EditedModel:
            optimise(lambda: edit_loss(backbone, [edit]), list(parameters.values()), settings, constrain=constrain)
            made.append(edit)
            return edited_model(backbone, made)

        yield make


@contextmanager
def fine_tuned(
    backbone: Backbone,
    parameters: Mapping[str, nn.Parameter],
    edits: Sequence[Edit],
    settings: Optimisation,
    constrain: Callable[[list[torch.Tensor]], None] | None = None,
) -> Iterator[EditedModel]:
    """The backbone after an optimisation of these parameters on the edits, all in one batch; afterwards they hold their
    own bits again. `constrain`: see `optimise`."""
    with restored(parameters):
        if edits:
            optimise(lambda: edit_loss(backbone, edits), list(parameters.values()), settings, constrain=constrain)
        yield edited_model(backbone, edits)


def edited_model(backbone: Backbone, edits: Sequence[Edit]) -> EditedModel:
    """The backbone as it stands, changed by these edits as a whole: no router, and with no edit the base model."""
    if not edits:
        return unedited(backbone)
    return SingleRoute(backbone, Route("edited", edit=0 if len(edits) == 1 else None))
