"""Submissions: a real run from end to end, and whatever must be refused, by name and with nothing written."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dummy import InPrompt, write_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from results_folder import as_lines, made_up_key, write_entry, write_run

from fgvedit.backbones import open_backbone
from fgvedit.dataset import load_records
from fgvedit.evaluation.metrics import metrics_from_rows, router_from_rows
from fgvedit.evaluation.protocols import open_protocols
from fgvedit.evaluation.runs.runner import run
from fgvedit.probes import EDIT, probe_kinds
from fgvedit.util.errors import FGVEditError
from leaderboard import check, data, reading, reproduce, submit, table, verify
from leaderboard.board import hardware, read_results
from leaderboard.data import Known, write_key
from leaderboard.migrate import current_rows, schema_of
from leaderboard.verify import faults, read_run

LINK = "https://example.org/code"
FORMATS = Path(__file__).parents[1] / "formats"
Change = Callable[[dict[str, Any], list[dict[str, Any]]], object]


def send(folder: Path, results: Path, *options: str, name: str = "A method", link: str = LINK) -> None:
    submit.main([str(folder), "--to", str(results), "--name", name, "--link", link, *options])


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder that knows the made-up data, and holds another's run."""
    write_entry(tmp_path / "results", "other", skill=0.6)
    return tmp_path / "results"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return write_run(tmp_path / "mine", "mine")


def change(folder: Path, how: Change, recompute: bool = True) -> None:
    """Change a run in place: `how` is given its result and rows; hash and metrics then follow, so that they hide it."""
    result = json.loads((folder / "result.json").read_text())
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    how(result, rows)
    text = as_lines(rows)
    (folder / "rows.jsonl").write_bytes(text)
    result["manifest"]["rows_sha256"] = hashlib.sha256(text).hexdigest()
    if recompute:
        result |= {"metrics": metrics_from_rows(rows), "router": router_from_rows(rows)}
    (folder / "result.json").write_text(json.dumps(result))


# -- from end to end -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(random_blip2: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A real run, and the folder of its data."""
    root = tmp_path_factory.mktemp("submit")
    cards = write_dataset(root / "cards", 4)
    backbone = open_backbone(str(random_blip2))
    editor = InPrompt(backbone, InPrompt.Config())
    run(editor, load_records(str(cards)), open_protocols("paper,generation"), root / "run")
    return root / "run", cards


