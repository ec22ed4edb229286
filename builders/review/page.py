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
from fgvedit.dataset import Source
from fgvedit.evaluation.normalise import normalise
from fgvedit.probes import kind_of
from fgvedit.schema import Probe, Record, record_from_row
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import check_out, whole_folder, write_text
from fgvedit.viewers.pages import PICTURE, Images, html

HERE = Path(__file__).parent
PAGE = "index.html"
DATA = r'<script type="application/json" id="page-data">(.*?)</script>'  # as fgvedit.viewers.pages writes it
IMAGE = r"images/[0-9a-f]{20}\.[a-z]+"


def write_page(name: str, out: Path, sample: int | None = None, seed: int = 0, config: str | None = None) -> str:
    """Write the page for the data set `name` into the folder `out`; what was written, in words.

    `name`: a folder of records, a configuration of the embedded data or a hub id. `sample`: how many records to show,
    drawn with `seed` from all splits; None: all. `config`: which configuration of a folder or hub data set; None: its
    default one. A page that is there is replaced as a whole; other files in its folder, such as exported marks, stay.
    Raises `FGVEditError`, with nothing written, for a data set that cannot be read, a sample below 1, and a folder
    `out` that holds anything but a page.
    """
    if sample is not None and sample < 1:
        raise FGVEditError(f"--sample {sample}: expected a number of records of at least 1")
    check_out(out, _is_page)
    source = open_source(name, config)
    labels, chosen = labels_of(source), _chosen(source, sample, seed)
    records = []
    with whole_folder(out, _is_page, keep_others=_own) as partial:
        images = Images(partial)
        for split, row in tqdm(rows(source), total=source.rows, desc="records", unit="record", disable=None):
            if chosen is None or row["id"] in chosen:
                record = record_from_row(row)
                records.append({"split": split, **_shown(record, labels.get(record.id), images)})
        if not records:
            raise FGVEditError(f"data set '{name}' has no records; expected at least 1")
        content = {"name": name, "revision": source.revision, "records": records}
        write_text(partial / PAGE, html(HERE / "page.html", "Review", content, shared=[PICTURE, HERE / "marks"]))
    items = sum(1 + len(record["probes"]) for record in records)
    return f"{out / PAGE}: {len(records):,} records, {items:,} things to mark, {len(images.files):,} images"


def _chosen(source: Source, sample: int | None, seed: int) -> set[str] | None:
    """The ids of the records to show; None: all."""
    if sample is None:
        return None
    ids = sorted(row["id"] for _, row in rows(source))
    return set(random.Random(seed).sample(ids, min(sample, len(ids))))


def _is_page(folder: Path) -> bool:
    """Whether a folder holds a page for a review. Raises `FGVEditError` where it holds another page."""
    return bool(_own(folder))


def _own(folder: Path) -> list[str]:
    """The files of the page in a folder; none where there is no page. Raises `FGVEditError` where it is another one."""
    page = folder / PAGE
    if not page.exists():
        return []
    try:
        found = re.search(DATA, page.read_text(encoding="utf-8"), re.S)
        if found is None:
            raise ValueError("no data")
        shown = [part["image"] for record in json.loads(found[1])["records"] for part in (record, *record["probes"])]
        return [PAGE, *(image["file"] for image in shown if image and re.fullmatch(IMAGE, image["file"]))]
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
