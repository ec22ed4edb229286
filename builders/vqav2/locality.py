"""Questions of Natural Questions, which no edit of an image may touch."""

from __future__ import annotations

import json
from pathlib import Path

from builders.vqav2.draw import shuffled
from builders.vqav2.official import normalised, question_key, tidy
from builders.vqav2.plan import SPLITS, TEST_SHARE
from fgvedit.util.errors import FGVEditError

Pair = tuple[str, str]


def read_pairs(path: Path) -> list[Pair]:
    """(question, answer) of each line; a question that comes again, in other letters or with other marks, is left out,
    and so is a text that says nothing: "---".

    Raises `FGVEditError`, naming the file and line, for what is not such a line.
    """
    if path.is_dir():
        raise FGVEditError(f"'{path}' is a folder; expected a file of lines of JSON with 'question' and 'answer'")
    if path.is_file() and path.open("rb").read(2) == b"PK":
        raise FGVEditError(f"'{path}' is a zip archive; expected a file of lines of JSON: unpack it first")
    pairs: dict[str, Pair] = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                item = json.loads(line.decode())
                question, answer = item["question"], item["answer"]
                if not (isinstance(question, str) and isinstance(answer, str) and question.strip() and answer.strip()):
                    raise ValueError("an empty text, or none")
                (question + answer).encode()  # JSON can hold half a character
            except (ValueError, KeyError, TypeError) as error:
                raise FGVEditError(
                    f"'{path}', line {number}: found {line.strip()[:60].decode(errors='backslashreplace')!r}, expected "
                    "an object with the texts 'question' and 'answer', in UTF-8"
                ) from error
            if normalised(question) and normalised(answer):
                pairs.setdefault(question_key(question) or question, (tidy(question), tidy(answer)))
    if len(pairs) < len(SPLITS):
        raise FGVEditError(f"'{path}': found {len(pairs)} questions, expected at least one for each split")
    return list(pairs.values())


def divided(pairs: list[Pair], seed: int) -> dict[str, list[Pair]]:
    """Pairs for each split, in a drawn order: the n-th record of a split takes the n-th, and none is in both."""
    drawn = shuffled(seed, "locality", pairs)
    held = max(1, len(drawn) // TEST_SHARE)
    return {"train": drawn[held:], "test": drawn[:held]}
