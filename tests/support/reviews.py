"""Records that are reviewed, their labels, and marks of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from rows import make_row

from builders.parquet import write_rows
from builders.validate.sources import open_source


def write_records(folder: Path) -> Path:
    """Three records in two splits, each with five probes, and labels of the first two."""
    write_rows([make_row(0), make_row(1)], folder, "train")
    write_rows([make_row(2)], folder, "test")
    labels = [label(f"record-{number}", f"because {number}") for number in range(2)]
    (folder / "labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in labels))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """All files in it and in the folders below."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def label(name: str, reason: str) -> dict[str, Any]:
    probes = [{"question": "A in_scope question?", "kind": "in_scope", "reason": f"in scope {reason}"}]
    return {"id": name, "labeller": "rules", "policy": "plain", "reasons": {"target": reason, "probes": probes}}


def write_marks(path: Path, folder: Path, marks: dict[str, Any], config: str | None = None, **changes: Any) -> Path:
    revision = open_source(str(folder), config).revision
    path.write_text(json.dumps({"format": 1, "data": revision, "marks": marks, **changes}))
    return path


def revision_of(folder: Path) -> str:
    """By the definition of a content revision: over names and contents of the files, in the order of their names."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.parquet")):
        total.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast ratio of two colours such as #1b1b1f."""

    def luminance(colour: str) -> float:
        parts = [value / 255 for value in bytes.fromhex(colour[1:])]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)
