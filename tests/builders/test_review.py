"""The review page's files, and what becomes of the marks that are made on it."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reviews import content, label, revision_of, write_marks, write_records
from rows import make_probe, make_row, png

from builders.parquet import write_rows
from builders.quality import report
from builders.review.__main__ import main
from builders.review.apply import apply_marks
from builders.review.page import write_page
from fgvedit.dataset import load_records
from fgvedit.schema import features
from fgvedit.util.errors import FGVEditError

HALF = "\ud83d"  # of a character: JSON can hold it, and nothing else can


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_records(tmp_path / "records")


def test_a_sample_is_drawn_by_its_seed(folder: Path, tmp_path: Path) -> None:
    def ids(seed: int, sample: int | None) -> list[str]:
        write_page(str(folder), tmp_path / "page", sample, seed)
        text = (tmp_path / "page" / "index.html").read_text()
        data = text.split('<script type="application/json" id="page-data">')[1].split("</script>")[0]
        return [record["id"] for record in json.loads(data)["records"]]

    assert ids(0, None) == ids(0, 3) == ids(0, 99) == ["record-0", "record-1", "record-2"]
    drawn = [ids(seed, 1) for seed in range(8)]
    assert drawn == [ids(seed, 1) for seed in range(8)]
    assert {name for [name] in drawn} == {"record-0", "record-1", "record-2"}


def shown_files(page: Path) -> set[str]:
    """The images that a page asks for."""
    text = (page / "index.html").read_text()
    return set(re.findall(r'"file":"images/([^"]+)"', text))


def test_a_page_made_again_leaves_no_images_of_the_earlier_one(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page"
    write_page(str(folder), page)
    (page / "notes.txt").write_text("mine")
    (page / "images" / "0123456789abcdef0123.png").write_text("mine, too")
    before = shown_files(page)
    write_page(str(folder), page, sample=1)
    assert shown_files(page) < before
    left = {path.name for path in (page / "images").iterdir()}
    assert left == {*shown_files(page), "0123456789abcdef0123.png"}
    assert (page / "notes.txt").read_text() == "mine"
    write_page(str(folder), page)
    assert {path.name for path in (page / "images").iterdir()} == {*before, "0123456789abcdef0123.png"}


def test_a_page_that_cannot_be_made_leaves_what_was_there(folder: Path, tmp_path: Path) -> None:
    earlier, new = tmp_path / "page", tmp_path / "new"
    write_page(str(folder), earlier, sample=1)
    before = content(earlier)
    row = make_row(7)
    row["image"] = {"bytes": row["image"]["bytes"][:60], "path": None}
    write_rows([make_row(1), row], tmp_path / "bad", "test")
    for page in (earlier, new):
        with pytest.raises(FGVEditError, match=r"image 'image-7'.*do not decode"):
            write_page(str(tmp_path / "bad"), page)
    assert content(earlier) == before
    assert not (new / "index.html").exists()


@pytest.mark.parametrize(
    "text",
    [
        "<p>my thesis</p>",
        '<script type="application/json" id="page-data">{"records": 3}</script>',
        '<script type="application/json" id="page-data">{"records": [</script>',
    ],
)
def test_another_page_is_not_written_over(folder: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "index.html").write_text(text)
    before = content(tmp_path)
    with pytest.raises(FGVEditError, match="found a page that is none of"):
        write_page(str(folder), tmp_path)
    assert content(tmp_path) == before


def test_a_page_made_by_someone_else_does_not_lead_out_of_its_folder(folder: Path, tmp_path: Path) -> None:
    page, mine = tmp_path / "page", tmp_path / "mine.png"
    mine.write_text("mine")
    page.mkdir()
    data = json.dumps({"records": [{"image": {"file": "../mine.png"}, "probes": []}]})
    (page / "index.html").write_text(f'<script type="application/json" id="page-data">{data}</script>')
    write_page(str(folder), page)
    assert mine.read_text() == "mine"


def test_the_configuration_that_is_asked_for(tmp_path: Path) -> None:
    """Of two configurations as builders.publish lays them out, the second with labels."""
    published = tmp_path / "published"
    configs = ""
    for name, number, more in (("first", 0, "  default: true\n"), ("second", 5, "")):
        write_rows([make_row(number), make_row(number + 1)], published / "data" / name, "test")
        file = f"  data_files:\n  - split: test\n    path: data/{name}/test-00000.parquet\n"
        configs += f"- config_name: {name}\n{file}{more}"
    (published / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    (published / "labels").mkdir()
    (published / "labels" / "second.jsonl").write_text(json.dumps(label("record-5", "because 5")) + "\n")

    def page(*more: str) -> str:
        main([str(published), "--out", str(tmp_path / "page"), *more])
        return (tmp_path / "page" / "index.html").read_text()

    assert "record-0" in page() and "record-5" not in page()
    assert "record-5" in page("--config", "second") and "because 5" in page("--config", "second")
    with pytest.raises(FGVEditError, match="did you mean 'second'"):
        page("--config", "secnd")

    marks = write_marks(tmp_path / "marks.json", published, {"record-5": {"edit": "wrong"}}, config="second")
    out = tmp_path / "reviewed"
    main([str(published), "--config", "second", "--apply", str(marks), "--out", str(out)])
    assert [record.id for record in load_records(str(out), "test").records] == ["record-6"]
    with pytest.raises(FGVEditError, match="holds marks of data"):
        main([str(published), "--apply", str(marks), "--out", str(tmp_path / "other")])


# -- what becomes of marks ---------------------------------------------------------------------------------------------


def test_what_is_marked_wrong_is_left_out(folder: Path, tmp_path: Path) -> None:
    marks = {
        "record-0": {"edit": "right", "probes": {"0": "right", "4": "wrong"}, "note": "fine"},
        "record-1": {"edit": "wrong"},
        "record-2": {"edit": "unsure", "probes": {"1": "unsure", "4": "wrong"}},
    }
    out = tmp_path / "reviewed"
    said = apply_marks(str(folder), write_marks(tmp_path / "marks.json", folder, marks, reviewer="Ada"), out)
    assert "left out: 1 records (its edit is wrong: 1)" in said
    assert "left out of others: 2 probes (other_image: 2)" in said
    assert "2 records, 8 probes; 2 marked unsure" in said
    for split in ("train", "test"):
        [before], [after] = (pq.read_table(at / f"{split}-00000.parquet").to_pylist()[:1] for at in (folder, out))
        assert after == {**before, "probes": before["probes"][:4]}
        assert len(load_records(str(out), split).records) == 1
    labels = [json.loads(line) for line in (out / "labels.jsonl").read_text().splitlines()]
    first = {"reviewer": "Ada", "edit": "right", "probes": {"0": "right"}, "note": "fine"}
    third = {"reviewer": "Ada", "edit": "unsure", "probes": {"1": "unsure"}}
    assert labels == [
        {**label("record-0", "because 0"), "reviews": [first]},
        {"id": "record-2", "labeller": "not said", "policy": "not said", "reasons": {}, "reviews": [third]},
    ]
    review = json.loads((out / "review.json").read_text())
    assert review["records_left_out"] == [{"id": "record-1", "split": "train", "reason": "its edit is wrong"}]
    assert review["data"] == revision_of(folder)


def test_a_record_goes_with_the_last_probe_of_a_required_kind(folder: Path, tmp_path: Path) -> None:
    write_rows([make_row(2, probes=[*make_row(2)["probes"], make_row(2)["probes"][1]])], folder, "test")
    marks = {"record-1": {"probes": {"1": "wrong"}}, "record-2": {"probes": {"1": "wrong"}}}  # in_scope
    out = tmp_path / "reviewed"
    said = apply_marks(str(folder), write_marks(tmp_path / "marks.json", folder, marks), out)
    assert "left out: 1 records (no in_scope is left: 1)" in said
    assert [record.id for record in load_records(str(out), "train").records] == ["record-0"]
    assert [probe.kind for probe in load_records(str(out), "test").records[0].probes].count("in_scope") == 1


def test_a_record_stays_with_a_worded_probe(folder: Path, tmp_path: Path) -> None:
    """Which stands in for the hard one that is wrong, and is the last one where there is none."""
    both, worded = make_row(0)["probes"], make_row(2)["probes"]
    both.append(make_probe("worded_in", "yes", image_id="image-0"))
    worded[1]["kind"] = "worded_in"
    write_rows([make_row(0, probes=both), make_row(1)], folder, "train")
    write_rows([make_row(2, probes=worded), make_row(3)], folder, "test")
    marks = {"record-0": {"probes": {"1": "wrong"}}, "record-2": {"probes": {"1": "wrong"}}}
    out = tmp_path / "reviewed"
    said = apply_marks(str(folder), write_marks(tmp_path / "marks.json", folder, marks), out)
    assert "left out: 1 records (no worded_in is left: 1)" in said
    first = load_records(str(out), "train").records[0]
    assert [probe.kind for probe in first.probes] == [probe["kind"] for probe in both if probe["kind"] != "in_scope"]


def test_a_second_review_moves_what_the_first_said(folder: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    marks = {"record-0": {"probes": {"3": "right", "4": "right"}}}
    apply_marks(str(folder), write_marks(tmp_path / "a.json", folder, marks, reviewer="Ada"), first)
    more = make_row(0)["probes"]
    write_rows([make_row(0, probes=[more[0], *more]), make_row(1)], first, "train")  # as if it had another rephrasing
    labels = [json.loads(line) for line in (first / "labels.jsonl").read_text().splitlines()]
    labels[0]["reviews"][0]["probes"] = {"4": "right", "5": "right"}
    (first / "labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in labels))
    marks = {"record-0": {"probes": {"0": "wrong", "5": "unsure"}}}
    apply_marks(str(first), write_marks(tmp_path / "b.json", first, marks, reviewer="Ben"), second)
    line = json.loads((second / "labels.jsonl").read_text().splitlines()[0])
    assert line["reviews"] == [
        {"reviewer": "Ada", "probes": {"3": "right", "4": "right"}},
        {"reviewer": "Ben", "probes": {"4": "unsure"}},
    ]


def test_the_same_marks_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\ndataset_info:\n  x: 1\n---\n\n# From whom\n")
    marks = write_marks(tmp_path / "marks.json", folder, {"record-0": {"probes": {"4": "wrong"}}})
    found = []
    for name in ("one", "two", "two"):  # the last one is made over
        apply_marks(str(folder), marks, tmp_path / name)
        found.append(content(tmp_path / name))
    assert found[0] == found[1] == found[2]
    there = {"README.md", "labels.jsonl", "review.json", "test-00000.parquet", "train-00000.parquet"}
    assert found[0].keys() == there
    card = found[0]["README.md"].decode()
    assert "license: cc-by-4.0" in card and "# From whom" in card and "dataset_info" not in card


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"data": "f" * 64}, "holds marks of data ffffffffffff; expected data"),
        ({"format": 2}, "holds no marks of format 1: format: 1 was expected"),
        ({"marks": {"record-9": {"edit": "right"}}}, "found record 'record-9', expected one of the 3 .*'record-"),
        ({"marks": {"recrod-2": {}}}, "the nearest is 'record-2'"),
        ({"marks": {"record-0": {"probes": {"5": "wrong"}}}}, "'record-0': found probe 5, expected 0 to 4"),
        ({"marks": {"record-0": {"probes": {"01": "wrong"}}}}, "'01' does not match"),
        ({"marks": {"record-0": {"edit": "fine"}}}, "marks/record-0/edit: 'fine' is not one of"),
        ({"marks": {"record-2": {"edit": "wrong"}}}, "leaves no record of split 'test'"),
        ({"reviewer": HALF}, "half a character"),
    ],
)
def test_marks_that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    marks = write_marks(tmp_path / "marks.json", folder, **{"marks": {}, **changes})
    with pytest.raises(FGVEditError, match=expected):
        apply_marks(str(folder), marks, tmp_path / "reviewed")
    assert set(tmp_path.iterdir()) == {folder, marks}


def test_the_records_themselves_and_other_folders_are_not_written_over(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = write_marks(tmp_path / "marks.json", folder, {})
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("x")
    (foreign / "review.json").write_text('{"by": "a journal"}')
    (tmp_path / "current").mkdir()
    monkeypatch.chdir(tmp_path / "current")
    for out, expected in (
        (folder, "holds the records"),
        (foreign, "expected a new or empty folder"),
        (Path("."), r"--out '\.' is the current folder or above it"),
    ):
        before = content(out)
        with pytest.raises(FGVEditError, match=expected):
            main([str(folder), "--apply", str(marks), "--out", str(out)])
        assert content(out) == before


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"id": None}, r"'test-00000.parquet\[0\]': id: found None, expected a text"),
        ({"question": None}, "'record-2': question: found None"),
        ({"probes": None}, "'record-2': probes: found None"),
        ({"probes": [make_probe("in_scope"), None]}, "'record-2': probes/1: found None"),
        ({"probes": [{**make_probe("in_scope"), "answer": None}]}, "'record-2': probes/0/answer: found None"),
    ],
)
def test_what_is_not_there_is_named(folder: Path, tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    table = pa.Table.from_pylist([{**make_row(2), **changes}], schema=features().arrow_schema)
    pq.write_table(table, folder / "test-00000.parquet")
    marks = write_marks(tmp_path / "marks.json", folder, {})
    for ask in (
        lambda: write_page(str(folder), tmp_path / "page"),
        lambda: write_page(str(folder), tmp_path / "page", sample=2),
        lambda: apply_marks(str(folder), marks, tmp_path / "reviewed"),
        lambda: report(str(folder)),
    ):
        with pytest.raises(FGVEditError, match=expected):
            ask()
    assert not (tmp_path / "reviewed").exists()


def test_half_a_character_is_no_text(tmp_path: Path) -> None:
    own = as_json(tmp_path / "json", make_row(0, target=HALF, image="x.png", probes=[make_probe("rephrase")]))
    for ask in (lambda: write_page(str(own), tmp_path / "page"), lambda: report(str(own))):
        with pytest.raises(FGVEditError, match=r"'record-0': target: found '\\ud83d'"):
            ask()
    assert not (tmp_path / "page" / "index.html").exists()


def as_json(folder: Path, row: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "test.jsonl").write_text(json.dumps(row))
    return folder


def test_a_card_that_is_none_is_named(tmp_path: Path) -> None:
    image = {"bytes": base64.b64encode(png()).decode()}
    own = as_json(tmp_path / "json", make_row(0, image=image, probes=[make_probe("rephrase")]))
    (own / "README.md").write_text("---\ntitle: a: b\n---\n")
    marks = write_marks(tmp_path / "marks.json", own, {})
    with pytest.raises(FGVEditError, match=r"data card '.*README.md'"):
        apply_marks(str(own), marks, tmp_path / "reviewed")
    assert not (tmp_path / "reviewed").exists()


def test_labels_of_another_form_are_refused(folder: Path, tmp_path: Path) -> None:
    for text, expected in {
        "{": "line 1: expected a label as JSON",
        '{"id": "record-0"}': "line 1: the line: 'labeller' is a required property",
        (json.dumps(label("record-0", "")) + "\n") * 2: "line 2: found record 'record-0' again",
        json.dumps(label("record-0", HALF)): "line 1: found half a character",
    }.items():
        (folder / "labels.jsonl").write_text(text)
        with pytest.raises(FGVEditError, match=expected):
            write_page(str(folder), tmp_path / "page")


def test_nothing_needs_torch() -> None:
    modules = ["labelling.cache", "quality", "review.page", "validate.checks", "validate.texts", "vqav2.official"]
    code = (
        f"import sys, {', '.join('builders.' + name for name in modules)}\n"
        "from builders.labelling import open_labeller\n"
        "open_labeller('openai', {'base_url': 'http://127.0.0.1:1'}); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(folder), "--out", str(tmp_path / "page"), "--sample", "2"])
    assert "2 records, 12 things to mark" in capsys.readouterr().out
    marks = write_marks(tmp_path / "marks.json", folder, {"record-1": {"edit": "wrong"}})
    main([str(folder), "--apply", str(marks), "--out", str(tmp_path / "reviewed")])
    assert "left out: 1 records" in capsys.readouterr().out
    with pytest.raises(FGVEditError, match="--sample 0: expected"):
        main([str(folder), "--out", str(tmp_path / "page"), "--sample", "0"])
    found = subprocess.run(
        [sys.executable, "-m", "builders.review", str(folder), "--apply", "none.json", "--out", str(tmp_path / "x")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (2, "error: 'none.json': No such file or directory\n")
    assert not (tmp_path / "x").exists()
