"""The labeller `openai`: what it does where a server fails, where its key goes, and what it costs."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from labelling import CALLS, GOOD, KEY, QUESTION, USAGE, Api, Reply, failure, files, said, shown

from builders.labelling import estimate
from builders.labelling.base import Refused
from builders.labelling.cache import Cached
from builders.labelling.openai import OpenAI
from builders.labelling.spending import Cost
from builders.labelling.tasks import samples
from fgvedit.util.errors import FGVEditError

# A server that fails


PASSING = {
    "busy": Reply({"error": {"message": "slow down"}}, 429),
    "500": failure(500, "oh"),
    "502": Reply("<html>Bad gateway</html>", 502, content_type="text/html"),
    "503": failure(503),
    "html": Reply("<html>Please log in</html>", content_type="text/html"),
    "half": Reply('{"choices": [{"message"'),
    "no choices": Reply({"choices": [], "usage": USAGE}),
    "null choices": Reply({"choices": None}),
    "odd choices": Reply({"choices": ["yes"]}),
    "a list": Reply([1, 2]),
    "an error that is called a success": Reply({"error": {"message": "upstream", "code": 502}}),
    "cut": Reply(said("x" * 500).body, cut=100),
    "cut at once": Reply(said("x").body, cut=0),
    "never": Reply(never=True),
}


@pytest.mark.parametrize("reply", PASSING.values(), ids=PASSING.keys())
def test_what_passes_is_waited_out(api: Api, reply: Reply) -> None:
    api.next += [reply] * 3
    labeller = api.open(timeout=0.1 if reply.never else 60.0)
    assert labeller.rephrase(QUESTION).value == CALLS["rephrase"][1]
    assert len(api.requests) == 4
    assert all(request == api.requests[0] for request in api.requests)
    for seconds, most in zip(api.slept, (1, 2, 4), strict=True):
        assert most / 2 <= seconds <= most


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0.25", 0.25),
        ("-3", 0),
        ("Sat, 01 Jan 2000 00:00:30 GMT", 30),
        ("Fri, 31 Dec 1999 23:00:00 GMT", 0),
        ("soon", None),
        ("nan", None),
        ("Sat, 99 Jan 2000 00:00:30 GMT", None),
    ],
)
def test_retry_after_is_heeded(api: Api, header: str, seconds: float | None) -> None:
    api.next.append(failure(429, "wait", {"Retry-After": header}))
    labeller = api.open()
    labeller.now = lambda: 946684800.0  # midnight, 1 January 2000, GMT
    labeller.rephrase(QUESTION)
    [found] = api.slept
    assert found == seconds if seconds is not None else 0.5 <= found <= 1


BAD_KEY = f"Incorrect API key provided: {KEY[:8]}***{KEY[-4:]}"


@pytest.mark.parametrize(
    ("replies", "waits", "expected"),
    [
        ([failure(500, "out of order")] * 5, 3, r"no answer in 4 requests.*status 500.*out of order"),
        ([PASSING["html"]] * 5, 3, r"without choices, of type 'text/html': <html>Please log in"),
        ([failure(429, "wait", {"Retry-After": "7200"})], 0, r"7,200 seconds.*goes on from here"),
        ([failure(429, "You exceeded your quota", code="insufficient_quota")], 0, "quota is used up"),
        ([failure(400, "this model reads no images")] * 2, 0, r"status 400.*reads no images.*'model'"),
        ([failure(401, BAD_KEY)], 0, "OPENAI_API_KEY"),
        ([failure(403, BAD_KEY)], 0, "OPENAI_API_KEY"),
        ([failure(404, "The model does not exist")], 0, r"status 404.*'gpt-4o-mini'.*does not exist.*'base_url'"),
        ([Reply("", 302, {"Location": "http://127.0.0.1:1/"})], 0, "status 302"),
    ],
)
def test_what_no_question_passes_ends_the_run(api: Api, replies: list[Reply], waits: int, expected: str) -> None:
    """And is asked again only where that may help; a record must not be left out for it."""
    api.next += replies
    with pytest.raises(FGVEditError, match=expected) as caught:
        api.open(attempts=4).rephrase(QUESTION)
    assert not isinstance(caught.value, Refused)
    assert KEY[:8] not in str(caught.value) and KEY[-4:] not in str(caught.value)
    assert (len(api.requests), len(api.slept)) == (len(replies), waits)
    if len(replies) > 1:  # the last request is another question, to see whether the fault lies with this one
        assert api.prompts()[-1] != api.prompts()[-2] and len(shown(api.requests[-1])) == 1


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ([failure(400, "image cannot be read")], "status 400.*cannot be read"),
        ([failure(413)], "status 413"),
        ([failure(500, "oh")] * 3, "no answer in 3 requests.*oh"),
        ([Reply({"choices": []})] * 3, "no answer in 3 requests.*without choices"),
    ],
)
def test_a_question_that_a_server_fails_at_is_left_out(api: Api, replies: list[Reply], expected: str) -> None:
    """It answers others: or else the same command would never get past this one."""
    api.next += replies
    with pytest.raises(Refused, match=expected):
        api.open(attempts=3).rephrase(QUESTION)
    assert len(api.requests) == len(replies) + 1


def test_nobody_there(api: Api) -> None:
    labeller = api.open(attempts=2, max_requests=5, input_price=1.0)
    api.__exit__()
    with pytest.raises(FGVEditError, match=rf"{api.url} gave no answer in 2 requests.*ConnectError"):
        labeller.rephrase(QUESTION)
    assert labeller.spent.money == 0  # nothing was sent


def test_what_a_server_does_not_take_is_left_out(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.next += [
        failure(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.", param="max_tokens"),
        failure(400, "Unsupported value: 'temperature' must be 1.", param="temperature"),
    ]
    labeller = api.open(answer_tokens=321)
    labeller.rephrase(QUESTION)
    labeller.rephrase("What is this?")
    first, _, third, fourth = api.requests
    assert first["max_tokens"] == 321 and "max_completion_tokens" not in first
    for request in (third, fourth):
        assert request["max_completion_tokens"] == 321
        assert "max_tokens" not in request and "temperature" not in request
        assert "seed" in request and "response_format" in request
    assert api.slept == []
    assert capsys.readouterr().err.count("going on without") == 2


def test_never_more_at_once_than_told(api: Api) -> None:
    api.hold = 4  # one more than may come
    labeller = api.open(concurrency=3)
    assert labeller.concurrency == 3
    with ThreadPoolExecutor(9) as pool:
        list(pool.map(labeller.rephrase, [f"What is number {n}?" for n in range(18)]))
    assert api.most == 3 and len(api.requests) == 18


# The key


def test_the_key_is_nowhere(api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A server that repeats the key in all that it says."""
    labeller = api.open(attempts=2)
    cached = Cached(labeller, tmp_path)
    texts = [repr(labeller.config), labeller.name, labeller.version]
    api.next.append(said(None, refusal=f"not for {KEY}"))
    api.next += [failure(500, f"no use for Bearer {KEY}")] * 3
    api.next.append(failure(404, "x" * 260 + f" no model for {KEY}"))
    api.next.append(Reply("x" * 280 + KEY, 418, content_type="text/html"))
    for _ in range(4):
        with pytest.raises(FGVEditError) as caught:
            cached.rephrase(QUESTION)
        texts.append(str(caught.value))
    cached.rephrase(QUESTION)
    [kept] = files(tmp_path)
    texts += [kept.read_text(), str(kept), *capsys.readouterr()]
    for text in texts:
        assert KEY not in text and KEY[:14] not in text


