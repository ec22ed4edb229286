"""`python -m builders.review`: a page on which people mark records as right or wrong, or a data set by their marks."""

from __future__ import annotations

from pathlib import Path

from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import FGVEditError, command_line

EXAMPLES = """examples:
  python -m builders.review out/rules --out page                  # then open page/index.html in a browser
  python -m builders.review scenes --out page --sample 100        # 100 records, drawn with --seed
  python -m builders.review owner/name --config rules --out page
  python -m builders.review out/rules --apply marks.json --out out/reviewed

The page works without a network and keeps the marks in the browser until they are exported as marks.json. --apply
leaves out probes marked wrong, and records whose edit is marked wrong or that have no probe left of a kind that every
record is to have; what is marked unsure stays.
"""


def main(argv: list[str] | None = None) -> None:
    """Write the page or, with --apply, the data set by marks that were made on it."""
    parser = ArgumentParser(prog="python -m builders.review", description=__doc__, epilog=EXAMPLES)
    parser.add_argument(
        "data", metavar="FOLDER", help="records: a folder, a configuration of the embedded data or a hub id"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the page, or the data, goes")
    parser.add_argument("--config", metavar="NAME", help="of a data set with several configurations; default: its own")
    parser.add_argument("--sample", type=int, metavar="N", help="show that many records; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: %(default)s)")
    parser.add_argument("--apply", type=Path, metavar="MARKS.json", help="write the records without what is wrong")
    options = parser.parse_args(argv)
    if options.apply is None:
        from builders.review.page import write_page

        print(write_page(options.data, options.out, options.sample, options.seed, options.config))
        return
    if options.sample is not None:
        raise FGVEditError(f"--sample {options.sample}: expected none with --apply, which writes all records")
    from builders.review.apply import apply_marks

    print(apply_marks(options.data, options.apply, options.out, options.config))


if __name__ == "__main__":
    command_line(main)
