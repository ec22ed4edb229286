"""A stand-in for VQA v2.0 of any size: its official files, COCO's photos and Natural Questions, all made up."""

from __future__ import annotations

import io
import json
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from fgvedit.util.files import whole_folder

SUBTYPES = ("train2014", "val2014")
SIZE = (128, 96)  # pixels of a photo; it has some 3 kB
MOST = 8  # questions about an image; the fewest are 3, as in VQA v2.0, and the mean is 5.4
AGREED = 0.68  # of the questions have an answer that seven annotators of ten give: as in the sample of real ones

VOCABULARY = """
color: white black red blue brown green yellow gray orange pink purple
worn: shirt hat jacket helmet tie
thing: shirt car wall hat bus umbrella dog cat bench vase plate chair couch truck train horse bird boat kite surfboard
  phone bag clock lamp table door sign helmet jacket towel bowl cup pillow rug curtain bicycle motorcycle toilet sink
  laptop keyboard suitcase skateboard snowboard sheep cow elephant zebra giraffe bear pizza cake apple banana
person: man woman boy girl child lady player skier surfer chef rider biker
surface: table desk counter shelf floor bed couch grass
animal: dog cat horse cow sheep elephant giraffe zebra bear goat
held: phone camera book umbrella remote laptop newspaper bag cup
quality: wet dirty clean old new open closed empty broken shiny big small
number: 1 2 3 4 5 6 7 8 9
syllable: ka ro mi tu lesh pan dor vi zel bra qui fos ner hal syg wop tam jed lur xin
"""
WORDS = {kind: words.split() for kind, words in re.findall(r"(\w+): ([^:]+)(?=\n\w)", VOCABULARY + "\nend")}


def write(folder: Path, images: int, photos: bool = True) -> Path:
    """Make the stand-in at `folder`, where it is whole or absent; one that is there is taken.

    Image n is the same in a stand-in of any size. Without `photos` there are only empty folders of them.
    """
    if folder.exists():
        return folder
    with whole_folder(folder) as made:
        for subtype in SUBTYPES:
            (made / subtype).mkdir()
        with ExitStack() as files:
            lists = {
                (subtype, kind): files.enter_context(_List(made / name, subtype, kind))
                for subtype in SUBTYPES
                for kind, name in (("questions", question_file(subtype)), ("annotations", annotation_file(subtype)))
            }
            for number in tqdm(range(1, images + 1), desc=folder.name, unit="image", disable=None):
                chance = random.Random(number)
                subtype = SUBTYPES[number % 3 == 0]
                if photos:
                    (made / subtype / f"COCO_{subtype}_{number:012d}.jpg").write_bytes(_photo(chance))
                for question, annotation in _questions(number, chance):
                    lists[subtype, "questions"].add(question)
                    lists[subtype, "annotations"].add(annotation)
        (made / "nq.jsonl").write_text("".join(json.dumps(_pair(n)) + "\n" for n in range(1, 4001)))
    return folder


def _pair(number: int) -> dict[str, str]:
    """A question and answer without an image."""
    question = f"who was king of {_name(random.Random(f'{number} q'))} in {number}"
    return {"question": question, "answer": _name(random.Random(f"{number} a"))}


def question_file(subtype: str) -> str:
    """What VQA v2.0 calls its file of questions about this part of COCO."""
    return f"v2_OpenEnded_mscoco_{subtype}_questions.json"


def annotation_file(subtype: str) -> str:
    """What VQA v2.0 calls its file of answers about this part of COCO."""
    return f"v2_mscoco_{subtype}_annotations.json"


class _List:
    """One of the official files, written as it comes."""

    def __init__(self, path: Path, subtype: str, kind: str) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._first = True
        head = {"info": {"version": "2.0"}, "data_type": "mscoco", "data_subtype": subtype, "license": {}}
        self._file.write(f'{json.dumps(head)[:-1]}, "{kind}": [')

    def add(self, item: dict[str, Any]) -> None:
        self._file.write(("" if self._first else ", ") + json.dumps(item))
        self._first = False

    def __enter__(self) -> _List:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.write("]}")
        self._file.close()


