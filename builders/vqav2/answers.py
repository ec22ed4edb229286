"""The policy `model-wrong`: what a backbone answers to the questions that may become edits, kept as it comes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from builders.coco import Images
from builders.vqav2.official import VQAQuestion, normalised, tidy
from builders.vqav2.plan import Work
from fgvedit.backbones.answering import Answerer, Query

IMAGES_AT_ONCE = 8  # whose answers are kept together
BATCH = 16


def wrong_answers(
    works: Iterable[Work], answerer: Answerer, images: Images, kept: Path
) -> Iterator[tuple[Work, dict[int, str]]]:
    """Each work with the answers of the model that no annotator gave, by question id.

    `kept`: a file of lines of JSON, one for every `IMAGES_AT_ONCE` images. Questions are asked in the same batches
    whatever was kept before, so that a build that was stopped gets the same answers.
    """
    there = _read(kept)
    kept.parent.mkdir(parents=True, exist_ok=True)
    works = iter(works)
    while chunk := list(islice(works, IMAGES_AT_ONCE)):
        asked = [(work, question) for work in chunk for question in work.candidates]
        ids = tuple(question.id for _, question in asked)
        key = ids, tuple(images.ref(work.file_name).key for work in chunk)
        if key not in there:
            there[key] = _ask(asked, answerer, images)
            _add(kept, {"questions": key[0], "images": key[1], "answers": there[key]})
        said = dict(zip(ids, there.pop(key), strict=True))
        for work in chunk:
            yield work, {q.id: said[q.id] for q in work.candidates if is_wrong(said[q.id], q)}


def is_wrong(answer: str, asked: VQAQuestion) -> bool:
    """Whether no annotator said it, with more or fewer words or in another order: "cat" is no wrong "black cat"."""
    own = set(normalised(answer).split())
    others = [set(said.split()) for said in asked.said]
    return bool(own) and not any(own <= other or (other and other <= own) for other in others)


def _ask(asked: list[tuple[Work, VQAQuestion]], answerer: Answerer, images: Images) -> list[str]:
    answers: list[str] = []
    for first in range(0, len(asked), BATCH):
        queries = [Query(question.question, images.ref(w.file_name)) for w, question in asked[first : first + BATCH]]
        answers += [tidy(answer) for answer in answerer.generate(queries)]
    return answers


def _read(kept: Path) -> dict[tuple[tuple[int, ...], tuple[str, ...]], list[str]]:
    """Questions and images -> what was kept of them; a last line that a kill cut off is taken out of the file."""
    if not kept.is_file():
        return {}
    whole = kept.read_bytes()
    if whole and not whole.endswith(b"\n"):
        whole = whole[: whole.rfind(b"\n") + 1]
        with kept.open("rb+") as file:
            file.truncate(len(whole))
    lines = [json.loads(line) for line in whole.splitlines()]
    return {(tuple(line["questions"]), tuple(line["images"])): line["answers"] for line in lines}


def _add(kept: Path, line: dict[str, Any]) -> None:
    with kept.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())
