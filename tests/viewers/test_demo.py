"""The demo without a browser: sessions, uploads, what is drawn, and the command."""

from __future__ import annotations

import copy
import io
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import torch
from dummy import Drawn, InPrompt
from edits import bits_kept
from pages import SCRIPT
from PIL import Image
from rows import image_ref, png

from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone
from fgvedit.cli.demo import main
from fgvedit.editors.contract import AttentionMaps, EditedModel, Editor, Route, unedited
from fgvedit.schema import Edit
from fgvedit.util.errors import FGVEditError
from fgvedit.viewers.demo import session as limits
from fgvedit.viewers.demo.heat import COLOUR, FADED, LONGEST, STRONGEST, heat_map
from fgvedit.viewers.demo.session import Answer, Session, SharedModel, uploaded
from fgvedit.viewers.demo.view import answer_html, complaint_html, edits_html
from fgvedit.viewers.pages.fit import area

# -- sessions ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def session(backbone: Backbone) -> Session:
    return Session(SharedModel(InPrompt(backbone, InPrompt.Config())))


def test_ask_edit_ask_undo(session: Session, backbone: Backbone) -> None:
    image, question = image_ref(0), "What colour is the card?"
    (base,) = backbone.generate([Query(question, image)])
    first = session.ask(question, image)
    assert (first.before, first.after, first.route, first.attention) == (base, base, Route("base"), None)

    edited = session.edit("Which  colour? ", " blue", image)
    assert session.edits == [Edit(image, "Which colour?", "blue")]
    assert edited.query == Query(question, image)  # what was asked last is asked again
    prompt = "New Fact: Which colour? blue\n" + backbone.prompt(question)
    assert edited.after == backbone.complete([prompt], [image], 10)[0] != base
    assert (edited.before, edited.route) == (base, Route("edited", 0, 0.75))

    other = session.ask(question, image_ref(1))
    assert (other.after, other.route) == (other.before, Route("base", 0, 0.25))
    assert session.ask("What?", None).route.to == "base"

    session.ask(question, image)
    session.edit("Another?", "red", image)
    assert [edit.target for edit in session.edits] == ["blue", "red"]
    undone = session.undo()
    assert undone is not None and undone.after == edited.after
    assert [edit.target for edit in session.edits] == ["blue"]
    clean = session.undo_all()
    assert clean is not None and (clean.before, clean.after, clean.route, clean.edits) == (
        base,
        base,
        Route("base"),
        (),
    )
    assert session.edits == []


def test_an_edit_before_any_question_is_asked_about(session: Session) -> None:
    assert session.undo() is None and session.undo_all() is None
    answer = session.edit("Which colour?", "blue", image_ref(0))
    assert answer.query.question == "Which colour?" and answer.query.image == session.edits[0].image
    assert answer.route.to == "edited"


def test_the_base_is_there_again_bit_for_bit(backbone: Backbone) -> None:
    session = Session(SharedModel(Drawn(backbone, Drawn.Config(scale=1.0))))
    with bits_kept(backbone):
        base = session.ask("Which colour?", image_ref(0))
        first = session.edit("Which colour?", "blue", image_ref(0))
        again = session.ask("Which colour?", image_ref(0))
        assert first.after == again.after  # whatever is drawn, is drawn in the same way
        assert first.after != base.after
        undone = session.undo()
        assert undone is not None and undone.after == base.after


def test_sessions_do_not_see_each_other(session: Session) -> None:
    other = copy.deepcopy(session)
    assert other.model is session.model
    session.edit("Which colour?", "blue", image_ref(0))
    assert other.edits == [] and other.asked is None
    assert other.ask("Which colour?", image_ref(0)).edits == ()
    assert session.ask("Which colour?", image_ref(0)).route.to == "edited"


