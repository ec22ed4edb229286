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
}


def picture_html(image: ImageRef, name: str) -> str:
    return img(image.open(), f"The chosen picture, {name}") + f"<p>{escape(name)}</p>"


def answer_html(answer: Answer | None) -> str:
    """The question, the answers before and after, and why; None: nothing was asked yet."""
    if answer is None:
        return '<p class="none">Nothing has been asked yet.</p>'
    asked = "" if answer.query.image else " <small>(without the picture)</small>"
    same = " (the same)" if answer.before == answer.after else ""
    return (
        f'<p class="asked">{quoted(answer.query.question)}{asked}</p>'
        f'<dl class="answers"><div><dt>Before the edits</dt><dd class="before">{escape(answer.before)}</dd></div>'
        f'<div><dt>After the edits{same}</dt><dd class="after">{escape(answer.after)}</dd></div></dl>'
        f"{why_html(answer)}{looks_html(answer)}"
    )


def why_html(answer: Answer) -> str:
    route = answer.route
    rows = [("Route", f"<b>{escape(route.to)}</b>: answered {WHO_ANSWERED[route.to]}")]
    if not answer.edits:
        rows.append(("Stored edits", "none"))
    else:
        rows.append(("rho", "none: this editor compares nothing" if route.rho is None else f"{route.rho:.4f}"))
        if route.edit is not None:
            counted = f"{route.edit + 1}. {edit_html(answer.edits[route.edit])}"
        else:
            counted = "none" if route.to == "base" else "all of them together"
        nearest = route.to == "base" and route.edit is not None
        rows.append(("Most similar edit" if nearest else "Edit that counted", counted))
    return '<dl class="why">' + "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in rows) + "</dl>"


def looks_html(answer: Answer) -> str:
    """Where the router looked; empty for one that does not look at images."""
    if answer.attention is None or answer.route.edit is None:
        return ""
    edit, image = answer.edits[answer.route.edit], answer.query.image
    drawn = heat_map(edit.image.open(), answer.attention.edit, answer.attention.fit)
    figures = [figure(drawn, "where the edit looked", edit_html(edit))]
    if image is not None and answer.attention.query is not None:
        drawn = heat_map(image.open(), answer.attention.query, answer.attention.fit)
        figures.append(figure(drawn, "where the question looked", quoted(answer.query.question)))
    else:
        figures.append("<p>The question was asked without a picture.</p>")
    middle = answer.attention.fit == "shortest"
    cropped = " It sees no more than the middle of a picture; the rest is faded." if middle else ""
    return (
        "<h3>Where the classifier looked</h3>"
        f'<div class="looks">{"".join(figures)}</div><p class="legend">The stronger the colour, the more that part of '
        f"the picture counted for these words, relative to the part that counted most.{cropped}</p>"
    )


def edits_html(edits: Sequence[Edit]) -> str:
    if not edits:
        return '<p class="none">No edit is stored.</p>'
    items = (f"<li>{img(small(edit.image.open()), '')}<span>{edit_html(edit)}</span></li>" for edit in edits)
    return f'<ol class="edits" aria-label="Stored edits">{"".join(items)}</ol>'


def edit_html(edit: Edit) -> str:
    return f"{quoted(edit.question)} → {quoted(edit.target)}"


def figure(image: Image.Image, what: str, caption: str) -> str:
    return f"<figure>{img(image, f'The picture, with colour {what}')}<figcaption>{caption}</figcaption></figure>"


def said_html(sentence: str) -> str:
    return f'<p role="alert">{escape(sentence)}</p>' if sentence else ""


def quoted(text: str) -> str:
    return f"“{escape(text)}”"


def small(image: Image.Image) -> Image.Image:
    image.thumbnail((96, 96))
    return image


def img(image: Image.Image, alt: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/webp;base64,{data}" alt="{escape(alt)}">'
