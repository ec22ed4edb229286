"""Where a classifier looked, drawn over the image."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

LONGEST = 480  # pixels, of the longer side of what is drawn
COLOUR = (255, 80, 0)
STRONGEST = 0.8  # how much of the colour covers the part that counted most


def heat_map(image: Image.Image, weights: torch.Tensor) -> Image.Image:
    """`image` (RGB) in grey, scaled so that its longer side is `LONGEST`, the colour over each part the stronger, the
    more it counted: `weights` (rows, columns), not negative, relative to the largest. Parts keep their edges, so that
    nobody reads more into the map than it says."""
    scale = LONGEST / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    grey = image.convert("L").convert("RGB").resize(size, Image.Resampling.BICUBIC)
    shares = weights / weights.max().clamp_min(torch.finfo(weights.dtype).tiny)
    cover = Image.fromarray((shares * (STRONGEST * 255)).round().to(torch.uint8).numpy().astype(np.uint8))
    mask = cover.resize(size, Image.Resampling.NEAREST)
    return Image.composite(Image.new("RGB", size, COLOUR), grey, mask)
