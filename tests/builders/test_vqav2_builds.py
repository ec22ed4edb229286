"""Builds of `builders.vqav2`: stopped and gone on with, in several threads and processes, what they cost, reviewed."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import pytest
from labelling import Api, failure
from official_vqa import LABELLER, Folder, by_id, content, records_of, scenes, ten
from rows import png

from builders.validate.sources import open_source
from builders.vqav2.__main__ import main
from builders.vqav2.order import in_order, pool
from fgvedit.dataset import load_records
from fgvedit.util.errors import FGVEditError

forks = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")


@pytest.fixture
def server(api: Api) -> Api:
    """It labels `scenes`."""

    def effect(sent: Mapping[str, Any]) -> dict[str, str]:
        entailed = "an entailed thing" in json.dumps(sent)
        said = ("entailed", "blue") if entailed else ("unaffected", "")
        return {"reason": "So it says.", "relation": said[0], "answer": said[1]}

    api.answers["effect"] = effect
    api.answers["counterfactual"] = {"reason": "Another.", "target": "violet"}  # which no annotator says
    return api


def by(server: Api, *more: str) -> list[str]:
    return ["--labeller", "openai", "--set", f"base_url={server.url}", "--set", "concurrency=1", *more]


# What it costs


@pytest.mark.parametrize(
    ("more", "requests"),
    [
        # of 12 images 4 questions each: 48 edits, 4 asks each, and twice for each of the 3 others
        ([], 48 * 4 + 48 * 3 * 2),
        (["--per-image", "1"], 12 * 4 + 12 * 3 * 2),
        (["--limit", "4"], 4 * 4 + 4 * 3 * 2),
        (["--in-scope", "0"], 48 * 3 + 48 * 3 * 2),  # none is made in scope
        (["--easy", "drop"], 48 * 3 + 48 * 3 * 2),
        (["--policy", "model-wrong", "--backbone", "tiny"], 48 * 3 + 48 * 3 * 2),
    ],
)
def test_a_dry_run_says_the_likely_cost_writes_nothing_and_asks_nobody(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    requests: int,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)  # none is needed
    folder = Folder(tmp_path, scenes(range(1, 13)))
    folder.labeller.write_text(LABELLER.replace("self.config = config", "raise SystemExit('opened')"))
    before = sorted(tmp_path.rglob("*"))
    main(folder.arguments("out", "--dry-run", "--labeller", "openai", "--set", "input_price=1", *more))
    assert f"labeller 'openai': an estimated {requests} requests, " in capsys.readouterr().out
    main(folder.arguments("out", "--dry-run", *more))
    said = capsys.readouterr().out
    assert "48 questions in 1 files" in said and "estimated" not in said  # this one cannot tell
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_server_costs_is_said_first_and_last(
    tmp_path: Path, server: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    small = Folder(tmp_path, scenes(range(1, 9)))
    priced = by(server, "--set", "input_price=1", "--set", "output_price=2", "--per-image", "1")
    before: list[str] = []
    server.arrived = lambda number: before.append(capsys.readouterr().err if number == 1 else "")
    small.build("out", *priced)
    # 8 questions, each with three others about its image
    estimate = r"an estimated 80 requests, [\d,]+ tokens in and 8,000 out, for \d\.\d\d, if every"
    assert re.search(estimate, before[0])
    asked = len(server.requests)
    assert asked <= 80
    spent = f"labeller 'openai:gpt-4o-mini': {asked:,} requests, {1000 * asked:,} tokens in"
    assert spent in capsys.readouterr().out
    small.build("again", *priced, "--cache", str(small.path / "out.cache"))
    assert len(server.requests) == asked  # all is kept


def test_a_budget_ends_a_build_that_another_goes_on_with(small: Folder, server: Api) -> None:
    priced = by(server, "--set=input_price=1", "--set=output_price=2", "--set=model=a-model", "--limit", "8")
    with pytest.raises(FGVEditError, match="option 'budget'"):
        small.build("out", *priced, "--set=budget=0.01")
    assert 0 < len(server.requests) < 20
    assert not (small.path / "out").exists()
    assert content(small.build("out", *priced, "--set=budget=5")).keys() >= {"build.json", "labels.jsonl"}
    texts = [json.dumps(request["messages"]) for request in server.requests]
    assert len(set(texts)) == len(texts)  # nothing was asked twice


def test_a_limit_asks_for_little_more(small: Folder, server: Api) -> None:
    limited = ["--limit", "4", "--per-image", "1"]
    whole = content(small.build("one", *by(server, *limited)))
    alone = len(server.requests)
    server.requests.clear()
    cache = ["--cache", str(small.path / "other.cache")]
    assert content(small.build("many", *by(server, *limited), "--set", "concurrency=8", *cache)) == whole
    seen = {part["image_url"]["url"] for sent in server.requests for part in sent["messages"][0]["content"][:-1]}
    assert len(seen) == 4  # an image for each record
    assert len(server.requests) == alone


def test_a_limit_is_one_for_an_image_too(small: Folder, server: Api) -> None:
    """Of four questions about an image, each good for a record."""
    found = records_of(small.build("out", *by(server, "--limit", "4")))
    assert {split: len(rows) for split, rows in found.items()} == {"train": 3, "test": 1}
    texts = [text for text in server.prompts() if text.startswith("Here are a question about the image and its answer")]
    assert len(texts) in (4, 5)  # the next image may be begun before the last record is taken


def test_a_labeller_is_opened_once(small: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    opened = "self.config = config"
    small.labeller.write_text(LABELLER.replace(opened, f"print('opened'); {opened}"))
    small.build("out")
    assert capsys.readouterr().out.count("opened") == 1


# Stopped, and gone on with


def forked(target: Callable[..., None], *arguments: Any) -> Any:
    def run() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is started without
        target(*arguments)

    return multiprocessing.get_context("fork").Process(target=run)


def is_killed(process: Any, out: Path) -> None:
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert not out.exists()


@forks
def test_a_build_by_rules_killed_three_times_ends_the_same(tmp_path: Path) -> None:
    """In several processes, too. The rules are quick and ask nobody: a build begins anew, and leaves nothing of the
    stopped ones."""
    words = ["dog", "bus", "vase", "umbrella", "chair", "wall", "plate", "microwave", "car", "couch"]
    about = [(f"What color is the {word}?", ten("white", 9)) for word in words]
    folder = Folder(tmp_path, {n: about[n % 5 : n % 5 + 3] for n in range(1, 13)})
    whole = content(folder.build("whole", "--labeller", "rules"))
    for images in (1, 5, 9):
        is_killed(forked(_killed_after, images, folder.arguments("out", "--labeller", "rules")), tmp_path / "out")
    assert content(folder.build("out", "--labeller", "rules", "--num-proc", "2")) == whole
    assert len(by_id(tmp_path / "out")) == 36
    assert not list(tmp_path.glob(".out*"))


def _killed_after(images: int, arguments: list[str]) -> None:
    """Run the command line in a process that is killed when so many images have been worked on."""
    from builders.vqav2 import build

    left = iter(range(images))

    def make(*given: Any) -> Any:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return made(*given)

    made = build.make
    build.make = make  # type: ignore[assignment]
    main(arguments)


@forks
def test_a_build_by_a_server_killed_three_times_asks_nothing_twice(tmp_path: Path, server: Api) -> None:
    """Only what had no answer yet when the process was killed is asked again."""
    small = Folder(tmp_path, scenes(range(1, 13)))
    arguments = small.arguments("out", *by(server))
    main([*arguments, "--out", str(small.path / "whole")])
    unbroken = Counter(map(json.dumps, server.requests))
    assert len(unbroken) > 60
    assert set(unbroken.values()) == {1}
    server.requests.clear()

    def kill(number: int) -> None:
        if number in (15, 31, 47):
            os.kill(process.pid, signal.SIGKILL)

    server.arrived = kill
    for _ in range(3):
        process = forked(main, arguments)
        is_killed(process, small.path / "out")
    main(arguments)
    assert content(small.path / "out") == content(small.path / "whole")
    asked = Counter(map(json.dumps, server.requests))
    assert asked.keys() == unbroken.keys()
    assert sorted(asked.values()) == [1] * (len(asked) - 3) + [2] * 3


@forks
def test_a_build_that_waits_can_be_ended(small: Folder, server: Api) -> None:
    """By Ctrl-C; and then it asks for nothing more."""
    server.answers["rephrase"] = failure(429, "wait", {"Retry-After": "300"})
    arguments = small.arguments("out", *by(server), "--set", "concurrency=2")
    process = forked(main, arguments)

    def interrupt(number: int) -> None:
        if "rephrase" in str(server.requests[number - 1]["response_format"]) and not asked:
            asked.append(number)
            os.kill(process.pid or 0, signal.SIGINT)

    asked: list[int] = []
    server.arrived = interrupt
    process.start()
    process.join(60)
    ended = process.exitcode
    process.kill()
    assert ended == 1  # of KeyboardInterrupt, which `command_line` takes
    assert len(server.requests) <= 6  # of two threads, each up to its first rephrasing
    assert not (small.path / "out").exists()


def test_a_finished_build_is_left_as_it_is(small: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(small.build("out"))
    capsys.readouterr()
    assert content(small.build("out")) == before
    assert "is there already" in capsys.readouterr().out
    with pytest.raises(FGVEditError, match="other options"):
        small.build("out", "--seed", "5")
    next(small.path.glob("train2014/*.jpg")).write_bytes(png(size=40))
    with pytest.raises(FGVEditError, match="other images"):
        small.build("out")
    assert content(small.path / "out") == before


def test_another_build_of_the_same_name_is_not_taken_for_it(
    small: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `datasets`, which keeps what it has read of a folder under its name and its card."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")
    found = []
    for seed in "01":
        out = small.build(f"{seed}/out", "--seed", seed, "--limit", "8")
        found.append(datasets.load_dataset(str(out), split="train")["id"][:])
        assert found[-1] == [record.id for record in load_records(str(out), "train").records]
    assert found[0] != found[1]  # the seed decides


def test_work_side_by_side_comes_in_order_and_never_far_ahead() -> None:
    started: list[int] = []
    slow, wanted = threading.Event(), 8

    def tasks() -> Iterator[int]:
        for number in range(50):
            started.append(number)
            yield number

    def work(number: int) -> int:
        if number == 0:
            slow.wait(5)
        return number * number

    with pool(4, False, lambda: None, ()) as executor:
        threading.Timer(0.05, slow.set).start()
        results = in_order(executor, work, tasks(), lambda: wanted)
        for taken in range(8):
            assert next(results) == taken * taken
            wanted -= 1  # fewer are under way when fewer are wanted
            assert len(started) == 8, taken
        assert next(results) == 64
        assert len(started) == 9  # one at a time
        assert list(results) == [n * n for n in range(9, 50)]


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_under_way_when_work_ends_is_told_and_waited_for(fails: bool) -> None:
    begun, told, ended = threading.Event(), threading.Event(), []

    def work(number: int) -> int:
        if number == 0:
            return 1 // (not fails)
        if number == 1:
            begun.set()
            ended.append(told.wait(5))
        return number

    with pool(2, False, lambda: None, ()) as executor:
        results = in_order(executor, work, range(50), lambda: 4, told.set)
        if fails:
            with pytest.raises(ZeroDivisionError):
                next(results)
        else:
            assert next(results) == 1
            assert begun.wait(5)
            results.close()
        assert ended == [True] * begun.is_set()


# Reviewed


def test_a_build_is_reviewed(small: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    page, marks = small.path / "page", small.path / "marks.json"
    out = small.build("out", "--review", str(page), "--sample", "5")
    assert "5 records" in capsys.readouterr().out
    text = (page / "index.html").read_text()
    revision = open_source(str(out)).revision
    assert revision in text
    before, built = content(out), by_id(out).keys()

    wrong = "scripted-4000"
    marks.write_text(json.dumps({"format": 1, "data": revision, "marks": {wrong: {"edit": "wrong"}}}))
    for _ in range(2):  # the second time it is there already
        small.build("out", "--apply-review", str(marks), "--review", str(page))
        reviewed = small.path / "out-reviewed"
        assert by_id(reviewed).keys() == built - {wrong}
        assert content(out) == before
        assert open_source(str(reviewed)).revision in (page / "index.html").read_text()
