"""What is seen of an answer and of stored edits, as HTML. Whatever anyone typed, and a model said, is text in it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from fgvedit.schema import Edit, ImageRef
from fgvedit.viewers.demo.heat import heat_map
from fgvedit.viewers.demo.session import Answer

WHO_ANSWERED = {
    "base": "by the unedited model",
    "edited": "by the model with changed weights, layers or prompt",
    "counterfactual": "by a second model that was told the edit",
    "mixed": "by both, the second one's words weighted by rho",
}


def picture_html(image: ImageRef, name: str) -> str:
    """The chosen picture, and what it is called."""
    return _img(image.open(), f"The chosen picture, {name}") + f"<p>{escape(name)}</p>"


def answer_html(answer: Answer | None) -> str:
    """The question, the answers before and after, and why; None: nothing was asked yet."""
    if answer is None:
        return '<p class="none">Nothing has been asked yet.</p>'
    asked = "" if answer.query.image else " <small>(without the picture)</small>"
    same = " (the same)" if answer.before == answer.after else ""
    return (
        f'<p class="asked">{_quoted(answer.query.question)}{asked}</p>'
        f'<dl class="answers"><div><dt>Before the edits</dt><dd class="before">{escape(answer.before)}</dd></div>'
        f'<div><dt>After the edits{same}</dt><dd class="after">{escape(answer.after)}</dd></div></dl>'
        f"{_why(answer)}{_attention(answer)}"
    )


def edits_html(edits: Sequence[Edit]) -> str:
    """The stored edits, numbered, each with its picture."""
    if not edits:
        return '<p class="none">No edit is stored.</p>'
    items = (f"<li>{_img(_small(edit.image.open()), '')}<span>{_edit(edit)}</span></li>" for edit in edits)
    return f'<ol class="edits" aria-label="Stored edits">{"".join(items)}</ol>'


def complaint_html(sentence: str) -> str:
    """Why something was refused, to be read aloud at once; nothing for an empty sentence."""
    return f'<p role="alert">{escape(sentence)}</p>' if sentence else ""


def _why(answer: Answer) -> str:
    route = answer.route
    rows = [("Route", f"<b>{escape(route.to)}</b>: answered {WHO_ANSWERED[route.to]}")]
    if not answer.edits:
        rows.append(("Stored edits", "none"))
    else:
        rows.append(("rho", "none: this editor compares nothing" if route.rho is None else f"{route.rho:.4f}"))
        if route.edit is not None:
            counted = f"{route.edit + 1}. {_edit(answer.edits[route.edit])}"
        else:
            counted = "none" if route.to == "base" else "all of them together"
        nearest = route.to == "base" and route.edit is not None
        rows.append(("Most similar edit" if nearest else "Edit that counted", counted))
    return '<dl class="why">' + "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in rows) + "</dl>"


def _attention(answer: Answer) -> str:
    """Where the classifier attended; empty for an editor whose router reads no image."""
    maps = answer.attention
    if maps is None or answer.route.edit is None:
        return ""
    edit, image = answer.edits[answer.route.edit], answer.query.image
    figures = [_figure(heat_map(edit.image.open(), maps.edit, maps.fit), "the edit", _edit(edit))]
    if image is not None and maps.query is not None:
        drawn = heat_map(image.open(), maps.query, maps.fit)
        figures.append(_figure(drawn, "the question", _quoted(answer.query.question)))
    else:
        figures.append("<p>The question was asked without a picture.</p>")
    cropped = " It sees no more than the middle of a picture; the rest is faded." if maps.fit == "shortest" else ""
    return (
        "<h3>Where the classifier attended</h3>"
        f'<div class="attention">{"".join(figures)}</div><p class="legend">The stronger the colour, the more that part '
        f"of the picture counted for these words, relative to the part that counted most.{cropped}</p>"
    )


def _figure(image: Image.Image, what: str, caption: str) -> str:
    alt = f"The picture, with colour where the classifier attended for {what}"
    return f"<figure>{_img(image, alt)}<figcaption>{caption}</figcaption></figure>"


def _edit(edit: Edit) -> str:
    return f"{_quoted(edit.question)} → {_quoted(edit.target)}"


def _quoted(text: str) -> str:
    return f"“{escape(text)}”"


def _small(image: Image.Image) -> Image.Image:
    image.thumbnail((96, 96))
    return image


def _img(image: Image.Image, alt: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/webp;base64,{data}" alt="{escape(alt)}">'
