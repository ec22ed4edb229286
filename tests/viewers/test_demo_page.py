"""The demo's page in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import DESKTOP, PHONE, SCRIPT, Opened
from rows import make_row, png

from fgvedit.backbones import open_backbone
from fgvedit.dataset import load_records
from fgvedit.editors.registry import open_editor
from fgvedit.schema import record_from_row
from fgvedit.util.errors import FGVEditError
from fgvedit.viewers.demo.session import SharedModel


class Visit(Opened):
    """The page of a server, in a profile of its own."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        self.url = url
        self.context = browser.new_context(**context)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.open()
        self.tab.set_default_timeout(20_000)
        self.tab.locator("#picture img").wait_for()

    def close(self) -> None:
        self.context.close()
        assert self.complaints == []
        assert all(url.startswith((self.url, "blob:", "data:")) for url in self.requests), "it asked elsewhere"

    def box(self, name: str) -> Any:
        return self.tab.locator(f"#{name} :is(input, textarea)").first

    def click(self, name: str) -> None:
        self.tab.get_by_role("button", name=name, exact=True).click()

    def holds(self, name: str, text: str) -> None:
        self.tab.wait_for_function("([box, text]) => box.value === text", arg=[self.box(name).element_handle(), text])

    def shows(self, where: str, text: str) -> None:
        self.tab.locator(where).get_by_text(text).first.wait_for()

    def ask(self, question: str) -> None:
        self.box("question").fill(question)
        self.click("Ask")
        self.shows("#answer .asked", question)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page of MSCKE on `tiny`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        pytest.importorskip("gradio", reason="needs the extra 'demo'")
        from fgvedit.viewers.demo.page import build, serve

        records = [load_records("scenes").records[index] for index in range(6)]
        hostile = make_row(7, question=f"What {SCRIPT}?", target=SCRIPT, image_id=SCRIPT)
        hostile["probes"] = []
        page = build(SharedModel(open_editor("mscke", open_backbone("tiny"))), [*records, record_from_row(hostile)])
        yield serve(page, "127.0.0.1", None)
        page.close(verbose=False)


@pytest.fixture
def visit(browser: Any, url: str) -> Iterator[Visit]:
    visit = Visit(browser, url, viewport=DESKTOP)
    yield visit
    visit.close()


def test_ask_edit_ask_again_undo(visit: Visit) -> None:
    record = load_records("scenes").records[2]
    visit.tab.get_by_role("button", name="Thumbnail 2 of 4").click()
    visit.shows("#picture", record.image.image_id)
    assert visit.box("question").input_value() == visit.box("about").input_value() == record.question
    assert visit.box("target").input_value() == record.target
    undo = visit.tab.get_by_role("button", name="Undo the last", exact=True)
    assert undo.is_disabled()

    visit.ask(record.question)
    before, after = visit.tab.locator("#answer .before"), visit.tab.locator("#answer .after")
    assert before.inner_text() == after.inner_text() == record.answer
    assert visit.tab.locator("#answer .why").inner_text().split()[:2] == ["Route", "base:"]

    visit.click("Store this edit")
    visit.shows("#stored", record.target)
    assert (before.inner_text(), after.inner_text()) == (record.answer, record.target)
    why = visit.tab.locator("#answer .why").inner_text()
    assert "counterfactual" in why and re.search(r"rho\s+(1\.0|0\.9)\d+", why) and f"1. “{record.question}”" in why
    maps = visit.tab.locator("#answer .attention img")
    assert maps.count() == 2
    assert maps.evaluate_all("maps => maps.every(map => map.complete && map.naturalWidth === 480)")

    (probe,) = record.probes_of("text_locality")
    visit.box("probes").click()
    visit.tab.get_by_role("option", name=probe.question).click()
    visit.tab.wait_for_function(
        f"document.querySelector('#question :is(input, textarea)').value === {probe.question!r}"
    )
    assert not visit.tab.locator("#see input").is_checked()
    visit.click("Ask")
    visit.shows("#answer", "without the picture")
    assert before.inner_text() == after.inner_text()
    assert "base" in visit.tab.locator("#answer .why").inner_text() and maps.count() == 1

    visit.box("edits").click()
    visit.tab.get_by_role("option").nth(1).click()
    other = load_records("scenes").records[3]
    visit.holds("target", other.target)
    visit.click("Store this edit")
    visit.shows("#stored li:nth-child(2)", other.question)
    undo.click()
    visit.tab.locator("#stored li:nth-child(2)").wait_for(state="detached")
    visit.click("Undo all")
    visit.shows("#stored", "No edit is stored.")
    assert undo.is_disabled()
    visit.shows("#answer .why", "none")


