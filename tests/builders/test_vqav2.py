"""`builders.vqav2`: from files in VQA v2.0's official form to records."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pytest
from local_openai import LocalOpenAI, failure
from PIL import Image
from rows import png

from builders.coco import Images
from builders.validate.__main__ import main as validate
from builders.validate.sources import open_source
from builders.vqav2 import official
from builders.vqav2.__main__ import main
from builders.vqav2.answers import IMAGES_AT_ONCE, is_wrong, wrong_answers
from builders.vqav2.draw import shuffled
from builders.vqav2.locality import divided, read_pairs
from builders.vqav2.official import question_key, read_questions
from builders.vqav2.order import in_order, pool
from builders.vqav2.plan import SPLITS, Plan
from fgvedit.backbones.answering import Query
from fgvedit.dataset import load_records
from fgvedit.schema import Record
from fgvedit.util.errors import FGVEditError

# A labeller whose answers can be read off a question's words; it notes what it has answered, and can end the process.
LABELLER = """
import os, signal
from dataclasses import dataclass
from builders.labelling.base import Effect, Labelled, Refused

@dataclass
class Config:
    log: str = ""
    dies_after: int = 0

class Scripted:
    Config = Config
    name = "scripted"

    def __init__(self, config):
        self.config, self.answered = config, 0
        self.concurrency = 1 if config.dies_after else 3

    def _said(self, task, value, *asked):
        self.answered += 1
        if self.config.dies_after and self.answered > self.config.dies_after:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.config.log:
            with open(self.config.log, "a") as log:
                log.write(repr((task, *asked)) + "\\n")
        return Labelled(value, "the script says so")

    def entity(self, image, question, answer):
        if "refuse" in question:
            raise Refused("no")
        return self._said("entity", "the card" if "color" in question else "", image.key, question, answer)

    def counterfactual(self, image, question, answer):
        return self._said("counterfactual", "violet", image.key, question, answer)

    def rephrase(self, question):
        return self._said("rephrase", "Tell me: " + question, question)

    def effect(self, image, edit, question, answer):
        relation = next((r for r in ("entailed", "unaffected") if r in question), "unclear")
        effect = Effect(relation, edit.target if relation == "entailed" else "")
        return self._said("effect", effect, image.key, edit, question, answer)

    def settled_by_text(self, edit, question):
        return self._said("settled_by_text", "easy" in question, edit, question)

    def in_scope(self, image, edit, count):
        made = [(f"Is it {edit.target} ({n})?", "yes") for n in range(count)]
        return self._said("in_scope", made, image.key, edit, count)
"""
OTHERS = (("Is an entailed thing so?", "no"), ("Is an unaffected thing so?", "yes"), ("Who knows?", "me"))
Asked = Mapping[int, Sequence[tuple[str, Sequence[str]]]]  # image id -> its questions with ten answers each


def ten(answer: str, agreed: int = 10) -> list[str]:
    return [answer] * agreed + [f"other {n}" for n in range(10 - agreed)]


def write_official(folder: Path, asked: Asked, subtype: str = "train2014") -> tuple[Path, Path]:
    """The two files in the official form, with a photo for each image."""
    questions, annotations = [], []
    (folder / subtype).mkdir(parents=True, exist_ok=True)
    for image, about in asked.items():
        (folder / subtype / f"COCO_{subtype}_{image:012d}.jpg").write_bytes(png((image * 37 % 256, image % 256, 60)))
        for number, (question, answers) in enumerate(about):
            ids = {"image_id": image, "question_id": image * 1000 + number}
            questions.append({**ids, "question": question})
            said = [{"answer": answer, "answer_confidence": "yes", "answer_id": n} for n, answer in enumerate(answers)]
            annotations.append({**ids, "answers": said, "question_type": "what", "answer_type": "other"})
    head = {"info": {}, "data_type": "mscoco", "data_subtype": subtype, "license": {}}
    paths = folder / f"questions-{subtype}.json", folder / f"annotations-{subtype}.json"
    paths[0].write_text(json.dumps({**head, "questions": questions}))
    paths[1].write_text(json.dumps({**head, "annotations": annotations}))
    return paths


def scenes(images: Iterable[int]) -> Asked:
    """Each image's first question may become an edit; the same question is asked about all, with four answers."""
    colours = ("red", "green", "blue", "white")
    others = [(question, ten(answer)) for question, answer in OTHERS]
    return {n: [("What color is the card?", ten(colours[n % 4], 9)), *others] for n in images}


class Folder:
    """What a build is given, and the command line."""

    def __init__(self, path: Path, asked: Asked) -> None:
        self.path = path
        self.questions, self.annotations = write_official(path, asked)
        self.locality = path / "nq.jsonl"
        pairs = [{"question": f"nq question {n}", "answer": f"answer {n}"} for n in range(400)]
        self.locality.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
        self.labeller = path / "labeller.py"
        self.labeller.write_text(LABELLER)

    def arguments(self, out: str, *more: str) -> list[str]:
        given = {
            "--questions": self.questions,
            "--annotations": self.annotations,
            "--images": self.path,
            "--locality": self.locality,
            "--out": self.path / out,
            "--labeller": f"{self.labeller}:Scripted",
        }
        return [text for name, value in given.items() for text in (name, str(value))] + list(more)

    def build(self, out: str, *more: str) -> Path:
        main(self.arguments(out, *more))
        return self.path / out


