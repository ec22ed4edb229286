"""The review page in a real browser, and what becomes of the marks that are made on it."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pages import Opened
from PIL import Image
from rows import image_ref, make_probe, make_row, png

from builders.parquet import write_rows
from builders.quality import report
from builders.review.__main__ import main
from builders.review.apply import apply_marks
from builders.review.page import write_page
from builders.validate.sources import open_source
from fgvedit.dataset import load_records
from fgvedit.probes import changes, probe_kinds
from fgvedit.schema import features
from fgvedit.util.errors import FGVEditError

SCRIPT = "<script>document.title = 'hacked'</script><img src=x onerror=\"document.title='hacked'\">"


# -- data --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three records in two splits, each with five probes, and labels of the first two."""
    folder = tmp_path / "records"
    write_rows([make_row(0), make_row(1)], folder, "train")
    write_rows([make_row(2)], folder, "test")
    labels = [label(f"record-{number}", f"because {number}") for number in range(2)]
    (folder / "labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in labels))
    return folder


def label(name: str, reason: str) -> dict[str, Any]:
    probes = [{"question": "A in_scope question?", "kind": "in_scope", "reason": f"in scope {reason}"}]
    return {"id": name, "labeller": "rules", "policy": "plain", "reasons": {"target": reason, "probes": probes}}


def write_marks(path: Path, folder: Path, marks: dict[str, Any], **changes: Any) -> Path:
    revision = open_source(str(folder)).revision
    path.write_text(json.dumps({"format": 1, "data": revision, "marks": marks, **changes}))
    return path


# -- the page ----------------------------------------------------------------------------------------------------------


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


@pytest.fixture
def page(browser: Any, folder: Path, tmp_path: Path) -> Iterator[Page]:
    write_page(str(folder), tmp_path / "page")
    page = Page(browser, tmp_path / "page")
    yield page
    page.close()


def test_marks_by_keyboard(page: Page, folder: Path, tmp_path: Path) -> None:
    page.press("r")  # the edit; then probes 0, 1 and 2
    page.press("wur")
    page.press("kx")  # back up, to take back the mark of probe 2
    page.press("jw")  # and probe 3 is wrong
    page.press("n")
    page.press("jjw")  # probe 1 of the next record: from its edit, two down
    marks = page.export(tmp_path / "marks.json")
    assert marks == {
        "format": 1,
        "data": revision_of(folder),
        "marks": {
            "record-0": {"edit": "right", "probes": {"0": "wrong", "1": "unsure", "3": "wrong"}},
            "record-1": {"probes": {"1": "wrong"}},
        },
    }


def revision_of(folder: Path) -> str:
    """By the definition of a content revision: over names and contents of the files, in the order of their names."""
    import hashlib

    total = hashlib.sha256()
    for path in sorted(folder.glob("*.parquet")):
        total.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


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


def test_keys_are_left_alone_while_one_types_and_when_turned_off(page: Page, tmp_path: Path) -> None:
    page.press("t")
    page.press("wrunt")
    page.tab.keyboard.press("Escape")
    page.press("u")  # where Escape goes: the last probe
    page.tab.get_by_text("Keys", exact=True).click()
    page.tab.get_by_role("checkbox", name="Use these keys").uncheck()
    page.press("rw")
    assert page.export(tmp_path / "marks.json")["marks"] == {
        "record-0": {"note": "wrunt", "probes": {"4": "unsure"}},
    }


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


def test_what_is_marked_is_counted(page: Page) -> None:
    assert page.tab.locator("#marked").inner_text() == "0 of 18 marks, 0 of 3 records done"
    page.press("rrrrrr")
    assert page.tab.locator("#marked").inner_text() == "6 of 18 marks, 1 of 3 records done"
    bar = page.tab.get_by_role("progressbar", name="Marked")
    assert bar.evaluate("bar => bar.position") == pytest.approx(1 / 3)


def test_filters(page: Page) -> None:
    page.press("rrrrrr")  # record 0 is done
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


def test_an_import_goes_on_from_exported_marks(page: Page, browser: Any, tmp_path: Path) -> None:
    page.press("rw")
    page.export(tmp_path / "marks.json")
    other = Page(browser, tmp_path / "page")
    assert not other.radio(0, "right").is_checked()
    other.press("n")
    other.press("u")
    other.tab.get_by_label("Go on with exported marks").set_input_files(tmp_path / "marks.json")
    other.tab.get_by_text("Marks of 1 records read").wait_for()
    other.reload()
    marks = other.export(tmp_path / "more.json")
    assert marks["marks"] == {
        "record-0": {"edit": "right", "probes": {"0": "wrong"}},
        "record-1": {"edit": "unsure", "probes": {}},
    }
    other.close()


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


def test_an_import_is_stored_in_one_go(page: Page, folder: Path, tmp_path: Path) -> None:
    marks = {f"record-{number}": {"edit": "right"} for number in range(3)}
    page.tab.evaluate(COUNTED)
    file = write_marks(tmp_path / "marks.json", folder, marks, reviewer="Ada")
    page.tab.get_by_label("Go on with exported marks").set_input_files(file)
    page.tab.get_by_text("Marks of 3 records read").wait_for()
    assert page.tab.evaluate("made") == {"transactions": 1, "puts": 4}
    page.reload()
    found = page.export(tmp_path / "more.json")
    assert (found["marks"], found["reviewer"]) == (marks, "Ada")


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"data": "0" * 64}, "expected marks of data"),
        ({"format": 2}, "expected marks of format 1"),
        ({"marks": {"record-0": {"edit": "fine"}}}, "found mark 'fine', expected right, wrong, unsure"),
        ({"marks": {"record-0": {"probes": {"5": "right"}}}}, "found probe 5, expected 0 to 4"),
    ],
)
def test_an_import_of_other_marks_is_refused(
    page: Page, folder: Path, tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    page.press("r")
    bad = write_marks(tmp_path / "bad.json", folder, **{"marks": {"record-0": {"edit": "wrong"}}, **changes})
    page.tab.get_by_label("Go on with exported marks").set_input_files(bad)
    page.tab.get_by_role("alert").get_by_text(expected).wait_for()
    assert list(page.export(tmp_path / "marks.json")["marks"].values()) == [{"edit": "right", "probes": {}}]


def test_texts_of_the_data_are_text(browser: Any, tmp_path: Path) -> None:
    probe = make_probe("in_scope", answer=SCRIPT, image_id="image-0", question=f"Is {SCRIPT} there?")
    row = make_row(0, question=f"What {SCRIPT}?", target=SCRIPT, id="__proto__", probes=[probe])
    row["entity"]["name"] = SCRIPT
    write_rows([row, make_row(1, id="</script><b>x</b>")], tmp_path / "records", "test")
    labels = {"id": "__proto__", "labeller": SCRIPT, "policy": SCRIPT, "reasons": {"entity": SCRIPT}}
    (tmp_path / "records" / "labels.jsonl").write_text(json.dumps(labels))
    write_page(str(tmp_path / "records"), tmp_path / "page")
    page = Page(browser, tmp_path / "page")
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
    other = {"bytes": image_ref(5).data, "path": None}
    probes = [
        make_probe(
            kind, answer=f"says-{kind}", **({"image": other} if kind == "other_image" else {}), image_id=image_id
        )
        for kind in probe_kinds()
        for image_id in ["" if kind == "text_locality" else "image-5" if kind == "other_image" else "image-0"]
    ]
    write_rows([make_row(0, probes=probes)], tmp_path / "records", "test")
    (tmp_path / "records" / "labels.jsonl").write_text(json.dumps(label("record-0", "of a rule")))
    write_page(str(tmp_path / "records"), tmp_path / "page")
    page = Page(browser, tmp_path / "page")
    edit = page.tab.get_by_role("group", name="The edit", exact=True).inner_text()
    assert "What colour is the card?" in edit and "Before the edit “red”, after it “blue”." in edit
    for number, kind in enumerate(probe_kinds()):
        text = page.item(number + 1).inner_text()
        assert kind in text and f"A {kind} question?" in text
        assert ("After the edit the answer is to be" in text) == changes(kind)
        assert ("stays" in text) == (not changes(kind))
        assert f"“says-{kind}”" in text
        assert page.item(number + 1).locator("img").count() == (kind == "other_image")
        assert ("in scope of a rule" in text) == (kind == "in_scope")
    sight = page.tab.locator(".sight").inner_text()
    assert "Labelled by rules, policy plain" in sight and "target: of a rule" in sight
    page.close()


@pytest.mark.parametrize("width", [400, 1400])
def test_layout(browser: Any, folder: Path, tmp_path: Path, width: int) -> None:
    write_page(str(folder), tmp_path / "page")
    page = Page(browser, tmp_path / "page", viewport={"width": width, "height": 800})
    page.press("rw")
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= width
    image, box = page.tab.locator(".sight img").bounding_box(), page.tab.locator(".sight rect.over").bounding_box()
    assert image["width"] > 300
    for side in ("width", "height"):  # the box is 0, 0, 8, 8 in an image of 16 pixels
        assert box[side] == pytest.approx(image[side] / 2, abs=4)
    assert (box["x"], box["y"]) == (pytest.approx(image["x"], abs=4), pytest.approx(image["y"], abs=4))
    beside = page.item(0).bounding_box()["x"] > image["x"] + image["width"]
    assert beside == (width == 1400)
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(browser: Any, folder: Path, tmp_path: Path, scheme: str) -> None:
    write_page(str(folder), tmp_path / "page")
    page = Page(browser, tmp_path / "page", color_scheme=scheme)
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
    page.close()


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast ratio of two colours such as #1b1b1f."""

    def luminance(colour: str) -> float:
        parts = [value / 255 for value in bytes.fromhex(colour[1:])]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_a_photo_that_its_camera_wants_turned_is_shown_as_models_see_it(browser: Any, tmp_path: Path) -> None:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.new("RGB", (300, 100), (90, 140, 60)).save(buffer, "JPEG", exif=exif)
    entity = {"name": "card", "box": [0.0, 0.0, 100.0, 100.0]}
    row = make_row(0, image={"bytes": buffer.getvalue(), "path": None}, entity=entity)
    write_rows([row], tmp_path / "records", "test")
    write_page(str(tmp_path / "records"), tmp_path / "page")
    page = Page(browser, tmp_path / "page")
    shown = page.tab.locator(".sight img")
    page.until("image => image.complete", shown.element_handle())
    assert shown.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [300, 100]
    image, box = shown.bounding_box(), page.tab.locator(".sight rect.over").bounding_box()
    assert image["width"] == pytest.approx(3 * image["height"], abs=2)
    assert box["width"] == pytest.approx(image["width"] / 3, abs=4)
    assert box["height"] == pytest.approx(image["height"], abs=4)
    page.close()


def test_scenes_as_a_page(browser: Any, tmp_path: Path) -> None:
    table = load_records("scenes", "test", limit=3).records.table  # type: ignore[attr-defined]
    write_rows(list(table), tmp_path / "records", "test")
    write_page(str(tmp_path / "records"), tmp_path / "page")
    page = Page(browser, tmp_path / "page")
    page.tab.locator("main img").last.scroll_into_view_if_needed()
    page.until("[...document.images].every(image => image.complete && image.naturalWidth === 144)")
    assert page.tab.locator("main img").count() == 2  # its own, and that of the probe about another image
    page.close()


def test_a_sample_is_drawn_by_its_seed(folder: Path, tmp_path: Path) -> None:
    def ids(seed: int, sample: int | None) -> list[str]:
        write_page(str(folder), tmp_path / "page", sample, seed)
        text = (tmp_path / "page" / "index.html").read_text()
        data = text.split('<script type="application/json" id="page-data">')[1].split("</script>")[0]
        return [record["id"] for record in json.loads(data)["records"]]

    assert ids(0, None) == ids(0, 3) == ids(0, 99) == ["record-0", "record-1", "record-2"]
    drawn = [ids(seed, 1) for seed in range(8)]
    assert drawn == [ids(seed, 1) for seed in range(8)]
    assert {name for [name] in drawn} == {"record-0", "record-1", "record-2"}


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    row = make_row(0)
    row["image"] = {"bytes": row["image"]["bytes"][:60], "path": None}
    write_rows([row], tmp_path / "records", "test")
    with pytest.raises(FGVEditError, match=r"image 'image-0'.*do not decode"):
        write_page(str(tmp_path / "records"), tmp_path / "page")
    assert not (tmp_path / "page" / "index.html").exists()


def shown_files(page: Path) -> set[str]:
    """The images that a page asks for."""
    text = (page / "index.html").read_text()
    return set(re.findall(r'"file":"images/([^"]+)"', text))


def test_a_page_made_again_leaves_no_images_of_the_earlier_one(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page"
    write_page(str(folder), page)
    (page / "notes.txt").write_text("mine")
    (page / "images" / "0123456789abcdef0123.png").write_text("mine, too")
    before = shown_files(page)
    write_page(str(folder), page, sample=1)
    assert shown_files(page) < before
    left = {path.name for path in (page / "images").iterdir()}
    assert left == {*shown_files(page), "0123456789abcdef0123.png"}
    assert (page / "notes.txt").read_text() == "mine"
    write_page(str(folder), page)
    assert {path.name for path in (page / "images").iterdir()} == {*before, "0123456789abcdef0123.png"}


def test_a_page_that_cannot_be_made_leaves_the_earlier_one(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page"
    write_page(str(folder), page, sample=1)
    before = {path: path.read_bytes() for path in page.rglob("*") if path.is_file()}
    row = make_row(7)
    row["image"] = {"bytes": row["image"]["bytes"][:60], "path": None}
    write_rows([make_row(1), row], tmp_path / "bad", "test")
    with pytest.raises(FGVEditError, match="do not decode"):
        write_page(str(tmp_path / "bad"), page)
    assert {path: path.read_bytes() for path in page.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "text",
    [
        "<p>my thesis</p>",
        '<script type="application/json" id="page-data">{"records": 3}</script>',
        '<script type="application/json" id="page-data">{"records": [</script>',
    ],
)
def test_another_page_is_not_written_over(folder: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "index.html").write_text(text)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FGVEditError, match="found a page that is none of"):
        write_page(str(folder), tmp_path)
    assert (tmp_path / "index.html").read_text() == text
    assert sorted(tmp_path.rglob("*")) == before


def test_a_page_made_by_someone_else_does_not_lead_out_of_its_folder(folder: Path, tmp_path: Path) -> None:
    page, mine = tmp_path / "page", tmp_path / "mine.png"
    mine.write_text("mine")
    page.mkdir()
    data = json.dumps({"records": [{"image": {"file": "../mine.png"}, "probes": []}]})
    (page / "index.html").write_text(f'<script type="application/json" id="page-data">{data}</script>')
    write_page(str(folder), page)
    assert mine.read_text() == "mine"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Two configurations as builders.publish lays them out, the second with labels."""
    root = tmp_path / "published"
    for name, number in (("first", 0), ("second", 5)):
        write_rows([make_row(number), make_row(number + 1)], root / "data" / name, "test")
    (root / "labels").mkdir()
    (root / "labels" / "second.jsonl").write_text(json.dumps(label("record-5", "because 5")) + "\n")
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: test\n    path: data/{name}/test-00000.parquet\n"
        + ("  default: true\n" if name == "first" else "")
        for name in ("first", "second")
    )
    (root / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    return root


def test_the_configuration_that_is_asked_for(published: Path, tmp_path: Path) -> None:
    def page(*more: str) -> str:
        main([str(published), "--out", str(tmp_path / "page"), *more])
        return (tmp_path / "page" / "index.html").read_text()

    assert "record-0" in page() and "record-5" not in page()
    assert "record-5" in page("--config", "second") and "because 5" in page("--config", "second")
    with pytest.raises(FGVEditError, match="did you mean 'second'"):
        page("--config", "secnd")

    marks = tmp_path / "marks.json"
    revision = open_source(str(published), "second").revision
    marks.write_text(json.dumps({"format": 1, "data": revision, "marks": {"record-5": {"edit": "wrong"}}}))
    out = tmp_path / "reviewed"
    main([str(published), "--config", "second", "--apply", str(marks), "--out", str(out)])
    assert [record.id for record in load_records(str(out), "test").records] == ["record-6"]
    with pytest.raises(FGVEditError, match="holds marks of data"):
        main([str(published), "--apply", str(marks), "--out", str(tmp_path / "other")])


# -- what becomes of marks ---------------------------------------------------------------------------------------------


def test_what_is_marked_wrong_is_left_out(folder: Path, tmp_path: Path) -> None:
    marks = {
        "record-0": {"edit": "right", "probes": {"0": "right", "4": "wrong"}, "note": "fine"},
        "record-1": {"edit": "wrong"},
        "record-2": {"edit": "unsure", "probes": {"1": "unsure", "4": "wrong"}},
    }
    out = tmp_path / "reviewed"
    said = apply_marks(str(folder), write_marks(tmp_path / "marks.json", folder, marks, reviewer="Ada"), out)
    assert "left out: 1 records (its edit is wrong: 1)" in said
    assert "left out of others: 2 probes (other_image: 2)" in said
    assert "2 records, 8 probes; 2 marked unsure" in said
    kept = {"train": [0], "test": [2]}
    for split, numbers in kept.items():
        before = {record.id: record for record in load_records(str(folder), split).records}
        after = list(load_records(str(out), split).records)
        assert [record.id for record in after] == [f"record-{number}" for number in numbers]
        for record in after:
            assert record.probes_of("other_image") == []
            expected = [(probe.kind, probe.question, probe.answer) for probe in before[record.id].probes[:4]]
            assert [(probe.kind, probe.question, probe.answer) for probe in record.probes] == expected
            assert record.image.data == before[record.id].image.data
    labels = [json.loads(line) for line in (out / "labels.jsonl").read_text().splitlines()]
    first = {"reviewer": "Ada", "edit": "right", "probes": {"0": "right"}, "note": "fine"}
    third = {"reviewer": "Ada", "edit": "unsure", "probes": {"1": "unsure"}}
    assert labels == [
        {**label("record-0", "because 0"), "reviews": [first]},
        {"id": "record-2", "labeller": "not said", "policy": "not said", "reasons": {}, "reviews": [third]},
    ]
    review = json.loads((out / "review.json").read_text())
    assert review["records_left_out"] == [{"id": "record-1", "split": "train", "reason": "its edit is wrong"}]
    assert review["data"] == revision_of(folder)


def test_a_record_goes_with_the_last_probe_of_a_required_kind(folder: Path, tmp_path: Path) -> None:
    write_rows([make_row(2, probes=[*make_row(2)["probes"], make_row(2)["probes"][1]])], folder, "test")
    marks = {"record-1": {"probes": {"1": "wrong"}}, "record-2": {"probes": {"1": "wrong"}}}  # in_scope
    out = tmp_path / "reviewed"
    said = apply_marks(str(folder), write_marks(tmp_path / "marks.json", folder, marks), out)
    assert "left out: 1 records (no in_scope is left: 1)" in said
    assert [record.id for record in load_records(str(out), "train").records] == ["record-0"]
    assert [probe.kind for probe in load_records(str(out), "test").records[0].probes].count("in_scope") == 1


def test_a_second_review_moves_what_the_first_said(folder: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    marks = {"record-0": {"probes": {"3": "right", "4": "right"}}}
    apply_marks(str(folder), write_marks(tmp_path / "a.json", folder, marks, reviewer="Ada"), first)
    more = make_row(0)["probes"]
    write_rows([make_row(0, probes=[more[0], *more]), make_row(1)], first, "train")  # as if it had another rephrasing
    labels = [json.loads(line) for line in (first / "labels.jsonl").read_text().splitlines()]
    labels[0]["reviews"][0]["probes"] = {"4": "right", "5": "right"}
    (first / "labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in labels))
    marks = {"record-0": {"probes": {"0": "wrong", "5": "unsure"}}}
    apply_marks(str(first), write_marks(tmp_path / "b.json", first, marks, reviewer="Ben"), second)
    line = json.loads((second / "labels.jsonl").read_text().splitlines()[0])
    assert line["reviews"] == [
        {"reviewer": "Ada", "probes": {"3": "right", "4": "right"}},
        {"reviewer": "Ben", "probes": {"4": "unsure"}},
    ]


def test_the_same_marks_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\ndataset_info:\n  x: 1\n---\n\n# From whom\n")
    marks = write_marks(tmp_path / "marks.json", folder, {"record-0": {"probes": {"4": "wrong"}}})
    found = []
    for name in ("one", "two", "two"):  # the last one is made over
        apply_marks(str(folder), marks, tmp_path / name)
        files = sorted(path for path in (tmp_path / name).iterdir())
        found.append({path.name: path.read_bytes() for path in files})
    assert found[0] == found[1] == found[2]
    assert set(found[0]) == {
        "README.md", "labels.jsonl", "review.json", "test-00000.parquet", "train-00000.parquet"
    }  # fmt: skip
    card = found[0]["README.md"].decode()
    assert "license: cc-by-4.0" in card and "# From whom" in card and "dataset_info" not in card


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"data": "f" * 64}, "holds marks of data ffffffffffff; expected data"),
        ({"format": 2}, "holds no marks of format 1: format: 1 was expected"),
        ({"marks": {"record-9": {"edit": "right"}}}, "found record 'record-9', expected one of the 3 .*'record-"),
        ({"marks": {"recrod-2": {}}}, "the nearest is 'record-2'"),
        ({"marks": {"record-0": {"probes": {"5": "wrong"}}}}, "'record-0': found probe 5, expected 0 to 4"),
        ({"marks": {"record-0": {"probes": {"01": "wrong"}}}}, "'01' does not match"),
        ({"marks": {"record-0": {"edit": "fine"}}}, "marks/record-0/edit: 'fine' is not one of"),
        ({"marks": {"record-2": {"edit": "wrong"}}}, "leaves no record of split 'test'"),
    ],
)
def test_marks_that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    marks = write_marks(tmp_path / "marks.json", folder, **{"marks": {}, **changes})
    before = sorted(tmp_path.iterdir())
    with pytest.raises(FGVEditError, match=expected):
        apply_marks(str(folder), marks, tmp_path / "reviewed")
    assert sorted(tmp_path.iterdir()) == before


def test_the_records_themselves_and_other_folders_are_not_written_over(folder: Path, tmp_path: Path) -> None:
    marks = write_marks(tmp_path / "marks.json", folder, {})
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("x")
    (foreign / "review.json").write_text('{"by": "a journal"}')
    for out, expected in ((folder, "holds the records"), (foreign, "expected a new or empty folder")):
        before = {path: path.read_bytes() for path in out.iterdir()}
        with pytest.raises(FGVEditError, match=expected):
            apply_marks(str(folder), marks, out)
        assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_the_current_folder_is_not_written_over(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = write_marks(tmp_path / "marks.json", folder, {})
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(FGVEditError, match=r"--out '\.': expected a folder with a name"):
        main([str(folder), "--apply", str(marks), "--out", "."])
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"id": None}, r"'test-00000.parquet\[0\]': id: found None, expected a text"),
        ({"question": None}, "'record-2': question: found None"),
        ({"probes": None}, "'record-2': probes: found None"),
        ({"probes": [make_probe("in_scope"), None]}, "'record-2': probes/1: found None"),
        ({"probes": [{**make_probe("in_scope"), "answer": None}]}, "'record-2': probes/0/answer: found None"),
    ],
)
def test_what_is_not_there_is_named(folder: Path, tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    table = pa.Table.from_pylist([{**make_row(2), **changes}], schema=features().arrow_schema)
    pq.write_table(table, folder / "test-00000.parquet")
    marks = write_marks(tmp_path / "marks.json", folder, {})
    for ask in (
        lambda: write_page(str(folder), tmp_path / "page"),
        lambda: write_page(str(folder), tmp_path / "page", sample=2),
        lambda: apply_marks(str(folder), marks, tmp_path / "reviewed"),
        lambda: report(str(folder)),
    ):
        with pytest.raises(FGVEditError, match=expected):
            ask()
    assert not (tmp_path / "reviewed").exists()


def test_half_a_character_is_no_text(folder: Path, tmp_path: Path) -> None:
    """JSON can hold it, and nothing else can."""
    half = "\ud83d"
    marks = write_marks(tmp_path / "marks.json", folder, {}, reviewer=half)
    with pytest.raises(FGVEditError, match="half a character"):
        apply_marks(str(folder), marks, tmp_path / "reviewed")
    (folder / "labels.jsonl").write_text(json.dumps(label("record-0", half)))
    with pytest.raises(FGVEditError, match="line 1: found half a character"):
        write_page(str(folder), tmp_path / "page")
    own = tmp_path / "json"
    own.mkdir()
    row = {**make_row(0), "target": half, "image": "x.png", "probes": [make_probe("rephrase")]}
    (own / "test.jsonl").write_text(json.dumps(row))
    for ask in (lambda: write_page(str(own), tmp_path / "page"), lambda: report(str(own))):
        with pytest.raises(FGVEditError, match=r"'record-0': target: found '\\ud83d'"):
            ask()
    assert not (tmp_path / "page" / "index.html").exists()


def test_a_card_that_is_none_is_named(tmp_path: Path) -> None:
    own = tmp_path / "json"
    own.mkdir()
    row = {**make_row(0), "image": {"bytes": base64.b64encode(png()).decode()}, "probes": [make_probe("rephrase")]}
    (own / "test.jsonl").write_text(json.dumps(row))
    (own / "README.md").write_text("---\ntitle: a: b\n---\n")
    marks = write_marks(tmp_path / "marks.json", own, {})
    with pytest.raises(FGVEditError, match=r"data card '.*README.md'"):
        apply_marks(str(own), marks, tmp_path / "reviewed")
    assert not (tmp_path / "reviewed").exists()


def test_nothing_needs_torch() -> None:
    modules = ["labelling.tasks", "quality", "review.page", "validate.checks", "validate.texts", "vqav2.official"]
    code = f"import sys, {', '.join('builders.' + name for name in modules)}; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(folder), "--out", str(tmp_path / "page"), "--sample", "2"])
    assert "2 records, 12 things to mark" in capsys.readouterr().out
    marks = write_marks(tmp_path / "marks.json", folder, {"record-1": {"edit": "wrong"}})
    main([str(folder), "--apply", str(marks), "--out", str(tmp_path / "reviewed")])
    assert "left out: 1 records" in capsys.readouterr().out
    with pytest.raises(FGVEditError, match="--sample 0: expected"):
        main([str(folder), "--out", str(tmp_path / "page"), "--sample", "0"])
    found = subprocess.run(
        [sys.executable, "-m", "builders.review", str(folder), "--apply", "none.json", "--out", str(tmp_path / "x")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (2, "error: 'none.json': No such file or directory\n")
    assert not (tmp_path / "x").exists()


def test_labels_of_another_form_are_refused(folder: Path, tmp_path: Path) -> None:
    for text, expected in {
        "{": "line 1: expected a label as JSON",
        '{"id": "record-0"}': "line 1: the line: 'labeller' is a required property",
        (json.dumps(label("record-0", "")) + "\n") * 2: "line 2: found record 'record-0' again",
    }.items():
        (folder / "labels.jsonl").write_text(text)
        with pytest.raises(FGVEditError, match=expected):
            write_page(str(folder), tmp_path / "page")
