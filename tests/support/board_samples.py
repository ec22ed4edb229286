"""Made-up runs of a few records, as a results folder holds them."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fgvedit.evaluation.metrics import metrics_from_rows, router_from_rows
from fgvedit.probes import kinds
from leaderboard.reading import pack

REVISION = "ab" * 32
PACKAGES = ("fgvedit", "torch", "transformers", "datasets", "open_clip_torch", "numpy")


def make_rows(
    right: float | Mapping[str, float],
    records: int = 12,
    sequence: int | None = None,
    seed: int = 0,
    protocols: tuple[str, ...] = ("paper", "generation"),
    rho: bool = False,
    **changes: Any,
) -> list[dict[str, Any]]:
    """Rows of a run in which a probe is right with the chance `right` (of its kind); `changes`: fields of every row."""
    chance = random.Random(seed)
    rows = []
    for record in range(records):
        own = record % sequence + 1 if sequence else 1  # how many edits were in force right after its own
        for edits in sorted({own, sequence or own}):
            for protocol in protocols:
                for number, kind in enumerate(kinds()):
                    well = chance.random() < (right if isinstance(right, float) else right.get(kind, 1.0))
                    new = kinds()[kind].changes
                    answer = "blue" if new else "as before"
                    row = {
                        "record_id": f"r{record}", "image_id": f"i{record}",
                        "group": f"g{record if sequence else record // 2}",
                        "protocol": protocol, "kind": kind, "probe": number - 1,
                        "question": f"What of {kind} in {record}?",
                        "before": "red" if new else answer, "after": answer if well else "green",
                        "expected": answer if new else None, "answer": answer,
                        "score": 1.0 if well else 0.0 if new or protocol == "generation" else 0.25,
                        "rho": round(chance.random(), 4) if rho else None,
                        "stored_edit": 0, "route": "edited" if new or not rho else "base",
                        "edits": edits, "age": edits - own,
                    }  # fmt: skip
                    rows.append({**row, **changes})
    return rows


def make_result(editor: str, rows: list[dict[str, Any]], /, **manifest: Any) -> dict[str, Any]:
    """A valid result file of these rows; `manifest`: fields of it, or of its parts, that differ."""
    last = max(row["edits"] for row in rows)
    made = {
        "editor": {"name": editor, "class": "a.b:Editor", "config": {"lr": 0.001, "layers": [-1]}, "checkpoint": None},
        "backbone": {"name": "tiny", "source": "model", "revision": "c" * 64, "input_mode": "native"},
        "dataset": {
            "name": "cards", "config": "default", "split": "test", "revision": REVISION,
            "records": len({row["record_id"] for row in rows}), "limit": None,
        },
        "protocols": sorted({row["protocol"] for row in rows}, reverse=True),
        "sequence": last if last > 1 else None, "seed": 0, "device": "cpu", "dtype": "float32",
        "hardware": {"name": "A CPU", "processes": 1, "threads": 2},
        "python": "3.11.2", "packages": dict.fromkeys(PACKAGES, "1.0"), "git": {"commit": "d" * 40, "dirty": False},
        "rows_sha256": hashlib.sha256(rows_text(rows)).hexdigest(),
        "cost": {
            "seconds": 100.0, "edit_seconds": 1.0 + len(editor), "encoded_images": 24, "peak_memory_bytes": 2**30,
            "trained_parameters": 1000 * len(editor),
        },
    }  # fmt: skip
    for field, value in manifest.items():
        made[field] = {**made[field], **value} if isinstance(value, dict) else value  # type: ignore[dict-item]
    return {"format": 3, "manifest": made, "metrics": metrics_from_rows(rows), "router": router_from_rows(rows)}


def rows_text(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def write_run(folder: Path, result: dict[str, Any], rows: list[dict[str, Any]] | None = None) -> Path:
    """A run folder as `fgvedit.run` leaves it."""
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))
    if rows is not None:
        (folder / "rows.jsonl").write_bytes(rows_text(rows))
    return folder


def write_entry(results: Path, id: str, result: dict[str, Any], rows: list[dict[str, Any]], **about: Any) -> Path:
    """`runs/<id>`, a submitted run; `about`: fields of its submission.json."""
    folder = results / "runs" / id
    folder.mkdir(parents=True)
    submission = {
        "format": 1, "id": id, "name": "Somebody", "link": "https://example.org/code", "description": "As it is.",
        "submitted": "2026-11-26", "status": "verified-rows", "reproduced": None, **about,
    }  # fmt: skip
    (folder / "submission.json").write_text(json.dumps(submission))
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "rows.jsonl.xz").write_bytes(pack(rows_text(rows)))
    return folder


def write_reported(results: Path, id: str = "a-paper", **changes: Any) -> None:
    """`reported/<id>.json`, with what is in `changes` changed."""
    folder = results / "reported"
    folder.mkdir(parents=True, exist_ok=True)
    percent = {"reliability": 100.0, "locality": 99.0, "generality": 98.0, "specificity": 97.0}
    metrics = {f"paper/{metric}": value for metric, value in percent.items()}
    paper = {
        "format": 1, "id": id, "title": "A Paper on Editing", "link": "https://example.org/paper", "table": "Table 1",
        "note": "", "dataset": "photos", "split": "test", "protocol": "paper",
        "rows": [{"editor": "claimed", "backbone": "large", "metrics": metrics}], **changes,
    }  # fmt: skip
    (folder / f"{id}.json").write_text(json.dumps(paper))


def write_results(results: Path) -> None:
    """Six runs, of which four can be compared, and a paper: `good` and `twin` cannot be told apart."""
    made: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
        "good": (make_rows(0.97, seed=1, rho=True), {"status": "reproduced", "reproduced": REPRODUCED}),
        "twin": (make_rows(0.97, seed=2), {"name": "Ada"}),
        "poor": (make_rows({"in_scope": 0.1, "out_of_scope": 0.4, "text_locality": 0.5}, seed=3), {}),
        "none": (make_rows({"edit": 0.0, "rephrase": 0.0, "in_scope": 0.0}, seed=4), {}),
    }
    for name, (rows, about) in made.items():
        write_entry(results, f"{name}-tiny-cards", make_result(name, rows), rows, **about)
    for name, seed in (("good", 5), ("poor", 6)):
        rows = make_rows(0.9 if name == "good" else 0.5, sequence=4, seed=seed)
        write_entry(results, f"{name}-tiny-cards-seq-4", make_result(name, rows), rows)
    write_reported(results)


REPRODUCED = {
    "by": "Grace",
    "link": "https://example.org/again",
    "date": "2026-11-27",
    "rows_sha256": "e" * 64,
    "agreement": {"rows": 192, "equal": 190, "metric": "paper/specificity", "difference": 0.25, "tolerance": 0.5},
}
