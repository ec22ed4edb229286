"""Result files as one table: `python -m leaderboard.table DIR`."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import FGVEditError, command_line, unknown
from fgvedit.util.files import write_bytes
from leaderboard.board import STATUSES, Reported, hardware, read_results
from leaderboard.migrate import current_result, current_rows
from leaderboard.ranking import (
    RANKED_BY,
    SCORE,
    Group,
    Sampled,
    ends,
    group_of,
    parts_of,
    ranks,
    sample,
    values_of,
    with_score,
)
from leaderboard.reading import read_json, read_rows
from leaderboard.texts import hidden

LOCAL = "local"  # the status of a run that was not submitted: nobody has checked it
FORMATS = ("terminal", "markdown", "csv", "parquet", "json")
TRACKS = ("single", "sequence", "cost")
# Columns about what was run. `weights`: of the backbone, by their revision.
ABOUT = ("editor", "backbone", "weights", "input_mode", "dataset", "records", "edits", "status", "file")
GROUP = ("edits", "dataset", "records", "backbone", "weights", "input_mode")  # those in which ranked runs agree
NOTE = "note"  # the column of what is to be known of a paper's numbers, where there are any
COST = (
    *("seconds_per_edit", "seconds", "peak_memory_bytes", "encoded_images", "trained_parameters"),
    *("hardware", "dtype"),
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
reliability, locality, generality and specificity. Of edits in a row, a metric is right after each edit, and with
@end after all of them. A data set is named with its split and the start of its revision.

Ranks are of runs on the same records, backbone and number of edits in a row: 1 more than the number of runs that are
better beyond doubt (95 % intervals of paired bootstrap differences). Runs that cannot be told apart from the best
share rank 1. Numbers that papers report are listed and never ranked; a run without its rows beside it is not either.
Terminal and Markdown show intervals of what is ranked by and of everything; csv, parquet and json hold .low and .high.
"""


@dataclass(frozen=True)
class Run:
    """A finished run, submitted or not. `file`: its result file, from the folder that was read; `rows`: reads its rows,
    [] where they are not there."""

    file: str
    status: str
    result: dict[str, Any]
    rows: Callable[[], list[dict[str, Any]]]


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


def _rows_beside(result: Path) -> Callable[[], list[dict[str, Any]]]:
    rows = result.with_name("rows.jsonl")
    return lambda: current_rows(read_rows(rows), f"'{rows}'") if rows.exists() else []


def read_table(folder: Path, sort: str | None = None, rank_by: str = SCORE, **only: str | None) -> pd.DataFrame:
    """A row a run or reported editor: the columns of `ABOUT`, of each protocol (and moment) its rank and metrics with
    their intervals (`paper/rank`, `paper/score`, `paper/score.low`, `paper/score.high`, …), then those of `COST`.

    `sort`: a column; by default runs that are ranked together stand together, the best by `rank_by` first. `rank_by`: a
    metric without its protocol. `only`: see `filtered`.
    Raises `FGVEditError` for a folder without a result file, a bad result file, an unknown column and an unknown name.
    """
    runs, reported = read_runs(folder)
    sampled: list[tuple[Group, Sampled]] = []
    lines = []
    for run in runs:
        rows, metrics = run.rows(), run.result["metrics"]
        sampled.append((group_of(run.result), sample(metrics, rows)))
        lines.append({**about(run), **_with_intervals(metrics, sampled[-1][1]), **cost(run.result)})
    lines += [{**_about_reported(paper, row), **with_score(row["metrics"])} for paper in reported for row in paper.rows]
    _add_ranks(lines, sampled, rank_by)
    table = pd.DataFrame(lines)
    metrics_ = sorted((column for column in table.columns if "/" in column), key=_place)
    table = table.reindex(columns=[*ABOUT, *metrics_, *COST, *([NOTE] if reported else [])])
    table = table.astype({column: "Int64" for column in table if column in WHOLE or parts_of(column)[1] == "rank"})
    table = table.copy()  # in one piece
    table = filtered(table, **only)
    if sort is not None and sort not in table.columns:
        raise unknown("column", sort, table.columns)
    return _sorted(table, sort, rank_by)


