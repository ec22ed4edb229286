"""The page of a run as files: what is read, counted from the rows by other means, and where it goes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_runs import PROTOCOLS, RECORDS, attention_of, editor, photo, read_rows, rows_of, turned, write_run
from PIL import Image
from rows import image_ref, make_row

from builders.parquet import write_rows
from fgvedit.cli.report import main
from fgvedit.schema import ImageRef
from fgvedit.util.errors import FGVEditError
from fgvedit.viewers.pages import Images
from fgvedit.viewers.report.overview import overview
from fgvedit.viewers.report.page import write_report
from fgvedit.viewers.report.reading import read_run


@pytest.fixture(scope="module")
def two_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "records"
    write_rows([make_row(number) for number in range(2)], folder, "test")
    return folder


@pytest.fixture(scope="module")
def small(two_records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on two records, without a router, and so without a plot."""
    return write_run(tmp_path_factory.mktemp("small") / "run", two_records, rows_of(two_records, routed=False))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of whose data an image does not decode."""
    folder = tmp_path_factory.mktemp("broken")
    image = {"bytes": image_ref(0).data[:60], "path": None}
    write_rows([make_row(0, image=image)], folder / "records", "test")
    return write_run(folder / "run", folder / "records", rows_of(folder / "records"))


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
    assert content["figures"] == json.loads((run / "result.json").read_text())["metrics"]
    bins = Counter((row["protocol"], row["kind"], int(row["rho"] * 40)) for row in rows)
    found: Counter[tuple[str, str, int]] = Counter()
    for protocol, kinds in content["rho"]["counts"].items():
        for kind, sides in kinds.items():
            for side in sides:
                found.update({(protocol, kind, bin): count for bin, count in enumerate(side) if count})
    assert found == bins


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
    rows = [{key: value for key, value in row.items() if key not in ("edits", "age")} for row in read_rows(run)]
    old = write_run(tmp_path / "run", data, rows)
    result = json.loads((old / "result.json").read_text())
    del result["manifest"]["sequence"]
    (old / "result.json").write_text(json.dumps({**result, "format": 1}))
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


Alter = Callable[[list[str]], object]


def rows_altered(alter: Alter, rehash: bool = True) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        lines = (run / "rows.jsonl").read_text().splitlines()
        alter(lines)
        text = "".join(f"{line}\n" for line in lines)
        (run / "rows.jsonl").write_text(text)
        if rehash:
            result = json.loads((run / "result.json").read_text())
            result["manifest"]["rows_sha256"] = hashlib.sha256(text.encode()).hexdigest()
            (run / "result.json").write_text(json.dumps(result))

    return damage


def changed_line(line: str, **changes: Any) -> str:
    return json.dumps({**json.loads(line), **changes})


def changed(number: int, **changes: Any) -> Alter:
    return lambda lines: lines.__setitem__(number, changed_line(lines[number], **changes))


def attention_altered(**changes: Any) -> Callable[[Path], object]:
    return lambda run: (run / "looks.jsonl").write_text(json.dumps({**attention_of("record-0", 5), **changes}))


def result_of(text: str) -> Callable[[Path], object]:
    return lambda run: (run / "result.json").write_text(text)


@pytest.mark.parametrize(
    "damage, expected",
    [
        (rows_altered(changed(7, score=0.123), rehash=False), "holds other rows than result.json is of"),
        (rows_altered(lambda lines: lines.__setitem__(4, "{"), rehash=False), "line 5 is damaged: expected JSON"),
        (rows_altered(changed(2, score=float("nan"))), "line 3: score: found nan, expected 0 to 1"),
        (rows_altered(changed(2, probe="1")), "line 3: probe: found '1', expected a whole number"),
        (rows_altered(changed(2, kind="other")), "line 3: kind: unknown probe kind 'other': expected one of"),
        (rows_altered(changed(2, question="Who?")), "'record-0': probe 1 is 'Who.' .*not in its data"),
        (rows_altered(changed(2, probe=5)), "'record-0': probe 5 is .*not in its data"),
        (rows_altered(changed(2, protocol="mine")), "'record-0': protocol 'mine' is not one of the manifest"),
        (rows_altered(changed(2, record_id="x")), "'record-0': probe 1 is missing"),
        (rows_altered(lambda lines: lines.append(lines[-1])), "'record-1': probe 4 is there twice"),
        (rows_altered(lambda lines: lines.append(changed_line(lines[-1], record_id="x"))), "record 'x'.* data lack"),
        (rows_altered(lambda lines: lines.clear()), "holds no row"),
        (lambda run: (run / "rows.jsonl").unlink(), "rows.jsonl' is missing"),
        (result_of("{"), "result.json' is damaged: expected JSON"),
        (result_of('{"format": 3}'), "format: found 3, expected one of 1, 2"),
        (result_of('{"format": 2}'), "editor.name: found None, expected text"),
        (lambda run: (run / "looks.jsonl").write_text("[]\n"), "looks.jsonl': line 1 is damaged"),
        (attention_altered(probes=[]), "found 0 maps .*expected 6"),
        (attention_altered(grid=[3, 2]), r"line 1: found maps of \[8\] bytes, expected 3 \* 2"),
        (attention_altered(fit="middle"), "line 1: fit: found 'middle', expected one of squash, shortest, longest"),
    ],
)
def test_damaged_runs_are_refused(
    small: Path, copy_of: Callable[[Path], Path], damage: Callable[[Path], object], expected: str
) -> None:
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
    lost = copy_of(small)
    result = json.loads((lost / "result.json").read_text())
    result["manifest"]["dataset"]["name"] = str(tmp_path / "gone")
    (lost / "result.json").write_text(json.dumps(result))
    with pytest.raises(FGVEditError, match="--dataset says where the run's data are now"):
        write_report(lost)
    write_report(lost, dataset=str(moved))
    assert len(page_data(lost / "report")["records"]) == 2
    write_rows([make_row(number) for number in range(3)], tmp_path / "other", "test")
    with pytest.raises(FGVEditError, match=r"is of revision .* was made on .*; expected the same"):
        write_report(lost, dataset=str(tmp_path / "other"))


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
    small: Path, broken: Path, tmp_path: Path, copy_of: Callable[[Path], Path]
) -> None:
    """Killed at every change of a file's name: the older page, with a file of the user's own, or the newer one."""
    out, newer_run = tmp_path / "page", copy_of(small)
    rows_altered(changed(0, after="another"))(newer_run)
    write_report(newer_run, tmp_path / "newer")
    write_report(small, tmp_path / "older")
    for page in ("newer", "older"):
        (tmp_path / page / "notes.txt").write_text("mine")
    pages = {page: files(tmp_path / page) for page in ("newer", "older")}
    found, step, killed = [], 0, True
    while killed:
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(tmp_path / "older", out)
        step += 1
        killed = killed_at(step, lambda: write_report(newer_run, out))
        with pytest.raises(FGVEditError, match="do not decode"):
            write_report(broken, out)  # the next call, though it fails
        found += [page for page, held in pages.items() if files(out) == held] or [f"neither, killed at {step}"]
        assert not list(tmp_path.glob(".page*"))
    assert found == sorted(found, reverse=True) and set(found) == {"newer", "older"}


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Whether `work`, done by a process that is killed at its `step`th change of a name of a file, was so."""
    child = os.fork()
    if child == 0:
        left = [step]

        def count(event: str, arguments: tuple[Any, ...]) -> None:
            if event in ("os.rename", "os.rmdir", "os.link", "shutil.rmtree"):
                left[0] -= 1
                if left[0] == 0:
                    os._exit(9)

        sys.addaudithook(count)
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_a_page_that_fails_leaves_nothing(broken: Path, tmp_path: Path) -> None:
    with pytest.raises(FGVEditError, match=r"image 'image-0'.*do not decode"):
        write_report(broken, tmp_path / "page")
    assert list(tmp_path.iterdir()) == []
