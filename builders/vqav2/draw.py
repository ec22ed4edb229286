"""Draws that depend on the seed and on what is drawn for, never on the order of work."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def draw(seed: int, *what: object) -> int:
    """A number below 2 ** 64, the same for the same seed and the same things."""
    text = "\0".join(map(str, (seed, *what)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def shuffled(seed: int, purpose: str, items: Iterable[Item]) -> list[Item]:
    """The items in an order drawn for each by itself; they are told apart by `str`."""
    return sorted(items, key=lambda item: (draw(seed, purpose, item), str(item)))
