"""What can be wrong with a text by itself."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from fgvedit.evaluation.normalise import normalise

LONGEST_QUESTION, LONGEST_ANSWER = 500, 300  # characters
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


def faults(text: str, longest: int) -> Iterator[tuple[str, str]]:
    """Name of the check and what was found."""
    if not normalise(text):
        yield "empty_text", f"nothing is left of '{text}'"
    odd = next((char for char in text if unicodedata.category(char) in ("Cc", "Cs", "Co", "Zl", "Zp")), None)
    if odd is not None:
        yield "control_characters", f"U+{ord(odd):04X} in {text!r}"
    if is_mojibake(text):
        yield "mojibake", f"'{text}'"
    if text != text.strip():
        yield "outer_space", f"{text!r}"
    if len(text) > longest:
        yield "length", f"{len(text)} characters: '{text[:60]}…'"


def is_mojibake(text: str) -> bool:
    """Whether UTF-8 was read as Windows-1252 or Latin-1 ("cafÃ©"), or what could not be read was replaced."""
    if "\ufffd" in text:
        return True
    for run in _NOT_ASCII.findall(text):
        for wrong in ("cp1252", "latin-1"):
            try:
                run.encode(wrong).decode("utf-8")
            except UnicodeError:
                continue
            return True
    return False


def gives_away(question: str, answer: str) -> bool:
    """Whether the question holds the answer, word for word, and does not offer it as one of several."""
    asked, said = normalise(question), normalise(answer)
    return bool(said) and f" {said} " in f" {asked} " and " or " not in f" {asked} "


def answer_type(answer: str) -> str:
    """One of VQA v2's three: "yes/no", "number", "other"."""
    said = normalise(answer)
    if said in ("yes", "no"):
        return "yes/no"
    return "number" if re.fullmatch(r"\d+([.:]\d+)?", said) else "other"
