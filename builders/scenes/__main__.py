"""`python -m builders.scenes`: make the embedded configuration `scenes` again, byte for byte, from its seed."""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import fgvedit
from builders.scenes.records import split_rows
from fgvedit.errors import command_line
from fgvedit.schema import features

IMAGES = {"train": 1650, "test": 550}
SEED = 0
DATA = Path(fgvedit.__file__).parent / "data"


def write_split(split: str, images: int, seed: int, folder: Path) -> Path:
    """Write a split's Parquet: images stand in it once each, through dictionary pages."""
    table = pa.Table.from_pylist(split_rows(split, images, seed), schema=features().arrow_schema)
    path = folder / f"scenes-{split}.parquet"
    pq.write_table(table, path, compression="zstd", use_dictionary=True, dictionary_pagesize_limit=1 << 26)
    return path


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m builders.scenes", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED, help="another seed makes other scenes (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=DATA, help="folder of the Parquet files (default: the package's)")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    for split, images in IMAGES.items():
        path = write_split(split, images, options.seed, options.out)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    command_line(main)
