"""What becomes of a reviewer's marks: the same data set without what is wrong."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema

from builders.parquet import write_rows
from builders.review.reading import labels_of, rows
from builders.sidecars import LABELS, write_card
from builders.validate.report import required_kinds
from builders.validate.sources import open_source
from fgvedit.dataset import Source
from fgvedit.probes import doing_for
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import check_out, is_unicode, noted, read_json, whole_folder, write_json, write_text

FORMAT = 1  # of review.json
REPORT = "review.json"
SCHEMA = json.loads((Path(__file__).parent / "marks.schema.json").read_text(encoding="utf-8"))
EDIT_WRONG = "its edit is wrong"


def apply_marks(name: str, marks: Path, out: Path, config: str | None = None) -> str:
    """Write the data set `name` without what is marked wrong into the folder `out`; what was left out, in words.

    `config`: which configuration of a folder or hub data set; None: its default one.

    A record goes with its edit, or with the last of its probes of a kind that is required and of the one that stands in
    for it (`ProbeKind.or_else`). What is unsure, and what nobody marked, stays. The same marks give the same bytes.
    `labels.jsonl` says of each record that was reviewed what was said of it, and `review.json` what was left out.

    Raises `FGVEditError`, with nothing written, for marks of another form, other data, an unknown record or probe,
    where no record of a split would be left, and for a folder `out` that holds anything else.
    """
    source = open_source(name, config)
    read = read_marks(marks)
    if source.lies_in(out):
        raise FGVEditError(f"--out {out}: holds the records that were reviewed; expected another folder")
    check_out(out, made_here)
    _check_data(read, marks, source)
    with whole_folder(out, made_here) as folder:
        review = _Review(source, read["marks"])
        for split in source.files:
            if not write_rows(review.rows_of(split), folder, split):
                raise FGVEditError(
                    f"'{marks}': leaves no record of split '{split}' of '{name}'; expected at least 1 to be kept"
                )
        _write_labels(folder, source, review, read.get("reviewer", ""))
        write_card(folder, source, f"`{REPORT}` says what a person left out of these records.")
        content = json.dumps(read, sort_keys=True).encode()
        said = {"format": FORMAT, "data": source.revision, "marks": hashlib.sha256(content).hexdigest()}
        write_json(folder / REPORT, {**said, "reviewer": read.get("reviewer", ""), **review.as_json()})
    return review.in_words(out)


def made_here(folder: Path) -> bool:
    """Whether a folder is one that `apply_marks` wrote."""
    return noted(folder / REPORT, "marks") is not None


def read_marks(path: Path) -> dict[str, Any]:
    """A reviewer's marks. Raises `FGVEditError`, naming the file and the field, where they are not of the form."""
    found = read_json(path)
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(SCHEMA).iter_errors(found))
    if error is not None:
        field = "/".join(map(str, error.absolute_path)) or "the whole file"
        raise FGVEditError(f"'{path}' holds no marks of format 1: {field}: {error.message[:200]}")
    if not is_unicode(found):
        raise FGVEditError(f"'{path}': found half a character in one of its texts, expected whole ones")
    return found


def _check_data(read: Mapping[str, Any], path: Path, source: Source) -> None:
    if read["data"] != source.revision:
        raise FGVEditError(
            f"'{path}' holds marks of data {read['data'][:12]}; expected data {source.revision[:12]}, which is "
            f"'{source.name}'"
        )
    probes: dict[str, int] = {}
    for _, row in rows(source):
        if row["id"] in probes:
            raise FGVEditError(f"data set '{source.name}': found id '{row['id']}' twice; expected every id once")
        probes[row["id"]] = len(row["probes"])
    for record, own in read["marks"].items():
        if record not in probes:
            near = difflib.get_close_matches(record, probes, n=1, cutoff=0.0)[0]
            raise FGVEditError(
                f"'{path}': found record '{record}', expected one of the {len(probes):,} of '{source.name}'; the "
                f"nearest is '{near}'"
            )
        for index in own.get("probes", {}):
            if int(index) >= probes[record]:
                expected = f"0 to {probes[record] - 1}" if probes[record] else "none"
                raise FGVEditError(f"'{path}': record '{record}': found probe {index}, expected {expected}")


