"""The review page in a real browser."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import SCRIPT, Opened
from PIL import Image
from reviews import contrast, label, revision_of, write_marks, write_records
from rows import image_ref, make_probe, make_row

from builders.parquet import write_rows
from builders.review.page import write_page
from fgvedit.probes import changes, kind_of, probe_kinds


class Page(Opened):
    def open(self) -> None:
        super().open()
        self.ready()

    def ready(self) -> None:
        self.tab.wait_for_selector("body:not([inert])")

    def reload(self) -> None:
        self.kept()
        self.tab.reload()
        self.ready()

    def kept(self) -> None:
        """Wait until the browser has stored all, as a person is told."""
        self.tab.get_by_text("All marks are kept.").wait_for()

    def item(self, number: int) -> Any:
        return self.tab.locator(f'fieldset[data-item="{number}"]')

    def radio(self, item: int, mark: str) -> Any:
        return self.item(item).get_by_role("radio", name=mark, exact=True)

    def shows(self, record: str) -> bool:
        return record in self.tab.locator(".sight").inner_text()

    def counts(self, marked: int) -> None:
        """Wait until so many marks are there: a page is told of another one's in the background."""
        self.tab.locator("#marked").get_by_text(f"{marked} of ").wait_for()

    def export(self, path: Path) -> Any:
        with self.tab.expect_download() as download:
            self.tab.get_by_role("button", name="Export marks").click()
        assert download.value.suggested_filename == "marks.json"
        download.value.save_as(path)
        return json.loads(path.read_text())


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_records(tmp_path_factory.mktemp("reviewed") / "records")


@pytest.fixture(scope="module")
def written(records: Path) -> Path:
    """The page of the records, as it is opened in a browser without marks."""
    write_page(str(records), records.parent / "page")
    return records.parent / "page"


@pytest.fixture
def page(browser: Any, written: Path) -> Iterator[Page]:
    page = Page(browser, written)
    yield page
    page.close()


def other_page(browser: Any, folder: Path, rows: list[dict[str, Any]], **labels: str) -> Page:
    """The page of records of its own."""
    write_rows(rows, folder / "records", "test")
    for name, text in labels.items():
        (folder / "records" / f"{name}.jsonl").write_text(text)
    write_page(str(folder / "records"), folder / "page")
    return Page(browser, folder / "page")


def test_marks_by_keyboard(page: Page, records: Path, tmp_path: Path) -> None:
    """But for when one types, and when the keys are turned off."""
    page.press("r")  # the edit; then probes 0, 1 and 2
    page.press("wur")
    page.press("kx")  # back up, to take back the mark of probe 2
    page.press("jw")  # and probe 3 is wrong
    page.press("n")
    page.press("jjw")  # probe 1 of the next record: from its edit, two down
    page.press("nt")
    page.press("wrunt")
    page.tab.keyboard.press("Escape")
    page.press("u")  # where Escape goes: the last probe
    page.tab.get_by_text("Keys", exact=True).click()
    page.tab.get_by_role("checkbox", name="Use these keys").uncheck()
    page.press("rw")
    assert page.export(tmp_path / "marks.json") == {
        "format": 1,
        "data": revision_of(records),
        "marks": {
            "record-0": {"edit": "right", "probes": {"0": "wrong", "1": "unsure", "3": "wrong"}},
            "record-1": {"probes": {"1": "wrong"}},
            "record-2": {"note": "wrunt", "probes": {"4": "unsure"}},
        },
    }


def test_marks_by_mouse(page: Page, tmp_path: Path) -> None:
    page.radio(0, "wrong").click()
    page.radio(2, "right").click()
    page.radio(2, "unsure").click()
    page.radio(3, "right").click()
    page.item(3).get_by_role("button", name="take back").click()
    page.tab.get_by_role("textbox", name="Note on this record").fill("not a <b>card</b>")
    page.tab.get_by_role("textbox", name="Your name").fill("Ada")
    page.tab.get_by_role("button", name="Next").click()
    page.radio(1, "right").click()
    marks = page.export(tmp_path / "marks.json")
    assert marks["reviewer"] == "Ada"
    assert marks["marks"] == {
        "record-0": {"edit": "wrong", "probes": {"1": "unsure"}, "note": "not a <b>card</b>"},
        "record-1": {"probes": {"0": "right"}},
    }
    assert not page.item(3).get_by_role("button", name="take back").is_visible()


