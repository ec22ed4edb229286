"""The page, in gradio: a visitor's `Session` in a state of its own, and what is done to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from fgvedit.schema import ImageRef, Record
from fgvedit.util.errors import FGVEditError
from fgvedit.viewers.demo.session import MAX_BYTES, MAX_CHARACTERS, Answer, Session, SharedModel, uploaded
from fgvedit.viewers.demo.view import answer_html, edits_html, picture_html, said_html

# Read by gradio: it is to report nothing, and to keep no history of what visitors did in their browsers.
os.environ.update({"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_RUN_HISTORY": "False"})
try:
    import gradio as gr
except ModuleNotFoundError as error:
    raise FGVEditError(
        f"the demo needs the module '{error.name}', which is not installed; expected: pip install 'fgvedit[demo]'"
    ) from error

PICTURES = 24  # in the gallery
OTHER_PICTURE = "other_image"  # a probe about another picture is put by choosing that one

# gradio puts a new answer into the same element: what reads the screen aloud has to be told.
READ_ALOUD = "() => { document.querySelector('#answer').setAttribute('aria-live', 'polite'); }"
# On a narrow screen the answer stands below what was pressed.
IN_SIGHT = """() => {
    const answer = document.querySelector("#answer");
    if (answer.getBoundingClientRect().top > innerHeight - 150) answer.scrollIntoView();
}"""


def build(model: SharedModel, records: Sequence[Record]) -> gr.Blocks:
    """The page for a model, with the first pictures of `records` and their edits and questions to choose from."""
    pictures = by_picture(records)
    editor, backbone = model.editor.name, model.editor.backbone.name
    with gr.Blocks(
        title=f"FGVEdit: {editor} on {backbone}", fill_width=True, analytics_enabled=False, delete_cache=(3600, 3600)
    ) as page:
        session = gr.State(Session(model))  # each visitor gets a copy
        image, shown_records = gr.State(), gr.State([])
        gr.HTML(
            f"<h1>FGVEdit</h1><p><b>{escape(editor)}</b> edits <b>{escape(backbone)}</b>: choose a picture, ask about "
            "it, tell the model another answer, and ask again.</p>",
            elem_id="head",
        )
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=300):
                gr.HTML("<h2>1. Choose a picture</h2>")
                picture = gr.HTML(elem_id="picture")
                gallery = gr.Gallery(
                    [(own[0].image.open(), own[0].image.image_id) for own in pictures],
                    label="Pictures",
                    show_label=False,
                    format="png",
                    height="auto",
                    allow_preview=False,
                    buttons=[],
                    interactive=False,
                    elem_id="gallery",
                )
                upload = gr.UploadButton("Upload a picture of yours", file_types=["image"], elem_id="upload")
                said_of_upload = gr.HTML(visible=False, elem_classes="said")
            with gr.Column(scale=7, min_width=300):
                with gr.Row(equal_height=False):
                    with gr.Column(min_width=290):
                        gr.HTML("<h2>2. Ask</h2>")
                        with gr.Group():
                            question = gr.Textbox(label="Question", max_length=MAX_CHARACTERS, elem_id="question")
                            probes = gr.Dropdown([], label="Questions to try", interactive=True, elem_id="probes")
                            see = gr.Checkbox(True, label="The model sees the picture", elem_id="see")
                        ask = gr.Button("Ask", variant="primary", elem_id="ask")
                        said_of_question = gr.HTML(visible=False, elem_classes="said")
                    with gr.Column(min_width=290):
                        gr.HTML("<h2>3. Edit, and ask again</h2>")
                        with gr.Group():
                            about = gr.Textbox(
                                label="When asked about the picture", max_length=MAX_CHARACTERS, elem_id="about"
                            )
                            target = gr.Textbox(label="answer from now on", max_length=MAX_CHARACTERS, elem_id="target")
                            edits = gr.Dropdown([], label="Edits to try", interactive=True, elem_id="edits")
                        store = gr.Button("Store this edit", variant="primary", elem_id="store")
                        said_of_edit = gr.HTML(visible=False, elem_classes="said")
                        stored = gr.HTML(edits_html([]), elem_id="stored")
                        with gr.Row():
                            undo = gr.Button("Undo the last", interactive=False, min_width=120, elem_id="undo")
                            undo_all = gr.Button("Undo all", interactive=False, min_width=120, elem_id="undo-all")
                answer = gr.HTML(answer_html(None), elem_id="answer")

        chosen = [image, shown_records, picture, question, probes, see, about, target, edits, said_of_upload]
        answered = [session, answer, stored, undo, undo_all]

        def choose(event: gr.SelectData) -> list[Any]:
            return of_records(pictures[event.index])

        def take(path: str) -> list[Any]:
            file = Path(path)  # gradio's, which removes it in time: whoever uploads the same is given the same file
            try:
                return of_image(uploaded(file.read_bytes(), file.name), file.name)
            except FGVEditError as refused:
                return [gr.skip()] * (len(chosen) - 1) + [said(str(refused))]

        def ask_of(session: Session, image: ImageRef, question: str, see: bool) -> list[Any]:
            return done(session, lambda: session.ask(question, image if see else None))

        def edit_of(session: Session, image: ImageRef, about: str, target: str) -> list[Any]:
            return done(session, lambda: session.edit(about, target, image))

        def undo_of(session: Session) -> list[Any]:
            return done(session, session.undo)

        def undo_all_of(session: Session) -> list[Any]:
            return done(session, session.undo_all)

        page.load(lambda: of_records(pictures[0]), None, chosen, api_visibility="private")
        page.load(None, js=READ_ALOUD, api_visibility="private")
        gallery.select(choose, None, chosen, api_visibility="private")
        upload.upload(take, upload, chosen, api_visibility="private")
        probes.input(probe_texts, [shown_records, probes], [question, see], api_visibility="private")
        edits.input(edit_texts, [shown_records, edits], [about, target], api_visibility="private")
        for triggers, does, given, complaint in (
            ([ask.click, question.submit], ask_of, [session, image, question, see], said_of_question),
            ([store.click, about.submit, target.submit], edit_of, [session, image, about, target], said_of_edit),
            ([undo.click], undo_of, [session], said_of_edit),
            ([undo_all.click], undo_all_of, [session], said_of_edit),
        ):
            gr.on(
                triggers,
                does,
                given,
                [*answered, complaint],
                show_progress_on=answer,
                concurrency_id="model",
                concurrency_limit=1,
                api_visibility="private",
            ).then(None, js=IN_SIGHT, api_visibility="private")
    return page


def serve(page: gr.Blocks, host: str, port: int | None) -> str:
    """Serve the page from a thread, and give its address; `port` None: the first free one from 7860.

    Raises `FGVEditError` where nothing can listen there.
    """
    theme = gr.themes.Default(
        primary_hue="blue",
        font=[gr.themes.Font("system-ui"), gr.themes.Font("sans-serif")],  # as a text, a font may be fetched
        font_mono=[gr.themes.Font("ui-monospace"), gr.themes.Font("monospace")],
    ).set(
        # the theme's own are too pale to read
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_300",
    )
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            ssr_mode=False,
            mcp_server=False,
            enable_monitoring=False,
            footer_links=[],
            max_file_size=MAX_BYTES,
            theme=theme,
            css_paths=Path(__file__).parent / "page.css",
            inline=False,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        where = f"port {port} of '{host}'" if port else f"'{host}'"
        raise FGVEditError(
            f"nothing can listen on {where}: expected a --host of this machine and a --port that is free"
        ) from error
    return address


def by_picture(records: Sequence[Record]) -> list[list[Record]]:
    """The records of each of the first pictures, which stand together in a data set."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.image.key not in found and len(found) == PICTURES:
            break
        found.setdefault(record.image.key, []).append(record)
    return list(found.values())


