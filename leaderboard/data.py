"""What the rows of a run must hold: the records and probes of a revision of data, with their answers, but no images.

    python -m leaderboard.data vqav2 --to results

The embedded data are known by themselves. Of others a results folder keeps an answer key, `data/<revision>-<split>
.jsonl.xz`: a line that says of which data, then a line a record, whose first probe is the edit itself. Keys of format 1
name no groups: each record is one of its image's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from fgvedit.dataset import embedded, load_records
from fgvedit.evaluation.sequential import evaluation_points, sequences
from fgvedit.probes import changes
from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import FGVEditError, command_line
from leaderboard import migrate
from leaderboard.reading import pack, read_rows

REVISION = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # a commit of the hub, or a hash over files
SPLIT = re.compile(r"[A-Za-z0-9_]{1,50}")
NAMES = {1: ("id", "image_id"), 2: ("id", "group", "image_id")}  # format -> what a record has besides its probes

EPILOG = """\
examples:
  python -m leaderboard.data vqav2 --to results
  python -m leaderboard.data my-data --split test --to results

writes the records and probes of the data, their answers and no image, to results/data/, where leaderboard.check finds
what the rows of a submission must hold. The embedded data need none.
"""


@dataclass(frozen=True)
class KeyRecord:
    """`probes`: (kind, question, answer) of each, the edit first."""

    id: str
    group: str
    image_id: str
    probes: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class AnswerKey:
    """A split of data at a revision, without its images."""

    name: str
    config: str
    split: str
    revision: str
    records: tuple[KeyRecord, ...]

    def of_run(self, limit: int | None, sequence: int | None) -> list[tuple[KeyRecord, int, int]]:
        """(record, edits in force, edits made since its own) whenever a run asks a record's probes, in the run's order.

        Raises `FGVEditError` where a sequence cannot be that long.
        """
        records = self.records[:limit]
        if sequence is None:
            return [(record, 1, 0) for record in records]
        chosen = sequences([record.group for record in records], sequence)
        points = evaluation_points(sequence)
        return [(records[indices[index]], edits, since) for indices in chosen for index, edits, since in points]


def expected_rows(key: AnswerKey, manifest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Of each row that a run must have: what the data say about it."""
    for record, edits, since in key.of_run(manifest["dataset"]["limit"], manifest["sequence"]):
        for protocol in manifest["protocols"]:
            for number, (kind, question, answer) in enumerate(record.probes, -1):
                yield {
                    "record_id": record.id,
                    "protocol": protocol,
                    "edits": edits,
                    "probe": number,
                    "image_id": record.image_id,
                    "group": record.group,
                    "kind": kind,
                    "question": question,
                    "answer": answer,
                    "expected": answer if changes(kind) else None,
                    "age": since,
                }


class Known:
    """Where answer keys are found: the embedded data, a results folder, `sources` (whatever `load_records` opens)."""

    def __init__(self, results: Path | None = None, sources: Sequence[str] = ()) -> None:
        self.results = results
        self.sources = sources
        self._found: dict[tuple[str, str, str], AnswerKey] = {}

    def find(self, dataset: Mapping[str, Any]) -> AnswerKey:
        """The key of a manifest's `dataset`. Raises `FGVEditError` where its revision is not known."""
        name, split, revision = dataset["name"], dataset["split"], dataset["revision"]
        if not REVISION.fullmatch(revision) or not SPLIT.fullmatch(split):
            raise FGVEditError(
                f"data set: found split {split[:60]!r} at revision {revision[:80]!r}; expected a name of letters and a "
                "commit or SHA-256 in hexadecimal"
            )
        if (name, split, revision) not in self._found:
            self._found[name, split, revision] = self._search(name, split, revision)
        return self._found[name, split, revision]

    def _search(self, name: str, split: str, revision: str) -> AnswerKey:
        known = []
        for key in self._keys(name, split, revision):
            if key.revision == revision:
                return key
            known.append(f"'{key.name}' at {key.revision[:8]}")
        raise FGVEditError(
            f"data revision '{revision}' of data set {name!r}, split '{split}', is not known; expected that of "
            f"{', '.join(known) or 'the embedded data'}, one in the results folder's data/, or --data with data of it"
        )

    def _keys(self, name: str, split: str, revision: str) -> Iterator[AnswerKey]:
        if name in embedded():
            with contextlib.suppress(FGVEditError):  # it has no such split, or is to be built first
                yield key_of(name, split)
        path = self.results / "data" / file_name(split, revision) if self.results is not None else None
        if path is not None and path.exists():
            yield read_key(path)
        for source in self.sources:
            yield key_of(source, split)


