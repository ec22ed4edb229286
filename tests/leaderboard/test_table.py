"""The leaderboard's table, from real result files and from bad ones."""

from __future__ import annotations

import copy
import io
import json
import statistics
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from board_samples import make_result, make_rows, write_entry, write_reported, write_results, write_run
from dummy import Drawn, InPrompt, write_dataset

from baselines.none.editor import NoEdit
from fgvedit.backbones import open_backbone
from fgvedit.dataset import load_records
from fgvedit.editors.supervision import SUPERVISION
from fgvedit.evaluation.protocols import open_protocols
from fgvedit.evaluation.runs.runner import run
from fgvedit.evaluation.summary import NOT_COMPARED, OLDER
from fgvedit.probes import kinds, shown_metrics
from fgvedit.probes import metrics as all_metrics
from fgvedit.util.errors import FGVEditError, command_line
from leaderboard import table
from leaderboard.ranking import SCORE, SCORED, ranked_by
from leaderboard.table_text import escaped

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
    current = [name for name, metric in shown_metrics().items() if not metric.retired]
    assert [column for column in found.columns if "/" in column] == [
        f"{protocol}/{column}"
        for protocol in ("paper", "generation")
        for column in (
            "rank",
            *(f"{metric}{end}" for metric in ("score", *current) for end in ("", ".low", ".high")),
        )
    ]
    assert set(found["status"]) == {"local"} and set(found["edits"]) == {1}
    for path in runs.glob("*/result.json"):
        metrics = json.loads(path.read_text())["metrics"]
        line = found[found["file"] == str(path.relative_to(runs))].iloc[0]
        for name, metric in metrics.items():
            assert (line[name], line[f"{name}.low"], line[f"{name}.high"]) == tuple(
                metric[key] for key in ("value", "low", "high")
            )


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


def test_a_run_of_an_editor_that_was_renamed_has_its_name_of_today(result: dict[str, Any], tmp_path: Path):
    for folder, of in (("old", "baselines.serac.editor:SERAC"), ("new", "baselines.serac.editor:MixedSERAC")):
        made = made_up(result, "serac")
        made["manifest"]["editor"]["class"] = of
        write(tmp_path / folder, made)
    found = table.read_table(tmp_path, "file")
    assert list(found["editor"]) == ["serac", "serac-switch"]


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


def test_every_format_holds_every_result(runs: Path, tmp_path: Path, capsys):
    found = table.read_table(runs)
    table.main([str(runs), "--format", "csv"])
    again = pd.read_csv(io.StringIO(capsys.readouterr().out))
    pd.testing.assert_frame_equal(again, found, check_dtype=False)
    table.main([str(runs), "--format", "parquet", "--out", str(tmp_path / "table.parquet")])
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), found)
    table.main([str(runs), "--format", "json"])
    lines = json.loads(capsys.readouterr().out)
    assert [line["editor"] for line in lines] == list(found["editor"])
    assert [line["paper/specificity"] for line in lines] == list(found["paper/specificity"])
    table.main([str(runs), "--format", "markdown"])
    blocks = capsys.readouterr().out.strip().split("\n\n")[:-4]
    for title, block in zip(blocks[::2], blocks[1::2], strict=True):
        assert title.strip("*").split(":")[0] in ("paper", "generation")
        header, rule, *body = block.splitlines()
        assert header.startswith("| rank | editor | supervision | score | reliability |")
        assert len({line.count("|") for line in (header, rule, *body)}) == 1 and len(body) == len(found)
    table.main([str(runs)])
    *blocks, _, _ = capsys.readouterr().out.strip().split("\n\n")
    assert [block.split(":")[0] for block in blocks] == ["paper", "generation"]
    for block in blocks:
        title, _, *body = block.splitlines()
        assert title.endswith("on random") and "3 records of" in title
        assert [line.split()[1] for line in body] == list(found["editor"])


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
        ("format", 4),
        ("manifest.seed", "0"),
        ("manifest.git", {"commit": "main", "dirty": False}),
        ("manifest.dataset.records", 0),
        ("metrics.paper/locality.value", 101),
        ("metrics.paper/locality.groups", 0),
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
        (["{runs}", "--format", "parquet"], "expected --out FILE"),
        (["{runs}", "--rank-by", "specifity"], "unknown metric to rank by 'specifity'.*'specificity'"),
        (["{runs}", "--editor", "nono"], "unknown editor in these results 'nono'.*did you mean 'none'"),
        (["{runs}", "--backbone", "randm"], "unknown backbone in these results 'randm'.*'random'"),
        (["{runs}", "--dataset", "cats"], "unknown data set in these results 'cats': expected one of .*cards"),
        (["{runs}", "--protocol", "papers"], "unknown protocol in these results 'papers'.*'paper'"),
        (["{runs}", "--track", "sequence"], "no run is left"),
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


