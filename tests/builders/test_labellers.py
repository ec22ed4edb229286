"""Labellers by name, their options, one of a user's own, and a model on this machine."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from labelling import CALLS, GOOD, IMAGE, KEY, QUESTION, STAND_INS, Api, files, shown

from builders.labelling import open_labeller
from builders.labelling.base import Labelled, Refused, Unanswered
from builders.labelling.cache import Cached
from builders.labelling.local import Local, Options
from fgvedit.schema import ImageRef
from fgvedit.util.errors import FGVEditError

TASKS = "".join(f"    def {task}(self, *inputs): ...\n" for task in CALLS)
OWN = f"""
from dataclasses import dataclass

class Echo:
    concurrency = 1
    def __init__(self, config):
        self.name = "echo:" + config.word
    @dataclass
    class Config:
        word: str
        strength: float = 0.5
        most: int | None = None
{TASKS}
class Plain(Echo):
    Config = None
    name = "plain"
    def __init__(self): ...

class Nameless(Plain):
    name = property()

class Half:
    name, concurrency = "half", 1
    def entity(self, image, question, answer): ...
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "own_labellers.py"
    path.write_text(OWN)
    return str(path)


def test_a_labeller_of_ones_own(own: str) -> None:
    assert open_labeller(f"{own}:Echo", {"word": "hm", "strength": 1, "most": 3}).name == "echo:hm"
    assert open_labeller(f"{own}:Plain", {}).name == "plain"


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("own:Ecko", {}, "did you mean 'Echo'"),
        ("own:Echo", {}, "'word'.* has no value"),
        ("own:Echo", {"wrod": "hm"}, "did you mean 'word'"),
        ("own:Echo", {"word": 3}, "'word'.* found 3, expected a str"),
        ("own:Echo", {"word": "hm", "strength": True}, "expected a float"),
        ("own:Echo", {"word": "hm", "most": 1.5}, r"expected a int \| None"),
        ("own:Plain", {"word": "hm"}, "takes no options, found 'word'"),
        ("own:Nameless", {}, "does not say its name"),
        ("own:Half", {}, "has no counterfactual, rephrase, effect, settled_by_text, in_scope"),
        ("opanai", {}, "unknown labeller 'opanai'.*did you mean 'openai'"),
        ("no_such_module:Labeller", {}, "no module 'no_such_module'"),
        ("openai", {"modle": "x"}, "option of labeller 'openai'.*did you mean 'model'"),
        ("openai", {"budget": "much"}, "'budget'.* found 'much', expected a float"),
        ("openai", {"budget": 5.0}, "'input_price'"),
        ("openai", {"input_price": float("inf")}, "'input_price'.* expected a finite float"),
        ("openai", {"concurrency": 0}, "'concurrency' is 0"),
        ("openai", {"timeout": 0.0}, "'timeout'"),
        ("openai", {"max_requests": -1}, "'max_requests' is -1"),
        ("openai", {"detail": "hihg"}, "did you mean 'high'"),
        ("local", {}, "option 'model' of labeller 'local' has no value"),
        ("local", {"model": "tiny", "dtype": "float33"}, "did you mean 'float32'"),
        ("local", {"model": "tiny", "tries": 0}, "'tries' is 0"),
    ],
)
def test_names_and_options_that_are_none(own: str, name: str, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(FGVEditError, match=expected):
        open_labeller(name.replace("own:", f"{own}:"), options)


# A model, on a server or on this machine


class Stub:
    """A backbone that says what it is told to say."""

    source = "owner/stub"
    revision = "abc"
    context = 4096

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.prompts: list[str] = []
        self.images: list[ImageRef | None] = []

    def prompt_length(self, prompt: str, image: ImageRef | None) -> int:
        return len(prompt.split())

    def complete(self, prompts: Sequence[str], images: Sequence[ImageRef | None], max_new_tokens: int) -> list[str]:
        self.prompts += prompts
        self.images += images
        return [self.answers.pop(0) for _ in prompts]


def local(stub: Any) -> Local:
    return Local(Options(model="owner/stub"), stub)


@pytest.mark.parametrize("task", CALLS)
def test_each_task_is_asked_and_answered(api: Api, task: str) -> None:
    """Of a server and of a local model in the same words; stage 2 and rephrasing without the image."""
    ask, expected = CALLS[task]
    stub = Stub(f"```json\n{json.dumps(GOOD[task])}\n```")
    here = local(stub)
    assert here.name == "local:owner/stub" and here.concurrency == 1
    for labeller in (api.open(model="a-model", seed=7), here):
        assert ask(labeller) == Labelled(expected, GOOD[task]["reason"])
    [request] = api.requests
    assert (request["model"], request["temperature"], request["seed"]) == ("a-model", 0, 7)
    assert api.headers[0]["authorization"] == f"Bearer {KEY}"
    form = request["response_format"]["json_schema"]
    assert form["strict"] is True and form["name"] == task
    assert api.prompts() == stub.prompts and QUESTION in stub.prompts[0]
    seen = task not in ("rephrase", "settled_by_text")
    assert len(shown(request)) == seen and stub.images == [IMAGE if seen else None]


def test_a_local_model_is_told_once_what_was_wrong() -> None:
    stub = Stub('{"reason": "x", "target": "Red"}', json.dumps(GOOD["counterfactual"]))
    assert local(stub).counterfactual(IMAGE, QUESTION, "red").value == "blue"
    first, second = stub.prompts
    assert second.startswith(first) and "the same as the right answer" in second
    stub = Stub(*["nonsense"] * 5)
    with pytest.raises(Refused, match=r"local:owner/stub.*2 tries"):
        local(stub).entity(IMAGE, QUESTION, "red")
    assert len(stub.prompts) == 2


def test_one_question_at_a_time() -> None:
    """A backbone is no thing for several threads."""
    inside, most = threading.Semaphore(1), []

    class Alone(Stub):
        def complete(self, *arguments: Any) -> list[str]:
            most.append(inside.acquire(blocking=False))
            found = super().complete(*arguments)
            threading.Event().wait(0.01)
            inside.release()
            return found

    labeller = local(Alone(*[json.dumps(GOOD["rephrase"])] * 8))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(labeller.rephrase, [QUESTION] * 8))
    assert most == [True] * 8


