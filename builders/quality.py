"""`python -m builders.quality`: what a data set is like: two labellers' agreement, balance, copies, a few records."""

from __future__ import annotations

import random
import textwrap
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fgvedit.dataset import Source
from fgvedit.evaluation.normalise import normalise
from fgvedit.probes import EDIT, doing_for
from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import FGVEditError, command_line, printable
from fgvedit.util.files import write_json

FORMAT = 1  # of the JSON report
FREQUENT = 5  # of answers and so on: how many are listed
COPIES = ("edit_twice", "edit_in_splits", "image_in_splits", "look_in_splits", "probe_twice")  # checks of the validator
RELATIONS = ("in_scope", "out_of_scope", "unclear")
WIDTH = 120  # characters of the table

EXAMPLES = """examples:
  python -m builders.quality out/rules
  python -m builders.quality out/rules --against out/gpt/labels.jsonl --report quality.json
  python -m builders.quality owner/name --config rules
  python -m builders.quality scenes --sample 20 --seed 1

--against compares labels.jsonl beside the records with another labeller's: what each said of the same question, told
of an edit of the same question. Kappa is Cohen's: agreement beyond what chance would give, at most 1.
"""


@dataclass(frozen=True)
class Agreement:
    """Of two labellers over the `questions` that both labelled; `kappa`: None where chance alone explains all."""

    questions: int
    percent: float
    kappa: float | None


@dataclass
class Kind:
    """What a split's probes of one kind are like, or its edits (by their targets)."""

    records: int = 0  # that have one
    questions: int = 0
    given_away: int = 0  # the question holds its answer
    yes: int = 0
    yes_or_no: int = 0

    def add(self, asked: Sequence[tuple[str, str]]) -> None:
        """The questions and answers of one record."""
        from builders.validate.texts import gives_away

        self.records += 1
        self.questions += len(asked)
        self.given_away += sum(gives_away(question, answer) for question, answer in asked)
        said = [normalise(answer) for _, answer in asked]
        self.yes += said.count("yes")
        self.yes_or_no += said.count("yes") + said.count("no")


