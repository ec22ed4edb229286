"""Made-up runs, quick to make and without torch: real files, whose metrics follow from their rows and whose rows are
those of made-up data, of which a results folder then holds the answer key.

    write_run(folder, "mine", skill=0.7)  # as fgvedit.run leaves it
    write_entry(results, "good", skill=0.9)
    write_entry(results, "bad", skill=0.4, sequence=3)
    write_reported(results, "paper")
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

from fgvedit.evaluation.metrics import metrics_from_rows, router_from_rows
from fgvedit.probes import changes
from leaderboard.data import AnswerKey, KeyRecord, write_key
from leaderboard.reading import pack

Change = Callable[[dict[str, Any], list[dict[str, Any]]], object]  # of a result and its rows
KINDS = ("edit", "rephrase", "in_scope", "out_of_scope", "text_locality", "other_image", "reference_in")
RECORDS = 12


def made_up_key(records: int = RECORDS) -> AnswerKey:
    """Made-up data of so many records, each about an image of its own."""
    revision = "d" * 64 if records == RECORDS else f"{records:04x}" * 16
    made = tuple(
        KeyRecord(
            f"record-{number}",
            f"image-{number}",
            tuple(
                (kind, f"Which colour has card {number} ({kind})?", "blue" if changes(kind) else "green")
                for kind in KINDS
            ),
        )
        for number in range(records)
    )
    return AnswerKey("cards", "default", "test", revision, made)


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
                score = float(right[number])
                if protocol == "paper" and edited and not must:
                    score = 0.25  # a part of the tokens stayed
                rows.append(
                    {
                        "record_id": record.id,
                        "image_id": record.image_id,
                        "protocol": protocol,
                        "kind": kind,
                        "probe": number - 1,
                        "question": question,
                        "before": "green",
                        "after": ("blue" if must else "red") if edited else "green",
                        "expected": answer if must else None,
                        "answer": answer,
                        "score": score,
                        "rho": 0.5 + rhos[number] if edited else 0.5 - rhos[number],
                        "stored_edit": 0,
                        "route": "edited" if edited else "base",
                        "edits": edits,
                        "age": since,
                    }
                )
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
) -> tuple[dict[str, Any], bytes]:
    """A result, which is not to be changed, and the text of its rows."""
    key = made_up_key(records)
    rows = made_up_rows(key, skill, protocols, sequence, seed)
    text = as_lines(rows)
    manifest: dict[str, Any] = {
        "editor": {"name": editor, "class": f"editors:{editor}", "config": {"lr": 0.001}, "checkpoint": None},
        "backbone": {"name": backbone, "source": backbone, "revision": "b" * 64, "input_mode": "native"},
        "dataset": {
            "name": key.name,
            "config": key.config,
            "split": key.split,
            "revision": key.revision,
            "records": len({row["record_id"] for row in rows}),
            "limit": None,
        },
        "protocols": list(protocols),
        "sequence": sequence,
        "seed": seed,
        "device": "cpu",
        "dtype": "float32",
        "hardware": {"name": "A CPU", "processes": 1, "threads": 2},
        "python": "3.11.2",
        "packages": dict.fromkeys(("fgvedit", "torch", "transformers", "datasets", "open_clip_torch", "numpy"), "1.0"),
        "git": None,
        "rows_sha256": hashlib.sha256(text).hexdigest(),
        "cost": {
            "seconds": 10.0 * records * skill,
            "edit_seconds": 2.0 * records * skill,
            "encoded_images": records,
            "peak_memory_bytes": int(1e9 * skill),
            "trained_parameters": int(1e6 * skill),
        },
    }
    result = {
        "format": 2,
        "manifest": manifest,
        "metrics": metrics_from_rows(rows),
        "router": router_from_rows(rows),
    }
    return result, text


def as_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def write_run(folder: Path, editor: str, **options: Any) -> Path:
    """A run folder as fgvedit.run leaves it; `options` as of `made_up_run`."""
    result, text = made_up_run(editor, **options)
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result, indent=2))
    (folder / "rows.jsonl").write_bytes(text)
    return folder


def write_entry(results: Path, editor: str, *, status: str = "verified-rows", **options: Any) -> Path:
    """`runs/<id>` of a made-up run, in `results`, which may hold others; `options` as of `made_up_run`."""
    result, text = made_up_run(editor, **options)
    manifest = result["manifest"]
    data, sha256, rows = manifest["dataset"], manifest["rows_sha256"], text.count(b"\n")
    id = f"{editor}-{manifest['backbone']['name']}-cards-{data['revision'][:8]}-{manifest['seed']}"
    id += f"-seq-{manifest['sequence']}" if manifest["sequence"] else ""
    key = made_up_key(options.get("records", RECORDS))
    results.mkdir(parents=True, exist_ok=True)
    write_key(key, results)
    agreement = {"rows": rows, "equal": rows, "metric": "paper/locality", "difference": 0, "tolerance": 0.5}
    reproduced = {
        "by": "A maintainer",
        "link": "https://example.org/maintainer",
        "date": "2026-02-01",
        "rows_sha256": sha256,
        "agreement": agreement,
    }
    submission = {
        "format": 1,
        "id": id,
        "name": f"{editor} as made up",
        "link": "https://example.org/code",
        "description": "Not a real run.",
        "submitted": "2026-01-31",
        "status": status,
        "reproduced": reproduced if status == "reproduced" else None,
    }
    folder = results / "runs" / id
    folder.mkdir(parents=True)
    (folder / "submission.json").write_text(json.dumps(submission))
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "rows.jsonl.xz").write_bytes(pack(text))
    return folder


def write_reported(results: Path, id: str = "paper", **changes: Any) -> Path:
    """`reported/<id>.json`, with what is in `changes` changed."""
    metrics = {"paper/reliability": 99.0, "paper/locality": 90.0, "paper/generality": 95.0, "paper/specificity": 60.5}
    found = {
        "format": 1,
        "id": id,
        "title": "A paper",
        "link": "https://example.org/paper",
        "table": "Table 1",
        "note": "",
        "dataset": "vqav2",
        "split": "test",
        "protocol": "paper",
        "rows": [{"editor": "mscke", "backbone": "blip2-opt-2.7b", "metrics": metrics}],
        **changes,
    }
    path = results / "reported" / f"{id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))
    return path


def change(folder: Path, how: Change, recompute: bool = True) -> Path:
    """Change a run folder in place. The hash of its rows follows, and so do the metrics where `recompute` says so."""
    result = json.loads((folder / "result.json").read_text())
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    how(result, rows)
    text = as_lines(rows)
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
