"""What a repository is told of: what its author says, and what was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builders.validate.report import Report
from fgvedit.probes import probe_kinds


@dataclass(frozen=True)
class Publication:
    """What the card says of a repository beside its counts. `provenance`: text in Markdown; None: what is said of data
    derived from VQA v2. `licence`: an identifier of the hub's, such as "cc-by-4.0"."""

    repo: str  # owner/name
    title: str
    licence: str
    provenance: str | None
    embed_images: bool


@dataclass(frozen=True)
class Config:
    """One configuration as it was written: its files by split, relative to the repository, and their hash."""

    name: str
    report: Report
    files: Mapping[str, Sequence[str]]
    revision: str
    labels: str | None

    @property
    def kinds(self) -> list[str]:
        """The kinds of its probes, in the order of the registry."""
        splits = self.report.splits.values()
        return [kind for kind in probe_kinds() if any(split.probes[kind] for split in splits)]
