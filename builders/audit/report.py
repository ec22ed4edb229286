"""The whole audit of a data set as JSON; `report.schema.json` says what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

from builders.audit import base, hygiene, verdicts
from builders.audit.cases import Ask, Case, Contest, Reading, contests, read
from builders.audit.exact import VIEWS, best_rule, known_elsewhere
from builders.audit.learned import drawn, fits, learned
from fgvedit.dataset import Source
from fgvedit.probes import metrics
from fgvedit.util.errors import FGVEditError

FORMAT = 1  # of the JSON report, report.schema.json


def audit(
    source: Source,
    splits: Sequence[str],
    limit: int | None = None,
    ask: Ask | None = None,
    backbone: Mapping[str, str] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """What can be had without looking, of the first `limit` records of each of these splits.

    `ask`: puts questions to a base model, which `backbone` describes; None: what its answers give away is left out.
    `seed`: of the groups that are learned from where there are many, and of what chance gives.
    Raises `FGVEditError` for a split that is not there or is empty, and for a record that cannot be read.
    """
    for split in splits:
        source.files_of(split)
    readings = {split: read(source, split, limit, ask) for split in splits}
    for split, reading in readings.items():
        if not reading.records:
            raise FGVEditError(f"data set '{source.name}': split '{split}' has no records; expected at least 1")
    return {
        "format": FORMAT,
        "data": source.name,
        "config": source.config,
        "revision": source.revision,
        "limit": limit,
        "seed": seed,
        "backbone": None if backbone is None else dict(backbone),
        "splits": {split: _split(split, reading, ask is not None, seed) for split, reading in readings.items()},
        "shared": hygiene.shared(readings),
    }


def _split(name: str, reading: Reading, asked: bool, seed: int) -> dict[str, Any]:
    by_kind = contests(reading.kinds)
    different = list(dict.fromkeys(contest for contest in by_kind.values() if contest))
    with tqdm(total=fits(asked) * len(different), desc=f"{name}: learners", unit="fit", disable=None) as bar:
        found = {contest.name: _contest(contest, reading, asked, seed, bar) for contest in different}
    names = {kind: contest.name if contest else None for kind, contest in by_kind.items()}
    return {
        "records": reading.records,
        "groups": reading.groups,
        "images": len(reading.looks),
        "probes": len(reading.cases),
        "contests": found,
        "kinds": {kind: _kind(reading, kind, names[kind], found, asked, seed) for kind in reading.kinds},
        "metrics": _metrics(reading, names, found, asked),
    }


def _contest(contest: Contest, reading: Reading, asked: bool, seed: int, bar: Any) -> dict[str, Any]:
    cases = contest.of(reading.cases)
    inside, groups = sum(case.inside for case in cases), len({case.group for case in cases})
    enough = verdicts.enough(inside, len(cases) - inside, groups)
    some = drawn(cases, seed) if enough else []
    bar.update(0 if enough else fits(asked))
    found: dict[str, Any] = {
        "inside": list(contest.inside),
        "outside": list(contest.outside),
        "probes": [inside, len(cases) - inside],
        "groups": groups,
        "exact": {view: best_rule(cases, of, seed) for view, of in VIEWS.items()},
        "elsewhere": {view: known_elsewhere(cases, of) for view, of in VIEWS.items()},
        "learned_from": len(some),
        "learned": learned(some, reading.looks, bar.update) if enough else None,
        "position": hygiene.position(cases, seed),
        "length": hygiene.length(cases, seed),
        "agreement": base.agreement(cases) if asked else None,
    }
    return {**found, "verdict": verdicts.of_contest(found), "other_ways": verdicts.other_ways(found)}


def _kind(
    reading: Reading, kind: str, contest: str | None, found: Mapping[str, Any], asked: bool, seed: int
) -> dict[str, Any]:
    cases = [case for case in reading.cases if case.kind == kind]
    return {
        "contest": contest,
        "probes": len(cases),
        "verdict": found[contest]["verdict"] if contest else verdicts.NOT_CONTESTED,
        "answers": hygiene.answers(cases, seed),
        "truth_is_target": hygiene.truth_is_target(cases),
        **hygiene.repeated(cases),
        "base": base.of_kind(cases) if asked else None,
    }


def _metrics(
    reading: Reading, names: Mapping[str, str | None], found: Mapping[str, Any], asked: bool
) -> dict[str, Any]:
    told = {}
    for metric in metrics().values():
        if all(kind in names for kind in metric.kinds):
            of = list(dict.fromkeys(name for kind in metric.kinds if (name := names[kind])))
            cases: list[Case] = [case for case in reading.cases if case.kind in metric.kinds]
            told[metric.name] = {
                "kinds": list(metric.kinds),
                "contests": of,
                "verdict": verdicts.of_metric(found[name]["verdict"] for name in of),
                "unedited": base.unedited_score(metric, cases) if asked else None,
            }
    return told
