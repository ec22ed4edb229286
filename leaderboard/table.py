"""Result files as one table: `python -m leaderboard.table DIR`. How it is written is in `leaderboard.table_text`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fgvedit.editors.supervision import supervision_of
from fgvedit.evaluation.metrics import beyond_nothing
from fgvedit.evaluation.protocols import OWN
from fgvedit.evaluation.rows import Row
from fgvedit.evaluation.summary import NOT_COMPARED, is_control, older
from fgvedit.probes import shown_metrics
from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import FGVEditError, command_line, unknown
from fgvedit.util.files import write_bytes
from leaderboard.board import REPORTED, STATUSES, Reported, hardware, read_results
from leaderboard.migrate import current_result, current_rows
from leaderboard.ranking import (
    SCORE,
    Block,
    Sampled,
    block_of,
    ends,
    parts_of,
    ranked_by,
    ranks,
    sample,
    values_of,
    with_score,
)
from leaderboard.reading import read_json, read_rows
from leaderboard.table_text import BLOCK, COMPARED, COST, FORMATS, NOTE, render

LOCAL = "local"  # the status of a run that was not submitted: nobody has checked it
TRACKS = ("single", "sequence", "cost")
# Columns about what was run. `supervision`: what the editor learned from beforehand, "" where it is not said;
# `control`: whether it is the run of no edit at all, which is not ranked; `weights`: of the backbone, by their
# revision; `older_data`: whether the data were embedded once and have been replaced.
ABOUT = (
    *("editor", "supervision", "control", "backbone", "weights", "input_mode"),
    *("dataset", "older_data", "records", "edits", "status", "file"),
)
WHOLE = ("records", "edits", "peak_memory_bytes", "encoded_images", "trained_parameters")  # columns of whole numbers

EPILOG = """\
examples:
  python -m leaderboard.table runs                      # every run below a folder
  python -m leaderboard.table leaderboard/results       # submitted runs, and numbers that papers report
  python -m leaderboard.table runs --rank-by specificity --protocol generation
  python -m leaderboard.table runs --track cost --sort seconds_per_edit
  python -m leaderboard.table runs --format csv --out results.csv

A metric is named with its protocol, in percent. <protocol>/score is the harmonic mean of that protocol's
reliability, locality, generality and specificity. Doing nothing earns half of specificity; beside it stands what is
above that, in_scope + retention - 100. In sequential editing, a metric is right after each edit, and with @end after
all of them. A data set is named with its split and the start of its revision; runs on an older revision of the embedded
data stand apart, below the others, however the table is sorted.