@dataclass
class Split:
    """What a split is like: its records by kind of probe, and what its edits say and how often."""

    records: int = 0
    kinds: dict[str, Kind] = field(default_factory=dict)
    edits: dict[str, Counter[str]] = field(default_factory=dict)  # what is counted -> how often each is there
    questions: Counter[str] = field(default_factory=Counter)
    facts: Counter[str] = field(default_factory=Counter)  # questions with their targets

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a record, given as a row."""
        from builders.validate.texts import answer_type

        self.records += 1
        question, target = normalise(row["question"]), normalise(row["target"])
        for name, value in {
            "answer": normalise(row["answer"]),
            "target": target,
            "answer type": answer_type(row["target"]),
            "question type": " ".join(question.split()[:2]),
        }.items():
            self.edits.setdefault(name, Counter())[value] += 1
        self.questions[question] += 1
        self.facts[f"{question}\0{target}"] += 1
        asked = {EDIT: [(row["question"], row["target"])]}
        for probe in row["probes"]:
            asked.setdefault(probe["kind"], []).append((probe["question"], probe["answer"]))
        for kind, pairs in asked.items():
            self.kinds.setdefault(kind, Kind()).add(pairs)


def agreement(first: Sequence[Hashable], second: Sequence[Hashable]) -> Agreement:
    """Percent and Cohen's kappa of two labellers' labels of the same questions, at least one."""
    observed = sum(one == other for one, other in zip(first, second, strict=True)) / len(first)
    ours, theirs = Counter(first), Counter(second)
    chance = sum(ours[label] * theirs[label] for label in ours) / len(first) ** 2
    return Agreement(len(first), 100 * observed, None if chance == 1 else (observed - chance) / (1 - chance))


def agreements(ours: Mapping[str, Mapping[str, Any]], theirs: Mapping[str, Mapping[str, Any]]) -> dict[str, Agreement]:
    """How far two labellers agree, by their lines of `labels.jsonl` (id -> line), over what both labelled.

    "relation": which of `RELATIONS`, hard or worded; then each of these by itself, against the other two, where either
    gave it; and "settled_by_text", over the questions for which both say so or not. Two records are the same where
    their ids are, but for the labeller's name at the start. Questions that a labeller made are not compared.
    """
    first, second = _labelled(ours), _labelled(theirs)
    both = [(first[question], second[question]) for question in first if question in second]
    found = {}
    if both:
        kinds = [(_relation(one["kind"]), _relation(other["kind"])) for one, other in both]
        found["relation"] = agreement(*zip(*kinds, strict=True))
        for relation in RELATIONS:
            if any(relation in pair for pair in kinds):
                found[relation] = agreement(
                    [one == relation for one, _ in kinds], [other == relation for _, other in kinds]
                )
    settled = [tuple(label.get("settled_by_text") for label in pair) for pair in both]
    if settled := [pair for pair in settled if None not in pair]:
        found["settled_by_text"] = agreement(*zip(*settled, strict=True))
    return found


def report(
    name: str, against: Path | None = None, sample: int = 10, seed: int = 0, config: str | None = None
) -> dict[str, Any]:
    """What the data set `name` is like, as JSON: by split, copies as the validator finds them, agreement, a sample.

    `against`: another labeller's `labels.jsonl`, compared with the one beside the records. `sample`: how many records
    to list, drawn with `seed`. `config`: which configuration of a folder or hub data set; None: its default one.
    "not_compared": records that could not be read, as where images are only referred to; copies are not found of them.
    Raises `FGVEditError` for data or labels that cannot be read, and where two labellers have no question in common.
    """
    from builders.validate.checks import validate
    from builders.validate.sources import open_source

    if sample < 0:
        raise FGVEditError(f"--sample {sample}: expected a number of records, or 0 for none")
    source = open_source(name, config)
    agreed = {} if against is None else _agreements(source, against)
    splits, drawn = _read(source, sample, seed)
    validated = validate(source)
    checks = {check["check"]: check for check in validated.as_json()["checks"]}
    return {
        "format": FORMAT,
        "data": source.name,
        "config": source.config,
        "revision": source.revision,
        "splits": {split: _counts(split, splits) for split in splits},
        "not_compared": sum(split.records - split.answers.total() for split in validated.splits.values()),
        "copies": {check: {key: checks[check][key] for key in ("wants", "count", "examples")} for check in COPIES},
        "agreement": {what: asdict(one) for what, one in agreed.items()},
        "sample": drawn,
    }


def _agreements(source: Source, against: Path) -> dict[str, Agreement]:
    """How far the labels beside the records agree with those in the file `against`."""
    from builders.review.reading import labels_of, read_labels

    if not (ours := labels_of(source)):
        raise FGVEditError(
            f"data set '{source.name}': found no labels.jsonl beside its files; expected one with --against"
        )
    agreed = agreements(ours, read_labels(against))
    if not agreed:
        raise FGVEditError(
            f"'{against}': found no question that is labelled both there and in '{source.name}'; expected some in "
            "common"
        )
    return agreed


def _read(source: Source, sample: int, seed: int) -> tuple[dict[str, Split], list[dict[str, Any]]]:
    """What each split is like, and so many of the records, without images, drawn as they pass."""
    from builders.review.reading import rows

    splits = {split: Split() for split in source.files}
    drawn: list[dict[str, Any]] = []
    draw = random.Random(seed)
    for seen, (split, row) in enumerate(rows(source)):
        splits[split].add(row)
        index = seen if seen < sample else draw.randrange(seen + 1)
        if index < sample:
            drawn[index : index + 1] = [_without_images(split, row)]
    return splits, drawn


def table(found: Mapping[str, Any]) -> str:
    """A report in words."""
    return "\n".join(_lines(found))


def main(argv: list[str] | None = None) -> None:
    """Print the report on a data set and, with --report, write it as JSON."""
    parser = ArgumentParser(prog="python -m builders.quality", description=__doc__, epilog=EXAMPLES)
    parser.add_argument(
        "data", metavar="FOLDER", help="records: a folder, a configuration of the embedded data or a hub id"
    )
    parser.add_argument("--config", metavar="NAME", help="of a data set with several configurations; default: its own")
    parser.add_argument("--against", type=Path, metavar="LABELS.jsonl", help="another labeller's labels")
    parser.add_argument("--sample", type=int, default=10, metavar="N", help="records to list (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: %(default)s)")
    parser.add_argument("--report", type=Path, metavar="FILE.json", help="write the report as JSON, too")
    options = parser.parse_args(argv)
    found = report(options.data, options.against, options.sample, options.seed, options.config)
    print(printable(table(found)))
    if options.report is not None:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.report, found)


def _relation(kind: str) -> str:
    """What stage 1 said of a question, by the kind of its probe: a worded one is in scope, or out of it, too."""
    return next((relation for relation in RELATIONS[:2] if kind in doing_for(relation)), kind)


def _labelled(lines: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """(record, question) -> what was said of it."""
    return {
        (name.removeprefix(f"{line['labeller']}-"), normalise(label["question"])): label
        for name, line in lines.items()
        for label in line["reasons"].get("probes", [])
        if not label.get("made")
    }


def _without_images(split: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "split": split,
        **{key: row[key] for key in ("id", "group", "image_id", "question", "answer", "target")},
        "probes": [{key: probe[key] for key in ("kind", "question", "answer")} for probe in row["probes"]],
    }


def _counts(name: str, splits: Mapping[str, Split]) -> dict[str, Any]:
    split = splits[name]
    others = [other for key, other in splits.items() if key != name]
    return {
        "records": split.records,
        "kinds": {kind: asdict(one) for kind, one in sorted(split.kinds.items())},
        "edits": {
            what: {
                "different": len(counts),
                "most_frequent": [{"text": text, "count": count} for text, count in _most_frequent(counts)],
            }
            for what, counts in split.edits.items()
        },
        "edits_whose_question_is_in_other_splits": _shared(split.questions, (other.questions for other in others)),
        "edits_whose_question_and_target_are": _shared(split.facts, (other.facts for other in others)),
    }


def _most_frequent(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:FREQUENT]


def _shared(counts: Counter[str], others: Iterable[Counter[str]]) -> int:
    there = set().union(*others)
    return sum(count for text, count in counts.items() if text in there)


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    for name, split in found["splits"].items():
        records = split["records"]
        yield f"{name}: {records:,} records"
        yield f"  {'kind':16} {'records':>10} {'questions':>10} {'given away':>12} {'yes of yes/no':>20}"
        for kind, one in split["kinds"].items():
            given = f"{one['given_away']:,} {_share(one['given_away'], one['questions'])}"
            yes = f"{_share(one['yes'], one['yes_or_no'])} of {one['yes_or_no']:,}" if one["yes_or_no"] else "-"
            yield f"  {kind:16} {one['records']:10,} {one['questions']:10,} {given:>12} {yes:>20}"
        for what, counts in split["edits"].items():
            frequent = ", ".join(f"{one['text']} {_share(one['count'], records)}" for one in counts["most_frequent"])
            yield from _wrapped(f"{what} of edits: {counts['different']:,} different; {frequent}", 2)
        shared, facts = split["edits_whose_question_is_in_other_splits"], split["edits_whose_question_and_target_are"]
        yield f"  edits whose question is in other splits too: {shared:,} {_share(shared, records)}"
        yield f"  edits whose question and target are: {facts:,} {_share(facts, records)}"
    for check, one in found["copies"].items():
        first = f"; first: {one['examples'][0]['record']}: {one['examples'][0]['detail']}" if one["examples"] else ""
        yield from _wrapped(f"{check}: {one['count']:,} ({one['wants']}){first}", 0)
    if found["not_compared"]:
        yield f"{found['not_compared']:,} records could not be read and were not compared: builders.validate says why"
    if found["agreement"]:
        yield f"{'agreement':16} {'questions':>10} {'percent':>10} {'kappa':>10}"
    for what, one in found["agreement"].items():
        kappa = "-" if one["kappa"] is None else f"{one['kappa']:.3f}"
        yield f"{what:16} {one['questions']:10,} {one['percent']:10.1f} {kappa:>10}"
    for record in found["sample"]:
        yield f"{record['id']} ({record['split']}), image {record['image_id']}"
        yield from _wrapped(f"edit: {record['question']} '{record['answer']}' -> '{record['target']}'", 2)
        for probe in record["probes"]:
            yield from _wrapped(f"{probe['kind']}: {probe['question']} '{probe['answer']}'", 2)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2))


if __name__ == "__main__":
    command_line(main)
