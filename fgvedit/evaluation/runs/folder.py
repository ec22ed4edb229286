"""The folder of a run: whose it is, and that one process, or one group of processes, works in it at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import read_json, write_json


def claim(out: Path, run: Mapping[str, Any]) -> None:
    """Find that `out` is free for a run, or its own. Nothing is written.

    Raises `FGVEditError` where it holds another run, naming the first field that differs, or results of an unknown one.
    """
    done = next((name for name in ("result.json", "rows.jsonl", "chunks/*.json") if any(out.glob(name))), None)
    path = out / "run.json"
    if done and not path.exists():
        raise FGVEditError(f"folder '{out}' holds '{done}' but no 'run.json' to say whose; use another --out")
    difference = _difference(path, run)  # which also finds a file that is damaged
    if done and difference:
        raise FGVEditError(f"folder '{out}' holds another run: {difference}; expected the same, or another --out")


@contextmanager
def under_way(out: Path, run: Mapping[str, Any], first: bool) -> Iterator[Path]:
    """Inside, `out` is this run's, `run.json` says so, and no other process works on it; yields the folder of chunks.

    `first`: whether this process speaks for all that share the run. Raises `FGVEditError` where another process is at
    work there, on this run or, naming the first field that differs, on another one, which is left alone.
    """
    chunks = out / "chunks"
    chunks.mkdir(parents=True, exist_ok=True)
    if not first:
        yield chunks
        return
    lock = filelock.FileLock(chunks / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        difference = _difference(out / "run.json", run)
        what = f"another run is under way in folder '{out}': {difference}" if difference else ""
        what = what or f"this run is under way in folder '{out}', in another process"
        raise FGVEditError(f"{what}; expected to wait until that is done, or another --out") from error
    with lock:
        claim(out, run)  # by now another may have been here
        write_json(out / "run.json", run)
        yield chunks


def _difference(path: Path, run: Mapping[str, Any]) -> str:
    """In what a `run.json` differs from this run, in words; empty where it does not, or is not there.

    Raises `FGVEditError` where it is damaged.
    """
    if not path.exists():
        return ""
    there, here = dict(_fields(read_json(path))), dict(_fields(run))
    for name in {**here, **there}:
        if there.get(name) != here.get(name):
            if name.startswith("code."):
                return f"it was made by other code ({name.removeprefix('code.')} is not what it was)"
            return f"its {name} is {there.get(name)!r}, this one's is {here.get(name)!r}"
    return ""


def _fields(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _fields(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value
