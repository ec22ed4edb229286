"""The site's folder, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fgvedit.evaluation.rows import Row
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import noted, whole_folder, write_json, write_text
from fgvedit.viewers.pages import PLOTLY, html, write_plotly
from leaderboard.board import read_results
from leaderboard.site import data

HERE = Path(__file__).parent
MARK = "site.json"  # in a folder that this module wrote
MADE_BY = "leaderboard.site"
BESIDE = ("CNAME", "README.md", "LICENSE")  # may be there before the site is, as may what begins with a dot


def write_site(results: Path, out: Path) -> str:
    """Write the site of a results folder into `out`; what was written, in words.

    The files and folders of a site that was there are replaced, whatever else lies beside them stays, be it `.git` or
    `CNAME`. Raises `FGVEditError` where `out` holds anything else and is no site, and for anything wrong with the
    results; `out` is then as it was.
    """
    _expect_ours(out)
    entries, reported = read_results(results)  # before anything is made
    with whole_folder(out, _is_ours, keep_others=True) as made:
        (made / "data").mkdir()
        (made / "runs").mkdir()
        runs = []
        for entry in tqdm(entries, desc="runs", unit="run", disable=None):
            rows = entry.rows()
            runs.append(data.shown(entry, rows))
            _write_rows(made / "data", runs[-1], rows)
        runs.sort(key=lambda run: run.older is not None)  # pages show the embedded data first
        ranks = data.Ranks(runs)
        for run, found in tqdm(data.differences(runs), desc="comparing", unit="run", total=len(runs), disable=None):
            _write_script(made / "data", f"differences-{run.entry.id}", found)
            ranks.count(run, found)
        _write_pages(made, runs, data.board(runs, ranks, reported), data.registry(runs, reported))
        write_json(made / MARK, {"made_by": MADE_BY, "runs": [entry.id for entry in entries]})
    return f"{out / 'index.html'}: {len(entries)} runs, {sum(len(one.rows) for one in reported)} reported rows"


def _write_rows(folder: Path, run: data.Shown, rows: Sequence[Row]) -> None:
    for protocol, probes in data.probes_of_rows(rows):
        name = f"probes-{run.sampled.probes[protocol][:16]}"
        if not (folder / f"{name}.js").exists():
            _write_script(folder, name, probes)
    _write_script(folder, f"rows-{run.entry.id}", data.answers_of_rows(rows))


def _write_pages(made: Path, runs: list[data.Shown], board: dict[str, Any], registry: dict[str, Any]) -> None:
    shared = {"root": "", "registry": registry}
    _write_page(made / "index.html", "FGVEdit leaderboard", {**shared, **board})
    _write_page(made / "plots.html", "Plots · FGVEdit leaderboard", {**shared, **board}, plots=True)
    compared = {**shared, **data.comparison(runs)}
    _write_page(made / "compare.html", "Compare two runs · FGVEdit leaderboard", compared, loads=True)
    _write_page(made / "submit.html", "Submit a run · FGVEdit leaderboard", shared)
    for run, row in zip(runs, board["runs"], strict=True):
        shown = {**shared, "root": "../", **data.page_of_run(run, row, runs)}
        title = f"{row['editor']} on {row['backbone']} · FGVEdit leaderboard"
        _write_page(made / "runs" / f"{run.entry.id}.html", title, shown, plots=True)
    write_plotly(made)


def _write_page(path: Path, title: str, shown: Any, plots: bool = False, loads: bool = False) -> None:
    template = HERE / ("run.html" if path.parent.name == "runs" else path.name)
    scripts = [shown["root"] + PLOTLY] if plots else []
    shared = [HERE / "site", *([HERE / "plotting"] if plots else [])]
    write_text(path, html(template, title, shown, scripts, shared, loads, plots))


def _write_script(folder: Path, name: str, value: Any) -> None:
    """Data that a page loads when it needs them; a script, since a page opened from a file may fetch nothing else."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    write_text(folder / f"{name}.js", f"loaded({json.dumps(name)}, {json.dumps(text)});\n")


def _expect_ours(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise FGVEditError(f"'{out}' is no folder; expected a new one, an empty one or an earlier site")
    if out.is_dir() and not _is_ours(out):
        raise FGVEditError(
            f"'{out}' holds files that are no site of the leaderboard, such as '{_others(out)[0]}'; expected a new or "
            f"empty folder, or one with hidden files and {', '.join(BESIDE)} alone"
        )


def _is_ours(folder: Path) -> bool:
    """Whether a site may be put there: it is one, or holds only what may lie beside one."""
    return noted(folder / MARK, "made_by") == MADE_BY or not _others(folder)


def _others(folder: Path) -> list[str]:
    names = sorted(path.name for path in folder.iterdir())
    return [name for name in names if not name.startswith(".") and name not in BESIDE]
