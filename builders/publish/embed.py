"""`python -m builders.publish.embed`: a data set whose images are referenced, with the images put into its files."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import FGVEditError, command_line
from fgvedit.util.files import check_out, noted, whole_folder, write_json

if TYPE_CHECKING:
    from builders.coco import Images

REPORT = "embed.json"
NOTE = """Images stand in these files: `python -m builders.publish.embed` put them there. What follows is said of the
data set that they were made of."""
EXAMPLES = """examples:
  python -m builders.publish.embed me/fgvedit-vqa --images coco --out data
  python -m builders.publish.embed repo --config rules --images coco --fetch --out data
  python -m fgvedit.run --dataset data --editor mscke   # what it is for
"""


def main(argv: list[str] | None = None) -> None:
    """Write a data set with its images put into its files."""
    options = _parser().parse_args(argv)

    from builders.coco import Images, expect_outside
    from builders.parquet import write_rows
    from builders.review.reading import rows
    from builders.sidecars import LABELS, copy_labels, write_card
    from builders.validate.sources import open_source

    source = open_source(options.data, options.config)
    if source.lies_in(options.out):
        raise FGVEditError(f"--out: found '{options.out}', which holds the data itself; expected another folder")
    check_out(options.out, made_here)
    expect_outside(options.images, options.out)
    images = Images(options.images, options.fetch)
    if options.fetch:
        lacking = images.fetch(sorted({name for _, row in rows(source) for name in _names(row)}))
        for name, reason in lacking.items():
            raise FGVEditError(f"image '{name}' {reason}; expected every image: the same command goes on from here")
    whole: set[str] = set()  # keys of images that were decoded
    with whole_folder(options.out, made_here) as folder:
        files = {}
        for split in source.files:
            filled = (_with_images(row, images, whole) for _, row in rows(source, split))
            files[split] = write_rows(filled, folder, split)
        copy_labels(source, folder / LABELS)
        write_card(folder, source, NOTE)
        write_json(folder / REPORT, {"images_put_into": source.name, "config": source.config, "data": source.revision})
    for split, paths in files.items():
        print(f"{split}: {', '.join(str(options.out / path.name) for path in paths)}")


def _parser() -> ArgumentParser:
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
    return parser


def made_here(folder: Path) -> bool:
    """Whether a folder is one that this program wrote."""
    return noted(folder / REPORT, "images_put_into") is not None


def _names(row: dict[str, Any]) -> set[str]:
    """The file names of the images that a row refers to."""
    shown = [part["image"] for part in (row, *row["probes"]) if part["image"]]
    return {PurePosixPath(image["path"] or "").name for image in shown if not image["bytes"]}


def _with_images(row: dict[str, Any], images: Images, whole: set[str]) -> dict[str, Any]:
    filled = [{**part, "image": _filled(part["image"], images, whole)} for part in (row, *row["probes"])]
    return {**filled[0], "probes": filled[1:]}


def _filled(image: dict[str, Any] | None, images: Images, whole: set[str]) -> dict[str, Any] | None:
    """Raises `FGVEditError` for an image that is not there, or that does not decode and is not in `whole`."""
    if not image or image["bytes"]:
        return image
    found = images.ref(PurePosixPath(image["path"] or "").name)
    if found.key not in whole:
        found.open()
        whole.add(found.key)
    return {"bytes": found.data, "path": None}


if __name__ == "__main__":
    command_line(main)
