"""How the scope classifier joins what an image shows with what a text says.

Every fusion takes texts (n, d) and, for each, its image pooled (n, d) and in patches (n, patches, d), zeros where
there is none, and returns (n, d), what the text drew from the image; `text` alone returns None.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from fgvedit.util.errors import unknown

FUSIONS = ("dot", "dot-released", "concat", "cross", "text")
ATTENDING = ("dot", "cross")  # those in which the text attends to the image's patches
CROSS_HEADS = 4


def attention(query: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Scaled dot-product attention of one query (n, d) to keys (n, k, d): the weight of each, (n, k), of sum 1."""
    return (torch.einsum("nd,nkd->nk", query, keys) / math.sqrt(query.shape[-1])).softmax(dim=-1)


class Fusion(nn.Module):
    """One way to join; `kind`: one of `FUSIONS`, `width`: d.

    - `dot`: the text attends to the image's patches (the paper's equation; nothing is learned here).
    - `dot-released`: the text attends to the *pooled* images of all rows of the batch, without a scale, as the
      released code computes it. With a single row the softmax is over one element, so that this is `concat`; with
      several stored edits each text sees a mixture of all edits' images.
    - `concat`: the pooled image, whatever the text.
    - `cross`: as `dot`, with learned projections and four heads.
    - `text`: no image.
    """

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        if kind not in FUSIONS:
            raise unknown("fusion", kind, FUSIONS)
        self.kind = kind
        self.cross = nn.MultiheadAttention(width, CROSS_HEADS, batch_first=True) if kind == "cross" else None

    def forward(self, text: torch.Tensor, pooled: torch.Tensor, patches: torch.Tensor) -> torch.Tensor | None:
        """(n, d) of texts (n, d) and images, pooled (n, d) and in patches (n, patches, d); None for `text`."""
        if self.kind == "dot":
            return torch.einsum("nk,nkd->nd", attention(text, patches), patches)
        if self.kind == "dot-released":
            return (text @ pooled.T).softmax(dim=-1) @ pooled
        if self.kind == "concat":
            return pooled
        if self.cross is not None:
            return self.cross(text[:, None], patches, patches, need_weights=False)[0][:, 0]
        return None

    def weights(self, text: torch.Tensor, patches: torch.Tensor) -> torch.Tensor | None:
        """How much each patch counts for each text: (n, patches), of sum 1 (`cross`: the mean of its heads); None for
        fusions that do not attend to patches."""
        if self.kind == "dot":
            return attention(text, patches)
        if self.cross is not None:
            return self.cross(text[:, None], patches, patches, need_weights=True)[1][:, 0]
        return None
