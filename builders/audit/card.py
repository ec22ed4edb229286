"""The section of a data card that an audit writes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builders.audit.learned import IMAGES
from builders.audit.table import HEAD, NONE, WIDTH, figure_text, verdict_text
from builders.audit.verdicts import NOT_CONTESTED, RULES, text_figure
from builders.sidecars import AUDIT, AUDIT_END, HASH_SHOWN
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import between_markers, write_text
from fgvedit.util.words import listed


def check_card(card: Path) -> None:
    """Raises `FGVEditError` where a card is not there, or a marker is there without the other or more than once."""
    if not card.is_file():
        raise FGVEditError(f"--card: there is no file '{card}'; expected a data card, such as a README.md")
    if AUDIT in card.read_text(encoding="utf-8") or AUDIT_END in card.read_text(encoding="utf-8"):
        between_markers(card, "", AUDIT, AUDIT_END, option="--card")


def write_section(card: Path, section: str) -> None:
    """Put a section between a card's markers, which are put at its end where it has none."""
    check_card(card)
    content = card.read_text(encoding="utf-8")
    if AUDIT not in content:
        write_text(card, f"{content.rstrip()}\n\n{AUDIT}\n{AUDIT_END}\n")
    write_text(card, between_markers(card, section, AUDIT, AUDIT_END, option="--card"))


def card_section(report: Mapping[str, Any], command: str) -> str:
    """What a data card says of an audit: kind by kind, what text and images alone reach, and the verdict."""
    lines = [
        "## What can be had without looking",
        "",
        *textwrap.wrap(HEAD, WIDTH),
        "",
        f"Made by `{command}`, of files with the content hash `{report['revision'][:HASH_SHOWN]}`:",
    ]
    for name, split in report["splits"].items():
        lines += ["", f"| {name}: kind | told from | text alone | images alone | verdict |", "|---|---|---|---|---|"]
        lines += [f"| `{kind}` | {' | '.join(_card_cells(kind, one, split))} |" for kind, one in split["kinds"].items()]
    return "\n".join([*lines, "", *(f"- {rule}" for rule in RULES.splitlines())])


def _card_cells(kind: str, one: Mapping[str, Any], split: Mapping[str, Any]) -> list[str]:
    if not one["contest"]:
        return [NONE, NONE, NONE, NOT_CONTESTED]
    contest = split["contests"][one["contest"]]
    against = contest["outside"] if kind in contest["inside"] else contest["inside"]
    names = f"`{against[0]}`" if len(against) == 1 else listed([f"`{name}`" for name in against])
    learned = contest["learned"] or {}
    texts = [figure_text(text_figure(contest)), figure_text(learned.get(IMAGES))]
    return [names, *texts, verdict_text(contest["verdict"], contest["other_ways"])]
