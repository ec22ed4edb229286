"""`generation`: the model answers freely and stops by itself; answers are compared as VQA v2 compares them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fgvedit.evaluation.normalise import normalise
from fgvedit.evaluation.protocols.base import Protocol, short
from fgvedit.evaluation.rows import Row
from fgvedit.probes import EXACT

if TYPE_CHECKING:
    from fgvedit.backbones.answering import Answerer, Query

normalised = lru_cache(maxsize=1 << 16)(normalise)


class Generation(Protocol):
    """1 if the generated answer is the expected one (or, where the edit must change nothing, the base model's own)."""

    name = "generation"
    meaning = "the model answers freely and stops by itself; answers are compared after the VQA v2 normalisation"
    checked = True

    def ask(self, answerer: Answerer, queries: Sequence[Query], answers: Sequence[str]) -> list[str]:
        return answerer.generate(queries)

    def text(self, response: str, tokenizer: Any) -> str:
        return response

    def score(self, kind: str, answer: str, before: str, after: str) -> float:
        return float(normalised(after) == normalised(answer if self.rule(kind) == EXACT else before))

    def fault(self, row: Row) -> str | None:
        score = self.score(row["kind"], row["answer"], row["before"], row["after"])
        if row["score"] == score:
            return None
        right = row["answer"] if self.rule(row["kind"]) == EXACT else row["before"]
        return (
            f"score is {row['score']}; expected {score}, as the answer is {short(row['after'])} where "
            f"{short(right)} is right"
        )
