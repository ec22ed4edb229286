"""Answering under stored edits: queries inside an edit's scope go to the counterfactual model, all others to the base.

What decides the scope is given from outside, so that any classifier can be put in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from fgvedit.answering import MAX_NEW_TOKENS, Answerer, Forced, Query
from fgvedit.editing import EditedModel, Route
from fgvedit.mscke.counterfactual import CounterfactualModel
from fgvedit.schema import Edit

Answer = TypeVar("Answer")


class Routed(EditedModel):
    """`rhos`: queries -> (queries, edits); the edit of the highest rho counts, from `threshold` on."""

    def __init__(
        self,
        base: Answerer,
        counterfactual: CounterfactualModel,
        edits: Sequence[Edit],
        rhos: Callable[[Sequence[Query]], torch.Tensor],
        threshold: float,
    ) -> None:
        self.base = base
        self.counterfactual = counterfactual
        self.edits = edits
        self.rhos = rhos
        self.threshold = threshold
        self._routes: dict[tuple[str, str], Route] = {}

    def explain(self, queries: Sequence[Query]) -> list[Route]:
        new = list({query.key: query for query in queries if query.key not in self._routes}.values())
        if new and self.edits:
            best = self.rhos(new).max(dim=1)
            for query, rho, edit in zip(new, best.values.tolist(), best.indices.tolist(), strict=True):
                inside = rho >= self.threshold
                self._routes[query.key] = Route("counterfactual" if inside else "base", edit, rho)
        return [self._routes.get(query.key, Route("base")) for query in queries]

    def generate(self, queries: Sequence[Query], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
        return self._answer(
            queries,
            lambda rows: self.base.generate([queries[row] for row in rows], max_new_tokens),
            lambda rows, edits: self.counterfactual.generate(edits, [queries[row] for row in rows], max_new_tokens),
        )

    def teacher_force(self, queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]:
        return self._answer(
            queries,
            lambda rows: self.base.teacher_force([queries[row] for row in rows], [answers[row] for row in rows]),
            lambda rows, edits: self.counterfactual.teacher_force(
                edits, [queries[row] for row in rows], [answers[row] for row in rows]
            ),
        )

    def _answer(
        self,
        queries: Sequence[Query],
        from_base: Callable[[list[int]], list[Answer]],
        from_counterfactual: Callable[[list[int], list[Edit]], list[Answer]],
    ) -> list[Answer]:
        """Each query's answer from where it is routed, in the order of the queries."""
        routes = self.explain(queries)
        outside = [row for row, route in enumerate(routes) if route.to == "base"]
        inside = [(row, self.edits[route.edit]) for row, route in enumerate(routes) if route.edit is not None]
        inside = [(row, edit) for row, edit in inside if routes[row].to != "base"]
        rows = [row for row, _ in inside]
        answers = dict(zip(outside, from_base(outside), strict=True))
        answers.update(zip(rows, from_counterfactual(rows, [edit for _, edit in inside]), strict=True))
        return [answers[row] for row in range(len(queries))]
