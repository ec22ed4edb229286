"""Every registered editor on the same records, and a report from their rows: `python -m fgvedit.study baselines`."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fgvedit.cli.options import add_backbone_options, backbone_arguments, backbone_request
from fgvedit.evaluation.intervals import Figure
from fgvedit.evaluation.metrics import metrics_from_rows, paired_differences, router_from_rows
from fgvedit.probes import metrics as all_metrics
from fgvedit.probes import probe_kinds
from fgvedit.studies.running import cores, duration, run_side_by_side
from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import between_markers, read_json, write_json, write_text

NAME = "baselines"
FOUR = ("reliability", "generality", "locality", "specificity")  # the paper's
THREE = ("other_image", "reference_in", "reference_out")
OPEN, CLOSE = f"<!-- study {NAME} -->", f"<!-- /study {NAME} -->"

EXAMPLES = f"""\
examples:
  python -m fgvedit.study baselines --limit 50
      a look at all of them on the embedded data and backbone
  python -m fgvedit.study baselines --write docs/results.md
      the whole study, and its report between {OPEN} and {CLOSE}
      of that file
  python -m fgvedit.study baselines --editors mscke,serac,my_editor.py:MyEditor --out runs/mine
      some of them, and one of your own, from a file (or package.module:Class)

what is written to --out:
  report.md       the report, which is also printed
  EDITOR/         the run of each editor; see python -m fgvedit.run --help
  EDITOR.log      what its process printed
  study.json      the seconds that the study took
A study that was stopped goes on where it was when the same command is given again; finished editors are not run again.
"""


def parser() -> ArgumentParser:
    options = ArgumentParser(
        prog=f"python -m fgvedit.study {NAME}",
        description="Run every registered editor on the same records, and report how they differ.",
        epilog=EXAMPLES,
    )
    options.add_argument("--editors", metavar="NAMES", help="separated by commas; default: every registered one")
    options.add_argument("--dataset", default="scenes", metavar="NAME", help="default: %(default)s")
    options.add_argument("--split", default="test", help="default: %(default)s")
    options.add_argument("--limit", type=int, metavar="N", help="only the first N records")
    options.add_argument(
        "--out", type=Path, default=Path("runs") / f"study-{NAME}", metavar="DIR", help="default: %(default)s"
    )
    options.add_argument(
        "--processes", type=int, metavar="N", help="editors at a time; default: as many as CPU cores, on a GPU 1"
    )
    options.add_argument(
        "--write", type=Path, metavar="FILE", help=f"put the report between {OPEN} and {CLOSE} of a file, too"
    )
    add_backbone_options(options)
    return options


def main(argv: list[str]) -> int:
    options = parser().parse_args(argv)
    for option in ("limit", "processes"):
        if getattr(options, option) is not None and getattr(options, option) < 1:
            raise FGVEditError(f"--{option} is {getattr(options, option)}; expected 1 or more")
    if options.write:
        between_markers(options.write, "", OPEN, CLOSE)  # what is missing is said now, not when everything has run
    device = backbone_request(options)["device"]

    from fgvedit.dataset import load_records

    load_records(options.dataset, options.split, options.limit)
    targets = editors(options.editors.split(",") if options.editors is not None else None)
    processes = min(options.processes or (cores() if device.type == "cpu" else 1), len(targets))
    # One thread in each of two processes makes far more of two cores than two threads in one.
    threads = max(1, cores() // processes) if processes > 1 and device.type == "cpu" else None
    common = ["--dataset", options.dataset, "--split", options.split, *backbone_arguments(options)]
    common += ["--limit", str(options.limit)] if options.limit else []
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)

    clock = Clock(out / "study.json", running=not all((out / name / "result.json").exists() for name in targets))
    runs = {name: ["--editor", target, "--out", str(out / name), *common] for name, target in targets.items()}
    failed = {}
    try:
        for name, failure in run_side_by_side(runs, out, processes, threads):
            clock.write()
            if failure:
                failed[name] = f"editor '{name}' failed: {failure}"
    finally:
        seconds = clock.write()

    if done := [read_run(name, out / name) for name in targets if name not in failed]:
        took = f"The study took {duration(seconds)} on {cores()} CPU cores, {processes} editors at a time."
        command = shlex.join(["python", "-m", "fgvedit.study", NAME, *argv])
        text = report(Study(done), [f"```bash\n{command}\n```", took], list(failed.values()))
        write_text(out / "report.md", text)
        if options.write:
            write_text(options.write, between_markers(options.write, text, OPEN, CLOSE))
        print(text)
    for failure in failed.values():
        print(f"error: {failure}", file=sys.stderr)
    return 2 if failed else 0


class Clock:
    """The seconds that a study took, over all the times it was started; `running`: whether this time counts."""

    def __init__(self, path: Path, running: bool) -> None:
        self.path = path
        self.before = read_json(path)["seconds"] if path.exists() else 0.0
        self.start = time.monotonic() if running else None

    def write(self) -> float:
        seconds = self.before + (time.monotonic() - self.start if self.start is not None else 0.0)
        write_json(self.path, {"seconds": round(seconds, 1)})
        return round(seconds, 1)


def editors(chosen: Sequence[str] | None) -> dict[str, str]:
    """Name -> target of the chosen editors, by default of every registered one; each class once, under its own name.

    Raises `FGVEditError` for a chosen one that cannot be opened, and for two classes of one name.
    """
    from importlib.metadata import entry_points

    from fgvedit.editors.registry import ENTRY_POINTS, editor_class

    if chosen is None:
        targets = list({point.value: point.name for point in entry_points(group=ENTRY_POINTS)}.values())
    else:
        targets = list(dict.fromkeys(target.strip() for target in chosen if target.strip()))
        if not targets:
            raise FGVEditError("--editors names none; expected names separated by commas, such as mscke,serac")
    found: dict[str, tuple[str, type | None]] = {}
    for target in targets:
        try:
            kind = editor_class(target)
        except FGVEditError:
            if chosen is not None:
                raise
            found[target] = (target, None)  # its own run says what is wrong with it, and the others finish
            continue
        other, known = found.setdefault(kind.name, (target, kind))
        if known is not kind:
            raise FGVEditError(f"editors '{other}' and '{target}' are both called '{kind.name}'; expected other names")
    return {name: target for name, (target, _) in found.items()}


# From here on: the report, from rows alone; of a run's result file only its manifest is read.

KEPT = ("record_id", "image_id", "protocol", "kind", "probe", "score", "rho", "route")  # of a row


@dataclass(frozen=True)
class Run:
    """A finished run: the rows of one editor."""

    name: str
    manifest: Mapping[str, Any]
    rows: list[dict[str, Any]]

    @cached_property
    def metrics(self) -> dict[str, Figure]:
        return metrics_from_rows(self.rows)

    @cached_property
    def router(self) -> dict[str, dict[str, Figure]]:
        return router_from_rows(self.rows)


def read_run(name: str, folder: Path) -> Run:
    with (folder / "rows.jsonl").open(encoding="utf-8") as lines:
        rows = [{field: row[field] for field in KEPT} for row in map(json.loads, lines)]
    return Run(name, read_json(folder / "result.json")["manifest"], rows)


class Study:
    """Runs of different editors on the same records, and the paired differences between them."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = {run.name: run for run in runs}
        self.manifest = runs[0].manifest
        self.protocols: list[str] = self.manifest["protocols"]
        self._differences: dict[tuple[str, str], dict[str, Figure]] = {}

    def difference(self, first: str, second: str, metric: str) -> Figure | None:
        """The first editor's `<protocol>/<metric>` less the second's; None where either has none."""
        if first not in self.runs or second not in self.runs:
            return None
        pair = (first, second)
        if pair not in self._differences:
            self._differences[pair] = paired_differences(self.runs[first].rows, self.runs[second].rows)
        return self._differences[pair].get(metric)

    def best_but(self, name: str, metric: str) -> str | None:
        """The editor other than `name` with the highest `<protocol>/<metric>`."""
        others = [run for run in self.runs.values() if run.name != name and metric in run.metrics]
        return max(others, key=lambda run: run.metrics[metric]["value"]).name if others else None


