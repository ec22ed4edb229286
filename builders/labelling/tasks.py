"""What a model is asked for each method of a labeller, in words, and how its answer is read and checked."""

from __future__ import annotations

import hashlib
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic

import jsonschema
from jsonschema.exceptions import best_match
from PIL import Image

from builders.labelling.base import Effect, Labelled, Labeller, Refused, Told, Unanswered, Value
from fgvedit.evaluation.normalise import normalise
from fgvedit.schema import ImageRef
from fgvedit.util.errors import one_line

RELATIONS = ("entailed", "unaffected", "unclear")
LONGEST = {"entity": 80, "answer": 40, "question": 200}  # characters
QUOTED = 300  # characters of an answer that was no use, as it is told again
READ = 20_000  # characters at the end of what a model says


class BadAnswer(Exception):
    """What is the matter with a model's answer, in words that follow "it": the model is told them."""


@dataclass(frozen=True)
class Ask(Generic[Value]):
    """One question to a model.

    `schema`: of the JSON object that it is to answer with. `value`: makes the answer of that object, or raises
    `BadAnswer`. `stand_in`: what holds where no answer is of any use; without one, there is none.
    """

    task: str
    prompt: str
    image: ImageRef | None
    schema: Mapping[str, Any]
    value: Callable[[dict[str, Any]], Value]
    stand_in: Value | None = None

    def read(self, text: str) -> Labelled[Value]:
        """What a model said. Raises `BadAnswer` for what is not of the form, or cannot be meant."""
        found = json_object(text)
        if error := best_match(jsonschema.Draft202012Validator(self.schema).iter_errors(found)):
            raise BadAnswer(f"has another form than was asked for: {one_line(error)[:QUOTED]}")
        reason = clean(found["reason"])
        if not reason:
            raise BadAnswer("gives no reason")
        return Labelled(self.value(found), reason)


class Asking(Labeller, ABC):
    """A labeller that puts each task to a model, and asks again where the answer is no use."""

    name: str
    tries: int  # in all, for one answer

    @abstractmethod
    def reply(self, ask: Ask[Any], wrong: Sequence[tuple[str, str]]) -> str:
        """What the model says, told its earlier answers and what was the matter with each. Raises `Refused`."""

    def ask(self, ask: Ask[Value]) -> Labelled[Value]:
        """The answer to one question, or its stand-in. Raises `Refused` where no answer is of use and there is none."""
        wrong: list[tuple[str, str]] = []
        while len(wrong) < self.tries:
            said = self.reply(ask, wrong)
            try:
                return ask.read(said)
            except BadAnswer as error:
                wrong.append((said[:QUOTED], str(error)))
        trouble = f"no usable answer to task '{ask.task}' in {self.tries} tries; the last one {wrong[-1][1]}"
        if ask.stand_in is None:
            raise Refused(f"labeller '{self.name}': {trouble}")
        return Unanswered(ask.stand_in, trouble)

    def entity(self, image: ImageRef, question: str, answer: str) -> Labelled[str]:
        return self.ask(entity(image, question, answer))

    def counterfactual(self, image: ImageRef, question: str, answer: str) -> Labelled[str]:
        return self.ask(counterfactual(image, question, answer))

    def rephrase(self, question: str) -> Labelled[str]:
        return self.ask(rephrase(question))

    def effect(self, image: ImageRef, edit: Told, question: str, answer: str) -> Labelled[Effect]:
        return self.ask(effect(image, edit, question, answer))

    def settled_by_text(self, edit: Told, question: str) -> Labelled[bool]:
        return self.ask(settled_by_text(edit, question))

    def in_scope(self, image: ImageRef, edit: Told, count: int) -> Labelled[list[tuple[str, str]]]:
        return self.ask(in_scope(image, edit, count))


# The tasks


def entity(image: ImageRef, question: str, answer: str) -> Ask[str]:
    """What the question is about, named so that it can be told from all else in the image; or empty."""

    def value(found: dict[str, Any]) -> str:
        return short(found["entity"], "entity")

    return Ask(
        "entity",
        _prompt(
            "Here are a question about the image and its answer. Which one thing in the image is the question about? "
            "Name it in at most six words, so that whoever sees the image can tell it from all else in it, as in "
            '"the left giraffe" or "the tall man\'s hat". Where the question is about the image as a whole, or about '
            "no one thing, the name is empty.",
            {"question": question, "answer": answer},
            {"entity": "the name, or empty"},
        ),
        image,
        _schema(entity=_TEXT),
        value,
    )


