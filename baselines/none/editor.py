"""The editor that does nothing. Whatever it scores is the score of not editing at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fgvedit.editors.contract import EditedModel, Editor, unedited
from fgvedit.schema import Edit


class NoEdit(Editor):
    """Leaves the base model as it is."""

    name = "none"
    control = True

    @dataclass(frozen=True)
    class Config:
        """No options."""

    @property
    def trained_parameters(self) -> int:
        """0: nothing is trained."""
        return 0

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        """The base model, whatever the edits."""
        yield unedited(self.backbone)