# -- ranks, tracks and statuses ----------------------------------------------------------------------------------------


def test_a_results_folder_holds_submitted_runs_and_reported_numbers(board: Path):
    found = table.read_table(board)
    about = {(line.editor, line.status, line.edits, line.file) for line in found.itertuples()}
    assert about == {
        ("good", "reproduced", 1, "runs/good-tiny-cards/result.json"),
        ("twin", "verified-rows", 1, "runs/twin-tiny-cards/result.json"),
        ("poor", "verified-rows", 1, "runs/poor-tiny-cards/result.json"),
        ("none", "verified-rows", 1, "runs/none-tiny-cards/result.json"),
        ("good", "verified-rows", 4, "runs/good-tiny-cards-seq-4/result.json"),
        ("poor", "verified-rows", 4, "runs/poor-tiny-cards-seq-4/result.json"),
        ("claimed", "reported", 1, "reported/a-paper.json"),
    }
    reported = found[found["status"] == "reported"].iloc[0]
    assert list(found["status"])[-1] == "reported"
    assert reported["paper/score"] == pytest.approx(statistics.harmonic_mean([100, 99, 98, 97]), abs=1e-3)
    assert pd.isna(reported["paper/rank"]) and pd.isna(reported["paper/score.low"])


def test_ranks_are_shared_by_runs_that_cannot_be_told_apart(board: Path):
    ranks = table.read_table(board, track="single").set_index("editor")["paper/rank"].to_dict()
    assert {name: ranks[name] for name in ("good", "twin", "poor", "none")} == {
        "good": 1, "twin": 1, "poor": 3, "none": 4
    }  # fmt: skip
    by_locality = table.read_table(board, track="single", rank_by="locality").set_index("editor")["paper/rank"]
    assert by_locality["poor"] == 4 and by_locality["none"] == 1
    rows = table.read_table(board, track="sequence")
    assert list(rows["paper/rank"]) == list(rows["paper/rank@end"]) == [1, 2]


def test_what_is_not_ranked_together_stands_apart_and_does_not_read_alike(tmp_path: Path, capsys):
    backbones: list[dict[str, Any]] = [{}, {}, {"revision": "e" * 64}, {"input_mode": "paper"}]
    for number, backbone in enumerate(backbones):
        rows = make_rows(0.9 - number / 10, seed=number, protocols=("paper",))
        result = make_result(f"editor-{number}", rows, backbone=backbone)
        write_run(tmp_path / str(number), result, rows)
    table.main([str(tmp_path)])
    blocks = [block.splitlines() for block in capsys.readouterr().out.split("\n\n")[:-1]]
    assert {title: [line.split()[1] for line in lines] for title, _, *lines in blocks} == {
        "paper: 12 records of cards/test@abababab on tiny (cccccccc, native input)": ["editor-0", "editor-1"],
        "paper: 12 records of cards/test@abababab on tiny (cccccccc, paper input)": ["editor-3"],
        "paper: 12 records of cards/test@abababab on tiny (eeeeeeee, native input)": ["editor-2"],
    }
    assert [lines[0].split()[0] for _, _, *lines in blocks] == ["1", "1", "1"]
    found = table.read_table(tmp_path).set_index("editor")
    assert found["weights"]["editor-2"] == f"tiny@{'e' * 64}" and found["input_mode"]["editor-3"] == "paper"


def test_the_limit_of_a_row_of_edits_makes_no_group_of_its_own(tmp_path: Path):
    for number, limit in enumerate((None, 999)):
        rows = make_rows(0.9 - number / 2, sequence=4, seed=number)
        write_run(tmp_path / str(number), make_result(f"e{number}", rows, dataset={"limit": limit}), rows)
    assert list(table.read_table(tmp_path)["paper/rank"]) == [1, 2]


