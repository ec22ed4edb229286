"""`python -m builders.audit`: what of a data set can be had without looking; a table, a report, part of its card."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import Any

from fgvedit.cli.options import add_backbone_options, backbone_request, check_counts
from fgvedit.dataset import Source
from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import FGVEditError, command_line, printable
from fgvedit.util.files import write_json

EXAMPLES = """examples:
  python -m builders.audit scenes --split test
  python -m builders.audit scenes --backbone tiny --report audit.json
      and what the base model's own answers give away
  python -m builders.audit out/rules --card out/rules/README.md
      and a section of the data card, between <!-- audit --> and <!-- /audit -->
  python -m builders.audit owner/name --config rules --limit 1000

The exit code is 0 whatever the verdicts, 2 for bad input. What is measured, and how: docs/audit.md
"""


def parser() -> ArgumentParser:
    """The options of `python -m builders.audit`."""
    options = ArgumentParser(
        prog="python -m builders.audit", description=__doc__, epilog=EXAMPLES, conflict_handler="resolve"
    )
    options.add_argument(
        "data",
        metavar="NAME_OR_FOLDER",
        help="a configuration of the embedded data, a folder of Parquet, JSON or JSONL, or a hub id (OWNER/NAME)",
    )
    options.add_argument("--config", metavar="NAME", help="of a data set with several configurations; default: its own")
    options.add_argument("--split", metavar="NAME", help="default: every split")
    options.add_argument("--limit", type=int, metavar="N", help="only the first N records of each split")
    options.add_argument("--report", type=Path, metavar="FILE.json", help="write what was found as JSON, too")
    options.add_argument("--card", type=Path, metavar="FILE.md", help="write a section of this data card, too")
    add_backbone_options(options)
    options.add_argument(  # in place of one that says another default
        "--backbone", metavar="NAME", help="ask this one, too, what its own answers give away: a name, a folder, …"
    )
    return options


def main(argv: list[str] | None = None) -> None:
    """Audit, print the table and, with --report and --card, write the report and the card's section."""
    options = parser().parse_args(argv)
    check_counts(options, "limit")
    if options.seed < 0:
        raise FGVEditError(f"--seed is {options.seed}; expected 0 or more")

    from builders.audit.card import card_section, check_card, write_section
    from builders.audit.table import table
    from builders.validate.sources import open_source

    if options.report is not None:
        _check_report(options.report)
    if options.card is not None:
        check_card(options.card)
    found = _audited(open_source(options.data, options.config), options)
    print(printable(table(found)))
    if options.report is not None:
        write_json(options.report, found)
    if options.card is not None:
        write_section(options.card, card_section(found, _command(options)))


def _check_report(file: Path) -> None:
    """Make its folder; raises `FGVEditError` where that fails, or the file cannot lie there: before the work."""
    if file.is_dir():
        raise FGVEditError(f"--report '{file}' is a folder; expected a file in it, such as '{file / 'audit.json'}'")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FGVEditError(
            f"--report '{file}': its folder cannot be made ({error.strerror}: '{error.filename}'); expected a file in "
            "a folder that is there or can be made"
        ) from error
    if not os.access(file.parent, os.W_OK):
        raise FGVEditError(f"--report '{file}': its folder cannot be written; expected one that can")


def _audited(source: Source, options: argparse.Namespace) -> dict[str, Any]:
    from builders.audit.base import asker, described
    from builders.audit.report import audit

    splits = list(source.files) if options.split is None else [options.split]
    for split in splits:
        source.files_of(split)  # a split that is not there is said before a backbone is opened
    if options.backbone is None:
        return audit(source, splits, options.limit, seed=options.seed)
    from fgvedit.backbones import open_backbone

    backbone = open_backbone(**backbone_request(options))
    return audit(source, splits, options.limit, asker(backbone), described(backbone), options.seed)


def _command(options: argparse.Namespace) -> str:
    """What makes the same figures again."""
    given = {name: getattr(options, name) for name in ("config", "split", "limit", "backbone", "seed")}
    named = [part for name, value in given.items() if value for part in (f"--{name}", str(value))]
    return shlex.join(["python", "-m", "builders.audit", options.data, *named])


if __name__ == "__main__":
    command_line(main)
