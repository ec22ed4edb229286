"""The page of a run as files: what is read, counted from the rows by other means, and where it goes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import killing
import pytest
from made_runs import (
    PROTOCOLS,
    RECORDS,
    Rows,
    attention_of,
    editor,
    photo,
    read_rows,
    rows_of,
    turned,
    write_data,
    write_run,
)
from PIL import Image
from results_folder import change, set_in
from rows import image_ref, make_row

from fgvedit.cli.report import main
from fgvedit.evaluation.metrics import beyond_nothing
from fgvedit.schema import ImageRef
from fgvedit.util.errors import FGVEditError
from fgvedit.viewers.pages import Images
from fgvedit.viewers.report import page
from fgvedit.viewers.report.overview import overview
from fgvedit.viewers.report.page import write_report
from fgvedit.viewers.report.reading import data_of, read_run


@pytest.fixture(scope="module")
def two_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "records", *map(make_row, range(2)))


@pytest.fixture(scope="module")
def small(two_records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on two records, without a router, and so without a plot."""
    return write_run(tmp_path_factory.mktemp("small") / "run", two_records, rows_of(two_records, routed=False))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of whose data an image does not decode."""
    folder = tmp_path_factory.mktemp("broken")
    data = write_data(folder / "records", make_row(0, image={"bytes": image_ref(0).data[:60], "path": None}))
    return write_run(folder / "run", data, rows_of(data))


def page_data(page: Path) -> Any:
    text = (page / "index.html").read_text()
    return json.loads(text.split('<script type="application/json" id="page-data">')[1].split("</script>")[0])


def written_records(page: Path) -> list[dict[str, Any]]:
    texts = [path.read_text().split(" = ", 1)[1] for path in sorted((page / "records").iterdir())]
    return [record for text in texts for record in json.loads(text.rstrip().removesuffix(";"))]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- what is read ------------------------------------------------------------------------------------------------------


def test_every_row_is_on_the_page(run: Path) -> None:
    shown = {}
    for record in written_records(run / "report"):
        for probe, own in enumerate(record["probes"]):
            for protocol, answered in zip(PROTOCOLS, own["asked"], strict=True):
                shown[record["id"], protocol, probe - 1] = (own["question"], own["answer"], *answered)
    rows = read_rows(run)
    assert len(shown) == len(rows) == RECORDS * 6 * 2
    for row in rows:
        expected = (row["question"], row["answer"], row["before"], row["after"], row["score"], row["rho"], row["route"])
        found = shown[row["record_id"], row["protocol"], row["probe"]]
        assert found[:-1] == pytest.approx(expected, abs=1e-6) and found[-1] == row["stored_edit"]


def test_metrics_and_histograms_are_those_of_the_rows(run: Path) -> None:
    content, rows = page_data(run / "report"), read_rows(run)
    metrics = json.loads((run / "result.json").read_text())["metrics"]
    assert content["figures"] == {**metrics, **beyond_nothing(metrics)}
    found: Counter[tuple[str, str, int]] = Counter()
    for protocol, kinds in content["rho"]["counts"].items():
        for kind, sides in kinds.items():
            for side in sides:
                found.update({(protocol, kind, bin): count for bin, count in enumerate(side) if count})
    assert found == Counter((row["protocol"], row["kind"], int(row["rho"] * 40)) for row in rows)


@pytest.mark.parametrize("threshold", [0.51, 0.7, 1, 1.5])
def test_on_which_side_of_the_threshold_a_probe_is_depends_on_no_bin(
    two_records: Path, tmp_path: Path, threshold: float
) -> None:
    rows, rhos = rows_of(two_records), [0.0, 0.501, 0.509, 0.51, 0.524, 0.7, 1.0]
    for number, row in enumerate(rows):
        row["rho"] = rhos[number % 7]
    run = read_run(write_run(tmp_path / "run", two_records, rows, editor=editor(threshold=threshold)))
    for kind, (below, above) in overview(run)["rho"]["counts"]["paper"].items():
        own = [row["rho"] for row in rows if row["protocol"] == "paper" and row["kind"] == kind]
        assert sum(below) == sum(rho < threshold for rho in own)
        assert sum(above) == sum(rho >= threshold for rho in own)


def test_a_rho_that_is_no_number_is_shown_as_it_is(two_records: Path, tmp_path: Path) -> None:
    rows = rows_of(two_records)
    rows[0]["rho"], rows[1]["rho"] = float("nan"), 3.5
    run = write_run(tmp_path / "run", two_records, rows)
    write_report(run)
    content = page_data(run / "report")
    assert (content["rho"]["low"], content["rho"]["high"]) == (0, 3.5)
    asked = written_records(run / "report")[0]["probes"]
    assert asked[0]["asked"][0][3] == "nan" and asked[1]["asked"][0][3] == 3.5


def test_a_run_of_format_1(data: Path, run: Path, tmp_path: Path) -> None:
    def to_format_1(result: dict[str, Any], rows: Rows) -> None:
        result["format"] = 1
        del result["manifest"]["sequence"]
        for row in rows:
            del row["edits"], row["age"]

    old = change(write_run(tmp_path / "run", data, read_rows(run)), to_format_1)
    write_report(old)
    assert page_data(old / "report")["records"] == page_data(run / "report")["records"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", [turned(), b"Exif\0\0broken"], ids=["turned", "broken"])
def test_no_image_of_a_page_says_how_it_is_to_be_turned(kind: str, exif: Any, tmp_path: Path) -> None:
    image = ImageRef("photo", photo(30, 10, kind, exif=exif)["bytes"])
    found = Images(tmp_path).file(image)
    shown = Image.open(tmp_path / found["file"])
    assert shown.size == (found["width"], found["height"]) == (30, 10)
    assert 0x0112 not in shown.getexif()


def test_the_shipped_clip_and_those_known_by_name_take_the_part_that_the_page_says() -> None:
    import open_clip

    from fgvedit.editors.memory.clip import Clip

    wide = Image.new("RGB", (300, 100), (0, 0, 255))
    wide.paste((255, 0, 0), (100, 0, 200, 100))  # the square in the middle
    whole = Clip("tiny-clip").preprocess(wide)
    middle = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(), is_train=False)(wide)
    assert whole[2, 72, 5] > whole[0, 72, 5]
    assert (middle[0, 5:-5, 5:-5] > middle[2, 5:-5, 5:-5]).all()


def test_the_command_line(run: Path, tmp_path: Path) -> None:
    """It needs no torch, says what it wrote, and what is wrong in one line."""
    page = tmp_path / "page"
    code = (
        "import sys; from fgvedit.cli.report import main; from fgvedit.util.errors import command_line\n"
        f"main([{str(run)!r}, '--out', {str(page)!r}]); assert 'torch' not in sys.modules\n"
        f"sys.argv[1:] = [{str(tmp_path / 'none')!r}]; command_line(main)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == f"{page / 'index.html'}: {RECORDS} records, {RECORDS * 12} rows, {RECORDS + 1} images\n"
    assert done.stderr.splitlines()[-1].startswith("error: ") and "Traceback" not in done.stderr


# -- bad input ---------------------------------------------------------------------------------------------------------


Damage = Callable[[Path], object]


def of_rows(how: Callable[[Rows], object]) -> Damage:
    """Rows that are changed, and whose hash is."""
    return lambda run: change(run, lambda _, rows: how(rows), recompute=False)


def of_row_3(**changes: Any) -> Damage:
    return of_rows(lambda rows: rows[2].update(changes))


def of_text(how: Callable[[str], str]) -> Damage:
    return lambda run: (run / "rows.jsonl").write_text(how((run / "rows.jsonl").read_text()))


def written(name: str, text: str) -> Damage:
    return lambda run: (run / name).write_text(text)


def of_attention(**changes: Any) -> Damage:
    return written("looks.jsonl", json.dumps({**attention_of("record-0", 5), **changes}))


@pytest.mark.parametrize(
    "damage, expected",
    [
        (of_text(lambda text: text * 2), "holds other rows than result.json is of"),
        (of_text(lambda text: text + "{\n"), "line 25 is damaged: expected JSON"),
        (of_row_3(score=float("nan")), "line 3: score: found nan, expected 0 to 1"),
        (of_row_3(probe="1"), "line 3: probe: found '1', expected a whole number"),
        (of_row_3(kind="other"), "line 3: kind: unknown probe kind 'other': expected one of"),
        (of_row_3(question="Who?"), "'record-0': probe 1 is 'Who.' .*not in its data"),
        (of_row_3(probe=5), "'record-0': probe 5 is .*not in its data"),
        (of_row_3(protocol="mine"), "'record-0': protocol 'mine' is not one of the manifest"),
        (of_row_3(record_id="x"), "'record-0': probe 1 is missing"),
        (of_rows(lambda rows: rows.append(rows[-1])), "'record-1': probe 4 is there twice"),
        (of_rows(lambda rows: rows.append({**rows[-1], "record_id": "x"})), "record 'x'.* data lack"),
        (of_rows(lambda rows: rows.clear()), "holds no row"),
        (lambda run: (run / "rows.jsonl").unlink(), "rows.jsonl' is missing"),
        (written("result.json", "{"), "result.json' is damaged: expected JSON"),
        (written("result.json", '{"format": 4}'), "format: found 4, expected one of 1, 2, 3"),
        (written("result.json", '{"format": 2}'), "editor.name: found None, expected text"),
        (written("looks.jsonl", "[]\n"), "looks.jsonl': line 1 is damaged"),
        (of_attention(probes=[]), "found 0 maps .*expected 6"),
        (of_attention(grid=[3, 2]), r"line 1: found maps of \[8\] bytes, expected 3 \* 2"),
        (of_attention(fit="middle"), "line 1: fit: found 'middle', expected one of squash, shortest, longest"),
    ],
)
def test_damaged_runs_are_refused(small: Path, copy_of: Callable[[Path], Path], damage: Damage, expected: str) -> None:
    run = copy_of(small)
    damage(run)
    with pytest.raises(FGVEditError, match=expected):
        write_report(run)
    assert {path.name for path in run.iterdir()} <= {"rows.jsonl", "result.json", "looks.jsonl"}


def test_runs_that_are_not_there_or_not_finished(tmp_path: Path) -> None:
    with pytest.raises(FGVEditError, match="there is no such folder"):
        main([str(tmp_path / "none")])
    with pytest.raises(FGVEditError, match="holds no run"):
        main([str(tmp_path)])
    run = {
        "editor": {"name": "mscke", "class": "fgvedit.editors.mscke.editor:MSCKE"}, "backbone": {"name": "tiny"},
        "dataset": {"name": "scenes", "split": "test", "limit": 50}, "protocols": PROTOCOLS, "seed": 3,
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(run))
    command = (
        "python -m fgvedit.run --editor mscke --backbone tiny --dataset scenes --split test --limit 50 "
        f"--protocol paper,generation --seed 3 --out {tmp_path}, "
    )
    with pytest.raises(FGVEditError) as raised:
        main([str(tmp_path)])
    assert "is not finished" in str(raised.value) and command in str(raised.value)


def test_data_that_moved_and_other_data(
    two_records: Path, small: Path, tmp_path: Path, copy_of: Callable[[Path], Path]
) -> None:
    moved = shutil.copytree(two_records, tmp_path / "moved")
    lost = change(copy_of(small), set_in("manifest.dataset.name", str(tmp_path / "gone")))
    with pytest.raises(FGVEditError, match="--dataset says where the run's data are now"):
        write_report(lost)
    write_report(lost, dataset=str(moved))
    assert len(page_data(lost / "report")["records"]) == 2
    other = write_data(tmp_path / "other", *map(make_row, range(3)))
    with pytest.raises(FGVEditError, match=r"is of revision .* was made on .*; expected the same"):
        write_report(lost, dataset=str(other))


# -- where it goes -----------------------------------------------------------------------------------------------------


def test_only_a_page_of_its_own_is_replaced(run: Path, small: Path, tmp_path: Path) -> None:
    foreign, file, out = (tmp_path / name for name in ("foreign", "file", "page"))
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("x")
    file.write_text("x")
    for other in (foreign, file, run):
        with pytest.raises(FGVEditError, match="expected a new or empty folder, or one that the same command made"):
            write_report(small, other)
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]

    shutil.copytree(run / "report", out)
    mine = {"notes.txt": b"mine", "images/mine.png": b"mine", "drafts/one/a.txt": b"mine"}
    for name, content in mine.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    (out / "link").symlink_to(foreign)
    before = files(out)
    write_report(small, out)
    after = files(out)
    listed = json.loads((out / "report.json").read_text())["files"]
    assert set(after) == {*listed, "report.json", *mine}
    assert {name: after[name] for name in mine} == mine and (out / "link").is_symlink()
    assert "plotly.min.js" in set(before) - set(after)
    (out / "report.json").write_text(json.dumps({"files": ["images/../../thesis.txt"]}))
    with pytest.raises(FGVEditError, match="is damaged: expected the names of a page's files"):
        write_report(small, out)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be forked")
def test_whenever_it_is_killed_a_whole_page_is_there_or_comes_back(
    small: Path, broken: Path, tmp_path: Path, copy_of: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at every change of a file's name: the older page, with a file of the user's own, or the newer one."""
    monkeypatch.setattr(killing, "CHANGES", ("os.rename", "os.rmdir", "os.link", "shutil.rmtree"))
    monkeypatch.setattr(killing, "WRITING", 0)
    loaded = {folder: data_of(read_run(folder), None) for folder in (small, broken)}
    monkeypatch.setattr(page, "data_of", lambda run, moved: loaded.get(run.folder, loaded[small]))  # quickly
    out, newer_run = tmp_path / "page", copy_of(small)
    of_row_3(after="another")(newer_run)
    pages = {}
    for name, run in {"newer": newer_run, "older": small}.items():
        write_report(run, tmp_path / name)
        (tmp_path / name / "notes.txt").write_text("mine")
        pages[name] = files(tmp_path / name)
    found: list[str] = []
    killed = True
    while killed:
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(tmp_path / "older", out)
        killed = killing.killed_before(len(found), lambda: write_report(newer_run, out))
        with pytest.raises(FGVEditError, match=r"image 'image-0'.*do not decode"):
            write_report(broken, out)  # the next call, though it fails
        found.append(next((name for name, held in pages.items() if files(out) == held), "neither"))
        assert not list(tmp_path.glob(".page*"))
    assert found == sorted(found, reverse=True) and set(found) == {"newer", "older"}
