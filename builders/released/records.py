"""Released records as rows, and what is amiss with them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from builders.coco import Images
from builders.released.anomalies import KEPT, LEFT_OUT, PROBE_LEFT_OUT, Report
from builders.released.release import FIELDS, NOT_RELEASED, PROBES, SAID, TRUTH, Release
from fgvedit.probes import kind_of
from fgvedit.schema import ImageRef
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import is_unicode


def named(release: Release) -> list[str]:
    """The names of the images of all records that are of use."""
    entries = (entry for split in release.entries.values() for entry in split)
    return sorted({edit["image"] for entry in entries if (edit := _edit(entry, "", Report()))})


def rows(entries: Sequence[Any], split: str, images: Images, reference: bool, report: Report) -> Iterator[dict]:
    """The records of a split as rows, in the order of the release; what is amiss is noted in `report`.

    `reference`: a row holds its image's path in place of its bytes.
    """
    decoded: dict[str, str] = {}  # image -> why it cannot be shown; empty where it can
    for position, entry in enumerate(entries):
        name = f"released-{split}-{position:05d}"
        edit = _edit(entry, name, report)
        if edit is None:
            continue
        try:
            image = images.ref(edit["image"])
        except FGVEditError as error:
            report.note("image not there", "image", LEFT_OUT, name, error)
            continue
        if edit["image"] not in decoded:
            decoded[edit["image"]] = _why_not(image)
        if decoded[edit["image"]]:
            report.note("image does not decode", "image", LEFT_OUT, name, decoded[edit["image"]])
            continue
        path = images.path(edit["image"])
        yield {
            "id": name,
            "group": image.image_id,
            "image_id": image.image_id,
            "image": {"bytes": None, "path": str(path.resolve())}
            if reference
            else {"bytes": image.data, "path": path.name},
            "question": edit["question"],
            "answer": edit["answer"],
            "target": edit["target"],
            "entity": {"name": "", "box": []},
            "probes": _probes(entry, edit, name, image.image_id, report),
        }


def _edit(entry: Any, name: str, report: Report) -> dict[str, str] | None:
    """The question, target, answer and image of a released record; None, noted, for one that is of no use."""
    if not isinstance(entry, Mapping):
        report.note("not a record", "", LEFT_OUT, name, type(entry).__name__)
        return None
    if not is_unicode(entry):
        report.note("half a character in a text", "", LEFT_OUT, name)
        return None
    for unknown_field in sorted(set(entry) - {*FIELDS, *TRUTH, SAID}):
        report.note("unknown field", unknown_field, KEPT, name)
    first = {}
    for column, released in (("target", "alt"), ("question", "src"), ("image", "image")):
        texts = [text for text in _texts(entry.get(released)) if text]
        if not texts:
            report.note("empty" if released in entry else "missing field", released, LEFT_OUT, name)
            return None
        if len(texts) > 1:
            report.note("several values, of which the first counts", released, KEPT, name, texts)
        first[column] = texts[0]
    truth = [text for released in TRUTH for text in _texts(entry.get(released)) if text]
    if truth and _same(truth[0], first["target"]):
        report.note("target equal to answer", "alt", LEFT_OUT, name, first["target"])
        return None
    said = [text for text in _texts(entry.get(SAID)) if text]
    if said and not truth and _same(said[0], first["target"]):
        report.note("target equal to what the model said, which is not taken for an answer", SAID, KEPT, name, said[0])
        said = []
    first["answer"] = [*truth, *said, NOT_RELEASED][0]
    return first


def _probes(entry: Mapping[str, Any], edit: Mapping[str, str], name: str, image_id: str, report: Report) -> list[dict]:
    """The probes of a released record, without those that are of no use."""
    probes: list[dict[str, Any]] = []
    for kind, (asked, answered) in PROBES.items():
        if asked not in entry or answered not in entry:
            report.note("missing field", asked if asked not in entry else answered, PROBE_LEFT_OUT, name)
            continue
        questions = _texts(entry[asked])
        answers = [edit["target"]] * len(questions) if kind == "rephrase" else _texts(entry[answered])
        if len(questions) == 1:
            answers = answers[:1]  # further ones are other ways to say it
        if len(answers) > len(questions):
            report.note("answer without a question", asked, PROBE_LEFT_OUT, name, answers[len(questions) :])
        for number, question in enumerate(questions):
            answer = answers[number] if number < len(answers) else ""
            others = [probe["kind"] for probe in probes if _same(probe["question"], question)]
            repeats = _same(question, edit["question"]) or bool(others)
            if not question:
                report.note("empty question", asked, PROBE_LEFT_OUT, name, answer)
            elif not answer:
                report.note("empty answer", answered, PROBE_LEFT_OUT, name, question)
            elif kind in others:
                report.note("question asked twice", asked, PROBE_LEFT_OUT, name, question)
            elif repeats and kind == "out_of_scope":
                report.note("question both in scope and out of it", asked, PROBE_LEFT_OUT, name, question)
            else:
                if repeats:
                    report.note("question repeats another of the record", asked, KEPT, name, question)
                shown = "" if kind_of(kind).image == "none" else image_id
                probes.append({"kind": kind, "question": question, "answer": answer, "image": None, "image_id": shown})
    return probes


def note_duplicates(release: Release, report: Report) -> None:
    """Records that come again, whole or with another target; all are kept, as in the paper."""
    whole: dict[str, str] = {}
    edits: dict[tuple[str, str], str] = {}
    for split, entries in release.entries.items():
        for position, entry in enumerate(entries):
            if isinstance(entry, Mapping):
                name = f"released-{split}-{position:05d}"
                content = json.dumps(entry, sort_keys=True)
                edit = str(entry.get("image")), _plain(str(entry.get("src")))
                if content in whole:
                    report.note("duplicate record", "", KEPT, name, whole[content])
                elif edit in edits:
                    report.note("question of another record about the same image", "src", KEPT, name, edits[edit])
                whole.setdefault(content, name)
                edits.setdefault(edit, name)


def _texts(value: Any) -> list[str]:
    """The texts of a field that holds one or a list of them; what is neither text nor a number counts as empty."""
    values = value if isinstance(value, list) else [value]
    return [
        " ".join(str(text).split()) if isinstance(text, str | int | float) and not isinstance(text, bool) else ""
        for text in values
    ]


def _same(one: str, other: str) -> bool:
    return _plain(one) == _plain(other)


def _plain(text: str) -> str:
    """A text without what makes no other question or answer of it."""
    return " ".join(text.casefold().rstrip("?.! ").split())


def _why_not(image: ImageRef) -> str:
    """Why an image cannot be shown; empty where it can."""
    try:
        image.open()
    except FGVEditError as error:
        return str(error)
    return ""
