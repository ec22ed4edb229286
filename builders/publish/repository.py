"""The folder that is published: whole or absent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from builders import coco
from builders.parquet import write_rows
from builders.publish.card import card
from builders.publish.croissant import croissant
from builders.publish.publication import Config, Publication
from builders.review.reading import rows
from builders.sidecars import copy_labels
from builders.validate.report import Report
from fgvedit.dataset import Source
from fgvedit.schema import record_from_row
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import whole_folder, write_json, write_text
from fgvedit.util.revision import content_hash

CHECKSUMS, CROISSANT = "SHA256SUMS", "croissant.json"


def write_repository(about: Publication, reports: Mapping[str, Report], out: Path) -> None:
    """Write the data sets that `reports` (by the configuration's name) are of as one repository into folder `out`.

    A repository that is there already is replaced when the new one is whole.
    Raises `FGVEditError` where `out` holds anything else, and, without `embed_images`, for an image that is not one
    of COCO 2014.
    """
    with whole_folder(out, made_here) as folder:
        configs = [_write_config(name, report, folder, about.embed_images) for name, report in reports.items()]
        checksums = {path.relative_to(folder).as_posix(): _sha256(path) for path in _files(folder)}
        write_text(folder / "README.md", card(about, configs))
        write_json(folder / CROISSANT, croissant(about, configs, checksums))
        lines = [f"{_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in _files(folder)]
        write_text(folder / CHECKSUMS, "".join(lines))


def made_here(folder: Path) -> bool:
    """Whether a folder is one that `write_repository` wrote."""
    return all((folder / name).is_file() for name in (CHECKSUMS, CROISSANT, "README.md"))


def _write_config(name: str, report: Report, folder: Path, embed_images: bool) -> Config:
    source = report.source
    data = folder / "data" / name
    files = {split: write_rows(_rows(source, split, embed_images), data, split) for split in source.files}
    labels = f"labels/{name}.jsonl"
    return Config(
        name,
        report,
        {split: [path.relative_to(folder).as_posix() for path in paths] for split, paths in files.items()},
        content_hash(path for paths in files.values() for path in paths),
        labels if copy_labels(source, folder / labels) else None,
    )


def _rows(source: Source, split: str, embed_images: bool) -> Iterator[dict[str, Any]]:
    for _, row in rows(source, split):
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
    """With each image's address on COCO's host for its bytes."""
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
