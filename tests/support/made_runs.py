"""Finished runs with made-up rows, for the tests of their page, and what of a page is told from the rows."""

from __future__ import annotations

import base64
import io
import json
import random
from pathlib import Path
from typing import Any

import board_samples
from board_samples import make_result
from pages import DESKTOP, Opened
from PIL import Image

from builders.parquet import write_rows
from fgvedit.dataset import load_records
from fgvedit.probes import changes

RECORDS = 30  # of the run that tests of pages share: three pages of the list, and two scripts of records
PROTOCOLS = ["paper", "generation"]
GRID = (4, 2)  # rows and columns of attention maps
Rows = list[dict[str, Any]]


def write_data(folder: Path, *rows: dict[str, Any]) -> Path:
    """A data set of these rows."""
    write_rows(list(rows), folder, "test")
    return folder


def rows_of(data: Path, routed: bool = True, sequence: int | None = None) -> Rows:
    """Made-up rows on every record of the split `test`, under both protocols."""
    drawn = random.Random(0)
    rows = []
    for number, record in enumerate(load_records(str(data)).records):
        own = number % sequence + 1 if sequence else 1
        for edits in dict.fromkeys([own, sequence or 1]):
            rhos = [drawn.random() if routed else None for _ in record.asked]
            for protocol in PROTOCOLS:
                long = "" if number else f" {'long' * 30}"
                for index, (probe, rho) in enumerate(zip(record.asked, rhos, strict=True)):
                    change = changes(probe.kind)
                    row = {
                        "record_id": record.id, "image_id": record.image.image_id, "group": record.group,
                        "protocol": protocol, "kind": probe.kind, "probe": index - 1, "question": probe.question,
                        "before": f"before {index}", "after": f"after {index}{long}",
                        "expected": probe.answer if change else None, "answer": probe.answer,
                        "score": drawn.choice([0.0, 1.0] if change else [0.0, 0.25, 1.0]),
                        "rho": rho, "stored_edit": drawn.randrange(edits) if routed else None,
                        "route": "edited" if rho is None or rho >= 0.5 else "base", "edits": edits, "age": edits - own,
                    }  # fmt: skip
                    rows.append(row)
    return rows


def attention_of(record_id: str, probes: int, fit: str | None = "squash") -> dict[str, Any]:
    """Maps of which each has one strong cell, the one of its own number; the first probe's is cell 1. `fit` None: as of
    an older run, which did not say it."""

    def one(cell: int) -> str:
        weights = bytearray(GRID[0] * GRID[1])
        weights[cell % len(weights)] = 255
        return base64.b64encode(bytes(weights)).decode()

    maps = [one(cell + 1) for cell in range(probes + 1)]
    line = {"record_id": record_id, "grid": list(GRID), "edit": one(0), "probes": maps}
    return {**line, "fit": fit} if fit else line


def write_run(
    folder: Path, data: Path, rows: Rows, attention: list[dict[str, Any]] | None = None, **changes: Any
) -> Path:
    """A finished run's folder; `changes` of its manifest."""
    loaded = load_records(str(data))
    dataset = {"name": str(data), "revision": loaded.revision, "records": len(loaded.records)}
    about = {"editor": editor(), "dataset": dataset, "protocols": PROTOCOLS, **changes}
    board_samples.write_run(folder, make_result("mine", rows, **about), rows)
    if attention:
        (folder / "looks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in attention))
    return folder


def editor(**config: Any) -> dict[str, Any]:
    """What a manifest says of an editor with these options."""
    return {"name": "mine", "class": "mine:Mine", "config": config, "checkpoint": None}


def read_rows(run: Path) -> Rows:
    return [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]


def shows(row: dict[str, Any], show: str) -> bool:
    """Whether a filter of the page is to show a row, by its definition."""
    change, away, routed = changes(row["kind"]), row["route"] != "base", row["rho"] is not None
    wrong, missed, falsely = row["score"] < 1, routed and change and not away, routed and not change and away
    answer = wrong and routed and not missed and not falsely
    return {"all": True, "wrong": wrong, "missed": missed, "falsely": falsely, "answer": answer}[show]


def photo(width: int, height: int, kind: str = "JPEG", **options: Any) -> dict[str, Any]:
    """A green photo with a red square at its left, as `datasets` stores it."""
    image, buffer = Image.new("RGB", (width, height), (90, 140, 60)), io.BytesIO()
    image.paste((200, 40, 40), (0, 0, height, height))
    image.save(buffer, kind, **options)
    return {"bytes": buffer.getvalue(), "path": None}


def turned() -> Image.Exif:
    """What a camera says that was held on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def opened(browser: Any, folder: Path, fragment: str = "", **context: Any) -> Opened:
    page = Opened(browser, folder, fragment, **{"viewport": DESKTOP, **context})
    page.until("() => document.querySelector('#list').children.length > 0")
    return page


def wait_for_focus(page: Opened, record: str) -> None:
    page.until("record => document.activeElement.closest('.card')?.dataset.record === record", record)
