"""The page: one folder with an HTML file, which holds all but the images, and the images. It needs no network."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from builders.review.reading import labels_of, rows
from builders.validate.sources import open_source
from fgvedit.evaluation.normalise import normalise
from fgvedit.probes import kind_of
from fgvedit.schema import Probe, Record, record_from_row
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import write_text
from fgvedit.viewers.pages import PICTURE, Images, html

HERE = Path(__file__).parent
DATA = r'<script type="application/json" id="page-data">(.*?)</script>'  # as fgvedit.viewers.pages writes it
IMAGE = r"images/[0-9a-f]{20}\.[a-z]+"


def write_page(name: str, out: Path, sample: int | None = None, seed: int = 0, config: str | None = None) -> str:
    """Write the page for the data set `name` into the folder `out`; what was written, in words.

    `name`: a folder of records, a configuration of the embedded data or a hub id. `sample`: how many records to show,
    drawn with `seed` from all splits; None: all. `config`: which configuration of a folder or hub data set; None: its
    default one. The page stands in `index.html`, which is written last; then the images go that only an earlier
    page in the folder showed.

    It is no `whole_folder`: the folder may hold much else, in `images` too, which is to stay where it is, and images
    are called by their content, so that those of two pages do not get in each other's way. What a kill leaves is the
    earlier page or this one, and images that neither shows.

    Raises `FGVEditError` for a data set that cannot be read, a sample below 1, and an `index.html` of another kind.
    """
    if sample is not None and sample < 1:
        raise FGVEditError(f"--sample {sample}: expected a number of records of at least 1")
    shown_before = _images_of(out / "index.html")
    source = open_source(name, config)
    chosen = None
    if sample is not None:
        ids = sorted(row["id"] for _, row in rows(source))
        chosen = set(random.Random(seed).sample(ids, min(sample, len(ids))))
    labels = labels_of(source)
    images = Images(out)
    records = []
    try:
        for split, row in tqdm(rows(source), total=source.rows, desc="records", unit="record", disable=None):
            if chosen is None or row["id"] in chosen:
                record = record_from_row(row)
                records.append({"split": split, **_shown(record, labels.get(record.id), images)})
        if not records:
            raise FGVEditError(f"data set '{name}' has no records; expected at least 1")
        content = {"name": name, "revision": source.revision, "records": records}
        write_text(out / "index.html", html(HERE / "page.html", "Review", content, shared=[PICTURE, HERE / "marks"]))
    except BaseException:
        images.remove(images.shown() - shown_before)
        raise
    images.remove(shown_before - images.shown())
    items = sum(1 + len(record["probes"]) for record in records)
    return f"{out / 'index.html'}: {len(records):,} records, {items:,} things to mark, {len(images.files):,} images"


def _images_of(page: Path) -> set[str]:
    """The paths of the images of a page that was written before. Raises `FGVEditError` where it is another page."""
    if not page.exists():
        return set()
    try:
        found = re.search(DATA, page.read_text(encoding="utf-8"), re.S)
        if found is None:
            raise ValueError("no data")
        shown = [part["image"] for record in json.loads(found[1])["records"] for part in (record, *record["probes"])]
        return {image["file"] for image in shown if image and re.fullmatch(IMAGE, image["file"])}
    except (ValueError, KeyError, TypeError) as error:
        raise FGVEditError(
            f"'{page}': found a page that is none of builders.review; expected another folder"
        ) from error


def _shown(record: Record, label: Mapping[str, Any] | None, images: Images) -> dict[str, Any]:
    reasons = dict(label["reasons"]) if label else {}
    of_probes = {normalise(one["question"]): one.get("reason", "") for one in reasons.pop("probes", [])}
    return {
        "id": record.id,
        "image_id": record.image.image_id,
        "image": images.file(record.image),
        "entity": record.entity,
        "box": record.box if len(record.box) == 4 else None,
        "question": record.question,
        "answer": record.answer,
        "target": record.target,
        "labeller": f"{label['labeller']}, policy {label['policy']}" if label else "",
        "reasons": reasons,
        "probes": [
            {
                **_asked(probe),
                # The same question about another image is another question.
                "reason": "" if kind_of(probe.kind).image == "other" else of_probes.get(normalise(probe.question), ""),
                "image": images.file(probe.image)
                if probe.image is not None and probe.image.key != record.image.key
                else None,
            }
            for probe in record.probes
        ],
    }


def _asked(probe: Probe) -> dict[str, str]:
    kind = kind_of(probe.kind)
    asks = f"{kind.asks[0].upper()}{kind.asks[1:]}"
    if kind.changes:
        expected = f"After the edit the answer is to be “{probe.answer}”."
    else:
        expected = f"The edit is to change nothing here: the right answer was, and stays, “{probe.answer}”."
    return {"kind": probe.kind, "asks": asks, "question": probe.question, "expected": expected}
