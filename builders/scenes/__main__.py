"""`python -m builders.scenes`: make the embedded configuration `scenes` again, byte for byte, from its seed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

import fgvedit
from builders.scenes.records import EDITS, GROUPS, GROUPS_AT_ONCE, SEED, split_rows
from fgvedit.schema import features
from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import FGVEditError, command_line
from fgvedit.util.files import write_text
from fgvedit.util.revision import content_hash

DATA = Path(fgvedit.__file__).parent / "data"
CARD = DATA.parent / "README.md"

EXAMPLES = """examples:
  python -m builders.scenes                                     # the shipped files
  python -m builders.scenes --seed 1 --out other-scenes         # other scenes of the same sort
  python -m builders.scenes --records 40000 --out many-scenes   # a test split alone: a row of 10,000 edits, and more

Four records are a group, of which a row of sequential edits takes one.
"""


def write_split(split: str, groups: int, seed: int, folder: Path) -> Path:
    """Write a split's Parquet, whole or not at all: images stand in it once each, through dictionary pages."""
    path = folder / f"scenes-{split}.parquet"
    partial = path.with_name(f".{path.name}.tmp")
    schema = features().arrow_schema
    try:
        with (
            pq.ParquetWriter(
                partial, schema, compression="zstd", use_dictionary=True, dictionary_pagesize_limit=1 << 26
            ) as writer,
            tqdm(total=groups * EDITS, desc=split, unit="record", disable=None) as bar,
        ):
            for rows in split_rows(split, groups, seed):
                writer.write_table(pa.Table.from_pylist(rows, schema=schema), row_group_size=GROUPS_AT_ONCE * EDITS)
                bar.update(len(rows))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def stamp(card: Path, folder: Path) -> None:
    """Write the data's content hash into the data card.

    `datasets` keeps what it has read of a folder under the folder's name and the card's `configs`, not its files: new
    data under an old card would give the old data back.
    """
    revision = content_hash(folder.glob("*.parquet"))
    text = re.sub(r"(?m)^(  description: content) .*$", rf"\1 {revision}", card.read_text(encoding="utf-8"))
    write_text(card, text)


def splits(records: int | None, seed: int, out: Path) -> dict[str, int]:
    """How many groups of each split are to be made.

    Raises `FGVEditError` for a number of records that is no number of groups, and for what would take the place of the
    shipped data.
    """
    if seed < 0:
        raise FGVEditError(f"--seed is {seed}; expected 0 or more")
    if records is not None and (records < EDITS or records % EDITS):
        near = max(EDITS, round(records / EDITS) * EDITS)
        raise FGVEditError(f"--records is {records}; expected whole groups of {EDITS} records, such as {near}")
    if (records is not None or seed != SEED) and out.resolve() == DATA.resolve():
        given = f"--seed {seed}" if records is None else f"--records {records}"
        raise FGVEditError(f"{given} without --out; expected a folder of its own, not that of the shipped data")
    return GROUPS if records is None else {"test": records // EDITS}


def main(argv: list[str] | None = None) -> None:
    """Write both splits, or with --records a test split alone."""
    parser = ArgumentParser(prog="python -m builders.scenes", description=__doc__, epilog=EXAMPLES)
    parser.add_argument("--seed", type=int, default=SEED, help="another seed makes other scenes (default: %(default)s)")
    parser.add_argument("--records", type=int, metavar="N", help="a test split of so many records, and no train split")
    parser.add_argument("--out", type=Path, default=DATA, help="folder of the Parquet files (default: the package's)")
    options = parser.parse_args(argv)
    wanted = splits(options.records, options.seed, options.out)
    options.out.mkdir(parents=True, exist_ok=True)
    for split, groups in wanted.items():
        path = write_split(split, groups, options.seed, options.out)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    if options.out.resolve() == DATA.resolve():
        stamp(CARD, DATA)


if __name__ == "__main__":
    command_line(main)
