"""The contract of a protocol."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from fgvedit.backbones.answering import Answerer, Query


class Protocol(ABC):
    """What is asked of a model and how its answer is scored; it keeps no state."""

    name: ClassVar[str]

    @abstractmethod
    def ask(self, answerer: Answerer, queries: Sequence[Query], answers: Sequence[str]) -> list[Any]:
        """One response a query; `answers` are the ones that are right after the edit, for protocols that show them."""

    @abstractmethod
    def text(self, response: Any, tokenizer: Any) -> str:
        """A response as a person reads it."""

    @abstractmethod
    def score(self, kind: str, answer: str, before: Any, after: Any) -> float:
        """0 to 1 for a probe of this kind, from the base model's response and the edited model's."""
