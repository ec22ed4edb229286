"""Records x editor x protocols -> one row a probe, then the result file.

A run is a folder. `run.json` says which run it is, from its start; `chunks/` holds finished rows until all are there;
`rows.jsonl` and `result.json` are what is left at the end. A run that was stopped, at any point, goes on from its
chunks, and neither that nor the number of processes changes a row.

Edits are made one by one, each taken back before the next, or, with `sequence`, so many in a row: in each group of
records (see `fgvedit.evaluation.sequential`) every edit is made on top of those before. A record's probes are then asked right
after its own edit and once more after the last one of its group; those of that last record are asked once.

A row: record_id, image_id, protocol, kind (a probe's, or "edit"), probe (its index; -1 for the edit), question,
before and after (the model's answers as text), expected (the right answer; None where it is the one before), answer
(the probe's), score (0 to 1), rho, stored_edit and route (see `fgvedit.editors.contract.Route`), edits (how many were in force)
and age (how many of them were made after the record's own).

Where edits are made one by one and a router says at what it looked, `looks.jsonl` holds a line a record: record_id,
grid (rows and columns), fit (of how much of an image; see `fgvedit.editors.contract.AttentionMaps`), edit (where it looked for the edit's
fact in its image) and probes (for the question of the edit and of each probe, in its own image; None where it has
none). Each is rows * columns bytes in base64, of which the largest is 255.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone
from fgvedit.editors.contract import AttentionMaps, EditedModel, Editor
from fgvedit.evaluation.manifest import claim, environment, identity
from fgvedit.evaluation.metrics import metrics_from_rows, router_from_rows
from fgvedit.evaluation.protocols import Protocol
from fgvedit.evaluation.sequential import evaluation_points, sequential_groups
from fgvedit.schema import EXPECTED_SAME, ImageRef, Record
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import read_json, write_json, write_text

if TYPE_CHECKING:
    from fgvedit.dataset import Loaded

CHUNK = 8  # records: what a stop can cost (of edits in a row: a group), and whose images are encoded in one batch


def run(
    editor: Editor,
    data: Loaded,
    protocols: Sequence[Protocol],
    out: Path,
    *,
    seed: int = 0,
    limit: int | None = None,
    sequence: int | None = None,
    checkpoint: Path | None = None,
) -> dict[str, Any]:
    """Run `editor` on `data`, in `out`, and return the result; a finished folder's result is returned as it is.

    `sequence`: how many edits are made in a row, of the records that `sequential_groups` chooses (None: one by one); a chunk is
    then a group of so many.
    `limit` and `checkpoint` (the folder that the editor was loaded from) are only recorded here.
    Under `accelerate launch` or `torchrun` each process takes its share of the chunks and the first one merges them.
    Raises `FGVEditError` where `out` holds another run or the data cannot be used.
    """
    if sequence is not None:
        data = data.pick([place for group in sequential_groups(data.image_ids, sequence) for place in group])
    plan = Plan(data.records, sequence)
    names = [protocol.name for protocol in protocols]
    this_run = identity(editor, data, names, seed=seed, limit=limit, checkpoint=checkpoint, sequence=sequence)
    claim(out, this_run, write=is_main_process())
    chunks = out / "chunks"
    if (out / "result.json").exists():
        shutil.rmtree(chunks, ignore_errors=True)  # of a run stopped in its very last step
        return read_json(out / "result.json")
    wait = barrier(editor.backbone.device)

    wait()  # run.json is there
    chunks.mkdir(exist_ok=True)
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    own = range(rank, len(plan), world)
    bar = tqdm(
        total=sum(len(plan.evaluation_points(c)) for c in own), desc=editor.name, unit="record", disable=rank > 0
    )
    with bar:
        for number in own:
            if read_chunk(chunks, plan, number, names) is None:
                write_chunk(chunks, number, run_chunk(editor, plan, number, protocols, seed, bar.update))
            else:
                bar.update(len(plan.evaluation_points(number)))
    wait()  # every chunk is there

    if is_main_process():
        merge(out, plan, names, this_run, editor)
    wait()  # so is the result
    return read_json(out / "result.json")


def is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def barrier(device: torch.device) -> Callable[[], None]:
    """A function that returns when every process has called it; nothing is set up where there is only one."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return lambda: None
    from accelerate import PartialState

    # Shares of the work may differ by more than the usual half hour.
    return PartialState(cpu=device.type == "cpu", timeout=timedelta(days=7)).wait_for_everyone


