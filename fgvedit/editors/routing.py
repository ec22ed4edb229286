"""Edited models that answer each query where it is routed: from the base model, or under the edits.

What decides is given from outside, so that any classifier, codebook or side memory can be put in its place.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch

from fgvedit.backbones.answering import MAX_NEW_TOKENS, Answerer, Forced, Query
from fgvedit.editors.contract import AttentionMaps, EditedModel, Route

Answer = TypeVar("Answer")


class InScopeAnswerer(Protocol):
    """What answers inside the scope. `edits`: for each query, the index of the edit that it was routed to, or None."""

    def generate(self, queries: Sequence[Query], edits: Sequence[int | None], max_new_tokens: int) -> list[str]:
        """Greedy free answers, each under its query's edit (see `Answerer.generate`)."""
        ...

    def teacher_force(
        self, queries: Sequence[Query], edits: Sequence[int | None], answers: Sequence[str]
    ) -> list[Forced]:
        """What is predicted with the answers in the input, each under its query's edit (see `Answerer`)."""
        ...


class Routing(EditedModel):
    """An edited model that asks `route` once for each query, and leaves those whose route is "base" to `base`.

    `route`: queries -> their routes. `attention`: queries and their routes -> where the router attended, for one that
    reads images. A subclass says what answers the others.
    """

    def __init__(
        self,
        base: Answerer,
        route: Callable[[Sequence[Query]], list[Route]],
        attention: Callable[[Sequence[Query], Sequence[Route]], list[AttentionMaps] | None] | None = None,
    ) -> None:
        self.base = base
        self.route = route
        self.attention = attention
        self._routes: dict[tuple[str, str], Route] = {}

    @abstractmethod
    def generate_away(self, queries: Sequence[Query], routes: Sequence[Route], max_new_tokens: int) -> list[str]:
        """Greedy free answers to queries that are not left to the base model."""

    @abstractmethod
    def force_away(self, queries: Sequence[Query], routes: Sequence[Route], answers: Sequence[str]) -> list[Forced]:
        """What is predicted with the answers in the input, for queries that are not left to the base model."""

    def explain(self, queries: Sequence[Query]) -> list[Route]:
        """The route of each query, from the router or as it was before."""
        new = list({query.key: query for query in queries if query.key not in self._routes}.values())
        if new:
            self._routes.update((query.key, route) for query, route in zip(new, self.route(new), strict=True))
        return [self._routes[query.key] for query in queries]

    def attention_maps(self, queries: Sequence[Query]) -> list[AttentionMaps] | None:
        """Where the router attended for each query; None for one that reads no images."""
        return self.attention(queries, self.explain(queries)) if self.attention else None

    def generate(self, queries: Sequence[Query], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
        """Greedy free answers, each from where its query is routed."""
        return self._answer(
            queries,
            lambda rows: self.base.generate([queries[row] for row in rows], max_new_tokens),
            lambda rows, routes: self.generate_away([queries[row] for row in rows], routes, max_new_tokens),
        )

    def teacher_force(self, queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]:
        """What is predicted with the answers in the input, each from where its query is routed."""
        return self._answer(
            queries,
            lambda rows: self.base.teacher_force([queries[row] for row in rows], [answers[row] for row in rows]),
            lambda rows, routes: self.force_away(
                [queries[row] for row in rows], routes, [answers[row] for row in rows]
            ),
        )

    def _answer(
        self,
        queries: Sequence[Query],
        from_base: Callable[[list[int]], list[Answer]],
        from_elsewhere: Callable[[list[int], list[Route]], list[Answer]],
    ) -> list[Answer]:
        """Each query's answer from where it is routed, in the order of the queries."""
        routes = self.explain(queries)
        outside = [row for row, route in enumerate(routes) if route.to == "base"]
        inside = [row for row, route in enumerate(routes) if route.to != "base"]
        answers = dict(zip(outside, from_base(outside), strict=True))
        answers.update(zip(inside, from_elsewhere(inside, [routes[row] for row in inside]), strict=True))
        return [answers[row] for row in range(len(queries))]


class Routed(Routing):
    """An edited model that answers each query where `route` sends it: those to "base" are answered by `base`, the
    others by `in_scope`. `attention`: see `Routing`."""

    def __init__(
        self,
        base: Answerer,
        in_scope: InScopeAnswerer,
        route: Callable[[Sequence[Query]], list[Route]],
        attention: Callable[[Sequence[Query], Sequence[Route]], list[AttentionMaps] | None] | None = None,
    ) -> None:
        super().__init__(base, route, attention)
        self.in_scope = in_scope

    def generate_away(self, queries: Sequence[Query], routes: Sequence[Route], max_new_tokens: int) -> list[str]:
        """Greedy free answers, each under its query's edit."""
        return self.in_scope.generate(queries, [route.edit for route in routes], max_new_tokens)

    def force_away(self, queries: Sequence[Query], routes: Sequence[Route], answers: Sequence[str]) -> list[Forced]:
        """What is predicted with the answers in the input, each under its query's edit."""
        return self.in_scope.teacher_force(queries, [route.edit for route in routes], answers)


def most_similar(
    rhos: Callable[[Sequence[Query]], torch.Tensor], threshold: float, to: str
) -> Callable[[Sequence[Query]], list[Route]]:
    """Routes by similarity, as MSCKE and SERAC do: the edit of the highest rho counts, and from `threshold` on the
    query goes `to` it, otherwise to the base model.

    `rhos`: queries -> (queries, edits), of one edit or more; `to`: see `Route`.
    """

    def route(queries: Sequence[Query]) -> list[Route]:
        best = rhos(queries).max(dim=1)
        return [
            Route(to if rho >= threshold else "base", edit, rho)
            for rho, edit in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    return route
