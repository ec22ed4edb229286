"""`paper`: teacher-forced scores, as the paper's released evaluation computes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fgvedit.backbones.answering import TOP_K, Answerer, Forced, Query
from fgvedit.evaluation.protocols.base import Protocol
from fgvedit.schema import EDIT, EXPECTED_NEW


class Paper(Protocol):
    """The answer stands in the model's input, and what the model predicts at each position is scored.

    The edit, `rephrase`, `in_scope`, `reference_in`: 1 if every answer token is the most likely one, else 0.
    `text_locality`: the share of positions whose most likely token the edit left unchanged.
    `out_of_scope`, `other_image`, `reference_out`: the same over the `TOP_K` most likely tokens, rank by rank.
    """

    name = "paper"

    def ask(self, answerer: Answerer, queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]:
        return answerer.teacher_force(queries, answers)

    def text(self, response: Forced, tokenizer: Any) -> str:
        return tokenizer.decode(response.predicted.tolist()).strip()

    def score(self, kind: str, answer: str, before: Forced, after: Forced) -> float:
        if kind == EDIT or kind in EXPECTED_NEW:
            return exact(after)
        return unchanged(before, after, ranks=1 if kind == "text_locality" else TOP_K)


def exact(after: Forced) -> float:
    """1.0 if each of the answer's tokens is the most likely one where it stands, else 0.0."""
    return float((after.predicted == after.answer).all())


def unchanged(before: Forced, after: Forced, ranks: int) -> float:
    """The share of (position, rank) pairs, over the base model's positions, that hold the same token.

    Inputs of different length (an editor may write more into the prompt) are aligned at their ends; a position of the
    base model that the edited model lacks counts as changed.
    """
    old, new = before.top[:, :ranks], after.top[:, :ranks]
    shared = min(len(old), len(new))
    same = (old[-shared:] == new[-shared:]).sum().item() if shared else 0
    return same / old.numel()
