"""Parquet shards: what is written is what came, in order, in whole files or none, once for each image."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import make_row

from builders.parquet import shards, write_rows
from fgvedit.dataset import load_records
from fgvedit.schema import features


def row(number: int, size: int = 3000, image: int | None = None) -> dict[str, Any]:
    """A row whose image is `size` bytes that nothing can compress."""
    data = random.Random(number if image is None else image).randbytes(size)
    return make_row(0, id=f"record-{number}", image={"bytes": data, "path": "a.jpg"})


def read(files: list[Path]) -> list[dict[str, Any]]:
    return [found for file in files for found in pq.read_table(file).to_pylist()]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=20), st.integers(1, 40_000))
def test_what_is_read_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], shard_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("data")
    rows = [row(number, size) for number, size in enumerate(sizes)]
    files = write_rows(rows, folder, "train", shard_bytes)
    assert read(files) == rows
    assert [file.name for file in files] == [f"train-{number:05d}.parquet" for number in range(len(files))]
    assert sorted(folder.iterdir()) == files
    for file in files[:-1]:  # full, but for no more than one group of rows
        assert shard_bytes <= file.stat().st_size <= 2 * shard_bytes + 60_000
    again = write_rows(rows, folder, "again", shard_bytes)
    assert [file.read_bytes() for file in again] == [file.read_bytes() for file in files]


def test_the_columns_are_those_of_the_schema_and_records_come_out(tmp_path: Path) -> None:
    files = write_rows(map(make_row, range(5)), tmp_path, "test", shard_bytes=1)
    assert len(files) == 5
    assert all(pq.read_schema(file).equals(features().arrow_schema) for file in files)
    records = load_records(str(tmp_path), "test").records
    assert [record.id for record in records] == [f"record-{number}" for number in range(5)]
    assert records[0].image.open().size == (16, 16)


def test_an_image_of_several_records_is_stored_once(tmp_path: Path) -> None:
    rows = (row(number, 100_000, image=number % 12) for number in range(48))  # farther apart than zstd looks back
    [file] = write_rows(rows, tmp_path, "train")
    assert 1_200_000 < file.stat().st_size < 1_300_000
    assert len({found["image"]["bytes"] for found in read([file])}) == 12


def test_rows_are_written_as_they_come(tmp_path: Path) -> None:
    written = []

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(50):
            yield row(number)
            written.append(sum(path.stat().st_size for path in tmp_path.iterdir()))

    write_rows(rows(), tmp_path, "train", shard_bytes=20_000)
    assert written[25] > 50_000  # of the 78,000 bytes that had come by then


def test_a_failure_leaves_the_older_files(tmp_path: Path) -> None:
    write_rows([row(1), row(2)], tmp_path, "train", shard_bytes=1)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def rows() -> Iterator[dict[str, Any]]:
        yield from (row(number) for number in range(10, 20))
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_rows(rows(), tmp_path, "train", shard_bytes=10_000)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_kill_leaves_the_older_files(tmp_path: Path) -> None:
    older = write_rows([row(1)], tmp_path, "train")
    before = older[0].read_bytes()
    code = f"""
import os, time
from pathlib import Path
from builders.parquet import write_rows

def rows():
    texts = {{"id": "1", "image_id": "a", "question": "q", "answer": "a", "target": "b"}}
    for _ in range(20):
        image = {{"bytes": os.urandom(3000), "path": None}}
        yield {{**texts, "image": image, "entity": {{"name": "", "box": []}}, "probes": []}}
    print("half", flush=True)
    time.sleep(60)

write_rows(rows(), Path({str(tmp_path)!r}), "train", shard_bytes=20_000)
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"half\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert shards(tmp_path, "train") == older and older[0].read_bytes() == before
    assert len(list(tmp_path.iterdir())) > 1  # what it had begun
    files = write_rows([row(2)], tmp_path, "train")
    assert list(tmp_path.iterdir()) == files and read(files) == [row(2)]


def test_older_shards_go_and_other_splits_stay(tmp_path: Path) -> None:
    write_rows([row(1), row(2), row(3)], tmp_path, "train", shard_bytes=1)
    kept = write_rows([row(4)], tmp_path, "train-extra") + write_rows([row(5)], tmp_path, "test")
    files = write_rows([row(6)], tmp_path, "train")
    assert sorted(tmp_path.iterdir()) == sorted([*files, *kept])
    assert write_rows([], tmp_path, "train") == []
    assert sorted(tmp_path.iterdir()) == sorted(kept)
