"""What an editor learned from before it is given an edit, in the words that stand beside its name wherever editors are
compared. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fgvedit.util.errors import FGVEditError

NONE, PAPERS_KINDS, WITH_BOXES, ALL_KINDS = "none", "paper's kinds", "paper's kinds, boxes", "all kinds"
SUPERVISION = {  # each with what it means
    NONE: "nothing is trained beforehand; what is learned is learned from the edit alone",
    PAPERS_KINDS: "trained on edits of the train split and their probes of the paper's kinds, or of some of these: "
    "rephrase, in scope and out of scope (hard or worded), text locality",
    WITH_BOXES: f"as {PAPERS_KINDS}, and the CLIP it begins with was taught which part of a picture a phrase names",
    ALL_KINDS: "trained on edits of the train split and their probes of every kind",
}


def supervision_of(manifest: Mapping[str, Any]) -> str:
    """What a run's editor learned from; "" where the manifest was written before they said it."""
    return manifest["editor"].get("supervision", "")


def checked_supervision(found: Any, of: str) -> str:
    """`found`, where it is one of `SUPERVISION`. Raises `FGVEditError` where it is not; `of`: what says it."""
    if not isinstance(found, str) or found not in SUPERVISION:
        expected = ", ".join(f'"{word}"' for word in SUPERVISION)
        raise FGVEditError(f"{of} is {found!r}; expected one of {expected}")
    return found
