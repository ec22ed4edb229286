"""Edits, queries and records for the tests of editors, and what is compared of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from rows import image_ref, make_row
from torch import nn

from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone
from fgvedit.editors.contract import Editor
from fgvedit.schema import Edit, Record, record_from_row

Made = TypeVar("Made", bound=Editor)
WORDS = ("colour", "shape", "place", "size", "number", "name", "kind")
EDITS = [Edit(image_ref(i), f"What {word} has the card?", f"{word} {i}") for i, word in enumerate(WORDS)]
_SMALL_SERAC: dict[str, Any] = {
    "encoder": "new",
    "encoder_width": 16,
    "encoder_layers": 1,
    "counterfactual": "backbone",
    "counterfactual_layers": 1,
    "steps": 6,
    "batch": 2,
    "lr": 1e-3,
}
QUERIES = [Query(EDITS[0].question, EDITS[0].image), Query("Where is it?", image_ref(1)), Query("Who wrote it?")]


def small_serac(kind: type[Made], backbone: Backbone, **changes: Any) -> Made:
    """Either SERAC with random weights, the same ones every time, made and trained in no time."""
    torch.manual_seed(0)
    return kind(backbone, kind.Config(**{**_SMALL_SERAC, **changes}))


def records(count: int = 4) -> list[Record]:
    return [record_from_row(make_row(number)) for number in range(count)]


def bits(parts: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in parts.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def answers(model: Any, queries: list[Query]) -> tuple[list[str], list[list[int]]]:
    forced = model.teacher_force(queries, ["blue"] * len(queries))
    return model.generate(queries), [row.top.tolist() for row in forced]


def expect_each_read_once(
    editor: Editor, other: Editor, edits: Sequence[Edit], queries: Sequence[Query], texts: list[str]
) -> None:
    """Of sequential edits each is read once, as `texts` notes, and all are routed as by `other`, told them together."""
    with editor.edit_sequentially() as make:
        for edit in edits:
            edited = make(edit)
    assert texts == [edit.fact for edit in edits]
    with other.edit(edits) as together:
        assert edited.explain(queries) == together.explain(queries)


def expect_the_counterfactuals_answers(editor: Any, backbone: Any) -> None:
    """Of an editor that sends every query to its second model: that model's answers, and none of the base model's."""
    with editor.edit(EDITS[:1]) as edited:
        found = answers(edited, QUERIES)
        assert {route.to for route in edited.explain(QUERIES)} == {"counterfactual"}
    model, edits = editor.counterfactual, EDITS[:1] * 3
    forced = model.teacher_force(edits, QUERIES, ["blue"] * 3)
    assert found == (model.generate(edits, QUERIES), [row.top.tolist() for row in forced])
    assert found != answers(backbone, QUERIES)
