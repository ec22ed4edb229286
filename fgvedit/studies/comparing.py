"""Finished runs of different editors on the same records, from their rows and manifests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fgvedit.editors.supervision import supervision_of
from fgvedit.evaluation.intervals import Figure
from fgvedit.evaluation.metrics import beyond_nothing, metrics_from_rows, paired_differences, router_from_rows
from fgvedit.evaluation.rows import Row, checked_row
from fgvedit.evaluation.summary import is_control
from fgvedit.probes import probe_kinds, shown_metrics
from fgvedit.util.files import read_json


@dataclass(frozen=True)
class Run:
    """A finished run: the rows of one editor."""

    name: str
    manifest: Mapping[str, Any]
    rows: list[Row]

    @property
    def control(self) -> bool:
        """Whether it is the run of no edit at all."""
        return is_control(self.manifest)

    @property
    def supervision(self) -> str:
        """What its editor learned from beforehand."""
        return supervision_of(self.manifest)

    @cached_property
    def metrics(self) -> dict[str, Figure]:
        """`<protocol>/<metric>` -> its figure; `BEYOND_NOTHING` among them."""
        figures = metrics_from_rows(self.rows)
        return {**figures, **beyond_nothing(figures)}

    @cached_property
    def router(self) -> dict[str, dict[str, Figure]]:
        """protocol -> recalls of the router (see `router_from_rows`)."""
        return router_from_rows(self.rows)


def read_run(name: str, folder: Path) -> Run:
    """The run in a folder, as that of the editor `name`. Raises `FGVEditError`, naming the line, for a bad row."""
    path = folder / "rows.jsonl"
    with path.open(encoding="utf-8") as lines:
        rows = [checked_row(json.loads(line), f"'{path}' line {number}") for number, line in enumerate(lines, 1)]
    return Run(name, read_json(folder / "result.json")["manifest"], rows)


class Study:
    """Runs of different editors on the same records, the control last, and the paired differences between them."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = {run.name: run for run in sorted(runs, key=lambda run: run.control)}
        self.manifest = runs[0].manifest
        self.protocols: list[str] = self.manifest["protocols"]
        self._differences: dict[tuple[str, str], dict[str, Figure]] = {}

    @cached_property
    def metrics(self) -> list[str]:
        """The metrics that the runs have, in the registry's order."""
        found = {name.partition("/")[2] for run in self.runs.values() for name in run.metrics}
        return [metric for metric in shown_metrics() if metric in found]

    @cached_property
    def kinds(self) -> list[str]:
        """The kinds of probes that the runs have but the edit's own, in the registry's order."""
        found = {row["kind"] for run in self.runs.values() for row in run.rows}
        return [kind for kind in probe_kinds() if kind in found]

    def difference(self, first: str, second: str, metric: str) -> Figure | None:
        """The first editor's `<protocol>/<metric>` less the second's; None where either has none."""
        if first not in self.runs or second not in self.runs:
            return None
        pair = (first, second)
        if pair not in self._differences:
            self._differences[pair] = paired_differences(self.runs[first].rows, self.runs[second].rows)
        return self._differences[pair].get(metric)

    def best_but(self, name: str, metric: str) -> str | None:
        """The editor other than `name` and the control with the highest `<protocol>/<metric>`."""
        others = [run for run in self.runs.values() if run.name != name and not run.control and metric in run.metrics]
        return max(others, key=lambda run: run.metrics[metric]["value"]).name if others else None
