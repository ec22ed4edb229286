"""Which layers, parameters and linear maps of the language model an editor changes, and what such a map reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import nn

from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone
from fgvedit.util.errors import FGVEditError, unknown

Part = TypeVar("Part")


def chosen_layers(backbone: Backbone, layers: Sequence[int], option: str = "layers") -> dict[int, nn.Module]:
    """Index -> language layer, in the order given, each once; a negative index counts from the end.

    `option`: the name of the option whose value they are, for what is said of a wrong one.

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


def chosen_linear(backbone: Backbone, layer: int, module: str) -> nn.Linear:
    """The linear map called `module` (see `by_role`) within the language layer of this index (a negative one counts
    from the end).

    Raises `FGVEditError` for a layer that is not there, and for a module that is none of the layer's linear maps.
    """
    (block,) = chosen_layers(backbone, [layer], "layer").values()
    (module,) = by_role(backbone, [module])
    linears = linear_maps(block)
    if module not in linears:
        raise unknown(f"linear map (option 'module', layer of '{backbone.name}')", module, linears)
    return linears[module]


def linear_maps(block: nn.Module) -> dict[str, nn.Linear]:
    """Name within the layer -> linear map."""
    return {name: module for name, module in block.named_modules() if isinstance(module, nn.Linear)}


@torch.no_grad()
def read_by(module: nn.Module, backbone: Backbone, queries: Sequence[Query]) -> list[torch.Tensor]:
    """What `module` reads over each query's image and prompt, without an answer: float32, (tokens, width) each.

    One query at a time: what a query is compared by, to the last bit, must not depend on what is asked beside it.
    """
    read: list[torch.Tensor] = []
    hook = module.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].detach().float()))
    try:
        for query in queries:
            backbone.logits(backbone.inputs([backbone.prompt_of(query)], [query.image]))
    finally:
        hook.remove()
    return [tokens.flatten(0, -2) for tokens in read]  # some families put all tokens of a batch in one row already
