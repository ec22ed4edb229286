"""Two edits and questions about them, and whether a backbone came back from an edit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from rows import image_ref
from samples import bits, same

from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone
from fgvedit.schema import Edit

EDIT = Edit(image_ref(), "What colour is the card?", "blue")
OTHER = Edit(image_ref(1), "What is the shape?", "round")
QUERY = Query(EDIT.question, EDIT.image)
QUERIES = [QUERY, Query(OTHER.question, OTHER.image), Query("Who wrote it?")]


@contextmanager
def bits_kept(backbone: Backbone) -> Iterator[dict[str, torch.Tensor]]:
    """Checks that parameters and buffers, what they say about gradients, hooks and forward methods are as before;
    yields the values."""

    def about() -> list[Any]:
        modules = [
            (name, *(dict(vars(module)[f"_{kind}_hooks"]) for kind in ("forward", "forward_pre", "backward")))
            for name, module in backbone.model.named_modules()
        ]
        methods = [vars(module).get("forward") for module in backbone.model.modules()]
        flags = [(name, p.requires_grad, p.grad is None) for name, p in backbone.model.named_parameters()]
        return [modules, methods, flags]

    state, before = bits(backbone.model), about()
    yield state
    assert same(bits(backbone.model), state)
    assert about() == before
