"""What somebody typed, and whether it may stand on a page: one plain line, and links that lead where they say."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import urlsplit

from fgvedit.util.errors import FGVEditError

TAG = re.compile(r"<\s*[a-z/!?]", re.IGNORECASE)
# Of Unicode's categories: control, format (which hides text or turns its direction), halves of characters, private,
# unassigned, and separators of lines.
HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
# Blank, by Unicode's Default_Ignorable_Code_Point or by its shape, though of a category of letters, marks or symbols:
# joiners and fillers of Hangul and Khmer, variation selectors, a pattern of Braille without a dot.
BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")


def check_text(text: str, where: str) -> None:
    """Raises `FGVEditError`, which starts with `where`, for markup and for what is not one line of visible text."""
    for index, character in enumerate(text):
        if hidden(character):
            raise FGVEditError(
                f"{where} holds {_named(character)} at character {index + 1}; expected one line without control, "
                "bidirectional or invisible characters"
            )
    if TAG.search(text):
        raise FGVEditError(f"{where} is {text[:60]!r}, which holds markup; expected plain text")
    if text != text.strip():
        raise FGVEditError(f"{where} is {text[:60]!r}; expected no space at its ends")


def hidden(character: str) -> bool:
    """Whether a character cannot be seen, other than a space."""
    return unicodedata.category(character) in HIDDEN or BLANK.match(character) is not None


def check_link(link: str, where: str) -> None:
    """Raises `FGVEditError`, which starts with `where`, for what is not an http or https address of a public host."""
    expected = "expected an address such as https://example.org/page"
    for character in link:
        if not 33 <= ord(character) <= 126 or character in "\\<>\"'`{}|^":
            raise FGVEditError(f"{where} holds {_named(character)}; {expected}, anything else percent-encoded")
    try:
        parts = urlsplit(link)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise FGVEditError(f"{where} is '{link[:60]}', which is no address; {expected}") from None
    if parts.scheme not in ("http", "https"):
        raise FGVEditError(f"{where} is '{link[:60]}'; {expected}, by http or https")
    if "@" in parts.netloc:
        raise FGVEditError(f"{where} holds a user's name or password before its host; {expected}")
    if not host or not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", host):
        raise FGVEditError(f"{where} is '{link[:60]}', whose host is '{host or ''}'; {expected}")


def _named(character: str) -> str:
    return f"U+{ord(character):04X} ({unicodedata.name(character, 'unnamed')})"


def visible(text: str) -> str:
    """One line for a terminal or a log, in which what cannot be seen is written as Python escapes it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
