"""Runs: their rows, stopping and going on, several processes, and refusals."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dummy import Drawn, InPrompt, write_dataset

from baselines.none.editor import NoEdit
from fgvedit.backbones import open_backbone
from fgvedit.backbones.base import Backbone
from fgvedit.cli import run as command
from fgvedit.dataset import Loaded, load_records
from fgvedit.editors.contract import Editor
from fgvedit.editors.registry import editor_class
from fgvedit.evaluation.metrics import metrics_from_rows
from fgvedit.evaluation.protocols import open_protocols
from fgvedit.evaluation.protocols import protocols as all_protocols
from fgvedit.evaluation.runs.plan import CHUNK
from fgvedit.evaluation.runs.runner import merge, run
from fgvedit.probes import changes, kind_of, probe_kinds
from fgvedit.util.errors import FGVEditError, command_line

RECORDS = CHUNK + 3  # two chunks, the last one not full
TESTS = Path(__file__).parents[1] / "support"
DRAWN = f"{TESTS / 'dummy.py'}:Drawn"
BOTH = open_protocols("paper,generation")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "cards", RECORDS)


@pytest.fixture
def data(folder: Path) -> Loaded:
    return load_records(str(folder))


@pytest.fixture
def drawn(backbone: Backbone) -> Editor:
    return Drawn(backbone, Drawn.Config())


def rows_in(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]


def without_cost(result: dict[str, Any]) -> dict[str, Any]:
    manifest = {key: value for key, value in result["manifest"].items() if key not in ("cost", "git", "hardware")}
    return {**result, "manifest": manifest}


@pytest.fixture(scope="module")
def unbroken_folder(random_blip2: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    out = tmp_path_factory.mktemp("runs") / "unbroken"
    run(Drawn(open_backbone(str(random_blip2)), Drawn.Config()), load_records(str(folder)), BOTH, out)
    return out


@pytest.fixture
def unbroken(unbroken_folder: Path) -> tuple[str, dict[str, Any]]:
    """Its rows file and its result."""
    return finished(unbroken_folder)


def finished(out: Path) -> tuple[str, dict[str, Any]]:
    return (out / "rows.jsonl").read_text(), without_cost(json.loads((out / "result.json").read_text()))


# Rows


def test_an_editor_whose_supervision_is_no_word_of_the_tables_is_not_run(drawn, data, tmp_path, monkeypatch):
    monkeypatch.setattr(Drawn, "supervision", "a lot", raising=False)
    with pytest.raises(FGVEditError, match="supervision of editor 'drawn' is 'a lot'; expected one of \"none\""):
        run(drawn, data, BOTH, tmp_path / "out")
    assert not (tmp_path / "out" / "run.json").exists()


def test_a_row_for_every_probe_of_every_record_under_every_protocol(drawn, data, tmp_path):
    result = run(drawn, data, BOTH, tmp_path / "out")
    rows = rows_in(tmp_path / "out")
    expected = {
        (record.id, record.image.image_id, record.group, protocol.name, *probe)
        for record in data.records
        for protocol in BOTH
        for probe in [(-1, "edit", record.question, record.target)]
        + [(n, probe.kind, probe.question, probe.answer) for n, probe in enumerate(record.probes)]
    }
    keys = ("record_id", "image_id", "group", "protocol", "probe", "kind", "question", "answer")
    found = [tuple(row[key] for key in keys) for row in rows]
    assert set(found) == expected and len(found) == len(expected)
    for row in rows:
        assert row["expected"] == (None if not changes(row["kind"]) else row["answer"])
    assert result["metrics"] == metrics_from_rows(rows)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["result.json", "rows.jsonl", "run.json"]


def test_generation_rows_hold_the_models_own_answers_and_their_score(drawn, data, tmp_path, backbone):
    from fgvedit.backbones.answering import Query

    run(drawn, data, [all_protocols()["generation"]], tmp_path / "out")
    rows = rows_in(tmp_path / "out")
    changed = 0
    for row in rows[:: len(probe_kinds())]:
        record = next(record for record in data.records if record.id == row["record_id"])
        image = record.image if row["probe"] == -1 else record.probes[row["probe"]].image
        assert row["before"] == backbone.generate([Query(row["question"], image)])[0]
        expected = row["before"] if row["expected"] is None else row["expected"]
        assert row["score"] == all_protocols()["generation"].score("edit", expected, None, row["after"])
        changed += row["before"] != row["after"]
    assert changed  # else the comparison above has shown nothing


def test_rows_say_how_a_probe_was_routed(backbone, data, tmp_path):
    result = run(InPrompt(backbone, InPrompt.Config()), data, BOTH, tmp_path / "out")
    for row in rows_in(tmp_path / "out"):
        if kind_of(row["kind"]).image != "own":
            assert (row["route"], row["rho"], row["stored_edit"]) == ("base", 0.25, 0)
            assert row["before"] == row["after"] and (row["score"] == 1 or changes(row["kind"]))
        else:
            assert (row["route"], row["rho"], row["stored_edit"]) == ("edited", 0.75, 0)
    router = {name: metric["value"] for name, metric in result["router"]["paper"].items()}
    assert (router["other_view"], router["other_image"], router["out_of_scope"]) == (0, 100, 0)
    assert router["caught"] == pytest.approx(500 / 6, abs=1e-3)  # all six kinds that change but other_view
    assert router["kept"] == pytest.approx(400 / 7, abs=1e-3)  # of the seven others, those without the edit's image


def test_an_image_is_encoded_once_whatever_the_number_of_its_probes_and_protocols(drawn, data, tmp_path):
    images = {probe.image.key for record in data.records for probe in record.probes if probe.image}
    result = run(drawn, data, BOTH, tmp_path / "out")
    assert result["manifest"]["cost"]["encoded_images"] == len(images) == drawn.backbone.encoded_images


def test_the_base_model_is_asked_once_and_its_answers_are_forgotten_after(backbone, data, tmp_path, monkeypatch):
    asked, generate = [], backbone.generate

    def noted(queries, max_new_tokens=10):
        asked.extend(query.key for query in queries)
        return generate(queries, max_new_tokens)

    monkeypatch.setattr(backbone, "generate", noted)
    editor = NoEdit(backbone, NoEdit.Config())
    run(editor, Loaded([data.records[i] for i in range(CHUNK)], "d", "c", "test", ""), BOTH, tmp_path / "out")
    assert len(asked) == len(set(asked)) > CHUNK
    count = len(asked)
    backbone.cached_answerer.generate([_first_query(data)])
    assert len(asked) == count + 1


def _first_query(data: Loaded):
    from fgvedit.backbones.answering import Query

    return Query(data.records[0].question, data.records[0].image)


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(unbroken, drawn, data, tmp_path):
    run(drawn, data, BOTH, tmp_path / "again")
    assert finished(tmp_path / "again") == unbroken
    run(drawn, data, BOTH, tmp_path / "other", seed=1)
    assert (tmp_path / "other" / "rows.jsonl").read_text() != unbroken[0]


def test_a_records_rows_do_not_depend_on_the_records_before_it(unbroken, drawn, data, tmp_path):
    last = Loaded([data.records[RECORDS - 1]], data.name, data.config, data.split, data.revision)
    run(drawn, last, BOTH, tmp_path / "last")
    key = ("record_id", "protocol", "probe", "before", "after")
    alone = [[row[k] for k in key] for row in rows_in(tmp_path / "last")]
    together = [[row[k] for k in key] for row in map(json.loads, unbroken[0].splitlines())]
    assert alone == together[-len(alone) :]


# Stopping and going on


@pytest.mark.parametrize("stop_at", [1, CHUNK + 2, RECORDS])
def test_an_interrupted_run_goes_on_and_ends_the_same(stop_at, unbroken, drawn, data, tmp_path, monkeypatch):
    made, edit = [0], Drawn.edit

    def interrupted(self, edits):
        made[0] += 1
        if made[0] == stop_at:
            raise KeyboardInterrupt
        return edit(self, edits)

    out = tmp_path / "stopped"
    monkeypatch.setattr(Drawn, "edit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(drawn, data, BOTH, out)
    assert not (out / "result.json").exists()
    run(drawn, data, BOTH, out)
    assert finished(out) == unbroken
    assert made[0] == RECORDS + 1 + (stop_at - 1) % CHUNK  # only the chunk that was stopped in is made again


def test_a_killed_process_loses_nothing(unbroken, random_blip2, folder, drawn, data, tmp_path):
    out = tmp_path / "killed"
    arguments = ["--backbone", str(random_blip2), "--dataset", str(folder), "--device", "cpu", "--out", str(out)]
    killed = subprocess.run(
        [sys.executable, "-m", "fgvedit.run", "--editor", DRAWN, *arguments],
        env={**os.environ, "KILL_AT_EDIT": str(CHUNK + 3), "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -9, killed.stderr
    assert [path.name for path in (out / "chunks").glob("*.json")] == ["000000.json"]
    Drawn.edits = 0
    command.main(["--editor", DRAWN, *arguments])
    rows, result = finished(out)
    assert rows == unbroken[0]
    assert result["metrics"] == unbroken[1]["metrics"]


def test_a_resumed_run_encodes_images_in_the_batches_of_an_unbroken_one(random_blip2, data, tmp_path, monkeypatch):
    batches: list[list[str]] = []

    def fresh() -> Editor:
        backbone = open_backbone(str(random_blip2))
        encode = backbone.encode_images

        def noted(images):
            batches.append([image.key for image in images])
            return encode(images)

        monkeypatch.setattr(backbone, "encode_images", noted)
        return Drawn(backbone, Drawn.Config())

    run(fresh(), data, BOTH, tmp_path / "whole")
    whole = batches[:]
    monkeypatch.setattr("fgvedit.evaluation.runs.runner.merge", _stop)
    with pytest.raises(KeyboardInterrupt):
        run(fresh(), data, BOTH, tmp_path / "resumed")
    monkeypatch.setattr("fgvedit.evaluation.runs.runner.merge", merge)
    (tmp_path / "resumed" / "chunks" / "000001.json").unlink()
    batches.clear()
    run(fresh(), data, BOTH, tmp_path / "resumed")
    assert len(whole) == 2 and batches == whole  # the last chunk needs an image that the first one encodes


@pytest.mark.parametrize("damage", ["", '{"rows": [', "[]", '{"rows": [1]}', '{"rows": []}'])
def test_a_damaged_chunk_is_made_again(damage, unbroken, drawn, data, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr("fgvedit.evaluation.runs.runner.merge", _stop)
    with pytest.raises(KeyboardInterrupt):
        run(drawn, data, BOTH, out)
    monkeypatch.undo()
    (out / "chunks" / "000000.json").write_text(damage)
    Drawn.edits = 0
    run(drawn, data, BOTH, out)
    assert Drawn.edits == CHUNK
    assert finished(out) == unbroken


@pytest.mark.parametrize("written", ["rows.jsonl", "result.json"])
def test_a_stop_during_the_merge_is_made_good(written, unbroken, drawn, data, tmp_path, monkeypatch):
    out = tmp_path / "out"
    step = "write_json" if written == "rows.jsonl" else "shutil.rmtree"
    monkeypatch.setattr(f"fgvedit.evaluation.runs.runner.{step}", _stop)
    with pytest.raises(KeyboardInterrupt):
        run(drawn, data, BOTH, out)
    monkeypatch.undo()
    assert (out / written).exists() and (out / "chunks").exists()
    run(drawn, data, BOTH, out)
    assert finished(out) == unbroken
    assert not (out / "chunks").exists()


def _stop(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_a_finished_folder_is_not_run_again(unbroken, unbroken_folder, drawn, data):
    Drawn.edits = 0
    result = run(drawn, data, BOTH, unbroken_folder)
    assert Drawn.edits == 0
    assert without_cost(result) == unbroken[1]


def test_a_full_disk_ends_in_one_sentence_and_the_run_goes_on_later(
    unbroken, drawn, data, tmp_path, monkeypatch, capsys
):
    out, synced, fsync = tmp_path / "out", [0], os.fsync

    def full(descriptor: int) -> None:
        synced[0] += 1
        if synced[0] == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemExit) as stop:
        command_line(lambda _: run(drawn, data, BOTH, out) and None)
    monkeypatch.undo()
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: '{out / 'chunks' / '000001.json'}': No space left on device"
    )
    assert [path.name for path in (out / "chunks").glob("*.json")] == ["000000.json"]
    run(drawn, data, BOTH, out)
    assert finished(out) == unbroken


def test_two_processes_give_the_rows_of_one(unbroken, random_blip2, folder, tmp_path):
    out = tmp_path / "shared"
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    arguments = ["--editor", DRAWN, "--backbone", str(random_blip2), "--dataset", str(folder), "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "fgvedit.run", *arguments, "--out", str(out)],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]),
            "KILL_AT_EDIT": str(CHUNK + 1),  # neither process makes so many: they share the work
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("drawn on random") == 1  # only the first process speaks
    assert (out / "rows.jsonl").read_text() == unbroken[0]
    assert sorted(path.name for path in out.iterdir()) == ["result.json", "rows.jsonl", "run.json"]


# Refusals


def test_a_folder_of_another_run_is_refused(unbroken, unbroken_folder, drawn, data, backbone):
    out = unbroken_folder
    other = Loaded(data.records, data.name, data.config, data.split, "another")
    for field, start in {
        "seed": lambda: run(drawn, data, BOTH, out, seed=1),
        "protocols": lambda: run(drawn, data, BOTH[:1], out),
        "dataset.revision": lambda: run(drawn, other, BOTH, out),
        "dataset.limit": lambda: run(drawn, data, BOTH, out, limit=RECORDS),
        "editor.name": lambda: run(NoEdit(backbone, NoEdit.Config()), data, BOTH, out),
        "editor.config.scale": lambda: run(Drawn(backbone, Drawn.Config(0.5)), data, BOTH, out),
    }.items():
        with pytest.raises(FGVEditError, match=f"holds another run: its {field} is"):
            start()
    assert finished(out) == unbroken


def test_an_editor_or_backbone_of_ones_own_that_was_changed_is_another_run(data, random_blip2, tmp_path):
    file, described = tmp_path / "mine.py", tmp_path / "mine.yaml"
    code = "from dummy import Drawn\n\n\nclass Mine(Drawn):\n    name = 'mine'\n"
    file.write_text(code)
    described.write_text(f"folder: {random_blip2}\n")

    def start() -> dict[str, Any]:
        kind = editor_class(f"{file}:Mine")
        return run(kind(open_backbone(str(described)), kind.Config()), data, BOTH[:1], tmp_path / "out", limit=1)

    first = start()
    assert start() == first
    file.write_text(f"{code}    trained = False\n")
    with pytest.raises(
        FGVEditError, match=r"holds another run: it was made by other code \(the editor's mine.py is not what it was"
    ):
        start()
    file.write_text(code)
    described.write_text(f"folder: {random_blip2}\nlayers: language_model.model.decoder.layers\n")
    with pytest.raises(FGVEditError, match=r"holds another run: it was made by other code \(backbone's layers is not"):
        start()


def test_results_of_an_unknown_run_are_not_overwritten(drawn, data, tmp_path):
    (tmp_path / "rows.jsonl").write_text("precious\n")
    with pytest.raises(FGVEditError, match=r"holds 'rows.jsonl' but no 'run.json'"):
        run(drawn, data, BOTH, tmp_path)
    assert (tmp_path / "rows.jsonl").read_text() == "precious\n"


def test_a_folder_in_which_nothing_was_done_is_free_for_another_run(unbroken, drawn, data, tmp_path, monkeypatch):
    monkeypatch.setattr("fgvedit.evaluation.runs.runner.probe_record", _stop)
    with pytest.raises(KeyboardInterrupt):
        run(drawn, data, BOTH, tmp_path / "out", seed=1)
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "out").rglob("*.json")] == ["run.json"]
    run(drawn, data, BOTH, tmp_path / "out")
    assert finished(tmp_path / "out") == unbroken


def test_a_damaged_run_file_is_named(drawn, data, tmp_path):
    (tmp_path / "run.json").write_text('{"format"')
    with pytest.raises(FGVEditError, match=r"run.json' is damaged: expected JSON"):
        run(drawn, data, BOTH, tmp_path)


def test_records_without_an_id_of_their_own_are_refused(drawn, data, tmp_path):
    twice = Loaded([data.records[0], data.records[0]], "d", "c", "test", "")
    with pytest.raises(FGVEditError, match="record 'record-0' is there twice"):
        run(drawn, twice, BOTH, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# The command line


def cli(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fgvedit.run", *arguments])
    with pytest.raises(SystemExit) as stop:
        command_line(command.main)
    return int(stop.value.code or 0)


def test_the_command_prints_the_table_and_the_second_time_says_that_it_is_finished(
    monkeypatch, capsys, random_blip2, folder, tmp_path
):
    arguments = ["--editor", DRAWN, "--set", "scale=2e-1", "--backbone", str(random_blip2), "--dataset", str(folder)]
    arguments += ["--limit", "2", "--protocol", "paper", "--device", "cpu"]
    monkeypatch.chdir(tmp_path)
    assert cli(monkeypatch, *arguments) == 0
    first = capsys.readouterr().out
    out = Path("runs") / "drawn-random-cards-2-0"
    for shown in ("reliability", "specificity", "other_image", str(out / "result.json"), str(out / "rows.jsonl")):
        assert shown in first
    result = json.loads((out / "result.json").read_text())
    assert result["manifest"]["editor"]["config"] == {"scale": 0.2}
    assert result["manifest"]["dataset"]["records"] == result["manifest"]["dataset"]["limit"] == 2
    assert cli(monkeypatch, *arguments) == 0
    second = capsys.readouterr().out
    assert "finished before" in second and second.endswith(first)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--editor", "nome"], "unknown editor 'nome'"),
        (["--editor", "none", "--limit", "0"], "--limit is 0; expected 1 or more"),
        (["--editor", "none", "--protocol", "papr"], "unknown protocol 'papr': .*'paper'"),
        (["--editor", "none", "--dtype", "float8"], "unknown dtype 'float8'"),
        (["--editor", "none", "--device", "cpuu"], "unknown device 'cpuu': .*'cpu'"),
        (["--editor", "none", "--sed", "1"], "unknown option '--sed': .*'--seed'"),
        (["--editor", "baselines.none.editor:NoEdits"], "unknown class in .*'NoEdit'"),
    ],
)
def test_bad_options_end_in_one_sentence(arguments, sentence, monkeypatch, capsys):
    import re

    assert cli(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert re.search(sentence, error) and error.count("\n") == 1


def test_an_output_folder_that_cannot_be_is_named(monkeypatch, capsys, random_blip2, folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "out"
    arguments = ["--backbone", str(random_blip2), "--dataset", str(folder), "--device", "cpu", "--out", str(out)]
    assert cli(monkeypatch, "--editor", "baselines.none.editor:NoEdit", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: '") and str(tmp_path / "file") in error and error.count("\n") == 1


def test_help_shows_examples_and_what_is_written(monkeypatch, capsys):
    assert cli(monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    for shown in ("--editor mscke", "--checkpoint", "result.json", "rows.jsonl", "goes on"):
        assert shown in text
