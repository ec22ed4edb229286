"""Files and options of `builders.vqav2` that are no use: each is named, and nothing is written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from official_vqa import Folder, scenes, write_official

from builders.vqav2.official import read_questions
from fgvedit.util.errors import FGVEditError


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(tmp_path_factory.mktemp("vqav2"), scenes(range(1, 5)))


def edited(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def zipped(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04 and so on")


def photo(folder: Folder) -> Path:
    return folder.path / "train2014" / "COCO_train2014_000000000004.jpg"


def annotated(**fields: Any) -> Callable[[Folder], None]:
    """The annotation number 3 with other fields."""
    return lambda folder: edited(folder.annotations, lambda data: data["annotations"][3].update(fields))


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
        (lambda f: edited(f.questions, lambda d: d["questions"].pop()), "question_id 8003 of .* is not in"),
        (lambda f: edited(f.annotations, lambda d: d["annotations"].pop()), "question_id 8003 of .* is not in"),
        (lambda f: edited(f.questions, lambda d: d["questions"].append(d["questions"][0])), "1000 comes twice"),
        (annotated(image_id=9), "question_id 1003 is about image_id 1 in .* 9"),
        (annotated(answers="x"), "number 3, field 'answers'"),
        (annotated(answers=["x"]), "annotation number 3"),
        (annotated(answers=[]), "number 3 has no answers"),
        (lambda f: edited(f.questions, lambda d: d["questions"][2].pop("question")), "number 2, field 'question'"),
        (lambda f: f.locality.write_text('{"question": "a", "answer": "b"}\n{"question": 1}\n'), "nq.jsonl', line 2"),
        (lambda f: f.locality.write_text(""), "found 0 questions"),
        (lambda f: f.locality.write_bytes(b'{"question": "caf\xe9", "answer": "b"}'), "nq.jsonl', line 1.*in UTF-8"),
        (lambda f: f.locality.write_text('{"question": "a \\ud83d", "answer": "b"}'), "nq.jsonl', line 1.*ud83d"),
        (
            lambda f: photo(f).write_bytes(b"no"),
            "000000000004': .*found 2 bytes that do not decode .of no known format",
        ),
        (lambda f: photo(f).unlink(), "000000000004.jpg' is not there"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    tmp_path: Path, spoil: Callable[[Folder], object], message: str
) -> None:
    small = Folder(tmp_path, scenes(range(1, 9)))
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
        (["--in-scope", "-1"], "--in-scope -1: expected at least 0, for none that are made"),
        (["--easy", "dropp"], "did you mean 'drop'"),
        (["--easy", "drop", "--labeller", "rules"], "--easy drop: found it with labeller 'rules', which reads words"),
        (["--easy", "drop", "--in-scope", "2"], "--in-scope 2: found it with --easy drop"),
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
        (["--out", "."], "--out '.' is the current folder or above it"),
        (["--labeller", "rule"], "did you mean 'rules'"),
        (["--images", "nowhere"], "none at 'nowhere'"),
        (["--set", "wrod=3"], "did you mean 'word'"),
        (["--policy", "model-wrong", "--backbone", "tinny"], "did you mean 'tiny'"),
    ],
)
def test_bad_options_are_named(given: Folder, more: list[str], message: str) -> None:
    with pytest.raises(FGVEditError, match=message):
        given.build("out", *more)
    assert not (given.path / "out").exists()


def test_what_is_there_but_of_another_form_is_refused(small: Folder) -> None:
    zipped(small.path / "train2014.zip")
    (small.path / "marks.json").write_text("{")
    for option, there, message in (
        ("--images", small.path / "train2014.zip", r"train2014\.zip"),
        ("--questions", small.path, "is a folder"),
        ("--apply-review", small.path / "marks.json", "marks.json' is damaged"),
    ):
        with pytest.raises(FGVEditError, match=message):
            small.build("out", option, str(there))
        assert not (small.path / "out").exists()
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
