"""The folder that is published: whole or absent."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from builders import coco
from builders.parquet import write_rows
from builders.publish.card import card
from builders.publish.croissant import croissant
from builders.publish.publication import Config, Publication
from builders.validate.report import Report
from builders.validate.sources import Misfit, Source, rows_of
from fgvedit.errors import FGVEditError
from fgvedit.files import write_json, write_text
from fgvedit.revision import content_hash
from fgvedit.schema import record_from_row

CHECKSUMS = "SHA256SUMS"
LABELS = "labels.jsonl"  # what a labeller said and why, beside the Parquet of some builders


def write_repository(about: Publication, reports: Mapping[str, Report], out: Path) -> None:
    """Write the data sets that `reports` (by the configuration's name) are of as one repository into folder `out`.

    A repository that is there already is replaced when the new one is whole.
    Raises `FGVEditError` where `out` holds anything else, and, without `embed_images`, for an image that is not one
    of COCO 2014.
    """
    if out.exists() and not (out / CHECKSUMS).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise FGVEditError(
            f"--out: found '{out}', which holds other things than a repository of this program; expected an empty or a "
            "new folder"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    partial, older = (out.with_name(f".{out.name}.{what}") for what in ("tmp", "old"))
    if older.exists() and not out.exists():  # a run was killed between the two renames below
        older.rename(out)
    for left in (partial, older):
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir()
    try:
        configs = [_write_config(name, report, partial, about.embed_images) for name, report in reports.items()]
        checksums = {path.relative_to(partial).as_posix(): _sha256(path) for path in _files(partial)}
        write_text(partial / "README.md", card(about, configs))
        write_json(partial / "croissant.json", croissant(about, configs, checksums))
        lines = [f"{_sha256(path)}  {path.relative_to(partial).as_posix()}\n" for path in _files(partial)]
        write_text(partial / CHECKSUMS, "".join(lines))
        if out.exists():
            out.rename(older)
        try:
            partial.rename(out)
        except BaseException:
            if older.exists():
                older.rename(out)
            raise
    finally:
        for left in (partial, older):
            shutil.rmtree(left, ignore_errors=True)


def _write_config(name: str, report: Report, folder: Path, embed_images: bool) -> Config:
    source = report.source
    data = folder / "data" / name
    files = {split: write_rows(_rows(source, split, embed_images), data, split) for split in source.files}
    beside = next(iter(source.files.values()))[0].parent / LABELS
    labels = None
    if beside.is_file():
        labels = f"labels/{name}.jsonl"
        (folder / "labels").mkdir(exist_ok=True)
        shutil.copyfile(beside, folder / labels)
    return Config(
        name,
        report,
        {split: [path.relative_to(folder).as_posix() for path in paths] for split, paths in files.items()},
        content_hash(path for paths in files.values() for path in paths),
        labels,
    )


def _rows(source: Source, split: str, embed_images: bool) -> Iterator[dict[str, Any]]:
    for file in source.files[split]:
        for row in rows_of(file):
            assert not isinstance(row, Misfit)  # the data set has passed
            yield _embedded(row) if embed_images else _referenced(row)


def _embedded(row: dict[str, Any]) -> dict[str, Any]:
    """With the bytes of images that stood there by path."""
    record = record_from_row(row)
    probes = []
    for stored, probe in zip(row["probes"], record.probes, strict=True):
        shown = {"bytes": probe.image.data, "path": None} if stored["image"] and probe.image else None
        probes.append({**stored, "image": shown})
    return {**row, "image": {"bytes": record.image.data, "path": None}, "probes": probes}


def _referenced(row: dict[str, Any]) -> dict[str, Any]:
    """With each image's place on COCO's host for its bytes."""
    probes = []
    for probe in row["probes"]:
        shown = _reference(probe["image_id"], row["id"]) if probe["image"] else None
        probes.append({**probe, "image": shown})
    return {**row, "image": _reference(row["image_id"], row["id"]), "probes": probes}


def _reference(image_id: str, record: str) -> dict[str, Any]:
    match = coco.FILE_NAME.fullmatch(f"{image_id}.jpg")
    if match is None:
        raise FGVEditError(
            f"record '{record}': image '{image_id}' is none of COCO 2014, expected COCO_train2014_… or COCO_val2014_… "
            "to refer to; with --embed-images images go into the files, if you may pass them on"
        )
    return {"bytes": None, "path": f"{coco.HOST}/{match[1]}/{match[0]}"}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            total.update(chunk)
    return total.hexdigest()
