"""A results folder's own tests: a sound one passes, and everything that does not belong is found and named."""

from __future__ import annotations

import json
import lzma
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from board_samples import write_reported
from results_folder import made_up_key, write_entry

from fgvedit.util.errors import FGVEditError, command_line
from leaderboard import check
from leaderboard.data import read_key, write_key
from leaderboard.reading import pack, rows_text

RESULTS = Path(__file__).parents[2] / "leaderboard" / "results"
ID = "good-tiny-cards-dddddddd-0"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound results folder, to be read only."""
    folder = tmp_path_factory.mktemp("sound") / "results"
    write_entry(folder, "good", skill=0.9)
    write_reported(folder, "paper")
    (folder / "README.md").write_text("ours")
    (folder / ".gitattributes").write_text("")
    return folder


@pytest.fixture
def results(sound: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(sound, tmp_path / "results"))


def test_a_sound_folder_passes(results: Path, capsys):
    write_entry(results, "again", skill=0.7, status="reproduced")
    write_entry(results, "rows", skill=0.8, sequence=4)
    assert check.main([str(results)]) == 0
    said = capsys.readouterr().out
    assert said == "checked 3 runs, 1 files of reported numbers, 1 answer keys: no findings\n"


def test_what_is_shipped_passes():
    assert check.main([str(RESULTS)]) == 0


def test_the_reported_numbers_are_the_papers():
    rows = json.loads((RESULTS / "reported" / "mscke-paper.json").read_text())["rows"]
    found = {(row["editor"], row["backbone"]): list(row["metrics"].values()) for row in rows}
    assert len(found) == len(rows) == 12
    assert found["mscke", "blip2-opt-2.7b"] == [99.13, 100.0, 98.56, 61.60]
    assert found["serac", "minigpt4-7b"] == [99.5, 100.0, 92.9, 37.85]


def edited(**changes: object) -> Callable[[Path], object]:
    def how(results: Path) -> None:
        path = results / "runs" / ID / "submission.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return how


def changed_metric(results: Path) -> None:
    path = results / "runs" / ID / "result.json"
    result = json.loads(path.read_text())
    result["metrics"]["paper/locality"]["low"] -= 0.001
    path.write_text(json.dumps(result))


def written(path: str, content: bytes) -> Callable[[Path], object]:
    def how(results: Path) -> None:
        (results / path).parent.mkdir(parents=True, exist_ok=True)
        (results / path).write_bytes(content)

    return how


def linked_rows(results: Path) -> None:
    path = results / "runs" / ID / "rows.jsonl.xz"
    path.rename(results / ".rows")
    path.symlink_to(results / ".rows")


def folder_for_rows(results: Path) -> None:
    path = results / "runs" / ID / "rows.jsonl.xz"
    path.unlink()
    path.mkdir()


def linked_run(results: Path) -> None:
    (results / "runs" / "x").symlink_to(results / "runs" / ID)


def linked_runs(results: Path) -> None:
    (results / "runs").rename(results / ".runs")
    (results / "runs").symlink_to(results / ".runs")


def renamed_run(results: Path) -> None:
    (results / "runs" / ID).rename(results / "runs" / "better")


def copied(results: Path) -> None:
    """The same run under another name, and later."""
    folder = write_entry(results, "copy", skill=0.9)
    about = json.loads((folder / "submission.json").read_text())
    (folder / "submission.json").write_text(json.dumps({**about, "submitted": "2026-03-01"}))


def reproduced_otherwise(**changes: float) -> Callable[[Path], object]:
    def how(results: Path) -> None:
        path = write_entry(results, "again", skill=0.7, status="reproduced") / "submission.json"
        about = json.loads(path.read_text())
        about["reproduced"]["agreement"] |= changes
        path.write_text(json.dumps(about))

    return how


RUN = f"runs/{ID}"
AGAIN = "runs/again-tiny-cards-dddddddd-0"
# 100 bytes that ask for 256 MiB to be unpacked
WIDE = lzma.compress(bytes(100), filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 28, "mf": lzma.MF_HC3}])
KEY = f"data/{'d' * 64}-test.jsonl.xz"
WRONG: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a stray file": (written("run.sh", b"rm -rf /"), "run.sh", "it does not belong here"),
    "a stray file of a run": (
        written(f"{RUN}/model.pkl", b"x"),
        f"{RUN}/model.pkl",
        "it does not belong here; .*rows.js",
    ),
    "a stray in runs": (written("runs/notes.txt", b"x"), "runs/notes.txt", "is not a folder; expected one a run"),
    "a stray in reported": (written("reported/x.py", b"x"), "reported/x.py", "expected files that end in '.json'"),
    "a link for rows": (linked_rows, RUN, "found a symbolic link, expected a regular file"),
    "a link for a run": (linked_run, "runs/x", "it is not a folder"),
    "a link for runs": (linked_runs, "runs", "it is not a folder"),
    "a run under another name": (renamed_run, "runs/better", f"id is '{ID}'; expected 'better', as it is called"),
    "an id that climbs": (edited(id="../../x"), RUN, "id: '../../x' does not match"),
    "a status of its own": (edited(status="reproduced"), RUN, "reproduced: None is not of type"),
    "a link to nowhere": (edited(link="javascript:x"), RUN, "link is 'javascript:x'"),
    "a day that is none": (edited(submitted="2026-02-31"), RUN, "submitted is '2026-02-31'; expected a day"),
    "a line too many": (edited(submitted="2026-02-01\n"), RUN, r"submitted is '2026-02-01\\n'; expected a day"),
    "script": (edited(name="<script>"), RUN, "name is '<script>', which holds markup"),
    "a changed metric": (changed_metric, RUN, r"low of metric 'paper/locality' is .* from the rows .* \(-0.001\)"),
    "a bomb": (written(f"{RUN}/rows.jsonl.xz", pack(bytes(20_000_000))), RUN, "unpacks to more than .* bytes from 3,"),
    "a bomb of memory": (written(f"{RUN}/rows.jsonl.xz", WIDE), RUN, "expected an xz file, found Memory usage limit"),
    "rows cut off": (written(f"{RUN}/rows.jsonl.xz", pack(b"x" * 9999)[:-30]), RUN, "ends in the middle|is damaged"),
    "two streams": (written(f"{RUN}/rows.jsonl.xz", pack(b"x") + pack(b"y")), RUN, "goes on after its end"),
    "a folder for rows": (folder_for_rows, RUN, "rows.jsonl.xz' is not a regular file"),
    "a folder for a paper": (
        lambda results: (results / "reported" / "x.json").mkdir(),
        "reported/x.json",
        "x.json' is not a regular file",
    ),
    "no xz": (written(f"{RUN}/rows.jsonl.xz", b"PK\x03\x04" * 9), RUN, "expected an xz file"),
    "broken UTF-8": (written(f"{RUN}/submission.json", b'{"a": "\xff"}'), RUN, "submission.json' is damaged"),
    "1 GB": (lambda results: os.truncate(results / RUN / "result.json", 1 << 30), RUN, "has 1,073,741,824 bytes"),
    "a missing file": (lambda results: (results / RUN / "result.json").unlink(), RUN, "is not there; expected a file"),
    "a copy": (copied, "runs/copy-tiny-cards-dddddddd-0", f"is there already as '{ID}'"),
    "other rows reproduced": (reproduced_otherwise(rows=7, equal=7), AGAIN, "7 of 7 rows agree; expected of the 168"),
    "too many rows": (reproduced_otherwise(equal=169), AGAIN, "169 of 168 rows agree"),
    "too far apart": (reproduced_otherwise(difference=2), AGAIN, "difference is 2; expected at most the tolerance 0.5"),
    "no key": (lambda results: (results / KEY).unlink(), RUN, "data revision 'dddd.* is not known"),
    "a broken key": (written(KEY, pack(b"{}\n")), KEY, "line 1: its fields"),
    "a key of nothing": (written(KEY, b""), KEY, "is damaged|ends in the middle"),
    "a key without probes": (
        lambda results: (results / KEY).write_bytes(pack(rows_text(results / KEY) + b'{"id": "x", "image_id": "y"}\n')),
        KEY,
        "line 14: expected a record: its id, its group, its image_id and its probes",
    ),
    "a key of format 1 with groups": (
        lambda results: (results / KEY).write_bytes(
            pack(rows_text(results / KEY).replace(b'"format": 2', b'"format": 1'))
        ),
        KEY,
        "line 2: expected a record: its id, its image_id and its probes",
    ),
    "a record twice": (
        lambda results: (results / KEY).write_bytes(
            pack(b"\n".join([*(lines := rows_text(results / KEY).split(b"\n"))[:-2], lines[1], b""]))
        ),
        KEY,
        "expected 12 records, each with an id of its own",
    ),
    "a key of others": (
        lambda results: (results / KEY).rename(results / KEY.replace("d-test", "e-test")),
        KEY.replace("d-test", "e-test"),
        f"expected '{KEY[5:]}', as its content says",
    ),
    "reported without a link": (
        lambda results: write_reported(results, "paper", link="x"),
        "reported/paper.json",
        "link is 'x'",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_found_and_named(what: str, results: Path):
    how, where, sentence = WRONG[what]
    how(results)
    found = check.check(results, check.Known(results))
    assert [finding for finding in found if finding[0] == where and re.search(sentence, finding[1])], found


def test_every_finding_is_a_line_whatever_a_file_is_called(results: Path, capsys):
    (results / "runs" / "a\n::set-output x\x1b[2J\u202e").mkdir()
    written("stray\r\n", b"")(results)
    assert check.main([str(results)]) == 1
    said = capsys.readouterr().out
    assert all(character.isprintable() or character == "\n" for character in said)
    lines = said.splitlines()
    assert len(lines) == 3 and lines[-1].endswith("2 findings")
    assert r"runs/a\n::set-output x\x1b[2J\u202e" in said


# -- what a stranger proposes ------------------------------------------------------------------------------------------


def newer(results: Path) -> Path:
    """A run that is new, though it says that it is of long ago."""
    path = write_entry(results, "newer", skill=0.7) / "submission.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "submitted": "2020-01-01"}))
    return path


def reproduced(results: Path) -> None:
    """In another spelling of JSON."""
    path = write_entry(results, "newer", skill=0.7, status="reproduced") / "submission.json"
    path.write_text(path.read_text().replace('"reproduced", "reproduced"', '"repro\\u0064uced"\n,"reproduced"'))
    assert json.loads(path.read_text())["status"] == "reproduced"


def backdated_copy(results: Path) -> None:
    path = write_entry(results, "copy", skill=0.9) / "submission.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "submitted": "2020-01-01"}))


NEW = "runs/newer-tiny-cards-dddddddd-0"
CHANGES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a run that is reproduced": (reproduced, NEW, "its status is 'reproduced'; expected 'verified-rows'"),
    "a changed run": (edited(name="Me"), f"{RUN}/submission.json", "it is changed"),
    "a file of a run that is there": (written(f"{RUN}/more.txt", b"x"), f"{RUN}/more.txt", "it is added"),
    "a changed README": (written("README.md", b"mine"), "README.md", "it is changed"),
    "a removed paper": (lambda results: (results / "reported/paper.json").unlink(), "reported/paper.json", "removed"),
    "a paper": (
        lambda results: write_reported(results, "mine"),
        "reported/mine.json",
        "it is added; expected new fold",
    ),
    "a workflow": (written(".github/workflows/check.yml", b"on: push"), ".github/workflows/check.yml", "it is added"),
    "a link": (lambda results: (results / ".x").symlink_to("/etc"), ".x", "it is added"),
    "a link for a file": (linked_rows, f"{RUN}/rows.jsonl.xz", "it is changed"),
    "a copy of long ago": (backdated_copy, "runs/copy-tiny-cards-dddddddd-0", f"is there already as '{ID}'"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_stranger_may_add_runs_and_nothing_else(what: str, results: Path, sound: Path):
    how, where, sentence = CHANGES[what]
    how(results)
    found = check.check(results, check.Known(sound), sound)
    assert [finding for finding in found if finding[0] == where and re.search(sentence, finding[1])], found


def test_a_strangers_new_run_passes(results: Path, sound: Path, tmp_path: Path, capsys):
    base = Path(shutil.copytree(sound, tmp_path / "base"))
    newer(results)
    for folder in (results, base):
        written(f".git/{folder.name}", b"of its own")(folder)
    assert check.main([str(results), "--adds-to", str(base)]) == 0
    with pytest.raises(FGVEditError, match=r"--adds-to: '.*nowhere' is no folder"):
        check.main([str(results), "--adds-to", str(tmp_path / "nowhere")])


# -- where it runs -----------------------------------------------------------------------------------------------------


def test_it_does_not_run_within_what_it_checks(results: Path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.chdir(results / "runs")
        with pytest.raises(FGVEditError, match=r"'.*' holds the current folder.*from outside the folder"):
            check.main([str(results)])
    monkeypatch.setattr(check, "__file__", str(results / ".venv" / "leaderboard" / "check.py"))
    with pytest.raises(FGVEditError, match=r"'.*' holds this program.*install FGVEdit elsewhere"):
        check.main([str(results)])


def test_modules_of_a_results_folder_are_not_run(results: Path):
    for name in ("tqdm.py", "leaderboard/__init__.py", "sitecustomize.py"):
        written(name, b"raise SystemExit('run')")(results)
    command = [sys.executable, "-m", "leaderboard.check", results.name]
    done = subprocess.run(command, cwd=results.parent, capture_output=True, text=True)
    assert done.returncode == 1 and "tqdm.py" in done.stdout and done.stdout.endswith("3 findings\n"), done.stderr


def test_an_empty_folder_is_bad_usage(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["leaderboard.check", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        command_line(check.main)
    assert stop.value.code == 2
    assert "holds neither 'runs' nor 'reported'; expected a results folder" in capsys.readouterr().err


def test_an_answer_key_is_read_as_it_was_written(results: Path):
    key = read_key(results / KEY)
    assert key == made_up_key()
    assert [(record.id, edits, age) for record, edits, age in key.of_run(5, 2)] == [
        ("record-0", 1, 0),
        ("record-1", 2, 0),
        ("record-0", 2, 1),
        ("record-2", 1, 0),
        ("record-3", 2, 0),
        ("record-2", 2, 1),
    ]


def test_a_key_that_names_no_groups_is_of_its_images(tmp_path: Path):
    about = {"format": 1, "name": "cards", "config": "", "split": "test", "revision": "d" * 64, "records": 4}
    lines = [about, *({"id": f"r{n}", "image_id": f"i{n // 2}", "probes": [["edit", "?", "!"]]} for n in range(4))]
    path = tmp_path / f"{'d' * 64}-test.jsonl.xz"
    path.write_bytes(pack("".join(json.dumps(line) + "\n" for line in lines).encode()))
    key = read_key(path)
    assert [record.group for record in key.records] == ["i0", "i0", "i1", "i1"]
    assert [record.id for record, edits, _ in key.of_run(None, 2) if edits == 2] == ["r2", "r0"]
    assert read_key(write_key(key, tmp_path)) == key