@pytest.fixture
def small(tmp_path: Path) -> Folder:
    return Folder(tmp_path, scenes(range(1, 41)))


def records_of(folder: Path) -> dict[str, list[Record]]:
    return {split: list(load_records(str(folder), split).records) for split in SPLITS}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def labels_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]


def test_a_record_is_what_the_labeller_said(small: Folder) -> None:
    colours = {n: about[0][1][0] for n, about in scenes(range(1, 41)).items()}
    found = records_of(small.build("out"))
    everything = found["train"] + found["test"]
    assert sorted(record.id for record in everything) == sorted(f"scripted-{n * 1000}" for n in range(1, 41))
    for record in everything:
        number = int(record.id.split("-")[1]) // 1000
        assert record.image.data == png((number * 37 % 256, number % 256, 60))
        assert (record.answer, record.target, record.entity) == (colours[number], "violet", "the card")
        said = {kind: [(p.question, p.answer) for p in record.probes_of(kind)] for kind in ("rephrase", "in_scope")}
        assert said["rephrase"] == [(f"Tell me: {record.question}", "violet")]
        assert said["in_scope"] == [("Is an entailed thing so?", "violet"), ("Is it violet (0)?", "yes")]
        assert [(p.question, p.answer) for p in record.probes_of("out_of_scope")] == [OTHERS[1]]
        (other,) = record.probes_of("other_image")
        assert other.question == record.question
        assert other.image is not None
        seen = int(other.image.image_id.rsplit("_", 1)[1])
        assert other.image.data == png((seen * 37 % 256, seen % 256, 60))
        assert other.answer == colours[seen] != record.answer
        assert len(record.probes_of("text_locality")) == 1


def test_no_photo_and_no_text_question_is_in_both_splits(small: Folder) -> None:
    shown, asked = {}, {}
    for split, records in records_of(small.build("out")).items():
        shown[split] = {p.image.image_id for r in records for p in r.probes if p.image} | {
            r.image.image_id for r in records
        }
        texts = [p.question for r in records for p in r.probes_of("text_locality")]
        assert len(set(texts)) == len(texts)  # there are enough: each is used once
        asked[split] = set(texts)
        assert len(records) > 3
    assert shown["train"].isdisjoint(shown["test"])
    assert asked["train"].isdisjoint(asked["test"])


