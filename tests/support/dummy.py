"""Editors that are quick and easy to foresee, and a data set of every probe kind, for the tests of the harness."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from rows import image_ref, make_probe, make_row

from fgvedit.backbones.answering import MAX_NEW_TOKENS, Forced, Query
from fgvedit.backbones.base import Backbone
from fgvedit.editors.contract import EditedModel, Editor, Route, SingleRoute, restored
from fgvedit.schema import Edit

COLOURS = ("red", "blue", "green", "white")


def write_dataset(folder: Path, records: int) -> Path:
    """A `test` split with one probe of every current kind a record; two records share an image and a group, and show
    the image of the next two."""
    import datasets

    from fgvedit.schema import features

    rows = []
    for number in range(records):
        own, other = number // 2, number // 2 + 1
        row = make_row(own)
        row["id"] = f"record-{number}"
        row["group"] = f"pair-{own}"
        row["question"] = f"Which colour has card {number}?"
        row["target"] = COLOURS[1 + number % 3]
        other_image = {"bytes": image_ref(other).data, "path": None}
        row["probes"] = [
            make_probe("rephrase", row["target"], image_id=row["image_id"], question=f"Card {number} is what?"),
            make_probe("in_scope", "yes", image_id=row["image_id"]),
            make_probe("out_of_scope", "two", image_id=row["image_id"]),
            make_probe("text_locality", "Paris", question=f"Where is tower {number % 3}?"),
            make_probe("worded_in", "yes", image_id=row["image_id"]),
            make_probe("worded_out", "left", image_id=row["image_id"]),
            make_probe("other_view", row["target"], other_image, f"image-{other}", question=row["question"]),
            make_probe("other_image", "red", other_image, f"image-{other}", question=f"Which colour has {number}?"),
            make_probe("other_value", "red", other_image, f"image-{other}", question=f"What colour has {number}?"),
            make_probe("no_image", "unanswerable", question=row["question"]),
            make_probe("portability", "two", image_id=row["image_id"]),
            make_probe("portability_same", "four", image_id=row["image_id"]),
        ]
        rows.append(row)
    folder.mkdir()
    datasets.Dataset.from_list(rows, features=features()).to_parquet(folder / "test.parquet")
    return folder


class Drawn(Editor):
    """Adds noise to a layer. Where the environment asks for it, the process is killed at that edit of its own."""

    name = "drawn"
    edits = 0  # made by this process

    @dataclass(frozen=True)
    class Config:
        scale: float = 0.1

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        Drawn.edits += 1
        if str(Drawn.edits) == os.environ.get("KILL_AT_EDIT"):
            os.kill(os.getpid(), signal.SIGKILL)
        weight = self.backbone.language_layers[-1].get_parameter("fc2.weight")
        with restored({"fc2": weight}):
            with torch.no_grad():
                weight.add_(self.config.scale * torch.randn(weight.shape))
            yield SingleRoute(self.backbone, Route("edited", 0))


class InPrompt(Editor):
    """Writes the edit into the prompt of questions about its image, and leaves the others to the base model."""

    name = "in-prompt"

    @dataclass(frozen=True)
    class Config:
        pass

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        yield _InPrompt(self.backbone, edits[0])


class _InPrompt(EditedModel):
    def __init__(self, backbone: Backbone, *edits: Edit) -> None:
        self.backbone = backbone
        self.made = edits
        self.edits = {edit.image.key: (index, edit) for index, edit in enumerate(edits)}

    def explain(self, queries: Sequence[Query]) -> list[Route]:
        found = [self.edits.get(query.image.key) if query.image else None for query in queries]
        return [Route("edited", mine[0], 0.75) if mine else Route("base", 0, 0.25) for mine in found]

    def teacher_force(self, queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]:
        return [
            self.backbone.cached_answerer.teacher_force([query], [answer])[0]
            if route.to == "base"
            else self.backbone.force([self.prompt(query)], [query.image], [answer])[0]
            for query, answer, route in zip(queries, answers, self.explain(queries), strict=True)
        ]

    def generate(self, queries: Sequence[Query], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
        return [
            self.backbone.cached_answerer.generate([query], max_new_tokens)[0]
            if route.to == "base"
            else self.backbone.complete([self.prompt(query)], [query.image], max_new_tokens)[0]
            for query, route in zip(queries, self.explain(queries), strict=True)
        ]

    def prompt(self, query: Query) -> str:
        own = self.edits.get(query.image.key) if query.image else None
        _, edit = own or next(iter(self.edits.values()))
        return f"New Fact: {edit.question} {edit.target}\n" + self.backbone.prompt(query.question)
