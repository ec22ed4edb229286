"""The labeller `rules`: no model and no network, but rules over the words of questions and answers.

It sees no image. What it says is meant to be right where it says something: whether an edit bears on another question
is "unclear" unless the words leave no doubt. So text alone settles whatever they say, and no probe of theirs is hard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from builders.labelling.base import Effect, Labelled, Labeller, Told
from builders.labelling.reading import LEXICON, Reading, load_parser, plural, read, singular, text_of, words
from fgvedit.schema import ImageRef
from fgvedit.util.revision import content_hash

Item = TypeVar("Item")

COLORS = {color for group in LEXICON["colors"] for color in group}
TARGET_COLORS: list[str] = LEXICON["targets"]
CLASSES: dict[str, dict[str, list[str]]] = LEXICON["classes"]
MASS, PARTS, SCENE = (frozenset(LEXICON[name]) for name in ("mass", "parts", "scene"))
SYNONYMS: list[list[str]] = LEXICON["synonyms"]
ALIKE = [frozenset(group) for group in LEXICON["alike"]]
ALIKE += [frozenset(word for text in (*c["words"], *c["names"]) for word in words(text)) for c in CLASSES.values()]
PERSON = ALIKE[0]

POINTING, VAGUE, ALL_OR_NONE = (frozenset(LEXICON[name]) for name in ("pointing", "vague", "all_or_none"))
DETERMINERS = ("a", "an", "the", "this", "that", "these", "those")
COMPANY, CROWDING, NONE_THERE = (frozenset(LEXICON[name]) for name in ("company", "crowding", "none_there"))
COUNTED_UP_TO = 12


class Rules(Labeller):
    """What rules over words say. Raises `FGVEditError` where spaCy or its English model is not installed."""

    name = "rules"
    concurrency = 1

    def __init__(self) -> None:
        load_parser()
        self.version = content_hash(Path(__file__).parent / file for file in ("rules.py", "rules.yaml", "reading.py"))

    def entity(self, image: ImageRef, question: str, answer: str) -> Labelled[str]:
        reading = read(question)
        if reading.form in ("other", "exists"):
            return Labelled("", f"a question of the form '{reading.form}' names no entity that an edit could be about")
        if answer in NONE_THERE and reading.form != "yes_no":
            return Labelled("", f"with the answer '{answer}' there is no such thing in the photo")
        if reading.form == "filler":
            name = f"what {reading.verb} {reading.rest}"
        elif reading.form == "class":
            name = f"the {reading.subject} {reading.rest}" if not reading.bare else f"the {reading.subject}"
        elif reading.form == "count":
            name = f"the {reading.subject}" if reading.bare else f"the {reading.subject} {reading.rest}"
        else:
            name = reading.subject
        about = words(name) | {reading.head}
        if not words(name) or (reading.form != "filler" and reading.head in SCENE | POINTING):
            return Labelled("", f"'{name}' is no one thing in the photo")
        if reading.form == "yes_no" and (reading.head in PARTS or about & SCENE or _quantified(reading)):
            return Labelled("", f"'{name}' is not one thing by itself")
        return Labelled(name, f"what a question of the form '{reading.form}' is about")

    def counterfactual(self, image: ImageRef, question: str, answer: str) -> Labelled[str]:
        reading = read(question)
        choose = _Chooser(image.image_id, question, answer)
        if reading.form == "color":
            if answer not in COLORS:
                return Labelled("", f"'{answer}' is not one colour")
            near = _similar(answer)
            return Labelled(choose([c for c in TARGET_COLORS if c not in near]), "another colour, and no similar one")
        if reading.form == "count":
            return self._number(answer, choose)
        if reading.form == "yes_no" and answer in ("yes", "no"):
            return Labelled("no" if answer == "yes" else "yes", "the other of yes and no")
        if reading.form == "choice":
            others = [other for other in alternatives(reading) if other != answer]
            if answer in alternatives(reading) and len(others) == 1:
                return Labelled(others[0], "the other of the two that the question names")
            return Labelled("", f"'{answer}' is not one of two words that the question names")
        if reading.form in ("class", "filler", "gap"):
            return self._of_a_class(reading, answer, choose)
        return Labelled("", f"no other answer is known to a question of the form '{reading.form}'")

    def rephrase(self, question: str) -> Labelled[str]:
        reading = read(question)
        ways = [way for way in _rephrasings(reading) if _key(way) != _key(question)]
        if not ways:
            return Labelled("", f"no other words are known for a question of the form '{reading.form}'")
        return Labelled(_Chooser(question)(ways), f"a template for the form '{reading.form}'")

    def effect(self, image: ImageRef, edit: Told, question: str, answer: str) -> Labelled[Effect]:
        about, other = read(edit.question), read(question)
        entailed = dict(_consequences(about, edit)) | {key: edit.target for key in _same_question(about)}
        entailed[_key(edit.question)] = edit.target
        found = entailed.get(_key(question)) or entailed.get(_sense(other))
        if found is not None:
            return Labelled(Effect("entailed", found), "it asks for the edited attribute of the edited entity")
        for doubt in _doubts(about, edit, other, answer):
            return Labelled(Effect("unclear"), doubt)
        return Labelled(
            Effect("unaffected"), "it asks about something else, and nothing in it depends on the edited answer"
        )

    def settled_by_text(self, edit: Told, question: str) -> Labelled[bool]:
        return Labelled(True, "the rules saw no image: what they say of a question they say of its words alone")

    def in_scope(self, image: ImageRef, edit: Told, count: int) -> Labelled[list[tuple[str, str]]]:
        reading = read(edit.question)
        made = [(q, a) for q, a in _in_scope(reading, edit) if _key(q) != _key(edit.question)]
        chosen = _Chooser(image.image_id, edit.question, edit.target).some(made, count)
        return Labelled(chosen, f"templates for the form '{reading.form}'")

    def _number(self, answer: str, choose: _Chooser) -> Labelled[str]:
        if not answer.isdigit() or not 1 <= int(answer) <= COUNTED_UP_TO:
            return Labelled("", f"'{answer}' is no number from 1 to {COUNTED_UP_TO}")
        number = int(answer)
        near = [number + step for step in (-2, -1, 1, 2, 3)]
        # one and many are spoken of differently: a question about "the man" would lose its meaning with two of them
        return Labelled(
            choose([str(n) for n in near if n >= (2 if number > 1 else 1) and n != number]), "another number"
        )

    def _of_a_class(self, reading: Reading, answer: str, choose: _Chooser) -> Labelled[str]:
        one = _singular(answer)
        same = _similar(one)
        names = [name for name, group in CLASSES.items() if one in group["words"]]
        if said := next((word for word in ("doing", "eating") if word in reading.rest.split()), None):
            names = [name for name in names if {"doing": "activity", "eating": "food"}[said] in CLASSES[name]["names"]]
        for name in names:
            fit = [word for word in CLASSES[name]["words"] if (word in MASS) == (one in MASS) and word not in same]
            target = choose([word for word in fit if words(word).isdisjoint(words(one) | reading.terms)])
            return Labelled(plural(target) if target and one != answer else target, f"another word for a {name}")
        return Labelled("", f"'{answer}' is in none of the classes of words")


def _similar(value: str) -> frozenset[str]:
    """A value with those that mean nearly the same, or may be said of the same thing."""
    groups = (group for group in (*LEXICON["colors"], *SYNONYMS) if value in group)
    return frozenset({value}.union(*groups))


def _quantified(reading: Reading) -> bool:
    """ "Are some of the trees dead?", "Is anyone smiling?" """
    found = set(f"{reading.subject} {reading.rest}".lower().split())
    return not found.isdisjoint(ALL_OR_NONE | {"some", "any", "one", "most", "none"})


class _Chooser:
    """Chooses by a hash of what is chosen for: the same in every run."""

    def __init__(self, *what: str) -> None:
        self._what = "\0".join(what)

    def some(self, items: Iterable[Item], count: int) -> list[Item]:
        return sorted(items, key=lambda item: hashlib.sha256(f"{self._what}\0{item}".encode()).digest())[:count]

    def __call__(self, items: Sequence[str]) -> str:
        """One of the items; empty where there are none."""
        return next(iter(self.some(items, 1)), "")


def alternatives(reading: Reading) -> list[str]:
    """ "a man or woman" -> ["man", "woman"]; empty where the two are not single words."""
    sides = [[w for w in side.split() if w.lower() not in ("a", "an", "the")] for side in reading.rest.split(" or ")]
    return [side[0].lower() for side in sides] if len(sides) == 2 and all(len(side) == 1 for side in sides) else []


def _rephrasings(reading: Reading) -> Iterator[str]:
    be, subject, rest = reading.verb, reading.subject, reading.rest
    if reading.form == "color":
        yield f"What is the color of {subject}?"
        yield f"Which color {be} {subject}?"
        yield f"What color would you say {subject} {be}?"
    elif reading.form == "count":
        if reading.bare:
            yield f"What is the number of {subject} in the picture?"
            yield f"How many {subject} can be counted in this picture?"
        else:
            yield f"What is the number of {subject} {rest}?"
    elif reading.form == "class":
        yield (
            f"Which {reading.subject} can be seen in this picture?"
            if reading.bare
            else f"Which {reading.subject} {be} {rest}?"
        )
    elif reading.form == "filler":
        yield f"What is it that {be} {rest}?"
    elif reading.form == "gap":
        yield f"What is it that {subject} {be} {rest}?"
    elif reading.form == "yes_no" and be in ("is", "are"):
        yield f"Would you say that {subject} {be} {rest}?"
        yield f"Is it right to say that {subject} {be} {rest}?"
    elif reading.form == "choice" and be in ("is", "are") and len(alternatives(reading)) == 2:
        one, other = alternatives(reading)
        article = "a " if reading.rest.startswith(("a ", "an ")) else ""
        yield f"{be.capitalize()} {subject} {article}{other} or {article}{one}?"


def _in_scope(reading: Reading, edit: Told) -> Iterator[tuple[str, str]]:
    """Questions about the edited entity that the edit answers."""
    old, new = edit.answer, edit.target
    excluded = _excluded(reading, edit)
    yield from _statements(reading, edit, (new, old) if excluded else (new,))
    be, subject = reading.verb.capitalize(), reading.subject
    if reading.form == "color" and excluded:
        first, second = sorted((old, new))
        yield f"{be} {subject} {first} or {second}?", new
    if reading.form == "yes_no" and be in ("Is", "Are") and len(reading.rest.split()) <= 3:
        yield f"{be} {subject} {reading.rest} or not {reading.rest}?", f"{'' if new == 'yes' else 'not '}{reading.rest}"


def _statements(reading: Reading, edit: Told, values: Iterable[str]) -> Iterator[tuple[str, str]]:
    """For each value a question whether it is the answer, with yes or no after the edit."""
    be, subject, rest = reading.verb.capitalize(), reading.subject, reading.rest
    for value in values:
        answer = "yes" if value == edit.target else "no"
        if reading.form == "color":
            yield f"{be} {subject} {value}?", answer
        elif reading.form == "count" and value.isdigit():
            yield f"Is the number of {subject} {'in the picture' if reading.bare else rest} {value}?", answer
        elif reading.form == "class" and _is_thing(value):
            where = " in the picture" if reading.bare else f" {rest}"
            yield f"{be} the {reading.subject}{where} {_a(value)}?", answer
        elif reading.form == "filler" and _is_thing(value):
            yield f"{'Are' if _singular(value) != value else 'Is'} there {_a(value)} {rest}?", answer
        elif reading.form == "gap":
            said = rest.replace("doing", value, 1) if "doing" in rest.split() else _filled(rest, _a(value))
            yield f"{be} {subject} {said}?", answer
        elif reading.form == "choice":
            article = "a " if rest.startswith(("a ", "an ")) else ""
            yield f"{be} {subject} {article}{value}?", answer


def _filled(rest: str, value: str) -> str:
    """ "standing on" -> "standing on a box"; "holding in the left hand" -> "holding a box in the left hand"."""
    verb, _, after = rest.partition(" ")
    return f"{rest} {value}" if not words(after) else f"{verb} {value} {after}"


def _excluded(reading: Reading, edit: Told) -> bool:
    """Whether the edit says that its old answer, which may be whatever a model said, is no longer right."""
    old, new = edit.answer, edit.target
    if reading.form == "color":
        return old in COLORS and _fixed(reading, edit) and old not in _similar(new)
    if reading.form in ("class", "filler", "gap"):
        one = _singular(old)
        known = any(one in group["words"] for group in CLASSES.values())
        return known and one not in _similar(_singular(new)) and words(old).isdisjoint(words(new))
    return old != new and _fixed(reading, edit) and (reading.form != "choice" or old in alternatives(reading))


def _fixed(reading: Reading, edit: Told) -> bool:
    """Whether the new answer is one of those that exclude each other; "black and white" excludes neither."""
    if reading.form == "color":
        return edit.target in COLORS
    if reading.form == "count":
        return edit.answer.isdigit() and edit.target.isdigit()
    return edit.target in (alternatives(reading) if reading.form == "choice" else ("yes", "no"))


def _consequences(reading: Reading, edit: Told) -> Iterator[tuple[str, str]]:
    """Keys of questions with the answers that the edit entails."""
    values = {edit.target, *([edit.answer] if _excluded(reading, edit) else [])}
    if reading.form in ("color", "choice") and _fixed(reading, edit):
        values |= (COLORS if reading.form == "color" else set(alternatives(reading))) - _similar(edit.target)
    for question, answer in _statements(reading, edit, sorted(values)):
        yield _key(question), answer
    if reading.form == "count" and reading.bare and edit.target.isdigit() and int(edit.target) > 0:
        for opening in ("Is there a", "Are there", "Are there any"):
            yield _key(f"{opening} {reading.subject}?"), "yes"


def _same_question(reading: Reading) -> Iterator[str]:
    """Keys of other ways to ask the question."""
    yield from (_key(way) for way in _rephrasings(reading))
    if sense := _sense(reading):
        yield sense


def _sense(reading: Reading) -> str:
    """One text for all questions that mean the same, whatever their words; empty where that cannot be told."""
    if reading.form == "count" and reading.bare and len(words(reading.subject)) == 1:
        return f"count {reading.head}"
    if reading.form == "color":
        return f"color {' '.join(w for w in reading.subject.lower().split() if w not in DETERMINERS)}"
    if reading.form == "class" and reading.bare:
        return f"class {reading.noun}"
    return ""


def _doubts(about: Reading, edit: Told, other: Reading, answer: str) -> Iterator[str]:
    """Why it cannot be told from words that an edit leaves another question's answer as it was."""
    both_colors = about.form == other.form == "color"  # two things may well have the same
    asked = other.terms if both_colors else other.terms | words(answer)
    values = words(edit.answer) | words(edit.target)
    plain = edit.answer not in ("yes", "no") and not edit.answer.isdigit()
    if plain and (shared := [word for word in sorted(asked) if _alike(word, values)]):
        yield f"'{shared[0]}' may have to do with '{edit.answer}' or '{edit.target}'"
    if asked & VAGUE:
        yield "it may mean the edited entity without naming it"
    if about.form == "color":
        yield from _doubts_of_color(about, other, answer)
    elif about.form == "count":
        yield from _doubts_of_count(about, edit, other)
    else:
        yield from _doubts_of_identity(about, other, answer)


