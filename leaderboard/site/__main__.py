"""The command line of the site: `python -m leaderboard.site`."""

from __future__ import annotations

from pathlib import Path

from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import command_line

RESULTS = Path(__file__).parent.parent / "results"

EPILOG = """\
examples:
  python -m leaderboard.site --out site              # of the results that come with the package
  python -m leaderboard.site my-results --out site   # of any results folder

Open index.html in the folder: the pages need no server and ask for nothing from outside. An earlier site is
replaced; whatever else lies in its folder (.git, CNAME) stays. Any other folder with files in it is refused, and so is
the current one: call the command from outside.
"""


def main(argv: list[str] | None = None) -> None:
    """The command: write the site of a results folder."""
    options = ArgumentParser(
        prog="python -m leaderboard.site", description="Write a results folder as pages to look at.", epilog=EPILOG
    )
    options.add_argument(
        "results", type=Path, nargs="?", default=RESULTS, metavar="RESULTS", help="default: those of the package"
    )
    options.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder of the site")
    chosen = options.parse_args(argv)

    from leaderboard.site.write import write_site

    print(write_site(chosen.results, chosen.out))


if __name__ == "__main__":
    command_line(main)
