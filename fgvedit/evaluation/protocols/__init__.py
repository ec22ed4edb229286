"""Protocols: what the model is shown, and how its answer is scored. A metric is always named with its protocol.

They are found by the entry-point group `fgvedit.protocols`, the project's own like anybody's.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from fgvedit.evaluation.protocols.base import Protocol
from fgvedit.probes import NAME
from fgvedit.util.errors import FGVEditError, unknown
from fgvedit.util.plugins import checked, loaded

GROUP = "fgvedit.protocols"
OWN = ("paper", "generation")  # in the order of tables; others come after them


@cache
def protocols() -> dict[str, Protocol]:
    """Name -> protocol, the project's own first. Raises `FGVEditError`, naming the entry point, for one that cannot be
    imported, is no `Protocol`, or is not called as its class says."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    found = {}
    for name in (*(own for own in OWN if own in points), *sorted(points.keys() - set(OWN))):
        protocol = checked(loaded(points[name], "protocol"), name, Protocol, "protocol")()
        if protocol.name != name or not NAME.fullmatch(name):
            raise FGVEditError(
                f"protocol '{name}' ({points[name].value}) is called '{protocol.name}' by its class; expected the same "
                "name, of lower case and '_'"
            )
        found[name] = protocol
    return found


def open_protocols(names: str) -> list[Protocol]:
    """The protocols of a comma-separated list, each once, in the registry's order."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise FGVEditError(f"no protocol is named in '{names}': expected one or more of {', '.join(protocols())}")
    for name in wanted:
        if name not in protocols():
            raise unknown("protocol", name, protocols())
    return [protocol for name, protocol in protocols().items() if name in wanted]


__all__ = ["Protocol", "open_protocols", "protocols"]
