"""Simple features of images: a thumbnail, colours and sizes, of two images and of how far they are apart. No words."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
from PIL import Image

from fgvedit.schema import ImageRef

FINE, COARSE = 12, 3  # pixels a side of the thumbnails: the one to compare two images by, the other to tell images by
LEVELS = 2  # of each colour, in the histogram


@dataclass(frozen=True)
class Look:
    """What an image is like: thumbnails, a histogram of colours, and the logs of width, height and bytes."""

    fine: np.ndarray
    coarse: np.ndarray
    colours: np.ndarray
    sizes: np.ndarray


def look(image: ImageRef) -> Look:
    """Raises `FGVEditError`, naming the image, where it does not decode."""
    picture = image.open()
    fine = _thumbnail(picture, FINE)
    levels = (_thumbnail(picture, 48).reshape(-1, 3) * (LEVELS - 1e-3)).astype(int) @ (LEVELS**2, LEVELS, 1)
    colours = np.bincount(levels, minlength=LEVELS**3) / len(levels)
    sizes = np.array([log(picture.width), log(picture.height), log(len(image.data))])
    return Look(fine, _thumbnail(picture, COARSE).ravel(), colours, sizes)


def _thumbnail(picture: Image.Image, side: int) -> np.ndarray:
    return np.asarray(picture.resize((side, side), Image.Resampling.BOX), dtype=np.float32) / 255


def compared(own: Look, shown: Look | None, same: bool) -> np.ndarray:
    """Features of the edit's image, of the probe's (None: it has none), and how far they are apart.

    `same`: whether they are one, to the byte.
    """
    other = shown or _NOTHING
    apart = np.abs(own.fine - other.fine)
    return np.concatenate(
        [
            [shown is not None, same, apart.mean(), apart.max(), np.abs(own.colours - other.colours).sum()],
            *(own.coarse, other.coarse, np.abs(own.coarse - other.coarse)),
            *(own.colours, other.colours, own.sizes, other.sizes, own.sizes - other.sizes),
        ]
    )


_NOTHING = Look(np.zeros((FINE, FINE, 3)), np.zeros(COARSE**2 * 3), np.zeros(LEVELS**3), np.zeros(3))