def about(run: Run) -> dict[str, Any]:
    manifest = run.result["manifest"]
    data = manifest["dataset"]
    values = (
        manifest["editor"]["name"],
        manifest["backbone"]["name"],
        f"{manifest['backbone']['name']}@{manifest['backbone']['revision']}",
        manifest["backbone"]["input_mode"],
        f"{data['name']}/{data['split']}@{data['revision'][:8]}",
        data["records"],
        manifest["sequence"] or 1,
        run.status,
        run.file,
    )
    return dict(zip(ABOUT, values, strict=True))


def _about_reported(paper: Reported, row: Mapping[str, Any]) -> dict[str, Any]:
    dataset = f"{paper.dataset}/{paper.split}"
    values = (row["editor"], row["backbone"], "", "", dataset, None, 1, STATUSES[0], f"reported/{paper.id}.json")
    return {**dict(zip(ABOUT, values, strict=True)), NOTE: paper.note}


def cost(result: Mapping[str, Any]) -> dict[str, Any]:
    manifest = result["manifest"]
    found = {**manifest["cost"], "hardware": hardware(manifest), "dtype": manifest["dtype"]}
    found["seconds_per_edit"] = round(found["edit_seconds"] / manifest["dataset"]["records"], 4)
    return {name: found[name] for name in COST}


def _with_intervals(metrics: Mapping[str, Any], run: Sampled) -> dict[str, float]:
    found = {}
    for name, value in with_score(values_of(metrics)).items():
        found[name] = value
        if name in metrics:
            found[f"{name}.low"], found[f"{name}.high"] = metrics[name]["low"], metrics[name]["high"]
        elif name in run.resampled:
            found[f"{name}.low"], found[f"{name}.high"] = ends(run, name)
    return found


def _add_ranks(lines: list[dict[str, Any]], sampled: Sequence[tuple[Group, Sampled]], rank_by: str) -> None:
    if rank_by not in RANKED_BY:
        raise unknown("metric to rank by", rank_by, RANKED_BY)
    for name in {name for line in lines for name in line if "/" in name and parts_of(name)[1] == rank_by}:
        protocol, _, moment = parts_of(name)
        for line, rank in zip(lines, ranks(sampled, name), strict=False):  # reported rows come last and have none
            line[f"{protocol}/rank{moment}"] = rank


def _place(column: str) -> tuple[bool, str, str, int, str]:
    """Where a metric's column stands: `paper` first, right after before at the end, then rank, score and the metrics in
    their order, each before the ends of its interval."""
    protocol, metric, moment = parts_of(column)
    metric, dot, end = (metric + moment).partition(".")
    metric, at, moment = metric.partition("@")
    order = ["rank", *RANKED_BY]
    place = order.index(metric) if metric in order else len(order)
    return (protocol != "paper", protocol, at + moment, place, {"": "", "low": "1", "high": "2"}.get(end, dot + end))


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
    metrics = [column for column in table.columns if "/" in column]
    if protocol is not None:
        protocols = {parts_of(column)[0] for column in metrics}
        if protocol not in protocols:
            raise unknown("protocol in these results", protocol, protocols)
        table = table.drop(columns=[column for column in metrics if parts_of(column)[0] != protocol])
        table = table[table[[column for column in table.columns if "/" in column]].notna().any(axis=1)]
    if track == "cost":
        table = table[table["status"] != STATUSES[0]]
        table = table.drop(columns=[column for column in table.columns if "/" in column or column == NOTE])
    elif track is not None:
        table = table[(table["edits"] > 1) == (track == "sequence")]
    if table.empty:
        raise FGVEditError("no run is left by these options together; expected at least one: leave out some of them")
    return table.dropna(axis="columns", how="all") if track == "single" else table