def _doubts_of_color(about: Reading, other: Reading, answer: str) -> Iterator[str]:
    if other.form == "color":
        if _alike(other.head, {about.head}) or other.head in about.terms or about.head in other.terms:
            yield f"'{other.subject}' may be the same as '{about.subject}', or a part of it"
    elif other.terms & COLORS or words(answer) & COLORS or {"black", "white"} & other.terms:
        yield "it has to do with colours"
    if about.head in other.terms and other.form not in ("count", "where", "exists", "gap"):
        yield f"what it asks of '{about.head}' may have to do with its colour"
    if other.form in ("yes_no", "choice", "other", "class") and not other.terms - POINTING - SCENE:
        yield "it is about the whole scene"
    if _alike(about.head, {"grass", "plant", "sky", "leaf", "banana"}) and other.form in ("yes_no", "choice", "other"):
        yield f"the colour of '{about.head}' may tell of seasons, weather or health"


def _doubts_of_count(about: Reading, edit: Told, other: Reading) -> Iterator[str]:
    near = [word for word in sorted(other.terms) if _alike(word, about.terms)]
    many = edit.answer.isdigit() and edit.target.isdigit() and int(edit.answer) > 1 and int(edit.target) > 1
    if near and (other.form == "count" or not many):
        yield f"'{near[0]}' may be among '{about.subject}'"
    if about.head in PERSON and other.terms & (ALL_OR_NONE | COMPANY):
        yield "it asks about a group"
    if near and other.form not in ("color", "gap", "where"):
        yield f"it asks something of '{near[0]}' that may depend on how many there are"
    if other.form == "other" and not other.terms - POINTING - SCENE:
        yield "it is about the whole scene"
    if any(word.isdigit() for word in other.terms) or other.terms & ALL_OR_NONE:
        yield "it counts, too"
    if not near and other.form in ("yes_no", "choice") and other.head in POINTING:
        yield f"'{other.head}' may be the edited entity"


