"""The quality report, against tables and counts made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import make_probe, make_row
from sklearn.metrics import cohen_kappa_score

from builders.parquet import write_rows
from builders.quality import agreement, agreements, main, report, table
from fgvedit.util.errors import FGVEditError


def line(name: str, labeller: str, probes: dict[str, str], **settled: bool) -> dict[str, Any]:
    labels = [
        {"question": question, "kind": kind, "reason": "so", **({"settled_by_text": settled[kind]} if settled else {})}
        for question, kind in probes.items()
    ]
    return {"id": name, "labeller": labeller, "policy": "plain", "reasons": {"entity": "x", "probes": labels}}


def by_id(*lines: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in lines}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Edits with answers red, red, red, 3 and targets blue, blue, no, 4 in train; one of them again in test."""
    folder = tmp_path / "records"
    edits = [("red", "blue"), ("red", "blue"), ("red", "no"), ("3", "4")]
    rows = [make_row(2 * number, answer=answer, target=target) for number, (answer, target) in enumerate(edits)]
    rows[0]["question"] = "What color is the Card?"
    rows[3]["question"] = "How many cards, 3 of them or 4?"
    for probe, (question, answer) in zip(
        rows[0]["probes"],
        [("Is the card blue?", "Blue"), ("Is it red?", "no"), ("Red or green?", "green"), ("x?", "Yes"), ("y?", "no")],
        strict=True,
    ):
        probe["question"], probe["answer"] = question, answer
    rows[1]["probes"].append(make_probe("in_scope", answer="no", image_id="image-2", question="Another one?"))
    write_rows(rows, folder, "train")
    test = [make_row(2, id="again"), make_row(90, id="other", question="What color is a card?", target="pink")]
    write_rows(test, folder, "test")
    return folder


# -- agreement ---------------------------------------------------------------------------------------------------------


def test_kappa_of_a_table_made_by_hand() -> None:
    """Of 50 proposals two readers both accept 20 and both reject 15; one alone accepts 5, the other alone 10.

    They agree on 35 of 50; the first accepts 25 and the second 30 of 50, so that chance gives
    0.5 * 0.6 + 0.5 * 0.4 = 0.5, and kappa is (0.7 - 0.5) / 0.5.
    """
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    found = agreement(first, second)
    assert (found.questions, found.percent) == (50, pytest.approx(70))
    assert found.kappa == pytest.approx(0.4)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=40))
def test_kappa_is_that_of_another_implementation(pairs: list[tuple[str, str]]) -> None:
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    found = agreement(first, second)
    if len({*first, *second}) == 1:
        assert found.kappa is None and found.percent == 100
    else:
        assert found.kappa == pytest.approx(cohen_kappa_score(first, second))
        assert found.percent == pytest.approx(100 * sum(one == other for one, other in pairs) / len(pairs))


def test_agreement_is_over_what_both_labelled() -> None:
    ours = by_id(
        line("rules-1", "rules", {"Red?": "in_scope", "B?": "out_of_scope", "C?": "unclear", "only here?": "in_scope"}),
        line("rules-2", "rules", {"Red?": "out_of_scope"}),
        line("rules-3", "rules", {"Red?": "in_scope"}),
    )
    theirs = by_id(
        line(
            "gpt-4o-1",
            "gpt-4o",
            {"red": "in_scope", "the B ?": "in_scope", "C?": "out_of_scope", "only there?": "unclear"},
        ),
        line("gpt-4o-2", "gpt-4o", {"Red?": "out_of_scope"}),
        line("gpt-4o-9", "gpt-4o", {"Red?": "in_scope"}),
    )
    ours["rules-2"]["reasons"]["probes"].append({"question": "made?", "kind": "in_scope", "made": True})
    theirs["gpt-4o-2"]["reasons"]["probes"].append({"question": "made?", "kind": "in_scope", "made": True})
    found = agreements(ours, theirs)
    # Both labelled three questions of the first record, one of them in other letters, and one of the second.
    pairs = [("in_scope", "in_scope"), ("out_of_scope", "in_scope"), ("unclear", "out_of_scope")]
    pairs.append(("out_of_scope", "out_of_scope"))
    assert found["relation"].questions == 4
    assert found["relation"].percent == pytest.approx(50)
    assert found["relation"].kappa == pytest.approx(cohen_kappa_score(*zip(*pairs, strict=True)))
    for kind, percent in {"in_scope": 75, "out_of_scope": 50, "unclear": 75}.items():
        one, other = ([label == kind for label in side] for side in zip(*pairs, strict=True))
        assert found[kind].percent == pytest.approx(percent)
        assert found[kind].kappa == pytest.approx(cohen_kappa_score(one, other))
    assert "settled_by_text" not in found


