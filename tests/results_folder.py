"""A results folder of made-up runs, quick to make and without torch: real files, metrics that follow from the rows.

write_entry(folder, "good", skill=0.9)
write_entry(folder, "bad", skill=0.4, sequence=3)
write_reported(folder, "paper")
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

from fgvedit.results import MUST_CHANGE, metrics_from_rows, router_from_rows
from leaderboard.reading import pack

KINDS = ("edit", "rephrase", "in_scope", "out_of_scope", "text_locality", "other_image", "reference_in")
REVISION = "d" * 64  # of made-up data


def made_up_rows(
    skill: float, records: int, protocols: tuple[str, ...], sequence: int | None, seed: int
) -> list[dict[str, Any]]:
    """A probe is right with probability `skill`, and less the more edits came after its own."""
    draw = random.Random(seed)
    rows = []
    for number in range(records):
        place = number % sequence + 1 if sequence else 1
        ages = [0] if not sequence or place == sequence else [0, sequence - place]
        for age in ages:
            for protocol in protocols:
                for probe, kind in enumerate(KINDS, -1):
                    right = draw.random() < skill - 0.05 * age
                    must = kind in MUST_CHANGE
                    answer = "blue" if must else "green"
                    rows.append(
                        {
                            "record_id": f"record-{number}",
                            "image_id": f"image-{number}",
                            "protocol": protocol,
                            "kind": kind,
                            "probe": probe,
                            "question": f"Which colour has card {number} ({kind})?",
                            "before": "green",
                            "after": answer if right else "red",
                            "expected": answer if must else None,
                            "answer": answer,
                            "score": float(right),
                            "rho": round(draw.uniform(0.5, 1) if right == must else draw.uniform(0, 0.5), 3),
                            "stored_edit": 0,
                            "route": "edited" if right == must else "base",
                            "edits": place + age,
                            "age": age,
                        }
                    )
    return rows


def write_entry(
    results: Path,
    editor: str,
    *,
    skill: float = 0.8,
    records: int = 12,
    backbone: str = "tiny",
    protocols: tuple[str, ...] = ("paper", "generation"),
    sequence: int | None = None,
    status: str = "verified-rows",
    seed: int = 0,
) -> Path:
    """`runs/<id>` of a made-up run, in `results`, which may hold others already."""
    id = f"{editor}-{backbone}-scenes-{REVISION[:8]}-{seed}" + (f"-seq-{sequence}" if sequence else "")
    rows = made_up_rows(skill, records, protocols, sequence, seed)
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    sha256 = hashlib.sha256(text).hexdigest()
    manifest: dict[str, Any] = {
        "editor": {"name": editor, "class": f"editors:{editor}", "config": {"lr": 0.001}, "checkpoint": None},
        "backbone": {"name": backbone, "source": backbone, "revision": "b" * 64, "input_mode": "native"},
        "dataset": {
            "name": "scenes",
            "config": "scenes",
            "split": "test",
            "revision": REVISION,
            "records": records,
            "limit": None,
        },
        "protocols": list(protocols),
        "sequence": sequence,
        "seed": seed,
        "device": "cpu",
        "dtype": "float32",
        "python": "3.11.2",
        "packages": dict.fromkeys(("fgvedit", "torch", "transformers", "datasets", "open_clip_torch", "numpy"), "1.0"),
        "git": None,
        "rows_sha256": sha256,
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
    agreement = {"rows": len(rows), "equal": len(rows), "metric": "paper/locality", "difference": 0, "tolerance": 0.5}
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
