"""A run's records as its page shows them: in scripts of `CHUNK` records, and an index with a sign for each probe.

A page that is opened from a file may load scripts, but not data.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

import fgvedit
from fgvedit.evaluation.rows import Row, away
from fgvedit.schema import ImageRef, Probe, Record
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import read_json, write_text
from fgvedit.viewers import pages
from fgvedit.viewers.pages.fit import FITS, area
from fgvedit.viewers.report.reading import Run, check_record

CHUNK = 25  # records in a script
# A probe's sign in the index is the sum of what holds of it; `ABSENT` where it was not asked.
WRONG, AWAY, ROUTED = 1, 2, 4  # scored below 1; not answered by the base model; has a rho
ABSENT = "-"
CLIPS = Path(fgvedit.__file__).parent / "editors" / "memory" / "weights"  # those that are shipped


class Written:
    """What the page's first view needs of the records, collected while their scripts are written into a folder.

    `index`: of each record its id, `kinds` (an index into the list of that name) and `signs`, for each protocol and
    evaluation point a text of a sign a probe, the edit's first; `kinds`: the kinds of a record's probes, for each
    layout that there is; `scripts`: the names of the scripts.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.index: list[dict[str, Any]] = []
        self.kinds: list[list[str]] = []
        self.scripts: list[str] = []
        self._waiting: list[dict[str, Any]] = []
        (out / "records").mkdir()

    def add(self, record: Record, signs: list[str], shown: dict[str, Any]) -> None:
        """Take up a record: `signs` for the index, `shown` for its script."""
        kinds = [probe.kind for probe in record.asked]
        if kinds not in self.kinds:
            self.kinds.append(kinds)
        self.index.append({"id": record.id, "kinds": self.kinds.index(kinds), "signs": signs})
        self._waiting.append(shown)
        if len(self._waiting) == CHUNK:
            self.flush()

    def flush(self) -> None:
        """Write the records that no script has yet."""
        if not self._waiting:
            return
        text = json.dumps(self._waiting, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        number = len(self.scripts)
        name = f"records/{number:04}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.js"
        write_text(self.out / name, f"(globalThis.recordChunks ??= [])[{number}] = {text};\n")
        self.scripts.append(name)
        self._waiting.clear()


def write_records(run: Run, records: Sequence[Record], images: pages.Images, out: Path) -> Written:
    """Write the scripts of the run's records, and their images.

    Raises `FGVEditError` for rows that are not of the records (see `check_record`), and for images that do not decode.
    """
    written = Written(out)
    rows_of, assumed = run.rows_of(), assumed_fit(run)
    for record in tqdm(records, desc="records", unit="record", disable=None):
        rows = rows_of.pop(record.id, None)
        if rows is None:
            continue  # sequential editing leaves some out
        check_record(run, record, rows)
        found = _by_probe(run, len(record.asked), rows)
        attention = run.attention.get(record.id)
        shown = _shown(record, found, attention and {"fit": assumed, **attention}, images)
        number = min(row["edits"] for row in rows)  # of its edit within a sequence
        signs = ["".join(map(_sign, own)) for own in zip(*found, strict=True)]
        written.add(record, signs, {**shown, "number": number})
    if rows_of:
        raise FGVEditError(
            f"'{run.folder / 'rows.jsonl'}' holds rows of record '{next(iter(rows_of))}', which the run's data lack"
        )
    written.flush()
    return written


def assumed_fit(run: Run) -> str:
    """How much of an image the classifier saw, by `pages.fit`, for a run whose attention maps do not say it. A CLIP in
    a folder says so itself, if the folder is there; those that open_clip knows by name take the middle. Whatever is no
    CLIP is taken to have attended to the whole image."""
    clip = run.manifest["editor"]["config"].get("clip")
    if not isinstance(clip, str):
        return "squash"
    for folder in (CLIPS / clip, Path(clip)):
        path = folder / "open_clip_config.json"
        if path.is_file():
            said = read_json(path).get("preprocess_cfg", {}).get("resize_mode")
            return said if said in FITS else "shortest"
    return "shortest"


def _by_probe(run: Run, probes: int, rows: Sequence[Row]) -> list[list[Row | None]]:
    """Of each of a record's probes, its edit's first, the row of each protocol and evaluation point."""
    at = {(row["protocol"], point, row["probe"]): row for row in rows for point in run.points_of(row)}
    keys = [(protocol, point) for protocol in run.manifest["protocols"] for point in run.points]
    return [[at.get((*key, probe - 1)) for key in keys] for probe in range(probes)]


def _sign(row: Row | None) -> str:
    if row is None:
        return ABSENT
    return str(WRONG * (row["score"] < 1) + AWAY * away(row) + ROUTED * (row["rho"] is not None))


def _shown(
    record: Record, rows: Sequence[Sequence[Row | None]], attention: Mapping[str, Any] | None, images: pages.Images
) -> dict[str, Any]:
    own = _image(record.image, attention, images)
    return {
        "id": record.id,
        "image_id": record.image.image_id,
        "image": own,
        "entity": record.entity,
        "box": record.box if len(record.box) == 4 else None,
        "question": record.question,
        "answer": record.answer,
        "target": record.target,
        "probes": [
            {
                "question": probe.question,
                "answer": probe.answer,
                "image": _probe_image(probe, record, attention, images),
                "asked": [row and _answered(row) for row in own_rows],
            }
            for probe, own_rows in zip(record.asked, rows, strict=True)
        ],
        "attention": attention,
    }


def _probe_image(probe: Probe, record: Record, attention: Mapping[str, Any] | None, images: pages.Images) -> Any:
    """None for a question without an image, "own" for one about its record's, else the other image."""
    if probe.image is None:
        return None
    if probe.image.key == record.image.key:
        return "own"
    return {**_image(probe.image, attention, images), "other": probe.image.image_id}


def _image(image: ImageRef, attention: Mapping[str, Any] | None, images: pages.Images) -> dict[str, Any]:
    """An image's file, and with attention maps the part of the image that the classifier saw, in pixels."""
    file = images.file(image)
    return {**file, "area": area(file["width"], file["height"], attention["fit"])} if attention else file


def _answered(row: Row) -> list[Any]:
    rho: Any = row["rho"]
    if rho is not None:
        rho = round(rho, 6) if math.isfinite(rho) else str(rho)
    return [row["before"], row["after"], round(row["score"], 4), rho, row["route"], row["stored_edit"]]
