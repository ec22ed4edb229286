"""A data set as an audit sees it: probes with the keys of their images, and which kinds have to be told apart."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from tqdm import tqdm

from builders.audit.pictures import Look, look
from builders.review.reading import rows
from fgvedit.dataset import Source
from fgvedit.probes import EDIT, changes, kind_of, kinds
from fgvedit.schema import Record, record_from_row

RECORDS_AT_ONCE = 8  # whose images are in memory, and are encoded together where a model is asked
EDITS_PLACE = -1

Ask = Callable[[Sequence[Record]], Sequence[Sequence[str]]]  # records -> the answers to what is asked of each


@dataclass(frozen=True, order=True)
class Case:
    """A probe, or the edit itself, as a router is given it, with what its record says.

    `question`, `target`, `image`: of the edit; `asked`, `shown`: of the probe. Images are keys, "" for none. `place`:
    the probe's index within its record. `answer`: the probe's; `old`: the record's. `said`: a base model's answers to
    the edit's question and to the probe, where one was asked.
    """

    record: str
    place: int
    group: str
    kind: str
    image: str
    question: str
    target: str
    shown: str
    asked: str
    answer: str
    old: str
    said: tuple[str, str] | None = field(default=None, compare=False)

    @property
    def inside(self) -> bool:
        """Whether it is in scope: the edit has to change the answer."""
        return changes(self.kind)


@dataclass
class Reading:
    """A split, read: its cases in an order that does not depend on that of its records, and what its images are like,
    by their keys."""

    records: int
    cases: list[Case]
    looks: dict[str, Look]

    @property
    def groups(self) -> int:
        """How many there are."""
        return len({case.group for case in self.cases})

    @property
    def kinds(self) -> list[str]:
        """The kinds that are there, the edit's own included, in the order of the registry."""
        there = {case.kind for case in self.cases}
        return [name for name in kinds() if name in there]


@dataclass(frozen=True)
class Contest:
    """Kinds of which one side is in scope and the other is not: what a router has to tell apart."""

    inside: tuple[str, ...]
    outside: tuple[str, ...]

    @property
    def name(self) -> str:
        """As tables have it: the kind in scope before the one out of scope."""
        return f"{_side(self.inside, 'all that change')} : {_side(self.outside, 'all that stay')}"

    def of(self, cases: Iterable[Case]) -> list[Case]:
        """The cases of these kinds."""
        return [case for case in cases if case.kind in (*self.inside, *self.outside)]


def contests(there: Collection[str]) -> dict[str, Contest | None]:
    """Each kind that is there, with what it has to be told from: the kind that it stands against or, where that is not
    there, all of the other label. None where there is none of the other label."""
    return {kind: _contest(kind, there) for kind in there}


def _contest(kind: str, there: Collection[str]) -> Contest | None:
    others = tuple(other for other in there if changes(other) != changes(kind))
    against = kind_of(kind).against
    others = (against,) if against in others else others
    if not others:
        return None
    return Contest((kind,), others) if changes(kind) else Contest(others, (kind,))


def _side(names: tuple[str, ...], several: str) -> str:
    return names[0] if len(names) == 1 else several


def read(source: Source, split: str, limit: int | None = None, ask: Ask | None = None) -> Reading:
    """A split's first `limit` records, or all, with the answers of a base model where one is to be asked.

    Raises `FGVEditError`, naming the record, for one that cannot be read or whose image does not decode.
    """
    reading = Reading(0, [], {})
    whole = replace(source, files={split: source.files_of(split)}).rows
    total = limit if whole is None else min(whole, limit or whole)
    records = (record_from_row(row) for _, row in islice(rows(source, split), limit))
    with tqdm(total=total, desc=f"{split}: records", unit="record", disable=None) as bar:
        while batch := list(islice(records, RECORDS_AT_ONCE)):
            answers = ask(batch) if ask else [None] * len(batch)
            for record, said in zip(batch, answers, strict=True):
                _add(reading, record, said)
            bar.update(len(batch))
    reading.cases.sort()
    return reading


def _add(reading: Reading, record: Record, said: Sequence[str] | None) -> None:
    reading.records += 1
    for number, probe in enumerate(record.asked):
        for image in (record.image, probe.image):
            if image is not None and image.key not in reading.looks:
                reading.looks[image.key] = look(image)
        case = Case(
            record=record.id,
            place=number - 1 if probe.kind != EDIT else EDITS_PLACE,
            group=record.group,
            kind=probe.kind,
            image=record.image.key,
            question=record.question,
            target=record.target,
            shown=probe.image.key if probe.image else "",
            asked=probe.question,
            answer=probe.answer,
            old=record.answer,
            said=(said[0], said[number]) if said else None,
        )
        reading.cases.append(case)
