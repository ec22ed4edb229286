"""Rows as Parquet shards: written as they come, each file whole or absent, the same rows giving the same bytes."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fgvedit.schema import features

SHARD_BYTES = 256 << 20
GROUP_BYTES = 32 << 20  # of images in a row group: what is held in memory, and fits a dictionary page
DICTIONARY_BYTES = 1 << 26


def write_rows(
    rows: Iterable[Mapping[str, Any]], folder: Path, split: str, shard_bytes: int = SHARD_BYTES
) -> list[Path]:
    """Write the rows of a split as `<split>-00000.parquet`, `<split>-00001.parquet`, … of about `shard_bytes`.

    A row has the columns of `fgvedit.schema.features`, with images as {"bytes", "path"}. Rows are written in groups as
    they come; an image that comes several times in a group stands there once. The files take their names, and older
    shards of the split go, when all are whole; no rows make no file. Returns the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in _numbered(folder, f".{split}", ".parquet.tmp"):  # by a run that was killed
        left.unlink()
    partial: list[Path] = []
    try:
        _write_shards(rows, folder, split, shard_bytes, partial)
    except BaseException:
        for path in partial:
            with contextlib.suppress(OSError):
                path.unlink()
        raise
    files = [path.with_name(path.name.removeprefix(".").removesuffix(".tmp")) for path in partial]
    for path, whole in zip(partial, files, strict=True):
        os.replace(path, whole)
    for older in shards(folder, split):
        if older not in files:
            older.unlink()
    return files


def _write_shards(
    rows: Iterable[Mapping[str, Any]], folder: Path, split: str, shard_bytes: int, partial: list[Path]
) -> None:
    """Write shards under names that are not theirs yet, each added to `partial` before it is begun."""
    with contextlib.ExitStack() as shard:
        writer = None
        for group in _groups(rows, min(GROUP_BYTES, shard_bytes)):
            if writer is None:
                partial.append(folder / f".{split}-{len(partial):05d}.parquet.tmp")
                file = shard.enter_context(open(partial[-1], "wb"))
                writer = shard.enter_context(_writer(file))
            writer.write_table(pa.Table.from_pylist(group, schema=features().arrow_schema))
            if file.tell() >= shard_bytes:
                shard.close()
                writer = None
    for path in partial:
        with path.open("rb") as written:
            os.fsync(written.fileno())


def shards(folder: Path, split: str) -> list[Path]:
    """The files that `write_rows` wrote for a split, in order."""
    return _numbered(folder, split, ".parquet")


def _numbered(folder: Path, start: str, end: str) -> list[Path]:
    name = re.compile(rf"{re.escape(start)}-\d{{5}}{re.escape(end)}")
    return sorted(path for path in folder.iterdir() if name.fullmatch(path.name))


def _writer(file: Any) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        file,
        features().arrow_schema,
        compression="zstd",
        use_dictionary=True,
        dictionary_pagesize_limit=DICTIONARY_BYTES,
    )


def _groups(rows: Iterable[Mapping[str, Any]], size: int) -> Iterator[list[Mapping[str, Any]]]:
    """Successive rows whose images come to `size` bytes or just above."""
    group: list[Mapping[str, Any]] = []
    held = 0
    for row in rows:
        group.append(row)
        held += _weight([row, *row["probes"]])
        if held >= size:
            yield group
            group, held = [], 0
    if group:
        yield group


def _weight(parts: Sequence[Mapping[str, Any]]) -> int:
    """Bytes of the images of a row and its probes, and a little for the texts of each."""
    return sum(100 + len((part["image"] or {}).get("bytes") or b"") for part in parts)