def test_other_images_are_those_with_the_same_question_and_another_answer(small: Folder) -> None:
    plan = Plan(read_questions([small.questions], [small.annotations]), 7, 0)
    colours = {n: about[0][1][0] for n, about in scenes(range(1, 41)).items()}
    for split in SPLITS:
        for work in plan.work(split):
            others = dict(zip((asked.id for asked in work.candidates), work.others, strict=True))
            for number in (asked.id // 1000 for asked in work.candidates if asked.id % 1000 == 0):
                found = {int(other.file_name.split("_")[2][:-4]): other.answer for other in others[number * 1000]}
                assert found
                assert found.items() <= colours.items()
                assert colours[number] not in found.values()


def test_every_record_has_its_label(small: Folder) -> None:
    out = small.build("out")
    labels = labels_of(out)
    ids = [record.id for records in records_of(out).values() for record in records]
    assert [label["id"] for label in labels] == ids
    for label in labels:
        assert (label["labeller"], label["policy"]) == ("scripted", "counterfactual")
        kinds = {reason["question"]: reason["kind"] for reason in label["reasons"]["probes"]}
        assert kinds["Who knows?"] == "unclear"
        assert kinds["Is an unaffected thing so?"] == "out_of_scope"


def test_probes_that_text_settles_go_where_there_are_harder_ones(tmp_path: Path) -> None:
    card = ("What color is the card?", ten("red"))
    hard, easy = ("unaffected and hard?", ten("yes")), ("unaffected and easy?", ten("no"))
    folder = Folder(tmp_path, {1: [card, hard, easy], 2: [card, easy], 3: [card, hard], **scenes(range(4, 30))})
    for option, expected in ((["--keep-easy"], [hard[0], easy[0]]), ([], [hard[0]])):
        out = folder.build(f"out{len(option)}", *option)
        of = {r.id: r for records in records_of(out).values() for r in records}
        assert [p.question for p in of["scripted-1000"].probes_of("out_of_scope")] == expected
        assert [p.question for p in of["scripted-2000"].probes_of("out_of_scope")] == [easy[0]]
        (label,) = [label for label in labels_of(out) if label["id"] == "scripted-1000"]
        gone = [reason["question"] for reason in label["reasons"]["probes"] if "left_out" in reason]
        assert gone == ([] if option else [easy[0]])


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    unaffected = ("Is an unaffected thing so?", ten("yes"))
    asked = {
        **{
            1: [("What season is it?", ten("red")), unaffected],
            2: [("What color to refuse?", ten("red")), unaffected],
            3: [("What color?", ten("red", 6)), unaffected],
            4: [("What color?", ten("unknown")), unaffected],
            5: [("What color?", ["red"] * 9 + ["violet"]), unaffected],
            6: [("What color?", ten("red")), ("Who knows?", ten("violet"))],
            7: [("What color?", ten("red")), unaffected],
        },
        **scenes(range(8, 30)),
    }
    folder = Folder(tmp_path, asked)
    about_nothing = [question for about in asked.values() for question, _ in about if "color" not in question]
    counts = json.loads((folder.build("out") / "build.json").read_text())["counts"]
    left_out: Counter[str] = Counter()
    for split in SPLITS:
        left_out.update(counts[split])
    assert counts["all"] == {"questions": 14 + 22 * 4, "unanswerable": 1, "not agreed on": 1}
    assert left_out["left out: the labeller gave no answer"] == 1
    assert left_out["left out: about no one entity"] == len(about_nothing)
    assert left_out["left out: an annotator gave the counterfactual answer"] == 1
    assert left_out["left out: the counterfactual answer is named in another question about the image"] == 1
    assert left_out["records"] >= 23


def test_a_text_question_in_other_letters_is_the_same(small: Folder) -> None:
    asked = ["Who sang  X", "who sang X?", "Who sang Y?"]
    small.locality.write_text("".join(json.dumps({"question": q, "answer": "Z"}) + "\n" for q in asked))
    assert read_pairs(small.locality) == [("Who sang X", "Z"), ("Who sang Y?", "Z")]


def test_untidy_input_makes_valid_records(tmp_path: Path) -> None:
    """Official files hold spaces, line breaks, a question asked twice and texts that say nothing, now and then."""
    unaffected = [(" Is an  unaffected\nthing so?", ten("yes")), ("Is the unaffected thing so?", ten("no"))]
    asked = {
        1: [("What color is the card? ", ten(" red\tish")), ("What color is a card?", ten("red ish")), *unaffected],
        2: [("What color is it?", ten("?")), *unaffected],
        **scenes(range(3, 30)),
    }
    folder = Folder(tmp_path, asked)
    pairs = [{"question": f"nq question\n{n} ", "answer": f"answer\t{n}"} for n in range(400)]
    pairs += [{"question": "nothing", "answer": "---"}, {"question": "?!", "answer": "nothing"}]
    folder.locality.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    out = folder.build("out")
    found = {record.id: record for records in records_of(out).values() for record in records}
    (first,) = (found[name] for name in ("scripted-1000", "scripted-1001") if name in found)
    assert first.answer == "red ish"
    assert [(p.question, p.answer) for p in first.probes_of("out_of_scope")] == [("Is an unaffected thing so?", "yes")]
    counts = json.loads((out / "build.json").read_text())["counts"]
    assert sum(counts[split].get("left out: asked twice about its image", 0) for split in SPLITS) == 1
    assert counts["all"]["unanswerable"] == 1
    assert not any(
        "nothing" in probe.question or "nothing" in probe.answer for record in found.values() for probe in record.probes
    )
    report = tmp_path / "report.json"
    validate([str(out), "--report", str(report)])
    errors = {c["check"]: c["examples"] for c in json.loads(report.read_text())["checks"] if c["severity"] == "error"}
    alike = ("look_in_splits", "edit_in_splits")  # the photos are of one colour each
    assert not any(examples for check, examples in errors.items() if check not in alike)


def test_a_record_does_not_hang_on_other_images(small: Folder) -> None:
    """Without every third image, the others' records, but for probes drawn from other images, are the same."""

    def own(records: dict[str, list[Record]]) -> dict[str, Any]:
        return {
            r.id: (split, r.target, [p for p in r.probes if p.kind not in ("other_image", "text_locality")])
            for split, rows in records.items()
            for r in rows
        }

    whole = own(records_of(small.build("whole")))
    write_official(small.path, scenes(n for n in range(1, 41) if n % 3))
    part = own(records_of(small.build("part")))
    assert len(part) == sum(n % 3 > 0 for n in range(1, 41))

    def texts(record: Any) -> Any:
        return record[:2], [(p.kind, p.question, p.answer) for p in record[2]]

    assert {name: texts(record) for name, record in part.items()} == {name: texts(whole[name]) for name in part}


def test_the_seed_decides(small: Folder) -> None:
    first, again, other = (content(small.build(f"out{n}", "--seed", seed)) for n, seed in enumerate("001"))
    assert first == again
    assert first["train-00000.parquet"] != other["train-00000.parquet"]


def test_a_limit_keeps_three_to_one(small: Folder) -> None:
    found = records_of(small.build("out", "--limit", "12"))
    assert {split: len(rows) for split, rows in found.items()} == {"train": 9, "test": 3}
    whole = records_of(small.build("whole"))
    assert [r.id for r in found["train"]] == [r.id for r in whole["train"][:9]]


def test_a_bound_for_each_image(tmp_path: Path) -> None:
    unaffected = ("Is an unaffected thing so?", ten("yes"))
    cards = [(f"What color is card {n}?", ten("red")) for n in range(3)]
    folder = Folder(tmp_path, {n: [*cards, unaffected] for n in range(1, 20)})
    for bound, expected in ((0, 3), (1, 1), (2, 2)):
        found = records_of(folder.build(f"out{bound}", "--per-image", str(bound)))
        assert set(Counter(r.image.image_id for rows in found.values() for r in rows).values()) == {expected}


def test_annotators_agree_as_vqa_compares_answers(tmp_path: Path) -> None:
    answers = ["Two", "two", "two.", "a 2", "3", "3", "3", "no", "no", "red"]
    paths = write_official(tmp_path, {7: [("How many?", answers)]})
    asked = read_questions([paths[0]], [paths[1]])[0]
    assert (asked.answer, asked.agreed, set(asked.said)) == ("two", 4, {"2", "3", "no", "red"})


def test_a_dry_run_writes_nothing_and_asks_nobody(small: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(small.path.rglob("*"))
    small.labeller.write_text(LABELLER.replace("self.config, self.answered = config, 0", "raise SystemExit('opened')"))
    main(small.arguments("out", "--dry-run"))
    assert sorted(small.path.rglob("*")) == before
    assert "160 questions in 1 files" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "requests"),
    [
        # of 12 images 4 questions each: 48 edits, 4 asks each, and twice for each of the 3 others
        ([], 48 * 4 + 48 * 3 * 2),
        (["--per-image", "1"], 12 * 4 + 12 * 3 * 2),
        (["--limit", "4"], 4 * 4 + 4 * 3 * 2),
        (["--policy", "model-wrong", "--backbone", "tiny"], 48 * 3 + 48 * 3 * 2),
    ],
)
def test_a_dry_run_says_what_labels_are_likely_to_cost(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    requests: int,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)  # none is needed
    folder = Folder(tmp_path, scenes(range(1, 13)))
    main(folder.arguments("out", "--dry-run", "--labeller", "openai", "--set", "input_price=1", *more))
    assert f"labeller 'openai': an estimated {requests} requests, " in capsys.readouterr().out
    main(folder.arguments("out", "--dry-run", *more))
    assert "estimated" not in capsys.readouterr().out  # this one cannot tell


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[LocalOpenAI, Folder, list[str]]]:
    """A server whose answers make a record of each image's first question, and what makes a build ask it."""
    with LocalOpenAI() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        server.answers["counterfactual"] = {"reason": "Another.", "target": "violet"}
        server.answers["effect"] = {"reason": "It is about another thing.", "relation": "unaffected", "answer": ""}
        options = ["model=a-model", "input_price=1", "output_price=2"]
        more = ["--labeller", "openai", "--per-image", "1", *(f"--set={option}" for option in options)]
        yield server, Folder(tmp_path, scenes(range(1, 7))), more


