"""Made-up runs, quick to make and without torch: real files, whose metrics follow from their rows and whose rows are
those of made-up data, of which a results folder then holds the answer key.

    write_run(folder, "mine", skill=0.7)  # as fgvedit.run leaves it
    write_entry(results, "good", skill=0.9)
    write_entry(results, "bad", skill=0.4, sequence=3)
    change(folder, set_row({"kind": "rephrase"}, score=0.5))  # a run in place; its hash and metrics follow
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import board_samples
from board_samples import make_result, rows_text

from fgvedit.evaluation.metrics import metrics_from_rows, router_from_rows
from fgvedit.probes import changes
from leaderboard.data import AnswerKey, KeyRecord, write_key

Change = Callable[[dict[str, Any], list[dict[str, Any]]], object]  # of a result and its rows
KINDS = ("edit", "rephrase", "in_scope", "out_of_scope", "text_locality", "other_image", "reference_in")
RECORDS = 12
ANSWERS = ("green", "blue")  # before and after an edit, where it changes them


def made_up_key(records: int = RECORDS) -> AnswerKey:
    """Made-up data of so many records, each about an image, and of a group, of its own."""
    revision = "d" * 64 if records == RECORDS else f"{records:04x}" * 16
    made = []
    for number in range(records):
        asked = [(kind, f"Which colour has card {number} ({kind})?", ANSWERS[changes(kind)]) for kind in KINDS]
        made.append(KeyRecord(f"record-{number}", f"group-{number}", f"image-{number}", tuple(asked)))
    return AnswerKey("cards", "default", "test", revision, tuple(made))


def made_up_rows(
    key: AnswerKey, skill: float, protocols: tuple[str, ...], sequence: int | None, seed: int
) -> list[dict[str, Any]]:
    """A probe is right with probability `skill`, and less the more edits came after its own. The router is right where
    the answer is; what it leaves to the base model is answered as before."""
    draw = random.Random(seed)
    rows = []
    for record, edits, since in key.of_run(None, sequence):
        right = [draw.random() < skill - 0.05 * since for _ in record.probes]
        rhos = [round(draw.random() / 2, 3) for _ in record.probes]
        for protocol in protocols:
            for number, (kind, question, answer) in enumerate(record.probes):
                must = changes(kind)
                edited = right[number] == must
                stays_in_part = protocol == "paper" and edited and not must  # so do some of the tokens
                row = {
                    "record_id": record.id, "image_id": record.image_id, "group": record.group,
                    "protocol": protocol, "kind": kind, "probe": number - 1, "question": question,
                    "before": "green", "after": ("blue" if must else "red") if edited else "green",
                    "expected": answer if must else None, "answer": answer,
                    "score": 0.25 if stays_in_part else float(right[number]),
                    "rho": 0.5 + rhos[number] if edited else 0.5 - rhos[number],
                    "stored_edit": 0, "route": "edited" if edited else "base", "edits": edits, "age": since,
                }  # fmt: skip
                rows.append(row)
    return rows


@cache
def made_up_run(
    editor: str,
    *,
    skill: float = 0.8,
    records: int = RECORDS,
    backbone: str = "tiny",
    protocols: tuple[str, ...] = ("paper", "generation"),
    sequence: int | None = None,
    seed: int = 0,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A result and its rows, which are not to be changed."""
    key = made_up_key(records)
    rows = made_up_rows(key, skill, protocols, sequence, seed)
    result = make_result(
        editor,
        rows,
        editor={"class": f"editors:{editor}", "config": {"lr": 0.001}},
        backbone={"name": backbone, "source": backbone, "revision": "b" * 64},
        dataset={"revision": key.revision},
        protocols=list(protocols),
        seed=seed,
        git=None,
        cost={"seconds": 10.0 * records * skill, "edit_seconds": 2.0 * records * skill, "encoded_images": records},
    )
    return result, rows


def write_run(folder: Path, editor: str, **options: Any) -> Path:
    """A run folder as fgvedit.run leaves it; `options` as of `made_up_run`."""
    return board_samples.write_run(folder, *made_up_run(editor, **options))


def write_entry(results: Path, editor: str, *, status: str = "verified-rows", **options: Any) -> Path:
    """`runs/<id>` of a made-up run, in `results`, which may hold others; `options` as of `made_up_run`."""
    result, rows = made_up_run(editor, **options)
    manifest = result["manifest"]
    id = f"{editor}-{manifest['backbone']['name']}-cards-{manifest['dataset']['revision'][:8]}-{manifest['seed']}"
    id += f"-seq-{manifest['sequence']}" if manifest["sequence"] else ""
    results.mkdir(parents=True, exist_ok=True)
    write_key(made_up_key(options.get("records", RECORDS)), results)
    agreement = {"rows": len(rows), "equal": len(rows), "metric": "paper/locality", "difference": 0, "tolerance": 0.5}
    about: dict[str, Any] = {"submitted": "2026-01-31", "status": status}
    if status == "reproduced":
        sha256 = manifest["rows_sha256"]
        about["reproduced"] = {**board_samples.REPRODUCED, "rows_sha256": sha256, "agreement": agreement}
    return board_samples.write_entry(results, id, result, rows, **about)


def change(folder: Path, how: Change, recompute: bool = True) -> Path:
    """Change a run folder in place. The hash of its rows follows, and so do the metrics where `recompute` says so."""
    result = json.loads((folder / "result.json").read_text())
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    how(result, rows)
    text = rows_text(rows)
    (folder / "rows.jsonl").write_bytes(text)
    result["manifest"]["rows_sha256"] = hashlib.sha256(text).hexdigest()
    if recompute:
        result |= {"metrics": metrics_from_rows(rows), "router": router_from_rows(rows)}
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def set_in(path: str, value: Any) -> Change:
    """A field of the result, such as "manifest.seed"."""

    def how(result: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            result = result[parent]
        result[last] = value

    return how


def set_row(wanted: dict[str, Any], **values: Any) -> Change:
    """Fields of the first row that has those that are `wanted`."""

    def how(result: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        next(row for row in rows if all(row[name] == value for name, value in wanted.items())).update(values)

    return how


def set_rows(**values: Any) -> Change:
    """Fields of every row; a value that can be called is given the row."""

    def how(result: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row |= {name: value(row) if callable(value) else value for name, value in values.items()}

    return how


def both(*changes: Change) -> Change:
    """One after the other."""
    return lambda result, rows: [how(result, rows) for how in changes]
