"""The official files of VQA v2.0, read as a stream into compact columns: each question with what its annotators agreed
on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from fgvedit.evaluation.normalise import normalise
from fgvedit.util.errors import FGVEditError, one_line, unknown

SUBTYPES = ("train2014", "val2014")
FIELDS = {"questions": {"question_id": int, "image_id": int, "question": str}}
KINDS = {int: "a whole number", str: "a text", list: "a list"}
FIELDS["annotations"] = {"question_id": int, "image_id": int, "answers": list}

IDS = [("question_id", pa.int64()), ("image_id", pa.int64())]
QUESTIONS = pa.schema([*IDS, ("question", pa.string())])
ANNOTATIONS = pa.schema([*IDS, ("answer", pa.string()), ("agreed", pa.uint8()), ("said", pa.list_(pa.string()))])
AT_ONCE = 1 << 13  # entries

normalised = lru_cache(maxsize=1 << 16)(normalise)


@dataclass(frozen=True)
class VQAQuestion:
    """A question about an image. `answer`: what most annotators said, in their most frequent form; `agreed`: how many,
    answers compared as VQA v2 does; `said`: all that any of them said, normalised so."""

    id: int
    file_name: str
    question: str
    answer: str
    agreed: int
    said: tuple[str, ...]


class Questions:
    """All questions of the files, in order of their ids; one takes some hundred bytes.

    `ids`, `images`: int64 (n,); `agreed`: uint8 (n,); `texts`, `answers`: Arrow strings (n,).
    """

    def __init__(self, table: pa.Table) -> None:
        self.ids = table["question_id"].to_numpy()
        self.images = table["image_id"].to_numpy()
        self.agreed = table["agreed"].to_numpy()
        self.texts = table["question"].combine_chunks()
        self.answers = table["answer"].combine_chunks()
        self._said = table["said"].combine_chunks()
        self._subtypes = table["subtype"].to_numpy()

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> VQAQuestion:
        return VQAQuestion(
            id=int(self.ids[row]),
            file_name=self.file_name(row),
            question=self.texts[row].as_py(),
            answer=self.answers[row].as_py(),
            agreed=int(self.agreed[row]),
            said=tuple(self._said[row].as_py()),
        )

    def file_name(self, row: int) -> str:
        """The COCO file name of a question's image."""
        return f"COCO_{SUBTYPES[self._subtypes[row]]}_{self.images[row]:012d}.jpg"


def read_questions(question_files: Sequence[Path], annotation_files: Sequence[Path]) -> Questions:
    """Read question files and the annotation files of the same data subtypes.

    Raises `FGVEditError`, naming the file, for what is not such a file, for an id that comes twice, and for questions
    and annotations that do not match.
    """
    asked, answered = _by_subtype(question_files), _by_subtype(annotation_files)
    for here, there, missing in ((asked, answered, "annotation"), (answered, asked, "question")):
        for subtype, path in here.items():
            if subtype not in there:
                raise FGVEditError(f"'{path}' is of {subtype}, of which no {missing} file is given; expected one")
    tables = [_read_pair(SUBTYPES.index(subtype), asked[subtype], answered[subtype]) for subtype in sorted(asked)]
    table = pa.concat_tables(tables).sort_by("question_id")
    twice = _first_twice(table["question_id"].to_numpy())
    if twice is not None:
        raise FGVEditError(
            f"question_id {twice} is in two of the files {', '.join(map(str, question_files))}; expected each id once"
        )
    return Questions(table)


