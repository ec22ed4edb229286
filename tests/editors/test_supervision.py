"""What editors say that they learned from beforehand, and what the docs say of it."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest
from dummy import Drawn

from fgvedit.editors.memory.clip import SHIPPED, TAUGHT_WITH_BOXES
from fgvedit.editors.registry import ENTRY_POINTS, editor_class
from fgvedit.editors.supervision import SUPERVISION, checked_supervision
from fgvedit.util.errors import FGVEditError

DOCS = Path(__file__).parents[2] / "docs" / "baselines.md"


def test_what_is_not_trained_learned_from_nothing_and_anyone_may_say_otherwise(backbone):
    class Trained(Drawn):
        trained = True

    class Told(Trained):
        supervision = "all kinds"

    said = [kind(backbone, kind.Config()).supervision for kind in (Drawn, Trained, Told)]
    assert said == ["none", "paper's kinds", "all kinds"]


@pytest.mark.parametrize("taught", TAUGHT_WITH_BOXES)
def test_msckes_word_is_of_its_clip_however_that_is_named(build, taught):
    assert build().supervision == "paper's kinds"
    assert build(clip=taught).supervision == "paper's kinds, boxes"
    assert build(clip=str(SHIPPED / taught / ".." / taught)).supervision == "paper's kinds, boxes"


@pytest.mark.parametrize("found", ["paper", "", None, ["none"]])
def test_another_word_is_refused_with_those_that_there_are(found):
    with pytest.raises(FGVEditError, match=r"mine is .*; expected one of \"none\", \"paper's kinds\", .*\"all kinds\""):
        checked_supervision(found, "mine")


def test_the_docs_have_every_word_and_every_editor():
    section = DOCS.read_text(encoding="utf-8").partition("## What each learned from")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    assert [(word, meaning) for word, meaning, _ in lines] == list(SUPERVISION.items())
    for point in entry_points(group=ENTRY_POINTS):
        kind = editor_class(point.name)
        words = {word for word, _, editors in lines if f"`{kind.name}`" in editors}
        assert words and ("none" not in words) == kind.trained
