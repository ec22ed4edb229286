"""Cached answers: whole or absent, asked for once, and again where they are no use."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from labelling import CALLS, EDIT, IMAGE, QUESTION, Api, files
from rows import image_ref

from builders.labelling.base import Labelled, Told
from builders.labelling.cache import Cached
from fgvedit.schema import ImageRef


class Counting:
    """A labeller of a few words that notes what it is asked."""

    concurrency = 2

    def __init__(self, name: str = "counting", version: str = "1") -> None:
        self.name, self.version = name, version
        self.asked: list[tuple] = []

    def __getattr__(self, task: str) -> Any:
        if task not in CALLS:
            raise AttributeError(task)

        def answer(*inputs: Any) -> Labelled:
            self.asked.append((task, *inputs))
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
    asks: list[tuple[Any, ...]] = [
        ("entity", IMAGE, "a", "b"),
        ("entity", image_ref(1), "a", "b"),
        ("entity", IMAGE, "a b", ""),
        ("counterfactual", IMAGE, "a", "b"),
        ("in_scope", IMAGE, EDIT, 2),
        ("in_scope", IMAGE, EDIT, 3),
        ("in_scope", IMAGE, Told(QUESTION, "red", "green"), 3),
    ]
    for task, *inputs in asks:
        getattr(cached, task)(*inputs)
    cached.entity(ImageRef("the same image by another name", IMAGE.data), "a", "b")
    assert labeller.asked == asks
    for changed in (Counting(name="another"), Counting(version="2")):  # of other words, say
        Cached(changed, tmp_path).entity(IMAGE, "a", "b")
        assert len(changed.asked) == 1


def test_what_another_server_said_is_asked_again(api: Api, tmp_path: Path) -> None:
    """A model may be called the same there; and fewer tokens may make another answer."""
    with Api() as trial:
        for options in ({"base_url": trial.url}, {}, {}, {"answer_tokens": 100}):
            Cached(api.open(**options), tmp_path).rephrase(QUESTION)
        assert (len(trial.requests), len(api.requests)) == (1, 2)


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
    api.hold = 2  # time for the other threads to come
    cached = Cached(api.open(concurrency=8), tmp_path)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(cached.rephrase, [QUESTION] * 8))
    assert len(api.requests) == 1 and len(set(answers)) == 1
    assert (cached.stats.asked, cached.stats.from_cache) == (1, 7)
