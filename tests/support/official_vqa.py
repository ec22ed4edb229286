"""VQA v2.0's official files with photos, a labeller that answers by script, and builds of records from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rows import png

from builders.vqav2.__main__ import main
from builders.vqav2.plan import SPLITS
from fgvedit.dataset import load_records
from fgvedit.schema import Record

# A labeller whose answers can be read off a question's words.
LABELLER = """
from dataclasses import dataclass
from builders.labelling.base import Effect, Labelled, Refused

def so(value):
    return Labelled(value, "the script says so")

class Scripted:
    name = "scripted"
    concurrency = 3

    @dataclass
    class Config:
        word: str = "Tell me: "

    def __init__(self, config):
        self.config = config

    def entity(self, image, question, answer):
        if "refuse" in question:
            raise Refused("no")
        return so("the card" if "color" in question else "")

    def counterfactual(self, image, question, answer):
        return so("violet")

    def rephrase(self, question):
        return so(self.config.word + question)

    def effect(self, image, edit, question, answer):
        relation = next((r for r in ("entailed", "unaffected") if r in question), "unclear")
        return so(Effect(relation, edit.target if relation == "entailed" else ""))

    def settled_by_text(self, edit, question):
        return so("easy" in question)

    def in_scope(self, image, edit, count):
        return so([(f"Is it {edit.target} ({n})?", "yes") for n in range(count)])
"""

OTHERS = (("Is an entailed thing so?", "no"), ("Is an unaffected thing so?", "yes"), ("Who knows?", "me"))
COLOURS = ("red", "green", "blue", "white")

Asked = Mapping[int, Sequence[tuple[str, Sequence[str]]]]  # image id -> its questions with ten answers each


def ten(answer: str, agreed: int = 10) -> list[str]:
    return [answer] * agreed + [f"other {n}" for n in range(10 - agreed)]


def photo(image: int) -> bytes:
    return png((image * 37 % 256, image % 256, 60))


def write_official(folder: Path, asked: Asked, subtype: str = "train2014") -> tuple[Path, Path]:
    """The two files in the official form, with a photo for each image."""
    questions, annotations = [], []
    (folder / subtype).mkdir(parents=True, exist_ok=True)
    for image, about in asked.items():
        (folder / subtype / f"COCO_{subtype}_{image:012d}.jpg").write_bytes(photo(image))
        for number, (question, answers) in enumerate(about):
            ids = {"image_id": image, "question_id": image * 1000 + number}
            questions.append({**ids, "question": question})
            said = [{"answer": answer, "answer_confidence": "yes", "answer_id": n} for n, answer in enumerate(answers)]
            annotations.append({**ids, "answers": said, "question_type": "what", "answer_type": "other"})
    head = {"info": {}, "data_type": "mscoco", "data_subtype": subtype, "license": {}}
    paths = folder / f"questions-{subtype}.json", folder / f"annotations-{subtype}.json"
    paths[0].write_text(json.dumps({**head, "questions": questions}))
    paths[1].write_text(json.dumps({**head, "annotations": annotations}))
    return paths


def scenes(images: Iterable[int]) -> Asked:
    """Each image's first question may become an edit; the same question is asked about all, with four answers."""
    others = [(question, ten(answer)) for question, answer in OTHERS]
    return {n: [("What color is the card?", ten(COLOURS[n % 4], 9)), *others] for n in images}


class Folder:
    """What a build is given, and the command line."""

    def __init__(self, path: Path, asked: Asked) -> None:
        self.path = path
        self.questions, self.annotations = write_official(path, asked)
        self.locality = path / "nq.jsonl"
        pairs = [{"question": f"nq question {n}", "answer": f"answer {n}"} for n in range(400)]
        self.locality.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
        self.labeller = path / "labeller.py"
        self.labeller.write_text(LABELLER)

    def arguments(self, out: str, *more: str) -> list[str]:
        given = {
            "--questions": self.questions,
            "--annotations": self.annotations,
            "--images": self.path,
            "--locality": self.locality,
            "--out": self.path / out,
            "--labeller": f"{self.labeller}:Scripted",
        }
        return [text for name, value in given.items() for text in (name, str(value))] + list(more)

    def build(self, out: str, *more: str) -> Path:
        main(self.arguments(out, *more))
        return self.path / out


def records_of(folder: Path) -> dict[str, list[Record]]:
    return {split: list(load_records(str(folder), split).records) for split in SPLITS}


def by_id(folder: Path) -> dict[str, Record]:
    """The records of both splits."""
    return {record.id: record for records in records_of(folder).values() for record in records}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def labels_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
