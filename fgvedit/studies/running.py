"""Several runs side by side, each a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fgvedit.util.files import read_json, write_json

POLL = 0.1  # seconds


@dataclass(frozen=True)
class Ended:
    """How a study's runs ended. `seconds`: that it took, over all the times it was started; `processes`: how many ran
    at a time; `failed`: name -> why, in one sentence."""

    seconds: float
    processes: int
    failed: dict[str, str]


def run_study(runs: Mapping[str, Sequence[str]], out: Path, processes: int | None, on_cpu: bool) -> Ended:
    """Run what is not finished of a study, as `run_side_by_side` does, each into `<out>/<name>`.

    `processes`: how many at a time; None: as many as CPU cores where runs compute there (`on_cpu`), else 1.
    """
    processes = min(processes or (cores() if on_cpu else 1), len(runs))
    # One thread in each of two processes makes far more of two cores than two threads in one.
    threads = max(1, cores() // processes) if processes > 1 and on_cpu else None
    clock = Clock(out / "study.json", running=not all((out / name / "result.json").exists() for name in runs))
    failed = {}
    try:
        for name, failure in run_side_by_side(runs, out, processes, threads):
            clock.write()
            if failure:
                failed[name] = f"editor '{name}' failed: {failure}"
    finally:
        seconds = clock.write()
    return Ended(seconds, processes, failed)


@dataclass
class _Running:
    process: subprocess.Popen[bytes]
    log: Path
    log_start: int  # bytes that earlier attempts wrote
    since: float


def run_side_by_side(
    runs: Mapping[str, Sequence[str]], out: Path, processes: int, threads: int | None
) -> Iterator[tuple[str, str | None]]:
    """Give each run's arguments to `python -m fgvedit.run`, `processes` runs at a time; what it prints is added to
    `<out>/<name>.log`.

    Gives each run's name as it ends, with why it failed, in one sentence, or None. `threads`: of each process, unless
    the environment says how many. Runs that have not ended when the caller stops asking, or is stopped, by SIGTERM
    too, are ended.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    environ = {**({"OMP_NUM_THREADS": str(threads)} if threads else {}), **os.environ}
    waiting, running = list(runs), dict[str, _Running]()
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                name = waiting.pop(0)
                running[name] = _start(runs[name], out / f"{name}.log", environ)
                _say(f"{name}: started ({len(runs) - len(waiting)} of {len(runs)})")
            time.sleep(POLL)
            for name in [name for name, run in running.items() if run.process.poll() is not None]:
                run = running.pop(name)
                failure = _failure(run)
                _say(f"{name}: {'failed' if failure else 'finished'} after {duration(time.monotonic() - run.since)}")
                yield name, failure
    finally:
        for run in running.values():
            run.process.terminate()
        for run in running.values():
            run.process.wait()
        signal.signal(signal.SIGTERM, before)


def _start(arguments: Sequence[str], log: Path, environ: Mapping[str, str]) -> _Running:
    with log.open("ab") as file:
        command = [sys.executable, "-m", "fgvedit.run", *arguments]
        start = file.tell()  # before the process shares the position
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environ)
        return _Running(process, log, start, time.monotonic())


def _failure(run: _Running) -> str | None:
    code = run.process.returncode
    if code == 0:
        return None
    if code < 0:
        return f"it was ended by {signal.Signals(-code).name}; see '{run.log}'"
    text = run.log.read_bytes()[run.log_start :].decode(errors="replace")
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")] or lines
    return f"{said[-1] if said else f'exit code {code}'}; see '{run.log}'"


class Clock:
    """The seconds that a study took, over all the times it was started; `running`: whether this time counts."""

    def __init__(self, path: Path, running: bool) -> None:
        self.path = path
        self.before = read_json(path)["seconds"] if path.exists() else 0.0
        self.start = time.monotonic() if running else None

    def write(self) -> float:
        """Write the seconds so far into the file, and give them."""
        seconds = self.before + (time.monotonic() - self.start if self.start is not None else 0.0)
        write_json(self.path, {"seconds": round(seconds, 1)})
        return round(seconds, 1)


def duration(seconds: float) -> str:
    """As people say it: 45 s, 3 min 20 s, 2 h 5 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
