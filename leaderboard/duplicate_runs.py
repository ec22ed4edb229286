"""Which run it is, and whether it is another's.

A run is compared with those before it in its scores and its router's similarities, whatever order its rows come in and
whatever it is called; and in what its editor has no part in, the base model's answers.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fgvedit.evaluation.protocols.generation import normalised
from fgvedit.evaluation.rows import Row

COPY = 0.999  # the share of rows that are the same, under each protocol, from which on a run counts as a copy
NEAR = 0.015  # scores, and similarities, that are less apart are the same
# The share of probes to which the base model may answer otherwise. Rounding differs between machines, and decides where
# two tokens are nearly as likely; that is rare within one type of numbers, and less so between two.
OTHERWISE = 0.02
OTHERWISE_OF_TYPE = 0.1


def identity(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What makes two runs the same one, wherever and by whomever each was made."""
    editor, backbone, data = manifest["editor"], manifest["backbone"], manifest["dataset"]
    return {
        "editor.name": editor["name"],
        "editor.config": editor["config"],
        "editor.checkpoint": editor["checkpoint"],
        "backbone.revision": backbone["revision"],
        "backbone.input_mode": backbone["input_mode"],
        "dataset.revision": data["revision"],
        "dataset.split": data["split"],
        "dataset.records": data["records"],  # which ones follows from their number; a limit may say it in many ways
        "protocols": sorted(manifest["protocols"]),
        "sequence": manifest["sequence"],
        "seed": manifest["seed"],
        "dtype": manifest["dtype"],
    }


@dataclass(frozen=True)
class Scored:
    """A run's rows under one protocol, in the order of their probes. `probes`: a hash of these; `rhos`: NaN where there
    is none; `texts`: a hash of what was answered."""

    probes: str
    scores: np.ndarray
    rhos: np.ndarray
    texts: np.ndarray

    def same(self, other: Scored, texts: bool) -> int:
        """In how many rows the two agree; `texts`: whether these count."""
        alike = np.abs(self.scores - other.scores) < NEAR
        alike &= (np.abs(self.rhos - other.rhos) < NEAR) | (np.isnan(self.rhos) & np.isnan(other.rhos))
        return int((alike & (self.texts == other.texts) if texts else alike).sum())


def scored(rows: Sequence[Row]) -> Scored:
    """The rows of a run under one protocol."""
    rows = sorted(rows, key=_probe)
    return Scored(
        hashlib.sha256(json.dumps([_probe(row) for row in rows]).encode()).hexdigest(),
        np.array([row["score"] for row in rows]),
        np.array([math.nan if row["rho"] is None else row["rho"] for row in rows]),
        np.array([hash((normalised(row["before"]), normalised(row["after"]))) for row in rows]),
    )


class DuplicateRuns:
    """The runs so far, to which each next one is held."""

    def __init__(self) -> None:
        self._runs: dict[str, str] = {}  # identity -> id
        self._scored: list[tuple[str, dict[str, Any], dict[str, Scored]]] = []  # id, identity, by protocol
        self._base: dict[tuple[str, ...], dict[tuple[str, int], tuple[str, str]]] = {}  # probe -> answer, and whose run

    def add(self, id: str, manifest: Mapping[str, Any], rows: Sequence[Row]) -> list[str]:
        """A sentence for each reason why this is no run of its own, or not of the model it names; then it counts."""
        about = identity(manifest)
        data = (about["dataset.revision"], about["dataset.split"])
        base = (*data, about["backbone.revision"], about["backbone.input_mode"])
        by_protocol = {name: [row for row in rows if row["protocol"] == name] for name in about["protocols"]}
        found = [
            self._same(id, about),
            self._copy(id, about, {name: scored(own) for name, own in by_protocol.items()}),
        ]
        found += [
            self._other_base((*base, protocol, about["dtype"]), id, own, OTHERWISE)
            or self._other_base((*base, protocol), id, own, OTHERWISE_OF_TYPE)
            for protocol, own in by_protocol.items()
        ]
        return [sentence for sentence in found if sentence]

    def _same(self, id: str, about: Mapping[str, Any]) -> str | None:
        first = self._runs.setdefault(json.dumps(about, sort_keys=True), id)
        what = "the same editor, configuration, checkpoint, backbone, data and seed"
        return None if first == id else f"the run is there already as '{first}' ({what}); expected a run of its own"

    def _copy(self, id: str, about: dict[str, Any], run: dict[str, Scored]) -> str | None:
        self._scored.append((id, about, run))
        for other_id, other_about, other in self._scored[:-1]:
            changed = [field for field in about if about[field] != other_about[field]]
            common = [name for name, own in run.items() if name in other and own.probes == other[name].probes]
            if not common or not {"dataset.revision", "dataset.split"}.isdisjoint(changed):
                continue
            # Two backbones may be right on the same probes: there texts count too.
            texts = not {"backbone.revision", "backbone.input_mode"}.isdisjoint(changed)
            same = {name: run[name].same(other[name], texts) for name in common}
            of = {name: len(run[name].scores) for name in common}
            if all(same[name] >= COPY * of[name] for name in common):
                seed = "; only its seed is another, and the editor draws nothing from it" if changed == ["seed"] else ""
                return (
                    f"the run is there already as '{other_id}' (the same score and similarity in "
                    f"{sum(same.values()):,} of {sum(of.values()):,} rows{seed}); expected a run of its own"
                )
        return None

    def _other_base(self, of: tuple[str, ...], id: str, rows: Sequence[Row], most: float) -> str | None:
        answers = self._base.setdefault(of, {})
        said = {(row["record_id"], row["probe"]): normalised(row["before"]) for row in rows}
        known = {probe: answers[probe] for probe in said if probe in answers}
        other = [whose for probe, (answer, whose) in known.items() if answer != said[probe]]
        if len(other) > most * len(known):
            return (
                f"before, the base model's answer, is another one than in '{other[0]}' for {len(other):,} of "
                f"{len(known):,} probes under protocol '{of[4]}'; expected at most {most:.0%}, as both are of one model"
            )
        for probe, answer in said.items():
            answers.setdefault(probe, (answer, id))
        return None


def _probe(row: Row) -> tuple[str, int, int]:
    return row["record_id"], row["edits"], row["probe"]
