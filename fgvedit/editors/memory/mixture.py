"""The released SERAC's answers: a mixture of what the base model and the counterfactual model hold probable."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from fgvedit.backbones.answering import Forced, Query
from fgvedit.backbones.base import LOGITS, Backbone, Inputs, forced_from_logits
from fgvedit.editors.contract import Route
from fgvedit.editors.memory.counterfactual import CounterfactualModel
from fgvedit.editors.routing import Routing
from fgvedit.schema import Edit

EPSILON = torch.finfo(torch.float32).eps  # added to every probability in training, as in the released code
HELD = LOGITS // 8  # numbers at once: of both models logits and probabilities in single precision, and their sum


def mixed(base: torch.Tensor, other: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Probabilities (1 - weight) p_base + weight p_other of every token at each of `base`'s positions, in float32.

    `base`, `other`: logits (n, length, tokens), of lengths and numbers of tokens of their own: rows meet at their
    ends, and what only one of them knows the other holds for impossible. `weight`: of `other`, (n, length of base).
    """
    length, tokens = base.shape[1], max(base.shape[2], other.shape[2])
    p, q = base.float().softmax(dim=-1), other[:, -length:].float().softmax(dim=-1)
    p = nn.functional.pad(p, (0, tokens - p.shape[2]))
    q = nn.functional.pad(q, (0, tokens - q.shape[2], length - q.shape[1], 0))
    return (1 - weight)[..., None] * p + weight[..., None] * q


def aligned(rho: torch.Tensor, other_mask: torch.Tensor, length: int) -> torch.Tensor:
    """(n, length): each row's rho (n,), 0 at positions, counted from the end, that the other model does not have."""
    there = other_mask[:, -length:].to(rho.dtype)
    return rho[:, None] * nn.functional.pad(there, (length - there.shape[1], 0))


