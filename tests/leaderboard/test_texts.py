"""What somebody typed: plain lines and links that lead where they say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fgvedit.util.errors import FGVEditError
from leaderboard.texts import check_link, check_text

TEXTS = [
    ("<script>alert(1)</script>", "name is '<script>.*markup"),
    ("< IMG src=x>", "markup"),
    ("</p>", "markup"),
    (" spaced", "expected no space at its ends"),
    ("two\nlines", r"name holds U\+000A"),
    ("a\x1b[31mred", r"name holds U\+001B"),
    ("abc\u202edef", r"name holds U\+202E \(RIGHT-TO-LEFT OVERRIDE\) at character 4"),
    ("zero\u200bwidth", r"name holds U\+200B \(ZERO WIDTH SPACE\)"),
    ("half\ud800", r"name holds U\+D800"),
    ("\u3164", r"name holds U\+3164 \(HANGUL FILLER\)"),
    ("\u2800\u2800", r"name holds U\+2800"),
    ("tw\u034fin", r"name holds U\+034F"),
    ("twin\ufe0f", r"name holds U\+FE0F"),
    ("twin\U000e0101", r"name holds U\+E0101"),
]
OTHER_SCHEMES = ("JavaScript://example.org/%0aalert(1)", "data:text/html,x", "file:///etc/passwd", "//example.org")
LINKS = [
    ("javascript:alert(1)", r"link is 'javascript:alert\(1\)'; expected an address"),
    *((link, "by http or https") for link in (*OTHER_SCHEMES, "example.org")),
    ("https://", "whose host is ''"),
    ("https://localhost/x", "whose host is 'localhost'"),
    ("https://user:secret@example.org", "holds a user's name or password"),
    ("https://example.org/a b", r"link holds U\+0020 \(SPACE\)"),
    ("https://example.org/\u202e", r"link holds U\+202E"),
    ("https://exаmple.org", r"link holds U\+0430 \(CYRILLIC SMALL LETTER A\)"),
    ('https://example.org/"onclick="x', r"link holds U\+0022"),
    ("https://example.org/\njavascript:x", r"link holds U\+000A"),
    ("https://example.org:99999", "which is no address"),
    ("https://[::1", "link holds U|no address"),
]


@pytest.mark.parametrize(
    ("check", "where", "text", "sentence"),
    [*((check_text, "name", *case) for case in TEXTS), *((check_link, "link", *case) for case in LINKS)],
)
def test_what_is_not_one_plain_line_or_leads_elsewhere_is_refused(
    check: Callable[[str, str], None], where: str, text: str, sentence: str
):
    with pytest.raises(FGVEditError, match=sentence):
        check(text, where)


def test_plain_lines_and_addresses_pass():
    for text in ("MSCKE", "Édition à l'œil", "编辑器 α<β", "rho < 0.5 & more", "=1+1", 'O\'Brien "x"'):
        check_text(text, "name")
    for link in ("https://example.org/code", "http://a.example.org:8080/?q=%20#x"):
        check_link(link, "link")