Ranks are of runs on the same records, backbone and number of sequential edits: 1 more than the number of runs that are
better beyond doubt (95 % intervals of paired bootstrap differences). Runs that cannot be told apart from the best
share rank 1. Numbers that papers report are listed and never ranked; a run without its rows beside it is not either.
The editor that does nothing is the control, which has no rank and does not count in those of others. Supervision says
what an editor learned from beforehand: compare one that was told more with one that was told less only knowingly.
Terminal and Markdown show intervals of what is ranked by and of everything; csv, parquet and json hold .low and .high.
"""


@dataclass(frozen=True)
class Run:
    """A finished run, submitted or not. `file`: its result file, from the folder that was read; `rows`: reads its rows,
    [] where they are not there."""

    file: str
    status: str
    result: dict[str, Any]
    rows: Callable[[], list[Row]]


def read_result(path: Path) -> dict[str, Any]:
    """A result file of any format, in the current one. Raises `FGVEditError`, naming the file and the field, where it
    is damaged or not valid."""
    return current_result(read_json(path), f"'{path}'")


def read_runs(folder: Path) -> tuple[list[Run], list[Reported]]:
    """What a results folder holds or, of any other folder, every run in it and below, of status `LOCAL`.

    Raises `FGVEditError` for a folder without a result file and for a bad file.
    """
    if (folder / "reported").is_dir() or any(folder.glob("runs/*/submission.json")):
        entries, reported = read_results(folder)
        files = [f"runs/{entry.id}/result.json" for entry in entries]
        runs = [Run(file, one.status, one.result, one.rows) for file, one in zip(files, entries, strict=True)]
        return runs, reported
    paths = sorted(folder.rglob("result.json"))
    if not paths:
        found = "there is no such folder" if not folder.is_dir() else "there is none"
        raise FGVEditError(f"'{folder}': {found}; expected a folder with a result.json in it or below")
    return [Run(str(path.relative_to(folder)), LOCAL, read_result(path), _rows_beside(path)) for path in paths], []


def _rows_beside(result: Path) -> Callable[[], list[Row]]:
    rows = result.with_name("rows.jsonl")
    return lambda: current_rows(read_rows(rows), f"'{rows}'") if rows.exists() else []


def read_table(folder: Path, sort: str | None = None, rank_by: str = SCORE, **only: str | None) -> pd.DataFrame:
    """A row a run or reported editor: the columns of `ABOUT`, of each protocol (and evaluation point) its rank and
    metrics with their intervals (`paper/rank`, `paper/score`, `paper/score.low`, `paper/score.high`, …), then those of
    `COST`.

    `sort`: a column; by default runs that are ranked together stand together, the best by `rank_by` first. `rank_by`: a
    metric without its protocol. `only`: see `filtered`.
    Raises `FGVEditError` for a folder without a result file, a bad result file, an unknown column and an unknown name.
    """
    runs, reported = read_runs(folder)
    sampled: list[tuple[Block, Sampled]] = []
    lines = []
    for run in runs:
        rows, metrics = run.rows(), run.result["metrics"]
        sampled.append((block_of(run.result), sample(run.result, rows)))
        lines.append({**about(run), **_with_intervals(metrics, sampled[-1][1]), **cost(run.result)})
    lines += [{**_about_reported(paper, row), **with_score(row["metrics"])} for paper in reported for row in paper.rows]
    _add_ranks(lines, sampled, rank_by)
    table = pd.DataFrame(lines)
    metrics_ = sorted((column for column in table.columns if "/" in column), key=_order)
    table = table.reindex(columns=[*ABOUT, *metrics_, *COST, *(name for name in (NOTE, COMPARED) if name in table)])
    table = table.astype({column: "Int64" for column in table if column in WHOLE or parts_of(column)[1] == "rank"})
    table = table.copy()  # in one piece
    table = filtered(table, **only)
    if sort is not None and sort not in table.columns:
        raise unknown("column", sort, table.columns)
    return _sorted(table, sort, rank_by)


def about(run: Run) -> dict[str, Any]:
    """The columns of `ABOUT`, and `NOTE` where there is something to be known."""
    manifest = run.result["manifest"]
    data, replaced = manifest["dataset"], older(manifest)
    values = (
        manifest["editor"]["name"],
        supervision_of(manifest),
        is_control(manifest),
        manifest["backbone"]["name"],
        f"{manifest['backbone']['name']}@{manifest['backbone']['revision']}",
        manifest["backbone"]["input_mode"],
        f"{data['name']}/{data['split']}@{data['revision'][:8]}",
        replaced is not None,
        data["records"],
        manifest["sequence"] or 1,
        run.status,
        run.file,
    )
    return {**dict(zip(ABOUT, values, strict=True)), **({NOTE: replaced.known} if replaced else {})}


def _about_reported(paper: Reported, row: Mapping[str, Any]) -> dict[str, Any]:
    dataset = f"{paper.dataset}/{paper.split}"
    backbone, file = row["backbone"], f"reported/{paper.id}.json"
    values = (row["editor"], "", False, backbone, "", "", dataset, False, None, 1, REPORTED, file)
    return {**dict(zip(ABOUT, values, strict=True)), NOTE: paper.note or None, COMPARED: NOT_COMPARED}


def cost(result: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of `COST`."""
    manifest = result["manifest"]
    found = {**manifest["cost"], "hardware": hardware(manifest), "dtype": manifest["dtype"]}
    found["seconds_per_edit"] = round(found["edit_seconds"] / manifest["dataset"]["records"], 4)
    return {name: found[name] for name in COST}


def _with_intervals(metrics: Mapping[str, Any], run: Sampled) -> dict[str, float]:
    found, metrics = {}, {**metrics, **beyond_nothing(metrics)}
    for name, value in with_score(values_of(metrics)).items():
        found[name] = value
        if name in metrics:
            found[f"{name}.low"], found[f"{name}.high"] = metrics[name]["low"], metrics[name]["high"]
        elif name in run.resampled:
            found[f"{name}.low"], found[f"{name}.high"] = ends(run, name)
    return found


def _add_ranks(lines: list[dict[str, Any]], sampled: Sequence[tuple[Block, Sampled]], rank_by: str) -> None:
    if rank_by not in ranked_by():
        raise unknown("metric to rank by", rank_by, ranked_by())
    for name in {name for line in lines for name in line if "/" in name and parts_of(name)[1] == rank_by}:
        protocol, _, point = parts_of(name)
        for line, rank in zip(lines, ranks(sampled, name), strict=False):  # reported rows come last and have none
            line[f"{protocol}/rank{point}"] = rank


def _order(column: str) -> tuple[int, str, str, int, str, str]:
    """Where a metric's column stands: the project's own protocols first, right after before at the end, then rank,
    score and the metrics in their order, each before the ends of its interval; those that are not registered last."""
    protocol, metric, point = parts_of(column)
    metric, dot, end = (metric + point).partition(".")
    metric, at, point = metric.partition("@")
    known = ["rank", SCORE, *shown_metrics()]
    index = known.index(metric) if metric in known else len(known)
    own = OWN.index(protocol) if protocol in OWN else len(OWN)
    return own, protocol, at + point, index, metric, {"": "", "low": "1", "high": "2"}.get(end, dot + end)


