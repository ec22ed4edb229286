"""What the pages of the site show, as JSON: nothing here writes HTML."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import yaml

from fgvedit import probes
from fgvedit.editors.supervision import SUPERVISION, supervision_of
from fgvedit.evaluation.metrics import beyond_nothing, metrics_from_rows
from fgvedit.evaluation.protocols import OWN as OWN_PROTOCOLS
from fgvedit.evaluation.protocols import protocols
from fgvedit.evaluation.rows import AnyRow
from fgvedit.evaluation.summary import NOT_COMPARED, OlderRevision, older
from leaderboard.board import STATUSES, Entry, Reported, hardware
from leaderboard.notes import described_metrics
from leaderboard.ranking import (
    Block,
    Sampled,
    block_of,
    comparable,
    ends,
    parts_of,
    sample,
    values_of,
    with_score,
)
from leaderboard.ranking import differences as differences_in

POINTS = 20  # of a curve, at most
KEY = ("record_id", "edits", "probe")  # of a row, besides its protocol
OURS = ("fgvedit", "baselines")  # whose editors have registered names
COMMIT = re.compile("[0-9a-f]{40}")  # the revision of a backbone on the hub; of a folder it is longer
Curves = dict[str, dict[str, list[list[float | None]]]]  # metric -> side -> points


@dataclass(frozen=True)
class Shown:
    """One run as the site needs it: read once, without its rows."""

    entry: Entry
    block: Block
    sampled: Sampled
    curves: Curves

    @property
    def older(self) -> OlderRevision | None:
        """The older revision of embedded data that it is on."""
        return older(self.entry.result["manifest"])


def shown(entry: Entry, rows: Sequence[AnyRow]) -> Shown:
    """A submitted run and its rows as the site needs them."""
    return Shown(entry, block_of(entry.result), sample(entry.result, rows), curves(rows))


def curves(rows: Sequence[AnyRow]) -> Curves:
    """Of sequential editing, two curves a metric: `edits_in_force`, right after its own edit, by how many edits were in
    force, and `edits_since`, after all of them, by how many were made after its own.

    A curve is a list of points: the mean number of edits, the value, the ends of its interval and the number of probes,
    which the score, a mean of means, is without.
    Neighbours share a point where there would be more than `POINTS`. Runs of single edits have no curves.
    """
    last = max(row["edits"] for row in rows)
    if last == 1:
        return {}
    found: Curves = {}
    sides = {
        "edits_in_force": ("edits", [row for row in rows if row["age"] == 0]),
        "edits_since": ("age", [row for row in rows if row["edits"] == last]),
    }
    for side, (field, own) in sides.items():
        for edits, these in _at_points(own, field):
            metrics = metrics_from_rows(these)
            for name, value in with_score(values_of(metrics)).items():
                low, high, probes = (metrics.get(name, {}).get(key) for key in ("low", "high", "probes"))
                found.setdefault(name, {}).setdefault(side, []).append([edits, value, low, high, probes])
    return found


def _at_points(rows: Sequence[AnyRow], field: str) -> Iterator[tuple[float, list[AnyRow]]]:
    """The points of a curve over `field`: the mean number of edits, and the rows as those of single edits."""
    numbers = sorted({row[field] for row in rows})
    each = -(-len(numbers) // POINTS)
    for start in range(0, len(numbers), each):
        point = numbers[start : start + each]
        yield sum(point) / len(point), [{**row, "edits": 1, "age": 0} for row in rows if row[field] in point]


# -- what numbers mean -------------------------------------------------------------------------------------------------


def registry(runs: Sequence[Shown], reported: Sequence[Reported]) -> dict[str, Any]:
    """Kinds of probes, metrics in the order of tables, protocols, words of supervision and statuses, each with what it
    means in one line, and how a paper's figures are to be read.

    Retired metrics are there where a run or a paper has them, and so are those that are not registered here.
    """
    names = [name for run in runs for name in run.sampled.values]
    names += [name for paper in reported for row in paper.rows for name in row["metrics"]]
    there = dict.fromkeys(parts_of(name)[1] for name in names)
    asked = {parts_of(name)[0] for name in names}
    return {
        "kinds": probes.described()["kinds"],
        "metrics": described_metrics(there),
        "protocols": [
            {"name": name, "meaning": protocols()[name].meaning, "checked": protocols()[name].checked}
            for name in protocols()
            if name in asked or name in OWN_PROTOCOLS  # others need not even be loadable here
        ],
        "supervision": SUPERVISION,
        "statuses": STATUSES,
        "not_compared": NOT_COMPARED,
    }


# -- the table and the plots -------------------------------------------------------------------------------------------


class Ranks:
    """How many runs of its block are better than a run, beyond doubt, in a metric; counted from their differences. The
    control is not ranked and not counted."""

    def __init__(self, runs: Sequence[Shown]) -> None:
        ranked = [run for run in runs if not run.sampled.control]
        self._blocks = {run.entry.id: run.block for run in ranked}
        self._below = {
            run.entry.id: {name: 0 for name in run.sampled.values if name in run.sampled.resampled} for run in ranked
        }

    def count(self, run: Shown, found: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
        """`found`: the run's `differences`."""
        if run.sampled.control:
            return
        for other, by_name in found.items():
            if self._blocks.get(other) == run.block:
                for name, (_, low, high) in by_name.items():
                    self._below[run.entry.id][name] += high < 0
                    self._below[other][name] += low > 0

    def of(self, run: Shown) -> dict[str, int]:
        """Metric -> the run's rank in it."""
        return {name: 1 + below for name, below in self._below.get(run.entry.id, {}).items()}