def test_which_key_is_sent(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_KEY", "another\n")
    api.open(key_variable="ROUTER_KEY").rephrase(QUESTION)
    monkeypatch.delenv("OPENAI_API_KEY")  # a server of one's own needs none
    api.open().rephrase(QUESTION)
    assert [headers.get("authorization") for headers in api.headers] == ["Bearer another", None]
    monkeypatch.delenv("OPENAI_BASE_URL")
    with pytest.raises(FGVEditError, match=r"api.openai.com.*OPENAI_API_KEY"):
        api.open()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abc\ndef")
    with pytest.raises(FGVEditError, match="OPENAI_API_KEY") as caught:
        api.open()
    assert "sk-abc" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("localhost:8000", "'base_url'.*expected one such as"),
        ("ftp://host/v1", "'base_url'.*expected one such as"),
        ("http://", "'base_url'.*expected one such as"),
        ("file:///v1", "'base_url'.*expected one such as"),
        ("https://me:hunter2@host/v1", "OPENAI_API_KEY"),  # a password does not belong there
    ],
)
def test_what_is_no_address(api: Api, address: str, expected: str) -> None:
    with pytest.raises(FGVEditError, match=expected) as caught:
        api.open(base_url=address)
    assert "hunter2" not in str(caught.value)


# What it costs


