"""What the weight-editing baselines share: which parameters they change, and the descent on the edits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from fgvedit.backbones.base import Backbone
from fgvedit.editors.contract import EditedModel, Route, SingleRoute, restored, unedited
from fgvedit.schema import Edit
from fgvedit.util.errors import FGVEditError, unknown
from fgvedit.util.options import check_positive

OPTIMISERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}

Part = TypeVar("Part")


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


def chosen_layers(backbone: Backbone, layers: Sequence[int], option: str = "layers") -> dict[int, nn.Module]:
    """Index -> language layer, in the order given, each once; a negative index counts from the end. `option`: whose
    value they are.

    Raises `FGVEditError` for a layer that is not there, and for none at all.
    """
    blocks = backbone.language_layers
    if not layers:
        raise FGVEditError(f"option '{option}': found an empty list, expected one or more")
    for layer in layers:
        if not -len(blocks) <= layer < len(blocks):
            raise FGVEditError(
                f"option '{option}': found {layer}, expected {-len(blocks)} to {len(blocks) - 1}: "
                f"'{backbone.name}' has {len(blocks)} language layers"
            )
    return {layer % len(blocks): blocks[layer] for layer in layers}


def chosen_parameters(backbone: Backbone, layers: Sequence[int], ends: Sequence[str]) -> dict[str, nn.Parameter]:
    """ "<layer>.<name>" -> parameter, for the language layers of these indices (see `chosen_layers`) and the parameters
    whose name within the layer is, or ends in, one of `ends` (see `by_role`).

    Raises `FGVEditError` for a layer that is not there, an end that no parameter has, and for none at all.
    """
    return {
        f"{index}.{name}": parameter
        for index, block in chosen_layers(backbone, layers).items()
        for name, parameter in chosen_within(dict(block.named_parameters()), ends, "parameters", backbone).items()
    }


def chosen_within(named: Mapping[str, Part], ends: Sequence[str], option: str, backbone: Backbone) -> dict[str, Part]:
    """Those of a layer's parts whose name is, or ends in, one of `ends`, which are the value of `option`.

    Raises `FGVEditError` for an end that no part has, and for none at all.
    """
    if not ends:
        raise FGVEditError(f"option '{option}': found an empty list, expected one or more")
    chosen: dict[str, Part] = {}
    for end in by_role(backbone, ends):
        found = {name: part for name, part in named.items() if f".{name}".endswith(f".{end}")}
        if not found:
            raise unknown(f"name (option '{option}', language layer of '{backbone.name}')", end, named)
        chosen.update(found)
    return chosen


def by_role(backbone: Backbone, names: Sequence[str]) -> list[str]:
    """Names within a language layer, in which `ffn.up` and `ffn.down` stand for the maps into and out of the
    feed-forward part, whatever this backbone calls them."""
    up, down = ("ffn.up", "ffn.down")
    if not any(name.startswith((up, down)) for name in names):
        return list(names)
    own = dict(zip((up, down), backbone.feed_forward, strict=True))
    return [name.replace(up, own[up]).replace(down, own[down]) for name in names]


def edit_loss(backbone: Backbone, edits: Sequence[Edit]) -> torch.Tensor:
    """The mean cross-entropy of the edits' targets, each after its question and image, with gradient."""
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
    the gradients before a step (a mask), `constrain` the float32 copies, in place, after it (a bound).
    """
    for parameter in parameters:
        parameter.requires_grad_(True)
    masters = [parameter.detach().float().clone() for parameter in parameters]
    optimiser = OPTIMISERS[settings.optimiser](masters, lr=settings.lr, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, settings.lr_decay)
    for _ in range(settings.steps):
        with torch.enable_grad():
            value = loss()
        # Reading the loss waits for the device, so it is read only where it can end the descent.
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
    """Inside, each call goes on from the parameters as they are, by a descent of its own on one more edit; afterwards
    they hold their own bits again."""
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
    """The backbone after a descent on the edits in these parameters, which hold their own bits again afterwards."""
    with restored(parameters):
        if edits:
            optimise(lambda: edit_loss(backbone, edits), list(parameters.values()), settings, constrain=constrain)
        yield edited_model(backbone, edits)


def edited_model(backbone: Backbone, edits: Sequence[Edit]) -> EditedModel:
    """The backbone as it stands, changed by these edits as a whole: no router, and with no edit the base model."""
    if not edits:
        return unedited(backbone)
    return SingleRoute(backbone, Route("edited", edit=0 if len(edits) == 1 else None))