def test_nothing_is_kept_of_an_answer(session: Session, backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    generate, asked = backbone.generate, []

    def counted(queries: Sequence[Query], *rest: Any) -> list[str]:
        asked.append(queries)
        return generate(queries, *rest)

    monkeypatch.setattr(backbone, "generate", counted)
    session.edit("Which colour?", "blue", image_ref(0))
    for _ in range(2):
        asked.clear()
        answer = session.ask("What?", None)
        assert asked == [[answer.query]] and answer.before == answer.after  # once for both
        session.ask("Something else?", None)


@dataclass(frozen=True)
class NoConfig:
    pass


class Narrow(Editor):
    """Counts who is inside, and cannot make an edit to `impossible`."""

    name = "narrow"
    Config = NoConfig
    inside = 0
    most = 0

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        if edits[-1].target == "impossible":
            raise FGVEditError("this cannot be")
        self.inside += 1
        self.most = max(self.most, self.inside)
        yield unedited(self.backbone)
        self.inside -= 1


def test_one_question_at_a_time(backbone: Backbone) -> None:
    model = SharedModel(Narrow(backbone, NoConfig()))
    sessions = [Session(model) for _ in range(4)]
    threads = [
        threading.Thread(target=session.edit, args=(f"Question {number}?", "blue", image_ref(number)))
        for number, session in enumerate(sessions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(session.edits) for session in sessions] == [1] * 4
    assert model.editor.most == 1  # type: ignore[attr-defined]


def test_an_edit_that_cannot_be_made_is_not_stored(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(SharedModel(Narrow(backbone, NoConfig())))
    session.edit("Which colour?", "blue", image_ref(0))
    monkeypatch.setattr(limits, "MAX_EDITS", 2)
    for question, target, expected in (
        ("Which colour?", "impossible", "this cannot be"),
        (" ", "blue", "the question is empty"),
        ("Which colour?", "\n", "the answer is empty"),
        ("w" * 301, "blue", "the question has 301 characters; expected at most 300"),
        ("why? " * 60, "blue", "expected at most 128"),  # tokens of the model
    ):
        session.asked = None
        with pytest.raises(FGVEditError, match=expected):
            session.edit(question, target, image_ref(0))
        assert len(session.edits) == 1 and session.asked is None
    session.edit("Which colour?", "blue", image_ref(0))
    with pytest.raises(FGVEditError, match="expected at most"):
        session.edit("Which colour?", "blue", image_ref(0))


# -- uploads -----------------------------------------------------------------------------------------------------------


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_an_upload_is_rgb_turned_and_no_larger_than_needed() -> None:
    tall = Image.new("RGBA", (100, 3200), (10, 20, 30, 255))
    small = uploaded(encoded(tall), "tall.png").open()
    assert (small.size, small.mode, small.getpixel((0, 0))) == ((50, 1600), "RGB", (10, 20, 30))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    turned = uploaded(encoded(Image.new("RGB", (40, 20)), "JPEG", exif=exif), "photo.jpg")
    assert turned.open().size == (20, 40)
    assert not Image.open(io.BytesIO(turned.data)).getexif()
    assert uploaded(png(), "a.png").image_id == uploaded(png(), "b.png").image_id != turned.image_id


@pytest.mark.parametrize("data", [b"", b"I am no image", png()[:60], encoded(Image.new("P", (4, 4)), "GIF")])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(FGVEditError, match=r"^'notes.png' is no image that can be read; expected a whole PNG, JPEG or"):
        uploaded(data, "notes.png")


def test_an_upload_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = encoded(Image.new("1", (10_000, 6_000)))  # a few thousand bytes
    with pytest.raises(FGVEditError, match=r"'wide.png' has 60,000,000 pixels; expected at most 50,000,000"):
        uploaded(wide, "wide.png")
    monkeypatch.setattr(limits, "MAX_BYTES", 10)
    with pytest.raises(FGVEditError, match=r"'a.png' has \d+ bytes; expected at most 10"):
        uploaded(png(), "a.png")


# -- what is drawn and shown -------------------------------------------------------------------------------------------


def test_heat_map_pixels() -> None:
    image = Image.new("RGB", (20, 10), (90, 90, 90))
    drawn = heat_map(image, torch.tensor([[0.0, 0.2], [0.4, 0.4]]))
    assert drawn.size == (LONGEST, LONGEST // 2)
    for (column, row), share in {(0, 0): 0, (1, 0): 0.5, (0, 1): 1, (1, 1): 1}.items():
        cover = STRONGEST * share
        expected = [(1 - cover) * 90 + cover * value for value in COLOUR]
        for inside in (2, 118):  # the edges of parts are sharp
            found = drawn.getpixel((column * 240 + 2 * inside, row * 120 + inside))
            assert found == pytest.approx(expected, abs=2)


def test_what_a_cropping_classifier_did_not_see_is_faded() -> None:
    image = Image.new("RGB", (20, 10), (90, 90, 90))
    drawn = heat_map(image, torch.tensor([[1.0]]), "shortest")
    seen = [(1 - STRONGEST) * 90 + STRONGEST * value for value in COLOUR]
    unseen = [(1 - FADED) * 90 + FADED * 255] * 3
    for x, expected in {0: unseen, 119: unseen, 120: seen, 359: seen, 360: unseen}.items():
        assert drawn.getpixel((x, 100)) == pytest.approx(expected, abs=2)
    assert area(10, 20, "squash") == (0, 0, 10, 20)
    assert area(10, 20, "shortest") == (0, 5, 10, 10)
    assert area(10, 20, "longest") == (-5, 0, 20, 20)
    bordered = heat_map(image, torch.tensor([[1.0, 0.0], [0.0, 0.0]]), "longest")  # a square of 480, above it a border
    assert bordered.getpixel((100, 100)) == pytest.approx(seen, abs=2)
    assert bordered.getpixel((100, 130)) == (90, 90, 90)


def test_texts_are_text() -> None:
    edit = Edit(image_ref(0), SCRIPT, SCRIPT)
    maps = AttentionMaps(torch.ones(2, 2), torch.ones(2, 2))
    answer = Answer(Query(SCRIPT, image_ref(0)), (edit,), SCRIPT, SCRIPT, Route("edited", 0, 0.5), maps)
    for html in (answer_html(answer), edits_html([edit]), complaint_html(SCRIPT)):
        assert "&lt;script&gt;" in html and "<script" not in html and "src=x" not in html.replace("&lt;img src=x", "")


def test_why_is_said() -> None:
    edits = tuple(Edit(image_ref(0), f"Question {number}?", "blue") for number in range(2))

    def said(route: Route, edits: tuple[Edit, ...] = edits) -> str:
        answer = Answer(Query("What?", None), edits, "red", "blue", route)
        return re.sub(r"<[^>]*>+", " ", answer_html(answer))

    assert "by the unedited model" in said(Route("base"), ()) and "rho" not in said(Route("base"), ())
    near = said(Route("base", 1, 0.25))
    assert "Most similar edit  2. “Question 1?” → “blue”" in near and "0.2500" in near and "attended" not in near
    assert "Edit that counted  1. “Question 0?”" in said(Route("counterfactual", 0, 1.0))
    both = said(Route("mixed", 0, 0.75))
    assert "by both, the second one's words weighted by rho" in both and "0.7500" in both
    assert "compares nothing" in said(Route("edited")) and "all of them together" in said(Route("edited"))
    assert "Edit that counted  none" in said(Route("base"))


# -- the command line --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--port", "0"], "--port is 0; expected 1 to 65535"),
        (["--dtype", "float61"], "unknown dtype"),
        (["--set", "lr"], "--set: found 'lr'"),
    ],
)
def test_bad_options(arguments: list[str], expected: str) -> None:
    with pytest.raises(FGVEditError, match=expected):
        main(arguments)


def test_without_gradio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    monkeypatch.setitem(sys.modules, "gradio", None)
    for module in ("page", "layout"):
        monkeypatch.delitem(sys.modules, f"fgvedit.viewers.demo.{module}", raising=False)
    with pytest.raises(FGVEditError) as caught:
        main([])
    assert str(caught.value) == (
        "the demo needs the module 'gradio', which is not installed; expected: pip install 'fgvedit[demo]'"
    )


def test_the_command_serves_the_page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    gradio = pytest.importorskip("gradio", reason="needs the extra 'demo'")
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    served = []

    def visit(page: Any) -> None:
        served.extend([urlopen(page.local_url).status, page.server_name, Path(os.environ["GRADIO_TEMP_DIR"])])
        page.close(verbose=False)

    monkeypatch.setattr(gradio.Blocks, "block_thread", visit)
    main(["--editor", "none"])
    status, host, folder = served
    assert (status, host) == (200, "127.0.0.1") and not folder.exists()
    assert re.fullmatch(r"none on tiny: http://127\.0\.0\.1:\d+/ \(Ctrl\+C ends it\)\n", capsys.readouterr().out)
