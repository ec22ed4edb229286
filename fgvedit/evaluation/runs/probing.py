"""A record probed: its questions put to the base model and to the model under its edit, and the rows of both."""

from __future__ import annotations

import base64
import hashlib
import random
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone
from fgvedit.editors.contract import AttentionMaps, EditedModel, Editor
from fgvedit.evaluation.protocols import Protocol
from fgvedit.evaluation.rows import Row
from fgvedit.evaluation.runs.chunks import Chunk
from fgvedit.probes import changes
from fgvedit.schema import Record


class ProbedRecord:
    """A record's questions, its edit's first, and what the base model, which the backbone still is, answers.

    The base model is asked all of them in one batch, as the edited model is: what differs between their answers is then
    the edit, not the rounding of a batch of another shape.
    """

    def __init__(self, backbone: Backbone, record: Record, protocols: Sequence[Protocol]) -> None:
        self.record = record
        self.protocols = protocols
        self.tokenizer = backbone.tokenizer
        self.probes = record.asked
        self.queries = [Query(probe.question, probe.image) for probe in self.probes]
        self.answers = [probe.answer for probe in self.probes]
        self.before = [protocol.ask(backbone.cached_answerer, self.queries, self.answers) for protocol in protocols]

    def rows(self, edited: EditedModel, edits: int = 1, edits_since: int = 0) -> list[Row]:
        """A row for each protocol and question, of what the model answers under so many edits, of which `edits_since`
        were made after the record's own."""
        after = [protocol.ask(edited, self.queries, self.answers) for protocol in self.protocols]
        routes = edited.explain(self.queries)
        rows: list[Row] = []
        for protocol, old, new in zip(self.protocols, self.before, after, strict=True):
            for index, probe in enumerate(self.probes):
                route = routes[index]
                rows.append(
                    {
                        "record_id": self.record.id,
                        "image_id": self.record.image.image_id,
                        "group": self.record.group,
                        "protocol": protocol.name,
                        "kind": probe.kind,
                        "probe": index - 1,
                        "question": probe.question,
                        "before": protocol.text(old[index], self.tokenizer),
                        "after": protocol.text(new[index], self.tokenizer),
                        "expected": probe.answer if changes(probe.kind) else None,
                        "answer": probe.answer,
                        "score": protocol.score(probe.kind, probe.answer, old[index], new[index]),
                        "rho": route.rho,
                        "stored_edit": route.edit,
                        "route": route.to,
                        "edits": edits,
                        "age": edits_since,
                    }
                )
        return rows


def probe_record(editor: Editor, record: Record, protocols: Sequence[Protocol], seed: int) -> Chunk:
    """The rows and attention maps of one edit, and the seconds that making it and taking it back took."""
    probed = ProbedRecord(editor.backbone, record, protocols)
    set_seed(seed, record.id)
    seconds = -time.perf_counter()
    with editor.edit([record.edit]) as edited:
        seconds += time.perf_counter()
        rows, maps = probed.rows(edited), edited.attention_maps(probed.queries)
        seconds -= time.perf_counter()
    seconds += time.perf_counter()
    return Chunk(rows, [attention_line(record.id, maps)] if maps else [], edit_seconds=seconds)


def attention_line(record_id: str, maps: Sequence[AttentionMaps]) -> dict[str, Any]:
    """A line of `looks.jsonl`: record_id, grid (rows and columns), fit (of how much of an image; see `AttentionMaps`),
    edit (where the router attended for the edit's fact in its image) and probes (for the question of the edit and of
    each probe, in its own image; None where it has none). Each map is rows * columns bytes in base64, of which the
    largest is 255."""

    def text(weights: torch.Tensor) -> str:
        scaled = (weights * (255 / weights.max())).round().to(torch.uint8)
        return base64.b64encode(scaled.flatten().numpy().tobytes()).decode()

    return {
        "record_id": record_id,
        "grid": list(maps[0].edit.shape),
        "fit": maps[0].fit,
        "edit": text(maps[0].edit),
        "probes": [None if one.query is None else text(one.query) for one in maps],
    }


def set_seed(seed: int, record_id: str) -> None:
    """A seed of a record's own, so that its rows do not depend on which records were edited before it."""
    number = int.from_bytes(hashlib.sha256(f"{seed}/{record_id}".encode()).digest()[:4], "big")
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)
