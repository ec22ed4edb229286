"""What the baselines share that look inside the language model: which linear map, and what it reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone
from fgvedit.editors.fine_tuning import by_role, chosen_layers
from fgvedit.util.errors import unknown


def chosen_linear(backbone: Backbone, layer: int, module: str) -> nn.Linear:
    """The linear map called `module` (see `by_role`) within the language layer of this index (a negative one counts
    from the end).

    Raises `FGVEditError` for a layer that is not there, and for a module that is none of the layer's linear maps.
    """
    (block,) = chosen_layers(backbone, [layer], "layer").values()
    (module,) = by_role(backbone, [module])
    linears = {name: found for name, found in block.named_modules() if isinstance(found, nn.Linear)}
    if module not in linears:
        raise unknown(f"linear map (option 'module', layer of '{backbone.name}')", module, linears)
    return linears[module]


@torch.no_grad()
def read_by(module: nn.Module, backbone: Backbone, queries: Sequence[Query]) -> list[torch.Tensor]:
    """What `module` reads over each query's image and prompt, without an answer: float32, (tokens, width).

    One query at a time: what a query is compared by, to the last bit, must not depend on what is asked beside it.
    """
    read: list[torch.Tensor] = []
    hook = module.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].detach().float()))
    try:
        for query in queries:
            backbone.logits(backbone.inputs([backbone.prompt(query.question)], [query.image]))
    finally:
        hook.remove()
    return [tokens.flatten(0, -2) for tokens in read]  # some families put all tokens of a batch in one row already