BEST = "the best of the others"
ABOVE, LEVEL, BELOW = "above 0", "level", "below 0"


@dataclass(frozen=True)
class Claim:
    """On which side of 0 the paper found the difference in a metric between two editors."""

    first: str
    second: str
    metric: str
    side: str


FINDINGS = {
    "(a) MSCKE is above SERAC in specificity, and level with it in the other three": [
        Claim("mscke", "serac", "specificity", ABOVE),
        *(Claim("mscke", "serac", metric, LEVEL) for metric in FOUR[:3]),
    ],
    "(b) MEND and IKE lose locality": [
        Claim(editor, other, "locality", BELOW) for editor in ("mend", "ike") for other in ("none", "mscke")
    ],
    "(c) MSCKE-MEND has the best specificity": [Claim("mscke-mend", BEST, "specificity", ABOVE)],
}


def side(difference: Figure) -> str:
    """On which side of 0 the whole interval lies; `LEVEL` where it contains 0."""
    return ABOVE if difference["low"] > 0 else BELOW if difference["high"] < 0 else LEVEL


def verdict(difference: Figure, claimed: str) -> str:
    found = side(difference)
    if found == LEVEL:
        return "no difference found"
    if claimed == LEVEL:
        return "a difference found"
    return "holds" if found == claimed else "the opposite"


def report(study: Study, made: Sequence[str], failures: Sequence[str]) -> str:
    """The study as Markdown. `made`: how the report was made; `failures`: of the editors that are missing in it."""
    blocks = [
        _title(study.manifest),
        *made,
        *(f"Missing below: {failure}." for failure in failures),
        "In percent, in brackets 95 % intervals from a bootstrap over images.",
        *_metrics(study),
        *_differences(study),
        *_findings(study),
        *_router(study),
        *_cost(study),
    ]
    return "\n\n".join(blocks) + "\n"


