"""Validation: what is wrong with a data set is found, by the right name, and what is right passes."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rows import make_probe, make_row

import builders.validate
from builders.parquet import write_rows
from builders.review.reading import rows as read_rows
from builders.validate.__main__ import main
from builders.validate.perceptual_hash import BITS, near_pairs
from builders.validate.sources import open_source
from builders.validate.texts import answer_type, gives_away, is_mojibake
from fgvedit import dataset
from fgvedit.dataset import load_records
from fgvedit.schema import NO_ANSWER, ImageRef, features
from fgvedit.util.errors import FGVEditError, command_line

Rows = list[dict[str, Any]]
QUESTION = "What colour is the card?"
SCHEMA = json.loads((Path(builders.validate.__file__).parent / "report.schema.json").read_text())


def picture(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Smooth noise, which looks like no other."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> dict[str, Any]:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return {"bytes": buffer.getvalue(), "path": None}


def row(number: int, **changes: Any) -> dict[str, Any]:
    """A record that nothing is to be said against."""
    name, other = f"image-{number}", f"other-{number}"
    probes = [
        make_probe("rephrase", image_id=name, question="Which colour has the card?"),
        make_probe("in_scope", "yes", image_id=name, question="Is the card blue or not?"),
        make_probe("out_of_scope", "2", image_id=name, question="How many dogs are there?"),
        make_probe("text_locality", "Paris", question="What is the capital of France?"),
        make_probe("other_image", "green", encoded(picture(number + 1000)), other, question=QUESTION),
        make_probe("other_view", "blue", encoded(picture(number + 2000)), f"view-{number}", question=QUESTION),
        make_probe("other_value", "green", encoded(picture(number + 3000)), f"value-{number}", question=QUESTION),
        make_probe("no_image", NO_ANSWER, question=QUESTION),
    ]
    made = make_row(number, image_id=name, image=encoded(picture(number)), question=QUESTION, probes=probes)
    return {**made, **changes}


def data() -> dict[str, Rows]:
    return {"train": [row(n) for n in range(3)], "test": [row(n) for n in range(10, 12)]}


def write(folder: Path, splits: dict[str, Rows]) -> Path:
    for split, rows in splits.items():
        write_rows(rows, folder, split)
    return folder


def found(folder: Path, *options: str) -> tuple[dict[str, Any], int]:
    """The report, and the exit code."""
    file = folder.parent / "report.json"
    code = main([str(folder), *options, "--report", str(file)])
    report = json.loads(file.read_text())
    jsonschema.validate(report, SCHEMA)
    return report, code


def counts(report: dict[str, Any]) -> dict[str, int]:
    return {check["check"]: check["count"] for check in report["checks"] if check["count"]}


def example(report: dict[str, Any], name: str) -> dict[str, str]:
    return next(check["examples"][0] for check in report["checks"] if check["check"] == name)


def test_a_terminal_is_not_steered_by_what_stands_in_the_data(tmp_path, capsys):
    folder = write(tmp_path / "data", {"train": [row(1, id="evil\x1b[2J", target="red\x1b]0;mine\x07")]})
    report, _ = found(folder)
    assert example(report, "control_characters")["record"] == "evil\x1b[2J"
    shown = capsys.readouterr().out
    assert "evil\\x1b[2J" in shown and not {"\x1b", "\x07"} & set(shown)


# -- what passes ---------------------------------------------------------------------------------------------------


def test_what_is_right_passes_and_is_counted(tmp_path, capsys):
    folder = write(tmp_path / "data", data())
    report, code = found(folder)
    assert code == 0 and report["passed"] and counts(report) == {}
    assert report["images"] == 20
    assert report["splits"]["train"] == {
        "records": 3,
        "images": 12,
        "probes": dict.fromkeys(sorted(probe["kind"] for probe in row(0)["probes"]), 3),
        "targets": {"yes/no": 0, "number": 0, "other": 3},
    }
    assert "passed: 0 errors, 0 warnings" in capsys.readouterr().out
    assert len(load_records(str(folder), "test").records) == report["splits"]["test"]["records"]


@pytest.mark.slow
def test_the_embedded_data_passes(tmp_path):
    code = main(["scenes", "--report", str(tmp_path / "report.json")])
    report = json.loads((tmp_path / "report.json").read_text())
    assert code == 0  # "Tell me the color of ...", "How many cards with 2 pictures are there?", as meant
    assert set(counts(report)) == {"question_mark", "answer_in_question"}


def test_a_part_of_the_embedded_data_passes(tmp_path):
    """Rendered scenes of train and test look alike, and are not copies."""
    source = Path(builders.validate.__file__).parents[2] / "fgvedit/data"
    for split in ("train", "test"):
        rows = next(pq.ParquetFile(source / f"scenes-{split}.parquet").iter_batches(150)).to_pylist()
        write_rows(rows, tmp_path / "data", split)
    report, code = found(tmp_path / "data")
    assert code == 0 and set(counts(report)) == {"question_mark", "answer_in_question"}


def test_warnings_alone_are_no_failure(tmp_path, capsys):
    report, code = found(
        write(tmp_path / "data", {"test": [row(1, question="Name the card's colour", probes=row(1)["probes"][:7])]})
    )
    assert code == 0 and report["passed"] and counts(report) == {"question_mark": 1, "probe_words": 3}
    assert "passed: 0 errors, 4 warnings" in capsys.readouterr().out


# -- one fault, found by its name ----------------------------------------------------------------------------------


def change(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda row: row.update(changes)


def change_probe(number: int, **changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda row: row["probes"][number].update(changes)


def add_probe(*args: Any, **options: Any) -> Callable[[dict[str, Any]], None]:
    return lambda row: row["probes"].append(make_probe(*args, **options))


OWN = "image-11"
FAULTS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "no question": (change(question=""), "record"),
    "no entity": (change(entity=None), "record"),
    "no image": (change(image=None), "record"),
    "an image of another name that is not there": (change_probe(0, image_id="image-0"), "record"),
    "an id a second time": (change(id="record-10"), "id"),
    "an id of another split": (change(id="record-0"), "id"),
    "an unknown kind": (change_probe(1, kind="in-scope"), "probe_kind"),
    "half an image": (change(image={"bytes": encoded(picture(1))["bytes"][:300], "path": None}), "image_opens"),
    "another image's name": (change_probe(4, image_id="other-10"), "image_id"),
    "no name of an image": (change_probe(4, image_id=""), "image_id"),
    "text_locality with an image": (change_probe(3, image_id=OWN), "probe_image"),
    "in_scope without an image": (change_probe(1, image_id=""), "probe_image"),
    "out_of_scope about another image": (
        change_probe(2, image=encoded(picture(77)), image_id="other"),
        "probe_image",
    ),
    "other_view about its own image": (change_probe(5, image=None, image_id=OWN), "probe_image"),
    "no_image with an image": (change_probe(7, image=encoded(picture(77)), image_id="other"), "probe_image"),
    "no_image in other words": (change_probe(7, question="Which colour is that card?"), "no_image_words"),
    "other_image in other words": (change_probe(4, question="Which colour is that card?"), "probe_words"),
    "other_view in other words": (change_probe(5, question="Which colour is that card?"), "probe_words"),
    "other_value in other words": (change_probe(6, question="Which colour is that card?"), "probe_words"),
    "no group": (change(group=None), "group"),
    "a group without a name": (change(group=" "), "group"),
    "a group of another split": (change(group="image-0"), "group_in_splits"),
    "an image of another split": (
        change_probe(4, image=encoded(picture(0)), image_id="image-0"),
        "image_in_splits",
    ),
    "a target that is the answer": (change(answer="blue"), "target"),
    "a target that VQA v2 takes for the answer": (change(answer="The blue."), "target"),
    "two answers by the edit": (
        add_probe("in_scope", "no", image_id=OWN, question="is the card BLUE or not ?"),
        "contradiction",
    ),
    "the edit's question as out of scope": (
        add_probe("out_of_scope", "red", image_id=OWN, question="What colour is the card?"),
        "contradiction",
    ),
    "the edit's question and target as out of scope": (
        add_probe("out_of_scope", "blue", image_id=OWN, question="What colour is the card?"),
        "contradiction",
    ),
    "another view with the old answer": (change_probe(5, answer="red"), "contradiction"),
    "one picture as another view and with another value": (
        change_probe(6, image=encoded(picture(2011)), image_id="view-11"),
        "contradiction",
    ),
    "a rephrasing with another answer": (change_probe(0, answer="green"), "contradiction"),
    "a probe twice": (add_probe("out_of_scope", "2", image_id=OWN, question="How many dogs are there?"), "probe_twice"),
    "an answer of an article": (change_probe(2, answer="the"), "empty_text"),
    "a control character": (change(answer="re\x07d"), "control_characters"),
    "a line break": (change_probe(2, question="How many\ndogs?"), "control_characters"),
    "mojibake": (change_probe(3, answer="MontrÃ©al"), "mojibake"),
    "a replaced character": (change_probe(3, answer="Montr\ufffdal"), "mojibake"),
    "a space at the end": (change_probe(3, answer="Paris "), "outer_space"),
    "a long answer": (change_probe(3, answer="Paris " * 100 + "."), "length"),
    "no question mark": (change_probe(3, question="nq question: capital of France"), "question_mark"),
    "an answer in its question": (change_probe(3, question="Is Paris in France?"), "answer_in_question"),
    "a box beyond the image": (change(entity={"name": "card", "box": [60.0, 0.0, 8.0, 8.0]}), "box"),
    "a box of three": (change(entity={"name": "card", "box": [1.0, 2.0, 3.0]}), "box"),
    "one kind less": (lambda row: row["probes"].pop(), "kinds_of_each"),
}
WARNINGS = ("probe_twice", "question_mark", "answer_in_question", "box", "kinds_of_each", "probe_words")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(tmp_path, fault):
    spoil, check = FAULTS[fault]
    splits = data()
    spoil(splits["test"][1])
    report, code = found(write(tmp_path / "data", splits))
    assert counts(report) == {check: 1}
    assert code == (0 if check in WARNINGS else 1) and report["passed"] == (code == 0)
    shown = example(report, check)["record"]
    assert shown in (splits["test"][1]["id"], "image-0")  # an image in two splits is told by its own name


def test_a_kind_that_none_has(tmp_path):
    splits = data()
    for one in splits["test"]:
        del one["probes"][0]
    report, code = found(write(tmp_path / "data", splits))
    assert code == 1 and counts(report) == {"required_kinds": 1}
    assert example(report, "required_kinds") == {"record": "test", "detail": "no record has 'rephrase'"}


def test_worded_kinds_stand_in_for_hard_ones(tmp_path):
    """A split that has only them is valid, and it is said; one with neither is not."""
    splits = data()
    for one in splits["test"]:
        one["probes"][1]["kind"] = "worded_in"
        one["probes"][2]["kind"] = "worded_out"
    report, code = found(write(tmp_path / "data", splits))
    assert code == 0 and counts(report) == {"stands_in": 2}
    assert example(report, "stands_in")["detail"].startswith("no record has 'in_scope': 'worded_in' stands in")
    for one in splits["test"]:
        one["probes"][1:2] = []
    report, code = found(write(tmp_path / "none", splits))
    assert code == 1 and counts(report) == {"required_kinds": 1, "stands_in": 1}
    assert example(report, "required_kinds")["detail"] == "no record has 'in_scope' or 'worded_in'"


def test_kinds_that_some_lack_are_counted(tmp_path):
    splits = data()
    for one in splits["train"][1:]:
        del one["probes"][7]
    report, _ = found(write(tmp_path / "data", splits))
    assert counts(report) == {"kinds_of_each": 2}
    assert example(report, "kinds_of_each")["record"] == "record-1"


def test_one_image_under_two_names(tmp_path):
    splits = data()
    splits["test"][1] = row(10, id="twin", image_id="again", target="green", probes=[])
    report, _ = found(write(tmp_path / "data", splits))
    assert counts(report)["image_names"] == 1 and example(report, "image_names")["record"] == "twin"


def test_the_same_edit_again(tmp_path):
    splits = data()
    splits["train"].append(row(1, id="twin", question="What colour is the CARD", target="Blue"))
    report, code = found(write(tmp_path / "data", splits))
    assert code == 1 and counts(report)["edit_twice"] == 1
    assert "'record-1' of train" in example(report, "edit_twice")["detail"]
    splits["train"][-1]["target"] = "grey"
    for probe in splits["train"][-1]["probes"][:1]:
        probe["answer"] = "grey"
    assert "edit_twice" not in counts(found(write(tmp_path / "other", splits))[0])


def test_the_same_edit_in_the_other_split(tmp_path):
    splits = data()
    splits["test"].append(row(1, id="twin"))
    checks = {"image_in_splits", "group_in_splits", "edit_in_splits"}
    assert set(counts(found(write(tmp_path / "data", splits))[0])) == checks


# -- images that look the same -------------------------------------------------------------------------------------

COPIES: dict[str, Callable[[Image.Image], dict[str, Any]]] = {
    "encoded again": lambda image: encoded(image, "JPEG", quality=40),
    "resized": lambda image: encoded(image.resize((image.width // 2, image.height // 2))),
    "another shape": lambda image: encoded(image.resize((224, 224)), "WEBP", quality=60),
    "cropped": lambda image: encoded(image.crop(_box(image, 0.04)), "JPEG", quality=90),
    "brighter": lambda image: encoded(Image.eval(image, lambda value: min(255, round(value * 1.1)))),
}


def _box(image: Image.Image, share: float) -> tuple[int, int, int, int]:
    x, y = round(image.width * share), round(image.height * share)
    return x, y, image.width - x, image.height - y


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_an_image_in_the_other_split(tmp_path, how):
    splits = data()
    original = picture(1, (320, 240))
    splits["train"][1]["image"] = encoded(original)
    splits["test"][1]["image"] = COPIES[how](original)
    report, code = found(write(tmp_path / "data", splits))
    assert code == 1 and counts(report) == {"look_in_splits": 1, "edit_in_splits": 1}
    assert example(report, "look_in_splits") == {
        "record": "image-1",
        "detail": "of train looks like 'image-11' of test",
    }
    assert example(report, "edit_in_splits")["record"] == "record-1"


def test_a_copy_in_the_same_split_is_no_matter(tmp_path):
    splits = data()
    splits["test"][1]["image"] = COPIES["resized"](picture(10))
    assert counts(found(write(tmp_path / "data", splits))[0]) == {}


@pytest.mark.parametrize("how", COPIES)
def test_copies_of_real_photos(real_data, tmp_path, how):
    """Of photos in train, every copy in test is found, and no other photo is taken for one."""
    photos = sorted(real_data.rglob("images/*/*.jpg"))[:12]
    images = [Image.open(path).convert("RGB") for path in photos]
    splits = {
        "train": [row(n, image=encoded(image, "JPEG", quality=95)) for n, image in enumerate(images)],
        "test": [
            row(100 + n, target="red", answer="blue", image=COPIES[how](image) if n % 2 else row(100 + n)["image"])
            for n, image in enumerate(images)
        ],
    }
    for one in splits["test"]:
        one["probes"][0]["answer"] = one["probes"][5]["answer"] = "red"
    report, _ = found(write(tmp_path / "data", splits))
    assert counts(report) == {"look_in_splits": len(images) // 2}


@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=25, deadline=None)
def test_near_hashes_are_those_that_a_look_at_all_pairs_finds(seed, rows, columns):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 2**64, rows, np.uint64, endpoint=False)
    second = rng.integers(0, 2**64, columns, np.uint64, endpoint=False)
    for j in range(min(rows, columns)):  # some that are near
        flipped = rng.choice(64, int(rng.integers(0, 2 * BITS)), replace=False)
        second[j] = first[j] ^ np.uint64(sum(1 << int(bit) for bit in flipped))
    expected = [
        (i, j)
        for i, a in enumerate(first.tolist())
        for j, b in enumerate(second.tolist())
        if bin(a ^ b).count("1") <= BITS
    ]
    assert [tuple(pair) for pair in near_pairs(first, second).tolist()] == expected


def test_an_image_is_decoded_once(tmp_path, monkeypatch):
    looked_at: list[str] = []
    opened = ImageRef.open
    monkeypatch.setattr(ImageRef, "open", lambda self: (looked_at.append(self.key), opened(self))[1])
    splits = data()
    splits["train"] += [row(n, id=f"more-{n}", question="What else is there?") for n in range(3)]
    found(write(tmp_path / "data", splits))
    assert len(looked_at) == len(set(looked_at)) == 20


# -- columns, files, forms -----------------------------------------------------------------------------------------


def spoiled(folder: Path, spoil: Callable[[pa.Table], pa.Table]) -> Path:
    write(folder, data())
    file = folder / "test-00000.parquet"
    pq.write_table(spoil(pq.read_table(file)), file)
    return folder


def test_a_column_less(tmp_path):
    report, code = found(spoiled(tmp_path / "data", lambda table: table.drop_columns("entity")))
    assert code == 1 and "'entity' is missing" in example(report, "columns")["detail"]
    assert report["splits"]["train"]["records"] == 3 and report["splits"]["test"]["records"] == 0


def test_a_column_of_another_type(tmp_path):
    numbers = lambda table: table.set_column(0, "id", pa.array([1, 2]))  # noqa: E731
    report, code = found(spoiled(tmp_path / "data", numbers))
    assert (
        code == 1
        and "column 'id' holds Value('int64'); expected Value('string')" in example(report, "columns")["detail"]
    )


def test_a_column_more(tmp_path):
    report, code = found(spoiled(tmp_path / "data", lambda table: table.append_column("note", pa.array(["", ""]))))
    assert code == 0 and counts(report) == {"spare_columns": 1}


def test_columns_without_what_datasets_noted(tmp_path):
    report, _ = found(spoiled(tmp_path / "data", lambda table: table.replace_schema_metadata(None)))
    assert counts(report) == {}
    assert pq.read_schema(tmp_path / "data/test-00000.parquet").metadata is None and features()


def as_json(rows: Rows, folder: Path) -> Rows:
    """Rows with images in base64, and those of records as files."""
    folder.mkdir(exist_ok=True)
    made = json.loads(json.dumps(rows, default=lambda data: base64.b64encode(data).decode()))
    for stored, written in zip(rows, made, strict=True):
        name = f"{stored['image_id']}.png"
        (folder / name).write_bytes(stored["image"]["bytes"])
        written["image"] = name
    return made


def without_groups(rows: Rows) -> Rows:
    return [{key: value for key, value in row.items() if key != "group"} for row in rows]


def test_a_group_of_several_images_is_in_one_split(tmp_path):
    splits = data()
    for one in (*splits["train"], splits["test"][0]):
        one["group"] = "quad-1"
    report, code = found(write(tmp_path / "data", splits))
    assert code == 1 and counts(report) == {"group_in_splits": 1}
    expected = {"record": "record-10", "detail": "group 'quad-1' of test is in train, too"}
    assert example(report, "group_in_splits") == expected


def test_data_without_groups_are_as_good(tmp_path):
    folder = write(tmp_path / "data", data())
    for file in folder.glob("*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns("group"), file)
    report, code = found(folder)
    assert code == 0 and counts(report) == {} and report["splits"]["train"]["records"] == 3


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
@pytest.mark.parametrize("first", [True, False])
def test_groups_in_some_files_alone(tmp_path, form, first):
    """Whichever file has them; it is said of each record that differs from the first one."""
    folder, rows = tmp_path / "data", [row(n) for n in range(3)]
    grouped, bare = (rows[:1], rows[1:]) if first else (rows[1:], rows[:1])
    for name, own in ((f"test-0000{int(not first)}", grouped), (f"test-0000{int(first)}", bare)):
        if form == "jsonl":
            made = as_json(own if own is grouped else without_groups(own), folder)
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in made))
        else:
            (made,) = write_rows(own, folder / name, "made")
            table = pq.read_table(made)
            pq.write_table(table if own is grouped else table.drop_columns("group"), folder / f"{name}.parquet")
            shutil.rmtree(folder / name)
    report, code = found(folder)
    assert code == 1 and counts(report) == {"group": 2}
    said, other = "has no group, and the first record has one", "has a group, and the first record has none"
    assert example(report, "group") == {"record": "record-1", "detail": said if first else other}
    with pytest.raises(FGVEditError, match=r"'record-1': group: found .*, expected .* as in the first record"):
        list(read_rows(open_source(str(folder))))


@pytest.mark.parametrize("form", ["jsonl", "json"])
def test_json_is_held_to_the_same(tmp_path, form, monkeypatch):
    splits = data()
    splits["test"][1]["probes"][1]["kind"] = "in-scope"
    splits["test"][0]["answer"] = "blue"
    splits["test"][0]["target"] = "BLUE"
    expected, _ = found(write(tmp_path / "parquet", splits))
    folder = tmp_path / "json"
    for split, rows in splits.items():
        made = as_json(rows, folder)
        text = json.dumps(made) if form == "json" else "".join(json.dumps(one) + "\n" for one in made)
        (folder / f"{split}.{form}").write_text(text)
    (folder / "labels.jsonl").write_text('{"id": "record-1"}\n')
    monkeypatch.chdir(tmp_path.parent)  # paths are the file's, not the caller's
    report, code = found(folder)
    assert code == 1 and report["checks"] == expected["checks"] and report["splits"] == expected["splits"]


def test_a_json_record_of_another_form(tmp_path):
    folder = tmp_path / "data"
    made = as_json(data()["test"], folder)
    made[1]["probes"][2]["answer"] = 2
    (folder / "test.jsonl").write_text("".join(json.dumps(one) + "\n" for one in made))
    report, code = found(folder)
    assert code == 1 and counts(report) == {"columns": 1}
    assert example(report, "columns") == {"record": "record-11", "detail": "probes/2/answer: 2 is not of type 'string'"}


def test_half_a_character_is_reported_and_escaped(tmp_path, capsys):
    """As JSON can hold it. It is in the report as it was in the data, so that it can be searched for."""
    folder = tmp_path / "data"
    made = as_json(data()["test"], folder)
    made[0]["question"] = "What \ud83d is there"
    made[1]["id"] = "record \ud83d"
    (folder / "test.jsonl").write_text("".join(json.dumps(one) + "\n" for one in made))
    report, code = found(folder)
    assert code == 1 and "control_characters" in counts(report)
    assert example(report, "question_mark")["detail"] == "question: 'What \ud83d is there'"
    assert "\\ud83d" in capsys.readouterr().out


@pytest.mark.parametrize("image", ["\ud83d.png", {"path": "a\0b.png"}, {"bytes": "é"}, {"bytes": "abc"}])
def test_a_json_image_that_is_none_in_a_sentence(tmp_path, image):
    folder = tmp_path / "data"
    made = as_json(data()["test"], folder)
    made[1]["image"] = image
    (folder / "test.jsonl").write_text("".join(json.dumps(one) + "\n" for one in made))
    with pytest.raises(FGVEditError, match=r"test\.jsonl', test\.jsonl:2: expected (the path of an image|.*in base64)"):
        main([str(folder)])


def test_a_card_that_is_none_is_named(tmp_path):
    folder = write(tmp_path / "data", data())
    for text in ("title: a: b", "- a list"):
        (folder / "README.md").write_text(f"---\n{text}\n---\n")
        with pytest.raises(FGVEditError, match=r"data card '.*README\.md': expected names and values as YAML"):
            main([str(folder)])


def test_the_configuration_that_is_asked_for(tmp_path):
    folder = tmp_path / "data"
    write(folder / "good", data())
    write(folder / "bad", {"test": [row(1, target="red")]})
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: test\n    path: {name}/test-00000.parquet\n"
        for name in ("good", "bad")
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    assert found(folder, "--config", "good")[1] == 0
    assert "target" in counts(found(folder, "--config", "bad")[0])
    with pytest.raises(FGVEditError, match=r"unknown configuration .*'goood'.* did you mean 'good'"):
        main([str(folder), "--config", "goood"])
    with pytest.raises(FGVEditError, match=r"has the configurations good, bad and no default one; expected --config"):
        main([str(folder)])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, r"unknown data set .*expected one of .*scenes, vqav2"),
        ({}, "expected files of records"),
        ({"test.parquet": "no Parquet"}, r"test\.parquet.*expected a whole Parquet file"),
        ({"test.jsonl": '{"id": 1}\n{"id"'}, r"test\.jsonl', line 2: expected a record as JSON"),
        ({"test.json": '{"id": 1}'}, r"test\.json': expected a list of records, found dict"),
        ({"test.json": "[1"}, r"test\.json' is damaged"),
    ],
)
def test_bad_input_in_a_sentence(tmp_path, files, message):
    folder = tmp_path / "data"
    for name, text in (files or {}).items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    if files == {}:
        folder.mkdir()
    with pytest.raises(FGVEditError, match=message):
        main([str(folder), "--report", str(tmp_path / "report.json")])
    assert not (tmp_path / "report.json").exists()


def test_a_configuration_of_the_embedded_data_that_is_not_there(tmp_path, monkeypatch):
    shutil.copy(dataset.FOLDER / "README.md", tmp_path)
    monkeypatch.setattr(dataset, "FOLDER", tmp_path)
    with pytest.raises(
        FGVEditError, match=r"unknown configuration of data set 'scenes' 'vqav2': expected one of scenes"
    ):
        main(["scenes", "--config", "vqav2"])
    with pytest.raises(FGVEditError, match=r"'vqav2' is not built here .* make it with 'python -m builders\.released'"):
        main(["vqav2"])


def test_exit_codes_of_the_program(tmp_path, capsys):
    def code(folder: Path) -> Any:
        with pytest.raises(SystemExit) as stopped:
            command_line(lambda _: main([str(folder)]))
        return stopped.value.code

    assert code(write(tmp_path / "good", data())) == 0
    assert code(write(tmp_path / "bad", {"test": [row(1, target="red")]})) == 1
    assert code(tmp_path / "nowhere") == 2
    assert capsys.readouterr().err.startswith("error: unknown data set")


# -- texts ---------------------------------------------------------------------------------------------------------


@given(st.text(st.characters(min_codepoint=0xA1, max_codepoint=0x2FFF, categories=["L"]), min_size=1), st.text("ab c"))
def test_text_that_was_decoded_wrongly_is_told_from_text(said, around):
    assert is_mojibake(around + said.encode().decode("latin-1") + around)


@pytest.mark.parametrize("text", ["café", "naïve “quotes”", "Ångström", "Škoda – 5 €", "東京", "Ελλάδα", "É", "30°"])
def test_text_in_other_letters_is_no_mojibake(text):
    assert not is_mojibake(text)
    assert is_mojibake(text.encode().decode("latin-1"))


@pytest.mark.parametrize(
    ("question", "answer", "given_away"),
    [
        ("Is the red card red?", "Red", True),
        ("Are there two dogs?", "2", True),
        ("Is it red or blue?", "red", False),
        ("Is it a redwood?", "red", False),
        ("What colour is it?", "red", False),
    ],
)
def test_a_question_that_gives_its_answer_away(question, answer, given_away):
    assert gives_away(question, answer) == given_away


@pytest.mark.parametrize(
    ("answer", "kind"),
    [("Yes", "yes/no"), ("no.", "yes/no"), ("three", "number"), ("2.5", "number"), ("2 dogs", "other")],
)
def test_types_of_answers(answer, kind):
    assert answer_type(answer) == kind
