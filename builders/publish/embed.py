"""`python -m builders.publish.embed`: a data set whose images are referenced, with the images put into its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from fgvedit.cli import ArgumentParser
from fgvedit.errors import FGVEditError, command_line

if TYPE_CHECKING:
    from builders.coco import Images

EXAMPLES = """examples:
  python -m builders.publish.embed me/fgvedit-vqa --images coco --out data
  python -m builders.publish.embed repo --config rules --images coco --fetch --out data
  python -m fgvedit.run --dataset data --editor mscke   # what it is for
"""


def main(argv: list[str] | None = None) -> None:
    parser = ArgumentParser(prog="python -m builders.publish.embed", description=__doc__, epilog=EXAMPLES)
    parser.add_argument("data", metavar="NAME_OR_FOLDER", help="a folder of Parquet, or a hub id (OWNER/NAME)")
    parser.add_argument("--config", metavar="NAME", help="of a data set with several configurations; default: its own")
    parser.add_argument(
        "--images",
        required=True,
        type=Path,
        nargs="+",
        metavar="FOLDER",
        help="of COCO 2014 images, or above train2014/",
    )
    parser.add_argument("--fetch", action="store_true", help="fetch images that are not there into the first of them")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where the Parquet files are written")
    options = parser.parse_args(argv)

    from builders.coco import Images
    from builders.parquet import write_rows
    from builders.validate.sources import Misfit, misfits, open_source, rows_of

    source = open_source(options.data, options.config)
    for file in (file for files in source.files.values() for file in files):
        for misfit in misfits(file):
            raise FGVEditError(f"'{file}': {misfit.detail}")
        if file.resolve().parent == options.out.resolve():
            raise FGVEditError(f"--out: found '{options.out}', which holds the data itself; expected another folder")

    def rows(split: str) -> Iterator[dict[str, Any]]:
        for file in source.files[split]:
            for row in rows_of(file):
                if isinstance(row, Misfit):
                    raise FGVEditError(f"'{file}', record '{row.record}': {row.detail}")
                yield row

    images = Images(options.images, options.fetch)
    if options.fetch:
        lacking = images.fetch(sorted({name for split in source.files for row in rows(split) for name in _names(row)}))
        for name, reason in lacking.items():
            raise FGVEditError(f"image '{name}' {reason}; expected every image: the same command goes on from here")
    for split in source.files:
        files = write_rows((_with_images(row, images) for row in rows(split)), options.out, split)
        print(f"{split}: {', '.join(map(str, files))}")


def _names(row: dict[str, Any]) -> set[str]:
    """The file names of the images that a row refers to."""
    shown = [part["image"] for part in (row, *row["probes"]) if part["image"]]
    return {PurePosixPath(image["path"]).name for image in shown if not image["bytes"]}


def _with_images(row: dict[str, Any], images: Images) -> dict[str, Any]:
    filled = [{**part, "image": _filled(part["image"], images)} for part in (row, *row["probes"])]
    return {**filled[0], "probes": filled[1:]}


def _filled(image: dict[str, Any] | None, images: Images) -> dict[str, Any] | None:
    if not image or image["bytes"]:
        return image
    return {"bytes": images.ref(PurePosixPath(image["path"]).name).data, "path": None}


if __name__ == "__main__":
    command_line(main)
