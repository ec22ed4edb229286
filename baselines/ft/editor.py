"""Fine-tuning: a few steps of AdamW on the edit, in named parameters of the language model's last layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from fgvedit.backbones.base import Backbone
from fgvedit.editing import EditedModel, Editor, Rerouted, Route, restored
from fgvedit.errors import FGVEditError, unknown
from fgvedit.schema import Edit


class FineTune(Editor):
    name = "ft"

    @dataclass(frozen=True)
    class Config:
        """`layers`: how many of the last layers; `parameters`: ends of parameter names within a layer; `steps`: at
        most; `stop_loss`: nats a token of the answer, below which the edit is learnt."""

        parameters: list[str]
        layers: int = 3
        steps: int = 50
        lr: float = 0.0005
        stop_loss: float = 0.01

        def __post_init__(self) -> None:
            if not (isinstance(self.parameters, list) and self.parameters):
                raise FGVEditError(
                    f"option 'parameters' of editor 'ft': found {self.parameters!r}, expected a list of ends of "
                    "parameter names such as [fc1.weight, fc2.weight]"
                )
            for option in ("layers", "steps", "lr"):
                if getattr(self, option) <= 0:
                    found = getattr(self, option)
                    raise FGVEditError(f"option '{option}' of editor 'ft': found {found}, expected more than 0")

    def __init__(self, backbone: Backbone, config: Config) -> None:
        super().__init__(backbone, config)
        self.parameters = chosen_parameters(backbone, config.layers, config.parameters)

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        with restored(self.parameters):
            if edits:
                fine_tune(self.backbone, list(self.parameters.values()), edits, self.config)
            yield Rerouted(self.backbone, Route("edited", edit=0 if len(edits) == 1 else None))


def chosen_parameters(backbone: Backbone, layers: int, ends: Sequence[str]) -> dict[str, nn.Parameter]:
    """The parameters of the last `layers` language layers whose name is, or ends in, one of `ends`.

    Raises `FGVEditError` for more layers than there are, and for an end that no parameter has.
    """
    blocks = list(enumerate(backbone.language_layers))
    if layers > len(blocks):
        raise FGVEditError(
            f"option 'layers' of editor 'ft': found {layers}, expected at most the {len(blocks)} of '{backbone.name}'"
        )
    chosen = {}
    for end in ends:
        found = {
            f"{number}.{name}": parameter
            for number, block in blocks[-layers:]
            for name, parameter in block.named_parameters()
            if f".{name}".endswith(f".{end}")
        }
        if not found:
            names = (name for name, _ in blocks[-1][1].named_parameters())
            raise unknown(f"parameter (option 'parameters' of editor 'ft', layer of '{backbone.name}')", end, names)
        chosen.update(found)
    return chosen


def fine_tune(
    backbone: Backbone, parameters: Sequence[nn.Parameter], edits: Sequence[Edit], config: FineTune.Config
) -> None:
    """Change `parameters` in place until the answers' loss is below `config.stop_loss`, or for `config.steps` steps."""
    prompts = [backbone.prompt(edit.question) for edit in edits]
    images = [edit.image for edit in edits]
    targets = [edit.target for edit in edits]
    for parameter in parameters:
        parameter.requires_grad_(True)
    # The optimiser works in float32: a step of this size is lost in a half-precision weight.
    masters = [parameter.detach().float().clone() for parameter in parameters]
    optimiser = torch.optim.AdamW(masters, lr=config.lr, weight_decay=0.0)
    for _ in range(config.steps):
        with torch.enable_grad():
            loss = backbone.answer_loss(prompts, images, targets)
        if loss.item() < config.stop_loss:
            break
        for master, gradient in zip(masters, torch.autograd.grad(loss, parameters), strict=True):
            master.grad = gradient.float()
        optimiser.step()
        with torch.no_grad():
            for parameter, master in zip(parameters, masters, strict=True):
                parameter.copy_(master)
