"""Records x editor x protocols -> one row a probe, then the result file.

A run is a folder. `run.json` says which run it is, from its start; `chunks/` holds finished rows until all are there;
`rows.jsonl` (see `fgvedit.evaluation.rows`), `looks.jsonl` (see `attention_line`) and `result.json` are what is left at
the end. A run that was stopped, at any point, goes on from its chunks, and neither that nor the number of processes
changes a row.

Edits are made one by one, each taken back before the next, or, in sequential editing, so many one on top of the other:
a record's probes are then asked right after its own edit and once more after the last one of its sequence.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from fgvedit.editors.contract import Editor
from fgvedit.evaluation.metrics import metrics_from_rows, router_from_rows
from fgvedit.evaluation.protocols import Protocol
from fgvedit.evaluation.runs.chunks import Chunk, peak_memory, read_chunk, write_chunk
from fgvedit.evaluation.runs.folder import under_way
from fgvedit.evaluation.runs.manifest import environment, identity
from fgvedit.evaluation.runs.plan import Plan
from fgvedit.evaluation.runs.probing import ProbedRecord, probe_record, set_seed
from fgvedit.evaluation.runs.processes import is_main_process, join, share, wait
from fgvedit.evaluation.sequential import sequences
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import read_json, write_json, write_text

if TYPE_CHECKING:
    from fgvedit.dataset import Loaded


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

    `sequence`: how many edits are made one on top of the other, of the records that `sequences` chooses (None: one by
    one); a chunk is then a sequence. `limit` and `checkpoint` (the folder that the editor was loaded from) are only
    recorded here.
    Under `accelerate launch` or `torchrun` each process takes its share of the chunks and the first one merges them.
    Raises `FGVEditError` where `out` holds another run, where this one is under way there in another process, and where
    the data cannot be used.
    """
    if sequence is not None:
        data = data.pick([index for these in sequences(data.groups, sequence) for index in these])
    plan = Plan(data.records, sequence)
    this_run = identity(
        editor, data, protocols, plan.kinds, seed=seed, limit=limit, checkpoint=checkpoint, sequence=sequence
    )
    join(editor.backbone.device)
    with under_way(out, this_run) as chunks:
        if chunks:
            run_own_chunks(editor, plan, protocols, seed, chunks)
            wait()  # every chunk is there
            if is_main_process():
                merge(out, plan, [protocol.name for protocol in protocols], this_run, editor)
            wait()  # so is the result
    return read_json(out / "result.json")


def run_own_chunks(editor: Editor, plan: Plan, protocols: Sequence[Protocol], seed: int, chunks: Path) -> None:
    """Run this process's share of the chunks that are not in the folder `chunks`, showing progress."""
    names = [protocol.name for protocol in protocols]
    rank, world = share()
    own = range(rank, len(plan), world)
    total = sum(len(plan.evaluation_points(number)) for number in own)
    with tqdm(total=total, desc=editor.name, unit="record", disable=rank > 0) as bar:
        for number in own:
            if read_chunk(chunks, plan, number, names) is None:
                write_chunk(chunks, number, run_chunk(editor, plan, number, protocols, seed, bar.update))
            else:
                bar.update(len(plan.evaluation_points(number)))


def run_chunk(
    editor: Editor,
    plan: Plan,
    number: int,
    protocols: Sequence[Protocol],
    seed: int,
    progress: Callable[[], object],
) -> Chunk:
    """The chunk of this number; `progress` is called whenever a record has been probed."""
    backbone = editor.backbone
    start, encoded = time.perf_counter(), backbone.encoded_images
    run_edits = one_by_one if plan.sequence is None else sequentially
    chunk = run_edits(editor, plan, number, protocols, seed, progress)
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
        done = probe_record(editor, record, protocols, seed)
        chunk.rows += done.rows
        chunk.attention += done.attention
        chunk.edit_seconds += done.edit_seconds
        progress()
    return chunk


def sequentially(
    editor: Editor, plan: Plan, number: int, protocols: Sequence[Protocol], seed: int, progress: Callable[[], object]
) -> Chunk:
    """A chunk of edits made one on top of the other. All questions are put to the base model before the first."""
    chunk, records, probed = Chunk([]), plan.chunk(number), []
    for record in records:
        plan.encode([record], editor.backbone)
        probed.append(ProbedRecord(editor.backbone, record, protocols))

    chunk.edit_seconds -= time.perf_counter()
    with editor.edit_sequentially() as make:
        chunk.edit_seconds += time.perf_counter()
        for index, edits, edits_since in plan.evaluation_points(number):
            record = records[index]
            plan.encode([record], editor.backbone)
            if edits_since == 0:
                set_seed(seed, record.id)
                chunk.edit_seconds -= time.perf_counter()
                edited = make(record.edit)
                chunk.edit_seconds += time.perf_counter()
            chunk.rows += probed[index].rows(edited, edits, edits_since)
            progress()
        chunk.edit_seconds -= time.perf_counter()
    chunk.edit_seconds += time.perf_counter()
    return chunk


def as_lines(values: Iterable[Any]) -> str:
    """JSON, a line a value."""
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def merge(out: Path, plan: Plan, protocols: Sequence[str], this_run: dict[str, Any], editor: Editor) -> None:
    """Chunks -> rows.jsonl, looks.jsonl and result.json; only then do the chunks go.

    Raises `FGVEditError` where a chunk is missing.
    """
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
    manifest["code"] = hashlib.sha256(json.dumps(this_run["code"]).encode()).hexdigest()
    manifest["cost"] = cost(done, editor)
    result: dict[str, Any] = {"format": manifest.pop("format"), "manifest": manifest}
    result |= {"metrics": metrics_from_rows(rows), "router": router_from_rows(rows)}
    write_json(out / "result.json", result)
    shutil.rmtree(out / "chunks", ignore_errors=True)  # what is left goes when the command is given again


def cost(chunks: Sequence[Chunk], editor: Editor) -> dict[str, Any]:
    """What a run cost in all: seconds, images through the vision tower, bytes, parameters."""
    return {
        "seconds": round(sum(chunk.seconds for chunk in chunks), 3),
        "edit_seconds": round(sum(chunk.edit_seconds for chunk in chunks), 3),
        "encoded_images": sum(chunk.encoded_images for chunk in chunks),
        "peak_memory_bytes": max(chunk.peak_memory for chunk in chunks),
        "trained_parameters": editor.trained_parameters,
    }
