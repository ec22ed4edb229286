"""Files that are whole or absent: an interrupted write leaves what was there before."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from fgvedit.errors import FGVEditError


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file beside `path`, then put it in its place."""
    partial = path.with_name(f".{path.name}.tmp")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError):
            error.filename = str(path)  # a full disk names none, and `partial` means nothing to a user
        raise


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Raises `FGVEditError`, naming the file, where it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FGVEditError(f"'{path}' is damaged: expected JSON, found {error}") from error


def between_markers(path: Path, text: str, start: str, end: str) -> str:
    """What a file holds, with `text` between its markers. Raises `FGVEditError` where each is not there once."""
    if not path.is_file():
        raise FGVEditError(f"--write: there is no file '{path}'; expected one that holds '{start}' and '{end}'")
    content = path.read_bytes().decode("utf-8")
    first, last = content.find(start), content.find(end)
    if content.count(start) != 1 or content.count(end) != 1 or last < first:
        raise FGVEditError(
            f"--write: '{path}' holds '{start}' {content.count(start)} times and '{end}' {content.count(end)} times; "
            "expected each once, in this order"
        )
    return f"{content[: first + len(start)]}\n\n{text.strip()}\n\n{content[last:]}"
