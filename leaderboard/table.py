"""Result files as one table: `python -m leaderboard.table DIR`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fgvedit.cli import ArgumentParser
from fgvedit.errors import FGVEditError, command_line, unknown
from fgvedit.results import METRICS
from leaderboard.migrate import current_result
from leaderboard.reading import read_json

SCORED = ("reliability", "locality", "generality", "specificity")  # what <protocol>/score is the harmonic mean of
ABOUT = ("editor", "backbone", "dataset", "records", "file")  # the columns that are not metrics
FORMATS = ("terminal", "markdown", "csv", "json")

EPILOG = """\
examples:
  python -m leaderboard.table runs
  python -m leaderboard.table runs --sort generation/specificity
  python -m leaderboard.table runs --format csv > results.csv

A metric is named with its protocol, in percent. <protocol>/score is the harmonic mean of that protocol's
reliability, locality, generality and specificity. A data set is named with its split and the start of its revision.
"""


def read_result(path: Path) -> dict[str, Any]:
    """A result file of any format, in the current one. Raises `FGVEditError`, naming the file and the field, where it
    is damaged or not valid."""
    return current_result(read_json(path), f"'{path}'")


def read_table(folder: Path, sort: str | None = None) -> pd.DataFrame:
    """A row a result file found anywhere under `folder`, best first; the columns of `ABOUT`, then the metrics.

    `sort`: a column; by default each protocol's score, `paper/score` before the others.
    Raises `FGVEditError` for a folder without a result file, a bad result file, and an unknown column.
    """
    paths = sorted(folder.rglob("result.json"))
    if not paths:
        found = "there is no such folder" if not folder.is_dir() else "there is none"
        raise FGVEditError(f"'{folder}': {found}; expected a folder with a result.json in it or below")
    table = pd.DataFrame([row(read_result(path), path.relative_to(folder)) for path in paths])
    metrics = sorted((column for column in table.columns if column not in ABOUT), key=_place)
    table = table[[*ABOUT, *metrics]]
    if sort is not None and sort not in table.columns:
        raise unknown("column", sort, table.columns)
    by = [sort] if sort else [column for column in metrics if column.endswith("/score")] or metrics[:1]
    table = table.sort_values(by, ascending=sort in ABOUT, kind="stable", na_position="last")
    return table.reset_index(drop=True)


def row(result: Mapping[str, Any], path: Path) -> dict[str, Any]:
    manifest = result["manifest"]
    data = manifest["dataset"]
    about = (
        manifest["editor"]["name"],
        manifest["backbone"]["name"],
        f"{data['name']}/{data['split']}@{data['revision'][:8]}",
        data["records"],
        str(path),
    )
    values = {name: metric["value"] for name, metric in result["metrics"].items()}
    for protocol in manifest["protocols"]:
        names = [f"{protocol}/{metric}" for metric in SCORED]
        if all(name in values for name in names):
            values[f"{protocol}/score"] = round(harmonic_mean([values[name] for name in names]), 4)
    return {**dict(zip(ABOUT, about, strict=True)), **values}


def harmonic_mean(values: list[float]) -> float:
    """0 where one of the values is 0."""
    return len(values) / sum(1 / value for value in values) if all(values) else 0.0


def _place(column: str) -> tuple[bool, str, int]:
    """Where a metric's column stands: `paper` first, then each protocol's score, then its metrics in their order."""
    protocol, _, metric = column.partition("/")
    order = ["score", *METRICS]
    return (protocol != "paper", protocol, order.index(metric) if metric in order else len(order))


def render(table: pd.DataFrame, style: str) -> str:
    if style == "csv":
        return table.to_csv(index=False).rstrip("\n")
    if style == "json":
        return table.to_json(orient="records", indent=2)
    cells = [[_text(value) for value in row] for row in table.itertuples(index=False)]
    if style == "markdown":
        lines = [list(table.columns), ["---"] * len(table.columns), *cells]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    # A terminal is narrow: one block a protocol, under the names of what was run.
    protocols = dict.fromkeys(column.partition("/")[0] for column in table.columns if "/" in column)
    blocks = []
    for protocol in protocols:
        shown = [c for c in table.columns if c in ABOUT[:4] or c.startswith(f"{protocol}/")]
        places = [list(table.columns).index(column) for column in shown]
        header = [column.removeprefix(f"{protocol}/") for column in shown]
        blocks.append(f"{protocol}\n" + _columns([header, *([line[place] for place in places] for line in cells)]))
    return "\n\n".join(blocks)


def _columns(lines: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.2f}"
    return str(value)


def main(argv: list[str] | None = None) -> None:
    options = ArgumentParser(
        prog="python -m leaderboard.table", description="Rank the result files under a folder.", epilog=EPILOG
    )
    options.add_argument("folder", type=Path, metavar="DIR", help="where to look for result.json files")
    options.add_argument("--format", choices=FORMATS, default="terminal", help="default: %(default)s")
    options.add_argument("--sort", metavar="COLUMN", help="default: each protocol's score, paper first")
    chosen = options.parse_args(argv)
    print(render(read_table(chosen.folder, chosen.sort), chosen.format))


if __name__ == "__main__":
    command_line(main)