def counterfactual(image: ImageRef, question: str, answer: str) -> Ask[str]:
    """Another answer of the same kind, wrong for the image; or empty."""

    def value(found: dict[str, Any]) -> str:
        target = short(found["target"], "answer")
        if target and same(target, answer):
            raise BadAnswer(f"gives '{target}', which means the same as the right answer '{answer}'")
        return target

    return Ask(
        "counterfactual",
        _prompt(
            "Here are a question about the image and its right answer. Give another answer to it: of the same kind (a "
            'colour for a colour, a number for a number, "no" for "yes"), just as likely to whoever does not see the '
            "image, and wrong for this image. It has at most three words. Where there is no such answer it is empty.",
            {"question": question, "right answer": answer},
            {"target": "the other answer, or empty"},
        ),
        image,
        _schema(target=_TEXT),
        value,
    )


def rephrase(question: str) -> Ask[str]:
    """The same question in other words, asked without the image; or empty."""

    def value(found: dict[str, Any]) -> str:
        return new_question(found["rephrase"], [question]) if clean(found["rephrase"]) else ""

    return Ask(
        "rephrase",
        _prompt(
            "Here is a question about an image that you do not see. Ask the same thing in other words. Whatever the "
            "image shows, both questions must have the same answer, in the same form. Where it cannot be said in other "
            "words the new question is empty.",
            {"question": question},
            {"rephrase": "the new question, or empty"},
        ),
        None,
        _schema(rephrase=_TEXT),
        value,
    )


def effect(image: ImageRef, edit: Told, question: str, answer: str) -> Ask[Effect]:
    """What the edit does to the answer of another question about its image; where no answer is of use, "unclear"."""

    def value(found: dict[str, Any]) -> Effect:
        relation, entailed = found["relation"], short(found["answer"], "answer")
        if (relation == "entailed") != bool(entailed):
            raise BadAnswer(
                f"says '{relation}' with the answer '{entailed}', though an answer belongs to 'entailed' alone"
            )
        return Effect(relation, entailed)

    return Ask(
        "effect",
        _prompt(
            "Suppose that one fact about the image is changed: a question about it has a new answer from now on, and "
            "whatever does not follow from that stays as the image shows it. Here are that question, its answer until "
            "now and its new answer; then another question about the same image, with its answer until now. What does "
            "the change do to the other question?\n"
            '- "entailed": its right answer now follows from the new answer. Give it, in at most three words, whether '
            "or not it is another one than before.\n"
            '- "unaffected": it is about another thing, or about something that the change does not touch, and its '
            "answer stays. Give no answer.\n"
            '- "unclear": neither is certain. Give no answer.',
            {**_told(edit), "other question": question, "its answer until now": answer},
            {"relation": "entailed, unaffected or unclear", "answer": "what is entailed, or empty"},
        ),
        image,
        _schema(relation={"type": "string", "enum": list(RELATIONS)}, answer=_TEXT),
        value,
        Effect("unclear"),
    )


def settled_by_text(edit: Told, question: str) -> Ask[bool]:
    """Whether words alone tell if the edit concerns another question, asked without the image."""

    def value(found: dict[str, Any]) -> bool:
        return found["settled"]

    return Ask(
        "settled_by_text",
        _prompt(
            "Suppose that one fact about an image that you do not see is changed: a question about it has a new answer "
            "from now on. Here are that question, its answer until now and its new answer; then another question about "
            "the same image. Do these words alone tell whether the change concerns the other question, that is, "
            "whether it bears on its right answer? `settled` is true where they do, be it yes or no; it is false where "
            "one has to see the image, for instance to know whether both questions are about the same thing.",
            {**_told(edit), "other question": question},
            {"settled": True},
        ),
        None,
        _schema(settled={"type": "boolean"}),
        value,
    )


