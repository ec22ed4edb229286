"""Whether a run says what its rows say, and its rows what the data say: whatever must be refused, by name."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from results_folder import Change, change, made_up_key, set_in, set_row, set_rows, write_run
from submitting import expect_refused, send

from fgvedit.evaluation.metrics import metrics_from_rows
from fgvedit.evaluation.rows import checked_row
from fgvedit.probes import Metric, ProbeKind, kinds, metrics
from fgvedit.util.errors import FGVEditError
from leaderboard import reading, table, verify
from leaderboard.board import STATUSES, hardware
from leaderboard.data import Known, write_key
from leaderboard.migrate import current_rows, schema_of
from leaderboard.verify import faults, read_run

FORMATS = Path(__file__).parents[1] / "formats"
RESULTS = Path(__file__).parents[2] / "leaderboard" / "results"


OF_FORMAT_1 = [
    "edit", "rephrase", "in_scope", "out_of_scope", "text_locality", "other_image", "reference_in", "reference_out"
]  # fmt: skip


# -- formats -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
def test_stored_examples_of_every_format_are_read_as_the_current_one(version: int):
    folder = FORMATS / str(version)
    assert json.loads((folder / "result.json").read_text())["format"] == version
    found = read_run(folder / "result.json", folder / "rows.jsonl")
    assert found.result["format"] == 3 and found.manifest["sequence"] is None
    assert found.manifest["cost"]["trained_parameters"] == (None if version == 1 else 0)
    assert hardware(found.manifest) == ("cpu" if version == 1 else "AMD EPYC, 2 threads")
    assert {(row["edits"], row["age"]) for row in found.rows} == {(1, 0)}
    assert {row["group"] for row in found.rows} == {"scenes-test-00000"} == {row["image_id"] for row in found.rows}
    assert found.result["metrics"] == metrics_from_rows(found.rows)
    limited = list(faults(found, Known(RESULTS)))
    assert len(limited) == 1 and "manifest.dataset.limit is 2" in limited[0]  # all else is as in the data
    assert table.read_table(folder)["paper/locality"][0] == 100


def test_the_stored_example_of_the_current_format_holds_against_its_key():
    """A run on four records of three images, which are two quads."""
    folder = FORMATS / "3"
    found = read_run(folder / "result.json", folder / "rows.jsonl")
    assert found.result == json.loads((folder / "result.json").read_text()) and found.result["format"] == 3
    assert found.rows == [json.loads(line) for line in found.text.splitlines()]
    assert list(faults(found, Known(folder))) == []
    assert {figure["groups"] for figure in found.result["metrics"].values()} == {2}
    assert metrics_from_rows([{**row, "group": row["image_id"]} for row in found.rows]) != found.result["metrics"]
    assert table.read_table(folder)["paper/retention"][0] == pytest.approx(87.92, abs=0.01)


def test_the_two_older_examples_are_the_same_run_and_rows_of_formats_are_not_mixed():
    one, two, three = (list(reading.read_rows(FORMATS / version / "rows.jsonl")) for version in "123")
    assert one != two and current_rows(one, "one") == current_rows(two, "two") and current_rows(three, "3") == three
    for first, rest in permutations((one, two, three), 2):
        with pytest.raises(FGVEditError, match="mixed: row 4: its fields"):
            current_rows([*first[:3], *rest[3:]], "mixed")


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_row_by_itself_is_read_whatever_its_format(version: int):
    rows = list(reading.read_rows(FORMATS / str(version) / "rows.jsonl"))
    assert [checked_row(row, "here") for row in rows] == current_rows(rows, "all")
    with pytest.raises(FGVEditError, match="here: image_id: found none, expected text"):
        checked_row({key: value for key, value in rows[0].items() if key != "image_id"}, "here")


@pytest.mark.parametrize("id", ["none-tiny-scenes-3232de75-0", "wise-tiny-scenes-3232de75-0-seq-10"])
def test_runs_on_data_that_are_embedded_no_more_hold_against_their_key(id: str, monkeypatch):
    monkeypatch.setattr("leaderboard.data.embedded", list)
    folder = RESULTS / "runs" / id
    found = read_run(folder / "result.json", folder / "rows.jsonl.xz")
    assert list(faults(found, Known(RESULTS))) == []
    assert json.loads((folder / "result.json").read_text())["format"] == 2 and found.result["format"] == 3


def test_schemas_follow_the_registries():
    older = [name for name in OF_FORMAT_1 if name in kinds()]
    assert schema_of("row.v1")["properties"]["kind"]["enum"] == older == OF_FORMAT_1
    for version in (2, 3):
        assert schema_of(f"row.v{version}")["properties"]["kind"]["enum"] == list(kinds())
    assert set(schema_of("submission")["properties"]["status"]["enum"]) == STATUSES.keys() - {"reported"}


def test_kinds_and_metrics_of_others_are_verified_like_the_projects_own(mine: Path, results: Path, monkeypatch):
    long = Metric("long", ("edit", "rephrase"), "answers of four letters", lambda row: float(len(row["after"]) >= 4))
    monkeypatch.setitem(metrics(), "long", long)
    monkeypatch.setitem(kinds(), "mirror", ProbeKind("mirror", "in a mirror", "the new answer", "mirrored"))
    row = {**read_run(mine / "result.json", mine / "rows.jsonl").rows[0], "kind": "mirror"}
    assert current_rows([row], "rows") == [row]
    with pytest.raises(FGVEditError, match=r"rows: row 1: kind: unknown kind 'miror'.*did you mean 'mirror'"):
        current_rows([{**row, "kind": "miror"}], "rows")
    change(mine, set_rows())
    send(mine, results)
    known = table.read_table(results).set_index("editor")["paper/long"].notna()
    assert known.to_dict() == {"mine": True, "other": False}
    change(mine, set_in("metrics.paper/long.value", 12.5), recompute=False)
    found = list(faults(read_run(mine / "result.json", mine / "rows.jsonl"), Known(results)))
    assert len(found) == 1 and found[0].startswith("metric 'paper/long' is 12.5, recomputed from the rows ")


# -- a changed number ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Known]:
    root = tmp_path_factory.mktemp("honest")
    write_key(made_up_key(), root)
    return write_run(root / "run", "mine"), Known(root)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_any_changed_number_is_found(honest: tuple[Path, Known], draw: st.DataObject):
    folder, known = honest
    found = read_run(folder / "result.json", folder / "rows.jsonl")
    figures = {f"metric '{name}'": metric for name, metric in found.result["metrics"].items()}
    for protocol, router in found.result["router"].items():
        figures |= {f"router figure '{protocol}/{name}'": figure for name, figure in router.items()}
    name = draw.draw(st.sampled_from(sorted(figures)))
    field = draw.draw(st.sampled_from(sorted(figures[name])))
    old = figures[name][field]
    new = draw.draw(st.floats(0, 100) | st.integers(1, 100) | st.sampled_from([old + 0.0001, old - 0.001]))
    figures[name][field] = new
    wrong = list(faults(found, known))
    if new == old:
        assert wrong == []
    else:
        (sentence,) = wrong
        assert sentence.endswith(f"{name} is {new}, recomputed from the rows {old} ({new - old:+.10g})")


# -- hostile runs --------------------------------------------------------------------------------------------------


def rows_of(start: int, stop: int, **values: Any) -> Change:
    """Fields of some rows."""
    return lambda result, rows: [row.update(values) for row in rows[start:stop]]


def of_result(path: str, value: Any) -> Change:
    return set_in(f"manifest.{path}", value)


def an_unknown_record(result: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    rows += [{**row, "record_id": "record-99"} for row in rows[:14]]


def another_kind(row: dict[str, Any]) -> str:
    return "text_locality" if row["kind"] == "out_of_scope" else row["kind"]


def every_score_1(result: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["protocol"] == "paper":
            row |= {"score": 1.0, "route": "edited"}


GENERATED, FORCED = {"kind": "rephrase", "protocol": "generation"}, {"kind": "rephrase", "protocol": "paper"}
NULL, CHANGED = {**GENERATED, "score": 0.0}, {"kind": "out_of_scope", "protocol": "paper", "route": "edited"}
BY_BASE = {"route": "base", "protocol": "paper"}
HOSTILE = [
    # rows of other data
    (
        lambda result, rows: rows.pop(5),
        "1 rows are missing, the first of them record 'record-0', protocol 'paper', probe 4",
    ),
    (lambda result, rows: rows.append(dict(rows[3])), "row 169: record 'record-0'.* is there twice"),
    (
        rows_of(0, 14, question="What?"),
        "row 1: record 'record-0'.* question is 'What\\?'; expected 'Which colour has card 0",
    ),
    (an_unknown_record, "row 169: record 'record-99'.* is not in the data 'cards'"),
    (
        rows_of(14, 28, group="group-0"),
        "row 15: record 'record-1'.* group is 'group-0'; expected 'group-1', as in the da",
    ),
    (set_rows(kind=another_kind), "kind is 'text_locality'; expected 'out_of_scope'"),
    (set_row(GENERATED, expected="red"), "expected is 'red'; expected 'blue', as in the da"),
    (set_row(GENERATED, expected=None), "expected is None; expected 'blue', as in the data"),
    # scores and routes
    (set_row(NULL, score=1.0), "score is 1.0; expected 0.0, as the answer is 'green' where 'blue' is right"),
    (set_row(FORCED, score=0.5), "score is 0.5; expected 0 or 1 for kind 'rephrase'"),
    (every_score_1, "row 1: .* score is 1, but the answer is 'green'; expected 'blue' or a lower score"),
    (
        set_row(CHANGED, before="Green", after="green", score=1.0),
        "score is 1, but the answer is 'green'; expected 'Green'",
    ),
    (rows_of(0, 1, score=1.5), "row 1: score: 1.5 is greater than"),
    (set_row({"protocol": "generation"}, rho=0.123), "rho is 0.123; expected .*, as under protocol"),
    (rows_of(0, 14, stored_edit=1), "stored_edit is 1; expected null or one of the 1 edits"),
    (rows_of(0, 14, route="mixed", rho=None), "rho is null; expected a number from 0 to 1"),
    (set_row(BY_BASE, after="something"), "after is 'something' by the base model; expected 'green'"),
    # the manifest
    (of_result("dataset.revision", "e" * 64), "data revision 'eeee.* is not known"),
    (of_result("dataset.revision", "../../x"), "found split 'test' at revision '../../x'"),
    (of_result("dataset.split", "../x"), "found split '../x'"),
    (of_result("dataset.limit", 12), "manifest.dataset.limit is 12.*expected the whole split"),
    (of_result("dataset.records", 3), "manifest.dataset.records is 3; expected 12"),
    (of_result("protocols", ["papers"]), "unknown protocol 'papers'.*did you mean 'paper'"),
    (of_result("protocols", ["paper"]), "protocol 'generation'.* is not in the data"),
    (of_result("protocols", [f"p{n}" for n in range(99)]), "protocols: .* is too long"),
    (of_result("editor.control", True), "row .*: route is 'edited' in a run of the control .*expected 'base'"),
    (of_result("editor.control", False), "manifest.editor.control: True was expected"),
    (
        of_result("editor.supervision", "paper's kind"),
        'manifest.editor.supervision is "paper\'s kind"; expected one of "none", "paper\'s kinds"',
    ),
    (of_result("editor.supervision", None), "manifest.editor.supervision: None is not of type 'string'"),
    (of_result("code", "main"), "manifest.code: 'main' does not match"),
    (set_in("format", 4), "result.json' .*format: 3 was expected"),
    (set_in("x", 1), "Additional properties are not allowed"),
    # texts that cannot be shown
    (of_result("editor.name", "<script>x</script>"), "manifest.editor.name is .* markup"),
    (of_result("backbone.name", "tiny\u202exe"), r"manifest.backbone.name holds U\+202E"),
    (of_result("backbone.name", "x" * 400), "manifest.backbone.name: 'x+.* is too long"),
    (of_result("editor.config", {"a\x1b[2J": 1}), r"manifest.editor.config: a name holds U\+001B"),
    (of_result("editor.config", {"a": "x" * 5000}), "config.a has 5,000 characters"),
    # whole numbers that are none
    (set_rows(edits=1.0), "row 1: edits: 1.0 is not of type 'integer'"),
    (set_rows(probe=lambda row: float(row["probe"])), "row 1: probe: -1.0 is not of type 'integer'"),
    (of_result("dataset.limit", 200.0), "limit: 200.0 is not of type 'integer'"),
    (of_result("sequence", 10.0), "sequence: 10.0 is not of type 'integer'"),
    (set_in("format", 2.0), "format: 2.0 is not of type"),
]


@pytest.mark.parametrize(("how", "sentence"), HOSTILE)
def test_a_hostile_run_is_refused_by_name(how: Change, sentence: str, mine: Path, shared_results: Path):
    expect_refused(change(mine, how), shared_results, sentence)


def test_rows_that_are_not_those_of_the_data_are_not_even_computed_on(honest: tuple[Path, Known], monkeypatch):
    """A made-up image and kind a row would make a matrix of all images times all kinds."""

    def computed(rows: object) -> None:
        raise AssertionError

    folder, known = honest
    found = read_run(folder / "result.json", folder / "rows.jsonl")
    for number, row in enumerate(found.rows):
        row["image_id"] = f"image-{number + 100}"
    monkeypatch.setattr(verify, "metrics_from_rows", computed)
    (sentence,) = faults(found, known)
    assert "row 1: record 'record-0'" in sentence and "image_id is 'image-100'" in sentence


@pytest.mark.parametrize("answer", ["Blue", " blue", "b l u e", "blue</s>", "<s> blue."])
def test_what_tokenizers_do_to_a_right_answer_is_no_fault(answer: str, honest: tuple[Path, Known]):
    folder, known = honest
    found = read_run(folder / "result.json", folder / "rows.jsonl")
    for row in found.rows:
        if row["protocol"] == "paper" and row["after"] == "blue":
            row["after"] = answer
    assert not list(faults(found, known))
