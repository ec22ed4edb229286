"""The benchmark of building: its stand-in is good input, and its parts measure what they say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import fgvedit
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import between_markers

ROOT = Path(fgvedit.__file__).parent.parent
sys.path.insert(0, str(ROOT))  # benchmarks are not installed

from benchmarks import standin  # noqa: E402
from benchmarks.building import CLOSE, OPEN, given, images_for, main, measured, report  # noqa: E402
from builders.coco import Images  # noqa: E402
from builders.validate.__main__ import main as validate  # noqa: E402
from builders.vqav2.__main__ import main as build  # noqa: E402
from builders.vqav2.official import SUBTYPES, read_questions  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "building.json"


def test_thirty_records_are_built_and_valid(tmp_path: Path) -> None:
    standin.write(tmp_path / f"standin-{images_for(30)}", images_for(30))
    build([*given(tmp_path, images_for(30), tmp_path / "out"), "--limit", "30"])
    counts = json.loads((tmp_path / "out" / "build.json").read_text())["counts"]
    assert [counts[split]["records"] for split in ("train", "test")] == [23, 7]
    kinds = {key for key in counts["train"] if key.startswith("probes")}
    built = ("rephrase", "worded_in", "worded_out", "other_image", "no_image", "text_locality")
    assert kinds == {f"probes: {kind}" for kind in built}
    assert validate([str(tmp_path / "out")]) == 0


def test_an_image_and_its_questions_are_the_same_in_any_size(tmp_path: Path) -> None:
    small, large = (standin.write(tmp_path / str(count), count) for count in (6, 9))
    assert standin.write(small, 100) == small  # which is there already
    found = []
    for folder in (small, large):
        files = [[folder / name(subtype) for subtype in SUBTYPES] for name in FILES]
        questions = read_questions(*files)
        asked = [questions[row] for row in range(len(questions)) if questions.images[row] <= 6]
        assert len(asked) >= 18
        found.append([(one, Images([folder]).ref(one.file_name).data) for one in asked])
    assert found[0] == found[1]
    assert len({data for _, data in found[0]}) == 6


def test_a_stand_in_that_is_not_finished_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(standin, "_photo")
    with pytest.raises(NameError):
        standin.write(tmp_path / "standin", 3)
    assert not list(tmp_path.iterdir())


FILES = (standin.question_file, standin.annotation_file)


def test_memory_is_that_of_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.building.EVERY", 0.1)
    child = "import time; held = bytes(range(256)) * 400_000; time.sleep(0.7)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    found = measured([sys.executable, "-c", parent], tmp_path / "log")
    assert 0.1 < found["peak_gb"] < 0.4
    assert found["peak_gb"] == max(found["peak_gb_of_tenths"])
    assert found["seconds"] > 0.7
    with pytest.raises(FGVEditError, match=r"exit code 3; see '.*log'"):
        measured([sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "log")


@pytest.mark.skipif(not RESULT.is_file(), reason="not measured yet")
def test_the_readme_has_what_was_measured() -> None:
    path = ROOT / "benchmarks" / "README.md"
    assert between_markers(path, report(json.loads(RESULT.read_text())), OPEN, CLOSE) == path.read_text()


@pytest.mark.slow
def test_the_whole_in_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--records", "30", "--planned", "50", "--work", str(tmp_path)]
    main(options)
    result = json.loads((tmp_path / "building.json").read_text())
    assert [(row["run"], row["processes"]) for row in result["runs"]] == [
        ("build", 1),
        ("build", 2),
        ("validate", 1),
        ("plan", 1),
    ]
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / f"30-{n}").iterdir()} for n in (1, 2))
    assert one == two
    assert all(row["peak_gb"] > 0 and row["cpu_seconds"] > 0 for row in result["runs"])
    assert report(result) in capsys.readouterr().out
    main(options)  # measures nothing again
    assert json.loads((tmp_path / "building.json").read_text()) == result
