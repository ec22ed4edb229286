"""`python -m builders.released`: the paper's released data as the configuration `vqav2`, with images of COCO 2014."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builders.coco import HOST, JOBS, Images, expect_outside
from fgvedit.dataset import FOLDER
from fgvedit.schema import ImageRef
from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import FGVEditError, command_line, one_line, printable
from fgvedit.util.files import check_out, is_unicode, noted, read_json, whole_folder, write_json, write_text

DATA_SET = "ZhenZeng/FGVEdit"  # on the hub
FILES = {"train": "train_data.json", "test": "test_data.json"}
RECORDS = {"train": 8334, "test": 2778}  # of the paper
OUT = FOLDER / "data" / "vqav2"
REPORT = "report.json"

# Kind of probe -> the released fields of its question and its answer; a rephrasing's answer is the edit's target.
PROBES = {
    "rephrase": ("rephrase", "alt"),
    "in_scope": ("fg_gen_q", "fg_gen_a"),
    "out_of_scope": ("fg_loc_q", "fg_loc_a"),
    "text_locality": ("loc", "loc_ans"),
}
# What should have been said before the edit, if a field of the release tells: the truth, or else a model's own answer.
TRUTH, SAID = ("answer", "answers"), "pred"
FIELDS = ("src", "alt", "image", *(name for pair in PROBES.values() for name in pair))
NOT_RELEASED = "(not released)"

LEFT_OUT, PROBE_LEFT_OUT, KEPT = "record left out", "probe left out", "kept"

EXAMPLES = """examples:
  python -m builders.released                            # JSON from the hub, images one by one from COCO's host
  python -m builders.released --images /data/coco        # images from here; only those that are not there are fetched
  python -m builders.released --json RELEASE --images /data/coco --no-fetch --reference --out /data/vqav2

then: fgvedit.load_dataset("fgvedit", "vqav2"), python -m fgvedit.run --dataset vqav2 …, or a folder given by --out"""


CARD = """---
configs:
- config_name: vqav2
  description: content {content}
  data_files:
  - split: train
    path: train-*.parquet
  - split: test
    path: test-*.parquet
---

# vqav2

The released data of arXiv 2411.12790 (`{data_set}` on the Hugging Face hub) as records of FGVEdit, made by
`python -m builders.released`; `report.json` says from what, and what was left out. Questions are from VQA v2.0
(CC BY 4.0), images from COCO 2014: these belong to those who took them and are under the terms of Flickr.
"""


@dataclass(frozen=True)
class Release:
    """The released files as read: entries of each split, SHA-256 of each file; `revision`: the hub's commit."""

    entries: dict[str, list[Any]]
    hashes: dict[str, str]
    revision: str | None


@dataclass
class Report:
    """What was found amiss, by kind, field and what was done about it: the records and what was found in each."""

    found: dict[tuple[str, str, str], list[tuple[str, str]]] = field(default_factory=dict)

    def note(self, kind: str, name: str, done: str, record: str, found: Any = "") -> None:
        self.found.setdefault((kind, name, done), []).append((record, str(found)))

    def main_reason(self) -> str:
        """Why most records were left out, with an example."""
        left_out = {key: records for key, records in self.found.items() if key[2] == LEFT_OUT}
        if not left_out:
            return "it has none"
        (kind, name, _), records = max(left_out.items(), key=lambda item: len(item[1]))
        return f"{len(records)} times {kind}, field '{name}', as in {records[0][0]}: {records[0][1]}"

    def as_json(self) -> list[dict[str, Any]]:
        return [
            {
                "kind": kind,
                "field": name,
                "done": done,
                "count": len(records),
                "records": [{"id": record, "found": found} for record, found in records],
            }
            for (kind, name, done), records in sorted(self.found.items())
        ]

    def as_table(self) -> str:
        head = ("anomaly", "field", "done", "count", "first")
        rows = [(k, f, d, f"{len(r):,}", r[0][0]) for (k, f, d), r in sorted(self.found.items())]
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in (head, *rows))
        return "\n".join(lines) if rows else "no anomalies"


