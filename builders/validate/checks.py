"""The pass over a data set's records, and what can be said only after it."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from builders.validate import texts
from builders.validate.perceptual_hash import ImageHashes, image_hash
from builders.validate.report import Report, required_kinds
from builders.validate.sources import Misfit, misfits, rows_of
from fgvedit.dataset import Source
from fgvedit.evaluation.normalise import normalise
from fgvedit.probes import changes, current_kinds, doing_for, kind_of, probe_kinds
from fgvedit.schema import ImageRef, Probe, Record, record_from_row
from fgvedit.util.errors import FGVEditError, unknown


def validate(source: Source) -> Report:
    """Read a data set once, each image decoded once, and report what is wrong with it.

    Memory grows with the number of records and images (a few hundred bytes each), not with their size.
    Raises `FGVEditError` for a file that is damaged.
    """
    return _Pass(source).run()


class _Pass:
    """One reading: what has been seen so far, by which later records are judged."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.report = Report(source)
        self.ids: set[bytes] = set()
        self.grouped: bool | None = None  # whether the first record has a group
        self.groups: dict[bytes, set[str]] = defaultdict(set)  # of each group, the splits that it is in
        self.images: dict[str, int | None] = {}  # key -> its number among the hashes; None: it does not decode
        self.names: dict[str, list[str]] = defaultdict(list)  # image_id -> keys
        self.name_of: dict[str, str] = {}  # key -> the first image_id
        self.shown_in: dict[str, set[str]] = {split: set() for split in source.files}  # keys of each split
        self.sizes: dict[str, tuple[int, int]] = {}
        self.edits: dict[str, dict[bytes, tuple[str, str]]] = defaultdict(dict)  # key -> text -> split, id
        self.having: dict[str, Counter[str]] = {split: Counter() for split in source.files}  # records with a kind
        self.first_without: dict[tuple[str, str], str] = {}
        self.hashes = ImageHashes()

    def run(self) -> Report:
        with tqdm(total=self.source.rows, desc="records", unit="record", disable=None) as bar:
            for split, files in self.source.files.items():
                for file in files:
                    faults = misfits(file)
                    for fault in faults:
                        self.report.add("spare_columns" if fault.spare else "columns", fault.record, fault.detail)
                    if not all(fault.spare for fault in faults):
                        continue
                    for number, row in enumerate(rows_of(file)):
                        if isinstance(row, Misfit):
                            self.report.add("columns", row.record, row.detail)
                        else:
                            self._row(row, split, f"{file.name}[{number}]")
                        bar.update()
        self._kinds()
        self._splits()
        self.report.images = len(self.images)
        for split, keys in self.shown_in.items():
            self.report.splits[split].images = len(keys)
        return self.report

    def _row(self, row: Mapping[str, Any], split: str, where: str) -> None:
        name = row["id"] or where
        self.report.splits[split].records += 1
        digest = _digest(name)
        if digest in self.ids:
            self.report.add("id", name, "another record has this id")
        self.ids.add(digest)
        self._group_of(row, split, name)
        record = self._read(row, name)
        if record is None:
            return
        self._count(record, split, name)
        self._kinds_of(record)
        self._words_of(record)
        self._images_of(record, row["probes"], split)
        self._texts_of(record)
        self._answers_of(record)
        self._box_of(record, row["entity"].get("box"))
        self._edit_of(record, split, name)

    # -- one record --------------------------------------------------------------------------------------------------

    def _group_of(self, row: Mapping[str, Any], split: str, name: str) -> None:
        """The group that the record says it is of, if any; without one it is in its image's."""
        there = "group" in row
        self.grouped = there if self.grouped is None else self.grouped
        if self.grouped != there:
            found, first = ("a group", "none") if there else ("no group", "one")
            self.report.add("group", name, f"has {found}, and the first record has {first}")
        elif there and not (row["group"] or "").strip():
            self.report.add("group", name, f"found {row['group']!r}; expected a text")
        elif there:
            splits = self.groups[_digest(row["group"])]
            if splits and split not in splits:
                self.report.add("group_in_splits", name, f"group '{row['group']}' of {split} is in {min(splits)}, too")
            splits.add(split)

    def _read(self, row: Mapping[str, Any], name: str) -> Record | None:
        """A row as a record; None, reported, where it cannot be read."""
        said = [str((probe or {}).get("kind")) for probe in row["probes"] or ()]
        foreign = [kind for kind in said if kind not in probe_kinds()]
        if foreign:
            self.report.add("probe_kind", name, str(unknown("probe kind", foreign[0], current_kinds())))
            return None
        if row["target"] and row["target"] == row["answer"]:
            self.report.add("target", name, f"target '{row['target']}' is the answer")
            return None
        try:
            return record_from_row(row)
        except FGVEditError as error:
            self.report.add("record", name, str(error).removeprefix(f"record '{name}': "))
            return None

    def _count(self, record: Record, split: str, name: str) -> None:
        counts = self.report.splits[split]
        counts.answers[texts.answer_type(record.target)] += 1
        kinds = Counter(probe.kind for probe in record.probes)
        counts.probes.update(kinds)
        self.having[split].update(kinds.keys())
        for kind in probe_kinds():
            if kind not in kinds:
                self.first_without.setdefault((split, kind), name)

    def _kinds_of(self, record: Record) -> None:
        """A kind that is retired can be read, as in old data, but no data set is built with it."""
        retired = next((probe.kind for probe in record.probes if kind_of(probe.kind).retired), None)
        if retired is not None:
            self.report.add(
                "probe_kind",
                record.id,
                f"probe kind '{retired}' is retired: it is read in older data and not built any more; expected one of "
                f"{', '.join(current_kinds())}",
            )

    def _words_of(self, record: Record) -> None:
        """Whether kinds that put the edit's question put that one."""
        own = normalise(record.question)
        for number, probe in enumerate(record.probes):
            kind = kind_of(probe.kind)
            if kind.same_words and normalise(probe.question) != own:
                check = "no_image_words" if kind.image == "none" else "probe_words"
                where = f"probe {number} ({probe.kind})"
                self.report.add(check, record.id, f"{where}: '{probe.question}'; expected '{record.question}'")

    def _edit_of(self, record: Record, split: str, name: str) -> None:
        text = _digest(f"{normalise(record.question)}\0{normalise(record.target)}")
        seen = self.edits[record.image.key].setdefault(text, (split, name))
        if seen != (split, name):
            check = "edit_twice" if seen[0] == split else "edit_in_splits"
            self.report.add(check, name, f"'{record.question}' -> '{record.target}', as in '{seen[1]}' of {seen[0]}")

    def _images_of(self, record: Record, probes: list[Mapping[str, Any]], split: str) -> None:
        self._image(record.image, record.id, split)
        for number, (probe, stored) in enumerate(zip(record.probes, probes, strict=True)):
            where = f"probe {number} ({probe.kind})"
            if probe.image is not None and probe.image is not record.image:
                self._image(probe.image, record.id, split)
            own = probe.image is not None and probe.image.key == record.image.key
            wanted = kind_of(probe.kind).image
            if wanted == "none":
                if probe.image is not None:
                    self.report.add("probe_image", record.id, f"{where} shows '{probe.image.image_id}'; expected none")
            elif probe.image is None:
                self.report.add("probe_image", record.id, f"{where} shows no image; expected one")
            elif wanted == "other" and own:
                self.report.add("probe_image", record.id, f"{where} shows the record's own image; expected another")
            elif wanted == "own" and not own:
                found = stored["image_id"]
                self.report.add(
                    "probe_image", record.id, f"{where} shows '{found}'; expected '{record.image.image_id}'"
                )

    def _image(self, image: ImageRef, record: str, split: str) -> None:
        key = image.key
        self.shown_in[split].add(key)
        if key not in self.images:
            self.images[key] = None
            try:
                picture = image.open()
            except FGVEditError as error:
                self.report.add("image_opens", record, str(error))
            else:
                self.sizes[key] = picture.size
                self.images[key] = self.hashes.add(image_hash(picture))
        if not image.image_id:
            self.report.add("image_id", record, "an image of a probe has no image_id")
            return
        known = self.names[image.image_id]
        if key not in known:
            if known:
                self.report.add("image_id", record, f"image_id '{image.image_id}' names another image elsewhere")
            known.append(key)
            first = self.name_of.setdefault(key, image.image_id)
            if first != image.image_id:
                self.report.add("image_names", record, f"image '{image.image_id}' is also called '{first}'")

    def _texts_of(self, record: Record) -> None:
        asked = [("question", record.question, record.target)]
        asked += [(f"probe {n} ({probe.kind})", probe.question, probe.answer) for n, probe in enumerate(record.probes)]
        for where, question, answer in asked:
            for check, detail in texts.faults(question, texts.LONGEST_QUESTION):
                self.report.add(check, record.id, f"{where}: {detail}")
            for check, detail in texts.faults(answer, texts.LONGEST_ANSWER):
                self.report.add(check, record.id, f"{where}, its answer: {detail}")
            if not question.rstrip().endswith("?"):
                self.report.add("question_mark", record.id, f"{where}: '{question}'")
            if texts.gives_away(question, answer):
                self.report.add("answer_in_question", record.id, f"{where}: '{question}' -> '{answer}'")
        for check, detail in texts.faults(record.answer, texts.LONGEST_ANSWER):
            self.report.add(check, record.id, f"answer: {detail}")
        for check, detail in texts.faults(record.entity, texts.LONGEST_QUESTION) if record.entity else ():
            self.report.add(check, record.id, f"entity: {detail}")

    def _answers_of(self, record: Record) -> None:
        """The target against the answer, and probes against each other and the edit."""
        if normalise(record.target) == normalise(record.answer):
            self.report.add("target", record.id, f"target '{record.target}' is answer '{record.answer}'")
        # What is asked of which image -> what is right after the edit, and whether it is so because of the edit.
        target = (normalise(record.target), True)
        right = {(record.image.key, normalise(record.question)): target}
        probes: set[tuple[str, str, str, str]] = set()
        for number, probe in enumerate(record.probes):
            asked, says = _asked(probe), (normalise(probe.answer), changes(probe.kind))
            new = kind_of(probe.kind).right == "the new answer"
            first = right.setdefault(asked, target if new else says)
            if first != says:
                self.report.add(
                    "contradiction",
                    record.id,
                    f"probe {number} ({probe.kind}): '{probe.question}' is {_said(*says)}, elsewhere {_said(*first)}",
                )
            if (probe.kind, *asked, says[0]) in probes:
                self.report.add("probe_twice", record.id, f"probe {number} ({probe.kind}): '{probe.question}'")
            probes.add((probe.kind, *asked, says[0]))

    def _box_of(self, record: Record, box: list[float] | None) -> None:
        if not box or record.image.key not in self.sizes:
            return
        width, height = self.sizes[record.image.key]
        if len(box) == 4:
            x, y, wide, high = box
            slack = 1.0  # pixels: boxes are rounded
            inside = min(x, y) >= -slack and x + wide <= width + slack and y + high <= height + slack
            if inside and min(wide, high) > 0:
                return
        self.report.add("box", record.id, f"{list(box)} in an image of {width} x {height}")

    # -- all records -------------------------------------------------------------------------------------------------

    def _kinds(self) -> None:
        for split, having in self.having.items():
            records = self.report.splits[split].answers.total()  # that could be read
            required = required_kinds()
            for kind in probe_kinds():
                if kind in required and not having[kind]:
                    self._lacking(kind, split)
                elif 0 < having[kind] < records:
                    self.report.add(
                        "kinds_of_each",
                        self.first_without[split, kind],
                        f"is the first of {split} without '{kind}', which {having[kind]:,} of {records:,} records have",
                        records - having[kind],
                    )

    def _lacking(self, kind: str, split: str) -> None:
        """A split has no probe of a kind that is required; another may stand in for it."""
        there = [name for name in doing_for(kind) if self.having[split][name]]
        if there:
            detail = f"no record has '{kind}': '{there[0]}' stands in, and what is scored over '{kind}' is left out"
            self.report.add("stands_in", split, detail)
        else:
            lacking = " or ".join(f"'{name}'" for name in doing_for(kind))
            self.report.add("required_kinds", split, f"no record has {lacking}")

    def _splits(self) -> None:
        """Images and edits that stand in two splits."""
        keys = {number: key for key, number in self.images.items() if number is not None}
        for one, other in itertools.combinations(self.shown_in, 2):
            both = self.shown_in[one] & self.shown_in[other]
            for key in sorted(both, key=self._name):
                self.report.add("image_in_splits", self._name(key), f"is in {one} and in {other}")
            sides = [
                [number for key in self.shown_in[split] - both if (number := self.images[key]) is not None]
                for split in (one, other)
            ]
            for first, second in self.hashes.copies(*sides):
                a, b = keys[first], keys[second]
                self.report.add("look_in_splits", self._name(a), f"of {one} looks like '{self._name(b)}' of {other}")
                for text in self.edits.get(a, {}).keys() & self.edits.get(b, {}).keys():
                    _, record = self.edits[a][text]
                    split, twin = self.edits[b][text]
                    self.report.add("edit_in_splits", record, f"as '{twin}' of {split}, about a copy of its image")

    def _name(self, key: str) -> str:
        return self.name_of.get(key, key)


def _asked(probe: Probe) -> tuple[str, str]:
    return (probe.image.key if probe.image else "", normalise(probe.question))


def _said(answer: str, by_the_edit: bool) -> str:
    return f"'{answer}' {'by the edit' if by_the_edit else 'as before'}"


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
