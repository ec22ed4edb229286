"""Images that look the same to a person: the same photo encoded again, resized, made brighter or slightly cropped.

It goes in two steps, because one number cannot do both. A perceptual hash of 64 bits (imagehash.phash) finds which
images may be copies of each other without comparing all pairs: those whose hashes, or one's hash and that of the
other's inner part, differ in at most `BITS` bits. Rendered images with the same layout are as near to each other as
that. So each candidate is then compared: one is laid over the other with every combination of margins up to
`MARGINS[-1]` cut off, and the two are copies when at one of these no part of a `PARTS` x `PARTS` grid differs in
colour by more than `COLOUR` (of 255).

Measured on 122 photos of COCO 2014, each against copies of itself and all others, and on the embedded `scenes`:

    copy                                         bits, at most    difference, at most    found
    JPEG of quality 30, WebP, half size, 224 px              2                      7    all
    brighter by 15 %                                         4                     33    all
    2 % or 5 % cut off each side                             8                     18    all
    1 to 6 % cut off, each side another                     18                     19    93 %
    5 % cut off two sides that meet                         16                     16    78 %
    other photos                                from 16           from 63                none
    images of train and test of `scenes`        from  4           from 52                none
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from fgvedit.util.errors import FGVEditError

try:
    import imagehash
except ImportError as error:
    raise FGVEditError(
        "builders.validate finds copies of images with the package imagehash, which is not installed: expected "
        "pip install 'fgvedit[builders]'"
    ) from error

BITS = 11  # at most; with BANDS bands of which one then differs in at most NEAR bits
COLOUR = 36.0
MARGINS = (0.0, 0.02, 0.04, 0.06, 0.08)  # of the width or height
INNER = 0.04  # cut off each side for the second hash
PARTS = 8

BANDS, BAND_BITS = 4, 16
NEAR = BITS // BANDS
WORK = 256  # pixels square, to which an image is brought before all else
SMALL = 32  # pixels square: what is kept of an image
_ONES = np.array([value.bit_count() for value in range(1 << BAND_BITS)], np.uint8)


@dataclass(frozen=True)
class ImageHash:
    """What an image is known by: perceptual hashes of 64 bits of the whole and of its inner part, and a small copy
    (`SMALL` x `SMALL` pixels, three bytes each)."""

    whole: int
    inner: int
    small: bytes


def image_hash(image: Image.Image) -> ImageHash:
    """The hashes and the small copy of an RGB image of any size."""
    work = image.resize((WORK, WORK), Image.Resampling.BOX)
    cut = round(WORK * INNER)
    small = work.resize((SMALL, SMALL), Image.Resampling.BOX)
    return ImageHash(_hash(work), _hash(work.crop((cut, cut, WORK - cut, WORK - cut))), small.tobytes())


class ImageHashes:
    """The hashes of many images, numbered as they come: 16 bytes of memory each, and their small copies on disk."""

    def __init__(self) -> None:
        self._hashes: list[tuple[int, int]] = []
        self._small = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as this is)

    def add(self, image: ImageHash) -> int:
        """Keep an image's hash; the image's number."""
        self._small.seek(len(self._hashes) * SMALL * SMALL * 3)
        self._small.write(image.small)
        self._hashes.append((image.whole, image.inner))
        return len(self._hashes) - 1

    def copies(self, first: Sequence[int], second: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Pairs, one image of each side, that look the same; in order. The sides have no image in common."""
        hashes = np.array(self._hashes, np.uint64).reshape(-1, 2)
        left, right = np.array(sorted(first), np.int64), np.array(sorted(second), np.int64)
        candidates: set[tuple[int, int]] = set()
        for one, other in ((0, 0), (0, 1), (1, 0)):  # an inner part is never compared with an inner part
            near = near_pairs(hashes[left, one], hashes[right, other])
            candidates.update((int(left[i]), int(right[j])) for i, j in near)
        windows = lru_cache(maxsize=64)(lambda number: _windows(self._read(number)))
        for a, b in sorted(candidates):
            if _difference(windows(a), windows(b)) <= COLOUR:
                yield a, b

    def _read(self, number: int) -> np.ndarray:
        self._small.seek(number * SMALL * SMALL * 3)
        pixels = np.frombuffer(self._small.read(SMALL * SMALL * 3), np.uint8)
        return pixels.reshape(SMALL, SMALL, 3).transpose(2, 0, 1).astype(np.float32)


def near_pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(i, j) of all hashes of 64 bits, `first[i]` and `second[j]`, that differ in at most `BITS` bits; shape (n, 2).

    Two such hashes have a band of 16 bits in which they differ in at most BITS // 4 bits. So hashes are searched by
    each band, with each of the few ways to change it that little, and only what is found there is compared.
    """
    found: set[tuple[int, int]] = set()
    for band in range(BANDS):
        shift = np.uint64(band * BAND_BITS)
        keys = ((first >> shift) & np.uint64(0xFFFF)).astype(np.int64)
        sought = ((second >> shift) & np.uint64(0xFFFF)).astype(np.int64)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        for change in np.flatnonzero(_ONES <= NEAR):
            start = np.searchsorted(keys, sought ^ change, "left")
            count = np.searchsorted(keys, sought ^ change, "right") - start
            j = np.repeat(np.arange(len(sought)), count)
            offset = np.arange(len(j)) - np.repeat(np.cumsum(count) - count, count)
            i = order[np.repeat(start, count) + offset]
            close = _bits(first[i] ^ second[j]) <= BITS
            found.update(zip(i[close].tolist(), j[close].tolist(), strict=True))
    return np.array(sorted(found), np.int64).reshape(-1, 2)


def _hash(image: Image.Image) -> int:
    return int(str(imagehash.phash(image)), 16)


def _bits(values: np.ndarray) -> np.ndarray:
    """How many bits of each are set."""
    return sum(_ONES[(values >> np.uint64(band * BAND_BITS)) & np.uint64(0xFFFF)].astype(np.int64) for band in range(4))


def _difference(first: np.ndarray, second: np.ndarray) -> float:
    """The largest difference of a part, with what is cut off one of the two chosen so that it is least."""
    return float(min(_largest(first - second[0, 0]).min(), _largest(second - first[0, 0]).min()))


def _largest(difference: np.ndarray) -> np.ndarray:
    return np.abs(difference).max((-1, -2, -3))


def _windows(pixels: np.ndarray) -> np.ndarray:
    """Mean colours of the parts of an image (3, SMALL, SMALL) with each pair of margins cut off top and bottom, and
    left and right: (pairs, pairs, 3, PARTS, PARTS). The first are the whole."""
    pairs = len(MARGINS) ** 2
    means = (_MEANS @ pixels @ _MEANS.T).reshape(3, pairs, PARTS, pairs, PARTS)
    return means.transpose(1, 3, 0, 2, 4)


def _means() -> np.ndarray:
    """(pairs * PARTS, SMALL): what takes a line of pixels to the means of its parts, for each pair of margins."""
    fine = 4 * PARTS  # points in a line, linear between pixels
    rows = []
    for before, after in itertools.product(MARGINS, MARGINS):
        at = (before + (np.arange(fine) + 0.5) / fine * (1 - before - after)) * SMALL - 0.5
        at = np.clip(at, 0, SMALL - 1)
        near = np.minimum(np.floor(at).astype(int), SMALL - 2)
        weights = np.zeros((fine, SMALL), np.float32)
        weights[np.arange(fine), near] = 1 - (at - near)
        weights[np.arange(fine), near + 1] += at - near
        rows.append(weights.reshape(PARTS, 4, SMALL).mean(1))
    return np.concatenate(rows)


_MEANS = _means()
