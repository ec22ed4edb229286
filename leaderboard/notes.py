"""What is said beside numbers wherever the leaderboard shows them: what metrics mean, and which runs are on data that
are no longer the embedded ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from fgvedit import probes
from fgvedit.dataset import FOLDER, embedded, parquet_source
from fgvedit.util.errors import FGVEditError
from fgvedit.util.revision import content_hash
from fgvedit.util.words import listed
from leaderboard.ranking import SCORE, SCORED

UNREGISTERED = "not registered where this was made"


def described_metrics(there: Collection[str]) -> list[dict[str, Any]]:
    """The score and every metric, as `probes.described` has them and in the order of tables. `there`: the names of
    those that are to be shown: what is retired, or not registered here, is described only where it is among them."""
    parts = [probes.metrics()[name] for name in SCORED]
    score = {"needs_eyes": any(part.needs_eyes for part in parts), "retired": False, "derived": False}
    known = [
        {"name": SCORE, "meaning": f"the harmonic mean of {listed(SCORED)}", "kinds": [], **score},
        *(one for one in probes.described()["metrics"] if not one["retired"] or one["name"] in there),
    ]
    names = {one["name"] for one in known}
    plain = {"meaning": UNREGISTERED, "kinds": [], "needs_eyes": False, "retired": False, "derived": False}
    return [*known, *({"name": name, **plain} for name in there if name not in names)]


def is_older(dataset: Mapping[str, Any]) -> bool:
    """Whether a manifest's data are embedded here in another revision."""
    current = _embedded_revision(dataset["name"], dataset["split"])
    return current not in (None, dataset["revision"])


@cache
def _embedded_revision(name: str, split: str) -> str | None:
    """None for data that are not embedded, have no such split, or are to be built first."""
    if name not in embedded():
        return None
    try:
        return content_hash(parquet_source(name, FOLDER, name).files_of(split))
    except FGVEditError:
        return None
