"""`python -m builders.validate`: whether a data set is fit for use; a table, and a report as JSON."""

from __future__ import annotations

from pathlib import Path

from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import command_line, printable
from fgvedit.util.files import write_json

EXAMPLES = """examples:
  python -m builders.validate scenes
  python -m builders.validate out/rules --report rules-report.json
  python -m builders.validate owner/name --config rules

The exit code is 0 where nothing is wrong (there may be warnings), 1 where something is, 2 for bad input.
"""


def main(argv: list[str] | None = None) -> int:
    """Validate, print the table and, with --report, write the report; 0 where there are no errors, else 1."""
    parser = ArgumentParser(prog="python -m builders.validate", description=__doc__, epilog=EXAMPLES)
    parser.add_argument(
        "data",
        metavar="NAME_OR_FOLDER",
        help="a configuration of the embedded data, a folder of Parquet, JSON or JSONL, or a hub id (OWNER/NAME)",
    )
    parser.add_argument("--config", metavar="NAME", help="of a data set with several configurations; default: its own")
    parser.add_argument("--report", type=Path, metavar="FILE.json", help="write what was found as JSON, too")
    options = parser.parse_args(argv)

    from builders.validate.checks import validate
    from builders.validate.sources import open_source

    report = validate(open_source(options.data, options.config))
    print(printable(report.table()))
    if options.report is not None:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.report, report.as_json())
    return 0 if report.passed else 1


if __name__ == "__main__":
    command_line(main)