def in_scope(image: ImageRef, edit: Told, count: int) -> Ask[list[tuple[str, str]]]:
    """At most `count` new questions about the edited entity with the answers that the edit entails; or none."""

    def value(found: dict[str, Any]) -> list[tuple[str, str]]:
        if len(found["questions"]) > count:
            raise BadAnswer(f"has {len(found['questions'])} questions, at most {count} were asked for")
        pairs: list[tuple[str, str]] = []
        for pair in found["questions"]:
            question = new_question(pair["question"], [edit.question, *(asked for asked, _ in pairs)])
            answer = short(pair["answer"], "answer")
            if not answer:
                raise BadAnswer(f"gives no answer to '{question}'")
            pairs.append((question, answer))
        return pairs

    pair = {
        "type": "object",
        "properties": {"question": _TEXT, "answer": _TEXT},
        "required": ["question", "answer"],
        "additionalProperties": False,
    }
    return Ask(
        "in_scope",
        _prompt(
            "Suppose that one fact about the image is changed: a question about it has a new answer from now on, and "
            "whatever does not follow from that stays as the image shows it. Here are that question, its answer until "
            f"now and its new answer. Write at most {count} new questions about the same thing in the image, each with "
            "the answer, in at most three words, that is right now because of the change. Each must be answered by "
            "what the new answer entails, say something other than the question itself and than the other new "
            "questions, and make sense to whoever sees only the image. Write fewer, or none, where there are no more.",
            _told(edit),
            {"questions": [{"question": "a new question", "answer": "its answer now"}]},
        ),
        image,
        _schema(questions={"type": "array", "items": pair}),
        value,
        [],
    )


_TEXT = {"type": "string"}


def _schema(**properties: Any) -> dict[str, Any]:
    """Of an object with `reason` first, so that a model gives its reason before it decides. Only what every server's
    structured output knows: no lengths, no counts."""
    whole = {"reason": _TEXT, **properties}
    return {"type": "object", "properties": whole, "required": list(whole), "additionalProperties": False}


def _prompt(instruction: str, given: Mapping[str, str], form: Mapping[str, Any]) -> str:
    facts = "\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in given.items())
    whole = json.dumps({"reason": "one short sentence", **form})
    return f"{instruction}\n\n{facts}\n\nAnswer with one JSON object of this form and nothing else:\n{whole}"


def _told(edit: Told) -> dict[str, str]:
    return {"question": edit.question, "answer until now": edit.answer, "new answer": edit.target}


# What is read


def json_object(text: str) -> dict[str, Any]:
    """The last JSON object in a text: a model may think aloud before it, or put it between code fences."""
    text = text[-READ:]
    decoder, found, start = json.JSONDecoder(), None, text.find("{")
    while start >= 0:
        try:
            found, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)
    if found is None:
        raise BadAnswer("is not one whole JSON object")
    return found


def clean(text: str) -> str:
    """One line without spaces around it. Raises `BadAnswer` for what is not text: control characters, half a letter."""
    line = " ".join(text.split())
    if not line.isprintable():
        raise BadAnswer(f"holds characters that cannot be printed: {ascii(line)[:QUOTED]}")
    return line


def short(text: str, what: str) -> str:
    """A clean line of at most `LONGEST[what]` characters. Raises `BadAnswer` for another."""
    line = clean(text)
    if len(line) > LONGEST[what]:
        raise BadAnswer(f"is too long: at most {LONGEST[what]} characters for '{what}', found {len(line)}")
    return line


def new_question(text: str, others: Sequence[str]) -> str:
    """A short line that ends with a question mark. Raises `BadAnswer` for another, and for one of `others` again."""
    question = short(text, "question")
    if not question.endswith("?"):
        raise BadAnswer(f"has '{question}' for a question, expected one that ends with a question mark")
    for other in others:
        if same(question, other):
            raise BadAnswer(f"has '{question}', which is the question '{other}' again")
    return question


def same(one: str, other: str) -> bool:
    """Whether two texts are the same as VQA v2 compares answers."""
    return normalise(one) == normalise(other)


@cache
def samples() -> dict[str, Ask[Any]]:
    """One ask of each task, of usual length."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(file, "PNG")
    image, question = ImageRef("sample", file.getvalue()), "What colour is the hat of the man on the left?"
    edit = Told(question, "light blue", "dark red")
    asks: list[Ask[Any]] = [
        entity(image, question, "light blue"),
        counterfactual(image, question, "light blue"),
        rephrase(question),
        effect(image, edit, "What is the man in front of the window holding?", "umbrella"),
        settled_by_text(edit, "What is the man in front of the window holding?"),
        in_scope(image, edit, 3),
    ]
    return {ask.task: ask for ask in asks}


@cache
def wording() -> str:
    """A hash of what models are asked: other words give other answers."""
    said = [[ask.task, ask.prompt, ask.schema] for ask in samples().values()]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]
