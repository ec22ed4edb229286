"""What both a backbone and an edited model can do: answer questions, freely and with the answer forced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from fgvedit.schema import ImageRef

TOP_K = 10  # the ranks that the paper's out-of-scope score compares
MAX_NEW_TOKENS = 10


@dataclass(frozen=True)
class Query:
    """A question about an image, or about none."""

    question: str
    image: ImageRef | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Equal for queries that are the same: the image's key, empty without one, and the question."""
        return (self.image.key if self.image else "", self.question)


@dataclass(frozen=True, eq=False)
class Forced:
    """What a model predicts when the answer stands in its input (teacher forcing).

    `top`: int32, (positions, TOP_K), the most likely next tokens at every position of image, prompt and answer,
    best first; on the CPU. `answer`: int32, (m,), the answer's tokens, which are the input's last m.
    """

    top: torch.Tensor
    answer: torch.Tensor

    @property
    def predicted(self) -> torch.Tensor:
        """int32, (m,): the most likely token where each of the answer's tokens stands."""
        return self.top[-len(self.answer) - 1 : -1, 0]


def question_prompt(question: str) -> str:
    """The released FGVEdit code's words around a question; an answer follows behind a space."""
    return f"Question: {question} Short answer:"


def new_fact(fact: str) -> str:
    """A fact (a question with its new answer) as it stands in a prompt, in the words of IKE; the question follows."""
    return f"New Fact: {fact}\n"


class Answerer(Protocol):
    """A model that answers: a backbone, or a backbone under an edit."""

    def generate(self, queries: Sequence[Query], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
        """Greedy free answers, stripped of white space; the model stops by itself or after `max_new_tokens`."""
        ...

    def teacher_force(self, queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]:
        """What is predicted over each query followed by its answer, in one forward pass."""
        ...


class CachedAnswerer:
    """An `Answerer` over a model that does not change, which never answers the same thing twice.

    Editors that leave the base model's weights alone answer out-of-scope queries through it, so that such an answer
    is the base model's own, bit for bit, and costs nothing more.
    """

    def __init__(self, base: Answerer) -> None:
        self.base = base
        self._answers: dict[tuple, str] = {}
        self._forced: dict[tuple, Forced] = {}

    def generate(self, queries: Sequence[Query], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
        """The model's own answers; it is asked only for those that it has not given before."""
        keys = [(*query.key, max_new_tokens) for query in queries]
        new = {key: query for key, query in zip(keys, queries, strict=True) if key not in self._answers}
        if new:
            self._answers.update(zip(new, self.base.generate(list(new.values()), max_new_tokens), strict=True))
        return [self._answers[key] for key in keys]

    def teacher_force(self, queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]:
        """The model's own predictions; it is asked only for those that it has not made before."""
        keys = [(*query.key, answer) for query, answer in zip(queries, answers, strict=True)]
        new = {key: query for key, query in zip(keys, queries, strict=True) if key not in self._forced}
        if new:
            forced = self.base.teacher_force(list(new.values()), [key[-1] for key in new])
            self._forced.update(zip(new, forced, strict=True))
        return [self._forced[key] for key in keys]

    def forget(self) -> None:
        """Drop all answers: the model has changed."""
        self._answers.clear()
        self._forced.clear()
