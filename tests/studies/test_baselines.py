"""The study of the baselines: stopped and gone on with, its options, and the report from the rows of its runs."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from dummy import write_dataset

from fgvedit.cli import study as command
from fgvedit.cli.study import CLOSE, OPEN
from fgvedit.editors.supervision import SUPERVISION
from fgvedit.evaluation.intervals import Figure
from fgvedit.evaluation.metrics import beyond_nothing, paired_difference
from fgvedit.evaluation.runs.plan import CHUNK
from fgvedit.evaluation.summary import CONTROL
from fgvedit.probes import BEYOND_NOTHING, EDIT, PAPER, current_kinds, probe_kinds, shown_metrics
from fgvedit.probes import metrics as all_metrics
from fgvedit.studies import baselines, running
from fgvedit.studies.baselines import editors, report, verdict
from fgvedit.studies.comparing import Run, Study
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import between_markers

RECORDS = CHUNK + 2  # two chunks
FAILS_AT = CHUNK + 2
EDITOR = f'''
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from fgvedit.editors.contract import Editor, SingleRoute, Route

HERE = Path(__file__).parent

class Shaky(Editor):
    """Leaves the model as it is, notes every edit, and fails at one while there is a file `broken`."""
    name = "shaky"

    @dataclass(frozen=True)
    class Config:
        pass

    @contextmanager
    def edit(self, edits):
        with open(HERE / "edits", "a") as file:
            file.write(edits[0].question + "\\n")
        if (HERE / "broken").exists() and len((HERE / "edits").read_text().splitlines()) == {FAILS_AT}:
            raise RuntimeError("the card\\nis torn")
        yield SingleRoute(self.backbone.cached_answerer, Route("base", 0, 0.25))
'''


# The whole study


@dataclass
class Twice:
    """A study whose second editor failed in its second chunk, and the same one again when nothing was broken."""

    out: Path
    document: Path
    codes: list[int]
    reports: list[str]
    errors: list[str]
    finished: list[float]  # when the first editor's result was written, after each time
    edits: list[int]  # made by the second editor, after each time


@pytest.fixture(scope="module")
def twice(random_blip2: Path, tmp_path_factory: pytest.TempPathFactory) -> Twice:
    folder = tmp_path_factory.mktemp("study")
    (folder / "shaky.py").write_text(EDITOR)
    (folder / "broken").touch()
    document = folder / "results.md"
    document.write_bytes(f"# Results\r\n\n{OPEN}\nold\n{CLOSE}\nend, with no new line".encode())
    data = write_dataset(folder / "cards", RECORDS)
    arguments = ["baselines", "--editors", f"none,{folder / 'shaky.py'}:Shaky", "--backbone", str(random_blip2)]
    arguments += ["--dataset", str(data), "--device", "cpu", "--out", str(folder / "out"), "--processes", "2"]
    arguments += ["--write", str(document)]
    twice = Twice(folder / "out", document, [], [], [], [], [])
    for _ in range(2):
        with redirect_stdout(io.StringIO()) as printed, redirect_stderr(io.StringIO()) as errors:
            twice.codes.append(command.main(arguments))
        twice.reports.append(printed.getvalue())
        twice.errors.append(errors.getvalue())
        twice.finished.append((folder / "out" / "none" / "result.json").stat().st_mtime)
        twice.edits.append(len((folder / "edits").read_text().splitlines()))
        (folder / "broken").unlink(missing_ok=True)
    return twice


def test_a_failing_editor_is_named_and_the_others_finish(twice):
    failure = f"editor 'shaky' failed: is torn; see '{twice.out / 'shaky.log'}'"
    assert twice.codes[0] == 2
    assert twice.errors[0].splitlines()[-1] == f"error: {failure}"
    assert f"Missing below: {failure}." in twice.reports[0]
    assert "| none (control) | " in twice.reports[0] and "| shaky | " not in twice.reports[0]


def test_a_study_goes_on_where_it_was(twice):
    assert twice.codes[1] == 0
    assert twice.finished[0] == twice.finished[1]
    assert twice.edits == [FAILS_AT, FAILS_AT + RECORDS - CHUNK]  # only the chunk that it failed in is made again
    assert "Missing" not in twice.reports[1]


NAMED = {"none": "none (control)", "shaky": "shaky"}
SHOWN = [name for name, metric in shown_metrics().items() if not metric.retired]


def test_the_report_shows_what_the_result_files_hold(twice):
    text = (twice.out / "report.md").read_text()
    assert text.strip() == twice.reports[1].strip()
    for name in ("none", "shaky"):
        result = json.loads((twice.out / name / "result.json").read_text())
        for protocol in ("paper", "generation"):
            section = text.partition(f"## Metrics, protocol `{protocol}`")[2].partition("\n## ")[0]
            shown = cells(section, NAMED[name])
            figures = {**result["metrics"], **beyond_nothing(result["metrics"])}
            expected = [figures[f"{protocol}/{metric}"] for metric in SHOWN]
            assert shown == [[round(metric[key], 2) for key in ("value", "low", "high")] for metric in expected]
        if name == "shaky":
            shown = cells(text.partition("## Routers")[2], name)
            expected = [result["router"]["paper"][group] for group in ("caught", "kept", "edit", *current_kinds())]
            assert shown == [[round(metric[key], 2) for key in ("value", "low", "high")] for metric in expected]
        cost = result["manifest"]["cost"]
        (an_edit,), (in_all,), (images,), (memory,) = cells(text.partition("## Cost")[2], NAMED[name])
        assert an_edit == pytest.approx(cost["edit_seconds"] / RECORDS, abs=1e-3)
        assert in_all == pytest.approx(cost["seconds"], abs=0.5)
        assert images == cost["encoded_images"]
        assert memory == pytest.approx(cost["peak_memory_bytes"] / 1e9, abs=0.01)


def cells(section: str, editor: str) -> list[list[float]]:
    """The numbers in each cell of the first line of an editor."""
    line = next(line for line in section.splitlines() if line.startswith(f"| {editor} |"))
    return [[float(number) for number in re.findall(r"-?[\d.]+", cell)] for cell in line.split("|")[3:-1]]


def test_the_report_says_how_it_was_made(twice):
    assert re.search(
        r"```bash\npython -m fgvedit\.study baselines --editors none,\S+:Shaky --backbone", twice.reports[1]
    )
    seconds = json.loads((twice.out / "study.json").read_text())["seconds"]
    assert f"The study took {running.duration(seconds)}" in twice.reports[1]
    assert f"on {running.cores()} CPU cores, 2 editors at a time" in twice.reports[1]


def test_only_what_is_between_the_markers_is_written(twice):
    written = twice.document.read_bytes().decode()
    assert written == f"# Results\r\n\n{OPEN}\n\n{twice.reports[1].strip()}\n\n{CLOSE}\nend, with no new line"


# Options


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "cards", 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["baseline"], r"unknown study 'baseline'.*did you mean 'baselines'"),
        (["baselines", "--limit", "0"], "--limit is 0"),
        (["baselines", "--processes", "0"], "--processes is 0"),
        (["baselines", "--dtype", "fp32"], "unknown dtype 'fp32'"),
        (["baselines", "--device", "gpu"], "unknown device 'gpu'"),
        (["baselines", "--dataset", "scene"], "did you mean 'scenes'"),
        (["baselines", "--limit", "1", "--editors", "none,nome"], "unknown editor 'nome'.*did you mean 'none'"),
        (["baselines", "--limit", "1", "--editors", ","], "--editors names none"),
        (["baselines", "--write", "nowhere.md"], "there is no file 'nowhere.md'"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(arguments, message, monkeypatch, tmp_path):
    monkeypatch.setattr(running, "run_side_by_side", None)
    with pytest.raises(FGVEditError, match=message):
        command.main([*arguments, *(["--out", str(tmp_path / "out")] if len(arguments) > 1 else [])])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", OPEN, CLOSE, f"{CLOSE} {OPEN}", f"{OPEN} {CLOSE} {OPEN}"])
def test_a_missing_marker_is_said_before_anything_runs(text, monkeypatch, tmp_path):
    monkeypatch.setattr(running, "run_side_by_side", None)
    document = tmp_path / "results.md"
    document.write_text(text)
    with pytest.raises(FGVEditError, match=f"{text.count(CLOSE)} times; expected each once"):
        command.main(["baselines", "--write", str(document), "--out", str(tmp_path / "out")])


def test_writing_twice_leaves_one_report(tmp_path):
    document = tmp_path / "results.md"
    document.write_text(f"before {OPEN}{CLOSE} after")
    document.write_text(between_markers(document, "first", OPEN, CLOSE))
    assert between_markers(document, "second\n", OPEN, CLOSE) == f"before {OPEN}\n\nsecond\n\n{CLOSE} after"


def test_every_class_is_run_once_under_its_own_name(monkeypatch):
    points = [
        EntryPoint("none", "baselines.none.editor:NoEdit", "fgvedit.editors"),
        EntryPoint("nothing", "baselines.none.editor:NoEdit", "fgvedit.editors"),
        EntryPoint("mscke", "fgvedit.editors.mscke.editor:MSCKE", "fgvedit.editors"),
        EntryPoint("lost", "nowhere.editor:Lost", "fgvedit.editors"),
    ]
    for module in ("fgvedit.studies.baselines", "fgvedit.editors.registry"):
        monkeypatch.setattr(f"{module}.entry_points", lambda group: points)
    assert editors(None) == {"none": "nothing", "mscke": "mscke", "lost": "lost"}
    assert editors(["nothing", " none ", "mscke"]) == {"none": "nothing", "mscke": "mscke"}
    with pytest.raises(FGVEditError, match="'lost' needs the module 'nowhere'"):
        editors(["none", "lost"])


def test_two_editors_of_one_name_are_refused(tmp_path):
    (tmp_path / "shaky.py").write_text(EDITOR.replace('name = "shaky"', 'name = "none"'))
    with pytest.raises(FGVEditError, match="are both called 'none'"):
        editors(["none", f"{tmp_path / 'shaky.py'}:Shaky"])


@pytest.mark.parametrize(
    ("arguments", "processes", "threads"),
    [
        ([], 2, 4),  # as many as there are editors
        (["--processes", "1"], 1, None),
        (["--processes", "2"], 2, 4),
        (["--processes", "20"], 2, 4),
    ],
)
def test_the_cores_are_shared_among_the_processes(arguments, processes, threads, data, monkeypatch, tmp_path):
    asked = []

    def noted(runs, out, processes, threads):
        asked.append((dict(runs), processes, threads))
        return [(name, "not run") for name in runs]

    monkeypatch.setattr(running, "run_side_by_side", noted)
    monkeypatch.setattr(running, "cores", lambda: 8)
    options = ["--dataset", str(data), "--out", str(tmp_path), "--device", "cpu", "--seed", "3", "--limit", "1"]
    assert command.main(["baselines", "--editors", "none,mscke", *options, *arguments]) == 2
    ((runs, *found),) = asked
    assert found == [processes, threads]
    assert list(runs) == ["none", "mscke"]
    given = dict(zip(runs["mscke"][::2], runs["mscke"][1::2], strict=True))
    assert given == {
        "--editor": "mscke",
        "--out": str(tmp_path / "mscke"),
        "--backbone": "tiny",
        "--dataset": str(data),
        "--split": "test",
        "--input-mode": "native",
        "--device": "cpu",
        "--dtype": "float32",
        "--seed": "3",
        "--limit": "1",
    }
    assert not (tmp_path / "report.md").exists()


# Verdicts


def interval(low: float, high: float) -> Figure:
    return {"value": (low + high) / 2, "low": low, "high": high, "probes": 1, "groups": 1}


@pytest.mark.parametrize(
    ("low", "high", "above", "level", "below"),
    [
        (0.1, 2, "holds", "a difference found", "the opposite"),
        (-2, -0.1, "the opposite", "a difference found", "holds"),
        (-1, 2, *["no difference found"] * 3),
        (0, 2, *["no difference found"] * 3),
        (-2, 0, *["no difference found"] * 3),
        (0, 0, *["no difference found"] * 3),
    ],
)
def test_a_verdict_follows_from_the_interval(low, high, above, level, below):
    sides = (baselines.ABOVE, baselines.LEVEL, baselines.BELOW)
    assert [verdict(interval(low, high), side) for side in sides] == [above, level, below]


def made_up(name: str, kinds: Sequence[str] = probe_kinds(), **shares: float) -> Run:
    """A run on 20 images; `shares`: kind -> the share of images with a score of 1, under both protocols (else 0.5)."""
    rows = [
        {
            "record_id": f"r{image}",
            "image_id": f"i{image}",
            "protocol": protocol,
            "kind": kind,
            "probe": number - 1,
            "score": float((image + 0.5) / 20 < shares.get(kind, 0.5)),
            "rho": None,
            "route": "edited",
        }
        for protocol in ("paper", "generation")
        for image in range(20)
        for number, kind in enumerate([EDIT, *kinds])
    ]
    manifest = {
        "editor": {"name": name, "class": CONTROL if name == "none" else f"a.b:{name}"},
        "protocols": ["paper", "generation"],
        "backbone": {"name": "tiny"},
        "dataset": {"name": "scenes", "split": "test", "revision": "0" * 64, "records": 20},
        "seed": 0,
        "device": "cpu",
        "dtype": "float32",
        "cost": {"seconds": 1.0, "edit_seconds": 1.0, "encoded_images": 20, "peak_memory_bytes": 1},
    }
    return Run(name, manifest, cast(Any, rows))


def findings(*runs: Run) -> dict[tuple[str, str], list[str]]:
    """(difference, metric) -> the paper's, then the figures and the verdict of each protocol, as the report shows."""
    section = report(Study(runs), [], []).partition("## What the paper found")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if " − " in line]
    return {(line[0], line[1]): line[2:] for line in lines}


