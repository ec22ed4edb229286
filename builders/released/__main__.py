"""`python -m builders.released`: the paper's released data as the configuration `vqav2`, with images of COCO 2014."""

from __future__ import annotations

import argparse
from pathlib import Path

from builders.coco import HOST, JOBS, Images, expect_outside
from builders.released.build import OUT, build, forget, made_here
from builders.released.records import named
from builders.released.release import read_release
from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import FGVEditError, command_line, printable
from fgvedit.util.files import check_out

EXAMPLES = """examples:
  python -m builders.released                            # JSON from the hub, images one by one from COCO's host
  python -m builders.released --images /data/coco        # images from here; only those that are not there are fetched
  python -m builders.released --json RELEASE --images /data/coco --no-fetch --reference --out /data/vqav2

then: fgvedit.load_dataset("fgvedit", "vqav2"), python -m fgvedit.run --dataset vqav2 …, or a folder given by --out"""


def options_of(argv: list[str] | None) -> argparse.Namespace:
    """The options, checked as far as they can be by themselves."""
    options = _parser().parse_args(argv)
    if options.json and options.revision:
        raise FGVEditError("--revision is of the hub, and --json names files here; expected one of them")
    if options.no_fetch and not options.images:
        raise FGVEditError("--no-fetch without --images: expected a folder with the images")
    fetching = {"--fetch-into": options.fetch_into, "--host": options.host, "--jobs": options.jobs}
    for option, given in fetching.items():
        if options.no_fetch and given is not None:
            raise FGVEditError(
                f"{option} {given}: found it with --no-fetch, which fetches nothing; expected one of them"
            )
    check_out(options.out, made_here)
    return options


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m builders.released", description=__doc__, epilog=EXAMPLES)
    parser.add_argument("--revision", help="of the released data on the hub: a commit, branch or tag (default: newest)")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="read the released files from here, not the hub")
    parser.add_argument(
        "--images",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="look for COCO 2014 images here and in train2014/ and val2014/ below; may be given several times",
    )
    parser.add_argument("--no-fetch", action="store_true", help="fetch no image: those that are not there are reported")
    parser.add_argument(
        "--fetch-into", type=Path, metavar="FOLDER", help="where fetched images are kept (default: the --out, -images)"
    )
    parser.add_argument("--host", metavar="URL", help=f"where images are fetched (default: {HOST})")
    parser.add_argument("--jobs", type=int, metavar="N", help=f"images fetched at a time (default: {JOBS})")
    parser.add_argument("--reference", action="store_true", help="refer to the images by path in place of embedding")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write (default: the package's data/vqav2)")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Read the release, fetch what images are lacking, and build."""
    options = options_of(argv)
    into = options.fetch_into or options.out.with_name(f"{options.out.name}-images")
    folders = options.images if options.no_fetch else [into, *options.images]
    expect_outside(folders, options.out)
    host = HOST if options.host is None else options.host
    jobs = JOBS if options.jobs is None else options.jobs
    images = Images(folders, fetch=not options.no_fetch, host=host, jobs=jobs)
    release = read_release(options.json, options.revision)
    if not options.no_fetch:
        images.fetch(named(release))
    said = build(release, images, options.reference, options.out)
    forget(options.out)
    print(f"{printable(said)}\n\n{options.out}: the whole report is in report.json")


if __name__ == "__main__":
    command_line(main)
