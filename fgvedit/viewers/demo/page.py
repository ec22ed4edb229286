"""The page, in gradio: a visitor's `Session` in a state of its own, and what is done to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from fgvedit.probes import kind_of
from fgvedit.schema import ImageRef, Record
from fgvedit.util.errors import FGVEditError
from fgvedit.viewers.demo.layout import Layout, gr, lay_out
from fgvedit.viewers.demo.session import MAX_BYTES, Answer, Session, SharedModel, uploaded
from fgvedit.viewers.demo.view import answer_html, complaint_html, edits_html, picture_html

PICTURES = 24  # in the gallery

# gradio puts a new answer into the same element: what reads the screen aloud has to be told.
READ_ALOUD = "() => { document.querySelector('#answer').setAttribute('aria-live', 'polite'); }"
# On a narrow screen the answer stands below what was pressed.
IN_SIGHT = """() => {
    const answer = document.querySelector("#answer");
    if (answer.getBoundingClientRect().top > innerHeight - 150) answer.scrollIntoView();
}"""
READABLE = {  # the theme's own colours are too pale to read
    "button_primary_background_fill": "*primary_700",
    "button_primary_background_fill_hover": "*primary_800",
    "body_text_color_subdued": "*neutral_600",
    "body_text_color_subdued_dark": "*neutral_300",
    "block_title_text_color": "*neutral_600",
    "block_title_text_color_dark": "*neutral_300",
}
PRIVATE: dict[str, Any] = {"api_visibility": "private"}  # the page is for people: no event of it is an API
ALONE: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1, **PRIVATE}  # one question at a time


def build(model: SharedModel, records: Sequence[Record]) -> gr.Blocks:
    """The page for a model, with the first pictures of `records` and their edits and questions to choose from."""
    pictures = _by_picture(records)
    editor, backbone = model.editor.name, model.editor.backbone.name
    with gr.Blocks(
        title=f"FGVEdit: {editor} on {backbone}", fill_width=True, analytics_enabled=False, delete_cache=(3600, 3600)
    ) as page:
        session = gr.State(Session(model))  # each visitor gets a copy
        image = gr.State()
        gr.HTML(
            f"<h1>FGVEdit</h1><p><b>{escape(editor)}</b> edits <b>{escape(backbone)}</b>: choose a picture, ask about "
            "it, tell the model another answer, and ask again.</p>",
            elem_id="head",
        )
        shown = lay_out(pictures)
        _on_choosing(page, shown, image, pictures)
        _on_asking_and_editing(shown, session, image)
        page.load(None, js=READ_ALOUD, **PRIVATE)
    return page


def serve(page: gr.Blocks, host: str, port: int | None) -> str:
    """Serve the page from a thread, and give its address; `port` None: the first free one from 7860.

    Raises `FGVEditError` where nothing can listen there.
    """
    theme = gr.themes.Default(
        primary_hue="blue",
        font=[gr.themes.Font("system-ui"), gr.themes.Font("sans-serif")],  # as a text, a font may be fetched
        font_mono=[gr.themes.Font("ui-monospace"), gr.themes.Font("monospace")],
    ).set(**READABLE)
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


def _by_picture(records: Sequence[Record]) -> list[list[Record]]:
    """The records of each of the first pictures, which stand together in a data set."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.image.key not in found and len(found) == PICTURES:
            break
        found.setdefault(record.image.key, []).append(record)
    return list(found.values())


# -- choosing a picture, and from its questions and edits --------------------------------------------------------------