def test_what_is_to_be_known_of_a_papers_numbers_is_shown(tmp_path: Path, capsys):
    write_results(tmp_path)
    write_reported(tmp_path, note="By | its authors.")
    table.main([str(tmp_path), "--protocol", "paper"])
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("By | its authors.")
    assert lines[at - 1].endswith("reported/a-paper.json") and lines[at + 1] == NOT_COMPARED
    table.main([str(tmp_path), "--format", "markdown"])
    assert f"\n\nBy \\| its authors.\n\n{escaped(NOT_COMPARED)}\n" in capsys.readouterr().out
    table.main([str(tmp_path), "--format", "csv"])
    notes = pd.read_csv(io.StringIO(capsys.readouterr().out)).set_index("editor")[["note", "not_compared"]]
    assert notes.loc["claimed"].to_list() == ["By | its authors.", NOT_COMPARED]
    assert notes.drop("claimed").isna().all(axis=None)


def test_what_an_editor_learned_from_stands_beside_it_where_its_run_says_it(tmp_path: Path, capsys):
    said = {"mine": "all kinds", "serac": "paper's kinds", "before": None}
    for seed, (name, word) in enumerate(said.items()):
        rows = make_rows(0.9, seed=seed, protocols=("paper",))
        write_run(tmp_path / name, make_result(name, rows, editor={"supervision": word} if word else {}), rows)
    found = table.read_table(tmp_path).set_index("editor")
    assert found["supervision"].to_dict() == {name: word or "" for name, word in said.items()}
    for options in ([], ["--track", "cost"]):
        table.main([str(tmp_path), "--format", "markdown", *options])
        text = capsys.readouterr().out
        lines = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("|")]
        shown = {cell: word for line in lines for cell, word in pairwise(line) if cell in said}
        assert shown == {name: word or "" for name, word in said.items()}
        legend = text.partition("**what editors learned from beforehand**")[2]
        assert all(f"| {word} | {escaped(meaning)} |" in legend for word, meaning in SUPERVISION.items())


def test_a_run_without_its_rows_has_no_rank(board: Path, tmp_path: Path):
    for name, seed in (("one", 1), ("two", 2)):
        rows = make_rows(0.9, seed=seed)
        write_run(tmp_path / name, make_result(name, rows), rows if name == "one" else None)
    found = table.read_table(tmp_path).set_index("editor")
    assert found["paper/rank"]["one"] == 1 and pd.isna(found["paper/rank"]["two"])
    assert not pd.isna(found["paper/score"]["two"]) and pd.isna(found["paper/score.low"]["two"])


@pytest.mark.parametrize(
    ("options", "editors"),
    [
        ({"status": "reproduced"}, ["good"]),
        ({"status": "reported"}, ["claimed"]),
        ({"backbone": "large"}, ["claimed"]),
        ({"editor": "poor"}, ["poor", "poor"]),
        ({"dataset": "photos/test"}, ["claimed"]),
        ({"dataset": "cards", "track": "sequence"}, ["good", "poor"]),
        ({"protocol": "generation", "track": "single"}, ["good", "none", "poor", "twin"]),
        ({"track": "cost"}, ["good", "good", "none", "poor", "poor", "twin"]),
    ],
)
def test_filters(board: Path, options: dict[str, str], editors: list[str]):
    found = table.read_table(board, **options)
    assert sorted(found["editor"]) == editors
    if "protocol" in options:
        assert {column.partition("/")[0] for column in found.columns if "/" in column} == {options["protocol"]}


def test_the_cost_track(board: Path, capsys):
    found = table.read_table(board, track="cost", sort="seconds_per_edit")
    assert list(found.columns) == [*table.ABOUT, *table.COST]
    good = found[(found["editor"] == "good") & (found["edits"] == 1)].iloc[0]
    assert good["seconds_per_edit"] == pytest.approx(5 / 12, abs=1e-4) and good["trained_parameters"] == 4000
    assert list(found["seconds_per_edit"]) == sorted(found["seconds_per_edit"])
    assert set(found["hardware"]) == {"A CPU, 2 threads"}
    table.main([str(board), "--track", "cost"])
    header, *lines = capsys.readouterr().out.splitlines()[1:]
    assert header.split()[5:] == list(table.COST) and len(lines) == 6
    assert "1,073,741,824" in lines[0] and "A CPU, 2 threads" in lines[0]


def test_tracks_as_text(board: Path, capsys):
    table.main([str(board), "--protocol", "paper"])
    titles = [block.splitlines()[0] for block in capsys.readouterr().out.split("\n\n")[:-1]]
    cards = "12 records of cards/test@abababab on tiny"
    assert titles == [
        f"paper: {cards}",
        f"paper: {cards}, right after each of 4 sequential edits",
        "paper: photos/test on large, as reported, not ranked",
        f"paper: {cards}, after all 4 sequential edits",
    ]


