"""The leaderboard's table, from real result files and from bad ones."""

from __future__ import annotations

import copy
import io
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from dummy import Drawn, InPrompt, write_dataset

from baselines.none.editor import NoEdit
from fgvedit.backbones import open_backbone
from fgvedit.dataset import load_records
from fgvedit.errors import FGVEditError, command_line
from fgvedit.protocols import open_protocols
from fgvedit.runner import run
from leaderboard import table

EDITORS = (NoEdit, Drawn, InPrompt)


@pytest.fixture(scope="module")
def runs(random_blip2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of three editors."""
    root = tmp_path_factory.mktemp("table")
    data = load_records(str(write_dataset(root / "cards", 3)))
    backbone = open_backbone(str(random_blip2))
    for editor in EDITORS:
        run(editor(backbone, editor.Config()), data, open_protocols("paper,generation"), root / "runs" / editor.name)
    return root / "runs"


@pytest.fixture
def result(runs: Path) -> dict[str, Any]:
    return json.loads((runs / "none" / "result.json").read_text())


def made_up(result: dict[str, Any], name: str, **values: float) -> dict[str, Any]:
    """`result` with another editor's name and other `paper` metrics."""
    other = copy.deepcopy(result)
    other["manifest"]["editor"]["name"] = name
    for metric, value in values.items():
        other["metrics"][f"paper/{metric}"].update(value=value, low=0, high=100)
    return other


def write(folder: Path, result: Any) -> None:
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(result if isinstance(result, str) else json.dumps(result))


def test_the_result_files_of_runs_are_valid_and_make_a_row_each(runs: Path):
    found = table.read_table(runs)
    assert sorted(found["editor"]) == sorted(editor.name for editor in EDITORS)
    assert set(found["records"]) == {3} and set(found["backbone"]) == {"random"}
    assert {column for column in found.columns if "/" in column} == {
        f"{protocol}/{metric}" for protocol in ("paper", "generation") for metric in ("score", *table.METRICS)
    }
    for path in runs.glob("*/result.json"):
        metrics = json.loads(path.read_text())["metrics"]
        line = found[found["file"] == str(path.relative_to(runs))].iloc[0]
        assert {name: line[name] for name in metrics} == {name: metric["value"] for name, metric in metrics.items()}


def test_the_score_is_the_harmonic_mean_and_ranks(result: dict[str, Any], tmp_path: Path):
    parts = {"reliability": 90.0, "locality": 80.0, "generality": 70.0, "specificity": 60.0}
    write(tmp_path / "good", made_up(result, "good", **parts))
    write(tmp_path / "deep" / "er" / "better", made_up(result, "better", **{**parts, "specificity": 61.0}))
    write(tmp_path / "zero", made_up(result, "zero", **{**parts, "specificity": 0.0}))
    found = table.read_table(tmp_path)
    assert list(found["editor"]) == ["better", "good", "zero"]
    assert found["paper/score"][1] == pytest.approx(statistics.harmonic_mean(parts.values()), abs=1e-3)
    assert found["paper/score"][2] == 0
    assert list(table.read_table(tmp_path, "editor")["editor"]) == ["better", "good", "zero"]
    assert list(table.read_table(tmp_path, "paper/reliability")["editor"]) == ["better", "good", "zero"]


def test_a_protocol_that_was_not_run_is_an_empty_cell_and_ranks_last(result: dict[str, Any], tmp_path: Path):
    alone = made_up(result, "alone")
    alone["manifest"]["protocols"] = ["generation"]
    alone["metrics"] = {name: m for name, m in alone["metrics"].items() if name.startswith("generation")}
    write(tmp_path / "a", alone)
    write(tmp_path / "b", result)
    found = table.read_table(tmp_path)
    assert list(found["editor"]) == ["none", "alone"]
    assert pd.isna(found["paper/score"][1])
    assert found["generation/locality"][1] == 100


def test_every_format_holds_every_result(runs: Path, capsys):
    found = table.read_table(runs)
    table.main([str(runs), "--format", "csv"])
    again = pd.read_csv(io.StringIO(capsys.readouterr().out))
    pd.testing.assert_frame_equal(again, found, check_dtype=False)
    table.main([str(runs), "--format", "json"])
    lines = json.loads(capsys.readouterr().out)
    assert [line["editor"] for line in lines] == list(found["editor"])
    assert [line["paper/specificity"] for line in lines] == list(found["paper/specificity"])
    table.main([str(runs), "--format", "markdown"])
    header, rule, *body = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")] == list(found.columns)
    assert len({line.count("|") for line in (header, rule, *body)}) == 1 and len(body) == len(found)
    table.main([str(runs)])
    blocks = capsys.readouterr().out.strip().split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == ["paper", "generation"]
    for block in blocks:
        assert [line.split()[0] for line in block.splitlines()[2:]] == list(found["editor"])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"format": 1, ', "is damaged: expected JSON"),
        ("[]", "not a valid result file: the whole file"),
        ('{"format": 2}', "not a valid result file: the whole file: .* is a required property"),
    ],
)
def test_a_bad_result_file_is_named(content: str, sentence: str, tmp_path: Path):
    write(tmp_path / "bad", content)
    with pytest.raises(FGVEditError, match=rf"bad/result\.json' .*{sentence}|bad/result\.json' {sentence}"):
        table.read_table(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 3),
        ("manifest.seed", "0"),
        ("manifest.git", {"commit": "main", "dirty": False}),
        ("manifest.dataset.records", 0),
        ("metrics.paper/locality.value", 101),
        ("metrics.paper/locality.images", 0),
    ],
)
def test_the_schema_refuses_a_wrong_field_and_names_it(field: str, value: Any, result: dict[str, Any], tmp_path: Path):
    *path, last = field.split(".")
    inner = result
    for key in path:
        inner = inner[key]
    inner[last] = value
    write(tmp_path / "bad", result)
    with pytest.raises(FGVEditError, match=field.replace(".", r"\.")):
        table.read_table(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{empty}"], "there is none; expected a folder with a result.json"),
        (["{empty}/missing"], "there is no such folder"),
        (["{runs}", "--sort", "paper/scores"], "unknown column 'paper/scores'.*'paper/score'"),
        (["{runs}", "--format", "html"], "invalid choice: 'html'"),
    ],
)
def test_a_bad_command_ends_in_one_sentence(arguments, sentence, runs, tmp_path, monkeypatch, capsys):
    import re

    filled = [argument.format(empty=tmp_path, runs=runs) for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["leaderboard.table", *filled])
    with pytest.raises(SystemExit) as stop:
        command_line(table.main)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert re.search(sentence, error) and error.count("\n") == 1


def test_the_leaderboard_needs_no_torch(runs: Path):
    program = (
        "import sys; from leaderboard.table import main; main(sys.argv[1:]); "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(runs)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "in-prompt" in done.stdout