def test_the_papers_findings_are_judged_by_the_rows():
    high, low = {"in_scope": 0.7, "out_of_scope": 0.7}, {"in_scope": 0.1, "out_of_scope": 0.3}
    as_in_paper = [
        made_up("mscke", **high),
        made_up("serac", **low),
        made_up("serac-switch", **low),
        made_up("mscke-unschooled", in_scope=0.5, out_of_scope=0.5),
        made_up("mend", text_locality=0.1),
        made_up("ike", text_locality=0.1),
        made_up("none"),
        made_up("mscke-mend", in_scope=1, out_of_scope=1),
    ]
    found = findings(*as_in_paper)
    assert len(found) == 12
    for (difference, metric), (_, *cells) in found.items():
        level = difference == "mscke − serac" and metric != "specificity"
        assert cells[1::2] == ["no difference found" if level else "holds"] * 2
        if level:
            assert cells[0] == "+0.00 [+0.00, +0.00]"
    specificity = paired_difference(as_in_paper[0].rows, as_in_paper[1].rows, "specificity", "paper")
    assert specificity["value"] == 50
    shown = [float(number) for number in re.findall(r"[+-][\d.]+", found["mscke − serac", "specificity"][1])]
    assert shown == [round(specificity[key], 2) for key in ("value", "low", "high")]
    assert found["mscke-mend − the best of the others", "specificity"][1].endswith("] (mscke)")

    otherwise = findings(
        made_up("mscke", edit=0.9, text_locality=0.1, **low),
        made_up("serac", **high),
        made_up("serac-switch", **low),
        made_up("mscke-unschooled", **low),
        made_up("mend", text_locality=0.9),
        made_up("ike"),
        made_up("none"),
        made_up("mscke-mend", **low),
    )
    verdicts = {name: cells[-1] for name, cells in otherwise.items()}
    assert verdicts == {
        ("mscke − serac", "specificity"): "the opposite",
        ("mscke − serac-switch", "specificity"): "no difference found",
        ("mscke-unschooled − serac", "specificity"): "the opposite",
        ("mscke-unschooled − serac-switch", "specificity"): "no difference found",
        ("mscke − serac", "reliability"): "a difference found",
        ("mscke − serac", "generality"): "no difference found",
        ("mscke − serac", "locality"): "a difference found",
        ("mend − none", "locality"): "the opposite",
        ("mend − mscke", "locality"): "the opposite",
        ("ike − none", "locality"): "no difference found",
        ("ike − mscke", "locality"): "the opposite",
        ("mscke-mend − the best of the others", "specificity"): "the opposite",
    }


