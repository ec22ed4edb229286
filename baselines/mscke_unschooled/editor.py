"""MSCKE as it is, on a CLIP that was not taught which part of a picture a phrase names."""

from __future__ import annotations

from dataclasses import dataclass

from fgvedit.editors.mscke.editor import MSCKE


class UnschooledMSCKE(MSCKE):
    """The paper's editor in all but what it starts from: `tiny-clip` as it was before its second stage."""

    name = "mscke-unschooled"

    @dataclass(frozen=True, kw_only=True)
    class Config(MSCKE.Config):
        """MSCKE's."""

        clip: str = "tiny-clip-unschooled"
        clip_weights: str = ""
