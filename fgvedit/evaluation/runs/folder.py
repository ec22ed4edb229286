"""The folder of a run: whose it is, and that one process, or one group of processes, works in it at a time."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fgvedit.evaluation.runs.processes import from_the_first, is_main_process
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import read_json, write_json
from fgvedit.util.locks import Held, lock


def claim(out: Path, run: Mapping[str, Any]) -> None:
    """Find that `out` is free for a run, or its own. Nothing is written.

    Raises `FGVEditError` where it holds another run, naming the first field that differs, or results of an unknown one.
    A finished run of a time when runs did not say which code made them counts as one of this code.
    """
    done = next((name for name in ("result.json", "rows.jsonl", "chunks/*.json") if any(out.glob(name))), None)
    path = out / "run.json"
    if done and not path.exists():
        raise FGVEditError(f"folder '{out}' holds '{done}' but no 'run.json' to say whose; use another --out")
    difference = _difference(path, run, finished=done == "result.json")  # which also finds a file that is damaged
    if done and difference:
        raise FGVEditError(f"folder '{out}' holds another run: {difference}; expected the same, or another --out")


@contextmanager
def under_way(out: Path, run: Mapping[str, Any]) -> Iterator[Path | None]:
    """Inside, `out` is this run's and no other process, or group of processes, works there; yields the folder of
    chunks, or None where the run is finished.

    The first process of the group speaks for all. Raises `FGVEditError`, in each of them, as `claim` does, and where
    another process is at work there, on this run or, naming the first field that differs, on another one.
    """
    with contextlib.ExitStack() as held:
        refusal, finished = None, False
        if is_main_process():
            try:
                finished = _begin(out, run, held)
            except (FGVEditError, OSError) as error:
                refusal = error
        said, finished = from_the_first((str(refusal) if refusal else None, finished))
        if refusal:
            raise refusal
        if said:
            raise FGVEditError(said)
        yield None if finished else out / "chunks"


def _begin(out: Path, run: Mapping[str, Any], held: contextlib.ExitStack) -> bool:
    """Whether the run is finished; if not, its folder is locked until `held` is closed, and says whose it is."""
    claim(out, run)
    if (out / "result.json").exists() and not (out / "chunks").exists():
        return True
    out.mkdir(parents=True, exist_ok=True)
    try:
        held.enter_context(lock(out / ".lock"))
    except Held as error:
        difference = _difference(out / "run.json", run)
        what = f"another run is under way in folder '{out}': {difference}" if difference else ""
        what = what or f"this run is under way in folder '{out}', in another process"
        raise FGVEditError(f"{what}; expected to wait until that is done, or another --out") from error
    claim(out, run)  # by now another may have been here
    if (out / "result.json").exists():
        shutil.rmtree(out / "chunks", ignore_errors=True)  # of a run stopped in its very last step
        return True
    write_json(out / "run.json", run)
    (out / "chunks").mkdir(exist_ok=True)
    return False


def _difference(path: Path, run: Mapping[str, Any], finished: bool = False) -> str:
    """In what a `run.json` differs from this run, in words; empty where it does not, or is not there.

    Raises `FGVEditError` where it is damaged.
    """
    if not path.exists():
        return ""
    said = read_json(path)
    there, here = dict(_fields(said)), dict(_fields(run))
    unsaid = not (isinstance(said, Mapping) and isinstance(said.get("code"), Mapping))
    for name in {**here, **there}:
        of_code = name == "code" or name.startswith("code.")
        if there.get(name) == here.get(name) or (of_code and unsaid and finished):
            continue
        if of_code and unsaid:
            return "it does not say which code made it"
        if of_code:
            return f"it was made by other code ({name.removeprefix('code.')} is not what it was)"
        return f"its {name} is {there.get(name)!r}, this one's is {here.get(name)!r}"
    return ""


def _fields(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _fields(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value
