"""The contract of a protocol."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from fgvedit.evaluation.rows import Row
from fgvedit.probes import AS_BEFORE, EXACT, kind_of
from fgvedit.util.errors import FGVEditError

if TYPE_CHECKING:
    from fgvedit.backbones.answering import Answerer, Query


class Protocol(ABC):
    """What is asked of a model and how its answer is scored; it keeps no state.

    Its module imports without torch, so that anybody can hold a run's scores to its rows.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]  # in one line
    rules: ClassVar[tuple[str, ...]] = (EXACT, AS_BEFORE)  # of `fgvedit.probes.RULES`, that it can score by
    checked: ClassVar[bool] = False  # whether `fault` holds a score to its row; a run of others is shown as unchecked

    @abstractmethod
    def ask(self, answerer: Answerer, queries: Sequence[Query], answers: Sequence[str]) -> list[Any]:
        """One response a query; `answers` are the ones that are right after the edit, for protocols that show them."""

    @abstractmethod
    def text(self, response: Any, tokenizer: Any) -> str:
        """A response as a person reads it."""

    @abstractmethod
    def score(self, kind: str, answer: str, before: Any, after: Any) -> float:
        """0 to 1 for a probe of this kind, by its `rule`, from the base model's response and the edited model's."""

    def rule(self, kind: str) -> str:
        """How a probe of this kind is scored: one of `rules`. Raises `FGVEditError` where the kind asks for another."""
        rule = kind_of(kind).rule(self.name)
        if rule not in self.rules:
            raise FGVEditError(
                f"kind of probe '{kind}' is to be scored by the rule '{rule}' under protocol '{self.name}'; expected "
                f"one of {', '.join(self.rules)}"
            )
        return rule

    def fault(self, row: Row) -> str | None:
        """What is wrong with a row's score, as far as its texts tell ("score is 2; expected 0 or 1"); None: nothing."""
        return None


def short(value: Any) -> str:
    """A value for a sentence, as Python writes it, which makes whatever cannot be seen visible."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