def test_a_reload_keeps_marks_notes_and_place(page: Page, tmp_path: Path) -> None:
    page.press("nrw")
    page.tab.get_by_role("textbox", name="Note on this record").fill("a note")
    page.reload()
    assert page.shows("record-1")
    assert page.radio(0, "right").is_checked() and page.radio(1, "wrong").is_checked()
    assert page.tab.get_by_role("textbox", name="Note on this record").input_value() == "a note"
    page.kept()
    page.tab.close()
    page.open()
    assert page.export(tmp_path / "marks.json")["marks"] == {
        "record-1": {"edit": "right", "probes": {"0": "wrong"}, "note": "a note"}
    }


def test_tabs_do_not_write_over_each_others_marks(page: Page, tmp_path: Path) -> None:
    first = page.tab
    page.open()
    second = page.tab
    first.keyboard.press("r")
    page.counts(1)  # the second tab is told
    assert page.radio(0, "right").is_checked()
    page.press("nw")
    page.tab = first
    page.counts(2)
    assert page.shows("record-0")  # each has its own place
    first.get_by_role("textbox", name="Note on this record").fill("of the first")
    expected = {
        "record-0": {"edit": "right", "probes": {}, "note": "of the first"},
        "record-1": {"edit": "wrong", "probes": {}},
    }
    assert page.export(tmp_path / "first.json")["marks"] == expected
    second.get_by_role("button", name="Previous").click()
    second.wait_for_function("document.getElementById('note').value === 'of the first'")
    page.tab = second
    assert page.export(tmp_path / "second.json")["marks"] == expected


KEPT = """async ([name, text]) => {
  const opening = indexedDB.open("fgvedit-review");
  await new Promise((resolve) => (opening.onsuccess = resolve));
  const store = opening.result.transaction("kept", "readwrite").objectStore("kept");
  const asked = text ? store.put(text, [data.revision, name]) : store.get([data.revision, name]);
  await new Promise((resolve) => (asked.onsuccess = resolve));
  return asked.result;
}"""


def test_marks_that_cannot_be_read_are_said_and_left(page: Page, tmp_path: Path) -> None:
    page.press("rnr")
    page.kept()
    page.tab.evaluate(KEPT, ["marks record-0", "{"])
    page.reload()
    page.tab.get_by_role("alert").get_by_text("record record-0 cannot be read").wait_for()
    page.press("w")
    page.kept()
    assert page.tab.get_by_role("alert").inner_text() != ""
    assert page.tab.evaluate(KEPT, ["marks record-0", ""]) == "{"
    assert list(page.export(tmp_path / "marks.json")["marks"]) == ["record-1"]


def test_without_a_store_marks_are_for_export_alone(page: Page, tmp_path: Path) -> None:
    page.context.add_init_script("indexedDB.open = () => { throw new DOMException('no', 'SecurityError'); };")
    page.reload()
    page.tab.get_by_role("alert").get_by_text("cannot keep the marks (SecurityError)").wait_for()
    page.press("rw")
    page.tab.get_by_text("Marks are being kept").wait_for()
    marks = page.export(tmp_path / "marks.json")["marks"]
    assert marks == {"record-0": {"edit": "right", "probes": {"0": "wrong"}}}
    asked: list[str] = []

    def leave(dialog: Any) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.tab.on("dialog", leave)
    page.tab.close(run_before_unload=True)
    page.tab.wait_for_event("close")
    assert asked == ["beforeunload"]


