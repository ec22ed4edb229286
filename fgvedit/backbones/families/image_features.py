"""An image's features as `get_image_features` of a model of `transformers` reads and gives them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from PIL import Image


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """What the feature cache holds of an image.

    `read`: what the connector's modules read of it, in the order of their calls; `features`: what of this is of the
    whole image, (tokens, feature width). `tokens`: what stands for it among the input's tokens; `beside`: what goes
    with each of these, (len(tokens),). `about`: what else the model is told of it, (1, …) each; `pixels`: the shapes of
    what the vision tower read.
    """

    read: list[torch.Tensor]
    features: torch.Tensor
    tokens: list[int]
    beside: dict[str, torch.Tensor]
    about: dict[str, torch.Tensor]
    pixels: dict[str, torch.Size]

    @property
    def nbytes(self) -> int:
        """Bytes of what was read, of which `features` are a part."""
        return sum(tensor.nbytes for tensor in self.read)


def of_the_whole(read: torch.Tensor, image: Image.Image, pixels: torch.Tensor) -> torch.Tensor:
    """Of what was read of an image's tiles, (tiles, tokens, width), what is of the tile that shows the whole of it:
    the one whose pixels, (…, tiles, 3, height, width), go with the image's the most."""
    tiles = pixels.flatten(0, -4) if pixels.dim() > 3 else pixels
    if read.dim() < 3 or len(read) != len(tiles):
        return read.flatten(0, -2)
    height, width = tiles.shape[-2:]
    shown = torch.from_numpy(np.array(image.convert("L").resize((width, height)), dtype=np.float32))
    return read[int((tiles.mean(dim=1) * (shown - shown.mean())).sum(dim=(1, 2)).argmax())]


def flat(output: Any) -> torch.Tensor:
    """What `get_image_features` gives to the language model's layers, the first and deeper ones, as one row of numbers
    in float32; each gets a tensor or one for each image."""
    levels = [output.pooler_output, *(getattr(output, "deepstack_features", None) or ())]
    parts = [part for level in levels for part in ([level] if isinstance(level, torch.Tensor) else level)]
    return torch.cat([part.float().flatten() for part in parts])


def merged(outputs: Sequence[Any]) -> Any:
    """What `get_image_features` gives for one image each, as it gives it for all of them."""
    whole = copy.copy(outputs[0])
    whole.pooler_output = together([output.pooler_output for output in outputs])
    if (deeper := getattr(outputs[0], "deepstack_features", None)) is not None:
        whole.deepstack_features = [
            together([output.deepstack_features[level] for output in outputs]) for level in range(len(deeper))
        ]
    return whole


def together(features: Sequence[Any]) -> Any:
    """Features of one image each: one tensor where they are tensors, or else a list with an entry an image."""
    return torch.cat(list(features)) if isinstance(features[0], torch.Tensor) else list(chain.from_iterable(features))
