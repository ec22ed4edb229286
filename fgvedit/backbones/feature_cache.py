"""Features of images, or of edits, that were encoded before, up to a bound."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import torch

CACHE_BYTES = 2 << 30


class Keyed(Protocol):
    """An image or an edit: equal keys are equal contents."""

    @property
    def key(self) -> str: ...


Item = TypeVar("Item", bound=Keyed)


class FeatureCache:
    """At most `limit` bytes of features, those not asked for longest go first. What is kept of an image or edit is a
    tensor, or something else that says how large it is (`nbytes`)."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self.limit = limit
        self.bytes = 0
        self._kept: dict[str, Any] = {}  # by key, the one asked for last at the end

    def __contains__(self, item: Keyed) -> bool:
        return item.key in self._kept

    def get(self, items: Sequence[Item], encode: Callable[[list[Item]], Iterable[Any]]) -> list[Any]:
        """The features of each item; those that are not kept come from one call of `encode`."""
        asked = {item.key: item for item in items}
        found = {key: self._kept[key] for key in asked if key in self._kept}
        new = [item for key, item in asked.items() if key not in found]
        self.forget(asked.values())
        if new:
            found.update((item.key, alone(features)) for item, features in zip(new, encode(new), strict=True))
        for key, features in found.items():
            self._kept[key] = features
            self.bytes += features.nbytes
        while self.bytes > self.limit:
            self.bytes -= self._kept.pop(next(iter(self._kept))).nbytes
        return [found[item.key] for item in items]

    def forget(self, items: Iterable[Keyed]) -> None:
        for item in items:
            if item.key in self._kept:
                self.bytes -= self._kept.pop(item.key).nbytes

    def clear(self) -> None:
        self._kept.clear()
        self.bytes = 0


def alone(features: Any) -> Any:
    """A copy of a tensor: a row of a batch holds the memory of the whole batch."""
    return features.clone() if isinstance(features, torch.Tensor) else features
