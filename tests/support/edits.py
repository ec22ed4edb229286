"""Two edits and questions about them, and whether a backbone came back from an edit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
    """Checks that every parameter and buffer, and what they say about gradients, is as before; yields the values."""
    state = bits(backbone.model)
    flags = {name: parameter.requires_grad for name, parameter in backbone.model.named_parameters()}
    yield state
    assert same(bits(backbone.model), state)
    for name, parameter in backbone.model.named_parameters():
        assert parameter.requires_grad == flags[name] and parameter.grad is None, name