def filtered(
    table: pd.DataFrame,
    *,
    backbone: str | None = None,
    dataset: str | None = None,
    protocol: str | None = None,
    status: str | None = None,
    track: str | None = None,
    editor: str | None = None,
) -> pd.DataFrame:
    """The rows and columns that are asked for. `dataset`: a name, with or without its split and revision.

    Raises `FGVEditError`, naming the nearest, for a name that no row has.
    """
    for column, wanted in (("editor", editor), ("backbone", backbone), ("status", status)):
        if wanted is not None:
            if wanted not in set(table[column]):
                raise unknown(f"{column} in these results", wanted, set(table[column]))
            table = table[table[column] == wanted]
    if dataset is not None:
        names = table["dataset"].map(lambda name: {name, name.split("@")[0], name.split("@")[0].rpartition("/")[0]})
        if not any(dataset in choices for choices in names):
            raise unknown("data set in these results", dataset, set().union(*names))
        table = table[[dataset in choices for choices in names]]
    if protocol is not None:
        table = _of_protocol(table, protocol)
    if track is not None:
        table = _of_track(table, track)
    if table.empty:
        raise FGVEditError("no run is left by these options together; expected at least one: leave out some of them")
    return table.dropna(axis="columns", how="all") if track == "single" else table


def _of_protocol(table: pd.DataFrame, protocol: str) -> pd.DataFrame:
    metrics = [column for column in table.columns if "/" in column]
    protocols = {parts_of(column)[0] for column in metrics}
    if protocol not in protocols:
        raise unknown("protocol in these results", protocol, protocols)
    table = table.drop(columns=[column for column in metrics if parts_of(column)[0] != protocol])
    return table[table[[column for column in table.columns if "/" in column]].notna().any(axis=1)]


def _of_track(table: pd.DataFrame, track: str) -> pd.DataFrame:
    if track == "cost":
        table = table[table["status"] != REPORTED]
        return table.drop(columns=[column for column in table.columns if "/" in column or column in (NOTE, COMPARED)])
    return table[(table["edits"] > 1) == (track == "sequence")]


def _sorted(table: pd.DataFrame, sort: str | None, rank_by: str) -> pd.DataFrame:
    """Below the runs on data as they are stand those on older ones, then what papers report, and the control stands
    below those that it is shown with; within that, by the column `sort`."""
    if sort:
        ascending = sort in (*ABOUT, *COST) or parts_of(sort)[1] == "rank"
        by = {"reported": True, "older_data": True, "control": True, sort: ascending}
    else:
        by = {"reported": True, **dict.fromkeys(BLOCK, True), "control": True}
        for column in table.columns:
            if "/" in column and "." not in column and parts_of(column)[1] in ("rank", rank_by):
                by[column] = parts_of(column)[1] == "rank"
    keys = table.assign(reported=table["status"] == REPORTED).sort_values(
        [*by], ascending=[*by.values()], kind="stable"
    )
    return table.loc[keys.index].reset_index(drop=True)


def main(argv: list[str] | None = None) -> None:
    """The command: print the table, or write it to a file."""
    options = ArgumentParser(
        prog="python -m leaderboard.table",
        description="Rank the runs of a folder, or of a results folder.",
        epilog=EPILOG,
    )
    options.add_argument("folder", type=Path, metavar="DIR", help="a results folder, or where to look for result.json")
    options.add_argument("--format", choices=FORMATS, default="terminal", help="default: %(default)s")
    options.add_argument("--out", type=Path, metavar="FILE", help="write it there; needed for parquet")
    options.add_argument("--rank-by", default=SCORE, metavar="METRIC", help="default: %(default)s")
    options.add_argument("--sort", metavar="COLUMN", help="default: the best first, of runs that are ranked together")
    options.add_argument("--track", choices=TRACKS, help="default: edits one by one and sequential editing")
    options.add_argument("--status", choices=(*STATUSES, LOCAL), help="only rows of this status")
    for name in ("editor", "backbone", "dataset", "protocol"):
        options.add_argument(f"--{name}", metavar="NAME", help=f"only this {name}")
    chosen = vars(options.parse_args(argv))
    folder, style, out = (chosen.pop(name) for name in ("folder", "format", "out"))
    if style == "parquet" and out is None:
        raise FGVEditError("--format parquet is no text for a terminal; expected --out FILE with it")
    text = render(read_table(folder, **chosen), style, chosen["rank_by"], chosen["sort"])
    if out is None:
        print(text.decode().rstrip("\n"))
    else:
        write_bytes(out, text)


if __name__ == "__main__":
    command_line(main)