@pytest.mark.parametrize("outside", ["out_of_scope", "worded_out"])
def test_agreement_on_what_text_settles(outside: str) -> None:
    """A question is in scope or out of it, whether its probe is hard or, where text settles it, worded."""
    ours = by_id(line("a", "x", {"B?": "worded_in", "C?": "out_of_scope"}, worded_in=True, out_of_scope=False))
    theirs = by_id(line("a", "y", {"B?": "in_scope", "C?": outside}, **{"in_scope": True, outside: True}))
    found = agreements(ours, theirs)
    assert found["settled_by_text"].percent == pytest.approx(50)
    assert found["relation"].kappa == pytest.approx(1)
    assert found["in_scope"].percent == found["out_of_scope"].percent == pytest.approx(100)
    assert found.keys() == {"relation", "in_scope", "out_of_scope", "settled_by_text"}


def test_labels_with_nothing_in_common_are_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps(line("y-1", "y", {"B?": "in_scope"})) + "\n")
    with pytest.raises(FGVEditError, match=r"found no labels.jsonl beside its files"):
        report(str(folder), other)
    (folder / "labels.jsonl").write_text(json.dumps(line("x-2", "x", {"B?": "in_scope"})) + "\n")
    with pytest.raises(FGVEditError, match="found no question that is labelled both there and in"):
        report(str(folder), other)
    (folder / "labels.jsonl").write_text(json.dumps(line("x-1", "x", {"B?": "in_scope"})) + "\n")
    assert report(str(folder), other)["agreement"]["relation"] == {"questions": 1, "percent": 100.0, "kappa": None}


# -- balance -----------------------------------------------------------------------------------------------------------


def test_counts(folder: Path) -> None:
    train = report(str(folder))["splits"]["train"]
    assert train["records"] == 4
    assert train["edits"]["answer"] == {
        "different": 2,
        "most_frequent": [{"text": "red", "count": 3}, {"text": "3", "count": 1}],
    }
    targets = {one["text"]: one["count"] for one in train["edits"]["target"]["most_frequent"]}
    assert targets == {"blue": 2, "no": 1, "4": 1}
    types = {one["text"]: one["count"] for one in train["edits"]["answer type"]["most_frequent"]}
    assert types == {"other": 2, "yes/no": 1, "number": 1}
    asked = {one["text"]: one["count"] for one in train["edits"]["question type"]["most_frequent"]}
    assert asked == {"what colour": 2, "what color": 1, "how many": 1}
    kinds = train["kinds"]
    assert (kinds["in_scope"]["records"], kinds["in_scope"]["questions"]) == (4, 5)
    # yes three times (conftest's rows) but in the first record, where it is no; and the one that was added
    assert (kinds["in_scope"]["yes"], kinds["in_scope"]["yes_or_no"]) == (3, 5)
    assert (kinds["text_locality"]["yes"], kinds["text_locality"]["yes_or_no"]) == (1, 1)
    assert (kinds["edit"]["yes"], kinds["edit"]["yes_or_no"]) == (0, 1)
    given = {kind: one["given_away"] for kind, one in kinds.items() if one["given_away"]}
    assert given == {"rephrase": 1}  # "Is the card blue?" "Blue"; a choice of two gives nothing away


