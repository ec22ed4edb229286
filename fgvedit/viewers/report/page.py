"""The page of a run: a folder with `index.html`, and beside it the records in scripts, the images and the plots.

`index.html` holds what every view needs: the metrics, and of each record its id and a sign for each probe, from which
filters and the router's confusion are counted. The records themselves stand in scripts of `CHUNK` records, which the
page loads when it shows one of them (a page that is opened from a file may load scripts, but not data).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import fgvedit
from fgvedit.evaluation.metrics import END, metrics_from_rows
from fgvedit.evaluation.rows import Row
from fgvedit.probes import kinds, metrics
from fgvedit.schema import ImageRef, Record
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import read_json, write_json, write_text
from fgvedit.viewers import pages
from fgvedit.viewers.pages.fit import FITS, area
from fgvedit.viewers.report.reading import Run, check_record, data_of, read_run

CHUNK = 25  # records in a script
BINS = 40  # of a histogram of rho
THRESHOLD = 0.5  # of rho, where an editor's configuration has none: see docs/baselines.md
TEMPLATE = Path(__file__).parent / "page.html"
NAME = re.compile(r"index\.html|plotly\.min\.js|(images|records)/[0-9a-f-]+\.[a-z]+")
OURS = "report.json"  # says which files a page is made of
# A probe's sign in the index is the sum of what holds of it; `ABSENT` where it was not asked.
WRONG, AWAY, ROUTED = 1, 2, 4  # scored below 1; not answered by the base model; has a rho
ABSENT = "-"
CLIPS = Path(fgvedit.__file__).parent / "mscke" / "clip"  # those that are shipped


def write_report(folder: Path, out: Path | None = None, dataset: str | None = None) -> str:
    """Write the page of the run in `folder` into `out` (default: `report` in it); what was written, in words.

    `dataset`: where the run's data are now, if not where they were. A page that is there is replaced, and only its own
    files are. Raises `FGVEditError`, with nothing written, for a run that cannot be read or is not finished, other
    data, and a folder `out` that holds anything else.
    """
    run = read_run(folder)
    out = out or folder / "report"
    _check_out(out)
    data = data_of(run, dataset)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        images = pages.Images(partial)
        records, chunks = _write_records(run, data.records, images, partial)
        content = {**_about(run), "records": records, "chunks": chunks}
        if content["rho"]:
            pages.write_plotly(partial)
        title = f"{run.manifest['editor']['name']} on {run.manifest['backbone']['name']}: a run of FGVEdit"
        page = pages.html(TEMPLATE, title, content, chunks[:1], [pages.PICTURE], plots=True)
        write_text(partial / "index.html", page)
        files = sorted(path.relative_to(partial).as_posix() for path in partial.rglob("*") if path.is_file())
        write_json(partial / OURS, {"format": 1, "rows_sha256": run.manifest["rows_sha256"], "files": files})
        _put(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return f"{out / 'index.html'}: {len(records):,} records, {len(run.rows):,} rows, {len(images.files):,} images"


# -- the records -------------------------------------------------------------------------------------------------------


def _write_records(
    run: Run, records: Sequence[Record], images: pages.Images, out: Path
) -> tuple[list[dict[str, Any]], list[str]]:
    """Write the scripts; the index, an entry a record, and the scripts' names."""
    (out / "records").mkdir()
    index: list[dict[str, Any]] = []
    chunks: list[str] = []
    shown: list[dict[str, Any]] = []

    def flush() -> None:
        text = json.dumps(shown, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        name = f"records/{len(chunks):04}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.js"
        write_text(out / name, f"(globalThis.recordChunks ??= [])[{len(chunks)}] = {text};\n")
        chunks.append(name)
        shown.clear()

    rows_of, assumed = run.rows_of(), _assumed_fit(run)
    for record in tqdm(records, desc="records", unit="record", disable=None):
        rows = rows_of.pop(record.id, None)
        if rows is None:
            continue  # a run of edits in a row leaves some out
        check_record(run, record, rows)
        asked = _Asked(run, rows)
        look = run.looks.get(record.id)
        shown.append(_shown(record, rows, asked, look and {"fit": assumed, **look}, images))
        kinds = "".join(str(list(kinds()).index(probe.kind)) for probe in record.asked)
        index.append({"id": record.id, "kinds": kinds, "signs": asked.signs(len(kinds))})
        if len(shown) == CHUNK:
            flush()
    if rows_of:
        raise FGVEditError(
            f"'{run.folder / 'rows.jsonl'}' holds rows of record '{next(iter(rows_of))}', which the run's data lack"
        )
    if shown:
        flush()
    return index, chunks


class _Asked:
    """A record's rows by protocol, moment and probe. A run of edits in a row has two moments: right after the record's
    own edit, and after all of them."""

    def __init__(self, run: Run, rows: Sequence[Row]) -> None:
        self.keys = [(protocol, moment) for protocol in run.manifest["protocols"] for moment in _moments(run)]
        self.at: dict[tuple[str, str, int], Row] = {}
        for row in rows:
            for moment in _moments_of(run, row):
                self.at[row["protocol"], moment, row["probe"]] = row

    def rows(self, probe: int) -> Iterator[Row | None]:
        """Of each protocol and moment, in the order of `keys`."""
        return (self.at.get((*key, probe)) for key in self.keys)

    def signs(self, probes: int) -> list[str]:
        """Of each protocol and moment, a sign a probe, from that of the edit on."""
        return ["".join(_sign(self.at.get((*key, probe - 1))) for probe in range(probes)) for key in self.keys]


def _moments(run: Run) -> list[str]:
    return ["", END] if run.sequence else [""]


def _moments_of(run: Run, row: Row) -> list[str]:
    if not run.sequence:
        return [""]
    return [name for name, now in (("", row["age"] == 0), (END, row["edits"] == run.sequence)) if now]


def _sign(row: Row | None) -> str:
    if row is None:
        return ABSENT
    return str(WRONG * (row["score"] < 1) + AWAY * (row["route"] != "base") + ROUTED * (row["rho"] is not None))


def _shown(
    record: Record, rows: Sequence[Row], asked: _Asked, look: Mapping[str, Any] | None, images: pages.Images
) -> dict[str, Any]:
    def shown(image: ImageRef) -> dict[str, Any]:
        """The image, with the part of it at which the classifier looked, in pixels."""
        file = images.file(image)
        return {**file, "area": area(file["width"], file["height"], look["fit"])} if look else file

    own = shown(record.image)
    probes = []
    for place, probe in enumerate(record.asked):
        image = probe.image
        if image is None:
            seen: Any = None
        else:
            seen = own if image.key == record.image.key else {**shown(image), "other": image.image_id}
        probes.append(
            {
                "question": probe.question,
                "answer": probe.answer,
                "image": "own" if seen is own else seen,
                "asked": [row and _answered(row) for row in asked.rows(place - 1)],
            }
        )
    return {
        "id": record.id,
        "image_id": record.image.image_id,
        "image": own,
        "entity": record.entity,
        "box": record.box if len(record.box) == 4 else None,
        "question": record.question,
        "answer": record.answer,
        "target": record.target,
        "place": min(row["edits"] for row in rows),
        "probes": probes,
        "look": look,
    }


def _answered(row: Row) -> list[Any]:
    rho: Any = row["rho"]
    if rho is not None:
        rho = round(rho, 6) if math.isfinite(rho) else str(rho)
    return [row["before"], row["after"], round(row["score"], 4), rho, row["route"], row["stored_edit"]]


# -- what stands above the records -------------------------------------------------------------------------------------


def _about(run: Run) -> dict[str, Any]:
    manifest = run.manifest
    there = {row["kind"] for row in run.rows}
    return {
        "manifest": {key: value for key, value in manifest.items() if key != "rows_sha256"},
        "rows": len(run.rows),
        "chunk": CHUNK,
        "kinds": list(kinds()),
        "there": [kind for kind in kinds() if kind in there],
        "must_change": [kind.name for kind in kinds().values() if kind.changes],
        "moments": _moments(run),
        "metric_kinds": {name: metric.kinds[0] if len(metric.kinds) == 1 else "" for name, metric in metrics().items()},
        "metrics": metrics_from_rows(run.rows),
        "threshold": _threshold(run),
        "rho": _histograms(run),
        "looks": bool(run.looks),
        "assumed_fit": _assumed_fit(run) if any("fit" not in look for look in run.looks.values()) else None,
    }


def _threshold(run: Run) -> float:
    found = run.manifest["editor"]["config"].get("threshold")
    return found if isinstance(found, (int, float)) else THRESHOLD


def _histograms(run: Run) -> dict[str, Any] | None:
    """Of each protocol and moment, how many probes of each kind have their rho in which of `BINS` equal bins: those
    below the threshold, and those from it on, whichever bin it is in. None for an editor without a rho. "low" and
    "high" are where the bins begin and end: 0 and 1, or further out."""
    found = [(row, row["rho"]) for row in run.rows if row["rho"] is not None and math.isfinite(row["rho"])]
    if not found:
        return None
    rhos = [rho for _, rho in found]
    low, high = min(0.0, *rhos), max(1.0, *rhos)
    values: dict[str, dict[str, list[float]]] = {}
    for row, rho in found:
        for moment in _moments_of(run, row):
            values.setdefault(row["protocol"] + moment, {}).setdefault(row["kind"], []).append(rho)
    threshold = _threshold(run)

    def sides(own: Sequence[float]) -> list[list[int]]:
        below, from_it_on = [rho for rho in own if rho < threshold], [rho for rho in own if rho >= threshold]
        return [np.histogram(side, BINS, (low, high))[0].tolist() for side in (below, from_it_on)]

    counts = {name: {kind: sides(own) for kind, own in kinds.items()} for name, kinds in values.items()}
    return {"low": low, "high": high, "counts": counts}


def _assumed_fit(run: Run) -> str:
    """How much of an image the classifier saw, by `pages.fit`, for a run whose looks do not say it. A CLIP in a
    folder says so itself, if the folder is there; those that open_clip knows by name take the middle. Whatever is no
    CLIP is taken to have looked at the whole image."""
    clip = run.manifest["editor"]["config"].get("clip")
    if not isinstance(clip, str):
        return "squash"
    for folder in (CLIPS / clip, Path(clip)):
        path = folder / "open_clip_config.json"
        if path.is_file():
            said = read_json(path).get("preprocess_cfg", {}).get("resize_mode")
            return said if said in FITS else "shortest"
    return "shortest"


# -- where it goes -----------------------------------------------------------------------------------------------------


def _check_out(out: Path) -> None:
    if not out.name:
        raise FGVEditError(f"--out {out}: found no name of a folder, expected one, such as {out / 'page'}")
    if (out / OURS).is_file():
        _files_of(out)
    elif out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise FGVEditError(
            f"--out {out}: expected a new or empty folder, or one that holds a run's page; found another"
        )


def _put(partial: Path, out: Path) -> None:
    """Move a whole page to its place. Over an older one: all that it needs first, then `index.html`, and what the older
    one alone needed goes last."""
    if not (out / OURS).is_file():
        if out.exists():
            out.rmdir()
        partial.replace(out)
        return
    old, new = _files_of(out), _files_of(partial)
    for name in sorted([*new, OURS], key=lambda name: (name == "index.html", name == OURS)):
        (out / name).parent.mkdir(exist_ok=True)
        os.replace(partial / name, out / name)
    for name in set(old) - set(new):
        (out / name).unlink(missing_ok=True)


def _files_of(folder: Path) -> list[str]:
    """The files that a page is made of, by its own word. Raises `FGVEditError` where it names any other."""
    path = folder / OURS
    said = read_json(path)
    files = said.get("files") if isinstance(said, dict) else None
    if not isinstance(files, list) or not all(isinstance(name, str) and NAME.fullmatch(name) for name in files):
        raise FGVEditError(f"'{path}' is damaged: expected the names of a page's files; use another --out")
    return files
