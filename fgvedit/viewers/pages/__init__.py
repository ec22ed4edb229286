"""Pages for the browser: HTML files that need no server and ask for nothing from outside.

A page is a template with its own style and script and those that all pages share (`base.css`, `base.js`). What it
shows is data in JSON, from which its script builds elements with `textContent`, so that no text of a record, a model or
a submission can become markup. Its Content-Security-Policy lets the browser run these very scripts and load files from
beside the page, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from fgvedit.schema import ImageRef
from fgvedit.util.files import write_bytes

HERE = Path(__file__).parent
SUFFIXES = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp", "GIF": "gif", "BMP": "bmp"}  # what browsers show
ORIENTATION = 0x0112  # of EXIF: 1 for a photo to be shown as it is stored
PICTURE = HERE / "picture"  # the style and script, for `html`, of a picture with a box
PLOTLY = "plotly.min.js"
UNSAFE = "'unsafe-inline'"  # Plotly writes its own style elements
PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
<script type="application/json" id="page-data">{data}</script>
{scripts}<script>{script}</script>
</body>
</html>
"""


def html(
    template: Path,
    title: str,
    data: Any,
    scripts: Sequence[str] = (),
    shared: Sequence[Path] = (),
    loads: bool = False,
    plots: bool = False,
) -> str:
    """The page of a template: `x.html`, the body; `x.css` and `x.js` beside it.

    `data`: what the script reads as `pageData`, as JSON; `scripts`: files beside the page that run before its own
    script; `shared`: paths `x` of other `x.css` and `x.js`, of which either may be missing, which come before the
    template's own; `loads`: whether its script loads more scripts from beside the page; `plots`: whether Plotly draws
    on it.
    """
    parts = [HERE / "base", *shared, template]
    style, script = (_joined(parts, suffix) for suffix in (".css", ".js"))
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return PAGE.format(
        policy=_policy(style, script, bool(scripts) or loads, plots),
        title=escaped(title),
        style=style,
        body=template.read_text(encoding="utf-8").strip(),
        data=text,
        scripts="".join(f'<script src="{name}"></script>\n' for name in scripts),
        script=script,
    )


def _joined(parts: Sequence[Path], suffix: str) -> str:
    files = [part.with_suffix(suffix) for part in parts]
    return "".join(file.read_text(encoding="utf-8") for file in files if file.is_file())


def _policy(style: str, script: str, loads: bool, plots: bool) -> str:
    policy = f"default-src 'none'; img-src 'self' file: data: blob:; script-src {_hash(script)}"
    policy += " 'self' file:" if loads else ""
    return f"{policy}; style-src {UNSAFE if plots else _hash(style)}"


def escaped(text: str) -> str:
    """Text as it stands in HTML, within an element or an attribute in double quotes."""
    for mark, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(mark, name)
    return text


def write_plotly(folder: Path) -> None:
    """Put the plotting library beside a page, from the package `plotly`."""
    from plotly.offline import get_plotlyjs

    write_bytes(folder / PLOTLY, get_plotlyjs().encode())


class Images:
    """Images as files beside a page, in its folder `images`, each once.

    They show what models see and boxes are of: the pixels as they are stored (`ImageRef.open`). A photo that its camera
    wants turned is therefore written anew: browsers turn it, on a page opened from a file whatever its style says.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.files: dict[str, dict[str, Any]] = {}
        (out / "images").mkdir(parents=True, exist_ok=True)

    def file(self, image: ImageRef) -> dict[str, Any]:
        """{"file": where the image lies from the page's folder, "width", "height": in pixels}."""
        if image.key not in self.files:
            picture = image.open()
            suffix, data = _suffix(image.data), image.data
            if suffix is None:
                buffer = io.BytesIO()
                picture.save(buffer, "PNG")
                suffix, data = "png", buffer.getvalue()
            path = f"images/{image.key[:20]}.{suffix}"
            write_bytes(self.out / path, data)
            self.files[image.key] = {"file": path, "width": picture.width, "height": picture.height}
        return self.files[image.key]


def _suffix(data: bytes) -> str | None:
    """What a file of these bytes is called; None where no browser shows the image, or shows it turned."""
    image = Image.open(io.BytesIO(data))
    try:
        turned = image.getexif().get(ORIENTATION, 1) != 1
    except Exception:  # Pillow raises many types; what it cannot read, a browser may
        turned = True
    return None if turned else SUFFIXES.get(image.format or "")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