def read_release(folder: Path | None, revision: str | None) -> Release:
    """The released files from a folder, or (None) from the hub at a commit, branch or tag; None: the newest.

    Raises `FGVEditError` for a file that cannot be had or is not a list in JSON.
    """
    if folder is not None:
        paths, commit = {split: folder / name for split, name in FILES.items()}, None
        for path in paths.values():
            if not path.is_file():
                raise FGVEditError(f"'{path}' is not there; expected the released {' and '.join(FILES.values())}")
    else:
        paths, commit = _from_hub(revision)
    entries = {}
    for split, path in paths.items():
        entries[split] = read_json(path)
        if not isinstance(entries[split], list):
            raise FGVEditError(f"'{path}': expected a list of records, found {type(entries[split]).__name__}")
    hashes = {FILES[split]: hashlib.sha256(path.read_bytes()).hexdigest() for split, path in paths.items()}
    return Release(entries, hashes, commit)


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
                shown = "" if kind == "text_locality" else image_id
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


@dataclass
class Counts:
    """What was written of a split."""

    ids: list[str] = field(default_factory=list)
    images: set[str] = field(default_factory=set)
    probes: Counter[str] = field(default_factory=Counter)
    without_answer: int = 0

    def of(self, written: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Rows, counted as they pass."""
        for row in written:
            self.ids.append(row["id"])
            self.images.add(row["image_id"])
            self.probes.update(probe["kind"] for probe in row["probes"])
            self.without_answer += row["answer"] == NOT_RELEASED
            yield row


def build(release: Release, images: Images, reference: bool, out: Path) -> str:
    """Write the data set into `out`: Parquet, `labels.jsonl`, `report.json` and a card; the report in words.

    A data set that was there is replaced. Raises `FGVEditError`, with nothing changed, where no record of a split is of
    use, and for a folder `out` that holds anything else.
    """
    with whole_folder(out, made_here) as folder:
        return _write(release, images, reference, folder)


def made_here(folder: Path) -> bool:
    """Whether a folder is one that `build` wrote."""
    return noted(folder / REPORT, "data_set") == DATA_SET


def _write(release: Release, images: Images, reference: bool, folder: Path) -> str:
    from builders.parquet import write_rows
    from fgvedit.util.revision import content_hash

    report = Report()
    note_duplicates(release, report)
    counts = {split: Counts() for split in release.entries}
    files = []
    for split, entries in release.entries.items():
        files += write_rows(counts[split].of(rows(entries, split, images, reference, report)), folder, split)
        if not counts[split].ids:
            raise FGVEditError(
                f"{FILES[split]}: none of its {len(entries)} records is of use ({report.main_reason()}); expected at "
                "least 1"
            )
    said = {
        "data_set": DATA_SET,
        "revision": release.revision,
        "files": release.hashes,
        "images": "referenced" if reference else "embedded",
        "content": content_hash(files),
        "splits": {
            split: {
                "records_read": len(release.entries[split]),
                "records_written": len(count.ids),
                "records_of_the_paper": RECORDS[split],
                "records_without_released_answer": count.without_answer,
                "images": len(count.images),
                "probes": {kind: count.probes[kind] for kind in PROBES},
            }
            for split, count in counts.items()
        },
        "images_in_both_splits": len(set.intersection(*(count.images for count in counts.values()))),
        "anomalies": report.as_json(),
    }
    labeller = f"released:{DATA_SET}@{release.revision}" if release.revision else "released:files"
    lines = (
        {"id": name, "labeller": labeller, "policy": "as released", "reasons": {}}
        for count in counts.values()
        for name in count.ids
    )
    write_text(folder / "labels.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    write_json(folder / REPORT, said)
    write_text(folder / "README.md", CARD.format(content=said["content"], data_set=DATA_SET))
    return "\n".join([*_in_words(said), "", report.as_table()])


def _in_words(said: Mapping[str, Any]) -> Iterator[str]:
    for split, count in said["splits"].items():
        probes = ", ".join(f"{number:,} {kind}" for kind, number in count["probes"].items())
        yield (
            f"{split}: {count['records_written']:,} records of {count['records_read']:,} released "
            f"({count['records_of_the_paper']:,} in the paper), of {count['images']:,} images; probes: {probes}"
        )
        if count["records_without_released_answer"]:
            yield (
                f"{split}: {count['records_without_released_answer']:,} records have '{NOT_RELEASED}' for an answer: "
                f"the release has no {', '.join(TRUTH)} or {SAID} for them"
            )
    yield f"images in both splits: {said['images_in_both_splits']:,}"


def _from_hub(revision: str | None) -> tuple[dict[str, Path], str]:
    """The files in the hub's cache, fetched if they are not there, and their commit."""
    import huggingface_hub

    at = f" at revision '{revision}'" if revision else ""
    print(
        f"data: {', '.join(FILES.values())} of {DATA_SET}{at}, from the hub or its cache", file=sys.stderr, flush=True
    )
    paths = {}
    try:
        for split, name in FILES.items():
            paths[split] = Path(huggingface_hub.hf_hub_download(DATA_SET, name, repo_type="dataset", revision=revision))
            revision = paths[split].parent.name  # the second file at the commit of the first
    except Exception as error:  # the hub's client raises many types
        raise FGVEditError(
            f"the released data '{DATA_SET}'{at} could not be fetched ({one_line(error)}); expected a connection to "
            "the hub, or the files in a folder given by --json"
        ) from error
    return paths, str(revision)


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


def forget(out: Path) -> None:
    """Remove what `datasets` keeps of the configuration at a checkout's root: it would not notice that this is new.

    It names what it has read of a folder after the folder and its card, and the card is the same as before.
    """
    import datasets

    if out.resolve() == OUT.resolve():
        shutil.rmtree(Path(datasets.config.HF_DATASETS_CACHE) / FOLDER.name / OUT.name, ignore_errors=True)


def main(argv: list[str] | None = None) -> None:
    parser = ArgumentParser(prog="python -m builders.released", description=__doc__, epilog=EXAMPLES)
    parser.add_argument("--revision", help="of the released data on the hub: a commit, branch or tag (default: newest)")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="read the released files from here, not the hub")
    parser.add_argument(
        "--images",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="look for COCO 2014 images here and in train2014/ and val2014/ below; may be given several times",
    )
    parser.add_argument("--no-fetch", action="store_true", help="fetch no image: those that are not there are reported")
    parser.add_argument(
        "--fetch-into", type=Path, metavar="FOLDER", help="where fetched images are kept (default: the --out, -images)"
    )
    parser.add_argument("--host", metavar="URL", help=f"where images are fetched (default: {HOST})")
    parser.add_argument("--jobs", type=int, metavar="N", help=f"images fetched at a time (default: {JOBS})")
    parser.add_argument("--reference", action="store_true", help="refer to the images by path in place of embedding")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write (default: the package's data/vqav2)")
    options = parser.parse_args(argv)
    if options.json and options.revision:
        raise FGVEditError("--revision is of the hub, and --json names files here; expected one of them")
    if options.no_fetch and not options.images:
        raise FGVEditError("--no-fetch without --images: expected a folder with the images")
    fetching = {"--fetch-into": options.fetch_into, "--host": options.host, "--jobs": options.jobs}
    for option, given in fetching.items():
        if options.no_fetch and given is not None:
            raise FGVEditError(
                f"{option} {given}: found it with --no-fetch, which fetches nothing; expected one of them"
            )
    check_out(options.out, made_here)

    into = options.fetch_into or options.out.with_name(f"{options.out.name}-images")
    folders = options.images if options.no_fetch else [into, *options.images]
    expect_outside(folders, options.out)
    host = HOST if options.host is None else options.host
    jobs = JOBS if options.jobs is None else options.jobs
    images = Images(folders, fetch=not options.no_fetch, host=host, jobs=jobs)
    release = read_release(options.json, options.revision)
    if not options.no_fetch:
        images.fetch(named(release))
    said = build(release, images, options.reference, options.out)
    forget(options.out)
    print(f"{printable(said)}\n\n{options.out}: the whole report is in report.json")


if __name__ == "__main__":
    command_line(main)