def test_a_local_model_that_talks_nonsense(random_blip2: Path, tmp_path: Path) -> None:
    """What is no answer is not kept. The model has random weights; it is made to take prompts of some length."""
    from transformers import Blip2Config, Blip2ForConditionalGeneration

    folder = shutil.copytree(random_blip2, tmp_path / "random-model")
    config = Blip2Config.from_pretrained(folder)
    config.text_config.max_position_embeddings = 4096
    Blip2ForConditionalGeneration(config).save_pretrained(folder)
    options = {"model": str(folder), "device": "cpu", "dtype": "float32", "answer_tokens": 12}
    cached = Cached(open_labeller("local", options), tmp_path / "cache")
    assert cached.name == "local:random-model"
    for task, (ask, _) in CALLS.items():
        if task in STAND_INS:
            answer = ask(cached)
            assert isinstance(answer, Unanswered) and answer.value == STAND_INS[task]
            assert f"'{task}' in 2 tries" in answer.reason
        else:
            with pytest.raises(Refused, match=f"local:random-model.*'{task}' in 2 tries"):
                ask(cached)
    assert files(tmp_path / "cache") == []


def test_a_local_model_that_takes_too_little(random_blip2: Path) -> None:
    labeller = open_labeller("local", {"model": str(random_blip2), "device": "cpu", "dtype": "float32"})
    with pytest.raises(FGVEditError, match=r"takes 128 tokens.*'entity' leaves 0.*'answer_tokens'") as caught:
        labeller.entity(IMAGE, QUESTION, "red")
    assert not isinstance(caught.value, Refused)