def _doubts_of_identity(about: Reading, other: Reading, answer: str) -> Iterator[str]:
    """Edits of what something is, does, is made of, or whether something holds for it."""
    near = [word for word in sorted(other.terms | words(answer)) if _alike(word, about.terms)]
    own = about.form == "gap" and other.form in ("color", "count") and not words(other.subject) & words(about.rest)
    if near and not own:
        yield f"it speaks of '{near[0]}', as the edit does"
    if other.head in POINTING or other.form == "other":
        yield "what it is about may be the edited entity"
    if about.terms & CROWDING and other.terms & PERSON:
        yield "it asks about people, and the edit says how many there are"
    if other.terms & (PARTS | ALL_OR_NONE):
        yield "it may be about a part of the edited entity"


@lru_cache(maxsize=1 << 14)
def _kin(word: str) -> frozenset[str]:
    return frozenset().union({word}, *(group for group in ALIKE if word in group))


def _alike(word: str, others: Iterable[str]) -> bool:
    """Whether a word may mean one of the others in a photo."""
    return not _kin(word).isdisjoint(others)


@lru_cache(maxsize=1 << 14)
def _key(question: str) -> str:
    """A question without articles, case and what only says that it is about a picture."""
    return " ".join(w for w in text_of(question).lower().rstrip("?").split() if w not in ("a", "an", "the", "there"))


def _singular(answer: str) -> str:
    *first, last = answer.split() or [""]
    return " ".join([*first, last if last in MASS else singular(last)])


def _is_thing(value: str) -> bool:
    no_things = ("posture", "activity", "sex")
    return any(_singular(value) in group["words"] for name, group in CLASSES.items() if name not in no_things)


def _a(value: str) -> str:
    """A thing with its article, where it takes one."""
    if value in MASS or _singular(value) != value or not _is_thing(value):
        return value
    return f"{'an' if value[0] in 'aeiou' else 'a'} {value}"