def key_of(source: str, split: str) -> AnswerKey:
    """The key of data that can be opened here, whatever `load_records` takes."""
    data = load_records(source, split)
    records = tuple(
        KeyRecord(
            record.id,
            record.group,
            record.image.image_id,
            tuple((probe.kind, probe.question, probe.answer) for probe in record.asked),
        )
        for record in data.records
    )
    name = Path(source).name if Path(source).is_dir() else source  # where it lies here is nobody's concern
    return AnswerKey(name, data.config, split, data.revision, records)


def file_name(split: str, revision: str) -> str:
    """What the answer key of a split is called in a results folder's `data`."""
    return f"{revision}-{split}.jsonl.xz"


def read_key(path: Path) -> AnswerKey:
    """The answer key in a file.

    Raises `FGVEditError`, naming the file and the line, where it is not a key, or not called as its content says.
    """
    lines = read_rows(path)
    about = next(lines, ...)
    if about is ...:
        raise FGVEditError(f"'{path}' is empty; expected an answer key")
    migrate.check(about, "data", f"'{path}' line 1", "its fields")
    records, names = [], NAMES[about["format"]]
    for number, line in enumerate(lines, 2):
        if not _is_record(line, names):
            raise FGVEditError(
                f"'{path}' line {number}: expected a record: its {', its '.join(names)} and its probes, each a kind, a "
                "question and an answer"
            )
        group = line.get("group", line["image_id"])
        records.append(KeyRecord(line["id"], group, line["image_id"], tuple(map(tuple, line["probes"]))))
    if path.name != file_name(about["split"], about["revision"]):
        raise FGVEditError(f"'{path}': expected '{file_name(about['split'], about['revision'])}', as its content says")
    if not len(records) == len({record.id for record in records}) == about["records"]:
        raise FGVEditError(f"'{path}': expected {about['records']} records, each with an id of its own")
    return AnswerKey(about["name"], about["config"], about["split"], about["revision"], tuple(records))


def _is_record(line: Any, names: Sequence[str]) -> bool:
    if not isinstance(line, dict) or line.keys() != {*names, "probes"} or not isinstance(line["probes"], list):
        return False
    well = bool(line["probes"]) and all(isinstance(probe, list) and len(probe) == 3 for probe in line["probes"])
    return well and all(isinstance(text, str) for text in (*(line[name] for name in names), *chain(*line["probes"])))


def write_key(key: AnswerKey, results: Path) -> Path:
    """Write `key` to a results folder's `data`, whole or not at all."""
    about = {"format": max(NAMES), "name": key.name, "config": key.config, "split": key.split, "revision": key.revision}
    lines: list[Any] = [{**about, "records": len(key.records)}]
    lines += [asdict(record) for record in key.records]
    path = results / "data" / file_name(key.split, key.revision)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=results, prefix=".data-") as folder:
        partial = Path(folder) / path.name
        partial.write_bytes(pack("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()))
        os.replace(partial, path)
    return path


def main(argv: list[str] | None = None) -> None:
    """The command: write the answer key of data into a results folder."""
    options = ArgumentParser(
        prog="python -m leaderboard.data", description="Write the answer key of a data set.", epilog=EPILOG
    )
    options.add_argument("dataset", metavar="NAME", help="an embedded configuration, a folder or a hub id")
    options.add_argument("--split", default="test", help="default: %(default)s")
    options.add_argument("--to", type=Path, required=True, metavar="RESULTS", help="a results folder")
    chosen = options.parse_args(argv)
    if not chosen.to.is_dir():
        raise FGVEditError(f"--to: '{chosen.to}' is no folder; expected a results folder")
    key = key_of(chosen.dataset, chosen.split)
    print(f"{len(key.records)} records: {write_key(key, chosen.to)}")


if __name__ == "__main__":
    command_line(main)