def _sorted(table: pd.DataFrame, sort: str | None, rank_by: str) -> pd.DataFrame:
    if sort:
        ascending = sort in (*ABOUT, *COST) or parts_of(sort)[1] == "rank"
        return table.sort_values(sort, ascending=ascending, kind="stable", na_position="last", ignore_index=True)
    values = [c for c in table.columns if "/" in c and "." not in c and parts_of(c)[1] == rank_by]
    keys = table.assign(reported=table["status"] == STATUSES[0])
    by = ["reported", *GROUP, *values]
    small_first = [name not in values for name in by]
    return table.loc[keys.sort_values(by, ascending=small_first, kind="stable").index].reset_index(drop=True)


# -- as text -----------------------------------------------------------------------------------------------------------


def render(table: pd.DataFrame, style: str, rank_by: str = SCORE) -> bytes:
    """The table as a file of one of `FORMATS`, in UTF-8 where it is text."""
    if style == "parquet":
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        return buffer.getvalue()
    if style == "csv":
        texts = table.select_dtypes(exclude="number").columns
        return table.assign(**{name: table[name].map(defused) for name in texts}).to_csv(index=False).encode()
    if style == "json":
        return (table.to_json(orient="records", indent=2) + "\n").encode()
    found = _blocks(table, rank_by, all_intervals=style == "markdown")
    blocks = [_block(title, lines, notes, style) for title, lines, notes in found]
    return ("\n\n".join(blocks) + "\n").encode()


