"""Cached answers: whole or absent, asked for once, and again where they are no use."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from labelling import CALLS, EDIT, IMAGE, QUESTION, Api, files
from local_openai import LocalOpenAI, said
from rows import image_ref

from builders.labelling import open_labeller
from builders.labelling.base import Effect, Labelled, Refused, Told
from builders.labelling.cache import Cached
from fgvedit.schema import ImageRef


class Counting:
    """A labeller of a few words that counts what it is asked; `wrong` has it refuse."""

    name = "counting"
    concurrency = 2
    version = "1"

    def __init__(self) -> None:
        self.asked: list[tuple] = []
        self.refuses = False

    def __getattr__(self, task: str) -> Any:
        if task not in CALLS:
            raise AttributeError(task)

        def answer(*inputs: Any) -> Labelled:
            self.asked.append((task, *inputs))
            if self.refuses:
                raise Refused("not today")
            return Labelled(CALLS[task][1], f"reason {len(self.asked)}: “so”")

        return answer


def test_answers_are_kept_as_they_are(tmp_path: Path) -> None:
    labeller = Counting()
    first = [ask(Cached(labeller, tmp_path)) for ask, _ in CALLS.values()]
    assert [answer.value for answer in first] == [value for _, value in CALLS.values()]
    second = Cached(labeller, tmp_path)
    assert (second.name, second.concurrency) == ("counting", 2)
    assert [ask(second) for ask, _ in CALLS.values()] == first
    assert len(labeller.asked) == len(CALLS)
    assert (second.stats.asked, second.stats.from_cache) == (0, len(CALLS))
    assert len(files(tmp_path)) == len(CALLS)
    assert all(len(path.relative_to(tmp_path).parts) == 2 for path in files(tmp_path))


def test_another_question_is_asked(tmp_path: Path) -> None:
    labeller = Counting()
    cached = Cached(labeller, tmp_path)
    other = image_ref(1)
    asks: list[Callable[[], Any]] = [
        lambda: cached.entity(IMAGE, "a", "b"),
        lambda: cached.entity(other, "a", "b"),
        lambda: cached.entity(IMAGE, "a b", ""),
        lambda: cached.counterfactual(IMAGE, "a", "b"),
        lambda: cached.in_scope(IMAGE, EDIT, 2),
        lambda: cached.in_scope(IMAGE, EDIT, 3),
        lambda: cached.in_scope(IMAGE, Told(QUESTION, "red", "green"), 3),
    ]
    for ask in asks:
        ask()
    assert len(labeller.asked) == len(asks)
    cached.entity(ImageRef("the same image by another name", IMAGE.data), "a", "b")
    assert len(labeller.asked) == len(asks)
    for attribute in ("name", "version"):  # another labeller, or the same with other words
        changed = Counting()
        setattr(changed, attribute, "another")
        Cached(changed, tmp_path).entity(IMAGE, "a", "b")
        assert len(changed.asked) == 1


def test_what_another_server_said_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model may be called the same there; and fewer tokens may make another answer."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with LocalOpenAI() as trial, LocalOpenAI() as real:
        for server, options in ((trial, {}), (real, {}), (real, {}), (real, {"answer_tokens": 100})):
            labeller = open_labeller("openai", {"base_url": server.url, **options})
            Cached(labeller, tmp_path).rephrase(QUESTION)
        assert (len(trial.requests), len(real.requests)) == (1, 2)


def test_what_is_no_answer_is_not_kept(api: Api, tmp_path: Path) -> None:
    labeller = Counting()
    labeller.refuses = True
    cached = Cached(labeller, tmp_path)
    for ask, _ in CALLS.values():
        with pytest.raises(Refused):
            ask(cached)
    api.next += [said("no JSON")] * 2
    unclear = Cached(api.open(tries=2), tmp_path).effect(IMAGE, EDIT, "Is it red?", "yes")
    assert unclear.value == Effect("unclear")
    assert files(tmp_path) == []


def changed(**fields: Any) -> Callable[[str], str]:
    return lambda text: json.dumps({**json.loads(text), **fields})


DAMAGE: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "",
    "cut off": lambda text: text[:-20],
    "not text": lambda text: "\udcff\udcfe\0",
    "a list": lambda text: "[]",
    "another question's": lambda text: text.replace("red", "green"),
    "no value": lambda text: text.replace('"value"', '"velue"'),
    "another type": changed(value={"relation": 3, "no": 4}),
    "no such relation": changed(value={"relation": "changed", "answer": ""}),
    "no reason": changed(reason=None),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_answer_is_asked_for_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[str], str]
) -> None:
    labeller = Counting()
    calls = [ask for task, (ask, _) in CALLS.items() if task != "rephrase"]  # all others are about "red"
    for ask in calls:
        ask(Cached(labeller, tmp_path))
    for path in files(tmp_path):
        path.write_text(damage(path.read_text()), errors="surrogateescape")
    cached = Cached(labeller, tmp_path)
    answers = [ask(cached) for ask in calls]
    assert len(labeller.asked) == 2 * len(calls)
    assert cached.stats.damaged == len(calls)
    assert capsys.readouterr().err.count("kept answers: ") == 1  # said once
    assert [ask(Cached(labeller, tmp_path)) for ask in calls] == answers
    assert len(labeller.asked) == 2 * len(calls)


def test_threads_that_ask_the_same_ask_once(api: Api, tmp_path: Path) -> None:
    api.hold, api.patience = 2, 0.3  # time for the other threads to come
    cached = Cached(api.open(concurrency=8), tmp_path)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(cached.rephrase, [QUESTION] * 8))
    assert len(api.requests) == 1 and len(set(answers)) == 1
    assert (cached.stats.asked, cached.stats.from_cache) == (1, 7)


BUILD = """
import sys
from pathlib import Path
from builders.labelling import estimate, open_labeller
from builders.labelling.base import Told
from builders.labelling.cache import Cached
cached = Cached(open_labeller("openai", {}), Path(sys.argv[1]))
for number in range(10):
    cached.settled_by_text(Told("What is it?", "a cat", "a dog"), f"What is number {number}?")
print(cached.stats.asked, cached.stats.from_cache)
"""


def test_a_build_that_was_killed_goes_on(api: Api, tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILD, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def kill(number: int) -> None:
        if number == 6:
            process.send_signal(signal.SIGKILL)
            process.wait()

    api.arrived = kill
    assert process.wait() == -signal.SIGKILL
    process.communicate()
    again = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert again.stdout.split() == ["5", "5"]
    prompts = api.prompts()
    assert len(set(prompts)) == 10
    assert prompts[5] == prompts[6] and len(prompts) == 11  # the one under way had no answer yet
    third = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert third.stdout.split() == ["0", "10"] and len(api.requests) == 11
