"""MSCKE's scope classifier, which reads images and texts: their CLIP features, fused, and a similarity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from fgvedit.backbones.answering import Query
from fgvedit.backbones.feature_cache import FeatureCache
from fgvedit.editors.memory.clip import Clip
from fgvedit.editors.memory.scope import Scope, similarity, squared_distance
from fgvedit.editors.memory.texts import Texts, edit_text, query_text
from fgvedit.editors.mscke.fusion import ATTENDING, Fusion
from fgvedit.editors.supervision import PAPERS_KINDS, WITH_BOXES
from fgvedit.schema import Edit, ImageRef


class ScopeClassifier(Scope):
    """z = [Fusion(h^i, h^t); h^t], rho = exp(-||z_e - z_test||^2), in (0, 1] (arXiv 2411.12790, on the multimodal scope
    classifier; the similarity is that of the released code).

    Both halves of z are scaled to length 1, so that what rho = 0.5 means does not depend on CLIP's scale. Without an
    image the first half is zero: a text-only query is at least that far from every edit of an image.
    """

    def __init__(self, clip: Clip, fusion: str, texts: Texts = "plain") -> None:
        super().__init__()
        self.clip = clip
        self.texts = texts
        with torch.no_grad():
            width = clip.read(["a"]).shape[-1]
        self.fusion = Fusion(fusion, width)
        self.feature_cache = FeatureCache()  # (1 + patches, d) for each image: pooled, then its patches
        self.stored = FeatureCache()  # z of each edit

    @property
    def reads_images(self) -> bool:
        """Whether images count at all."""
        return self.fusion.kind != "text"

    def remember(self, edits: Sequence[Edit]) -> Callable[[Sequence[Query]], torch.Tensor]:
        """Embed the edits, and give what says how similar queries are to them: queries -> rho (queries, edits)."""
        # Each stored edit goes through CLIP once; the released code does it again for every query.
        z_edits = self.embed_edits(edits)
        return lambda queries: similarity(z_edits, self.embed_queries(queries))

    def distances(self, edits: Sequence[Edit], queries: Sequence[Sequence[Query]]) -> torch.Tensor:
        """||z_e - z_test||^2 of each edit with the query at its index in each list: (lists, edits), with gradient."""
        asked = [query for own in queries for query in own]
        texts = self._facts(edits) + self._asked(asked)
        images = [edit.image for edit in edits] + [query.image for query in asked]
        z = self.embed_with_gradient(texts, images).view(len(queries) + 1, len(edits), -1)
        return squared_distance(z[:1], z[1:])

    def embed_edits(self, edits: Sequence[Edit]) -> torch.Tensor:
        """(n, width of z) for [t_e; y_e] and i_e, without gradient.

        Each edit is embedded by itself, once for as long as the cache holds it, so that a long memory costs no more at
        each further edit. Only the fusion `dot-released` runs over all of them together.
        """
        if self.fusion.kind == "dot-released":
            return self._embed(self._facts(edits), [edit.image for edit in edits], alone=False)
        return torch.stack(self.stored.get(edits, self._store))

    def _store(self, edits: Sequence[Edit]) -> Iterator[torch.Tensor]:
        for edit in edits:
            yield self._embed(self._facts([edit]), [edit.image], alone=False)[0]

    def embed_queries(self, queries: Sequence[Query]) -> torch.Tensor:
        """(n, width of z) for t_test and i_test, without gradient."""
        return self._embed(self._asked(queries), [query.image for query in queries], alone=True)

    def _facts(self, edits: Sequence[Edit]) -> list[str]:
        return [edit_text(edit, self.texts) for edit in edits]

    def _asked(self, queries: Sequence[Query]) -> list[str]:
        return [query_text(query, self.texts) for query in queries]

    def embed_with_gradient(self, texts: Sequence[str], images: Sequence[ImageRef | None]) -> torch.Tensor:
        """(n, width of z) for texts and images of queries or of edits that are alone in force; nothing is cached."""
        text = self.clip.read(texts)
        different = {image.key: image for image in images if image is not None and self.reads_images}
        if different:
            pooled, patches = self.clip.see(self.clip.pixels(list(different.values())))
        else:
            pooled, patches = torch.zeros_like(text[:1]), torch.zeros_like(text[:1, None])
        index_of = {key: index for index, key in enumerate(different)}
        index = torch.tensor([index_of.get(image.key, 0) if image else 0 for image in images], device=text.device)
        shown = torch.tensor([image is not None for image in images], device=text.device)
        return self.join(text, pooled.index_select(0, index), patches.index_select(0, index), shown, alone=True)

    @torch.no_grad()
    def _embed(self, texts: Sequence[str], images: Sequence[ImageRef | None], alone: bool) -> torch.Tensor:
        """As `embed_with_gradient`, without gradient; each image is encoded once, for as long as the cache holds it."""
        text = self.clip.read(texts)
        images = images if self.reads_images else [None] * len(images)
        encoded = self.feature_cache.get([image for image in images if image is not None], self._encode)
        blank = torch.zeros_like(encoded[0]) if encoded else text.new_zeros(2, text.shape[-1])
        rest = iter(encoded)
        rows = torch.stack([blank if image is None else next(rest) for image in images])
        shown = torch.tensor([image is not None for image in images], device=text.device)
        return self.join(text, rows[:, 0], rows[:, 1:], shown, alone)

    def join(
        self, text: torch.Tensor, pooled: torch.Tensor, patches: torch.Tensor, shown: torch.Tensor, alone: bool
    ) -> torch.Tensor:
        """z (n, 2d), or (n, d) for the fusion `text`, of texts (n, d) and their images, pooled (n, d) and in patches
        (n, patches, d).

        `shown` (n,), bool: whether there is an image. `alone`: the rows know nothing of each other, which matters to
        `dot-released` only: it runs over the stored edits together, and over queries one by one.
        """
        with torch.autocast(text.device.type, enabled=False):  # rho is an exponential of small differences
            text, pooled, patches = text.float(), pooled.float(), patches.float()
            of_text = nn.functional.normalize(text, dim=-1)
            if alone and self.fusion.kind == "dot-released":
                fused: torch.Tensor | None = pooled  # a softmax over one element
            else:
                fused = self.fusion(text, pooled, patches)
            if fused is None:
                return of_text
            return torch.cat([nn.functional.normalize(fused, dim=-1) * shown[:, None], of_text], dim=-1)

    @torch.no_grad()
    def attention(self, texts: Sequence[str], images: Sequence[ImageRef | None]) -> list[torch.Tensor | None]:
        """The fusion's weights of an image's patches for the text of the same index, (rows, columns); None without an
        image, and for fusions that do not attend to patches."""
        shown = [index for index, image in enumerate(images) if image is not None]
        found: list[torch.Tensor | None] = [None] * len(texts)
        if self.fusion.kind not in ATTENDING or not shown:
            return found
        text = self.clip.read([texts[index] for index in shown])
        encoded = torch.stack(self.feature_cache.get([image for image in images if image is not None], self._encode))
        weights = self.fusion.weights(text.float(), encoded[:, 1:].float())
        assert weights is not None
        for index, of_patches in zip(shown, weights.cpu(), strict=True):
            found[index] = of_patches.view(self.clip.grid)
        return found

    @property
    def fit(self) -> str:
        """How much of an image CLIP reads."""
        return self.clip.fit

    @property
    def supervision(self) -> str:
        """What it and its CLIP learned from."""
        return WITH_BOXES if self.clip.taught_with_boxes else PAPERS_KINDS

    def forget(self) -> None:
        """Empty the caches of images and of stored edits."""
        self.feature_cache.clear()
        self.stored.clear()

    def _encode(self, images: Sequence[ImageRef]) -> Iterator[torch.Tensor]:
        # One at a time: rho, to the last bit, must not depend on which images were encoded before.
        for image in images:
            pooled, patches = self.clip.see(self.clip.pixels([image]))
            yield torch.cat([pooled[:, None], patches], dim=1)[0]
