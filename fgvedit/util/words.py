"""Words for sentences."""

from __future__ import annotations

from collections.abc import Sequence


def listed(names: Sequence[str]) -> str:
    """ "a, b and c"; "" of none."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
