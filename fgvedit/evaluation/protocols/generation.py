"""`generation`: the model answers freely and stops by itself; answers are compared as VQA v2 compares them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fgvedit.backbones.answering import Answerer, Query
from fgvedit.evaluation.normalise import normalise
from fgvedit.evaluation.protocols.base import Protocol
from fgvedit.schema import EDIT, EXPECTED_NEW


class Generation(Protocol):
    """1 if the generated answer is the expected one (or, where the edit must change nothing, the base model's own)."""

    name = "generation"

    def ask(self, answerer: Answerer, queries: Sequence[Query], answers: Sequence[str]) -> list[str]:
        return answerer.generate(queries)

    def text(self, response: str, tokenizer: Any) -> str:
        return response

    def score(self, kind: str, answer: str, before: str, after: str) -> float:
        expected = answer if kind == EDIT or kind in EXPECTED_NEW else before
        return float(normalise(after) == normalise(expected))
