"""Files that anybody may have made are read within bounds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from submitting import expect_refused

from fgvedit.util.errors import FGVEditError
from leaderboard.reading import pack, rows_text


def written(content: bytes, name: str = "rows.jsonl") -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def replaced(old: bytes, new: bytes, name: str = "result.json") -> Callable[[Path], object]:
    def how(folder: Path) -> None:
        text = (folder / name).read_bytes()
        assert old in text
        (folder / name).write_bytes(text.replace(old, new, 1))

    return how


def in_a_row(old: bytes, new: bytes) -> Callable[[Path], object]:
    return replaced(old, new, "rows.jsonl")


def of_size(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: os.truncate(folder / name, size)


def instead(name: str, make: Callable[[Path], object] | None = None) -> Callable[[Path], object]:
    """Nothing, or what `make` makes of the file, which is `elsewhere` now."""

    def how(folder: Path) -> None:
        (folder / name).rename(folder / "elsewhere")
        if make:
            make(folder / name)

    return how


def linked(name: str) -> Callable[[Path], object]:
    return instead(name, lambda path: path.symlink_to(path.with_name("elsewhere")))


ENDLESS, DEEP, NESTED = b'1, "x", ' * 50_000, b"[" * 90_000 + b"]" * 90_000, b"[" * 30 + b"]" * 30
FILES = [
    # what is there
    (instead("rows.jsonl"), "rows.jsonl' is not there"),
    (instead("result.json"), r"result\.json' is not there"),
    (instead("result.json", Path.mkdir), "result.json' is not a regular file"),
    (instead("rows.jsonl", os.mkfifo), "rows.jsonl' is not a regular file"),
    (linked("result.json"), "result.json' cannot be read: found a symbolic link"),
    (linked("rows.jsonl"), "rows.jsonl' cannot be read: found a symbolic link"),
    # how much of it
    (written(b""), "rows.jsonl' holds no row"),
    (written(b"{}\n" * 600_000), "rows.jsonl' has 600,000 lines; expected at most 524,288"),
    (of_size("rows.jsonl", 1000), r"rows.jsonl' ends within its line \d"),
    (of_size("rows.jsonl", 1 << 30), "rows.jsonl' has 1,073,741,824 bytes; expected at most 134,217,728"),
    (of_size("result.json", 1 << 30), r"result.json' has 1,073,741,824 bytes; expected at most 1,048,5"),
    (
        in_a_row(b'"before": "', b'"before": "' + b"g" * 70000),
        "rows.jsonl' line 1 has 7.* bytes; expected at most 65,536",
    ),
    (
        replaced(b'"protocols": [', b'"protocols": [' + ENDLESS),
        "result.json' is damaged: .* 100,002 items in one list or object, of which at most 1,000 are allowed",
    ),
    (replaced(b'"lr": 0.001', b'"lr": ' + DEEP), "is nested too deep"),
    (replaced(b'"lr": 0.001', b'"lr": ' + NESTED), "is nested too deep"),
    # numbers
    (replaced(b'"seed": 0', b'"seed": NaN'), r"result.json' is damaged: .* the number NaN, which is not finite"),
    (replaced(b'"seed": 0', b'"seed": -Infinity'), "the number -Infinity"),
    (replaced(b'"seed": 0', b'"seed": ' + b"9" * 5000), "result.json' is damaged"),
    (replaced(b'"seconds": 96.0', b'"seconds": 1e999'), "the number 1e999, which is not finite"),
    (in_a_row(b'"score": 1.0', b'"score": NaN'), r"rows.jsonl' line \d+ is damaged"),
    # texts
    (written(b"{", "result.json"), "result.json' is damaged"),
    (replaced(b'"tiny"', b'"t\xff\xfe"'), "result.json' is damaged: expected JSON in UTF-8"),
    (in_a_row(b"green", b"gr\xc3(en"), "rows.jsonl' line 1 is damaged"),
    (replaced(b'"tiny"', b'"t\\ud800"'), "result.json' is damaged"),  # half a character
    (replaced(b'"lr"', b'"l\\uDC00r"'), "result.json' is damaged"),
    # other rows
    (replaced(b'"seed": 0', b'"seed": 0, "seed": 0'), "the key 'seed' twice"),
    (written(b"{}\nno JSON\n"), "rows.jsonl': row 1: its fields: 'record_id' is a required property"),
    (in_a_row(b'"green"', b'["green"]'), r"row 1: before: \['green'\] is not of t"),
    (in_a_row(b'"score": 1.0', b'"score": 1'), r"manifest\.rows_sha256 is '.*', that of the rows is '"),
]


@pytest.mark.parametrize(("how", "sentence"), FILES)
def test_a_hostile_file_is_refused_by_name(how: Callable[[Path], object], sentence: str, mine: Path, shared_results):
    how(mine)
    expect_refused(mine, shared_results, sentence)


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 200_000])
def test_rows_are_packed_alike_and_unpacked_as_they_were(size: int, tmp_path: Path):
    text = os.urandom(size)
    (tmp_path / "rows.jsonl.xz").write_bytes(pack(text))
    assert rows_text(tmp_path / "rows.jsonl.xz") == text and pack(text) == pack(text)


def test_rows_that_pack_well_are_no_bomb(tmp_path: Path):
    line = b'{"record_id": "record-%d", "question": "What?", "before": "a", "after": "b"}\n'
    (tmp_path / "rows.jsonl.xz").write_bytes(pack(line % 0 * 20_000))
    with pytest.raises(FGVEditError, match="500 times its own size"):  # the very same row, again and again
        rows_text(tmp_path / "rows.jsonl.xz")
    numbered = b"".join(line % number for number in range(20_000))
    (tmp_path / "rows.jsonl.xz").write_bytes(pack(numbered))
    assert rows_text(tmp_path / "rows.jsonl.xz") == numbered
