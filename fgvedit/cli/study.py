"""The command line of the studies: `python -m fgvedit.study NAME`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fgvedit.cli.options import (
    add_backbone_options,
    add_data_options,
    backbone_arguments,
    backbone_request,
    check_counts,
)
from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import unknown
from fgvedit.util.files import between_markers, write_text

if TYPE_CHECKING:
    from fgvedit.studies.running import Ended

OPEN, CLOSE = "<!-- study baselines -->", "<!-- /study baselines -->"

EPILOG = """\
studies:
  baselines   every registered editor on the same data: metrics, paired differences, the paper's findings, costs

example:
  python -m fgvedit.study baselines --help
"""
BASELINES_EPILOG = f"""\
examples:
  python -m fgvedit.study baselines --limit 50
      all of them on the first records of the embedded data, on the embedded backbone
  python -m fgvedit.study baselines --write docs/results.md
      the whole study, and its report between {OPEN} and {CLOSE}
      of that file
  python -m fgvedit.study baselines --editors mscke,serac,my_editor.py:MyEditor --out runs/mine
      some of them, and one of your own, from a file (or package.module:Class)

what is written to --out:
  report.md       the report, which is also printed
  EDITOR/         the run of each editor; see python -m fgvedit.run --help
  EDITOR.log      what its process printed
  study.json      the seconds that the study took
A study that was stopped goes on where it was when the same command is given again; finished editors are not run again.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the study that is named, and report it; 2 where an editor failed."""
    arguments = sys.argv[1:] if argv is None else argv
    parser = ArgumentParser(prog="python -m fgvedit.study", description="Run a study and report it.", epilog=EPILOG)
    parser.add_argument("study", metavar="NAME", help="the study; its options come after its name")
    name = parser.parse_args(arguments[:1]).study
    studies = {"baselines": _baselines}
    if name not in studies:
        raise unknown("study", name, studies)
    return studies[name](arguments[1:])


def baselines_parser() -> ArgumentParser:
    """The options of `python -m fgvedit.study baselines`."""
    options = ArgumentParser(
        prog="python -m fgvedit.study baselines",
        description="Run every registered editor on the same records, and report how they differ.",
        epilog=BASELINES_EPILOG,
    )
    options.add_argument("--editors", metavar="NAMES", help="separated by commas; default: every registered one")
    add_data_options(options)
    options.add_argument(
        "--out", type=Path, default=Path("runs/study-baselines"), metavar="DIR", help="default: %(default)s"
    )
    options.add_argument(
        "--processes", type=int, metavar="N", help="editors at a time; default: as many as CPU cores, on a GPU 1"
    )
    options.add_argument(
        "--write", type=Path, metavar="FILE", help=f"put the report between {OPEN} and {CLOSE} of a file, too"
    )
    add_backbone_options(options)
    return options


def _baselines(argv: list[str]) -> int:
    options = baselines_parser().parse_args(argv)
    check_counts(options, "limit", "processes")
    if options.write:
        between_markers(options.write, "", OPEN, CLOSE)  # what is missing is said now, not when everything has run
    device = backbone_request(options)["device"]

    from fgvedit.dataset import load_records
    from fgvedit.studies.baselines import editors
    from fgvedit.studies.running import run_study

    load_records(options.dataset, options.split, options.limit)
    targets = editors(options.editors.split(",") if options.editors is not None else None)
    options.out.mkdir(parents=True, exist_ok=True)
    common = ["--dataset", options.dataset, "--split", options.split, *backbone_arguments(options)]
    common += ["--limit", str(options.limit)] if options.limit else []
    runs = {name: ["--editor", target, "--out", str(options.out / name), *common] for name, target in targets.items()}
    ended = run_study(runs, options.out, options.processes, on_cpu=device.type == "cpu")
    _report(options, shlex.join(["python", "-m", "fgvedit.study", "baselines", *argv]), list(runs), ended)
    for failure in ended.failed.values():
        print(f"error: {failure}", file=sys.stderr)
    return 2 if ended.failed else 0


def _report(options: argparse.Namespace, command: str, names: Sequence[str], ended: Ended) -> None:
    """Write and print the report of the runs that finished, if any did."""
    from fgvedit.studies.baselines import report
    from fgvedit.studies.comparing import Study, read_run
    from fgvedit.studies.running import cores, duration

    finished = [read_run(name, options.out / name) for name in names if name not in ended.failed]
    if not finished:
        return
    took = f"The study took {duration(ended.seconds)} on {cores()} CPU cores, {ended.processes} editors at a time."
    text = report(Study(finished), [f"```bash\n{command}\n```", took], list(ended.failed.values()))
    write_text(options.out / "report.md", text)
    if options.write:
        write_text(options.write, between_markers(options.write, text, OPEN, CLOSE))
    print(text)