def board(runs: Sequence[Shown], ranks: Ranks, reported: Sequence[Reported]) -> dict[str, Any]:
    """`runs`: each with its metrics ({name: [value, low, high]}), ranks and cost; `reported`: papers and their rows."""
    return {
        "runs": [
            {
                **summary(run),
                "metrics": _metrics(run),
                "ranks": ranks.of(run),
                "cost": run.entry.result["manifest"]["cost"],
                "curves": run.curves,
            }
            for run in runs
        ],
        "reported": [
            {**asdict(paper), "rows": [{**row, "metrics": with_score(row["metrics"])} for row in paper.rows]}
            for paper in reported
        ],
    }


def summary(run: Shown) -> dict[str, Any]:
    """What tells a run from others."""
    entry, manifest = run.entry, run.entry.result["manifest"]
    return {
        "id": entry.id,
        "editor": manifest["editor"]["name"],
        "supervision": supervision_of(manifest),
        "control": run.sampled.control,
        "backbone": run.block.backbone,
        "weights": run.block.weights[:8],
        "input_mode": run.block.input_mode,
        "data": f"{run.block.dataset}/{run.block.split}@{run.block.revision[:8]}",
        "older": run.older.known if run.older else "",  # what is to be known of older data
        "records": run.block.records,
        "sequence": run.block.sequence,
        "block": "\t".join(map(str, asdict(run.block).values())),
        "protocols": manifest["protocols"],
        "status": entry.status,
        "name": entry.name,
        "seed": manifest["seed"],
        "hardware": hardware(manifest),
        "dtype": manifest["dtype"],
    }


def _metrics(run: Shown) -> dict[str, list[float]]:
    """name -> [value, low, high], the score of each protocol and what is derived among them."""
    figures = run.entry.result["metrics"]
    found = {name: [m["value"], m["low"], m["high"]] for name, m in {**figures, **beyond_nothing(figures)}.items()}
    for name, value in run.sampled.values.items():
        if name not in found and name in run.sampled.resampled:
            found[name] = [value, *ends(run.sampled, name)]
    return found


# -- a run's page ------------------------------------------------------------------------------------------------------


def page_of_run(run: Shown, row: Mapping[str, Any], others: Sequence[Shown]) -> dict[str, Any]:
    """`row`: the run's own of `board`; `others`: all runs, of which those on the same probes can be compared."""
    entry = run.entry
    return {
        "run": row,
        "submission": {
            key: getattr(entry, key) for key in ("name", "link", "description", "submitted", "status", "reproduced")
        },
        "manifest": entry.result["manifest"],
        "router": entry.result["router"],
        "command": command(entry.result["manifest"]),
        "tag": run.older.tag if run.older else "",
        "ranked": sum(other.block == run.block and not other.sampled.control for other in others),
        "others": sum(other is not run and _share_probes(run, other) for other in others),
    }


