"""The contract of a scope classifier (is a query about what an edit is about?), its similarity and its loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import nn

from fgvedit.backbones.answering import Query
from fgvedit.editors.contract import AttentionMaps, Route
from fgvedit.editors.memory.texts import Texts, edit_text, query_text
from fgvedit.editors.supervision import PAPERS_KINDS
from fgvedit.schema import Edit, ImageRef


class Scope(nn.Module, ABC):
    """What a memory editor asks of its classifier.

    `texts`: how it reads edits and queries.
    """

    texts: Texts = "plain"

    @abstractmethod
    def remember(self, edits: Sequence[Edit]) -> Callable[[Sequence[Query]], torch.Tensor]:
        """Store edits, and give what says how similar queries are to them: queries -> rho (queries, edits), in [0, 1],
        without gradient."""

    @abstractmethod
    def distances(self, edits: Sequence[Edit], queries: Sequence[Sequence[Query]]) -> torch.Tensor:
        """-log rho of each edit with the query at its index in each list: (lists, edits), with gradient.

        Each edit is alone in force; nothing is cached.
        """

    def attention(self, texts: Sequence[str], images: Sequence[ImageRef | None]) -> list[torch.Tensor | None]:
        """How much each part of an image counts for the text of the same index: (rows, columns), of sum 1, without
        gradient, on the CPU; None for a text without an image. A classifier that does not attend gives None for all."""
        return [None] * len(texts)

    @property
    def fit(self) -> str:
        """How much of an image it reads, as `fgvedit.editors.memory.clip.Clip` calls it."""
        return "squash"

    @property
    def supervision(self) -> str:
        """What it learned from, one of `fgvedit.editors.supervision.SUPERVISION`, once it is trained."""
        return PAPERS_KINDS

    def forget(self) -> None:
        """Drop the cached features of images and texts: other weights would give others."""


def attention_by(
    scope: Scope, edits: Sequence[Edit]
) -> Callable[[Sequence[Query], Sequence[Route]], list[AttentionMaps] | None]:
    """What says where `scope` attended, for queries and their routes to these edits: `attention` of
    `fgvedit.editors.routing.Routed`."""

    def attention(queries: Sequence[Query], routes: Sequence[Route]) -> list[AttentionMaps] | None:
        counted = {route.edit: edits[route.edit] for route in routes if route.edit is not None}
        facts = [edit_text(edit, scope.texts) for edit in counted.values()]
        stored = dict(zip(counted, scope.attention(facts, [edit.image for edit in counted.values()]), strict=True))
        texts = [query_text(query, scope.texts) for query in queries]
        asked = scope.attention(texts, [query.image for query in queries])
        found = []
        for route, own in zip(routes, asked, strict=True):
            of_edit = stored[route.edit] if route.edit is not None else None
            if of_edit is None:
                return None
            found.append(AttentionMaps(of_edit, own, scope.fit))
        return found

    return attention


def squared_distance(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """||one - other||^2 over the last dimension, in float32."""
    return (one.float() - other.float()).square().sum(dim=-1)


def similarity(z_edits: torch.Tensor, z_queries: torch.Tensor) -> torch.Tensor:
    """rho = exp(-||z_e - z_test||^2) of every query with every edit, as the released code has it.

    (edits, width), (queries, width) -> (queries, edits), in (0, 1].
    """
    return torch.exp(-squared_distance(z_queries[:, None], z_edits[None]))


def scope_loss(distance: torch.Tensor, inside: bool) -> torch.Tensor:
    """Mean binary cross-entropy of rho = exp(-distance) for distances (n,): towards 1 inside the scope, 0 outside."""
    if inside:
        return distance.mean()
    return -torch.log(-torch.expm1(-distance.clamp_min(1e-4))).mean()