def _by_subtype(paths: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        with _opened(path) as file:
            subtype = next(_items(file, "data_subtype"), None)
        if subtype is None:
            raise FGVEditError(f"'{path}' has no data_subtype; expected an official question or annotation file")
        if subtype not in SUBTYPES:
            raise FGVEditError(f"'{path}': {unknown('data subtype', str(subtype), SUBTYPES)}")
        if subtype in found:
            raise FGVEditError(f"'{found[subtype]}' and '{path}' are both of {subtype}; expected one file of each")
        found[subtype] = path
    return found


def _read_pair(subtype: int, question_file: Path, annotation_file: Path) -> pa.Table:
    questions = _table(question_file, QUESTIONS, _asked(question_file))
    annotations = _table(annotation_file, ANNOTATIONS, _answered(annotation_file))
    here, there = questions["question_id"].to_numpy(), annotations["question_id"].to_numpy()
    for path, ids in ((question_file, here), (annotation_file, there)):
        if (twice := _first_twice(ids)) is not None:
            raise FGVEditError(f"'{path}': question_id {twice} comes twice; expected each id once")
    _check_match(question_file, annotation_file, here, there)
    images, answered = questions["image_id"].to_numpy(), annotations["image_id"].to_numpy()
    if (differs := images != answered).any():
        row = int(differs.argmax())
        raise FGVEditError(
            f"question_id {here[row]} is about image_id {images[row]} in '{question_file}' and about {answered[row]} "
            f"in '{annotation_file}'; expected the same image"
        )
    table = questions.append_column("subtype", pa.array(np.full(len(here), subtype, np.uint8)))
    for name in ("answer", "agreed", "said"):
        table = table.append_column(name, annotations[name])
    return table


def _asked(path: Path) -> Iterator[tuple[int, int, str]]:
    for item in _entries(path, "questions"):
        yield item["question_id"], item["image_id"], tidy(item["question"])


def _answered(path: Path) -> Iterator[tuple[int, int, str, int, list[str]]]:
    for number, item in enumerate(_entries(path, "annotations")):
        yield item["question_id"], item["image_id"], *_agreement(path, number, item["answers"])


def _table(path: Path, schema: pa.Schema, rows: Iterator[tuple[Any, ...]]) -> pa.Table:
    """Rows as they come, in order of their `question_id`. As Python objects they would take ten times the memory: few
    are held at once."""
    batches: list[pa.RecordBatch] = []
    while some := list(islice(rows, AT_ONCE)):
        try:
            columns = [
                pa.array(column, kind) for column, kind in zip(zip(*some, strict=True), schema.types, strict=True)
            ]
        except (pa.ArrowInvalid, OverflowError, UnicodeError) as error:
            raise FGVEditError(
                f"'{path}' has an id beyond 64 bits or what is not text ({one_line(error)}), in one of its entries "
                f"{len(batches) * AT_ONCE:,} to {len(batches) * AT_ONCE + len(some) - 1:,}; expected official ones"
            ) from error
        batches.append(pa.record_batch(columns, schema=schema))
    return pa.Table.from_batches(batches, schema).sort_by("question_id")


def _agreement(path: Path, number: int, answers: list[Any]) -> tuple[str, int, list[str]]:
    """What most annotators said, how many of them did, and all that was said, normalised, the most frequent first."""
    try:
        forms = Counter(tidy(given["answer"]).lower() for given in answers)
    except (KeyError, TypeError, AttributeError) as error:
        raise FGVEditError(
            f"'{path}': annotation number {number} has 'answers' of another form; expected a list of objects with the "
            "text 'answer'"
        ) from error
    if not forms:
        raise FGVEditError(f"'{path}': annotation number {number} has no answers; expected ten")
    counts: Counter[str] = Counter()
    for form, count in forms.items():
        counts[normalised(form)] += count
    said = sorted(counts, key=lambda answer: (-counts[answer], answer))
    answer = min((form for form in forms if normalised(form) == said[0]), key=lambda form: (-forms[form], form))
    return answer, counts[said[0]], said


def _entries(path: Path, key: str) -> Iterator[dict[str, Any]]:
    """The items of the list `key`, each with its fields of the right type."""
    number = -1
    with _opened(path) as file:
        for number, item in enumerate(_items(file, f"{key}.item")):
            for name, kind in FIELDS[key].items():
                if not isinstance(item, dict) or not isinstance(item.get(name), kind):
                    found = repr(item.get(name)) if isinstance(item, dict) else type(item).__name__
                    raise FGVEditError(
                        f"'{path}': {key} number {number}, field '{name}': found {found}, expected {KINDS[kind]}"
                    )
            yield item
    if number < 0:
        raise FGVEditError(f"'{path}' has no '{key}'; expected VQA v2.0's official file of {key}")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, with a bar over its bytes. Raises `FGVEditError` where it is a folder, an archive or no whole JSON."""
    ijson = _ijson()
    if path.is_dir():
        raise FGVEditError(f"'{path}' is a folder; expected one of VQA v2.0's JSON files")
    if not path.is_file():
        raise FGVEditError(f"'{path}' is not there; expected one of VQA v2.0's JSON files")
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            raise FGVEditError(f"'{path}' is a zip archive; expected the JSON file in it: unpack it first")
        file.seek(0)
        size = path.stat().st_size
        with tqdm.wrapattr(file, "read", total=size, desc=path.name, disable=None, leave=False) as watched:
            try:
                yield cast(BinaryIO, watched)
            except (ijson.JSONError, UnicodeDecodeError) as error:
                raise FGVEditError(f"'{path}' is cut off or not JSON ({one_line(error)}); expected it whole") from error


def _items(file: BinaryIO, prefix: str) -> Iterator[Any]:
    return _ijson().items(file, prefix, use_float=True)


def _ijson() -> Any:
    try:
        import ijson
    except ImportError as error:
        raise FGVEditError(
            f"reading VQA v2.0 needs ijson ({error}); expected the extra 'builders': pip install 'fgvedit[builders]'"
        ) from error
    return ijson


def _first_twice(ids: np.ndarray) -> int | None:
    """The first number that comes twice among sorted ones."""
    twice = ids[1:][ids[1:] == ids[:-1]]
    return int(twice[0]) if len(twice) else None


def _check_match(question_file: Path, annotation_file: Path, questions: np.ndarray, annotations: np.ndarray) -> None:
    for here, there, one, other in (
        (question_file, annotation_file, questions, annotations),
        (annotation_file, question_file, annotations, questions),
    ):
        alone = np.setdiff1d(one, other, assume_unique=True)
        if len(alone):
            raise FGVEditError(
                f"question_id {alone[0]} of '{here}' is not in '{there}' (so are {len(alone) - 1:,} more); expected "
                "the questions and annotations of the same data"
            )


def tidy(text: str) -> str:
    """A text without spaces around it, and with one between words: official ones have others, and line breaks."""
    return " ".join(text.split())


def question_key(question: str) -> str:
    """A question's words alone: two with the same words are the same question."""
    return " ".join(re.findall(r"[\w']+", question.lower()))
