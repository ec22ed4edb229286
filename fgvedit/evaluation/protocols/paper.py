"""`paper`: teacher-forced scores, as the paper's released evaluation computes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fgvedit.evaluation.protocols.base import Protocol, short
from fgvedit.evaluation.rows import Row
from fgvedit.probes import EXACT, TOP_1, TOP_10

if TYPE_CHECKING:
    from fgvedit.backbones.answering import Answerer, Forced, Query

RANKS = {TOP_1: 1, TOP_10: 10}


class Paper(Protocol):
    """The answer stands in the model's input, and what the model predicts at each position is scored.

    By a kind's rule: `exact`, 1 if every answer token is the most likely one, else 0; `top-1`, the share of positions
    whose most likely token the edit left unchanged; `top-10`, the same over the ten most likely tokens, rank by rank.
    """

    name = "paper"
    meaning = "teacher-forced, as the released code scores: the answer stands in the model's input"
    rules = (EXACT, *RANKS)
    checked = True

    def ask(self, answerer: Answerer, queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]:
        return answerer.teacher_force(queries, answers)

    def text(self, response: Forced, tokenizer: Any) -> str:
        return tokenizer.decode(response.predicted.tolist()).strip()

    def score(self, kind: str, answer: str, before: Forced, after: Forced) -> float:
        rule = self.rule(kind)
        return exact(after) if rule == EXACT else unchanged(before, after, RANKS[rule])

    def fault(self, row: Row) -> str | None:
        """Scores are of tokens, which a row does not hold: 0 or 1 where the whole answer counts. 1 there says that the
        tokens after the edit are those of the answer, which are written alike but for what a tokenizer does not keep;
        elsewhere, that no token changed, and so no letter."""
        whole = self.rule(row["kind"]) == EXACT
        if whole and row["score"] not in (0, 1):
            return f"score is {row['score']}; expected 0 or 1 for kind {short(row['kind'])}"
        if row["score"] != 1:
            return None
        right = row["answer"] if whole else row["before"]
        if whole and not right.isascii():
            return None  # a tokenizer need not know its letters
        same = letters(row["after"]) == letters(right) if whole else row["after"] == right
        if same:
            return None
        return f"score is 1, but the answer is {short(row['after'])}; expected {short(right)} or a lower score"


def letters(text: str) -> str:
    """What every tokenizer keeps of a text in ASCII: its letters and digits, in whatever case."""
    return re.sub(r"<[^<>]*>|[^a-z0-9]", "", text.lower())


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