# -- what is said beside scores ----------------------------------------------------------------------------------------

REPLACED = list(OLDER)  # revisions of data that were embedded once
OLD = "an older revision of the data"
BEYOND = "in_scope + retention - 100"


def write_control(results: Path, seed: int = 7, **of: Any) -> None:
    """A run of no edit at all, which is right where nothing may change and nowhere else."""
    rows = make_rows({name: 0.0 for name, kind in kinds().items() if kind.changes}, seed=seed)
    result = make_result("none", rows, editor={"class": f"{NoEdit.__module__}:{NoEdit.__qualname__}"}, **of)
    write_entry(results, f"control-{seed}", result, rows)


def text_blocks(printed: str) -> dict[str, list[str]]:
    """Title -> lines below it."""
    return {title: lines for title, *lines in (block.splitlines() for block in printed.strip().split("\n\n"))}


def test_the_control_stands_last_without_a_rank_and_out_of_the_ranks_of_others(tmp_path: Path, capsys):
    for name, right in (("good", 0.9), ("bad", {"out_of_scope": 0.2, "edit": 0.2, "text_locality": 0.1})):
        rows = make_rows(right, seed=len(name))
        write_entry(tmp_path, name, make_result(name, rows), rows)
    write_control(tmp_path)
    for metric in (SCORE, "retention"):  # in which it is below and above the others
        found = table.read_table(tmp_path, rank_by=metric)
        assert list(found["editor"]) == ["good", "bad", "none"] and list(found["control"]) == [False, False, True]
        assert list(found["paper/rank"][:2]) == [1, 2] and pd.isna(found["paper/rank"][2])
    table.main([str(tmp_path)])
    for title, (_, *lines) in text_blocks(capsys.readouterr().out).items():
        if "cards" in title:
            assert [line.split()[:2] for line in lines] == [["1", "good"], ["2", "bad"], ["control", "none"]]
    table.main([str(tmp_path), "--format", "markdown"])
    assert capsys.readouterr().out.count("\n| control | none |") == 2
    table.main([str(tmp_path), "--format", "json"])
    *_, control = json.loads(capsys.readouterr().out)
    assert (control["editor"], control["control"], control["generation/rank"]) == ("none", True, None)


def test_each_block_is_in_the_order_of_its_own_ranks_unless_a_column_was_asked_for(tmp_path: Path, capsys):
    right = {"a": (0.5, 0.9), "b": (0.9, 0.1), "c": (0.1, 0.5)}  # under paper, under generation
    for name, chances in right.items():
        of = zip(chances, ("paper", "generation"), strict=True)
        rows = [row for chance, protocol in of for row in make_rows(chance, seed=3, protocols=(protocol,))]
        write_run(tmp_path / name, make_result(name, rows), rows)

    def editors(*options: str) -> list[str]:
        table.main([str(tmp_path), "--rank-by", "in_scope", *options])
        *blocks, _ = text_blocks(capsys.readouterr().out).values()
        assert options or all([line.split()[0] for line in lines[1:]] == ["1", "2", "3"] for lines in blocks)
        return ["".join(line.split()[1] for line in lines[1:]) for lines in blocks]

    assert editors() == ["bac", "acb"]
    assert editors("--sort", "editor") == ["abc", "abc"]


def test_beside_specificity_stands_what_is_above_doing_nothing(board: Path, tmp_path: Path, capsys):
    found = table.read_table(board, track="sequence")
    found = pd.concat([found, table.read_table(board, track="single", status="verified-rows")])
    for name in (f"{protocol}/{{}}{at}" for protocol in ("paper", "generation") for at in ("", "@end")):
        both = found[name.format("in_scope")] + found[name.format("retention")]
        assert found[name.format(BEYOND)].to_list() == pytest.approx((both - 100).to_list(), abs=2e-4, nan_ok=True)
        for end in (".low", ".high"):
            of = 2 * found[name.format("specificity") + end] - 100
            assert found[name.format(BEYOND) + end].to_list() == pytest.approx(of.to_list(), abs=2e-4, nan_ok=True)
    write_control(tmp_path)
    write_reported(tmp_path)
    found = table.read_table(tmp_path).set_index("editor")
    assert found[f"paper/{BEYOND}"]["none"] == 0 and pd.isna(found[f"paper/{BEYOND}"]["claimed"])
    assert BEYOND not in ranked_by()
    table.main([str(tmp_path), "--protocol", "paper"])
    ours, paper, _ = text_blocks(capsys.readouterr().out).values()
    assert f"  specificity  {BEYOND}  in_scope  " in ours[0] and BEYOND not in paper[0]


