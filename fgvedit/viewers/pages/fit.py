"""How much of an image a classifier saw, for pages that show over it where it attended."""

from __future__ import annotations

FITS = ("squash", "shortest", "longest")


def area(width: int, height: int, fit: str) -> tuple[float, float, float, float]:
    """Left, top, width and height, in pixels of an image of this width and height, of what the classifier saw of it.

    `fit`, of `FITS`: how the image was made a square, as `open_clip` calls it: "squash" (all of it), "shortest" (its
    middle), "longest" (all of it and a border).
    """
    if fit == "squash":
        return 0, 0, width, height
    side = min(width, height) if fit == "shortest" else max(width, height)
    return (width - side) / 2, (height - side) / 2, side, side
