"""`python -m builders.scenes`: make the embedded configuration `scenes` again, byte for byte, from its seed."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import fgvedit
from builders.scenes.records import split_rows
from fgvedit.schema import features
from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import command_line
from fgvedit.util.files import write_text
from fgvedit.util.revision import content_hash

IMAGES = {"train": 1650, "test": 550}
SEED = 0
DATA = Path(fgvedit.__file__).parent / "data"
CARD = DATA.parent / "README.md"


def write_split(split: str, images: int, seed: int, folder: Path) -> Path:
    """Write a split's Parquet: images stand in it once each, through dictionary pages."""
    table = pa.Table.from_pylist(split_rows(split, images, seed), schema=features().arrow_schema)
    path = folder / f"scenes-{split}.parquet"
    pq.write_table(table, path, compression="zstd", use_dictionary=True, dictionary_pagesize_limit=1 << 26)
    return path


def stamp(card: Path, folder: Path) -> None:
    """Write the data's content hash into the data card.

    `datasets` keeps what it has read of a folder under the folder's name and the card's `configs`, not its files: new
    data under an old card would give the old data back.
    """
    revision = content_hash(folder.glob("*.parquet"))
    text = re.sub(r"(?m)^(  description: content) .*$", rf"\1 {revision}", card.read_text(encoding="utf-8"))
    write_text(card, text)


def main(argv: list[str] | None = None) -> None:
    """Write both splits."""
    parser = ArgumentParser(prog="python -m builders.scenes", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED, help="another seed makes other scenes (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=DATA, help="folder of the Parquet files (default: the package's)")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    for split, images in IMAGES.items():
        path = write_split(split, images, options.seed, options.out)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    if options.out.resolve() == DATA.resolve():
        stamp(CARD, DATA)


if __name__ == "__main__":
    command_line(main)
