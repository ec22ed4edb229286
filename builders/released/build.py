"""From the released files to a folder of records: whole or absent."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builders.coco import Images
from builders.parquet import write_rows
from builders.provenance import told
from builders.released.anomalies import Report
from builders.released.records import note_duplicates, rows
from builders.released.release import DATA_SET, FILES, NOT_RELEASED, PROBES, RECORDS, SAID, TRUTH, Release
from fgvedit.dataset import FOLDER
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import noted, whole_folder, write_json, write_text
from fgvedit.util.revision import content_hash

OUT = FOLDER / "data" / "vqav2"
REPORT = "report.json"
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
`python -m builders.released`; `report.json` says from what, and what was left out.

{told}
"""


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
        "splits": {split: _counts(len(release.entries[split]), count, split) for split, count in counts.items()},
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
    write_text(folder / "README.md", CARD.format(content=said["content"], data_set=DATA_SET, told=told(PROBES)))
    return "\n".join([*_in_words(said), "", report.as_table()])


def _counts(read: int, count: Counts, split: str) -> dict[str, Any]:
    """What the report says of a split, of which `read` records were released."""
    return {
        "records_read": read,
        "records_written": len(count.ids),
        "records_of_the_paper": RECORDS[split],
        "records_without_released_answer": count.without_answer,
        "images": len(count.images),
        "probes": {kind: count.probes[kind] for kind in PROBES},
    }


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


def forget(out: Path) -> None:
    """Remove what `datasets` keeps of the configuration at a checkout's root: it would not notice that this is new.

    It names what it has read of a folder after the folder and its card, and the card is the same as before.
    """
    import datasets

    if out.resolve() == OUT.resolve():
        shutil.rmtree(Path(datasets.config.HF_DATASETS_CACHE) / FOLDER.name / OUT.name, ignore_errors=True)
