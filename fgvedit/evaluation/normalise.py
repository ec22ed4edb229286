"""Answers in the form in which they are compared. Nothing here needs torch."""

from __future__ import annotations

import re


def normalise(answer: str) -> str:
    """An answer in the form in which the VQA v2 evaluation (visualqa.org/evaluation.html) compares answers.

    Lower case; punctuation out (a space in its place where it joins two words; decimal points stay, thousands' commas
    go); `none` to `ten` as digits; no articles; apostrophes put back into contractions.
    """
    text = answer.replace("\n", " ").replace("\t", " ").strip()
    bare = text
    has_thousands = re.search(r"\d,\d", text) is not None
    for mark in PUNCTUATION:
        loose = mark + " " in text or " " + mark in text
        bare = bare.replace(mark, "" if loose or has_thousands else " ")
    bare = re.sub(r"\.(?!\d)", "", bare)
    words = [NUMBERS.get(word, word) for word in bare.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
ARTICLES = ("a", "an", "the")
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {"none": "0"} | {word: str(number) for number, word in enumerate(_NUMBERS)}

# Stems that take each ending. Those that spell another word without the apostrophe (its, were, well, hell, shell,
# wed, shed, ill, id) are left out: VQA v2 leaves them as they are.
_ENDINGS = {
    "n't": "ai are ca could did does do had has have is might must need ought sha should was were wo would",
    "'d": "he how it somebody someone something there they where who you",
    "'ll": "how it somebody someone something they what who why you",
    "'re": "there they what why you",
    "'s": "he how somebody someone something that there what when where who why",
    "'ve": "could might must not should they we what where who would you",
}
_DOUBLE = {
    "n't": "could had might should would",
    "'d": "he i it she somebody someone something there they we who you",
}


def _contractions() -> dict[str, str]:
    full = {"im": "i'm", "ive": "i've", "maam": "ma'am", "oclock": "o'clock", "twas": "'twas", "yall": "y'all"}
    for ending, stems in _ENDINGS.items():
        full |= {stem + ending.replace("'", ""): stem + ending for stem in stems.split()}
    for ending, stems in _DOUBLE.items():
        for stem in stems.split():
            whole = stem + ending + "'ve"
            full |= {stem + ending.replace("'", "") + "'ve": whole, stem + ending + "ve": whole}
    return full


CONTRACTIONS = _contractions()