def test_visitors_are_not_in_each_other_s_way(visit: Visit, browser: Any, tmp_path: Path) -> None:
    other = Visit(browser, visit.url)
    visit.click("Store this edit")
    record = load_records("scenes").records[0]
    visit.shows("#stored li", record.question)
    other.click("Ask")
    other.shows("#answer .why", "Stored edits")
    assert other.tab.locator("#stored li").count() == 0
    assert other.tab.locator("#answer .after").inner_text() == record.answer

    (tmp_path / "both.png").write_bytes(png(size=91))
    held: list[Any] = []
    for one in (visit, other):
        one.tab.route("**/queue/join*", lambda route: held.append(route))
        one.tab.locator("input[type=file]").first.set_input_files(tmp_path / "both.png")
    for _ in range(400):  # both files are there before either is read
        if len(held) == 2:
            break
        visit.tab.wait_for_timeout(50)
    for route, one in zip(held, (visit, other), strict=True):
        route.continue_()
        one.shows("#picture", "both.png")
    other.close()
    visit.tab.unroute("**/queue/join*")
    visit.tab.reload()
    visit.tab.locator("#picture img").wait_for()
    assert visit.tab.locator("#stored li").count() == 0


def test_by_keyboard(visit: Visit) -> None:
    visit.tab.get_by_role("button", name="Thumbnail 3 of 4").focus()
    visit.tab.keyboard.press("Enter")
    visit.shows("#picture", load_records("scenes").records[4].image.image_id)  # each picture has two edits
    visit.box("question").focus()
    visit.tab.keyboard.press("Enter")
    visit.tab.locator("#answer .after").wait_for()
    visit.box("target").focus()
    visit.tab.keyboard.press("Enter")
    visit.tab.locator("#stored li").wait_for()
    for _ in range(9):  # Tab comes to the buttons that undo, and to each of them
        visit.tab.keyboard.press("Tab")
        if visit.tab.evaluate("document.activeElement.id") == "undo":
            break
    visit.tab.keyboard.press("Enter")
    visit.shows("#stored", "No edit is stored.")
    assert visit.tab.locator("#answer").get_attribute("aria-live") == "polite"


def test_uploads(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("I am no image")
    (tmp_path / "card.png").write_bytes(png(size=90))
    file = visit.tab.locator("input[type=file]").first
    file.set_input_files(tmp_path / "notes.png")
    visit.tab.get_by_role("alert").get_by_text("'notes.png' is no image that can be read").wait_for()
    visit.shows("#picture", "scenes-test-00000")
    file.set_input_files(tmp_path / "card.png")
    visit.shows("#picture", "card.png")
    assert visit.tab.get_by_role("alert").count() == 0
    visit.click("Ask")
    visit.tab.get_by_role("alert").get_by_text("the question is empty; expected some words").wait_for()
    visit.ask("Which color is the card?")
    visit.box("about").fill("Which color is the card?")
    visit.box("target").fill("green")
    visit.click("Store this edit")
    visit.shows("#stored li", "“green”")
    assert visit.tab.locator("#answer .after").inner_text() == "green"


def test_texts_stay_text(visit: Visit) -> None:
    title = visit.tab.title()
    visit.tab.get_by_role("button", name="Thumbnail 4 of 4").click()
    visit.shows("#picture", SCRIPT)
    visit.ask(SCRIPT)
    visit.box("about").fill(SCRIPT)
    visit.box("target").fill("x " + SCRIPT)
    visit.click("Store this edit")
    visit.tab.locator("#stored li, [role=alert]").first.wait_for()
    visit.box("edits").click()
    visit.tab.get_by_role("option").first.wait_for()
    assert visit.tab.title() == title
    assert SCRIPT in visit.tab.locator("#answer .asked").inner_text()
    assert visit.tab.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("viewport, scheme", [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_layout_and_accessibility(browser: Any, url: str, viewport: dict[str, int], scheme: str) -> None:
    visit = Visit(browser, url, viewport=viewport, color_scheme=scheme)
    visit.click("Store this edit")
    visit.tab.locator("#answer .attention img").first.wait_for()
    assert visit.fits()
    assert visit.tab.locator("#answer .answers").evaluate(
        "answers => answers.getBoundingClientRect().top < innerHeight"
    )
    assert visit.findings() == []
    visit.close()


def test_a_taken_port_is_named(url: str) -> None:
    from fgvedit.viewers.demo.page import gr, serve

    with gr.Blocks() as page:
        pass
    port = int(url.rstrip("/").rpartition(":")[2])
    with pytest.raises(FGVEditError, match=f"nothing can listen on port {port} of '127.0.0.1': expected a --host"):
        serve(page, "127.0.0.1", port)
