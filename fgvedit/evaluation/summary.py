"""The metrics of a result as the text that a run prints at its end, and what is said beside metrics wherever they are
shown. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fgvedit.evaluation.intervals import Figure
from fgvedit.evaluation.metrics import END, beyond_nothing
from fgvedit.probes import described, shown_metrics

CONTROL = "baselines.none.editor:NoEdit"  # the class by which the control is known where a manifest does not say it
NOT_COMPARED = (  # stands wherever the paper's figures do
    "The hard probes of scenes, since its second revision, are balanced pairs, on which chance is 50; the paper "
    "filters its own, and its 31.92 for a text-only router is of these. The two are not on one scale: columns of the "
    "paper and of runs are not to be compared."
)


@dataclass(frozen=True)
class OlderRevision:
    """Embedded data that have been replaced. `name`: of their configuration; `tag`: the git tag that holds them;
    `known`: what is to be known wherever a run on them is shown."""

    name: str
    tag: str
    known: str


_FIRST_SCENES = OlderRevision(
    "scenes",
    "scenes-3232de75",
    "The first revision of scenes (git tag scenes-3232de75): there words alone settle in_scope and out_of_scope, "
    "whatever the mark of their metrics says (docs/audit.md).",
)
OLDER = {  # the revision of a split -> what it is of
    "3232de75564aded54b5c44e9e4ad19cbbba57de1a6aaa122d8c7313bd0c3f3fc": _FIRST_SCENES,  # test
    "849fce1738705b160ff62d0669b79b4a512a70b35a2e97c9d7776b3c9c6439e0": _FIRST_SCENES,  # train
}


def older(manifest: Mapping[str, Any]) -> OlderRevision | None:
    """The older revision of embedded data that a run is on, whatever its manifest calls them; None for other data."""
    return OLDER.get(manifest["dataset"]["revision"])


def is_control(manifest: Mapping[str, Any]) -> bool:
    """Whether a run's editor is the control, which makes no edit at all: as the manifest says or, where it was written
    before they did, by the editor's class."""
    editor = manifest["editor"]
    return editor.get("control", editor.get("class") == CONTROL)


def summary(result: Mapping[str, Any]) -> str:
    """A line a metric, a column a protocol, the interval in brackets; then what the metrics mean, and what is to be
    known of older data. Of sequential editing there are two tables: right after each edit, and after all of them."""
    manifest, edits = result["manifest"], result["manifest"]["sequence"]
    figures = {**result["metrics"], **beyond_nothing(result["metrics"])}
    tables = [_table(figures, manifest["protocols"], "", "right after" if edits else "")]
    if edits:
        tables.append(_table(figures, manifest["protocols"], END, f"after all {edits}"))
    there = {name.partition("/")[2].removesuffix(END) for name in figures}
    explained = legend(one for one in described()["metrics"] if one["name"] in there)
    known = [replaced.known] if (replaced := older(manifest)) else []
    return "\n\n".join([f"{_title(manifest)}\n{tables[0]}", *tables[1:], columns(explained), *known])


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