def command(manifest: Mapping[str, Any]) -> str:
    """The command line that repeats a run; of a trained editor, with its checkpoint to be put in. On older data it is
    given at their git tag, which is checked out first."""
    editor, backbone, data = manifest["editor"], manifest["backbone"], manifest["dataset"]
    own = editor["class"].partition(".")[0] not in OURS  # a class of somebody's own, which need have no registered name
    parts = ["python", "-m", "fgvedit.run", "--editor", editor["class"] if own else editor["name"]]
    on_hub = COMMIT.fullmatch(backbone["revision"])
    parts += ["--backbone", backbone["source"] if on_hub else backbone["name"]]
    parts += ["--revision", backbone["revision"]] if on_hub else []
    parts += ["--input-mode", backbone["input_mode"]] if backbone["input_mode"] != "native" else []
    parts += ["--dataset", data["name"], "--split", data["split"], "--protocol", ",".join(manifest["protocols"])]
    parts += ["--limit", str(data["limit"])] if data["limit"] else []
    parts += ["--sequence", str(manifest["sequence"])] if manifest["sequence"] else []
    parts += ["--seed", str(manifest["seed"]), "--device", manifest["device"], "--dtype", manifest["dtype"]]
    for key, value in editor["config"].items():
        parts += ["--set", f"{key}={_yaml(value)}"]
    first = f"git checkout {replaced.tag}\n" if (replaced := older(manifest)) else ""
    return first + shlex.join(parts)


def _yaml(value: Any) -> str:
    """A value as `--set` reads it: text that YAML would take for something else in quotes."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**9)
    return text.removesuffix("\n...\n").removesuffix("\n")


# -- comparing two runs ------------------------------------------------------------------------------------------------


def comparison(runs: Sequence[Shown]) -> dict[str, Any]:
    """The runs that have another one on the same probes."""
    return {
        "runs": [
            {**summary(run), "probes": {name: key[:16] for name, key in run.sampled.probes.items()}}
            for run in runs
            if any(_share_probes(run, other) for other in runs if other is not run)
        ]
    }


def _share_probes(ours: Shown, theirs: Shown) -> bool:
    return bool(ours.sampled.probes.items() & theirs.sampled.probes.items())


def differences(runs: Sequence[Shown]) -> Iterator[tuple[Shown, dict[str, dict[str, list[float]]]]]:
    """Each run, and id of another one after it -> metric -> how far the run is above it, and the interval of that."""
    for index, run in enumerate(runs):
        found: dict[str, dict[str, list[float]]] = {}
        for name in run.sampled.values:
            near = [other for other in runs[index + 1 :] if comparable(run.sampled, other.sampled, name)]
            lines = differences_in(run.sampled, [other.sampled for other in near], name)
            for other, line in zip(near, lines.tolist(), strict=True):
                found.setdefault(other.entry.id, {})[name] = line
        yield run, found


def probes_of_rows(rows: Sequence[AnyRow]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(protocol, its probes in order): a list of texts and, a probe, the indices of its texts in it and its numbers."""
    for protocol, own in _by_protocol(rows):
        texts = _Texts()
        lines = [
            [
                *(texts.index(row[name]) for name in ("record_id", "kind", "question", "answer")),
                int(row["expected"] is None),
                row["edits"],
                row["age"],
            ]
            for row in own
        ]
        yield protocol, {"texts": texts.found, "probes": lines}


def answers_of_rows(rows: Sequence[AnyRow]) -> dict[str, Any]:
    """protocol -> the run's answers to its probes, in the order of `probes_of_rows`: columns, with texts by index."""
    found = {}
    for protocol, own in _by_protocol(rows):
        texts = _Texts()
        found[protocol] = {
            "before": [texts.index(row["before"]) for row in own],
            "after": [texts.index(row["after"]) for row in own],
            "score": [round(row["score"], 4) for row in own],
            "rho": [row["rho"] if row["rho"] is None else round(row["rho"], 4) for row in own],
            "route": [texts.index(row["route"]) for row in own],
            "texts": texts.found,
        }
    return found


class _Texts:
    """Each text once, and its index among them."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._indices: dict[str, int] = {}

    def index(self, text: str) -> int:
        if text not in self._indices:
            self._indices[text] = len(self.found)
            self.found.append(text)
        return self._indices[text]


def _by_protocol(rows: Sequence[AnyRow]) -> Iterator[tuple[str, list[AnyRow]]]:
    ordered = sorted(rows, key=lambda row: (row["protocol"], *(row[name] for name in KEY)))
    for protocol, own in groupby(ordered, key=lambda row: row["protocol"]):
        yield protocol, list(own)
