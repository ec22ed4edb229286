"""MEND's editor networks (Mitchell et al. 2022, section 3): they transform the factors of a gradient of rank one.

The gradient of a linear layer's weight is a sum over tokens of outer products of delta, the loss's gradient at the
layer's output, and x, the layer's input. A network maps each token's (x, delta) to another (x, delta).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import nn

from fgvedit.backbones.base import Backbone
from fgvedit.editors.parameters import chosen_parameters
from fgvedit.util.errors import FGVEditError
from fgvedit.util.options import check_positive

SMALLEST_STD = 1e-3  # in units of `RunningNorm.exponent`; smaller ones would blow up what hardly ever varies
LOSS_SCALE = 2.0**12  # deltas are too small for float16; a power of two changes no bit of them elsewhere


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """What is edited and how large the networks are.

    `layers`, `parameters`: the weights that are edited, see `chosen_parameters`; `rank`, `hidden_layers`: of the
    networks; `edit_lr`: at which a weight's learned rate starts; `rate_speed`: by how much faster than a network's
    weight the rate's logarithm learns.
    """

    layers: list[int]
    parameters: list[str]
    rank: int = 1920
    hidden_layers: int = 1
    edit_lr: float = 1e-4
    rate_speed: float = 1e4

    def __post_init__(self) -> None:
        check_positive(self, "rank", "hidden_layers", "edit_lr", "rate_speed")


def inner_linears(backbone: Backbone, layers: Sequence[int], parameters: Sequence[str]) -> dict[str, nn.Linear]:
    """ "<layer>.<name of the weight>" -> its linear layer.

    Raises `FGVEditError` for a parameter that is not the weight of a linear layer.
    """
    found = {}
    for name in chosen_parameters(backbone, layers, parameters):
        layer, _, path = name.partition(".")
        module, _, parameter = path.rpartition(".")
        linear = backbone.language_layers[int(layer)].get_submodule(module)
        if not (isinstance(linear, nn.Linear) and parameter == "weight"):
            raise FGVEditError(
                f"option 'parameters': found '{path}' of a {type(linear).__name__}, expected weights of linear layers "
                "such as fc1.weight"
            )
        found[name] = linear
    return found


class RunningNorm(nn.Module):
    """Takes off the mean and divides by the standard deviation of all rows met in training, feature by feature.

    Before the first it changes nothing. `mean` and `std` are kept in units of 2 ** `exponent`, the size of the first
    rows, so that they survive a checkpoint in float16 however small the rows are.
    """

    count: torch.Tensor
    exponent: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.register_buffer("exponent", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(n, width) -> (n, width), float32; in training the rows count themselves first, as in the released code."""
        if self.training and len(rows):
            self.gather(rows)
        return (self._scaled(rows) - self.mean) / self.std.clamp(min=SMALLEST_STD)

    @torch.no_grad()
    def gather(self, rows: torch.Tensor) -> None:
        """Mean and standard deviation (of a sample) over the rows so far and these (Chan et al. 1979)."""
        if self.count == 0:
            self.exponent.copy_(rows.square().mean().sqrt().log2().round())
        rows = self._scaled(rows)
        before, new = self.count, len(rows)
        count = before + new
        off = rows.mean(dim=0) - self.mean
        squares = self.std.square() * (before - 1).clamp(min=0)
        squares += (rows - rows.mean(dim=0)).square().sum(dim=0) + off.square() * before * new / count
        self.mean += off * new / count
        self.std.copy_((squares / (count - 1).clamp(min=1)).sqrt())
        self.count.copy_(count)

    def _scaled(self, rows: torch.Tensor) -> torch.Tensor:
        return rows * torch.exp2(-self.exponent)