def test_the_control_stands_last_and_is_not_the_best_of_the_others():
    mend = made_up("mscke-mend")
    runs = [made_up("none", in_scope=1, out_of_scope=1), mend, made_up("serac", in_scope=0.1)]
    text = report(Study(runs), [], [])
    for section in text.split("\n## ")[1:3]:
        names = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| ")]
        assert names == ["| editor", "| ---", "| mscke-mend", "| serac", "| none (control)"]
    assert findings(*runs)["mscke-mend − the best of the others", "specificity"][1].endswith("] (serac)")
    assert Study([runs[0], mend]).best_but("mscke-mend", "paper/specificity") is None


def test_the_report_says_what_metrics_mean_and_what_is_above_doing_nothing():
    runs = [made_up("mscke", in_scope=0.9), made_up("serac", in_scope=0.1)]
    text = report(Study(runs), [], [])
    section = text.partition("## What the metrics mean")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]
    assert [line[0] for line in lines] == [*shown_metrics()]
    for (_, mark, meaning), metric in zip(lines, shown_metrics().values(), strict=True):
        assert ("needs eyes" in mark, "retired" in mark, meaning) == (metric.needs_eyes, metric.retired, metric.meaning)
    section = text.partition("## Metrics, protocol `paper`")[2]
    at = section.splitlines()[2].split(" | ").index(BEYOND_NOTHING.name) - 2
    for run in runs:
        of = {name: run.metrics[f"paper/{name}"]["value"] for name in ("in_scope", "retention")}
        assert cells(section, run.name)[at][0] == pytest.approx(sum(of.values()) - 100, abs=0.005)
    assert "31.92" in text.partition("## What the paper found")[2]