def _title(manifest: Mapping[str, Any]) -> str:
    data = manifest["dataset"]
    return (
        f"Study `{NAME}`: {data['records']} records of {data['name']}/{data['split']}@{data['revision'][:8]}, backbone "
        f"`{manifest['backbone']['name']}`, seed {manifest['seed']}, {manifest['device']}, {manifest['dtype']}."
    )


def _metrics(study: Study) -> list[str]:
    blocks = []
    for protocol in study.protocols:
        lines = [
            [name, *(_value(run.metrics.get(f"{protocol}/{metric}")) for metric in all_metrics())]
            for name, run in study.runs.items()
        ]
        blocks += [f"## Metrics, protocol `{protocol}`", _table(["editor", *all_metrics()], lines)]
    return blocks


def _differences(study: Study) -> list[str]:
    blocks = [
        "## Paired differences",
        "Both editors on the same resampled images, in percentage points; `*`: the interval does not contain 0.",
    ]
    names = list(study.runs)
    for title, pairs, metrics in (
        ("Each editor less MSCKE", [(name, "mscke") for name in names], FOUR),
        ("MSCKE less SERAC", [("mscke", "serac")], (*FOUR, *THREE)),
        ("MSCKE-MEND less each other editor", [("mscke-mend", name) for name in names], ("specificity",)),
    ):
        pairs = [(a, b) for a, b in pairs if a != b and a in names and b in names]
        lines = [
            [f"{a} − {b}", protocol, *(_starred(study.difference(a, b, f"{protocol}/{metric}")) for metric in metrics)]
            for protocol in study.protocols
            for a, b in pairs
        ]
        if lines:
            blocks += [f"{title}:", _table(["difference", "protocol", *metrics], lines)]
    return blocks


def _findings(study: Study) -> list[str]:
    blocks = [
        "## What the paper found",
        "A verdict follows from the paired interval alone. Where the paper found a difference, an interval on its side "
        "of 0 is `holds`, one on the other side `the opposite`. Where it found none, either is `a difference found`. "
        "An interval that contains 0 is `no difference found`, which does not show that there is none.",
    ]
    header = ["difference", "in", "the paper", *(cell for p in study.protocols for cell in (f"`{p}`", "verdict"))]
    for title, claims in FINDINGS.items():
        lines = []
        for claim in claims:
            line = [f"{claim.first} − {claim.second}", claim.metric, claim.side]
            for protocol in study.protocols:
                line += _judged(study, claim, f"{protocol}/{claim.metric}")
            lines.append(line)
        blocks += [f"{title}:", _table(header, lines)]
    return blocks


def _judged(study: Study, claim: Claim, metric: str) -> list[str]:
    """The figures of a claim, and its verdict."""
    second = study.best_but(claim.first, metric) if claim.second == BEST else claim.second
    difference = study.difference(claim.first, second, metric) if second else None
    if difference is None:
        return ["", "not measured"]
    named = f" ({second})" if claim.second == BEST else ""
    return [_signed(difference) + named, verdict(difference, claim.side)]


def _router(study: Study) -> list[str]:
    """Probes are routed once for all protocols, so that the first one's table is every one's."""
    protocol = study.protocols[0]
    routed = {name: run.router[protocol] for name, run in study.runs.items() if protocol in run.router}
    if not routed:
        return []
    columns = ["caught", "kept", "edit", *probe_kinds()]
    lines = [[name, *(_value(router.get(column)) for column in columns)] for name, router in routed.items()]
    return [
        "## Routers",
        "How often editors that report a similarity sent a probe where its kind asks: `caught`, of the kinds that must "
        "change, away from the base model; `kept`, of the others, to it; then each kind.",
        _table(["editor", *columns], lines),
    ]


def _cost(study: Study) -> list[str]:
    lines = []
    for name, run in study.runs.items():
        cost, records = run.manifest["cost"], run.manifest["dataset"]["records"]
        lines.append(
            [
                name,
                f"{cost['edit_seconds'] / records:.3f}",
                f"{cost['seconds']:.0f}",
                str(cost["encoded_images"]),
                f"{cost['peak_memory_bytes'] / 1e9:.2f}",
            ]
        )
    return [
        "## Cost",
        "Seconds to make one edit and take it back, and of all records, as measured while other editors ran beside; "
        "images through the vision tower; the most memory held (on a GPU what PyTorch held there, elsewhere the "
        "process).",
        _table(["editor", "s an edit", "s in all", "images encoded", "memory, GB"], lines),
    ]


def _value(metric: Figure | None) -> str:
    return f"{metric['value']:.2f} [{metric['low']:.2f}, {metric['high']:.2f}]" if metric else ""


def _signed(difference: Figure) -> str:
    # Adding 0 makes of a negative zero, such as -0.001 when it is rounded, a plain one.
    value, low, high = (f"{round(difference[key], 2) + 0:+.2f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _starred(difference: Figure | None) -> str:
    return _signed(difference) + ("*" if side(difference) != LEVEL else "") if difference else ""


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
