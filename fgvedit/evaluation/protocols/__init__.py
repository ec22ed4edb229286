"""Protocols: what the model is shown, and how its answer is scored. A metric is always named with its protocol."""

from __future__ import annotations

from fgvedit.evaluation.protocols.base import Protocol
from fgvedit.evaluation.protocols.generation import Generation
from fgvedit.evaluation.protocols.paper import Paper
from fgvedit.util.errors import FGVEditError, unknown

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in (Paper(), Generation())}


def open_protocols(names: str) -> list[Protocol]:
    """The protocols of a comma-separated list, each once, in the registry's order."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise FGVEditError(f"no protocol is named in '{names}': expected one or more of {', '.join(PROTOCOLS)}")
    for name in wanted:
        if name not in PROTOCOLS:
            raise unknown("protocol", name, PROTOCOLS)
    return [protocol for name, protocol in PROTOCOLS.items() if name in wanted]


__all__ = ["PROTOCOLS", "Protocol", "open_protocols"]
