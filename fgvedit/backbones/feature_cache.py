"""The feature cache: features of images, or of edits, that were encoded before, up to a bound of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import torch

CACHE_BYTES = 2 << 30


class Keyed(Protocol):
    """An image or an edit: equal keys are equal contents."""

    @property
    def key(self) -> str:
        """What it is called in the cache."""
        ...


Item = TypeVar("Item", bound=Keyed)


class FeatureCache:
    """At most `limit` bytes of features; those that were not asked for the longest go first.

    An item's features are a tensor, or something else that says how large it is (`nbytes`).
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self.limit = limit
        self.bytes = 0
        self._features: dict[str, Any] = {}  # by key, the one asked for last at the end

    def __contains__(self, item: Keyed) -> bool:
        return item.key in self._features

    def get(self, items: Sequence[Item], encode: Callable[[list[Item]], Iterable[Any]]) -> list[Any]:
        """The features of each item; those not in the cache come from one call of `encode`, in order."""
        asked = {item.key: item for item in items}
        found = {key: self._features[key] for key in asked if key in self._features}
        new = [item for key, item in asked.items() if key not in found]
        self.forget(asked.values())
        if new:
            found.update((item.key, alone(features)) for item, features in zip(new, encode(new), strict=True))
        for key, features in found.items():
            self._features[key] = features
            self.bytes += features.nbytes
        while self.bytes > self.limit:
            self.bytes -= self._features.pop(next(iter(self._features))).nbytes
        return [found[item.key] for item in items]

    def forget(self, items: Iterable[Keyed]) -> None:
        """Drop the features of these items."""
        for item in items:
            if item.key in self._features:
                self.bytes -= self._features.pop(item.key).nbytes

    def clear(self) -> None:
        """Drop all features."""
        self._features.clear()
        self.bytes = 0


def alone(features: Any) -> Any:
    """A copy of a tensor: a row of a batch holds the memory of the whole batch."""
    return features.clone() if isinstance(features, torch.Tensor) else features
