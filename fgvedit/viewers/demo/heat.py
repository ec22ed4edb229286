"""Where a classifier attended, drawn over the image."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from fgvedit.viewers.pages.fit import area

LONGEST = 480  # pixels, of the longer side of what is drawn
COLOUR = (255, 80, 0)
STRONGEST = 0.8  # how much of the colour covers the part that counted most
FADED = 0.7  # how much white covers what the classifier did not see


def heat_map(image: Image.Image, weights: torch.Tensor, fit: str = "squash") -> Image.Image:
    """`image` in grey, scaled so that its longer side is `LONGEST`, the colour over each part the stronger, the more it
    counted: `weights` (rows, columns), not negative, relative to the largest. `fit`: see `pages.fit.area`.

    Parts keep their edges, so that nobody reads more into the map than it says.
    """
    scale = LONGEST / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    grey = image.convert("L").convert("RGB").resize(size, Image.Resampling.BICUBIC)
    left, top, width, height = map(round, area(*size, fit))

    shares = weights.float() / weights.max()
    cover = Image.fromarray((shares * (STRONGEST * 255)).round().numpy().astype(np.uint8))
    colour, white = Image.new("L", size, 0), Image.new("L", size, round(FADED * 255))
    colour.paste(cover.resize((width, height), Image.Resampling.NEAREST), (left, top))
    white.paste(0, (left, top, left + width, top + height))
    drawn = Image.composite(Image.new("RGB", size, COLOUR), grey, colour)
    return Image.composite(Image.new("RGB", size, (255, 255, 255)), drawn, white)
