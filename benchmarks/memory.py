"""The memory that the named backbones and their editors need: python -m benchmarks.memory --help"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import command_line
from fgvedit.util.files import between_markers, write_text

if TYPE_CHECKING:
    from benchmarks.named import Counts

OPEN, CLOSE = "<!-- memory -->", "<!-- /memory -->"
EPILOG = f"""\
examples:
  python -m benchmarks.memory
      the table; nothing is downloaded, and no model is ever in memory
  python -m benchmarks.memory --write docs/backbones.md
      also between {OPEN} and {CLOSE} of that file
"""

# Bytes for each parameter that an editor changes, with a backbone in bfloat16.
# `ft-llm`, at most (see `optimise` in fgvedit/editors/fine_tuning.py and `restored` in contract.py): the copy that is
# put back (2), float32 masters (4), both moments (8), the last step's gradients (4), and this step's as they come (2)
# and in float32 (4).
FT_LLM = 24
# `mscke` is in float32; training adds gradients and both of Adam's moments.
MSCKE_RUN, MSCKE_TRAIN = 4, 16

HEADER = (
    "backbone",
    "vision tower",
    "connector",
    "language model",
    "total",
    "bfloat16",
    "float32",
    "`ft-llm`",
    "`mscke`, to run",
    "`mscke`, to train",
    "tokens of an image",
    "image, GFLOP",
    "language model, GFLOP",
)
NOTES = """\
- Parameters in millions. The connector is all between the vision tower and the language model, a Q-Former included.
- Memory in GB (10^9 bytes): first the weights, in the type that `--dtype` names; then what an editor adds to them while
  the backbone is in bfloat16. `ft-llm`: while it edits, the parameters of its configuration as float32 masters, with
  both moments, the gradients of two steps, and the copy that is put back. `mscke`: CLIP, the counterfactual model and
  its projection, in float32; to train, their gradients and moments, too.
- GFLOP of one pass, a multiplication and an addition as two. The image is a photo of {width} x {height} pixels as the
  model's own processor sizes it, through vision tower and connector (InstructBLIP's Q-Former reads {text} tokens of
  text, too); the language model reads its tokens and {text} of text.
- Not counted: activations, the language model's cache, the feature cache, what libraries take, and
  what Adam takes while it makes a step (on a GPU 4 bytes for each parameter that `mscke` trains)."""


def parser() -> ArgumentParser:
    """The command's options."""
    parser = ArgumentParser(
        prog="python -m benchmarks.memory",
        description="Count what each named backbone and its editors hold in memory, and what a pass computes.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help=f"put the table between {OPEN} and {CLOSE} of a file, too"
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    """The command; `argv`: its arguments, those of the process where it is None."""
    args = parser().parse_args(argv)
    if args.write:
        between_markers(args.write, "", OPEN, CLOSE)  # what is missing is said now, not when everything is counted

    # Not before: --help is quick without it.
    from benchmarks.named import ALL, PHOTO, TEXT, count

    width, height = PHOTO
    text = f"{table([count(name) for name in ALL])}\n\n{NOTES.format(width=width, height=height, text=TEXT)}"
    if args.write:
        write_text(args.write, between_markers(args.write, text, OPEN, CLOSE))
    print(text)


def table(rows: Sequence[Counts]) -> str:
    """As Markdown."""
    lines = [HEADER, ("---", *["---:"] * (len(HEADER) - 1)), *(cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cells(row: Counts) -> tuple[str, ...]:
    """A row of the table, as `HEADER` names them."""
    parameters = (row.vision, row.connector, row.language, row.total)
    held = (
        row.total * 2,
        row.total * 4,
        row.ft_llm * FT_LLM,
        row.mscke * MSCKE_RUN,
        row.mscke * MSCKE_TRAIN,
    )
    return (
        f"`{row.name}`",
        *(f"{number / 1e6:,.1f}" for number in parameters),
        *(f"{number / 1e9:.2f}" for number in held),
        f"{row.image_tokens:,}",
        *(f"{number / 1e9:,.1f}" for number in (row.image_flop, row.language_flop)),
    )


if __name__ == "__main__":
    command_line(main)
