"""A table of results as a file or for a terminal: see `leaderboard.table`."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from fgvedit.editors.supervision import SUPERVISION
from fgvedit.evaluation.summary import legend
from leaderboard.notes import described_metrics
from leaderboard.ranking import SCORE, parts_of
from leaderboard.texts import hidden

FORMATS = ("terminal", "markdown", "csv", "parquet", "json")
# Columns in which runs agree that are ranked together.
BLOCK = ("older_data", "edits", "dataset", "records", "backbone", "weights", "input_mode")
# Columns of what is to be known of a run's data or of a paper's numbers, and of what these are not to be compared with.
NOTE, COMPARED = "note", "not_compared"
CONTROL = "control"  # in the place of a rank, and where costs are told
OLDER = "an older revision of the data"
COST = (
    *("seconds_per_edit", "seconds", "peak_memory_bytes", "encoded_images", "trained_parameters"),
    *("hardware", "dtype"),
)
Part = tuple[str, list[list[str]], list[str]]  # a title, lines of cells, the header first, and notes on them


def render(table: pd.DataFrame, style: str, rank_by: str = SCORE, sort: str | None = None) -> bytes:
    """The table as a file of one of `FORMATS`, in UTF-8 where it is text. `sort`: the column that it was sorted by;
    None: each part comes in the order of its own ranks."""
    if style == "parquet":
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        return buffer.getvalue()
    if style == "csv":
        texts = table.select_dtypes(exclude="number").columns
        return table.assign(**{name: table[name].map(defused) for name in texts}).to_csv(index=False).encode()
    if style == "json":
        return (table.to_json(orient="records", indent=2) + "\n").encode()
    found = _parts(table, rank_by, style == "markdown", sort is not None)
    parts = [_part(title, lines, notes, style) for title, lines, notes in (*found, *_legend(table))]
    return ("\n\n".join(parts) + "\n").encode()


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


def _parts(table: pd.DataFrame, rank_by: str, all_intervals: bool, is_sorted: bool) -> list[Part]:
    """A part for each block, the runs that are ranked together, under one protocol; or, of costs, for each data set."""
    points: dict[tuple[str, str], list[str]] = {}  # protocol and evaluation point -> columns of its metrics
    for column in table.columns:
        if "/" in column:
            protocol, metric, point = parts_of(column)
            names = points.setdefault((protocol, point.partition(".")[0]), [])
            names += [column] if "." not in column and metric != "rank" else []
    if not points:
        return _costs(table)
    found = []
    for (protocol, point), names in points.items():
        names.sort(key=lambda name: parts_of(name)[1] != rank_by)  # what is ranked by comes first
        own = table[table[names].notna().any(axis=1)]
        blocks = list(own.groupby(list(BLOCK), sort=False, dropna=False))
        for key, block in blocks:
            alike = sum(str(other[:-2]) == str(key[:-2]) for other, _ in blocks) > 1
            shown = [name for name in names if block[name].notna().any()]
            rank, value = f"{protocol}/rank{point}", f"{protocol}/{rank_by}{point}"
            ranked = block if is_sorted else _in_order(block, rank, value)
            lines = _block_lines(ranked, shown, rank, rank_by, all_intervals)
            found.append((f"{protocol}: {_block_title(key, point, alike)}", lines, _notes(block)))
    return found


def _in_order(block: pd.DataFrame, rank: str, value: str) -> pd.DataFrame:
    """Runs in the order of their ranks, those of one rank by their value, the control last."""
    by = {"control": True, rank: True, value: False}
    by = {name: ascending for name, ascending in by.items() if name in block}
    return block.sort_values([*by], ascending=[*by.values()], kind="stable")


def _notes(block: pd.DataFrame) -> list[str]:
    """What is to be known of a block's numbers, each thing once."""
    return [note for column in (NOTE, COMPARED) if column in block for note in block[column].dropna().unique()]