def test_what_is_in_two_splits(folder: Path) -> None:
    found = report(str(folder))
    train, test = found["splits"]["train"], found["splits"]["test"]
    assert train["edits_whose_question_is_in_other_splits"] == 3  # all but "How many"
    assert train["edits_whose_question_and_target_are"] == 1
    assert test["edits_whose_question_is_in_other_splits"] == 2
    assert test["edits_whose_question_and_target_are"] == 1
    assert found["copies"]["edit_in_splits"]["count"] == 1
    assert found["copies"]["edit_in_splits"]["examples"][0]["record"] == "again"
    assert found["copies"]["image_in_splits"]["count"] == 2  # of record 2 and of its probe about another image


def test_records_that_cannot_be_read_are_not_passed_over_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy cannot be found where images are only referred to."""
    rows = [make_row(0, image={"bytes": None, "path": str(tmp_path / "nowhere.jpg")}), make_row(2)]
    write_rows(rows, tmp_path / "data", "train")
    write_rows([make_row(0, id="again", image=rows[0]["image"])], tmp_path / "data", "test")
    main([str(tmp_path / "data"), "--report", str(tmp_path / "report.json")])
    assert json.loads((tmp_path / "report.json").read_text())["not_compared"] == 2
    assert "2 records could not be read and were not compared" in capsys.readouterr().out
    write_rows([make_row(9)], tmp_path / "whole", "test")
    assert report(str(tmp_path / "whole"))["not_compared"] == 0
    main([str(tmp_path / "whole")])
    assert "not compared" not in capsys.readouterr().out


def test_a_terminal_is_not_steered_by_what_stands_in_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows([make_row(1, id="evil\x1b[2J", target="red\x1b]0;mine\x07")], tmp_path / "data", "test")
    main([str(tmp_path / "data")])
    shown = capsys.readouterr().out
    assert "evil\\x1b[2J" in shown and not {"\x1b", "\x07"} & set(shown)


def test_a_sample_is_drawn_by_its_seed(folder: Path) -> None:
    drawn = [[record["id"] for record in report(str(folder), sample=2, seed=seed)["sample"]] for seed in range(8)]
    assert drawn[0] == [record["id"] for record in report(str(folder), sample=2, seed=0)["sample"]]
    ids = {"record-0", "record-2", "record-4", "record-6", "again", "other"}
    assert all(len(set(two)) == 2 and set(two) <= ids for two in drawn)
    assert len({name for two in drawn for name in two}) >= 5
    everything = report(str(folder), sample=99)["sample"]
    assert {record["id"] for record in everything} == ids
    assert report(str(folder), sample=0)["sample"] == []


def test_the_configuration_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, number in (("first", 0), ("second", 5)):
        write_rows([make_row(number)], tmp_path / name, "test")
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: test\n    path: {name}/test-00000.parquet\n"
        for name in ("first", "second")
    )
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    for name, record in (("first", "record-0"), ("second", "record-5")):
        main([str(tmp_path), "--config", name])
        assert record in capsys.readouterr().out
    with pytest.raises(FGVEditError, match="did you mean 'first'"):
        main([str(tmp_path), "--config", "frist"])


def test_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "labels.jsonl").write_text(json.dumps(line("x-1", "x", {"B?": "in_scope", "C?": "unclear"})))
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps(line("y-1", "y", {"B?": "in_scope", "C?": "in_scope"})))
    out = tmp_path / "new" / "quality.json"
    main([str(folder), "--against", str(other), "--sample", "6", "--report", str(out)])
    text = capsys.readouterr().out
    found = json.loads(out.read_text())
    assert found == report(str(folder), other, 6)
    assert text == table(found) + "\n"
    rows = {words[0]: words for one in text.splitlines() if (words := one.split())}
    assert rows["relation"] == ["relation", "2", "50.0", "0.000"]
    assert "answer of edits: 2 different; red 75 %, 3 25 %" in text
    assert "edit: What colour is the card? 'red' -> 'no'" in text
    assert max(map(len, text.splitlines())) <= 120
    with pytest.raises(FGVEditError, match="--sample -1"):
        main([str(folder), "--sample", "-1"])