def test_what_each_metric_means_stands_below_and_whether_it_needs_eyes(board: Path, tmp_path: Path, capsys):
    table.main([str(board)])
    _, *lines = text_blocks(capsys.readouterr().out)["what the metrics mean"]
    assert [line[: len(BEYOND)].rstrip() for line in lines] == [SCORE, *shown_metrics()]
    for line, metric in zip(lines[1:], shown_metrics().values(), strict=True):
        assert line.endswith(f"  {metric.meaning}")
        assert ("needs eyes" in line, "retired" in line) == (metric.needs_eyes, metric.retired)
    few = [row for row in make_rows(0.9) if row["kind"] in ("edit", "no_image")]
    result = make_result("few", few)
    result["metrics"]["paper/theirs"] = result["metrics"]["paper/reliability"]
    write_run(tmp_path / "few", result, few)
    table.main([str(tmp_path), "--format", "markdown"])
    said = capsys.readouterr().out.partition("**what the metrics mean**")[2]
    assert [line.split(" | ")[0][2:] for line in said.splitlines()[4:]] == ["reliability", "no\\_image", "theirs"]


def test_an_older_revision_of_the_embedded_data_stands_apart_and_below(tmp_path: Path, capsys):
    embedded = {"name": "scenes", "revision": load_records("scenes").revision}
    for name, right, data in (
        ("older", 1.0, {"name": "scenes", "revision": REPLACED[0]}),
        ("older-2", 0.1, {"name": "a-folder", "revision": REPLACED[1]}),
        ("another", 0.1, {"name": "scenes", "revision": "00" * 32}),
        ("newer", 0.9, embedded),
        ("newer-2", 0.1, embedded),
        ("others", 0.5, {}),
    ):
        rows = make_rows(right, protocols=("paper",))
        write_run(tmp_path / name, make_result(name, rows, dataset=data), rows)
    found = table.read_table(tmp_path).set_index("editor")
    assert found["older_data"].to_dict() == {name: name.startswith("older") for name in found.index}
    assert found["paper/rank"].to_dict() == {
        "others": 1, "newer": 1, "newer-2": 2, "another": 1, "older-2": 1, "older": 1
    }  # fmt: skip
    table.main([str(tmp_path)])
    *blocks, _ = text_blocks(capsys.readouterr().out).items()
    known = OLDER[REPLACED[0]].known
    shown = {title: [line if line == known else line.split()[1] for line in lines] for title, (_, *lines) in blocks}
    assert shown == {
        "paper: 12 records of cards/test@abababab on tiny": ["others"],
        f"paper: 12 records of scenes/test@{embedded['revision'][:8]} on tiny": ["newer", "newer-2"],
        "paper: 12 records of scenes/test@00000000 on tiny": ["another"],
        f"paper: 12 records of a-folder/test@{REPLACED[1][:8]} on tiny, an older revision of the data": [
            "older-2", known
        ],
        f"paper: 12 records of scenes/test@{REPLACED[0][:8]} on tiny, an older revision of the data": ["older", known],
    }  # fmt: skip
    assert [OLD in title for title in shown] == [False] * 3 + [True] * 2
    assert found["note"].dropna().to_dict() == {"older": known, "older-2": known}


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Runs and controls on older data and on others, and a paper's numbers."""
    older = {"name": "scenes", "revision": REPLACED[0]}
    for name, right, data in (("a-old", 1.0, older), ("b-old", 0.5, older), ("a", 0.6, {}), ("b", 0.9, {})):
        rows = make_rows(right, seed=len(name))
        write_entry(tmp_path, name, make_result(name, rows, dataset=data), rows)
    write_control(tmp_path)
    write_control(tmp_path, 8, dataset=older)
    write_reported(tmp_path, protocol="paper")
    return tmp_path


@pytest.mark.parametrize(
    ("sort", "best"),
    [("paper/reliability", "ba"), ("paper/retention", "ba"), ("editor", "ab"), ("file", "ab"), ("control", "ab")],
)
def test_a_sorted_table_keeps_apart_what_is_not_to_be_mixed(mixed: Path, sort: str, best: str, capsys):
    older = "ab"  # the better of the older runs is the first by name, too
    found = table.read_table(mixed, sort)
    expected = [*best, "none", *(f"{name}-old" for name in older), "none", "claimed"]
    assert list(found["editor"]) == expected
    table.main([str(mixed), "--sort", sort, "--protocol", "paper"])
    *blocks, _ = text_blocks(capsys.readouterr().out).values()
    shown = [[line.split()[1] for line in lines[1:] if line.endswith("result.json")] for lines in blocks]
    assert shown[:2] == [[*best, "none"], ["a-old", "b-old", "none"]]


