"""Submissions: a real run from end to end, what is stored, and what the command refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dummy import InPrompt, write_dataset
from results_folder import Change, both, change, made_up_key, set_in, set_row, write_run
from submitting import LINK, content, expect_refused, send

from fgvedit.backbones import open_backbone
from fgvedit.dataset import load_records
from fgvedit.evaluation.protocols import open_protocols, protocols
from fgvedit.evaluation.protocols.generation import Generation
from fgvedit.evaluation.runs.runner import run
from fgvedit.util.errors import FGVEditError
from leaderboard import check, data, reproduce, submit, table
from leaderboard.board import read_results
from leaderboard.data import Known, write_key

ID = "mine-tiny-cards-dddddddd-0"


def test_a_run_is_submitted_checked_ranked_and_reproduced(random_blip2: Path, tmp_path: Path, capsys):
    folder, results, cards = tmp_path / "run", tmp_path / "results", write_dataset(tmp_path / "cards", 4)
    editor = InPrompt(open_backbone(str(random_blip2)), InPrompt.Config())
    run(editor, load_records(str(cards)), open_protocols("paper,generation"), folder)
    name = "编辑器 α<β: In prompt"
    send(folder, results, "--data", str(cards), description="With a prompt.", name=name)
    (entry,) = read_results(results)[0]
    revision = load_records(str(cards)).revision
    assert entry.id == entry.folder.name == f"in-prompt-random-cards-{revision[:8]}-0"
    assert (entry.name, entry.link, entry.description) == (name, LINK, "With a prompt.")
    assert (entry.status, entry.reproduced) == ("verified-rows", None)
    own = json.loads((folder / "result.json").read_text())
    assert entry.result["metrics"] == own["metrics"] and entry.result["router"] == own["router"]
    assert entry.result["manifest"]["code"] == own["manifest"]["code"]
    assert entry.result["manifest"]["dataset"]["name"] == "cards"  # where it lay is not told
    assert entry.rows() == [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert sorted(os.listdir(results)) == ["runs"]

    assert check.main([str(results)]) == 1
    assert "is not known" in capsys.readouterr().out
    assert check.main([str(results), "--data", str(cards)]) == 0
    data.main([str(cards), "--to", str(results)])
    assert check.main([str(results)]) == 0
    assert "checked 1 runs, 0 files of reported numbers, 1 answer keys: no findings" in capsys.readouterr().out
    assert table.read_table(results)["paper/specificity"][0] == own["metrics"]["paper/specificity"]["value"]

    assert reproduced(folder, results, entry.id) == 0
    (entry,) = read_results(results)[0]
    assert entry.status == "reproduced" and entry.reproduced is not None
    rows = len(entry.rows())
    agreed = {"rows": rows, "equal": rows, "metric": "", "difference": 0.0, "tolerance": 0.5}
    assert entry.reproduced["agreement"] | {"metric": ""} == agreed
    assert check.main([str(results)]) == 0


def test_nothing_of_a_submission_is_run(mine: Path, results: Path, tmp_path: Path):
    (tmp_path / "evil.py").write_text("raise SystemExit('run')")
    configuration = {"a": "!!python/object/apply:os.system [x]"}
    change(mine, both(set_in("manifest.editor.class", "evil:Editor"), set_in("manifest.editor.config", configuration)))
    program = (
        "import sys; from leaderboard import check, submit; submit.main(sys.argv[2:]); "
        "assert check.main([sys.argv[1]]) == 0; assert not {'torch', 'transformers', 'evil'} & set(sys.modules)"
    )
    arguments = [results, mine, "--to", results, "--name", "x", "--link", LINK]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def called(name: str) -> Change:
    return both(
        set_in("manifest.seed", 2**64 - 1), set_in("manifest.editor.name", name), set_in("manifest.backbone.name", name)
    )


@pytest.mark.parametrize(
    ("sequence", "how", "id"),
    [
        (3, set_in("manifest.dataset.limit", 12), f"{ID}-seq-3"),
        (12, called("x" * 300), f"{'x' * 30}-{'x' * 24}-cards-dddddddd-{2**64 - 1}-seq-12"),
        (12, called("编辑器"), f"cards-dddddddd-{2**64 - 1}-seq-12"),
        # the base model answered one probe otherwise than in another's run, as rounding may have it
        (None, set_row({"kind": "edit", "protocol": "generation", "route": "edited"}, before="teal"), ID),
    ],
)
def test_an_honest_run_is_taken(sequence: int | None, how: Change, id: str, results: Path, tmp_path: Path):
    send(change(write_run(tmp_path / "mine", "mine", sequence=sequence), how), results)
    assert check.main([str(results)]) == 0 and (results / "runs" / id).is_dir()


def test_the_first_run_is_taken_into_a_folder_that_holds_its_answer_key_alone(mine: Path, tmp_path: Path):
    write_key(made_up_key(), tmp_path / "new")
    send(mine, tmp_path / "new")
    assert check.main([str(tmp_path / "new")]) == 0 and os.listdir(tmp_path / "new" / "runs") == [ID]


def test_ids_are_made_unique(results: Path, tmp_path: Path):
    for number, editor in enumerate(("Mine!", "mine", "../mine")):
        send(write_run(tmp_path / str(number), editor, skill=0.7 + number / 10), results)
    assert sorted(os.listdir(results / "runs"))[:3] == [ID, f"{ID}-2", f"{ID}-3"]


def test_an_interrupted_write_leaves_nothing(mine: Path, results: Path, monkeypatch):
    def full(text: bytes) -> bytes:
        raise OSError(28, "No space left on device")

    before = content(results)
    monkeypatch.setattr(submit, "pack", full)
    with pytest.raises(OSError, match="No space"):
        send(mine, results)
    assert content(results) == before and sorted(os.listdir(results)) == ["data", "runs"]


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        ({"name": "<script>alert(1)</script>"}, "the submission: name is '<script>.*markup"),
        ({"name": ""}, "name: '' should be non-empty"),
        ({"name": "x" * 81}, "name: 'x+.* is too long"),
        ({"link": "javascript:alert(1)"}, r"link is 'javascript:alert\(1\)'; expected an address"),
        ({"link": "https://example.org/" + "x" * 300}, "link: 'https.* is too long"),
        ({"description": "a\nb"}, r"description holds U\+000A"),
        ({"description": "x" * 1001}, "is too long"),
    ],
)
def test_what_is_said_of_a_run_is_plain_text(about: dict[str, str], sentence: str, mine: Path, shared_results: Path):
    expect_refused(mine, shared_results, sentence, **about)


# -- protocols of others -------------------------------------------------------------------------------------------


class Lenient(Generation):
    """A protocol of somebody else, which can hold no score to its row."""

    name = "lenient"
    meaning = "whatever"
    checked = False

    def fault(self, row: Any) -> None:
        return None


@pytest.mark.parametrize("checked", [True, False])
def test_a_protocol_of_others_has_its_own_name_and_status(checked: bool, results: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Lenient, "checked", checked)
    monkeypatch.setitem(protocols(), "lenient", Lenient())
    status, other = ("verified-rows", "unchecked-scores")[:: 1 if checked else -1]
    send(write_run(tmp_path / "mine", "mine", protocols=("paper", "lenient")), results)
    found = table.read_table(results).set_index("editor")
    assert found["status"].to_dict() == {"mine": status, "other": "verified-rows"}
    assert found["lenient/rank"]["mine"] == 1 and found["lenient/score"].isna()["other"]
    assert check.main([str(results)]) == 0

    path = results / "runs" / ID / "submission.json"
    path.write_text(path.read_text().replace(status, other))
    (where, sentence), *rest = check.check(results, Known(results))
    assert not rest and where == f"runs/{ID}"
    assert sentence == f"its status is '{other}'; expected '{status}', as of a new run under its protocols"


# -- reproduced ----------------------------------------------------------------------------------------------------


def reproduced(folder: Path, results: Path, id: str, *options: str) -> int:
    by = ["--by", "A maintainer", "--link", LINK]
    return reproduce.main([str(folder), "--in", str(results), "--id", id, *by, *options])


def test_a_run_that_comes_out_otherwise_is_not_marked(mine: Path, results: Path, tmp_path: Path, capsys):
    send(mine, results)
    other = write_run(tmp_path / "again", "mine", skill=0.7)
    before = content(results)
    assert reproduced(other, results, ID) == 1
    said = capsys.readouterr().out
    ours, theirs = (json.loads((folder / "result.json").read_text())["metrics"] for folder in (mine, other))
    most = max(abs(ours[name]["value"] - theirs[name]["value"]) for name in ours)
    assert f"by {round(most, 4)} percentage points" in said and "of 168 rows agree" in said
    assert content(results) == before
    assert reproduced(other, results, ID, "--tolerance", str(most + 0.01)) == 0
    assert check.main([str(results)]) == 0


def test_another_run_reproduces_nothing(mine: Path, results: Path, tmp_path: Path):
    send(mine, results)
    others: dict[str, dict[str, Any]] = {
        "seed is 1 in the run made again; expected 0, as in the submitted one": {"seed": 1},
        "data revision '0006.* is not known": {"records": 6},
        r"protocols is \[.paper.\]": {"protocols": ("paper",)},
    }
    for number, (sentence, options) in enumerate(others.items()):
        other = write_run(tmp_path / str(number), "mine", **options)
        with pytest.raises(FGVEditError, match=sentence):
            reproduced(other, results, ID)
    with pytest.raises(FGVEditError, match=r"unknown submitted run 'mina.*did you mean 'mine-"):
        reproduced(mine, results, ID.replace("mine", "mina"))


# -- the command line ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "options", "sentence"),
    [
        ("mine", ["--to", "{0}/new", "--eval-results", "x.yaml"], "--eval-results is given without --hub"),
        ("mine", ["--hub", "a/b/c"], "--hub is 'a/b/c'; expected OWNER/NAME"),
        (
            "mine",
            ["--hub", "a/b", "--eval-results", "{0}/new/x.yaml"],
            "--eval-results is '.*/new/x.yaml'; expected a file, in",
        ),
        ("mine", ["--hub", "a/b", "--eval-results", "{0}/mine"], "--eval-results is '.*/mine'; expected a file"),
        ("mine", ["--to", "{0}/mine"], "mine' holds neither 'runs' nor 'reported'"),
        ("mine", ["--to", "{0}/new"], "data revision 'dddd.* is not known; expected that of the embedded data"),
        ("missing", ["--to", "{0}/new"], "is no folder; expected a finished run"),
    ],
)
def test_bad_options_are_named(folder: str, options: list[str], sentence: str, mine: Path, tmp_path: Path):
    filled = [option.format(tmp_path) for option in options]
    with pytest.raises(FGVEditError, match=sentence):
        submit.main([str(tmp_path / folder), "--name", "x", "--link", LINK, *filled])
