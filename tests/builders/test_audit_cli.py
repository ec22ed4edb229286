"""`python -m builders.audit`: what it prints and writes, and what it says of bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from audits import quads, write_split
from rows import make_probe, make_row

from builders.audit.__main__ import main
from builders.publish.__main__ import main as publish
from builders.sidecars import AUDIT, AUDIT_END, audit_section
from builders.validate.sources import open_source
from fgvedit.util.errors import FGVEditError, command_line
from fgvedit.util.revision import content_hash

MARKS = f"{AUDIT}\n{AUDIT_END}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two splits of so few records that nothing is learned from them."""
    write_split(tmp_path / "data", quads(2), "train")
    return write_split(tmp_path / "data", [make_row(number) for number in range(50, 53)], "test")


def test_a_table_and_a_report(folder, tmp_path, capsys):
    assert main([str(folder), "--report", str(tmp_path / "new/report.json")]) is None
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "new/report.json").read_text())
    assert list(report["splits"]) == ["train", "test"] and report["backbone"] is None
    assert "--backbone NAME asks a model" in printed and "train and test: images" in printed
    assert "too little data to tell" in printed and "needs eyes: the high end is at most 55" in printed


def test_one_split_and_the_first_records_of_it(folder, tmp_path, capsys):
    main([str(folder), "--split", "test", "--limit", "2", "--report", str(tmp_path / "report.json")])
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["limit"] == 2 and report["splits"]["test"]["records"] == 2 and list(report["splits"]) == ["test"]
    assert report["shared"] == [] and "the first 2 records of each split" in " ".join(capsys.readouterr().out.split())


def test_what_base_answers_give_away_of_the_shipped_backbone(folder, tmp_path, capsys):
    main([str(folder), "--split", "test", "--backbone", "tiny", "--report", str(tmp_path / "report.json")])
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["backbone"]["name"] == "tiny" and report["splits"]["test"]["kinds"]["edit"]["base"]
    assert report["splits"]["test"]["metrics"]["retention"]["unedited"]["value"] == 100
    assert "base answers of tiny" in capsys.readouterr().out


def test_json_that_lies_in_a_folder(folder, tmp_path, capsys):
    """The records of a user's own, in the other form."""
    image = tmp_path / "own/one.png"
    image.parent.mkdir()
    image.write_bytes(make_row()["image"]["bytes"])
    row: dict[str, Any] = {**make_row(), "image": "one.png", "probes": []}
    del row["group"]
    (tmp_path / "own/test.jsonl").write_text(json.dumps(row) + "\n")
    main([str(tmp_path / "own")])
    assert "test: 1 records, 1 groups, 1 images" in capsys.readouterr().out


def test_a_section_of_the_card_is_written_once_and_replaced(folder, tmp_path, capsys):
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: cc0-1.0\n---\n\n# Mine\n")
    main([str(folder), "--split", "train", "--card", str(card)])
    first = card.read_text()
    assert first.startswith("---\nlicense: cc0-1.0\n---\n\n# Mine\n\n<!-- audit -->\n")
    assert "| `in_scope` | `out_of_scope` | - | - | too little data to tell |" in first
    assert f"python -m builders.audit {folder} --split train`" in " ".join(first.split())
    main([str(folder), "--split", "train", "--card", str(card)])
    assert card.read_text() == first
    card.write_text(first + "\nMore.\n")
    main([str(folder), "--split", "test", "--card", str(card)])
    second = card.read_text()
    assert second.endswith("<!-- /audit -->\n\nMore.\n") and second.count(AUDIT) == 1 and "`other_image`" in second


def test_a_section_goes_along_where_the_data_are_published_and_not_where_they_changed(tmp_path, capsys):
    kinds = {"rephrase": "blue", "in_scope": "yes", "out_of_scope": "2", "text_locality": "Paris"}
    rows = []
    for number in range(3):
        name = f"image-{number}"
        probes = [
            make_probe(kind, answer, image_id="" if kind == "text_locality" else name) for kind, answer in kinds.items()
        ]
        rows.append(make_row(number, probes=probes))
    folder = write_split(tmp_path / "data", rows)
    (folder / "README.md").write_text("# Mine\n")
    main([str(folder), "--card", str(folder / "README.md")])
    publication = [str(folder), "--repo", "me/mine", "--embed-images", "--out", str(tmp_path / "published")]
    publish(publication)
    assert "\n### What can be had without looking\n" in (tmp_path / "published/README.md").read_text()
    write_split(folder, rows[:2])
    publish(publication)
    assert "without looking" not in (tmp_path / "published/README.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "tset"], r"unknown split of data set .* 'tset': expected one of test, train; did you mean 'test'"),
        (["--limit", "0"], r"--limit is 0; expected 1 or more"),
        (["--seed", "-1"], r"--seed is -1; expected 0 or more"),
        (["--config", "x"], r"unknown configuration .*'x'"),
        (["--card", "nowhere.md"], r"--card: there is no file 'nowhere\.md'"),
        (["--backbone", "tinny"], r"tinny.*did you mean 'tiny'"),
        (["--backbone", "tiny", "--device", "gpu"], r"unknown device 'gpu'"),
    ],
)
def test_bad_options_in_a_sentence(folder, options, message):
    with pytest.raises(FGVEditError, match=message):
        main([str(folder), *options])


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ("", r"is a folder; expected a file in it, such as '.*audit\.json'"),
        ("taken/new/a.json", r"cannot be made \(.*"),
    ],
)
def test_where_a_report_cannot_lie_is_said_before_the_work(folder, tmp_path, capsys, report, message):
    (tmp_path / "taken").write_text("")
    with pytest.raises(FGVEditError, match=f"--report '.*' ?.*{message}"):
        main([str(folder), "--report", str(tmp_path / report)])
    assert capsys.readouterr().out == ""


def test_the_shipped_card_speaks_of_the_shipped_files():
    source = open_source("scenes")
    assert source.revision == content_hash(file for files in source.files.values() for file in files)
    assert audit_section(source), "the audit in fgvedit/README.md is of other files; see docs/audit.md"


@pytest.mark.parametrize("text", [AUDIT, AUDIT_END, f"{AUDIT_END}\n{AUDIT}", MARKS * 2])
def test_a_card_with_odd_markers_is_left_as_it_is(folder, tmp_path, text):
    card = tmp_path / "README.md"
    card.write_text(text)
    with pytest.raises(FGVEditError, match=r"--card: '.*README\.md' holds '<!-- audit -->' \d times .* each once"):
        main([str(folder), "--card", str(card)])
    assert card.read_text() == text


def damaged(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "image": {"bytes": b"no image", "path": None}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damaged, r"image 'image-1': expected a readable PNG, JPEG or WebP image"),
        (lambda row: {**row, "target": row["answer"]}, r"record 'record-1': field 'target' is 'red', the same"),
    ],
)
def test_records_that_cannot_be_audited_are_named(
    tmp_path, change: Callable[[dict[str, Any]], dict[str, Any]], message
):
    write_split(tmp_path / "data", [make_row(0), change(make_row(1))])
    with pytest.raises(FGVEditError, match=message):
        main([str(tmp_path / "data")])


def test_exit_codes_of_the_program(folder, monkeypatch, capsys):
    def code(argv: list[str]) -> Any:
        with pytest.raises(SystemExit) as stopped:
            command_line(lambda _: main(argv))
        return stopped.value.code

    assert code([str(folder)]) == 0
    assert code([str(folder / "nowhere")]) == 2
    assert code([str(folder), "--slit", "test"]) == 2
    assert "did you mean '--split'" in capsys.readouterr().err
