"""What a labeller is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from fgvedit.schema import ImageRef
from fgvedit.util.errors import FGVEditError

Value = TypeVar("Value")
Relation = Literal["entailed", "unaffected", "unclear"]


@dataclass(frozen=True)
class Labelled(Generic[Value]):
    """An answer, and the labeller's reason for it, in a sentence."""

    value: Value
    reason: str


@dataclass(frozen=True)
class Unanswered(Labelled[Value]):
    """What stands in for an answer that was no use ("unclear", or nothing); it is not kept, and is asked for again."""


class Refused(FGVEditError):
    """A labeller declined, or never gave an answer of any use. That is no answer: what was to be made of it, a record
    as a rule, is left out and counted."""


class Stopping(Exception):
    """The run is ending: no more is asked."""


@dataclass(frozen=True)
class Told:
    """An edit as a labeller is told of it: to `question` the answer was `answer` and is to be `target`."""

    question: str
    answer: str
    target: str


@dataclass(frozen=True)
class Effect:
    """What an edit does to another question about its image. "entailed": the right answer is `answer` from now on;
    "unaffected": it stays as it was; "unclear": neither can be said, and no probe is made of it."""

    relation: Relation
    answer: str = ""


class Labeller(Protocol):
    """Answers are the same for the same question, or are kept (`builders.labelling.cache`) so that they are.

    `name` says who answered, and with what ("rules", "openai:gpt-4o-mini", "local:Qwen/Qwen2.5-VL-7B-Instruct"); it is
    in every record's label. `concurrency`: how many questions may be under way at once. Where answers depend on more
    than the name, an attribute `version` says so: answers are kept under both. Where answers cost money, a static
    method `estimate(config, counts)` says how much so many of each task do, and an attribute `spent` how much this run
    has. Any method may raise `Refused`. Where one waits or asks several times for an answer, an attribute `stopping` (a
    `threading.Event`) is set when the run ends: then it raises `Stopping` in place of asking again.
    """

    name: str
    concurrency: int

    def entity(self, image: ImageRef, question: str, answer: str) -> Labelled[str]:
        """What the question is about, in a few words: "the left giraffe". Empty where it is about no one thing."""
        ...

    def counterfactual(self, image: ImageRef, question: str, answer: str) -> Labelled[str]:
        """Another answer of the same kind, wrong for this image: an edit's target. Empty where there is none."""
        ...

    def rephrase(self, question: str) -> Labelled[str]:
        """The same question in other words. Empty where it cannot be said otherwise."""
        ...

    def effect(self, image: ImageRef, edit: Told, question: str, answer: str) -> Labelled[Effect]:
        """Stage 1, image and text: whether the edited answer entails or changes the answer to another question."""
        ...

    def settled_by_text(self, edit: Told, question: str) -> Labelled[bool]:
        """Stage 2, text alone: whether the texts alone tell if the edit concerns the question."""
        ...

    def in_scope(self, image: ImageRef, edit: Told, count: int) -> Labelled[list[tuple[str, str]]]:
        """At most `count` new questions about the edited entity, each with the answer that the edit entails. They are
        made of the edit, so that text settles them: no hard probes."""
        ...
