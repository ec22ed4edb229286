"""The metrics of a result as the text that a run prints at its end. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fgvedit.evaluation.intervals import Figure
from fgvedit.evaluation.metrics import END
from fgvedit.probes import metrics


def summary(result: Mapping[str, Any]) -> str:
    """A line a metric, a column a protocol, the interval in brackets. Of sequential editing there are two tables: right
    after each edit, and after all of them."""
    manifest, figures = result["manifest"], result["metrics"]
    data, edits = manifest["dataset"], manifest["sequence"]
    title = (
        f"{manifest['editor']['name']} on {manifest['backbone']['name']}, {data['records']} records of "
        f"{data['name']}/{data['split']}{f', {edits} edits in sequence' if edits else ''}; percent, with 95 % intervals"
    )
    if not edits:
        return "\n".join([title, *_table(figures, manifest["protocols"], "", "")])
    right_after = _table(figures, manifest["protocols"], "", "right after")
    return "\n".join([title, *right_after, "", *_table(figures, manifest["protocols"], END, f"after all {edits}")])


def _table(figures: Mapping[str, Figure], protocols: Sequence[str], point: str, corner: str) -> list[str]:
    lines = [[corner, *protocols]]
    for metric in metrics():
        cells = [_cell(figures.get(f"{protocol}/{metric}{point}")) for protocol in protocols]
        if any(cells):
            lines.append([metric, *cells])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _cell(figure: Figure | None) -> str:
    return f"{figure['value']:6.2f} [{figure['low']:.2f}, {figure['high']:.2f}]" if figure else ""