def test_what_is_marked_is_counted_and_filtered(page: Page) -> None:
    assert page.tab.locator("#marked").inner_text() == "0 of 18 marks, 0 of 3 records done"
    page.press("rrrrrr")  # record 0 is done
    assert page.tab.locator("#marked").inner_text() == "6 of 18 marks, 1 of 3 records done"
    bar = page.tab.get_by_role("progressbar", name="Marked")
    assert bar.evaluate("bar => bar.position") == pytest.approx(1 / 3)
    page.press("njw")  # a probe of record 1 is wrong
    shown = page.tab.get_by_label("Show")
    next_, previous = (page.tab.get_by_role("button", name=name) for name in ("Next", "Previous"))
    shown.select_option("wrong")
    assert page.shows("record-1")
    assert next_.is_disabled() and previous.is_disabled()
    shown.select_option("unsure")
    assert page.tab.get_by_text("No record is like this.").is_visible()
    shown.select_option("unmarked")
    assert page.shows("record-1")
    assert previous.is_disabled()
    next_.click()
    assert page.shows("record-2")
    shown.select_option("all")
    previous.click()
    previous.click()
    assert page.shows("record-0")


COUNTED = """() => {
  globalThis.made = { transactions: 0, puts: 0 };
  for (const [kind, method, name] of [[IDBDatabase, "transaction", "transactions"], [IDBObjectStore, "put", "puts"]]) {
    const own = kind.prototype[method];
    kind.prototype[method] = function (...given) {
      made[name] += 1;
      return own.apply(this, given);
    };
  }
}"""


def test_an_import_goes_on_from_exported_marks_and_is_stored_in_one_go(
    page: Page, browser: Any, written: Path, tmp_path: Path
) -> None:
    page.press("rwnnr")
    page.tab.get_by_role("textbox", name="Your name").fill("Ada")
    page.export(tmp_path / "marks.json")
    other = Page(browser, written)
    assert not other.radio(0, "right").is_checked()
    other.press("nu")
    other.kept()
    other.tab.evaluate(COUNTED)
    other.tab.get_by_label("Go on with exported marks").set_input_files(tmp_path / "marks.json")
    other.tab.get_by_text("Marks of 2 records read").wait_for()
    other.kept()
    assert other.tab.evaluate("made") == {"transactions": 1, "puts": 3}
    other.reload()
    marks = other.export(tmp_path / "more.json")
    assert marks["reviewer"] == "Ada"
    assert marks["marks"] == {
        "record-0": {"edit": "right", "probes": {"0": "wrong"}},
        "record-1": {"edit": "unsure", "probes": {}},
        "record-2": {"edit": "right", "probes": {}},
    }
    other.close()


def test_an_import_of_other_marks_is_refused(page: Page, records: Path, tmp_path: Path) -> None:
    page.press("r")
    changes: list[tuple[dict[str, Any], str]] = [
        ({"data": "0" * 64}, "expected marks of data"),
        ({"format": 2}, "expected marks of format 1"),
        ({"marks": {"record-0": {"edit": "fine"}}}, "found mark 'fine', expected right, wrong, unsure"),
        ({"marks": {"record-0": {"probes": {"5": "right"}}}}, "found probe 5, expected 0 to 4"),
    ]
    for change, expected in changes:
        bad = write_marks(tmp_path / "bad.json", records, **{"marks": {"record-0": {"edit": "wrong"}}, **change})
        page.tab.get_by_label("Go on with exported marks").set_input_files(bad)
        page.tab.get_by_role("alert").get_by_text(expected).wait_for()
    assert list(page.export(tmp_path / "marks.json")["marks"].values()) == [{"edit": "right", "probes": {}}]


def test_texts_of_the_data_are_text(browser: Any, tmp_path: Path) -> None:
    probe = make_probe("in_scope", answer=SCRIPT, image_id="image-0", question=f"Is {SCRIPT} there?")
    row = make_row(0, question=f"What {SCRIPT}?", target=SCRIPT, id="__proto__", probes=[probe])
    row["entity"]["name"] = SCRIPT
    labels = {"id": "__proto__", "labeller": SCRIPT, "policy": SCRIPT, "reasons": {"entity": SCRIPT}}
    rows = [row, make_row(1, id="</script><b>x</b>")]
    page = other_page(browser, tmp_path, rows, labels=json.dumps(labels))
    page.press("rw")
    text = page.tab.locator("main").inner_text()
    assert text.count(SCRIPT) == 8  # entity, labeller, policy, reason; question and target; probe and answer
    assert page.tab.locator("main img").count() == 1
    assert page.tab.title() == f"Review of {tmp_path / 'records'}"
    page.press("nr")
    marks = page.export(tmp_path / "marks.json")["marks"]
    assert marks == {
        "__proto__": {"edit": "right", "probes": {"0": "wrong"}},
        "</script><b>x</b>": {"edit": "right", "probes": {}},
    }
    page.close()


