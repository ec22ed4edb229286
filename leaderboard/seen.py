"""Which run it is, and whether it is another's.

A run is compared with those before it in what decides its numbers, its scores, whatever order its rows come in and
whatever it is called; and in what its editor has no part in, the base model's answers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from leaderboard.verify import Row, normalised

# protocol -> the share of rows of the same score from which on a run counts as a copy. Of different methods those that
# agree most do so in 94.1 % of rows by `paper` (mscke and serac), and in 98.8 % by `generation` (ft-llm and ft-linf).
COPY = {"paper": 0.99, "generation": 0.999}
NEAR = 0.015  # scores that are less apart are the same
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
class _Scored:
    """A run's rows under one protocol, in the order of their probes. `texts`: a hash of what was answered."""

    id: str
    about: dict[str, Any]  # its identity
    scores: np.ndarray
    texts: np.ndarray

    def alike(self, other: _Scored) -> np.ndarray:
        """Which rows are the same in both. Two backbones may be right in the same places: there texts count too."""
        same = np.abs(self.scores - other.scores) < NEAR
        backbone = ("backbone.revision", "backbone.input_mode")
        return same if all(self.about[of] == other.about[of] for of in backbone) else same & (self.texts == other.texts)


class Seen:
    """The runs so far."""

    def __init__(self) -> None:
        self._runs: dict[str, str] = {}  # identity -> id
        self._scored: dict[tuple[str, ...], list[_Scored]] = {}  # by the probes
        self._base: dict[tuple[str, ...], dict[tuple[str, int], tuple[str, str]]] = {}  # probe -> answer, and whose run

    def add(self, id: str, manifest: Mapping[str, Any], rows: Sequence[Row]) -> list[str]:
        """A sentence for each reason why this is no run of its own, or not of the model it names; then it counts."""
        about = identity(manifest)
        data = (about["dataset.revision"], about["dataset.split"])
        base = (*data, about["backbone.revision"], about["backbone.input_mode"])
        found = [self._same(id, about)]
        for protocol in COPY:
            own = sorted((row for row in rows if row["protocol"] == protocol), key=_place)
            if own:
                found.append(self._copy((*data, protocol), id, about, own))
                found.append(
                    self._other_base((*base, protocol, about["dtype"]), id, own, OTHERWISE)
                    or self._other_base((*base, protocol), id, own, OTHERWISE_OF_TYPE)
                )
        return [sentence for sentence in found if sentence]

    def _same(self, id: str, about: Mapping[str, Any]) -> str | None:
        first = self._runs.setdefault(json.dumps(about, sort_keys=True), id)
        what = "the same editor, configuration, checkpoint, backbone, data and seed"
        return None if first == id else f"the run is there already as '{first}' ({what}); expected a run of its own"

    def _copy(self, of: tuple[str, ...], id: str, about: dict[str, Any], rows: Sequence[Row]) -> str | None:
        run = _Scored(
            id,
            about,
            np.array([row["score"] for row in rows]),
            np.array([hash((normalised(row["before"]), normalised(row["after"]))) for row in rows]),
        )
        probes = hashlib.sha256(json.dumps([_place(row) for row in rows]).encode()).hexdigest()
        others = self._scored.setdefault((*of, probes), [])
        copied = None
        for other in others:
            same = int(run.alike(other).sum())
            if same >= COPY[of[-1]] * len(rows):
                changed = [field for field in about if about[field] != other.about[field]]
                seed = "; only its seed is another, and the editor draws nothing from it" if changed == ["seed"] else ""
                copied = (
                    f"the run is there already as '{other.id}' (the same score in {same:,} of {len(rows):,} rows under "
                    f"protocol '{of[-1]}'{seed}); expected a run of its own"
                )
                break
        others.append(run)
        return copied

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


def _place(row: Row) -> tuple[str, int, int]:
    return row["record_id"], row["edits"], row["probe"]
