"""What stands above a run's records: what was run, its metrics, and how its router's similarities are spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fgvedit.evaluation.metrics import END, beyond_nothing, metrics_from_rows
from fgvedit.evaluation.protocols import protocols
from fgvedit.evaluation.summary import is_control, older
from fgvedit.probes import described
from fgvedit.viewers.report.reading import Run
from fgvedit.viewers.report.records import CHUNK, assumed_fit

BINS = 40  # of a histogram of rho
THRESHOLD = 0.5  # of rho, where an editor's configuration has none: see docs/baselines.md


def overview(run: Run) -> dict[str, Any]:
    """The page's data but for the records. Kinds, metrics and protocols are those that the run has, as their
    registries describe them; a protocol that is not registered here has no meaning."""
    figures, known = metrics_from_rows(run.rows), described()
    figures |= beyond_nothing(figures)
    kinds, metrics = {row["kind"] for row in run.rows}, {name.partition("/")[2].removesuffix(END) for name in figures}
    return {
        "control": is_control(run.manifest),
        "older": replaced.known if (replaced := older(run.manifest)) else "",
        "manifest": {key: value for key, value in run.manifest.items() if key != "rows_sha256"},
        "rows": len(run.rows),
        "chunk": CHUNK,
        "protocols": [_protocol(name) for name in run.manifest["protocols"]],
        "kinds": [kind for kind in known["kinds"] if kind["name"] in kinds],
        "metrics": [metric for metric in known["metrics"] if metric["name"] in metrics],
        "points": run.points,
        "figures": figures,
        "threshold": _threshold(run),
        "rho": _histograms(run),
        "attention": bool(run.attention),
        "assumed_fit": assumed_fit(run) if any("fit" not in line for line in run.attention.values()) else None,
    }


def _protocol(name: str) -> dict[str, Any]:
    registered = protocols().get(name)
    return {"name": name, "meaning": registered.meaning if registered else None}


def _threshold(run: Run) -> float:
    found = run.manifest["editor"]["config"].get("threshold")
    return found if isinstance(found, (int, float)) else THRESHOLD


def _histograms(run: Run) -> dict[str, Any] | None:
    """Of each protocol and evaluation point, how many probes of each kind have their rho in which of `BINS` equal bins:
    those below the threshold, and those from it on, whichever bin it is in. None for an editor without a rho. "low" and
    "high" are where the bins begin and end: 0 and 1, or further out."""
    found = [(row, row["rho"]) for row in run.rows if row["rho"] is not None and math.isfinite(row["rho"])]
    if not found:
        return None
    rhos = [rho for _, rho in found]
    low, high = min(0.0, *rhos), max(1.0, *rhos)
    values: dict[str, dict[str, list[float]]] = {}
    for row, rho in found:
        for point in run.points_of(row):
            values.setdefault(row["protocol"] + point, {}).setdefault(row["kind"], []).append(rho)
    threshold = _threshold(run)

    def sides(own: Sequence[float]) -> list[list[int]]:
        below, from_it_on = [rho for rho in own if rho < threshold], [rho for rho in own if rho >= threshold]
        return [np.histogram(side, BINS, (low, high))[0].tolist() for side in (below, from_it_on)]

    counts = {name: {kind: sides(own) for kind, own in kinds.items()} for name, kinds in values.items()}
    return {"low": low, "high": high, "counts": counts}
