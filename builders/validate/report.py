"""What was found: counted by check, with the first examples; as a table and as JSON."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from fgvedit.dataset import Source
from fgvedit.probes import current_kinds, doing_for, kind_of
from fgvedit.util.words import listed

FORMAT = 1  # of the JSON report, report.schema.json
EXAMPLES = 5  # kept of each check
SHOWN = 3  # of these, in the table
WIDTH = 120  # characters of the table
ANSWER_TYPES = ("yes/no", "number", "other")

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Check:
    """One thing that a data set is held to: its name in reports, how much it matters, and what is expected."""

    name: str
    severity: Severity
    wants: str


def required_kinds() -> list[str]:
    """The kinds of probe that every split of a data set has to have, or the kinds that stand in for them."""
    return [name for name in current_kinds() if kind_of(name).required]


def checks() -> dict[str, Check]:
    """Name -> check, in the order of reports; without that of required kinds where none is."""
    required = listed([_or_else(kind) for kind in required_kinds()])
    standing_in = listed([f"{kind_of(kind).or_else} for {kind}" for kind in required_kinds() if kind_of(kind).or_else])
    all_checks = (
        Check("columns", "error", "files and JSON records have the columns of fgvedit.schema, of their types"),
        Check("spare_columns", "warning", "there are no other columns"),
        Check("record", "error", "every record can be read: no field is empty, every image is there"),
        Check("id", "error", "every id is there once"),
        Check("group", "error", "every record has a group, or none has; it is not empty"),
        Check("probe_kind", "error", "probes are of known kinds, none of which is retired"),
        *([Check("required_kinds", "error", f"every split has {required}")] if required else []),
        *([Check("stands_in", "warning", f"no kind stands in for another: {standing_in}")] if standing_in else []),
        Check("kinds_of_each", "warning", "a kind that some records of a split have, all have"),
        Check("image_opens", "error", "every image decodes"),
        Check("image_id", "error", "an image_id names one image"),
        Check("image_names", "warning", "an image goes by one image_id"),
        Check("probe_image", "error", "a probe shows the image that its kind asks about"),
        Check("no_image_words", "error", "where a kind asks the edit's question without an image, it is that very one"),
        Check(
            "probe_words", "warning", "where a kind asks the edit's question about another image, it is that very one"
        ),
        Check("image_in_splits", "error", "no image is in two splits"),
        Check("look_in_splits", "error", "no two images that look the same are in two splits"),
        Check("group_in_splits", "error", "no group is in two splits"),
        Check("edit_twice", "error", "no edit (image, question, target) is there twice in a split"),
        Check("edit_in_splits", "error", "no edit is in two splits, about the same image or about a copy of it"),
        Check("target", "error", "the target is not the answer, compared as VQA v2 compares"),
        Check(
            "contradiction", "error", "a record gives a question about an image one answer, and says once if it changes"
        ),
        Check("probe_twice", "warning", "no probe is there twice in a record"),
        Check("empty_text", "error", "something is left of every question and answer after VQA v2 normalisation"),
        Check("control_characters", "error", "texts are one line, without control characters"),
        Check("mojibake", "error", "texts were decoded as what they are"),
        Check("outer_space", "error", "texts neither begin nor end with a space"),
        Check("length", "error", "questions have at most 500 characters, answers 300"),
        Check("question_mark", "warning", "questions end with a question mark"),
        Check("answer_in_question", "warning", "no question holds its answer, unless it offers a choice"),
        Check("box", "warning", "an entity's box is empty, or x, y, width and height within the image"),
    )
    return {check.name: check for check in all_checks}


def _or_else(kind: str) -> str:
    first, *others = doing_for(kind)
    return f"{first} (or {others[0]})" if others else first


@dataclass
class Split:
    """Counts of a split. `images`: different ones, those of probes included."""

    records: int = 0
    images: int = 0
    probes: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)  # targets, by type


class Report:
    """Filled while a data set is read."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.splits: dict[str, Split] = {split: Split() for split in source.files}
        self.images = 0
        self._checks = checks()
        self._count: Counter[str] = Counter()
        self._examples: dict[str, list[dict[str, str]]] = {}

    def add(self, check: str, record: str, detail: str, count: int = 1) -> None:
        """A finding: in which record (or file), and what; `count` of them, of which this is the first."""
        self._count[self._checks[check].name] += count
        examples = self._examples.setdefault(check, [])
        if len(examples) < EXAMPLES:
            examples.append({"record": record, "detail": detail})

    def count(self, severity: Severity) -> int:
        """How many findings of this severity there are."""
        return sum(self._count[check.name] for check in self._checks.values() if check.severity == severity)

    @property
    def passed(self) -> bool:
        """Whether there are no errors; there may be warnings."""
        return self.count("error") == 0

    def first_error(self) -> str:
        """The first example of the first check that found an error, for a message."""
        check = next(check for check in self._checks.values() if check.severity == "error" and self._count[check.name])
        example = self._examples[check.name][0]
        return f"{check.name}: '{example['record']}': {example['detail']}"

    def as_json(self) -> dict[str, Any]:
        """As `report.schema.json` has it."""
        return {
            "format": FORMAT,
            "data": self.source.name,
            "config": self.source.config,
            "revision": self.source.revision,
            "passed": self.passed,
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "images": self.images,
            "splits": {
                name: {
                    "records": split.records,
                    "images": split.images,
                    "probes": dict(sorted(split.probes.items())),
                    "targets": {kind: split.answers[kind] for kind in ANSWER_TYPES},
                }
                for name, split in self.splits.items()
            },
            "checks": [
                {
                    "check": check.name,
                    "severity": check.severity,
                    "wants": check.wants,
                    "count": self._count[check.name],
                    "examples": self._examples.get(check.name, []),
                }
                for check in self._checks.values()
            ],
        }

    def table(self) -> str:
        """A line a check, its first examples below it, and what was read."""
        lines = [f"{'check':20} {'severity':8} {'count':>8}  what is expected, and what was found"]
        for check in self._checks.values():
            count = self._count[check.name]
            lines.append(f"{check.name:20} {check.severity if count else 'ok':8} {count:8,}  {check.wants}")
            for example in self._examples.get(check.name, [])[:SHOWN]:
                text = f"{example['record']}: {example['detail']}"
                lines += textwrap.wrap(text, WIDTH, initial_indent=" " * 40, subsequent_indent=" " * 42)
        for name, split in self.splits.items():
            probes = ", ".join(f"{kind} {count:,}" for kind, count in sorted(split.probes.items()))
            lines.append(f"{name}: {split.records:,} records, {split.images:,} images; probes: {probes or 'none'}")
        errors, warnings = self.count("error"), self.count("warning")
        lines.append(f"{'passed' if self.passed else 'FAILED'}: {errors:,} errors, {warnings:,} warnings")
        return "\n".join(lines)
