"""Files that anybody may have made are read within bounds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from submitting import content, send

from fgvedit.util.errors import FGVEditError
from leaderboard.reading import pack, rows_text


def replaced(old: bytes, new: bytes, name: str = "result.json") -> Callable[[Path], object]:
    def how(folder: Path) -> None:
        text = (folder / name).read_bytes()
        assert old in text
        (folder / name).write_bytes(text.replace(old, new, 1))

    return how


def of_size(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: os.truncate(folder / name, size)


def rows_of(content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "rows.jsonl").write_bytes(content)


def linked(name: str) -> Callable[[Path], object]:
    def how(folder: Path) -> None:
        (folder / name).rename(folder / "elsewhere")
        (folder / name).symlink_to(folder / "elsewhere")

    return how


def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    def how(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return how


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "NaN": (replaced(b'"seed": 0', b'"seed": NaN'), r"result.json' is damaged: .* the number NaN, which is not finite"),
    "infinity": (replaced(b'"seed": 0', b'"seed": -Infinity'), "the number -Infinity"),
    "a number beyond all": (replaced(b'"seconds": 96.0', b'"seconds": 1e999'), "the number 1e999, which is not finite"),
    "NaN in a row": (replaced(b'"score": 1.0', b'"score": NaN', "rows.jsonl"), r"rows.jsonl' line \d+ is damaged"),
    "a number without end": (replaced(b'"seed": 0', b'"seed": ' + b"9" * 5000), "result.json' is damaged"),
    "lines without end": (rows_of(b"{}\n" * 600_000), "rows.jsonl' has 600,000 lines; expected at most 524,288"),
    "lines of nothing": (
        rows_of(b"{}\nno JSON\n"),
        "rows.jsonl': row 1: its fields: 'record_id' is a required property",
    ),
    "a list for a text": (replaced(b'"green"', b'["green"]', "rows.jsonl"), r"row 1: before: \['green'\] is not of t"),
    "a list without end": (
        replaced(b'"protocols": [', b'"protocols": [' + b'1, "x", ' * 50_000),
        "result.json' is damaged: .* 100,002 items in one list or object, of which at most 1,000 are allowed",
    ),
    "a folder for a result": (instead("result.json", Path.mkdir), "result.json' is not a regular file"),
    "a key twice": (replaced(b'"seed": 0', b'"seed": 0, "seed": 0'), "the key 'seed' twice"),
    "broken UTF-8": (replaced(b'"tiny"', b'"t\xff\xfe"'), "result.json' is damaged: expected JSON in UTF-8"),
    "broken UTF-8 in a row": (replaced(b"green", b"gr\xc3(en", "rows.jsonl"), "rows.jsonl' line 1 is damaged"),
    "half a character": (replaced(b'"tiny"', b'"t\\ud800"'), "result.json' is damaged"),
    "half a character in a key": (replaced(b'"lr"', b'"l\\uDC00r"'), "result.json' is damaged"),
    "deep nesting": (replaced(b'"lr": 0.001', b'"lr": ' + b"[" * 90000 + b"]" * 90000), "is nested too deep"),
    "nesting": (replaced(b'"lr": 0.001', b'"lr": ' + b"[" * 30 + b"]" * 30), "is nested too deep"),
    "a JSON of 1 GB": (
        of_size("result.json", 1 << 30),
        r"result.json' has 1,073,741,824 bytes; expected at most 1,048,5",
    ),
    "rows of 1 GB": (
        of_size("rows.jsonl", 1 << 30),
        "rows.jsonl' has 1,073,741,824 bytes; expected at most 134,217,728",
    ),
    "a row without end": (
        replaced(b'"before": "green"', b'"before": "' + b"g" * 70000 + b'"', "rows.jsonl"),
        "rows.jsonl' line 1 has 7.* bytes; expected at most 65,536",
    ),
    "a link for a result": (linked("result.json"), "result.json' cannot be read: found a symbolic link"),
    "a link for rows": (linked("rows.jsonl"), "rows.jsonl' cannot be read: found a symbolic link"),
    "a pipe": (instead("rows.jsonl", os.mkfifo), "rows.jsonl' is not a regular file"),
    "no rows": (lambda folder: (folder / "rows.jsonl").unlink(), "rows.jsonl' is not there"),
    "empty rows": (rows_of(b""), "rows.jsonl' holds no row"),
    "rows cut off": (of_size("rows.jsonl", 1000), r"rows.jsonl' ends within its line \d"),
    "no JSON": (lambda folder: (folder / "result.json").write_text("{"), "result.json' is damaged"),
}


@pytest.mark.parametrize("what", FILES)
def test_a_hostile_file_is_refused_by_name_and_nothing_is_written(what: str, mine: Path, shared_results: Path):
    how, sentence = FILES[what]
    how(mine)
    before = content(shared_results)
    with pytest.raises(FGVEditError, match=sentence) as refused:
        send(mine, shared_results)
    assert content(shared_results) == before and len(str(refused.value)) < 600 and "\n" not in str(refused.value)


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