def test_a_run_is_submitted_checked_ranked_and_reproduced(real: tuple[Path, Path], tmp_path: Path, capsys):
    folder, cards = real
    results = tmp_path / "results"
    send(folder, results, "--data", str(cards), "--description", "With a prompt.", name="In prompt")
    (entry,) = read_results(results)[0]
    revision = load_records(str(cards)).revision
    assert entry.id == entry.folder.name == f"in-prompt-random-cards-{revision[:8]}-0"
    assert (entry.name, entry.link, entry.description) == ("In prompt", LINK, "With a prompt.")
    assert (entry.status, entry.reproduced) == ("verified-rows", None)
    own = json.loads((folder / "result.json").read_text())
    assert entry.result["metrics"] == own["metrics"] and entry.result["router"] == own["router"]
    assert entry.result["manifest"]["dataset"]["name"] == "cards"  # where it lay is not told
    assert entry.rows() == [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert sorted(os.listdir(results)) == ["runs"]

    assert check.main([str(results)]) == 1
    assert "is not known" in capsys.readouterr().out
    assert check.main([str(results), "--data", str(cards)]) == 0
    data.main([str(cards), "--to", str(results)])
    assert check.main([str(results)]) == 0
    assert "checked 1 runs, 0 files of reported numbers, 1 answer keys: no findings" in capsys.readouterr().out

    found = table.read_table(results)
    assert found["paper/specificity"][0] == own["metrics"]["paper/specificity"]["value"]

    again = ["--in", str(results), "--id", entry.id, "--by", "A maintainer", "--link", LINK]
    assert reproduce.main([str(folder), *again]) == 0
    (entry,) = read_results(results)[0]
    assert entry.status == "reproduced" and entry.reproduced is not None
    rows = len(entry.rows())
    assert entry.reproduced["agreement"] | {"metric": ""} == {
        "rows": rows,
        "equal": rows,
        "metric": "",
        "difference": 0.0,
        "tolerance": 0.5,
    }
    assert check.main([str(results)]) == 0


def test_nothing_of_a_submission_is_run_and_no_torch_is_needed(mine: Path, results: Path, tmp_path: Path):
    (tmp_path / "evil.py").write_text("raise SystemExit('run')")

    def evil(result: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        result["manifest"]["editor"] |= {"class": "evil:Editor", "config": {"a": "!!python/object/apply:os.system [x]"}}

    change(mine, evil)
    program = (
        "import sys; from leaderboard import check, submit; submit.main(sys.argv[2:]); "
        "assert check.main([sys.argv[1]]) == 0; assert not {'torch', 'transformers', 'evil'} & set(sys.modules)"
    )
    arguments = [results, mine, "--to", results, "--name", "x", "--link", LINK]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def test_a_sequence_run_may_have_a_limit(results: Path, tmp_path: Path):
    folder = write_run(tmp_path / "rows", "rows", sequence=3)
    change(folder, lambda result, rows: result["manifest"]["dataset"].update(limit=12), recompute=False)
    send(folder, results)
    assert check.main([str(results)]) == 0
    assert (results / "runs" / "rows-tiny-cards-dddddddd-0-seq-3").is_dir()


def test_ids_are_made_unique(results: Path, tmp_path: Path):
    for number, editor in enumerate(("Mine!", "mine", "../mine")):
        send(write_run(tmp_path / str(number), editor, skill=0.7 + number / 10), results)
    names = sorted(os.listdir(results / "runs"))
    assert names[:3] == [f"mine-tiny-cards-dddddddd-0{again}" for again in ("", "-2", "-3")]


@pytest.mark.parametrize("name", ["x" * 300, "编辑器"])
def test_an_honest_run_has_an_id_whatever_it_is_called(name: str, results: Path, tmp_path: Path):
    def how(result: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        result["manifest"]["seed"] = 2**64 - 1
        result["manifest"]["editor"]["name"] = result["manifest"]["backbone"]["name"] = name

    folder = write_run(tmp_path / "mine", "mine", sequence=12)
    change(folder, how)
    send(folder, results)
    assert check.main([str(results)]) == 0


def test_an_interrupted_write_leaves_nothing(mine: Path, results: Path, monkeypatch):
    def full(text: bytes) -> bytes:
        raise OSError(28, "No space left on device")

    before = content(results)
    monkeypatch.setattr(submit, "pack", full)
    with pytest.raises(OSError, match="No space"):
        send(mine, results)
    assert content(results) == before and sorted(os.listdir(results)) == ["data", "runs"]


# -- formats -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
def test_stored_examples_of_every_format_are_read_as_the_current_one(version: int):
    folder = FORMATS / str(version)
    assert json.loads((folder / "result.json").read_text())["format"] == version
    found = read_run(folder / "result.json", folder / "rows.jsonl")
    assert found.result["format"] == 2 and found.manifest["sequence"] is None
    assert found.manifest["cost"]["trained_parameters"] == (None if version == 1 else 0)
    assert hardware(found.manifest) == ("cpu" if version == 1 else "AMD EPYC, 2 threads")
    assert {(row["edits"], row["age"]) for row in found.rows} == {(1, 0)}
    assert found.result["metrics"] == metrics_from_rows(found.rows)
    limited = list(faults(found, Known()))
    assert len(limited) == 1 and "manifest.dataset.limit is 2" in limited[0]  # all else is as in the embedded data
    assert table.read_table(folder)["paper/locality"][0] == 100


def test_the_two_examples_are_the_same_run():
    one, two = (list(reading.read_rows(FORMATS / version / "rows.jsonl")) for version in ("1", "2"))
    assert one != two and current_rows(one, "one") == two


def test_rows_of_two_formats_are_not_mixed():
    one, two = (list(reading.read_rows(FORMATS / version / "rows.jsonl")) for version in ("1", "2"))
    for mixed in ([*one[:3], *two[3:]], [*two[:3], *one[3:]]):
        with pytest.raises(FGVEditError, match="mixed: row 4: its fields"):
            current_rows(mixed, "mixed")


# -- a changed number ----------------------------------------------------------------------------------------------


def test_a_metric_changed_in_the_third_decimal_is_named_with_its_difference(mine: Path, results: Path):
    was = json.loads((mine / "result.json").read_text())["metrics"]["paper/specificity"]["value"]
    now = round(was + 0.001, 4)
    change(mine, lambda result, rows: result["metrics"]["paper/specificity"].update(value=now), recompute=False)
    sentence = f"metric 'paper/specificity' is {now}, recomputed from the rows {was} (+0.001)"
    with pytest.raises(FGVEditError, match=re.escape(sentence)):
        send(mine, results)


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
    assert list(faults(found, known)) == []
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
        assert len(wrong) == 1 and name in wrong[0] and f"is {new}, recomputed from the rows {old}" in wrong[0]


# -- hostile runs --------------------------------------------------------------------------------------------------


def row_of(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    return next(row for row in rows if all(row[name] == value for name, value in wanted.items()))


def drop_one(result, rows):
    del rows[5]


def add_a_record(result, rows):
    rows += [{**row, "record_id": "record-99"} for row in rows[:14]]


def swap_kinds(result, rows):
    for row in rows:
        if row["kind"] == "out_of_scope":
            row |= {"kind": "text_locality"}


def expected_of(value: Any) -> Change:
    def how(result, rows):
        row_of(rows, kind="rephrase", protocol="generation")["expected"] = value

    return how


def a_right_answer(result, rows):
    row = row_of(rows, kind="rephrase", protocol="generation", score=0.0)
    row |= {"score": 1.0}


def half_right(result, rows):
    row_of(rows, kind="rephrase", protocol="paper")["score"] = 0.5


def another_route(result, rows):
    row_of(rows, protocol="generation")["rho"] = 0.123


def a_route_to_nowhere(result, rows):
    for row in rows[:14]:
        row["stored_edit"] = 1


def base_that_changed(result, rows):
    row_of(rows, route="base", protocol="paper")["after"] = "something"


def all_right(result, rows):
    for row in rows:
        if row["protocol"] == "paper":
            row |= {"score": 1.0, "route": "edited"}


def nothing_changed(result, rows):
    row = row_of(rows, kind="out_of_scope", protocol="paper", route="edited")
    row |= {"before": "Green", "after": "green", "score": 1.0}


def in_every_row(**changes: Any) -> Change:
    def how(result, rows):
        for row in rows:
            row |= changes

    return how


def set_manifest(path: str, value: Any) -> Change:
    def how(result, rows):
        *parents, last = path.split(".")
        inner = result["manifest"]
        for parent in parents:
            inner = inner[parent]
        inner[last] = value

    return how


HOSTILE: dict[str, tuple[Change, str]] = {
    "rows missing": (drop_one, "1 rows are missing, the first of them record 'record-0', protocol 'paper', probe 4"),
    "a row twice": (lambda result, rows: rows.append(dict(rows[3])), "row 169: record 'record-0'.* is there twice"),
    "rows of another revision": (
        lambda result, rows: rows.__setitem__(slice(0, 14), [{**row, "question": "What?"} for row in rows[:14]]),
        "row 1: record 'record-0'.* question is 'What\\?'; expected 'Which colour has card 0",
    ),
    "an unknown record": (add_a_record, "row 169: record 'record-99'.* is not in the data 'cards'"),
    "another kind": (swap_kinds, "kind is 'text_locality'; expected 'out_of_scope'"),
    "a wrong expected value": (expected_of("red"), "expected is 'red'; expected 'blue', as in the data"),
    "no expected value": (expected_of(None), "expected is None; expected 'blue', as in the data"),
    "another score": (a_right_answer, "score is 1.0; expected 0.0, as the answer is 'green' where 'blue' is right"),
    "half a score": (half_right, "score is 0.5; expected 0 or 1 for kind 'rephrase'"),
    "a score above 1": (lambda result, rows: rows[0].update(score=1.5), "row 1: score: 1.5 is greater than"),
    "another route": (another_route, "rho is 0.123; expected .*, as under protocol 'paper'"),
    "a route to nowhere": (a_route_to_nowhere, "stored_edit is 1; expected null or one of the 1 edits"),
    "a base that changed": (base_that_changed, "after is 'something' by the base model; expected 'green'"),
    "an unknown revision": (set_manifest("dataset.revision", "e" * 64), "data revision 'eeee.* is not known"),
    "a revision that climbs": (set_manifest("dataset.revision", "../../x"), "found split 'test' at revision '../../x'"),
    "a split that climbs": (set_manifest("dataset.split", "../x"), "found split '../x'"),
    "an unknown protocol": (set_manifest("protocols", ["papers"]), "unknown protocol 'papers'.*'paper'"),
    "a protocol without rows": (set_manifest("protocols", ["paper"]), "protocol 'generation'.* is not in the data"),
    "a limit": (set_manifest("dataset.limit", 12), "manifest.dataset.limit is 12.*expected the whole split"),
    "a wrong count": (set_manifest("dataset.records", 3), "manifest.dataset.records is 3; expected 12"),
    "script in a name": (set_manifest("editor.name", "<script>x</script>"), "manifest.editor.name is .* markup"),
    "a name that turns": (set_manifest("backbone.name", "tiny\u202exe"), r"manifest.backbone.name holds U\+202E"),
    "a long name": (set_manifest("backbone.name", "x" * 400), "manifest.backbone.name: 'x+.* is too long"),
    "a control in a configuration's key": (
        set_manifest("editor.config", {"a\x1b[2J": 1}),
        r"manifest.editor.config: a name holds U\+001B",
    ),
    "a long configuration": (set_manifest("editor.config", {"a": "x" * 5000}), "config.a has 5,000 characters"),
    "edits that are no whole number": (in_every_row(edits=1.0), "row 1: edits: 1.0 is not of type 'integer'"),
    "probes that are no whole number": (
        lambda result, rows: [row.update(probe=float(row["probe"])) for row in rows],
        "row 1: probe: -1.0 is not of type 'integer'",
    ),
    "a limit that is no whole number": (set_manifest("dataset.limit", 200.0), "limit: 200.0 is not of type 'integer'"),
    "a sequence that is no whole number": (set_manifest("sequence", 10.0), "sequence: 10.0 is not of type 'integer'"),
    "a format that is no whole number": (lambda result, rows: result.update(format=2.0), "format: 2.0 is not of type"),
    "a kind of its own": (lambda result, rows: rows[1].update(kind="easy"), "row 2: kind: 'easy' is not one of"),
    "many protocols": (set_manifest("protocols", [f"p{n}" for n in range(99)]), "protocols: .* is too long"),
    "every score 1": (all_right, "row 1: .* score is 1, but the answer is 'green'; expected 'blue' or a lower score"),
    "a score of 1 for a changed answer": (
        nothing_changed,
        "score is 1, but the answer is 'green'; expected 'Green'",
    ),
    "a format to come": (lambda result, rows: result.update(format=3), "result.json' .*format: 2 was expected"),
    "a field too many": (lambda result, rows: result.update(x=1), "Additional properties are not allowed"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_run_is_refused_by_name_and_nothing_is_written(what: str, mine: Path, results: Path):
    how, sentence = HOSTILE[what]
    change(mine, how)
    before = content(results)
    with pytest.raises(FGVEditError, match=sentence):
        send(mine, results)
    assert content(results) == before


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


def test_kinds_of_rows_are_those_of_the_schema_of_records():
    for version in (1, 2):
        assert schema_of(f"row.v{version}")["properties"]["kind"]["enum"] == [EDIT, *probe_kinds()]


@pytest.mark.parametrize("answer", ["Blue", " blue", "b l u e", "blue</s>", "<s> blue."])
def test_what_tokenizers_do_to_a_right_answer_is_no_fault(answer: str, honest: tuple[Path, Known]):
    folder, known = honest
    found = read_run(folder / "result.json", folder / "rows.jsonl")
    for row in found.rows:
        if row["protocol"] == "paper" and row["after"] == "blue":
            row["after"] = answer
    assert not list(faults(found, known))


def test_rows_that_are_not_the_results_are_refused(mine: Path, results: Path):
    text = (mine / "rows.jsonl").read_text().replace('"score": 1.0', '"score": 1', 1)
    (mine / "rows.jsonl").write_text(text)
    with pytest.raises(FGVEditError, match=r"manifest\.rows_sha256 is '.*', that of the rows is '"):
        send(mine, results)


def replaced(old: bytes, new: bytes, name: str = "result.json") -> Callable[[Path], object]:
    def how(folder: Path) -> None:
        text = (folder / name).read_bytes()
        assert old in text
        (folder / name).write_bytes(text.replace(old, new, 1))

    return how


def sparse(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: os.truncate(folder / name, size)


def linked(name: str) -> Callable[[Path], object]:
    def how(folder: Path) -> None:
        (folder / name).rename(folder / "elsewhere")
        (folder / name).symlink_to(folder / "elsewhere")

    return how


def folder_for_a_result(folder: Path) -> None:
    (folder / "result.json").unlink()
    (folder / "result.json").mkdir()


def pipe(folder: Path) -> None:
    (folder / "rows.jsonl").unlink()
    os.mkfifo(folder / "rows.jsonl")


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "NaN": (replaced(b'"seed": 0', b'"seed": NaN'), r"result.json' is damaged: .* the number NaN, which is not finite"),
    "infinity": (replaced(b'"seed": 0', b'"seed": -Infinity'), "the number -Infinity"),
    "a number beyond all": (replaced(b'"seconds": 96.0', b'"seconds": 1e999'), "the number 1e999, which is not finite"),
    "NaN in a row": (replaced(b'"score": 1.0', b'"score": NaN', "rows.jsonl"), r"rows.jsonl' line \d+ is damaged"),
    "a number without end": (replaced(b'"seed": 0', b'"seed": ' + b"9" * 5000), "result.json' is damaged"),
    "lines without end": (
        lambda folder: (folder / "rows.jsonl").write_bytes(b"{}\n" * 600_000),
        "rows.jsonl' has 600,000 lines; expected at most 524,288",
    ),
    "lines of nothing": (
        lambda folder: (folder / "rows.jsonl").write_bytes(b"{}\nno JSON\n"),
        "rows.jsonl': row 1: its fields: 'record_id' is a required property",
    ),
    "a list without end": (
        replaced(b'"protocols": [', b'"protocols": [' + b'1, "x", ' * 50_000),
        "result.json' is damaged: .* 100,002 items in one list or object, of which at most 1,000 are allowed",
    ),
    "a folder for a result": (
        folder_for_a_result,
        "result.json' is not a regular file",
    ),
    "a key twice": (replaced(b'"seed": 0', b'"seed": 0, "seed": 0'), "the key 'seed' twice"),
    "broken UTF-8": (replaced(b'"tiny"', b'"t\xff\xfe"'), "result.json' is damaged: expected JSON in UTF-8"),
    "broken UTF-8 in a row": (replaced(b"green", b"gr\xc3(en", "rows.jsonl"), "rows.jsonl' line 1 is damaged"),
    "half a character": (replaced(b'"tiny"', b'"t\\ud800"'), "result.json' is damaged"),
    "deep nesting": (replaced(b'"lr": 0.001', b'"lr": ' + b"[" * 90000 + b"]" * 90000), "is nested too deep"),
    "nesting": (replaced(b'"lr": 0.001', b'"lr": ' + b"[" * 30 + b"]" * 30), "is nested too deep"),
    "a JSON of 1 GB": (
        sparse("result.json", 1 << 30),
        r"result.json' has 1,073,741,824 bytes; expected at most 1,048,5",
    ),
    "rows of 1 GB": (
        sparse("rows.jsonl", 1 << 30),
        "rows.jsonl' has 1,073,741,824 bytes; expected at most 134,217,728",
    ),
    "a row without end": (
        replaced(b'"before": "green"', b'"before": "' + b"g" * 70000 + b'"', "rows.jsonl"),
        "rows.jsonl' line 1 has 7.* bytes; expected at most 65,536",
    ),
    "a link for a result": (linked("result.json"), "result.json' cannot be read: found a symbolic link"),
    "a link for rows": (linked("rows.jsonl"), "rows.jsonl' cannot be read: found a symbolic link"),
    "a pipe": (pipe, "rows.jsonl' is not a regular file"),
    "no rows": (lambda folder: (folder / "rows.jsonl").unlink(), "rows.jsonl' is not there"),
    "empty rows": (sparse("rows.jsonl", 0), "rows.jsonl' holds no row"),
    "rows cut off": (sparse("rows.jsonl", 1000), r"rows.jsonl' ends within its line \d"),
    "no JSON": (lambda folder: (folder / "result.json").write_text("{"), "result.json' is damaged"),
}


@pytest.mark.parametrize("what", FILES)
def test_a_hostile_file_is_refused_by_name_and_nothing_is_written(what: str, mine: Path, results: Path):
    how, sentence = FILES[what]
    how(mine)
    before = content(results)
    with pytest.raises(FGVEditError, match=sentence) as refused:
        send(mine, results)
    assert content(results) == before and len(str(refused.value)) < 600 and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("<script>alert(1)</script>", "the submission: name is '<script>.*markup"),
        ("< IMG src=x>", "markup"),
        ("", "name: '' should be non-empty"),
        (" spaced", "expected no space at its ends"),
        ("x" * 81, "name: 'x+.* is too long"),
        ("two\nlines", r"name holds U\+000A"),
        ("a\x1b[31mred", r"name holds U\+001B"),
        ("abc\u202edef", r"name holds U\+202E \(RIGHT-TO-LEFT OVERRIDE\)"),
        ("zero\u200bwidth", r"name holds U\+200B \(ZERO WIDTH SPACE\)"),
        ("half\ud800", r"name holds U\+D800"),
        ("\u3164", r"name holds U\+3164 \(HANGUL FILLER\)"),
        ("\u2800\u2800", r"name holds U\+2800"),
        ("tw\u034fin", r"name holds U\+034F"),
        ("twin\ufe0f", r"name holds U\+FE0F"),
        ("twin\U000e0101", r"name holds U\+E0101"),
    ],
)
def test_a_name_that_is_not_plain_text_is_refused(name: str, sentence: str, mine: Path, results: Path):
    before = content(results)
    with pytest.raises(FGVEditError, match=sentence):
        send(mine, results, name=name)
    assert content(results) == before


@pytest.mark.parametrize(
    ("description", "sentence"),
    [("a\nb", r"description holds U\+000A"), ("x" * 1001, "is too long"), ("</p>", "markup")],
)
def test_a_description_that_is_not_plain_text_is_refused(description, sentence, mine: Path, tmp_path: Path):
    new = tmp_path / "new"
    write_key(made_up_key(), tmp_path)
    with pytest.raises(FGVEditError, match=sentence):
        submit.submit(
            read_run(mine / "result.json", mine / "rows.jsonl"),
            new,
            {"name": "x", "link": LINK, "description": description},
            Known(tmp_path),
        )
    assert not new.exists()


@pytest.mark.parametrize("name", ["MSCKE", "Édition à l'œil", "编辑器 α<β", "rho < 0.5 & more", "=1+1", 'O\'Brien "x"'])
def test_other_names_are_kept_as_they_are(name: str, mine: Path, results: Path):
    send(mine, results, name=name)
    assert name in [entry.name for entry in read_results(results)[0]]


@pytest.mark.parametrize(
    ("link", "sentence"),
    [
        ("javascript:alert(1)", r"link is 'javascript:alert\(1\)'; expected an address"),
        ("JavaScript://example.org/%0aalert(1)", "by http or https"),
        ("data:text/html,x", "by http or https"),
        ("file:///etc/passwd", "by http or https"),
        ("//example.org", "by http or https"),
        ("example.org", "by http or https"),
        ("https://", "whose host is ''"),
        ("https://localhost/x", "whose host is 'localhost'"),
        ("https://user:secret@example.org", "holds a user's name or password"),
        ("https://example.org/a b", r"link holds U\+0020 \(SPACE\)"),
        ("https://example.org/\u202e", r"link holds U\+202E"),
        ("https://exаmple.org", r"link holds U\+0430 \(CYRILLIC SMALL LETTER A\)"),
        ('https://example.org/"onclick="x', r"link holds U\+0022"),
        ("https://example.org/\njavascript:x", r"link holds U\+000A"),
        ("https://example.org:99999", "which is no address"),
        ("https://[::1", "link holds U|no address"),
        ("https://example.org/" + "x" * 300, "link: 'https.* is too long"),
    ],
)
def test_a_link_that_leads_elsewhere_is_refused(link: str, sentence: str, mine: Path, results: Path):
    before = content(results)
    with pytest.raises(FGVEditError, match=sentence):
        send(mine, results, link=link)
    assert content(results) == before


# -- copies --------------------------------------------------------------------------------------------------------


def rename(result, rows):
    set_manifest("editor.name", "new")(result, rows)


def shuffle(result, rows):
    rename(result, rows)
    random.Random(0).shuffle(rows)


def one_protocol(result, rows):
    rename(result, rows)
    set_manifest("protocols", ["generation"])(result, rows)
    rows[:] = [row for row in rows if row["protocol"] == "generation"]


def other_rhos(result, rows):
    rename(result, rows)
    for row in rows:
        row["rho"] = min(1, row["rho"] + 0.001)


def punctuated(result, rows):
    rename(result, rows)
    for row in rows:
        article = "The " if row["protocol"] == "generation" else ""
        row |= {"before": row["before"] + ".", "after": f"{article}{row['after'].upper()}."}
        if row["route"] == "base":
            row["after"] = row["before"]


def minus_nothing(result, rows):
    rename(result, rows)
    for row in rows:
        row["score"] = row["score"] or -0.0


def a_breath_more(result, rows):
    rename(result, rows)
    for row in rows:
        if 0 < row["score"] < 1:
            row["score"] += 1e-12


def other_mistakes(result, rows):
    rename(result, rows)
    for row in rows:
        if row["score"] == 0 and row["route"] == "edited":
            row["after"] = "mauve"


def another_before(result, rows):
    rename(result, rows)
    row_of(rows, kind="edit", protocol="generation", route="edited")["before"] = "teal"


def another_backbone(result, rows):
    rename(result, rows)
    set_manifest("backbone.revision", "a" * 64)(result, rows)


def another_seed(result, rows):
    set_manifest("seed", 1)(result, rows)


COPIES = [rename, shuffle, one_protocol, other_rhos, punctuated, minus_nothing, a_breath_more, other_mistakes]


@pytest.mark.parametrize("how", [*COPIES, another_before, another_backbone, another_seed])
def test_a_copy_under_a_new_name_is_refused(how: Change, mine: Path, results: Path):
    send(mine, results)
    change(mine, how)
    before = content(results)
    seed = "; only its seed is another, and the editor draws nothing from it" if how is another_seed else ""
    rows = 84 if how is one_protocol else 168
    alike = rf"the same score and similarity in {rows} of {rows} rows{seed}"
    sentence = rf"is there already as 'mine-tiny-cards-dddddddd-0' \({alike}\)"
    with pytest.raises(FGVEditError, match=sentence):
        send(mine, results, name="All my own work")
    assert content(results) == before


def changed_scores(number: int) -> Change:
    def how(result, rows):
        rename(result, rows)
        parts = [row for row in rows if 0 < row["score"] < 1]
        for row in parts[:number]:
            row["score"] = 0.5

    return how


def own_similarities(result, rows):
    rename(result, rows)
    for row in rows:
        row["rho"] = row["rho"] * 0.9


def test_a_copy_with_a_few_changed_rows_is_refused_and_a_run_that_differs_in_more_is_not(tmp_path: Path):
    results = tmp_path / "results"
    folder = write_entry(results, "first", records=150, protocols=("paper",))
    mine = write_run(tmp_path / "mine", "first", records=150, protocols=("paper",))
    change(mine, changed_scores(1))
    with pytest.raises(FGVEditError, match=f"'{folder.name}' .the same score and similarity in 1,049 of 1,050 rows"):
        send(mine, results)
    change(mine, changed_scores(2))
    send(mine, results)


def test_a_router_of_ones_own_may_be_right_in_the_same_places(mine: Path, results: Path):
    send(mine, results)
    change(mine, own_similarities)
    send(mine, results)
    assert check.main([str(results)]) == 0


def test_two_backbones_may_be_right_in_the_same_places(mine: Path, results: Path):
    def of_another_backbone(result, rows):
        another_backbone(result, rows)
        said = {"green": "grey", "red": "pink", "blue": "blue"}
        for row in rows:
            row |= {"before": said[row["before"]], "after": said[row["after"]]}

    send(mine, results)
    change(mine, of_another_backbone)
    send(mine, results)
    assert check.main([str(results)]) == 0


# -- the base model ------------------------------------------------------------------------------------------------


def kept_by_decree(result, rows):
    """Whatever the edit changed was said before it, too."""
    for row in rows:
        if row["protocol"] == "generation" and row["expected"] is None:
            row |= {"before": row["after"], "score": 1.0}


def of_type(dtype: str) -> Change:
    def how(result, rows):
        set_manifest("dtype", dtype)(result, rows)
        kept_by_decree(result, rows)

    return how


def another_word(result, rows):
    row_of(rows, kind="edit", protocol="generation", route="edited")["before"] = "teal"


@pytest.mark.parametrize(("how", "most"), [(kept_by_decree, 2), (of_type("bfloat16"), 10)])
def test_the_base_model_answers_as_in_other_runs(how: Change, most: int, mine: Path, results: Path):
    change(mine, how)
    sentence = (
        r"before, the base model's answer, is another one than in 'other-tiny-cards-dddddddd-0' for 1\d of 84 probes "
        rf"under protocol 'generation'; expected at most {most}%"
    )
    with pytest.raises(FGVEditError, match=sentence):
        send(mine, results)


def test_rounding_may_change_an_answer_of_the_base_model(mine: Path, results: Path):
    change(mine, another_word)
    send(mine, results)
    assert check.main([str(results)]) == 0


def test_the_same_thing_run_again_is_refused(mine: Path, results: Path, tmp_path: Path):
    send(mine, results)
    again = write_run(tmp_path / "again", "mine", skill=0.81)  # not the same rows, but what was asked for is the same
    with pytest.raises(FGVEditError, match=r"the same editor, configuration, checkpoint, backbone, data and seed"):
        send(again, results)


# -- reproduced ----------------------------------------------------------------------------------------------------


def reproduced(folder: Path, results: Path, id: str, *options: str) -> int:
    by = ["--by", "A maintainer", "--link", LINK]
    return reproduce.main([str(folder), "--in", str(results), "--id", id, *by, *options])


def test_a_run_that_comes_out_otherwise_is_not_marked(mine: Path, results: Path, tmp_path: Path, capsys):
    send(mine, results)
    id = "mine-tiny-cards-dddddddd-0"
    other = write_run(tmp_path / "again", "mine", skill=0.7)
    before = content(results)
    assert reproduced(other, results, id) == 1
    said = capsys.readouterr().out
    ours, theirs = (json.loads((folder / "result.json").read_text())["metrics"] for folder in (mine, other))
    most = max(abs(ours[name]["value"] - theirs[name]["value"]) for name in ours)
    assert f"by {round(most, 4)} percentage points" in said and "of 168 rows agree" in said
    assert content(results) == before
    assert reproduced(other, results, id, "--tolerance", str(most + 0.01)) == 0
    assert check.main([str(results)]) == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seed": 1}, "seed is 1 in the run made again; expected 0, as in the submitted one"),
        ({"records": 6}, "data revision '0006.* is not known"),
        ({"protocols": ("paper",)}, r"protocols is \[.paper.\]"),
    ],
)
def test_another_run_reproduces_nothing(options, sentence, mine: Path, results: Path, tmp_path: Path):
    send(mine, results)
    other = write_run(tmp_path / "again", "mine", **options)
    with pytest.raises(FGVEditError, match=sentence):
        reproduced(other, results, "mine-tiny-cards-dddddddd-0")
    with pytest.raises(FGVEditError, match=r"unknown submitted run 'mina.*did you mean 'mine-"):
        reproduced(mine, results, "mina-tiny-cards-dddddddd-0")


# -- the command line ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--to", "{new}", "--eval-results", "x.yaml"], "--eval-results is given without --hub"),
        (["--hub", "a/b/c"], "--hub is 'a/b/c'; expected OWNER/NAME"),
        (
            ["--hub", "a/b", "--eval-results", "{new}/x.yaml"],
            "--eval-results is '.*/new/x.yaml'; expected a file, in a",
        ),
        (["--hub", "a/b", "--eval-results", "{mine}"], "--eval-results is '.*/mine'; expected a file"),
        (["--to", "{mine}"], "mine' holds neither 'runs' nor 'reported'"),
        (["--to", "{new}"], "data revision 'dddd.* is not known; expected that of the embedded data"),
    ],
)
def test_bad_options_are_named(options: list[str], sentence: str, mine: Path, tmp_path: Path):
    filled = [option.format(new=tmp_path / "new", mine=mine) for option in options]
    with pytest.raises(FGVEditError, match=sentence):
        submit.main([str(mine), "--name", "x", "--link", LINK, *filled])


def test_a_folder_without_a_run_is_named(tmp_path: Path):
    with pytest.raises(FGVEditError, match="is no folder; expected a finished run"):
        send(tmp_path / "missing", tmp_path)
    with pytest.raises(FGVEditError, match=r"result\.json' is not there"):
        send(tmp_path, tmp_path / "results")