class ResidualLayer(nn.Module):
    """h = z + max(0, scale * (U V z + b) + shift), the identity to begin with, since U, b and shift are zero.

    `weights`: how many weights share the layer; each has a scale and a shift of its own.
    """

    def __init__(self, width: int, rank: int, weights: int) -> None:
        super().__init__()
        rank = min(rank, width)
        self.up = nn.Parameter(torch.zeros(width, rank))
        self.down = nn.Parameter(torch.randn(rank, width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.scale = nn.Parameter(torch.ones(weights, width))
        self.shift = nn.Parameter(torch.zeros(weights, width))

    def forward(self, z: torch.Tensor, weight: int) -> torch.Tensor:
        """(n, width) -> (n, width), for the weight of this index."""
        mixed = z @ self.down.T @ self.up.T + self.bias
        mixed = mixed * self.scale[weight] + self.shift[weight]
        # Not relu, nor clamp since torch 2.14: at 0, where all begins, their gradient is 0 and nothing would be learnt.
        return z + torch.where(mixed >= 0, mixed, 0)


class EditorNetwork(nn.Module):
    """The network of all weights of one shape: it reads x and delta, normalised, side by side."""

    def __init__(self, x_width: int, delta_width: int, options: NetworkOptions, weights: int) -> None:
        super().__init__()
        self.widths = [x_width, delta_width]
        self.norm_x = RunningNorm(x_width)
        self.norm_delta = RunningNorm(delta_width)
        self.layers = nn.ModuleList(
            ResidualLayer(x_width + delta_width, options.rank, weights) for _ in range(options.hidden_layers + 1)
        )

    def forward(self, x: torch.Tensor, delta: torch.Tensor, weight: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(tokens, in), (tokens, out) -> the same shapes, for the weight of this index among those of its shape."""
        z = torch.cat([self.norm_x(x), self.norm_delta(delta)], dim=-1)
        for layer in self.layers:
            z = layer(z, weight)
        x, delta = z.split(self.widths, dim=-1)
        return x, delta


class EditorNetworks(nn.Module):
    """One network for each shape of weight, and a learned rate for each weight.

    `linears`: the layers whose weights are edited, by name. They are the backbone's, and no part of this module.
    """

    def __init__(self, backbone: Backbone, options: NetworkOptions) -> None:
        super().__init__()
        self.linears = inner_linears(backbone, options.layers, options.parameters)  # a dict: nothing is registered
        self.edit_lr, self.rate_speed = options.edit_lr, options.rate_speed
        of_shape: dict[str, list[str]] = {}
        for name, linear in self.linears.items():
            of_shape.setdefault(_shape(linear), []).append(name)
        self.networks = nn.ModuleDict(
            {
                shape: EditorNetwork(
                    self.linears[names[0]].in_features, self.linears[names[0]].out_features, options, len(names)
                )
                for shape, names in of_shape.items()
            }
        )
        self._indices = {name: index for names in of_shape.values() for index, name in enumerate(names)}
        # Logarithms: a rate stays positive and in proportion, and one learning rate does for it and for the networks.
        self.log_rates = nn.Parameter(torch.zeros(len(self.linears)))
        self.to(backbone.device)

    def rate(self, name: str) -> torch.Tensor:
        """The learned rate of the weight of this name, ()."""
        index = list(self.linears).index(name)
        return self.edit_lr * torch.exp(self.rate_speed * self.log_rates[index])

    def forward(self, name: str, x: torch.Tensor, delta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Factors of a gradient of the weight of this name, (tokens, in) and (tokens, out), transformed."""
        return self.networks[_shape(self.linears[name])](x, delta, self._indices[name])


def _shape(linear: nn.Linear) -> str:
    return f"{linear.out_features}x{linear.in_features}"


Factors = dict[str, tuple[torch.Tensor, torch.Tensor]]


def gradient_factors(networks: EditorNetworks, loss: Callable[[], torch.Tensor]) -> Factors:
    """For each weight, x (tokens, in) and delta (tokens, out), float32: delta^T x is the gradient of `loss()`.

    Tokens are those of all rows that `loss` puts through the language model, row after row, padding included.
    """
    xs: dict[str, torch.Tensor] = {}
    probes: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple, torch.Tensor], torch.Tensor]:
        def hook(_: nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
            xs[name] = inputs[0].detach()
            probes[name] = torch.zeros_like(output, requires_grad=True)  # its gradient is the output's
            return output + probes[name]

        return hook

    with ExitStack() as hooks, torch.enable_grad():
        for name, linear in networks.linears.items():
            hooks.callback(linear.register_forward_hook(keep(name)).remove)
        value = loss() * LOSS_SCALE
    deltas = torch.autograd.grad(value, list(probes.values()))
    return {
        name: (xs[name].flatten(0, -2).float(), delta.flatten(0, -2).float() / LOSS_SCALE)
        for name, delta in zip(probes, deltas, strict=True)
    }


def counts(x: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
    """(tokens,), bool: which tokens add to the gradient. Padding does not, nor what no answer's token attends to."""
    return (x != 0).any(dim=-1) & (delta != 0).any(dim=-1)
