"""What stands where on the page, in gradio; `page` says what it does. Needs the extra `demo`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from fgvedit.schema import Record
from fgvedit.util.errors import FGVEditError
from fgvedit.viewers.demo.session import MAX_CHARACTERS
from fgvedit.viewers.demo.view import answer_html, edits_html

# Read by gradio: it is to report nothing, and to keep no history of what visitors did in their browsers.
os.environ.update({"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_RUN_HISTORY": "False"})
try:
    import gradio as gr
except ModuleNotFoundError as error:
    raise FGVEditError(
        f"the demo needs the module '{error.name}', which is not installed; expected: pip install 'fgvedit[demo]'"
    ) from error


@dataclass(frozen=True)
class PictureColumn:
    """Where a picture is chosen: the one chosen, those to choose from, an upload, and why it was refused."""

    picture: gr.HTML
    gallery: gr.Gallery
    upload: gr.UploadButton
    complaint: gr.HTML


@dataclass(frozen=True)
class AskColumn:
    """Where a question is asked; `probes`: questions to try; `see`: whether the model sees the picture."""

    question: gr.Textbox
    probes: gr.Dropdown
    see: gr.Checkbox
    ask: gr.Button
    complaint: gr.HTML


@dataclass(frozen=True)
class EditColumn:
    """Where an edit is stored and undone; `edits`: edits to try; `stored`: those in force."""

    question: gr.Textbox
    target: gr.Textbox
    edits: gr.Dropdown
    store: gr.Button
    complaint: gr.HTML
    stored: gr.HTML
    undo: gr.Button
    undo_all: gr.Button


@dataclass(frozen=True)
class Layout:
    """All that a visitor sees below the title."""

    pictures: PictureColumn
    asking: AskColumn
    editing: EditColumn
    answer: gr.HTML


def lay_out(pictures: Sequence[Sequence[Record]]) -> Layout:
    """Place everything on the `gr.Blocks` that is open. `pictures`: the records of each picture of the gallery."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            picture_column = _picture_column(pictures)
        with gr.Column(scale=7, min_width=300):
            with gr.Row(equal_height=False):
                with gr.Column(min_width=290):
                    ask_column = _ask_column()
                with gr.Column(min_width=290):
                    edit_column = _edit_column()
            answer = gr.HTML(answer_html(None), elem_id="answer")
    return Layout(picture_column, ask_column, edit_column, answer)


def _picture_column(pictures: Sequence[Sequence[Record]]) -> PictureColumn:
    gr.HTML("<h2>1. Choose a picture</h2>")
    return PictureColumn(
        picture=gr.HTML(elem_id="picture"),
        gallery=gr.Gallery(
            [(own[0].image.open(), own[0].image.image_id) for own in pictures],
            label="Pictures",
            show_label=False,
            format="png",
            height="auto",
            allow_preview=False,
            buttons=[],
            interactive=False,
            elem_id="gallery",
        ),
        upload=gr.UploadButton("Upload a picture of yours", file_types=["image"], elem_id="upload"),
        complaint=_complaint(),
    )


def _ask_column() -> AskColumn:
    gr.HTML("<h2>2. Ask</h2>")
    with gr.Group():
        question = gr.Textbox(label="Question", max_length=MAX_CHARACTERS, elem_id="question")
        probes = gr.Dropdown([], label="Questions to try", interactive=True, elem_id="probes")
        see = gr.Checkbox(True, label="The model sees the picture", elem_id="see")
    ask = gr.Button("Ask", variant="primary", elem_id="ask")
    return AskColumn(question, probes, see, ask, _complaint())


def _edit_column() -> EditColumn:
    gr.HTML("<h2>3. Edit, and ask again</h2>")
    with gr.Group():
        question = gr.Textbox(label="When asked about the picture", max_length=MAX_CHARACTERS, elem_id="about")
        target = gr.Textbox(label="answer from now on", max_length=MAX_CHARACTERS, elem_id="target")
        edits = gr.Dropdown([], label="Edits to try", interactive=True, elem_id="edits")
    store = gr.Button("Store this edit", variant="primary", elem_id="store")
    complaint = _complaint()
    stored = gr.HTML(edits_html([]), elem_id="stored")
    with gr.Row():
        undo = gr.Button("Undo the last", interactive=False, min_width=120, elem_id="undo")
        undo_all = gr.Button("Undo all", interactive=False, min_width=120, elem_id="undo-all")
    return EditColumn(question, target, edits, store, complaint, stored, undo, undo_all)


def _complaint() -> gr.HTML:
    return gr.HTML(visible=False, elem_classes="said")