def estimated(counts: dict[str, int], **options: Any) -> Cost:
    return OpenAI.estimate(OpenAI.Config(**options), counts)


def test_the_estimate_is_of_prompt_image_and_answer() -> None:
    prices = {"model": "gpt-4o-mini-2024-07-18", "input_price": 0.15, "output_price": 0.6}
    one, many = estimated({"effect": 1}, **prices), estimated({"effect": 1000, "rephrase": 0}, **prices)
    ask = samples()["effect"]
    text = (len(ask.prompt) + len(json.dumps(ask.schema))) / 3.5
    assert one.input_tokens == pytest.approx(text + 2833 + 4 * 5667, abs=1)
    assert (many.requests, many.output_tokens) == (1000, 100_000)
    assert many.input_tokens == 1000 * one.input_tokens
    assert many.money == pytest.approx(1000 * one.input_tokens * 0.15e-6 + 100_000 * 0.6e-6)
    assert estimated({"settled_by_text": 1}).input_tokens < 1000  # without an image
    for options, image in (
        ({"detail": "low"}, 2833),
        ({"image_tokens": 300}, 300),
        ({"model": "a-model"}, 85 + 4 * 170),
    ):
        assert estimated({"effect": 1}, **options).input_tokens == pytest.approx(text + image, abs=1)


def test_an_estimate_needs_no_key_and_no_price(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    unpriced = estimate("openai", {"model": "a-model"}, {"effect": 3})
    assert "3 requests" in unpriced and "for 0, since no price is known" in unpriced
    assert "no price" not in estimate("openai", {"input_price": 1}, {"entity": 10})
    assert estimate("local", {"model": "no such model"}, {"effect": 3}) == ""
    for options, counts, near in (({"modle": "x"}, {"effect": 3}, "model"), ({}, {"entities": 3}, "entity")):
        with pytest.raises(FGVEditError, match=f"did you mean '{near}'"):
            estimate("openai", options, counts)


@pytest.mark.parametrize("usage", [USAGE, None, "much", {"prompt_tokens": "many"}, {**USAGE, "prompt_tokens": -5}])
def test_what_was_spent_is_what_the_server_counted(api: Api, usage: Any) -> None:
    """And where it does not count, the most that it may have been."""
    labeller = api.open(input_price=2.0, output_price=10.0, answer_tokens=500)
    api.next += [failure(500), said("no JSON"), said(json.dumps(GOOD["rephrase"]), usage=usage)]  # the first is free
    labeller.rephrase(QUESTION)
    spent = labeller.spent
    assert (spent.requests, spent.output_tokens) == (3, 50 + (50 if usage is USAGE else 500))
    assert (spent.input_tokens == 2000) == (usage is USAGE)
    assert spent.money == pytest.approx((spent.input_tokens * 2 + spent.output_tokens * 10) / 1e6)


def test_the_run_stops_before_the_requests_are_too_many(api: Api) -> None:
    labeller = api.open(max_requests=3)
    api.next.append(failure(500))
    labeller.rephrase("What is it?")
    labeller.rephrase("Where is it?")
    with pytest.raises(FGVEditError, match=r"stopped after 3 requests.*'max_requests'.*goes on from here") as caught:
        labeller.rephrase("Who is it?")
    assert not isinstance(caught.value, Refused)
    assert len(api.requests) == 3


def test_the_run_stops_before_the_money_is_spent(api: Api) -> None:
    """Many threads, each of which could lead past the budget."""
    prices = {"input_price": 1.0, "output_price": 100.0, "answer_tokens": 100, "concurrency": 4}
    labeller = api.open(budget=0.06, **prices)  # a request: 0.006 (0.0010 and 0.0050), at most some 0.0105

    def asked(question: str) -> str:
        try:
            return labeller.rephrase(question).value
        except FGVEditError as error:
            assert "budget" in str(error) and "goes on from here" in str(error)
            return ""

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(asked, [f"What is number {n}?" for n in range(12)]))
    got = sum(map(bool, answers))
    assert labeller.spent.money == pytest.approx(0.006 * got) and labeller.spent.money <= 0.06
    assert 5 <= got <= 10 and len(api.requests) == got
