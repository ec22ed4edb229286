"""The section of a data card that an audit writes."""

from __future__ import annotations

from pathlib import Path

from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import between_markers, write_text

OPEN, CLOSE = "<!-- audit -->", "<!-- /audit -->"


def check_card(card: Path) -> None:
    """Raises `FGVEditError` where a card is not there, or a marker is there without the other or more than once."""
    if not card.is_file():
        raise FGVEditError(f"--card: there is no file '{card}'; expected a data card, such as a README.md")
    if OPEN in card.read_text(encoding="utf-8") or CLOSE in card.read_text(encoding="utf-8"):
        between_markers(card, "", OPEN, CLOSE, option="--card")


def write_section(card: Path, section: str) -> None:
    """Put a section between a card's markers, which are put at its end where it has none."""
    check_card(card)
    content = card.read_text(encoding="utf-8")
    if OPEN not in content:
        write_text(card, f"{content.rstrip()}\n\n{OPEN}\n{CLOSE}\n")
    write_text(card, between_markers(card, section, OPEN, CLOSE, option="--card"))
