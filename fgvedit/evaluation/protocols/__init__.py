"""Protocols: what the model is shown, and how its answer is scored. A metric is always named with its protocol.

They are found by the entry-point group `fgvedit.protocols`, the project's own like anybody's.
"""

from __future__ import annotations

from collections import UserDict
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from fgvedit.evaluation.protocols.base import Protocol
from fgvedit.probes import NAME
from fgvedit.util.errors import FGVEditError, unknown
from fgvedit.util.plugins import checked, loaded

GROUP = "fgvedit.protocols"
OWN = ("paper", "generation")  # in the order of tables; others come after them


class Protocols(UserDict[str, Protocol]):
    """Name -> protocol, each loaded when it is asked for: one that cannot be is nothing to the others."""

    def __getitem__(self, name: str) -> Protocol:
        found = self.data[name]
        if isinstance(found, EntryPoint):
            found = self.data[name] = _loaded(found)
        return found


@cache
def protocols() -> Protocols:
    """The protocols that are registered, the project's own first.

    Raises `FGVEditError` where there are none, and, naming the entry point, when one is asked for that cannot be
    imported, is no `Protocol`, or is not called as its class says.
    """
    points: dict[str, Any] = {point.name: point for point in entry_points(group=GROUP)}
    if not points:
        raise FGVEditError(
            f"no protocol is registered under the entry points '{GROUP}'; expected at least {', '.join(OWN)}: install "
            "fgvedit again, as it was installed before it had any (in a checkout: pip install -e .)"
        )
    return Protocols({name: points[name] for name in sorted(points, key=order)})


def order(name: str) -> tuple[int, str]:
    """By which protocols are sorted: the project's own as in `OWN`, others by name."""
    return (OWN.index(name) if name in OWN else len(OWN), name)


def _loaded(point: EntryPoint) -> Protocol:
    protocol: Protocol = checked(loaded(point, "protocol"), point.name, Protocol, "protocol")()
    if protocol.name != point.name or not NAME.fullmatch(point.name):
        raise FGVEditError(
            f"protocol '{point.name}' ({point.value}) is called '{protocol.name}' by its class; expected the same "
            "name, of lower case and '_'"
        )
    return protocol


def open_protocols(names: str) -> list[Protocol]:
    """The protocols of a comma-separated list, each once, in the registry's order."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise FGVEditError(f"no protocol is named in '{names}': expected one or more of {', '.join(protocols())}")
    for name in wanted:
        if name not in protocols():
            raise unknown("protocol", name, protocols())
    return [protocols()[name] for name in protocols() if name in wanted]


__all__ = ["Protocol", "open_protocols", "protocols"]