def test_costs_of_older_data_stand_apart_and_the_control_is_marked(mixed: Path, capsys):
    table.main([str(mixed), "--track", "cost", "--sort", "seconds_per_edit"])
    found = text_blocks(capsys.readouterr().out)
    assert {title: [line.split("  ")[0] for line in lines] for title, (_, *lines) in found.items()} == {
        "cost: cards/test@abababab": ["a", "b", "none (control)"],
        f"cost: scenes/test@{REPLACED[0][:8]}, an older revision of the data": ["a-old", "b-old", "none (control)"],
    }


def test_the_score_is_of_the_hard_probes_alone(tmp_path: Path):
    """Whatever an editor does with probes of other kinds than the paper's metrics have."""
    counted = {kind for metric in SCORED for kind in all_metrics()[metric].kinds}
    assert counted == {"edit", "rephrase", "text_locality", "in_scope", "out_of_scope"}
    assert ranked_by()[:5] == (SCORE, *SCORED)
    for name, others in (("all", 1.0), ("nothing", 0.0)):
        chances = {kind: 0.8 if kind in counted else others for kind in kinds()}
        rows = make_rows(chances, seed=1)
        write_run(tmp_path / name, make_result(name, rows), rows)
    found = table.read_table(tmp_path).set_index("editor")
    for metric in all_metrics():
        same = not {*all_metrics()[metric].kinds} - counted
        for protocol in ("paper", "generation"):
            values = found[f"{protocol}/{metric}"]
            assert (values["all"] == values["nothing"]) == same, metric
            assert same or values["all"] == 100
    assert found["paper/score"]["all"] == found["paper/score"]["nothing"]
    assert list(found["paper/rank"]) == list(found["generation/rank"]) == [1, 1]


# -- what somebody typed -----------------------------------------------------------------------------------------------


def test_hostile_names_are_only_text(tmp_path: Path, capsys):
    names = [
        '=HYPERLINK("http://x")',
        "see WWW.evil.example",
        "\x1b[31mred\x1b[0m",
        "a|b<script>",
        "-1",
        "+cmd",
        "@x",
        "a\u202eb",
    ]
    rows = make_rows(1.0, 2)
    for number, name in enumerate(names):
        write_run(tmp_path / str(number), make_result(name, rows), rows)
    table.main([str(tmp_path), "--format", "csv"])
    cells = pd.read_csv(io.StringIO(capsys.readouterr().out), dtype=str)["editor"].tolist()
    quoted = {'=HYPERLINK("http://x")', "+cmd", "@x"}
    assert sorted(cells) == sorted(f"'{name}" if name in quoted else name for name in names)
    table.main([str(tmp_path)])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\u202e" not in shown and "\ufffd[31mred" in shown
    table.main([str(tmp_path), "--format", "markdown"])
    shown = capsys.readouterr().out
    assert "www." not in shown.lower() and "see WWW&#46;evil.example" in shown
    assert "<script" not in shown and "a\\|b&lt;script&gt;" in shown and "\x1b" not in shown
    table.main([str(tmp_path), "--format", "json"])
    assert sorted(line["editor"] for line in json.loads(capsys.readouterr().out)) == sorted(names)


def test_a_file_is_written_whole(board: Path, tmp_path: Path, capsys):
    table.main([str(board), "--format", "csv", "--out", str(tmp_path / "table.csv")])
    assert capsys.readouterr().out == ""
    assert len(pd.read_csv(tmp_path / "table.csv")) == 7
    assert list(tmp_path.iterdir()) == [tmp_path / "table.csv"]


def test_another_papers_numbers_and_a_bad_submission(tmp_path: Path):
    write_reported(tmp_path)
    assert list(table.read_table(tmp_path)["editor"]) == ["claimed"]
    rows = make_rows(1.0, 2)
    write_entry(tmp_path, "a-run", make_result("a", rows), rows, link="javascript:alert(1)")
    with pytest.raises(FGVEditError, match=r"submission\.json'.*link"):
        table.read_table(tmp_path)
