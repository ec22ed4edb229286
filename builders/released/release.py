"""What the paper released: two files of JSON, from a folder or the hub, and what their fields are called."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgvedit.util.errors import FGVEditError, one_line
from fgvedit.util.files import read_json

DATA_SET = "ZhenZeng/FGVEdit"  # on the hub
FILES = {"train": "train_data.json", "test": "test_data.json"}
RECORDS = {"train": 8334, "test": 2778}  # of the paper

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


@dataclass(frozen=True)
class Release:
    """The released files as read: entries of each split, SHA-256 of each file; `revision`: the hub's commit."""

    entries: dict[str, list[Any]]
    hashes: dict[str, str]
    revision: str | None


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
