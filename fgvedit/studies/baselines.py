"""Every registered editor on the same records: which ones, and a report of their runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from fgvedit.editors.registry import ENTRY_POINTS, editor_class
from fgvedit.editors.supervision import SUPERVISION
from fgvedit.evaluation.intervals import Figure
from fgvedit.evaluation.metrics import IN_SCOPE_RECALL, OUT_OF_SCOPE_RECALL
from fgvedit.evaluation.summary import NOT_COMPARED, legend, older
from fgvedit.probes import BEYOND_NOTHING, EDIT, PAPER, described, metrics, shown_metrics
from fgvedit.studies.comparing import Run, Study
from fgvedit.util.errors import FGVEditError

NAME = "baselines"


def editors(chosen: Sequence[str] | None) -> dict[str, str]:
    """Name -> target of the chosen editors, by default of every registered one; each class once, under its own name.

    Raises `FGVEditError` for a chosen one that cannot be opened, and for two classes of one name.
    """
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


NAMED = ["editor", "supervision"]  # the columns that say which editor a line is of
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
    "(a) MSCKE, given an encoder that grounds a name, is above SERAC in specificity, and level with it in the other "
    "three": [
        Claim("mscke", "serac", "specificity", ABOVE),
        Claim("mscke", "serac-switch", "specificity", ABOVE),
        *(Claim("mscke", "serac", metric, LEVEL) for metric in PAPER[:3]),
    ],
    "(a), given an encoder that was never taught what a phrase names": [
        Claim("mscke-unschooled", other, "specificity", ABOVE) for other in ("serac", "serac-switch")
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
    """What an interval says of a claim that the difference is on the side `claimed` of 0."""
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
        "In percent, in brackets 95 % intervals from a bootstrap over groups of records.",
        *_metrics(study),
        *_meanings(study),
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
            [*_named(run), *(_value(run.metrics.get(f"{protocol}/{metric}")) for metric in study.metrics)]
            for run in study.runs.values()
        ]
        blocks += [f"## Metrics, protocol `{protocol}`", _table([*NAMED, *study.metrics], lines)]
    return blocks


def _named(run: Run) -> list[str]:
    """The cells of `NAMED`."""
    return [f"{run.name} (control)" if run.control else run.name, run.supervision]


def _meanings(study: Study) -> list[str]:
    shown = [metric for metric in described()["metrics"] if metric["name"] in study.metrics]
    replaced = older(study.manifest)
    return [
        "## What the metrics mean",
        "The control makes no edit at all, and is no part of a comparison for the best. It earns half of specificity: "
        f"beside that stands what is above it, {BEYOND_NOTHING.name}.",
        _table(["metric", "", "meaning"], legend(shown)),
        *([replaced.known] if replaced else []),
        *_meanings_of_supervision(study),
    ]


def _meanings_of_supervision(study: Study) -> list[str]:
    if not any(run.supervision for run in study.runs.values()):
        return []
    return ["What an editor learned from beforehand:", _table(["supervision", "meaning"], [*SUPERVISION.items()])]


def _differences(study: Study) -> list[str]:
    blocks = [
        "## Paired differences",
        "Both editors on the same resampled groups of records, in percentage points; `*`: the interval does not "
        "contain 0.",
    ]
    names = list(study.runs)
    for title, pairs, columns in (
        ("Each editor less MSCKE", [(name, "mscke") for name in names], PAPER),
        (
            "MSCKE less those that differ from it in one thing",
            [("mscke", other) for other in ("serac", "serac-switch", "mscke-unschooled")],
            (*PAPER, *_beyond_the_paper(study)),
        ),
        ("MSCKE-MEND less each other editor", [("mscke-mend", name) for name in names], ("specificity",)),
    ):
        pairs = [(a, b) for a, b in pairs if a != b and a in names and b in names]
        lines = [
            [f"{a} − {b}", protocol, *(_starred(study.difference(a, b, f"{protocol}/{metric}")) for metric in columns)]
            for protocol in study.protocols
            for a, b in pairs
        ]
        if lines:
            blocks += [f"{title}:", _table(["difference", "protocol", *columns], lines)]
    return blocks


def _beyond_the_paper(study: Study) -> list[str]:
    """The metrics of probes that none of the paper's metrics counts."""
    counted = {kind for metric in PAPER for kind in metrics()[metric].kinds}
    return [metric for metric in study.metrics if not counted & {*shown_metrics()[metric].kinds}]


def _findings(study: Study) -> list[str]:
    blocks = [
        "## What the paper found",
        "A verdict follows from the paired interval alone. Where the paper found a difference, an interval on its side "
        "of 0 is `holds`, one on the other side `the opposite`. Where it found none, either is `a difference found`. "
        "An interval that contains 0 is `no difference found`, which does not show that there is none.",
        f"Only on which side of 0 a difference lies is held against the paper, not its figures. {NOT_COMPARED}",
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
    routed = [(run, run.router[protocol]) for run in study.runs.values() if protocol in run.router]
    if not routed:
        return []
    columns = [IN_SCOPE_RECALL, OUT_OF_SCOPE_RECALL, EDIT, *study.kinds]
    lines = [[*_named(run), *(_value(router.get(column)) for column in columns)] for run, router in routed]
    return [
        "## Routers",
        "How often editors that report a similarity sent a probe where its kind asks: in-scope recall, of the kinds "
        "that must change, away from the base model; out-of-scope recall, of the others, to it; then each kind.",
        _table([*NAMED, "in-scope recall", "out-of-scope recall", EDIT, *study.kinds], lines),
    ]


def _cost(study: Study) -> list[str]:
    lines = []
    for run in study.runs.values():
        cost, records = run.manifest["cost"], run.manifest["dataset"]["records"]
        lines.append(
            [
                *_named(run),
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
        _table([*NAMED, "s an edit", "s in all", "images encoded", "memory, GB"], lines),
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
