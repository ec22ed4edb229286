"""`python -m fgvedit.report`: the page of one run."""

from __future__ import annotations

from pathlib import Path

from fgvedit.util.arguments import ArgumentParser

EXAMPLES = """examples:
  python -m fgvedit.report runs/mscke-tiny-scenes-200-0            # then open report/index.html there in a browser
  python -m fgvedit.report runs/mine --out /tmp/page
  python -m fgvedit.report runs/mine --dataset /data/moved         # the run's data lie somewhere else now

The page shows the metrics, how the router did, and every probe with the answers before and after the edit, beside its
image; for editors whose router reads images, where its classifier attended. It needs no network; the folder can be
copied as a whole.
"""


def main(argv: list[str] | None = None) -> None:
    """Write the page of a run, and print where it is."""
    parser = ArgumentParser(prog="python -m fgvedit.report", description=__doc__, epilog=EXAMPLES)
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help="a finished run: result.json and rows.jsonl")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the page goes; default: RUN_DIR/report")
    parser.add_argument(
        "--dataset", metavar="NAME", help="where the run's data are now; default: where they were when it was made"
    )
    options = parser.parse_args(argv)

    from fgvedit.viewers.report.page import write_report

    print(write_report(options.run, options.out, options.dataset))
