"""The command line of the studies: `python -m fgvedit.study NAME`."""

from __future__ import annotations

import sys

from fgvedit.studies import baselines
from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import unknown

STUDIES = {"baselines": baselines}

EPILOG = """\
studies:
  baselines   every registered editor on the same data: metrics, paired differences, the paper's findings, costs

example:
  python -m fgvedit.study baselines --help
"""


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    parser = ArgumentParser(prog="python -m fgvedit.study", description="Run a study and report it.", epilog=EPILOG)
    parser.add_argument("study", metavar="NAME", help="the study; its options come after its name")
    name = parser.parse_args(arguments[:1]).study
    if name not in STUDIES:
        raise unknown("study", name, STUDIES)
    return STUDIES[name].main(arguments[1:])