def test_what_is_to_be_right_stands_beside_each_question(browser: Any, tmp_path: Path) -> None:
    other = {"image": {"bytes": image_ref(5).data, "path": None}, "image_id": "image-5"}
    shows: dict[str, dict[str, Any]] = {"none": {}, "other": other, "own": {"image_id": "image-0"}}
    probes = [make_probe(kind, f"says-{kind}", **shows[kind_of(kind).image]) for kind in probe_kinds()]
    row = make_row(0, probes=probes)
    page = other_page(browser, tmp_path, [row], labels=json.dumps(label("record-0", "of a rule")))
    edit = page.tab.get_by_role("group", name="The edit", exact=True).inner_text()
    assert "What colour is the card?" in edit and "Before the edit “red”, after it “blue”." in edit
    for number, kind in enumerate(probe_kinds()):
        text = page.item(number + 1).inner_text()
        assert kind in text and f"A {kind} question?" in text
        assert ("After the edit the answer is to be" in text) == changes(kind)
        assert ("stays" in text) == (not changes(kind))
        assert f"“says-{kind}”" in text
        assert page.item(number + 1).locator("img").count() == (kind_of(kind).image == "other")
        assert ("in scope of a rule" in text) == (kind == "in_scope")
    sight = page.tab.locator(".sight").inner_text()
    assert "Labelled by rules, policy plain" in sight and "target: of a rule" in sight
    page.close()


@pytest.mark.parametrize(("width", "scheme"), [(400, "light"), (1400, "dark")])
def test_layout_and_contrast(browser: Any, written: Path, width: int, scheme: str) -> None:
    page = Page(browser, written, viewport={"width": width, "height": 800}, color_scheme=scheme)
    colours = {
        name: page.tab.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('--{name}').trim()")
        for name in ("ink", "paper", "soft", "edge", "focus", "right", "wrong", "unsure")
    }
    assert contrast(colours["ink"], colours["soft"]) > 7
    assert contrast(colours["wrong"], colours["paper"]) > 4.5
    for name in ("edge", "focus", "right", "unsure"):
        assert contrast(colours[name], colours["paper"]) > 3
    ink = page.tab.evaluate("getComputedStyle(document.querySelector('.question')).color")
    assert ink == f"rgb({', '.join(str(value) for value in bytes.fromhex(colours['ink'][1:]))})"

    page.press("rw")
    assert page.fits()
    image, box = page.tab.locator(".sight img").bounding_box(), page.tab.locator(".sight rect.over").bounding_box()
    assert image["width"] > 300
    for side in ("width", "height"):  # the box is 0, 0, 8, 8 in an image of 16 pixels
        assert box[side] == pytest.approx(image[side] / 2, abs=4)
    assert (box["x"], box["y"]) == (pytest.approx(image["x"], abs=4), pytest.approx(image["y"], abs=4))
    beside = page.item(0).bounding_box()["x"] > image["x"] + image["width"]
    assert beside == (width == 1400)
    page.close()


def test_a_photo_that_its_camera_wants_turned_is_shown_as_models_see_it(browser: Any, tmp_path: Path) -> None:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.new("RGB", (300, 100), (90, 140, 60)).save(buffer, "JPEG", exif=exif)
    entity = {"name": "card", "box": [0.0, 0.0, 100.0, 100.0]}
    row = make_row(0, image={"bytes": buffer.getvalue(), "path": None}, entity=entity)
    page = other_page(browser, tmp_path, [row])
    shown = page.tab.locator(".sight img")
    page.until("image => image.complete", shown.element_handle())
    assert shown.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [300, 100]
    image, box = shown.bounding_box(), page.tab.locator(".sight rect.over").bounding_box()
    assert image["width"] == pytest.approx(3 * image["height"], abs=2)
    assert box["width"] == pytest.approx(image["width"] / 3, abs=4)
    assert box["height"] == pytest.approx(image["height"], abs=4)
    page.close()