class _Review:
    """The records that are kept, one after the other, and a count of those that are not."""

    def __init__(self, source: Source, marks: Mapping[str, Any]) -> None:
        self.source, self.marks = source, marks
        self.kept: dict[str, list[int]] = {}  # id -> the indices that its probes, those that are kept, had before
        self.records_left_out: list[dict[str, str]] = []
        self.probes_left_out: Counter[str] = Counter()  # of records that are kept, by kind
        self.probes_kept: Counter[str] = Counter()
        self.unsure = 0  # marks on what is kept

    def rows_of(self, split: str) -> Iterator[dict[str, Any]]:
        for _, row in rows(self.source, split):
            own = self.marks.get(row["id"], {})
            marks = own.get("probes", {})
            indices = [index for index in range(len(row["probes"])) if marks.get(str(index)) != "wrong"]
            probes = [row["probes"][index] for index in indices]
            before, after = Counter(_kinds(row["probes"])), Counter(_kinds(probes))
            gone = _gone(before, after)
            reason = EDIT_WRONG if own.get("edit") == "wrong" else f"no {gone} is left" if gone else ""
            if reason:
                self.records_left_out.append({"id": row["id"], "split": split, "reason": reason})
                continue
            self.kept[row["id"]] = indices
            self.probes_left_out.update(before - after)
            self.probes_kept.update(after)
            self.unsure += [own.get("edit"), *marks.values()].count("unsure")
            yield {**row, "probes": probes}

    def as_json(self) -> dict[str, Any]:
        return {
            "records_kept": len(self.kept),
            "probes_kept": dict(sorted(self.probes_kept.items())),
            "unsure_kept": self.unsure,
            "records_left_out": self.records_left_out,
            "probes_left_out": dict(sorted(self.probes_left_out.items())),
        }

    def in_words(self, out: Path) -> str:
        reasons = Counter(record["reason"] for record in self.records_left_out)
        lines = [
            f"left out: {len(self.records_left_out):,} records{_counts(reasons)}",
            f"left out of others: {self.probes_left_out.total():,} probes{_counts(self.probes_left_out)}",
            f"{out}: {len(self.kept):,} records, {self.probes_kept.total():,} probes; {self.unsure:,} marked unsure",
        ]
        return "\n".join(lines)


def _gone(before: Counter[str], after: Counter[str]) -> str:
    """The first of the required kinds, or those that stand in for it, of which a record had probes and has none now."""
    for kind in required_kinds():
        had = [name for name in doing_for(kind) if before[name]]
        if had and not any(after[name] for name in had):
            return " or ".join(had)
    return ""


def _kinds(probes: list[Mapping[str, Any]]) -> list[str]:
    return [probe["kind"] for probe in probes]


def _counts(counts: Counter[str]) -> str:
    return f" ({', '.join(f'{name}: {count:,}' for name, count in sorted(counts.items()))})" if counts else ""


def _write_labels(folder: Path, source: Source, review: _Review, reviewer: str) -> None:
    """The labels of the records that are kept, with what was said of each by whoever reviewed it."""
    labels = labels_of(source)
    lines = []
    for name, indices in review.kept.items():
        line = labels.get(name, {"id": name, "labeller": "not said", "policy": "not said", "reasons": {}})
        reviews = list(line.get("reviews", []))
        if own := review.marks.get(name):
            said = {key: own[key] for key in ("edit", "note") if own.get(key)}
            reviews.append({"reviewer": reviewer, "probes": own.get("probes", {}), **said})
        if reviews:
            line = {**line, "reviews": [{**said, "probes": _moved(said["probes"], indices)} for said in reviews]}
        if reviews or name in labels:
            lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    if lines:
        write_text(folder / LABELS, "".join(lines))


def _moved(marks: Mapping[str, str], indices: list[int]) -> dict[str, str]:
    """Marks of probes by the index that these have now; `indices`: those that they had."""
    return {str(new): marks[str(old)] for new, old in enumerate(indices) if str(old) in marks}
