"""`python -m builders.publish`: data sets as a repository for the Hugging Face hub, validated first."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import FGVEditError, command_line
from fgvedit.util.files import check_out

EXAMPLES = """examples:
  python -m builders.publish out/rules --repo me/fgvedit-vqa --out repo
  python -m builders.publish rules=out/a gpt=out/b --repo me/fgvedit-vqa --out repo --push --private
  python -m builders.publish photos --repo me/photos --out repo --embed-images --licence cc0-1.0 --provenance about.md

A data set that does not pass `python -m builders.validate` is not published. The token for --push is huggingface_hub's
(`hf auth login`, or HF_TOKEN). A push that was stopped goes on with the same command.
"""
MESSAGE = "Publish FGVEdit records"
REPO = re.compile(r"[\w.-]+/[\w.-]+")
CONFIG = re.compile(r"[\w.-]+")


def options_of(argv: list[str] | None) -> argparse.Namespace:
    """The options, checked as far as they can be by themselves. `folders`: folder by configuration."""
    options = _parser().parse_args(argv)
    options.folders = _folders(options)
    if not REPO.fullmatch(options.repo):
        raise FGVEditError(f"--repo: found '{options.repo}', expected OWNER/NAME")
    if options.provenance is not None and not options.provenance.is_file():
        raise FGVEditError(f"--provenance: found no file '{options.provenance}', expected a text in Markdown")
    needing = {"--pull-request": options.pull_request, "--private": options.private, "--message": options.message}
    for option, given in needing.items():
        if given and not options.push:
            raise FGVEditError(f"{option}: found it without --push, expected both")
    return options


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m builders.publish", description=__doc__, epilog=EXAMPLES)
    parser.add_argument(
        "folders",
        nargs="+",
        metavar="[NAME=]FOLDER",
        help="each a configuration, called NAME or as its folder; the first is the default one",
    )
    parser.add_argument("--repo", required=True, metavar="OWNER/NAME", help="what it is called on the hub")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where the repository is written")
    parser.add_argument("--title", help="the data set's name for people (default: the repository's)")
    parser.add_argument("--licence", default="cc-by-4.0", metavar="ID", help="as the hub has it; default: %(default)s")
    parser.add_argument(
        "--provenance",
        type=Path,
        metavar="FILE.md",
        help="where the data and images are from, for the card (default: what is to be said of VQA v2 and COCO 2014)",
    )
    parser.add_argument(
        "--embed-images",
        action="store_true",
        help="put images into the files, if you may pass them on; else the files refer to those on COCO's host",
    )
    parser.add_argument("--push", action="store_true", help="upload it")
    parser.add_argument("--pull-request", action="store_true", help="with --push: as a pull request")
    parser.add_argument("--private", action="store_true", help="with --push: a new repository is private")
    parser.add_argument("--message", help=f"with --push: of the commit; default: {MESSAGE}")
    return parser


def _folders(options: argparse.Namespace) -> dict[str, Path]:
    """The folders by the names that they are given as configurations."""
    folders: dict[str, Path] = {}
    for text in options.folders:
        name, _, folder = text.rpartition("=")
        name = name or Path(folder).resolve().name
        if not CONFIG.fullmatch(name):
            raise FGVEditError(f"'{text}': found '{name}' as a configuration's name, expected letters, digits, _, -, .")
        if name in folders:
            raise FGVEditError(f"'{text}': found a second configuration '{name}', expected NAME=FOLDER with another")
        if not Path(folder).is_dir():
            raise FGVEditError(f"'{text}': found no folder '{folder}', expected one of Parquet, JSON or JSONL files")
        if options.out.resolve() in (Path(folder).resolve(), *Path(folder).resolve().parents):
            raise FGVEditError(
                f"--out: found '{options.out}', which holds the data '{folder}'; expected another folder"
            )
        folders[name] = Path(folder)
    return folders


def main(argv: list[str] | None = None) -> None:
    """Validate the data sets, write the repository and, with --push, upload it."""
    options = options_of(argv)

    from builders.publish.publication import Publication
    from builders.publish.repository import made_here, write_repository
    from builders.publish.upload import push
    from builders.validate.checks import validate
    from builders.validate.sources import open_source

    check_out(options.out, made_here)
    reports = {}
    for name, folder in options.folders.items():
        report = validate(open_source(str(folder), instead="a folder with the files of one"))
        if not report.passed:
            raise FGVEditError(
                f"'{folder}' is not published: {report.count('error'):,} errors were found, the first "
                f"{report.first_error()}; expected none: python -m builders.validate '{folder}' shows them all"
            )
        reports[name] = report
        print(f"{name}: passed, {report.count('warning'):,} warnings")
    about = Publication(
        repo=options.repo,
        title=options.title or options.repo.partition("/")[2],
        licence=options.licence,
        provenance=options.provenance.read_text(encoding="utf-8") if options.provenance else None,
        embed_images=options.embed_images,
    )
    write_repository(about, reports, options.out)
    print(f"{options.out}: written")
    if options.push:
        url = push(options.out, options.repo, options.message or MESSAGE, options.private, options.pull_request)
        print(f"pushed: {url}")


if __name__ == "__main__":
    command_line(main)