def defused(value: Any) -> Any:
    """A text that a spreadsheet will not take for a formula: one that starts like one, and is no number, gets a quote
    in front."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r", "\n"):
        try:
            float(value)
        except ValueError:
            return f"'{value}"
    return value


def plain(text: str) -> str:
    """Text as a terminal may show it: what cannot be seen, or would steer the terminal, becomes one mark."""
    return "".join("\N{REPLACEMENT CHARACTER}" if hidden(c) else c for c in text)


def escaped(text: str) -> str:
    """Text as it stands in a cell of a Markdown table, where none of it is markup."""
    text = re.sub(r"([\\`*_\[\]|~!#])", r"\\\1", plain(text))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"(www)\.", r"\1&#46;", text.replace("://", ":&#47;/"), flags=re.IGNORECASE)  # GitHub links both


def _blocks(table: pd.DataFrame, rank_by: str, all_intervals: bool) -> list[tuple[str, list[list[str]], list[str]]]:
    """A title, the lines, header first, and notes on them, for the runs that are ranked together under one protocol, or
    for costs."""
    moments: dict[tuple[str, str], None] = {}
    for column in table.columns:
        if "/" in column:
            protocol, _, moment = parts_of(column)
            moments.setdefault((protocol, moment.partition(".")[0]))
    if not moments:
        return [("cost", _cost_lines(table), [])]
    found = []
    for protocol, moment in moments:
        names = [f"{protocol}/{metric}{moment}" for metric in RANKED_BY]
        names = [name for name in names if name in table.columns]
        names.sort(key=lambda name: parts_of(name)[1] != rank_by)  # what is ranked by comes first
        own = table[table[names].notna().any(axis=1)]
        groups = list(own.groupby(list(GROUP), sort=False, dropna=False))
        for key, group in groups:
            edits, dataset, records, backbone, weights, input_mode = key
            if sum(str(other[:4]) == str(key[:4]) for other, _ in groups) > 1:  # which would read alike
                backbone += f" ({weights.rpartition('@')[2][:8]}, {input_mode} input)"
            shown = [name for name in names if group[name].notna().any()]
            what = (
                [f"{dataset} on {backbone}"] if pd.isna(records) else [f"{records} records of {dataset} on {backbone}"]
            )
            what += [f"{'after all' if moment else 'right after each of'} {edits} edits in a row"] if edits > 1 else []
            what += ["as reported, not ranked"] if pd.isna(records) else []
            header = ["rank", "editor", *(parts_of(name)[1] for name in shown), "status", "file"]
            rank = f"{protocol}/rank{moment}"
            lines = [
                [
                    "" if rank not in line or pd.isna(line[rank]) else str(line[rank]),
                    line["editor"],
                    *(_percent(line, name, all_intervals or parts_of(name)[1] == rank_by) for name in shown),
                    line["status"],
                    line["file"],
                ]
                for line in group.to_dict("records")
            ]
            notes = [note for note in group.get(NOTE, pd.Series(dtype=object)).dropna().unique() if note]
            found.append((f"{protocol}: {', '.join(what)}", [header, *lines], notes))
    return found


def _percent(line: Mapping[str, Any], name: str, with_interval: bool) -> str:
    value, low = line[name], line.get(f"{name}.low", math.nan)
    if pd.isna(value):
        return ""
    return f"{value:.2f}" + (f" [{low:.2f}, {line[f'{name}.high']:.2f}]" if with_interval and not pd.isna(low) else "")


def _cost_lines(table: pd.DataFrame) -> list[list[str]]:
    header = ["editor", "backbone", "dataset", "records", "edits"]
    shown = {"seconds_per_edit": "{:.3f}", "seconds": "{:.0f}", "peak_memory_bytes": "{:,}", "encoded_images": "{:,}",
             "trained_parameters": "{:,}", "hardware": "{}", "dtype": "{}"}  # fmt: skip
    lines = [
        [
            *(str(line[name]) for name in header),
            *("" if pd.isna(line[c]) else f.format(line[c]) for c, f in shown.items()),
        ]
        for line in table.to_dict("records")
    ]
    return [[*header, *shown], *lines]


def _block(title: str, lines: list[list[str]], notes: list[str], style: str) -> str:
    if style == "markdown":
        header, *body = [[escaped(cell) for cell in line] for line in lines]
        rows = [header, ["---"] * len(header), *body]
        text = "\n".join("| " + " | ".join(row) + " |" for row in rows)
        return "\n\n".join([f"**{escaped(title)}**", text, *map(escaped, notes)])
    columns = [_aligned([plain(cell) for cell in column]) for column in zip(*lines, strict=True)]
    return "\n".join(
        [plain(title), *("  ".join(line).rstrip() for line in zip(*columns, strict=True)), *map(plain, notes)]
    )


def _aligned(column: list[str]) -> list[str]:
    """Cells of one width; the first part of numbers stands to the right, an interval after it to the left."""
    parts = [cell.partition(" [") for cell in column]
    if not any(re.fullmatch(r"[\d.,]+", value) for value, _, _ in parts[1:]):
        return [cell.ljust(max(map(len, column))) for cell in column]
    first = max(len(value) for value, bracket, _ in parts[1:] if value)
    cells = [value.rjust(first) + bracket + rest for value, bracket, rest in parts[1:]]
    width = max(map(len, [column[0], *cells]))
    head = column[0].ljust(width) if any(bracket for _, bracket, _ in parts) else column[0].rjust(width)
    return [head, *(cell.ljust(width) if "[" in "".join(cells) else cell.rjust(width) for cell in cells)]


def main(argv: list[str] | None = None) -> None:
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
    options.add_argument("--track", choices=TRACKS, help="default: single edits and edits in a row")
    options.add_argument("--status", choices=(*STATUSES, LOCAL), help="only rows of this status")
    for name in ("editor", "backbone", "dataset", "protocol"):
        options.add_argument(f"--{name}", metavar="NAME", help=f"only this {name}")
    chosen = vars(options.parse_args(argv))
    folder, style, out = (chosen.pop(name) for name in ("folder", "format", "out"))
    if style == "parquet" and out is None:
        raise FGVEditError("--format parquet is no text for a terminal; expected --out FILE with it")
    text = render(read_table(folder, **chosen), style, chosen["rank_by"])
    if out is None:
        print(text.decode().rstrip("\n"))
    else:
        write_bytes(out, text)


if __name__ == "__main__":
    command_line(main)