# Each gives what `chosen` holds in `build`: picture, questions and edits to try, and no complaint.


def of_records(records: list[Record]) -> list[Any]:
    first = records[0]
    probes = [(f"{kind}: {question}", number) for number, (kind, question, _) in enumerate(questions(records))]
    edits = [(f"{record.question} → {record.target}", number) for number, record in enumerate(records)]
    return [
        first.image,
        records,
        picture_html(first.image, first.image.image_id),
        first.question,
        gr.Dropdown(probes, value=None, visible=True),
        True,
        first.question,
        first.target,
        gr.Dropdown(edits, value=None, visible=True),
        said(""),
    ]


def of_image(image: ImageRef, name: str) -> list[Any]:
    none = gr.Dropdown([], value=None, visible=False)
    return [image, [], picture_html(image, name), "", none, True, "", "", none, said("")]


def questions(records: Sequence[Record]) -> list[tuple[str, str, bool]]:
    """The questions that records come with: kind, question, and whether the model sees the picture."""
    found = []
    for record in records:
        found.append(("the edit", record.question, True))
        found += [(p.kind, p.question, p.image is not None) for p in record.probes if p.kind != OTHER_PICTURE]
    return found


def probe_texts(records: list[Record], number: int) -> list[Any]:
    _, question, see = questions(records)[number]
    return [question, see]


def edit_texts(records: list[Record], number: int) -> list[Any]:
    return [records[number].question, records[number].target]


def done(session: Session, change: Callable[[], Answer | None]) -> list[Any]:
    """What `answered` holds in `build` after `change`, and the complaint where it could not be made."""
    try:
        answer: Any = answer_html(change())
        complaint = ""
    except FGVEditError as refused:
        answer, complaint = gr.skip(), str(refused)
    some = bool(session.edits)
    buttons = [gr.Button(interactive=some), gr.Button(interactive=some)]
    return [session, answer, edits_html(session.edits), *buttons, said(complaint)]


def said(sentence: str) -> gr.HTML:
    return gr.HTML(said_html(sentence), visible=bool(sentence))
