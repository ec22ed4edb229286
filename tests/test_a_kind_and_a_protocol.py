"""A kind of probe, a metric and a protocol of somebody else's, in one file, taken the whole way.

They come in by entry point, as those of an installed package do; nothing in the project knows their names.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rows import make_probe, make_row

from builders.parquet import write_rows

PAGE = (Path(__file__).parents[1] / "docs" / "add-a-probe.md").read_text(encoding="utf-8")
PLUGIN, POINTS = (re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[0] for language in ("python", "toml"))
RETIRED = """
ONCE = ProbeKind("once_asked", "what was asked in older data", "the new answer", "once_new", retired=True)
"""
RETIRED_POINT = 'once_asked = "probes_of_mine:ONCE"\n'
METADATA = "Metadata-Version: 2.1\nName: stranger\nVersion: 1\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the stranger's package is installed, and a data set that was built with their kinds."""
    home = tmp_path_factory.mktemp("stranger")
    about = home / "packages" / "stranger-1.dist-info"
    about.mkdir(parents=True)
    (home / "packages" / "probes_of_mine.py").write_text(PLUGIN + RETIRED)
    (about / "METADATA").write_text(METADATA)
    points = re.sub(r'project.entry-points."(.*)"', r"\1", POINTS.replace("\n\n", f"\n{RETIRED_POINT}\n", 1))
    (about / "entry_points.txt").write_text(points.replace('"', ""))
    rows = []
    for number in range(3):
        row = make_row(number)
        row["probes"][4]["question"] = row["question"]  # of other_image
        row["probes"].append(make_probe("counting", "two", image_id=row["image_id"]))
        rows.append(row)
    write_rows(rows, home / "new", "test")
    for row in rows:
        row["probes"].append(make_probe("once_asked", row["target"], image_id=row["image_id"]))
    write_rows(rows, home / "cards", "test")
    return home


@pytest.fixture(scope="module")
def commands(home: Path) -> Any:
    """Runs a command line of the project where the stranger's package is installed: (exit code, what it printed)."""

    def run(*arguments: object) -> tuple[int, str]:
        environment = {**os.environ, "PYTHONPATH": str(home / "packages"), "COLUMNS": "300"}
        line = [sys.executable, "-m", *map(str, arguments)]
        done = subprocess.run(line, cwd=home, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def finished(home: Path, commands: Any, random_blip2: Path) -> Path:
    options = [
        "--backbone",
        random_blip2,
        "--dataset",
        "cards",
        "--protocol",
        "paper,lenient,generation",
        "--out",
        "run",
    ]
    code, said = commands("fgvedit.run", "--editor", "none", *options)
    assert code == 0, said
    assert "brevity" in said and "counting_kept" in said and "lenient" in said
    return home / "run"


def test_the_data_are_valid_but_for_the_retired_kind(commands: Any, home: Path):
    code, said = commands("builders.validate", "new")
    assert code == 0 and "counting 3" in said and "passed: 0 errors, 0 warnings" in said, said
    code, said = commands("builders.validate", "cards")
    assert code == 1 and "once_asked" in said and "retired" in said, said
    assert not re.search(r"counting.*(unknown|expected one of)", said)
    code, said = commands("builders.review", "cards", "--out", "review")
    assert code == 0, said
    page = (home / "review" / "index.html").read_text().lower()
    assert "how many cards there are" in page and "what was asked in older data" in page


def test_a_run_scores_them_under_their_own_names(finished: Path):
    result = json.loads((finished / "result.json").read_text())
    rows = [json.loads(line) for line in (finished / "rows.jsonl").read_text().splitlines()]
    assert {row["kind"] for row in rows} >= {"counting", "once_asked"}
    for protocol in ("paper", "lenient", "generation"):
        own = [row for row in rows if row["protocol"] == protocol]
        assert result["metrics"][f"{protocol}/counting_kept"]["value"] == 100  # nothing was edited
        brevity = [[1 / (1 + len(row["after"])) for row in own if row["kind"] == kind] for kind in ("edit", "counting")]
        expected = 100 * sum(sum(values) / len(values) for values in brevity) / 2
        assert result["metrics"][f"{protocol}/brevity"]["value"] == pytest.approx(expected, abs=1e-3)
    assert {row["expected"] for row in rows if row["kind"] == "counting"} == {None}
    assert None not in {row["expected"] for row in rows if row["kind"] == "once_asked"}
    assert "kind of probe 'counting'" in json.loads((finished / "run.json").read_text())["code"]


def test_they_are_in_the_table(finished: Path, commands: Any):
    code, said = commands("leaderboard.table", finished, "--format", "json")
    assert code == 0, said
    (line,) = json.loads(said)
    result = json.loads((finished / "result.json").read_text())
    for name in ("lenient/brevity", "lenient/counting_kept", "generation/once_new"):
        assert line[name] == pytest.approx(result["metrics"][name]["value"])


def test_they_can_be_submitted_with_a_status_of_their_own_and_shown(finished: Path, commands: Any, home: Path):
    about = ["--name", "Nothing", "--link", "https://example.org/nothing", "--data", "cards"]
    code, said = commands("leaderboard.submit", finished, "--to", "results", *about)
    assert code == 0, said
    (submission,) = (home / "results").glob("runs/*/submission.json")
    status = json.loads(submission.read_text())["status"]
    assert status not in ("reported", "verified-rows", "reproduced") and status in said
    code, said = commands("leaderboard.table", "results")
    assert code == 0 and status in said and "brevity" in said, said

    code, said = commands("leaderboard.site", "results", "--out", "site")
    assert code == 0, said
    pages = "".join(path.read_text() for path in (home / "site").rglob("*") if path.suffix in (".html", ".js", ".json"))
    for shown in ("counting_kept", "how many cards there are", "how short the answer is", "lenient", status):
        assert shown in pages, shown


def test_whoever_has_not_their_package_is_told_so(finished: Path, home: Path):
    line = [sys.executable, "-m", "leaderboard.submit", "run", "--to", "elsewhere"]
    line += ["--name", "Nothing", "--link", "https://example.org/nothing", "--data", "cards"]
    done = subprocess.run(line, cwd=home, capture_output=True, text=True)
    assert done.returncode == 2 and re.search("'(lenient|counting)'", done.stderr), done.stderr
    assert done.stderr.count("\n") == 1 and not (home / "elsewhere").exists()


def test_they_are_on_the_page_of_the_run(finished: Path, commands: Any, home: Path):
    code, said = commands("fgvedit.report", "run", "--out", "page")
    assert code == 0, said
    page = "".join(path.read_text() for path in (home / "page").rglob("*") if path.suffix in (".html", ".js"))
    for shown in ("counting_kept", "how many cards there are", "how short the answer is", "once_asked", "lenient"):
        assert shown in page, shown