def _on_choosing(page: gr.Blocks, shown: Layout, image: gr.State, pictures: list[list[Record]]) -> None:
    records = gr.State([])  # those of the picture
    column, asking, editing = shown.pictures, shown.asking, shown.editing
    chosen = [image, records, column.picture, asking.question, asking.probes, asking.see]
    chosen += [editing.question, editing.target, editing.edits, column.complaint]

    def choose(event: gr.SelectData) -> list[Any]:
        return _of_records(pictures[event.index])

    def take(path: str) -> list[Any]:
        file = Path(path)  # gradio's, which removes it in time: whoever uploads the same is given the same file
        try:
            return _of_image(uploaded(file.read_bytes(), file.name), file.name)
        except FGVEditError as refused:
            return [gr.skip()] * (len(chosen) - 1) + [_complaint(str(refused))]

    page.load(lambda: _of_records(pictures[0]), None, chosen, **PRIVATE)
    column.gallery.select(choose, None, chosen, **PRIVATE)
    column.upload.upload(take, column.upload, chosen, **PRIVATE)
    asking.probes.input(_probe_texts, [records, asking.probes], [asking.question, asking.see], **PRIVATE)
    editing.edits.input(_edit_texts, [records, editing.edits], [editing.question, editing.target], **PRIVATE)


# Each of these two gives what `chosen` holds in `_on_choosing`: picture, questions and edits to try, and no complaint.


def _of_records(records: list[Record]) -> list[Any]:
    first = records[0]
    probes = [(f"{kind}: {question}", number) for number, (kind, question, _) in enumerate(_questions(records))]
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
        _complaint(""),
    ]


def _of_image(image: ImageRef, name: str) -> list[Any]:
    none = gr.Dropdown([], value=None, visible=False)
    return [image, [], picture_html(image, name), "", none, True, "", "", none, _complaint("")]


def _questions(records: Sequence[Record]) -> list[tuple[str, str, bool]]:
    """The questions that records come with: kind, question, and whether the model sees the picture. One about another
    picture is put by choosing that one."""
    found = []
    for record in records:
        found.append(("the edit", record.question, True))
        own = [probe for probe in record.probes if kind_of(probe.kind).image != "other"]
        found += [(probe.kind, probe.question, probe.image is not None) for probe in own]
    return found


def _probe_texts(records: list[Record], number: int) -> list[Any]:
    _, question, see = _questions(records)[number]
    return [question, see]


def _edit_texts(records: list[Record], number: int) -> list[Any]:
    return [records[number].question, records[number].target]


# -- asking, editing, undoing ------------------------------------------------------------------------------------------


def _on_asking_and_editing(shown: Layout, session: gr.State, image: gr.State) -> None:
    asking, editing = shown.asking, shown.editing
    answered = [session, shown.answer, editing.stored, editing.undo, editing.undo_all]

    def ask(session: Session, image: ImageRef, question: str, see: bool) -> list[Any]:
        return _done(session, lambda: session.ask(question, image if see else None))

    def edit(session: Session, image: ImageRef, question: str, target: str) -> list[Any]:
        return _done(session, lambda: session.edit(question, target, image))

    def undo(session: Session) -> list[Any]:
        return _done(session, session.undo)

    def undo_all(session: Session) -> list[Any]:
        return _done(session, session.undo_all)

    to_ask = [session, image, asking.question, asking.see]
    to_edit = [session, image, editing.question, editing.target]
    to_store = [editing.store.click, editing.question.submit, editing.target.submit]
    for triggers, does, given, complaint in (
        ([asking.ask.click, asking.question.submit], ask, to_ask, asking.complaint),
        (to_store, edit, to_edit, editing.complaint),
        ([editing.undo.click], undo, [session], editing.complaint),
        ([editing.undo_all.click], undo_all, [session], editing.complaint),
    ):
        event = gr.on(triggers, does, given, [*answered, complaint], show_progress_on=shown.answer, **ALONE)
        event.then(None, js=IN_SIGHT, **PRIVATE)


def _done(session: Session, change: Callable[[], Answer | None]) -> list[Any]:
    """What `answered` holds in `_on_asking_and_editing` after `change`, and the complaint where it was refused."""
    try:
        answer: Any = answer_html(change())
        complaint = ""
    except FGVEditError as refused:
        answer, complaint = gr.skip(), str(refused)
    some = bool(session.edits)
    buttons = [gr.Button(interactive=some), gr.Button(interactive=some)]
    return [session, answer, edits_html(session.edits), *buttons, _complaint(complaint)]


def _complaint(sentence: str) -> gr.HTML:
    return gr.HTML(complaint_html(sentence), visible=bool(sentence))