def _photo(chance: random.Random) -> bytes:
    """A JPEG of patches of colour under noise: no two are alike."""
    patches = Image.frombytes("RGB", (8, 6), chance.randbytes(8 * 6 * 3)).resize(SIZE, Image.Resampling.BICUBIC)
    noise = Image.frombytes("RGB", SIZE, chance.randbytes(SIZE[0] * SIZE[1] * 3))
    file = io.BytesIO()
    Image.blend(patches, noise, 0.15).save(file, "JPEG", quality=75)
    return file.getvalue()


def _questions(image: int, chance: random.Random) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """An image's items of both files."""
    for number in range(chance.choice((3, 4, 5, 5, 6, 6, 7, MOST))):
        ids = {"image_id": image, "question_id": image * 1000 + number}
        question, kind, answers = _ask(chance)
        said = _ten(chance, answers)
        given = [{"answer": one, "answer_confidence": "yes", "answer_id": n} for n, one in enumerate(said, 1)]
        types = {"question_type": " ".join(question.split()[:2]).lower(), "answer_type": kind}
        yield (
            {**ids, "question": question},
            {**types, "multiple_choice_answer": max(said, key=said.count), "answers": given, **ids},
        )


def _ask(chance: random.Random) -> tuple[str, str, Sequence[str]]:
    """A question, the type of its answer, and the answers that there are."""
    thing, person, surface = (_often(chance, WORDS[kind]) for kind in ("thing", "person", "surface"))
    one, many = _one(chance, thing), f"{thing}{'es' if thing.endswith(('s', 'ch')) else 's'}"
    quality, *colors = chance.choice(WORDS["quality"]), *chance.sample(WORDS["color"], 2)
    name, yes_no = _name(chance), ("yes", "no")
    return chance.choice(
        (
            (f"What color is the {one}?", "other", WORDS["color"]),
            (f"What color is the {person}'s {chance.choice(WORDS['worn'])}?", "other", WORDS["color"]),
            (f"How many {many} are there?", "number", WORDS["number"]),
            (f"How many {many} are on the {surface}?", "number", WORDS["number"]),
            (f"Is the {one} {quality}?", "yes/no", yes_no),
            (f"Is there a {thing} {_where(chance)}?", "yes/no", yes_no),
            (f"Is the {person} happy?", "yes/no", yes_no),
            (f"What is the {_one(chance, person)} holding?", "other", WORDS["held"]),
            (f"What animal is {_where(chance)}?", "other", WORDS["animal"]),
            (f"What is on the {surface}?", "other", WORDS["held"]),
            (f"Where is the {one}?", "other", WORDS["surface"]),
            (f"Is the {one} {' or '.join(colors)}?", "other", colors),
            (f"What does the sign of {name} say?", "other", (name, "stop", "exit", "sale")),
            (f"Why is the {person} {quality}?", "other", (name, "rain", "work")),
        )
    )


def _often(chance: random.Random, words: Sequence[str]) -> str:
    """One of the words, the first of them most often."""
    return words[int(len(words) * chance.random() ** 2)]


def _one(chance: random.Random, noun: str) -> str:
    """A noun, told apart from its like in about half of all cases."""
    if chance.random() < 0.3:
        noun = f"{chance.choice(WORDS['quality'])} {noun}"
    return f"{noun} {_where(chance)}" if chance.random() < 0.4 else noun


def _where(chance: random.Random) -> str:
    sides = ("on the left", "on the right", "in the middle", "in the background")
    if chance.random() < 0.5:
        return chance.choice(sides)
    return f"{chance.choice(('near', 'behind', 'next to', 'in front of'))} the {_often(chance, WORDS['thing'])}"


def _name(chance: random.Random) -> str:
    """One of some thousands of made-up words: real questions have rare words, too."""
    return "".join(chance.choice(WORDS["syllable"]) for _ in range(3)).capitalize()


def _ten(chance: random.Random, answers: Sequence[str]) -> list[str]:
    """What ten annotators say."""
    right = chance.choice(answers)
    agree = chance.choice((7, 8, 9, 10, 10)) if chance.random() < AGREED else chance.choice((3, 4, 5, 6))
    others = [answer for answer in answers if answer != right]
    said = [right] * agree + [chance.choice(others) for _ in range(10 - agree)]
    chance.shuffle(said)
    return said
