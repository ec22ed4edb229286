"""The metrics of a result as the text that a run prints at its end, and what is said beside metrics wherever they are
shown. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from fgvedit.evaluation.intervals import Figure
from fgvedit.evaluation.metrics import END, beyond_nothing
from fgvedit.probes import described, shown_metrics

CONTROL = "baselines.none.editor:NoEdit"  # the editor that does nothing, as manifests name its class
NOT_COMPARED = (  # stands wherever the paper's figures do
    "The hard probes here are balanced pairs, not what the paper's filter left: its 31.92 for a text-only router and "
    "the 50 that chance has here are not on one scale, so its columns and ours are not to be compared."
)


def is_control(manifest: Mapping[str, Any]) -> bool:
    """Whether a run's editor is the control: no edit at all."""
    return manifest["editor"].get("class") == CONTROL


def summary(result: Mapping[str, Any]) -> str:
    """A line a metric, a column a protocol, the interval in brackets; then what the metrics mean. Of sequential editing
    there are two tables: right after each edit, and after all of them."""
    manifest, edits = result["manifest"], result["manifest"]["sequence"]
    figures = {**result["metrics"], **beyond_nothing(result["metrics"])}
    tables = [_table(figures, manifest["protocols"], "", "right after" if edits else "")]
    if edits:
        tables.append(_table(figures, manifest["protocols"], END, f"after all {edits}"))
    there = {name.partition("/")[2].removesuffix(END) for name in figures}
    explained = legend(one for one in described()["metrics"] if one["name"] in there)
    return "\n\n".join([f"{_title(manifest)}\n{tables[0]}", *tables[1:], columns(explained)])


def _title(manifest: Mapping[str, Any]) -> str:
    data, edits = manifest["dataset"], manifest["sequence"]
    control = " (the control: no edit at all)" if is_control(manifest) else ""
    return (
        f"{manifest['editor']['name']}{control} on {manifest['backbone']['name']}, {data['records']} records of "
        f"{data['name']}/{data['split']}{f', {edits} edits in sequence' if edits else ''}; percent, with 95 % intervals"
    )


def _table(figures: Mapping[str, Figure], protocols: Sequence[str], point: str, corner: str) -> str:
    lines = [[corner, *protocols]]
    for metric in shown_metrics():
        cells = [_cell(figures.get(f"{protocol}/{metric}{point}")) for protocol in protocols]
        if any(cells):
            lines.append([metric, *cells])
    return columns(lines)


def _cell(figure: Figure | None) -> str:
    return f"{figure['value']:6.2f} [{figure['low']:.2f}, {figure['high']:.2f}]" if figure else ""


def legend(metrics: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """A line a metric, as `fgvedit.probes.described` has them: its name, whether it needs eyes or is retired, and what
    it means."""
    marks = {"needs_eyes": "needs eyes", "retired": "retired"}
    return [
        [metric["name"], ", ".join(mark for key, mark in marks.items() if metric[key]), metric["meaning"]]
        for metric in metrics
    ]


def columns(lines: Collection[Sequence[str]]) -> str:
    """Lines of cells with the columns one below the other."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in padded)