class BothModels:
    """The base model and a counterfactual model on the same queries, each in its own words."""

    def __init__(self, backbone: Backbone, counterfactual: CounterfactualModel) -> None:
        self.backbone = backbone
        self.counterfactual = counterfactual

    def base_inputs(self, queries: Sequence[Query], answer_ids: Sequence[Sequence[int]]) -> Inputs:
        """What the base model is called with: the queries as it puts them, each followed by an answer's tokens."""
        return self.backbone.inputs(
            [self.backbone.prompt_of(query) for query in queries], [query.image for query in queries], answer_ids
        )

    def other_logits(
        self, edits: Sequence[Edit], queries: Sequence[Query], answer_ids: Sequence[Sequence[int]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The counterfactual model's logits (n, length, tokens) under the edit of the same index, and their mask."""
        prompts = [self.counterfactual.prompt(edit, query) for edit, query in zip(edits, queries, strict=True)]
        inputs = self.counterfactual.inputs(prompts, [query.image for query in queries], answer_ids)
        return self.counterfactual.logits(inputs), inputs["attention_mask"]


class Mixture(Routing):
    """An edited model whose every token is the most probable one of the mixture of both models, weighted by the rho of
    each query's route. With a rho of 0 that is the base model, and the query is its own.

    `route`: queries -> their routes, "mixed" or "base".
    """

    def __init__(
        self, models: BothModels, edits: Sequence[Edit], route: Callable[[Sequence[Query]], list[Route]]
    ) -> None:
        super().__init__(models.backbone.cached_answerer, route)
        self.models = models
        self.edits = edits

    @torch.no_grad()
    def force_away(self, queries: Sequence[Query], routes: Sequence[Route], answers: Sequence[str]) -> list[Forced]:
        """The most likely tokens of the mixture, at the base model's positions."""
        answer_ids = [self.models.backbone.answer_ids(answer) for answer in answers]
        found: list[Forced] = []
        for part in self._parts(queries, answer_ids):
            probabilities, mask = self._probabilities(queries[part], routes[part], answer_ids[part])
            found += forced_from_logits(probabilities, mask, answer_ids[part])
        return found

    @torch.no_grad()
    def generate_away(self, queries: Sequence[Query], routes: Sequence[Route], max_new_tokens: int) -> list[str]:
        """Greedy answers under the mixture: both models read on with every token that is taken."""
        guesses = self._guesses(queries, routes, max_new_tokens)
        return [
            text
            for part in self._parts(queries, guesses)
            for text in self._continued(queries[part], routes[part], guesses[part], max_new_tokens)
        ]

    def _guesses(self, queries: Sequence[Query], routes: Sequence[Route], max_new_tokens: int) -> list[list[int]]:
        """The tokens that the model of the greater weight answers by itself, which are most often the mixture's."""
        greater = [row for row, route in enumerate(routes) if (route.rho or 0) >= 0.5]
        edits = [self.edits[routes[row].edit or 0] for row in greater]
        texts = self.base.generate(queries, max_new_tokens)
        own = self.models.counterfactual.generate(edits, [queries[row] for row in greater], max_new_tokens)
        for row, text in zip(greater, own, strict=True):
            texts[row] = text
        return [self.models.backbone.answer_ids(text)[: max_new_tokens - 1] for text in texts]

    def _continued(
        self, queries: Sequence[Query], routes: Sequence[Route], guesses: Sequence[list[int]], max_new_tokens: int
    ) -> list[str]:
        """The mixture's answers. It is asked with the guesses in its input: as far as it says the same, its next tokens
        are known at once, and from there on it is asked again, one token at a time."""
        written, ends = self.models.counterfactual.written, self._ends()
        taken: list[list[int]] = [[] for _ in queries]
        given = list(guesses)
        going = list(range(len(queries)))
        while going:
            asked = [given[row] for row in going]
            last = max(map(len, asked)) + 1
            found, _ = self._probabilities([queries[row] for row in going], [routes[row] for row in going], asked, last)
            for row, likeliest in zip(going, found.argmax(dim=-1).tolist(), strict=True):
                for place in range(len(taken[row]), len(given[row]) + 1):
                    taken[row].append(likeliest[place - len(given[row]) - 1])
                    if place == len(given[row]) or taken[row][-1] != given[row][place] or taken[row][-1] in ends:
                        break
                given[row] = taken[row][:]
            going = [row for row in going if taken[row][-1] not in ends and len(taken[row]) < max_new_tokens]
        return [written(tokens) for tokens in taken]

    def _ends(self) -> set[int]:
        """The tokens after which nothing is read: the ends of both models, and what stands for an image in a prompt,
        which would be taken for another image."""
        placeholder = getattr(self.models.backbone.model.config, "image_token_id", None)
        return {*self.models.counterfactual.ends.tokens, *([] if placeholder is None else [placeholder])}

    def _probabilities(
        self,
        queries: Sequence[Query],
        routes: Sequence[Route],
        answer_ids: Sequence[Sequence[int]],
        last: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the mixture, (n, length, tokens), padded on the left, and the mask (n, length). `last`: at how many
        positions, counted from the end; None: at all."""
        models = self.models
        inputs = models.base_inputs(queries, answer_ids)
        base, mask = models.backbone.logits(inputs), inputs["attention_mask"]
        if last is not None:
            base, mask = base[:, -last:], mask[:, -last:]
        edits = [self.edits[route.edit or 0] for route in routes]
        other, other_mask = models.other_logits(edits, queries, answer_ids)
        rho = torch.tensor([route.rho for route in routes], device=base.device, dtype=torch.float32)
        return mixed(base, other.to(base.device), aligned(rho, other_mask.to(base.device), mask.shape[1])), mask

    def _parts(self, queries: Sequence[Query], answer_ids: Sequence[Sequence[int]]) -> list[slice]:
        """As few parts of the queries as keep what is held at once within `HELD` numbers."""
        if not queries:
            return []
        backbone = self.models.backbone
        length = max(
            backbone.prompt_length(backbone.prompt_of(query), query.image) + len(ids)
            for query, ids in zip(queries, answer_ids, strict=True)
        )
        vocabulary = backbone.language_model.get_input_embeddings().weight.shape[0]
        size = max(1, HELD // (length * vocabulary))
        return [slice(start, start + size) for start in range(0, len(queries), size)]