def _legend(table: pd.DataFrame) -> list[Part]:
    """A part that says what each metric of the table means, and one that says what the words of supervision mean; none
    of what the table does not have."""
    names = (column for column in table.columns if "/" in column and "." not in column and table[column].notna().any())
    there = [name for name in dict.fromkeys(parts_of(name)[1] for name in names) if name != "rank"]
    lines = legend(one for one in described_metrics(there) if one["name"] in there)
    words = [["supervision", "meaning"], *map(list, SUPERVISION.items())]
    parts: list[Part] = [("what the metrics mean", [["metric", "", "meaning"], *lines], [])] if lines else []
    return [*parts, *([("what editors learned from beforehand", words, [])] if table["supervision"].any() else [])]


def _block_title(key: Any, point: str, alike: bool) -> str:
    """`key`: the values of `BLOCK`; `alike`: whether another block would read alike without weights and input mode."""
    is_older, edits, dataset, records, backbone, weights, input_mode = key
    if alike:
        backbone += f" ({weights.rpartition('@')[2][:8]}, {input_mode} input)"
    of = f"{dataset} on {backbone}"
    parts = [of if pd.isna(records) else f"{records} records of {of}"]
    parts += [f"{'after all' if point else 'right after each of'} {edits} sequential edits"] if edits > 1 else []
    parts += [OLDER] if is_older else []
    parts += ["as reported, not ranked"] if pd.isna(records) else []
    return ", ".join(parts)


def _block_lines(
    block: pd.DataFrame, shown: list[str], rank: str, rank_by: str, all_intervals: bool
) -> list[list[str]]:
    header = ["rank", "editor", "supervision", *(parts_of(name)[1] for name in shown), "status", "file"]
    lines = [
        [
            CONTROL if line["control"] else "" if rank not in line or pd.isna(line[rank]) else str(line[rank]),
            line["editor"],
            line["supervision"],
            *(_percent(line, name, all_intervals or parts_of(name)[1] == rank_by) for name in shown),
            line["status"],
            line["file"],
        ]
        for line in block.to_dict("records")
    ]
    return [header, *lines]


def _percent(line: Mapping[Any, Any], name: str, with_interval: bool) -> str:
    value, low = line[name], line.get(f"{name}.low", math.nan)
    if pd.isna(value):
        return ""
    return f"{value:.2f}" + (f" [{low:.2f}, {line[f'{name}.high']:.2f}]" if with_interval and not pd.isna(low) else "")


def _costs(table: pd.DataFrame) -> list[Part]:
    of = table.groupby(["older_data", "dataset"], sort=False)
    return [
        (f"cost: {dataset}" + (f", {OLDER}" if is_older else ""), _cost_lines(runs), [])
        for (is_older, dataset), runs in of
    ]


def _cost_lines(runs: pd.DataFrame) -> list[list[str]]:
    header = ["supervision", "backbone", "records", "edits"]
    shown = {"seconds_per_edit": "{:.3f}", "seconds": "{:.0f}", "peak_memory_bytes": "{:,}", "encoded_images": "{:,}",
             "trained_parameters": "{:,}", "hardware": "{}", "dtype": "{}"}  # fmt: skip
    lines = [
        [
            f"{line['editor']} ({CONTROL})" if line["control"] else line["editor"],
            *(str(line[name]) for name in header),
            *("" if pd.isna(line[c]) else f.format(line[c]) for c, f in shown.items()),
        ]
        for line in runs.to_dict("records")
    ]
    return [["editor", *header, *shown], *lines]


def _part(title: str, lines: list[list[str]], notes: list[str], style: str) -> str:
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
    if not any(re.fullmatch(r"-?[\d.,]+", value) for value, _, _ in parts[1:]):
        return [cell.ljust(max(map(len, column))) for cell in column]
    first = max(len(value) for value, bracket, _ in parts[1:] if value)
    cells = [value.rjust(first) + bracket + rest for value, bracket, rest in parts[1:]]
    width = max(map(len, [column[0], *cells]))
    head = column[0].ljust(width) if any(bracket for _, bracket, _ in parts) else column[0].rjust(width)
    return [head, *(cell.ljust(width) if "[" in "".join(cells) else cell.rjust(width) for cell in cells)]