def test_the_report_says_what_editors_learned_from_where_their_runs_do():
    runs = [made_up("mscke"), made_up("serac"), made_up("none")]
    assert "learned from beforehand" not in report(Study(runs), [], [])
    said = {"mscke": "paper's kinds, boxes", "serac": "", "none": "none"}
    for run in runs:
        run.manifest["editor"].update({"supervision": said[run.name]} if said[run.name] else {})
    text = report(Study(runs), [], [])
    for name, word in said.items():
        shown = re.findall(rf"^\| {name}(?: \(control\))? \| (.*?) ?\| .*\d", text, re.MULTILINE)
        assert shown == [word] * 3  # under two protocols, and with its costs
    assert all(f"| {word} | {meaning} |" in text for word, meaning in SUPERVISION.items())


def test_what_was_not_run_was_not_measured():
    found = findings(made_up("none"), made_up("ike", text_locality=0.1))
    verdicts = {name: cells[-1] for name, cells in found.items()}
    assert verdicts.pop(("ike − none", "locality")) == "holds"
    assert set(verdicts.values()) == {"not measured"}


def test_differences_whose_interval_excludes_0_are_marked():
    text = report(Study([made_up("mscke"), made_up("lora", edit=1)]), [], [])
    line = next(line for line in text.splitlines() if line.startswith("| lora − mscke | generation |"))
    shown = [cell.strip() for cell in line.split("|")[3:-1]]
    assert [cell.endswith("*") for cell in shown] == [True, False, False, False]
    assert shown[0].startswith("+50.00 [+") and shown[1] == "+0.00 [+0.00, +0.00]"


def test_the_columns_are_the_metrics_and_kinds_that_the_runs_have():
    def columns(kinds: Sequence[str]) -> list[list[str]]:
        runs = [made_up(name, kinds) for name in ("mscke", "serac")]
        for row in (row for run in runs for row in run.rows):
            row["rho"] = 0.5
        lines = report(Study(runs), [], []).splitlines()
        return [line.strip("| ").split(" | ")[1:] for line, under in pairwise(lines) if "| --- |" in under]

    found = columns(probe_kinds())
    beyond = [metric for metric in all_metrics() if metric not in (*PAPER, "in_scope", "retention")]
    assert ["supervision", *shown_metrics()] in found and ["protocol", *PAPER, *beyond] in found
    assert ["supervision", "in-scope recall", "out-of-scope recall", EDIT, *probe_kinds()] in found
    found = columns(["rephrase", "reference_in"])
    assert ["supervision", "reliability", "generality", "reference_in"] in found
    assert ["protocol", *PAPER, "reference_in"] in found
    assert ["supervision", "in-scope recall", "out-of-scope recall", EDIT, "rephrase", "reference_in"] in found
