"""Sidecar files, which go along where records are written anew: the labels beside them, and their data card."""

from __future__ import annotations

import shutil
from pathlib import Path

import huggingface_hub

from fgvedit.dataset import Source, card_metadata
from fgvedit.util.files import write_bytes, write_text
from fgvedit.util.revision import content_hash

LABELS = "labels.jsonl"
HASH_SHOWN = 12  # characters of a data set's hash that its audit says
AUDIT, AUDIT_END = "<!-- audit -->", "<!-- /audit -->"  # what stands between them in a card is of `builders.audit`


def label_files(source: Source) -> list[Path]:
    """The files of labels: beside the records of each split, or, of a published configuration, in `labels/`, beside the
    folder `data/`."""
    folders = {file.parent for files in source.files.values() for file in files}
    files = [folder / LABELS for folder in folders]
    files += [
        folder.parents[1] / "labels" / f"{source.config}.jsonl" for folder in folders if folder.parent.name == "data"
    ]
    return [file for file in sorted(files) if file.is_file()]


def copy_labels(source: Source, to: Path) -> bool:
    """Write the labels of a data set as they are into the file `to`; whether there are any."""
    whole = [path.read_bytes() for path in label_files(source)]
    if whole:
        to.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(to, b"\n".join(text.removesuffix(b"\n") for text in whole) + b"\n")
    return bool(whole)


def audit_section(source: Source) -> str:
    """What the card of a data set says of its audit; empty where it says nothing, or speaks of other files."""
    card = source.folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    section = text.partition(AUDIT)[2].partition(AUDIT_END)[0].strip()
    return section if source.revision[:HASH_SHOWN] in section else ""


def write_card(folder: Path, source: Source, note: str) -> None:
    """Write a card for the Parquet files in `folder`: the data set's own, with what it says of licences and origins and
    with `note`, a sentence, before its text unless it is there already.

    Raises `FGVEditError` for a card of the data set that cannot be read.
    """
    metadata = card_metadata(source.folder)
    metadata.pop("dataset_info", None)  # counts of the files as they were
    files = [{"split": split, "path": f"{split}-*.parquet"} for split in source.files]
    # `datasets` keeps what it has read of a folder under its card, not its files: see docs/data.md.
    content = f"content {content_hash(folder.glob('*.parquet'))}"
    metadata["configs"] = [{"config_name": source.config, "description": content, "data_files": files}]
    card, older = folder / "README.md", source.folder / "README.md"
    if older.is_file():
        shutil.copyfile(older, card)
    else:
        write_text(card, f"# {Path(source.name).name}\n")
    huggingface_hub.metadata_save(card, metadata)
    head, end, text = card.read_text(encoding="utf-8").partition("\n---\n")
    if note not in text:
        write_text(card, f"{head}{end}\n{note}\n\n{text.lstrip()}")
