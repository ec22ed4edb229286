"""Runs side by side, each a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from fgvedit.studies import running

Programs = Callable[[str], list[subprocess.Popen]]


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Has a program run in place of `fgvedit.run`; gives the list of its processes, which grows."""
    started: list[subprocess.Popen] = []
    real = subprocess.Popen

    def instead(code: str) -> list[subprocess.Popen]:
        def start(line: list[str], **options: Any) -> subprocess.Popen:
            started.append(real([sys.executable, "-c", code, *line[3:]], **options))
            return started[-1]

        monkeypatch.setattr(running.subprocess, "Popen", start)
        return started

    return instead


def test_no_more_processes_than_asked_for_at_a_time(programs, tmp_path, monkeypatch):
    started = programs("import time; time.sleep(0.2)")
    begin, beside = running._start, []

    def noted(*arguments):
        beside.append(sum(process.poll() is None for process in started))
        return begin(*arguments)

    monkeypatch.setattr(running, "_start", noted)
    assert dict(running.run_side_by_side({n: [] for n in "abcd"}, tmp_path, 2, None)) == dict.fromkeys("abcd")
    assert beside[:2] == [0, 1] and len(beside) == 4 and max(beside) == 1


@pytest.mark.parametrize(("environment", "expected"), [(None, "3"), ("7", "7")])
def test_threads_are_those_asked_for_unless_the_environment_says(
    environment, expected, programs, tmp_path, monkeypatch
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if environment:
        monkeypatch.setenv("OMP_NUM_THREADS", environment)
    programs("import os, sys; print(os.environ['OMP_NUM_THREADS'], *sys.argv[1:])")
    assert list(running.run_side_by_side({"a": ["--seed", "1"]}, tmp_path, 1, 3)) == [("a", None)]
    assert (tmp_path / "a.log").read_text() == f"{expected} --seed 1\n"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print('0%\\rerror: no such card', flush=True); print('after'); sys.exit(2)", "no such card"),
        ("raise ValueError('torn')", "ValueError: torn"),
        ("sys.exit(3)", "exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "it was ended by SIGKILL"),
    ],
)
def test_why_a_run_failed_is_one_sentence(code, said, programs, tmp_path):
    (tmp_path / "a.log").write_text("error: of an earlier time\n")
    programs(f"import sys; {code}")
    assert list(running.run_side_by_side({"a": []}, tmp_path, 1, None)) == [("a", f"{said}; see '{tmp_path}/a.log'")]
    assert (tmp_path / "a.log").read_text().startswith("error: of an earlier time\n")


def test_what_runs_ends_when_the_study_is_stopped(programs, tmp_path, monkeypatch):
    started = programs("import time; time.sleep(600)")

    def stop(_seconds):
        assert len(started) == 2
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(running.time, "sleep", stop)
    with pytest.raises(KeyboardInterrupt):
        list(running.run_side_by_side({"a": [], "b": []}, tmp_path, 2, None))
    assert [process.poll() for process in started] == [-15, -15]
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_seconds_of_all_times_are_added_up_but_not_those_with_nothing_to_run(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(running.time, "monotonic", lambda: now[0])
    for is_running, expected in ((True, 5), (True, 10), (False, 10)):
        clock = running.Clock(tmp_path / "study.json", is_running)
        now[0] += 5
        assert clock.write() == expected == json.loads((tmp_path / "study.json").read_text())["seconds"]


@pytest.mark.parametrize(("seconds", "said"), [(9.6, "10 s"), (59.9, "1 min 0 s"), (7261, "2 h 1 min")])
def test_durations(seconds, said):
    assert running.duration(seconds) == said