class Plan:
    """The records in chunks, when each is asked, and which images are encoded together.

    A chunk is `CHUNK` records, or the `sequence` records whose edits are made in a row.

    An image belongs to the batch of `CHUNK` records in which it comes first, and that batch's images are encoded at
    once, whichever record needs one of them: features, to the last bit, must not depend on where a run was stopped or
    how it is shared.
    """

    def __init__(self, records: Sequence[Record], sequence: int | None = None) -> None:
        self.records = records
        self.sequence = sequence
        self.size = sequence or CHUNK
        self.probes: dict[str, int] = {}  # record id -> how many probes it has
        self.batches: dict[str, int] = {}  # image key -> batch
        for place in range(len(records)):
            record = records[place]
            if record.id in self.probes:
                raise FGVEditError(f"record '{record.id}' is there twice; expected every record to have its own id")
            self.probes[record.id] = len(record.probes)
            for image in images_of(record):
                self.batches.setdefault(image.key, place // CHUNK)
        if not self.probes:
            raise FGVEditError("there is no record to run on; expected at least one")

    def __len__(self) -> int:
        return -(-len(self.records) // self.size)

    def places(self, chunk: int) -> range:
        return range(chunk * self.size, min((chunk + 1) * self.size, len(self.records)))

    def chunk(self, chunk: int) -> list[Record]:
        return [self.records[place] for place in self.places(chunk)]

    def evaluation_points(self, chunk: int) -> list[tuple[int, int, int]]:
        """(place of a record within the chunk, edits in force, its age) whenever a record is asked, in order."""
        places = range(len(self.places(chunk)))
        if self.sequence is None:
            return [(place, 1, 0) for place in places]
        return evaluation_points(len(places))

    def encode(self, records: Sequence[Record], backbone: Backbone) -> None:
        """Have the backbone encode every image of these records that it does not have, with the others of its batch."""
        needed = [image for record in records for image in images_of(record)]
        for batch in sorted({self.batches[image.key] for image in needed if image not in backbone.feature_cache}):
            places = range(batch * CHUNK, min((batch + 1) * CHUNK, len(self.records)))
            images = [image for place in places for image in images_of(self.records[place])]
            images = [image for image in images if self.batches[image.key] == batch]
            backbone.feature_cache.forget(
                images
            )  # some may be left: a part of the batch would be rounded in another way
            backbone.features(images)

    def keys(self, chunk: int, protocols: Sequence[str]) -> list[tuple[str, str, int, int]]:
        """(record_id, protocol, edits, probe) of every row of a chunk, in their order."""
        first = self.places(chunk)[0]
        ids = list(self.probes)
        return [
            (id, protocol, edits, probe)
            for id, edits in ((ids[first + place], edits) for place, edits, _ in self.evaluation_points(chunk))
            for protocol in protocols
            for probe in range(-1, self.probes[id])
        ]


def images_of(record: Record) -> Iterator[ImageRef]:
    yield record.image
    for probe in record.probes:
        if probe.image is not None:
            yield probe.image


@dataclass
class Chunk:
    """The rows and looks of a chunk's records, and what they cost: seconds, images through the vision tower, bytes."""

    rows: list[dict[str, Any]]
    attention: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    edit_seconds: float = 0.0
    encoded_images: int = 0
    peak_memory: int = 0


def run_chunk(
    editor: Editor,
    plan: Plan,
    number: int,
    protocols: Sequence[Protocol],
    seed: int,
    progress: Callable[[], object],
) -> Chunk:
    backbone = editor.backbone
    start, encoded = time.perf_counter(), backbone.encoded_images
    if plan.sequence is None:
        chunk = one_by_one(editor, plan, number, protocols, seed, progress)
    else:
        chunk = one_after_the_other(editor, plan, number, protocols, seed, progress)
    backbone.cached_answerer.forget()
    chunk.seconds = time.perf_counter() - start
    chunk.encoded_images = backbone.encoded_images - encoded
    chunk.peak_memory = peak_memory(backbone.device)
    return chunk


def one_by_one(
    editor: Editor, plan: Plan, number: int, protocols: Sequence[Protocol], seed: int, progress: Callable[[], object]
) -> Chunk:
    """A chunk of edits of which each is taken back before the next."""
    chunk, records = Chunk([]), plan.chunk(number)
    plan.encode(records, editor.backbone)
    for record in records:
        done = run_record(editor, record, protocols, seed)
        chunk.rows += done.rows
        chunk.attention += done.attention
        chunk.edit_seconds += done.edit_seconds
        progress()
    return chunk


def one_after_the_other(
    editor: Editor, plan: Plan, number: int, protocols: Sequence[Protocol], seed: int, progress: Callable[[], object]
) -> Chunk:
    """A chunk of edits in a row. All questions are put to the base model before the first of them."""
    chunk, records, asked = Chunk([]), plan.chunk(number), []
    for record in records:
        plan.encode([record], editor.backbone)
        asked.append(ProbedRecord(editor.backbone, record, protocols))

    chunk.edit_seconds -= time.perf_counter()
    with editor.edit_sequentially() as make:
        chunk.edit_seconds += time.perf_counter()
        for place, edits, age in plan.evaluation_points(number):
            record = records[place]
            plan.encode([record], editor.backbone)
            if age == 0:
                set_seed(seed, record.id)
                chunk.edit_seconds -= time.perf_counter()
                edited = make(record.edit)
                chunk.edit_seconds += time.perf_counter()
            chunk.rows += asked[place].rows(edited, edits, age)
            progress()
        chunk.edit_seconds -= time.perf_counter()
    chunk.edit_seconds += time.perf_counter()
    return chunk


def run_record(editor: Editor, record: Record, protocols: Sequence[Protocol], seed: int) -> Chunk:
    """The rows and looks of one edit, and the seconds that making it and taking it back took."""
    asked = ProbedRecord(editor.backbone, record, protocols)
    set_seed(seed, record.id)
    seconds = -time.perf_counter()
    with editor.edit([record.edit]) as edited:
        seconds += time.perf_counter()
        rows, maps = asked.rows(edited), edited.attention_maps(asked.queries)
        seconds -= time.perf_counter()
    seconds += time.perf_counter()
    return Chunk(rows, [attention_line(record.id, maps)] if maps else [], edit_seconds=seconds)


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

    def rows(self, edited: EditedModel, edits: int = 1, age: int = 0) -> list[dict[str, Any]]:
        """A row for each protocol and question, of what the model answers under so many edits."""
        after = [protocol.ask(edited, self.queries, self.answers) for protocol in self.protocols]
        routes = edited.explain(self.queries)
        rows = []
        for protocol, old, new in zip(self.protocols, self.before, after, strict=True):
            for index, probe in enumerate(self.probes):
                route = routes[index]
                rows.append(
                    {
                        "record_id": self.record.id,
                        "image_id": self.record.image.image_id,
                        "protocol": protocol.name,
                        "kind": probe.kind,
                        "probe": index - 1,
                        "question": probe.question,
                        "before": protocol.text(old[index], self.tokenizer),
                        "after": protocol.text(new[index], self.tokenizer),
                        "expected": None if probe.kind in EXPECTED_SAME else probe.answer,
                        "answer": probe.answer,
                        "score": protocol.score(probe.kind, probe.answer, old[index], new[index]),
                        "rho": route.rho,
                        "stored_edit": route.edit,
                        "route": route.to,
                        "edits": edits,
                        "age": age,
                    }
                )
        return rows


def attention_line(record_id: str, maps: Sequence[AttentionMaps]) -> dict[str, Any]:
    """A line of `looks.jsonl`."""

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


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that PyTorch held on a CUDA device, elsewhere the most that the process held."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def write_chunk(chunks: Path, number: int, chunk: Chunk) -> None:
    write_text(chunks / f"{number:06}.json", json.dumps(vars(chunk), ensure_ascii=False))


def read_chunk(chunks: Path, plan: Plan, number: int, protocols: Sequence[str]) -> Chunk | None:
    """A finished chunk, or None where it has to be run (again)."""
    try:
        chunk = Chunk(**json.loads((chunks / f"{number:06}.json").read_text(encoding="utf-8")))
        found = [(row["record_id"], row["protocol"], row["edits"], row["probe"]) for row in chunk.rows]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
    return chunk if found == plan.keys(number, protocols) else None


def as_lines(values: Iterable[Any]) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def merge(out: Path, plan: Plan, protocols: Sequence[str], this_run: dict[str, Any], editor: Editor) -> None:
    """Chunks -> rows.jsonl, looks.jsonl and result.json; only then do the chunks go."""
    chunks = [read_chunk(out / "chunks", plan, number, protocols) for number in range(len(plan))]
    done = [chunk for chunk in chunks if chunk is not None]
    if len(done) < len(chunks):
        raise FGVEditError(f"'{out / 'chunks'}': {len(chunks) - len(done)} chunks are missing; run the command again")
    rows = [row for chunk in done for row in chunk.rows]
    text = as_lines(rows)
    write_text(out / "rows.jsonl", text)
    if attention := [line for chunk in done for line in chunk.attention]:
        write_text(out / "looks.jsonl", as_lines(attention))
    manifest = {**this_run, **environment(editor.backbone.device)}
    manifest["rows_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    manifest["cost"] = {
        "seconds": round(sum(chunk.seconds for chunk in done), 3),
        "edit_seconds": round(sum(chunk.edit_seconds for chunk in done), 3),
        "encoded_images": sum(chunk.encoded_images for chunk in done),
        "peak_memory_bytes": max(chunk.peak_memory for chunk in done),
        "trained_parameters": editor.trained_parameters,
    }
    del manifest["format"], manifest["code"]  # of use to a run that goes on
    write_json(
        out / "result.json",
        {
            "format": this_run["format"],
            "manifest": manifest,
            "metrics": metrics_from_rows(rows),
            "router": router_from_rows(rows),
        },
    )
    shutil.rmtree(out / "chunks")
