"""What is said of metrics wherever the leaderboard shows them. What is to be known of older data and of the paper's
figures stands in `fgvedit.evaluation.summary`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from fgvedit import probes
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
