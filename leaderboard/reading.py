"""Files that anybody may have made, read within bounds: nothing is unpickled, run, or unpacked without a limit."""

from __future__ import annotations

import io
import json
import lzma
import math
import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fgvedit.util.errors import FGVEditError, one_line

JSON_BYTES = 1 << 20  # of a result, submission or reported file; a real one takes some 10 KB
ROWS_BYTES = 1 << 27  # of rows as text; 2,778 records under two protocols take some 20 MB
PACKED_BYTES = 1 << 26  # of compressed rows
PACKED_RATIO = 500  # text over compressed text; real rows reach some tens, zeros some thousands
ROWS = 1 << 19  # in one file; as text, a row takes some hundreds of bytes
LINE_BYTES = 1 << 16  # of one row
DEPTH = 20  # of lists and objects within each other
ITEMS = 1000  # of one list or object
MEMORY_BYTES = 1 << 27  # that the decompressor may take for its window
PIECE = 1 << 16  # bytes that are unpacked at a time


def read_json(path: Path) -> Any:
    """A JSON file of at most `JSON_BYTES`, under the rules of `parse`.

    Raises `FGVEditError`, naming the file, for anything else, be it a link, too large, broken or no file at all.
    """
    return parse(read_bytes(path, JSON_BYTES), f"'{path}'")


def read_rows(path: Path) -> Iterator[Any]:
    """The values of the lines of `rows.jsonl`, or of `rows.jsonl.xz`, each under the rules of `parse`."""
    yield from parse_rows(rows_text(path), path)


def parse_rows(content: bytes, path: Path) -> Iterator[Any]:
    """The values of the lines of `content`, which was read from `path`: one at a time, so that whoever holds them to
    something stops at the first bad one."""
    lines = content.count(b"\n")
    if content and not content.endswith(b"\n"):
        raise FGVEditError(f"'{path}' ends within its line {lines + 1}; expected a newline after each row")
    if lines > ROWS:
        raise FGVEditError(f"'{path}' has {lines:,} lines; expected at most {ROWS:,}")
    for number, line in enumerate(io.BytesIO(content), 1):
        yield parse(line[:-1], f"'{path}' line {number}", LINE_BYTES)


def rows_text(path: Path) -> bytes:
    """The text of `rows.jsonl`, or of `rows.jsonl.xz`, of at most `ROWS_BYTES`."""
    if path.suffix != ".xz":
        return read_bytes(path, ROWS_BYTES)
    return b"".join(_unpacked(read_bytes(path, PACKED_BYTES), path))


def pack(text: bytes) -> bytes:
    """What `rows_text` reads again; the same text gives the same bytes."""
    return lzma.compress(text, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, preset=6)


def _unpacked(packed: bytes, path: Path) -> Iterator[bytes]:
    unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MEMORY_BYTES)
    most = min(ROWS_BYTES, max(PACKED_RATIO * len(packed), PIECE))
    total, given = 0, packed
    try:
        while not unpacker.eof:
            piece = unpacker.decompress(given, PIECE)
            given = b""
            total += len(piece)
            if total > most:
                raise FGVEditError(
                    f"'{path}' unpacks to more than {most:,} bytes from {len(packed):,}; expected at most "
                    f"{ROWS_BYTES:,} bytes and {PACKED_RATIO} times its own size"
                )
            if not piece and unpacker.needs_input:
                raise FGVEditError(f"'{path}' ends in the middle; expected a whole xz file")
            yield piece
    except lzma.LZMAError as error:
        raise FGVEditError(f"'{path}' is damaged: expected an xz file, found {one_line(error)}") from error
    if unpacker.unused_data:
        raise FGVEditError(f"'{path}' goes on after its end; expected one xz stream and nothing else")


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes; larger ones are refused without being read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise FGVEditError(f"'{path}' is not there; expected a file") from None
    except OSError as error:
        found = "a symbolic link" if path.is_symlink() else error.strerror
        raise FGVEditError(f"'{path}' cannot be read: found {found}, expected a regular file") from error
    try:
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode):  # Python opens no folder, and its error names none
            raise FGVEditError(f"'{path}' is not a regular file; expected one")
        if about.st_size > most:
            raise FGVEditError(f"'{path}' has {about.st_size:,} bytes; expected at most {most:,}")
        with open(file, "rb", closefd=False) as opened:
            return opened.read(most)
    finally:
        os.close(file)


def parse(content: bytes, where: str, most: int = JSON_BYTES) -> Any:
    """JSON as the standard has it: UTF-8, finite numbers, each key once, nested at most `DEPTH` deep, and at most
    `ITEMS` in one list or object.

    Raises `FGVEditError`, which starts with `where`.
    """
    if len(content) > most:
        raise FGVEditError(f"{where} has {len(content):,} bytes; expected at most {most:,}")
    try:
        value = DECODER.decode(content.decode("utf-8"))
        _check(value, escapes=b"\\u" in content)
    except RecursionError:
        raise FGVEditError(f"{where} is nested too deep; expected at most {DEPTH} levels") from None
    except ValueError as error:
        raise FGVEditError(f"{where} is damaged: expected JSON in UTF-8, found {one_line(error)[:200]}") from error
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice[:50]!r} twice")
    return found


def _not_finite(text: str) -> Any:
    raise ValueError(f"the number {text}, which is not finite")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _not_finite(text[:50])


DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_not_finite, parse_float=_finite)


def _check(value: Any, escapes: bool) -> None:
    """Raises for nesting that is too deep, for too many items, and for half a character (a lone surrogate), which only
    escapes can write."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEPTH:
            raise RecursionError
        inner: list[Any] = []
        for one in level:
            kind = type(one)
            if kind is str:
                if escapes:
                    one.encode("utf-8")
            elif kind is dict or kind is list:
                if len(one) > ITEMS:
                    raise ValueError(
                        f"{len(one):,} items in one list or object, of which at most {ITEMS:,} are allowed"
                    )
                inner += one
                inner += one.values() if kind is dict else ()
        level = inner
