"""Features of images that were encoded before, up to a bound."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from fgvedit.schema import ImageRef

KEPT_BYTES = 2 << 30


class KeptFeatures:
    """At most `limit` bytes of features, those not asked for longest go first. What is kept of an image is a tensor, or
    something else that says how large it is (`nbytes`)."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self.limit = limit
        self.bytes = 0
        self._kept: dict[str, Any] = {}  # by image key, the one asked for last at the end

    def __contains__(self, image: ImageRef) -> bool:
        return image.key in self._kept

    def get(self, images: Sequence[ImageRef], encode: Callable[[list[ImageRef]], Iterable[Any]]) -> list[Any]:
        """The features of each image; those that are not kept come from one call of `encode`."""
        asked = {image.key: image for image in images}
        found = {key: self._kept[key] for key in asked if key in self._kept}
        new = [image for key, image in asked.items() if key not in found]
        self.forget(asked.values())
        if new:
            found.update((image.key, alone(features)) for image, features in zip(new, encode(new), strict=True))
        for key, features in found.items():
            self._kept[key] = features
            self.bytes += features.nbytes
        while self.bytes > self.limit:
            self.bytes -= self._kept.pop(next(iter(self._kept))).nbytes
        return [found[image.key] for image in images]

    def forget(self, images: Iterable[ImageRef]) -> None:
        for image in images:
            if image.key in self._kept:
                self.bytes -= self._kept.pop(image.key).nbytes

    def clear(self) -> None:
        self._kept.clear()
        self.bytes = 0


def alone(features: Any) -> Any:
    """A copy of a tensor: a row of a batch holds the memory of the whole batch."""
    return features.clone() if isinstance(features, torch.Tensor) else features
