"""Data whose shortcuts are known because they were built in, for the tests of the audit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rows import make_probe, make_row, png

from builders.audit.cases import Case
from builders.parquet import write_rows

NAMES = ("upper", "lower")


def make_case(inside: bool = True, group: str = "g", **said: Any) -> Case:
    """A case of which a test says what matters to it."""
    given = {"record": group, "place": 0, "image": "i", "question": "q", "target": "t", "shown": "i", "asked": "a"}
    kind = "in_scope" if inside else "out_of_scope"
    return Case(**{**given, "group": group, "kind": kind, "answer": "x", "old": "o", **said})


def image_of(number: int) -> dict[str, Any]:
    return {"bytes": png((number * 53 % 256, number * 29 % 256, number * 7 % 256)), "path": None}


def quad(number: int) -> list[dict[str, Any]]:
    """Two images, two edits, two probes; which probe is about which edit's entity is the other way round in the second
    image. Each record has one probe in scope and one out of scope, now the one, now the other first."""
    rows = []
    for image in (0, 1):
        for edit in (0, 1):
            name, target = f"image-{number}-{image}", f"colour {number % 3}"
            probes = []
            for which in (0, 1):
                inside = (image + edit + which) % 2 == 0
                kind, answer = ("in_scope", "yes") if inside else ("out_of_scope", "no")
                asked = f"Is the {NAMES[which]} card of set {number} of {target}?"
                probes.append(make_probe(kind, answer, image_id=name, question=asked))
            rows.append(
                make_row(
                    id=f"record-{number}-{image}-{edit}",
                    group=f"quad-{number}",
                    image_id=name,
                    image=image_of(2 * number + image),
                    question=f"What colour has the card with {('ears', 'wings')[edit]} of set {number}?",
                    target=target,
                    probes=probes,
                )
            )
    return rows


def easy(number: int) -> dict[str, Any]:
    """A record whose words settle `worded_in`, and whose images settle `other_view`, in a group by itself."""
    name, thing, other = f"image-{number}", "cat" if number % 2 else "dog", "dog" if number % 2 else "cat"
    question = f"What colour has the {thing}?"
    probes = []
    for again in ("", " now"):
        seen = [f"{name}-{which}{again}" for which in ("same", "other")]
        probes += [
            make_probe("worded_in", "yes", image_id=name, question=f"Is the {thing} blue{again}?"),
            make_probe("worded_out", "yes", image_id=name, question=f"Is the {other} blue{again}?"),
            make_probe("other_view", "blue", image_of(number), seen[0], question=question),
            make_probe("other_image", "red", image_of(number + 100), seen[1], question=question),
        ]
    return make_row(
        id=f"record-{number}", group=name, image_id=name, image=image_of(number), question=question, probes=probes
    )


def quads(groups: int = 10) -> list[dict[str, Any]]:
    return [row for number in range(groups) for row in quad(number)]


def write_split(folder: Path, rows: Sequence[dict[str, Any]], split: str = "test") -> Path:
    write_rows(rows, folder, split)
    return folder


def swapped_words(groups: int = 10) -> Iterator[Case]:
    """Each two groups have a word of their own, which is in scope in the one and out of scope in the other: who has
    learned the one is wrong about the other."""
    for one in range(groups):
        for other in range(one):
            for group, inside in ((one, (one + other) % 2 == 0), (other, (one + other) % 2 == 1)):
                yield make_case(inside, f"group-{group}", record=f"{one} {other} {group}", asked=f"word{one}x{other}")