def test_what_labels_are_likely_to_cost_is_said_first(
    served: tuple[LocalOpenAI, Folder, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    server, folder, more = served
    said: list[str] = []
    server.arrived = lambda number: said.append(capsys.readouterr().err if number == 1 else "")
    out = folder.build("out", *more)
    assert f"labeller 'openai': an estimated {6 * 4 + 6 * 3 * 2} requests, " in said[0]
    assert len(list(load_records(str(out), "train").records)) == 6  # so few images may all be in one split
    asked = len(server.requests)
    assert asked <= 6 * 4 + 6 * 3 * 2
    folder.build("again", *more, "--cache", str(folder.path / "out.cache"))
    assert len(server.requests) == asked  # all is kept


def test_a_budget_ends_a_build_that_another_goes_on_with(served: tuple[LocalOpenAI, Folder, list[str]]) -> None:
    server, folder, more = served
    with pytest.raises(FGVEditError, match="option 'budget'"):
        folder.build("out", *more, "--set=concurrency=1", "--set=budget=0.01")
    asked = len(server.requests)
    assert 0 < asked < 20
    assert not (folder.path / "out").exists()
    out = folder.build("out", *more, "--set=budget=5")
    assert content(out).keys() >= {"build.json", "labels.jsonl"}
    texts = [json.dumps(request["messages"]) for request in server.requests]
    assert len(set(texts)) == len(texts)  # nothing was asked twice


def test_a_labeller_is_opened_once(
    small: Folder, random_blip2: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = "self.config, self.answered = config, 0"
    small.labeller.write_text(LABELLER.replace(opened, f"print('opened'); {opened}"))
    small.build("out")
    assert capsys.readouterr().out.count("opened") == 1

    from builders.labelling import local

    models: list[str] = []
    open_backbone = local.open_backbone

    def noted(name: str, *more: Any, **options: Any) -> Any:
        models.append(name)
        return open_backbone(name, *more, **options)

    monkeypatch.setattr(local, "open_backbone", noted)
    given = ["--labeller", "local", f"--set=model={random_blip2}", "--set=device=cpu", "--set=dtype=float32"]
    with pytest.raises(FGVEditError, match="a model that takes more"):
        small.build("local", *given)
    assert models == [str(random_blip2)]


def test_a_build_is_reviewed(small: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    page, marks = small.path / "page", small.path / "marks.json"
    out = small.build("out", "--review", str(page), "--sample", "5")
    assert "5 records" in capsys.readouterr().out
    text = (page / "index.html").read_text()
    revision = open_source(str(out)).revision
    assert revision in text
    before, built = content(out), {record.id for rows in records_of(out).values() for record in rows}

    wrong = "scripted-4000"
    marks.write_text(json.dumps({"format": 1, "data": revision, "marks": {wrong: {"edit": "wrong"}}}))
    for _ in range(2):  # the second time it is there already
        small.build("out", "--apply-review", str(marks), "--review", str(page))
        reviewed = small.path / "out-reviewed"
        assert {record.id for rows in records_of(reviewed).values() for record in rows} == built - {wrong}
        assert content(out) == before
        assert open_source(str(reviewed)).revision in (page / "index.html").read_text()


def test_marks_that_are_none_are_said_before_a_build(small: Folder) -> None:
    marks = small.path / "marks.json"
    for text, message in (("{", "is damaged"), ('{"format": 2}', "holds no marks of format 1")):
        marks.write_text(text)
        with pytest.raises(FGVEditError, match=message):
            small.build("out", "--apply-review", str(marks))
        assert not (small.path / "out").exists()


def test_stopped_builds_go_on_and_ask_nothing_twice(small: Folder) -> None:
    """Three times the labeller kills the process; the fourth build ends as one that was never stopped."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("needs fork")
    whole = content(small.build("whole", "--set", f"log={small.path / 'whole.log'}"))
    log = small.path / "log"
    for stops in range(3):
        arguments = small.arguments("out", "--set", f"log={log}", "--set", "dies_after=57")
        process = multiprocessing.get_context("fork").Process(target=main, args=(arguments,))
        process.start()
        process.join(120)
        assert process.exitcode == -9
        assert not (small.path / "out").exists()
        assert len(log.read_text().splitlines()) == 57 * (stops + 1)
    assert content(small.build("out", "--set", f"log={log}")) == whole
    asked = log.read_text().splitlines()
    assert len(set(asked)) == len(asked)
    assert sorted(asked) == sorted((small.path / "whole.log").read_text().splitlines())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_a_build_by_rules_killed_three_times_ends_the_same(coloured: Folder) -> None:
    """The rules are quick and ask nobody: a build begins anew, and leaves nothing of the stopped ones."""
    rules = ["--labeller", "rules"]
    whole = content(coloured.build("whole", *rules))
    for images in (1, 5, 9):
        process = multiprocessing.get_context("fork").Process(
            target=_killed_after, args=(images, coloured.arguments("out", *rules))
        )
        process.start()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL
        assert not (coloured.path / "out").exists()
    assert content(coloured.build("out", *rules)) == whole
    assert not list(coloured.path.glob(".out*"))


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


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalOpenAI]:
    """It labels `scenes`."""
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")

    def effect(sent: Mapping[str, Any]) -> dict[str, str]:
        entailed = "an entailed thing" in json.dumps(sent)
        said = ("entailed", "blue") if entailed else ("unaffected", "")
        return {"reason": "So it says.", "relation": said[0], "answer": said[1]}

    with LocalOpenAI() as server:
        server.answers["effect"] = effect
        yield server


def by(server: LocalOpenAI, *more: str) -> list[str]:
    return ["--labeller", "openai", "--set", f"base_url={server.url}", "--set", "concurrency=1", *more]


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_a_build_by_a_server_killed_three_times_asks_nothing_twice(small: Folder, server: LocalOpenAI) -> None:
    """Only what had no answer yet when the process was killed is asked again."""
    arguments = small.arguments("out", *by(server))
    main([*arguments, "--out", str(small.path / "whole")])
    unbroken = Counter(map(json.dumps, server.requests))
    assert len(unbroken) > 60
    assert set(unbroken.values()) == {1}
    server.requests.clear()
    for stops in (15, 31, 47):
        process = multiprocessing.get_context("fork").Process(target=main, args=(arguments,))
        server.arrived = partial(_kill, process, stops)
        process.start()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL
        assert not (small.path / "out").exists()
    server.arrived = lambda number: None
    main(arguments)
    assert content(small.path / "out") == content(small.path / "whole")
    asked = Counter(map(json.dumps, server.requests))
    assert asked.keys() == unbroken.keys()
    assert sorted(asked.values()) == [1] * (len(asked) - 3) + [2] * 3


def _kill(process: Any, when: int, number: int) -> None:
    if number == when:
        os.kill(process.pid, signal.SIGKILL)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_a_build_that_waits_can_be_ended(small: Folder, server: LocalOpenAI) -> None:
    """By Ctrl-C; and then it asks for nothing more."""
    server.answers["rephrase"] = failure(429, "wait", {"Retry-After": "300"})
    arguments = small.arguments("out", *by(server), "--set", "concurrency=2")
    process = multiprocessing.get_context("fork").Process(target=main, args=(arguments,))

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


def test_a_limit_asks_for_little_more(small: Folder, server: LocalOpenAI) -> None:
    limited = ["--limit", "4", "--per-image", "1"]
    whole = content(small.build("one", *by(server, *limited)))
    alone = len(server.requests)
    server.requests.clear()
    cache = ["--cache", str(small.path / "other.cache")]
    assert content(small.build("many", *by(server, *limited), "--set", "concurrency=8", *cache)) == whole
    seen = {part["image_url"]["url"] for sent in server.requests for part in sent["messages"][0]["content"][:-1]}
    assert len(seen) == 4  # an image for each record
    assert len(server.requests) == alone
    counts = json.loads(whole["build.json"])["counts"]
    assert [counts[split]["records"] for split in SPLITS] == [3, 1]


def test_a_limit_is_one_for_an_image_too(small: Folder, server: LocalOpenAI) -> None:
    """Of four questions about an image, each good for a record."""
    found = records_of(small.build("out", *by(server, "--limit", "4")))
    assert {split: len(rows) for split, rows in found.items()} == {"train": 3, "test": 1}
    texts = [text for text in server.prompts() if text.startswith("Here are a question about the image and its answer")]
    assert len(texts) in (4, 5)  # the next image may be begun before the last record is taken


def test_what_a_server_costs_is_said_first_and_last(
    small: Folder, server: LocalOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = ["--set", "input_price=1", "--set", "output_price=2", "--limit", "8"]
    main(small.arguments("out", *by(server, *prices), "--dry-run"))
    assert not server.requests
    said = capsys.readouterr().out
    # 8 questions, each with three others about its image
    assert re.search(r"an estimated 80 requests, [\d,]+ tokens in and 8,000 out, for \d\.\d\d, if every", said)
    main(small.arguments("out", *by(server, *prices)))
    out, error = capsys.readouterr()
    assert "an estimated 80 requests" in error
    count, tokens = len(server.requests), 1000 * len(server.requests)
    assert f"labeller 'openai:gpt-4o-mini': {count:,} requests, {tokens:,} tokens in" in out


def test_threads_stop_asking_when_one_fails(small: Folder, server: LocalOpenAI) -> None:
    """Not only when their images are done: someone waits for the program to end."""
    server.answers["rephrase"] = failure(401, "no")
    with pytest.raises(FGVEditError, match="status 401"):
        main(small.arguments("out", *by(server)))
    assert len(server.requests) < 10


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
    for seed in "01":
        out = small.build(f"{seed}/out", "--seed", seed, "--limit", "8")
        table = datasets.load_dataset(str(out), split="train")
        assert table["id"][:] == [record.id for record in load_records(str(out), "train").records]


class Parrot:
    """Answers "red" to everything, and notes how it is asked."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def generate(self, queries: Sequence[Query], max_new_tokens: int = 10) -> list[str]:
        self.batches.append([query.image.image_id for query in queries if query.image])
        return ["Red."] * len(queries)

    def teacher_force(self, queries: Sequence[Query], answers: Sequence[str]) -> list[Any]:
        raise NotImplementedError


def test_a_model_is_asked_once_and_in_the_same_batches(small: Folder) -> None:
    plan = Plan(read_questions([small.questions], [small.annotations]), 7, 0)
    images, kept = Images([small.path]), small.path / "kept" / "answers.jsonl"
    unbroken, first, second = Parrot(), Parrot(), Parrot()

    def answers(model: Parrot, kept: Path, images_at_most: int = 100) -> Iterator[tuple[str, dict[int, str]]]:
        for number, (work, wrong) in enumerate(wrong_answers(plan.work("train"), model, images, kept)):
            if number == images_at_most:
                return
            yield work.file_name, wrong

    expected = list(answers(unbroken, small.path / "other.jsonl"))
    assert list(answers(first, kept, IMAGES_AT_ONCE + 1)) == expected[: IMAGES_AT_ONCE + 1]
    kept.write_bytes(kept.read_bytes() + b'{"questions": [1, 2')  # a line that a kill cut off
    assert list(answers(second, kept)) == expected
    assert first.batches + second.batches == unbroken.batches
    for file_name, wrong in expected:
        number = int(file_name.split("_")[2].split(".")[0])
        right = {number * 1000} if number % 4 == 0 else set()
        assert {key for key in wrong if key % 1000 == 0} == {number * 1000} - right
        assert set(wrong.values()) <= {"Red."}


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [("dog", True), ("cat", False), ("The cat is black.", False), ("Cat, black.", False), ("-", False), ("", False)],
)
def test_an_answer_in_other_words_is_not_wrong(answer: str, wrong: bool) -> None:
    asked = official.VQAQuestion(1, "1.jpg", "What is it?", "black cat", 9, ("black cat", "kitten"))
    assert is_wrong(answer, asked) == wrong


def test_what_a_model_said_of_other_images_is_not_taken(small: Folder) -> None:
    plan = Plan(read_questions([small.questions], [small.annotations]), 7, 0)
    kept, first, second = small.path / "kept.jsonl", Parrot(), Parrot()
    list(wrong_answers(plan.work("train"), first, Images([small.path]), kept))
    other = small.path / "other"
    other.mkdir()
    for path in small.path.rglob("COCO_*.jpg"):
        Image.open(path).resize((8, 8)).save(other / path.name)
    list(wrong_answers(plan.work("train"), second, Images([other]), kept))
    assert second.batches == first.batches


def test_the_policy_model_wrong_corrects_a_backbone(small: Folder, random_blip2: Path) -> None:
    from fgvedit.backbones import open_backbone

    out = small.build("out", "--policy", "model-wrong", "--backbone", str(random_blip2), "--device", "cpu")
    found = [record for records in records_of(out).values() for record in records]
    assert found
    colours = {f"scripted-{n * 1000}": about[0][1][0] for n, about in scenes(range(1, 41)).items()}
    backbone = open_backbone(str(random_blip2))
    for record in found[:3]:
        assert record.target == colours[record.id]
        assert [record.answer] == backbone.generate([Query(record.question, record.image)])
    assert {label["policy"] for label in labels_of(out)} == {"model-wrong"}


def test_work_side_by_side_comes_in_order_and_never_far_ahead() -> None:
    import threading

    started: list[int] = []
    slow = threading.Event()

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
        results = in_order(executor, work, tasks(), ahead=lambda: 8)
        assert next(results) == 0
        assert len(started) == 8
        assert list(results) == [n * n for n in range(1, 50)]


def test_fewer_are_under_way_when_fewer_are_wanted() -> None:
    wanted = 5
    started: list[int] = []
    with pool(4, False, lambda: None, ()) as executor:
        results = in_order(executor, lambda number: number, map(started.append, range(50)), lambda: wanted)
        for taken in range(5):
            next(results)
            wanted -= 1
            assert len(started) == 5, taken
        next(results)  # one at a time
        assert len(started) == 6
        results.close()


def test_what_is_under_way_when_work_ends_is_told_and_waited_for() -> None:
    import threading

    begun, told, ended = threading.Event(), threading.Event(), []

    def work(number: int) -> int:
        if number == 1:
            begun.set()
            ended.append(told.wait(5))
        return number

    with pool(2, False, lambda: None, ()) as executor:
        results = in_order(executor, work, range(50), lambda: 4, told.set)
        assert next(results) == 0
        assert begun.wait(5)
        results.close()
        assert ended == [True]

        def fail(number: int) -> int:
            if number == 0:
                raise ZeroDivisionError
            return work(number)

        told.clear()
        with pytest.raises(ZeroDivisionError):
            next(in_order(executor, fail, range(50), lambda: 4, told.set))
        assert ended == [True] * len(ended)


def test_drawing_hangs_on_the_item_alone() -> None:
    pairs = [(f"q{n}", "a") for n in range(100)]
    order = shuffled(3, "x", pairs)
    assert shuffled(3, "x", pairs[::-1]) == order != pairs
    assert order != shuffled(4, "x", pairs) != shuffled(4, "y", pairs)
    assert shuffled(3, "x", pairs[:50]) == [pair for pair in order if pair in pairs[:50]]
    parts = divided(pairs, 0)
    assert sorted(parts["train"] + parts["test"]) == sorted(pairs)
    assert len(parts["test"]) == 25
    assert question_key("What IS  the man's hat?!") == question_key("what is the man's hat")


def test_real_photos_give_records_of_every_kind(real_data: Path, tmp_path: Path) -> None:
    data = real_data / "coco_vqa"
    given: dict[str, list[Any]] = {
        "--questions": sorted(data.glob("v2_OpenEnded_*.json")),
        "--annotations": sorted(data.glob("v2_mscoco_*.json")),
        "--images": [data / "images", data / "images_224"],
        "--locality": [real_data / "nq_loc.jsonl"],
        "--seed": [2],  # with another, no two photos of a split may share a question
    }
    arguments = [text for name, values in given.items() for text in (name, *map(str, values))]
    main([*arguments, "--out", str(tmp_path / "all")])
    found = [record for records in records_of(tmp_path / "all").values() for record in records]
    assert len(found) >= 60
    kinds = Counter(probe.kind for record in found for probe in record.probes)
    assert set(kinds) == {"rephrase", "in_scope", "out_of_scope", "text_locality", "other_image"}
    texts = [p.question for record in found for p in record.probes_of("text_locality")]
    assert len(set(texts)) == len(texts)


def edited(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def zipped(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04 and so on")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: cut(f.questions), r"questions-train2014.json' is cut off or not JSON"),
        (lambda f: cut(f.annotations), r"annotations-train2014.json' is cut off or not JSON"),
        (lambda f: f.questions.write_text("hello"), r"questions-train2014.json' is cut off or not JSON"),
        (lambda f: f.questions.write_bytes(b'{"data_subtype": "\xff\xfe'), r"is cut off or not JSON"),
        (lambda f: f.questions.unlink(), r"questions-train2014.json' is not there"),
        (lambda f: zipped(f.questions), r"questions-train2014.json' is a zip archive"),
        (lambda f: zipped(f.locality), r"nq.jsonl' is a zip archive"),
        (lambda f: f.questions.write_bytes(f.annotations.read_bytes()), "has no 'questions'"),
        (lambda f: edited(f.questions, lambda d: d.update(data_subtype="train2015")), "did you mean 'train2014'"),
        (lambda f: edited(f.questions, lambda d: d.update(data_subtype="val2014")), "no annotation file is given"),
        (lambda f: edited(f.questions, lambda d: d.pop("data_subtype")), "has no data_subtype"),
        (lambda f: edited(f.questions, lambda d: d["questions"].pop()), "question_id 40003 of .* is not in"),
        (lambda f: edited(f.annotations, lambda d: d["annotations"].pop()), "question_id 40003 of .* is not in"),
        (lambda f: edited(f.questions, lambda d: d["questions"].append(d["questions"][0])), "1000 comes twice"),
        (lambda f: edited(f.annotations, lambda d: d["annotations"][0].update(image_id=9)), "about image_id 1 in .* 9"),
        (
            lambda f: edited(f.annotations, lambda d: d["annotations"][3].update(answers="x")),
            "number 3, field 'answers'",
        ),
        (lambda f: edited(f.annotations, lambda d: d["annotations"][3].update(answers=["x"])), "annotation number 3"),
        (lambda f: edited(f.annotations, lambda d: d["annotations"][3].update(answers=[])), "number 3 has no answers"),
        (lambda f: edited(f.questions, lambda d: d["questions"][2].pop("question")), "number 2, field 'question'"),
        (lambda f: f.locality.write_text('{"question": "a", "answer": "b"}\n{"question": 1}\n'), "nq.jsonl', line 2"),
        (lambda f: f.locality.write_text(""), "found 0 questions"),
        (
            lambda f: f.locality.write_bytes(b'{"question": "A caf\xe9?", "answer": "b"}\n'),
            "nq.jsonl', line 1.*in UTF-8",
        ),
        (
            lambda f: f.locality.write_text('{"question": "a \\ud83d", "answer": "b"}'),
            "nq.jsonl', line 1.*ud83d",
        ),
        (
            lambda f: (f.path / "train2014/COCO_train2014_000000000004.jpg").write_bytes(b"no"),
            r"000000000004': .*found 2 bytes that do not decode \(of no known format\)",
        ),
        (lambda f: (f.path / "train2014/COCO_train2014_000000000004.jpg").unlink(), "000000000004.jpg' is not there"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    small: Folder, spoil: Callable[[Folder], object], message: str
) -> None:
    spoil(small)
    with pytest.raises(FGVEditError, match=message) as error:
        small.build("out")
    assert "\n" not in str(error.value)
    assert not [path for path in small.path.iterdir() if "out" in path.name and path.name != "out.cache"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--policy", "model_wrong"], "did you mean 'model-wrong'"),
        (["--agreement", "11"], "--agreement 11"),
        (["--limit", "0"], "--limit 0"),
        (["--dry-run", "--limit", "-5"], "--limit -5"),
        (["--num-proc", "0"], "--num-proc 0"),
        (["--per-image", "-1"], "--per-image -1"),
        (["--sample", "0"], "--sample 0"),
        (["--sample", "5"], "--sample 5: found it without --review"),
        (["--num-proc", "2"], "--num-proc 2: found it with labeller .*Scripted', expected 'rules'"),
        (["--backbone", "tiny"], "--backbone tiny: found it without --policy model-wrong"),
        (["--device", "cpu"], "--device cpu: found it without --policy model-wrong"),
        (["--dtype", "float32"], "--dtype float32: found it without --policy model-wrong"),
        (["--input-mode", "native"], "--input-mode native: found it without --policy model-wrong"),
        (["--revision", "main"], "--revision main: found it without --policy model-wrong"),
        (["--policy", "model-wrong"], "--policy model-wrong: found no --backbone"),
        (["--out", "x", "--cache", "x/cache"], "--cache 'x/cache': lies in --out 'x'"),
        (["--dry-run", "--review", "page"], "--review page: found it with --dry-run"),
        (["--dry-run", "--apply-review", "marks.json"], "--apply-review marks.json: found it with --dry-run"),
        (["--out", "."], "--out '.': expected a folder with a name"),
        (["--labeller", "rule"], "did you mean 'rules'"),
        (["--images", "nowhere"], "none at 'nowhere'"),
        (["--set", "dies=3"], "did you mean 'dies_after'"),
        (["--policy", "model-wrong", "--backbone", "tinny"], "did you mean 'tiny'"),
    ],
)
def test_bad_options_are_named(small: Folder, more: list[str], message: str) -> None:
    with pytest.raises(FGVEditError, match=message):
        small.build("out", *more)
    assert not (small.path / "out").exists()


def test_a_zip_of_images_and_a_folder_of_something_else_are_refused(small: Folder) -> None:
    zipped(small.path / "train2014.zip")
    with pytest.raises(FGVEditError, match=r"train2014\.zip"):
        small.build("out", "--images", str(small.path / "train2014.zip"))
    with pytest.raises(FGVEditError, match="is a folder"):
        small.build("out", "--questions", str(small.path))
    (small.path / "out").mkdir()
    (small.path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(FGVEditError, match="holds something else"):
        small.build("out")
    assert os.listdir(small.path / "out") == ["mine.txt"]


def test_an_id_in_two_files_is_refused(small: Folder) -> None:
    """Train and val have different ids; a copy under another subtype has not."""
    paths = write_official(small.path, scenes(range(1, 3)), "val2014")
    with pytest.raises(FGVEditError, match="question_id 1000 is in two of the files"):
        read_questions([small.questions, paths[0]], [small.annotations, paths[1]])
    with pytest.raises(FGVEditError, match="both of train2014"):
        read_questions([small.questions, small.questions], [small.annotations])


@pytest.fixture
def coloured(tmp_path: Path) -> Folder:
    """Questions that the rules make records of."""
    words = ["dog", "bus", "vase", "umbrella", "chair", "wall", "plate", "microwave", "car", "couch"]
    about = [(f"What color is the {word}?", ten("white", 9)) for word in words]
    return Folder(tmp_path, {n: about[n % 5 : n % 5 + 3] for n in range(1, 13)})


def test_processes_make_the_same_records(coloured: Folder) -> None:
    made = [coloured.build(f"out{n}", "--labeller", "rules", "--num-proc", n) for n in "12"]
    assert content(made[0]) == content(made[1])
    assert sum(map(len, records_of(made[0]).values())) == 36
