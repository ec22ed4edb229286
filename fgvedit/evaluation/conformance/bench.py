"""What a check works on, and how it says that a promise is broken."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from fgvedit.backbones.answering import Query
from fgvedit.editors.contract import Editor
from fgvedit.evaluation.protocols import protocols
from fgvedit.evaluation.rows import Row
from fgvedit.evaluation.runs.plan import Plan
from fgvedit.evaluation.runs.probing import probe_record
from fgvedit.schema import Edit, Probe, Record
from fgvedit.util.errors import FGVEditError, one_line


class Broken(Exception):
    """What an editor did that it may not do."""


class Skipped(Exception):
    """Why a check does not apply."""


@dataclass
class Bench:
    """What a check works on: an editor as often as it is needed, two records of different images, their queries."""

    open_editor: Callable[[], Editor]
    records: Sequence[Record]
    seed: int

    def editor(self) -> Editor:
        """A new editor; its backbone has encoded the records' images in one batch, as in a run."""
        editor = self.open_editor()
        Plan(self.records).encode(self.records, editor.backbone)
        return editor

    def rows(self, editor: Editor, record: Record) -> list[Row]:
        """The rows of one edit, as a run writes them."""
        editor.backbone.cached_answerer.forget()  # an answer in a batch of another shape may be rounded in another way
        return probe_record(editor, record, list(protocols().values()), self.seed).rows

    @cached_property
    def rows_alone(self) -> list[Row]:
        """The rows of the second record from an editor that has made no other edit."""
        return self.rows(self.editor(), self.records[1])

    @cached_property
    def rows_again(self) -> list[Row]:
        """The same, from yet another editor."""
        return self.rows(self.editor(), self.records[1])

    @property
    def edit(self) -> Edit:
        """The first record's edit."""
        return self.records[0].edit

    @property
    def queries(self) -> list[Query]:
        """The edit's question and the first record's probes, some without an image, and the second edit's question."""
        first, second = self.records
        asked = [(first.question, first.image), *((probe.question, probe.image) for probe in first.probes)]
        queries = [Query(*one) for one in (*asked, (first.question, None), (second.question, second.image))]
        return list({query.key: query for query in queries}.values())

    @property
    def answers(self) -> list[str]:
        """One for each of `queries`, not all the same."""
        return [(self.edit.target, self.records[0].answer)[number % 2] for number in range(len(self.queries))]


def two_records(records: Sequence[Record]) -> list[Record]:
    """The first record and another of another image, with one probe of each kind: the first that is of another group,
    has another question and another target, or the first that comes nearest to that, the group before the question
    before the target."""
    first, second, most = records[0], None, (False, False, False)
    for record in records:
        if record.image.key == first.image.key:
            continue
        unlike = (record.group != first.group, record.question != first.question, record.target != first.target)
        if second is None or unlike > most:
            second, most = record, unlike
        if all(unlike):
            break
    if second is None:
        raise FGVEditError(f"an editor is checked on two images: found one in {len(records)} records, expected another")
    return [replace(found, probes=one_of_each_kind(found)) for found in (first, second)]


def one_of_each_kind(record: Record) -> tuple[Probe, ...]:
    """The first probe of each kind, in their order."""
    return tuple({probe.kind: probe for probe in reversed(record.probes)}.values())[::-1]


def raised(error: Exception) -> str:
    """What was raised, and the last line of it that is not a library's."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    return f"{type(error).__name__}: {one_line(error)} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
