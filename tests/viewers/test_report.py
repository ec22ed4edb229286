"""The page of a run: what is read, counted from the rows by other means, and the page in a real browser."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import DESKTOP, PHONE, Opened
from PIL import Image
from rows import image_ref, make_probe, make_row

from builders.parquet import write_rows
from fgvedit.cli.report import main
from fgvedit.dataset import load_records
from fgvedit.evaluation.metrics import metrics_from_rows, router_from_rows
from fgvedit.probes import changes
from fgvedit.schema import ImageRef
from fgvedit.util.errors import FGVEditError
from fgvedit.viewers.pages import Images
from fgvedit.viewers.report.page import write_report

SCRIPT = "<script>document.title = 'hacked'</script><img src=x onerror=\"document.title='hacked'\">"
PROTOCOLS = ["paper", "generation"]
RECORDS = 30  # three pages of the list, and two scripts of records
GRID = (4, 2)  # rows and columns
Rows = list[dict[str, Any]]


# -- runs --------------------------------------------------------------------------------------------------------------


def rows_of(data: Path, routed: bool = True, sequence: int | None = None) -> Rows:
    """Made-up rows on every record of the split `test`, under both protocols."""
    drawn = random.Random(0)
    rows = []
    for number, record in enumerate(load_records(str(data)).records):
        asked = [("edit", record.question, record.target)]
        asked += [(probe.kind, probe.question, probe.answer) for probe in record.probes]
        place = number % sequence + 1 if sequence else 1
        for edits in dict.fromkeys([place, sequence or 1]):
            routes = [drawn.random() for _ in asked]
            for protocol in PROTOCOLS:
                for probe, (kind, question, answer) in enumerate(asked):
                    rho = routes[probe] if routed else None
                    scores = [0.0, 1.0] if changes(kind) else [0.0, 0.25, 1.0]
                    rows.append(
                        {
                            "record_id": record.id,
                            "image_id": record.image.image_id,
                            "protocol": protocol,
                            "kind": kind,
                            "probe": probe - 1,
                            "question": question,
                            "before": f"before {probe}",
                            "after": f"after {probe}" if number else f"after {probe} {'long' * 30}",
                            "expected": answer if changes(kind) else None,
                            "answer": answer,
                            "score": drawn.choice(scores),
                            "rho": rho,
                            "stored_edit": drawn.randrange(edits) if routed else None,
                            "route": "edited" if rho is None or rho >= 0.5 else "base",
                            "edits": edits,
                            "age": edits - place,
                        }
                    )
    return rows


def look_of(record_id: str, probes: int, fit: str | None = "squash") -> dict[str, Any]:
    """Maps of which each has one strong place, the one of its own number; the first probe's is place 1. `fit` None: as
    of an older run, which did not say it."""

    def one(place: int) -> str:
        weights = bytearray(GRID[0] * GRID[1])
        weights[place % len(weights)] = 255
        return base64.b64encode(bytes(weights)).decode()

    maps = [one(place + 1) for place in range(probes + 1)]
    look = {"record_id": record_id, "grid": list(GRID), "edit": one(0), "probes": maps}
    return {**look, "fit": fit} if fit else look


def write_run(folder: Path, data: Path, rows: Rows, looks: list[dict[str, Any]] | None = None, **changes: Any) -> Path:
    """A finished run's folder; `changes` of its manifest."""
    folder.mkdir()
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text(text)
    if looks:
        (folder / "looks.jsonl").write_text("".join(json.dumps(look) + "\n" for look in looks))
    loaded = load_records(str(data))
    manifest = {
        "editor": {"name": "mine", "class": "mine:Mine", "config": {}, "checkpoint": None},
        "backbone": {"name": "tiny", "source": "model", "revision": "0", "input_mode": "native"},
        "dataset": {
            "name": str(data), "config": "default", "split": "test", "revision": loaded.revision,
            "records": len(loaded.records), "limit": None,
        },
        "protocols": PROTOCOLS, "sequence": None, "seed": 0, "device": "cpu", "dtype": "float32",
        "rows_sha256": hashlib.sha256(text.encode()).hexdigest(),
        **changes,
    }  # fmt: skip
    result = {"format": 2, "manifest": manifest, "metrics": metrics_from_rows(rows), "router": router_from_rows(rows)}
    (folder / "result.json").write_text(json.dumps(result))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "records"
    write_rows([make_row(number) for number in range(RECORDS)], folder, "test")
    return folder


@pytest.fixture(scope="module")
def two_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "records"
    write_rows([make_row(number) for number in range(2)], folder, "test")
    return folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of an editor with a router that looks at images, with its page."""
    rows = rows_of(data)
    looks = [look_of(f"record-{number}", 5) for number in range(RECORDS)]
    folder = write_run(tmp_path_factory.mktemp("runs") / "run", data, rows, looks)
    write_report(folder)
    return folder


def read_rows(run: Path) -> Rows:
    return [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]


def page_data(page: Path) -> Any:
    text = (page / "index.html").read_text()
    return json.loads(text.split('<script type="application/json" id="page-data">')[1].split("</script>")[0])


def written_records(page: Path) -> list[dict[str, Any]]:
    texts = [path.read_text().split(" = ", 1)[1] for path in sorted((page / "records").iterdir())]
    return [record for text in texts for record in json.loads(text.rstrip().removesuffix(";"))]


def shows(row: dict[str, Any], show: str) -> bool:
    """Whether a filter is to show a row, by its definition."""
    change, away = changes(row["kind"]), row["route"] != "base"
    routed = row["rho"] is not None
    wrong, missed, falsely = row["score"] < 1, routed and change and not away, routed and not change and away
    return {
        "all": True,
        "wrong": wrong,
        "missed": missed,
        "falsely": falsely,
        "answer": wrong and routed and not missed and not falsely,
    }[show]


# -- what is read ------------------------------------------------------------------------------------------------------


def test_every_row_is_on_the_page(run: Path) -> None:
    shown = {}
    for record in written_records(run / "report"):
        for probe, own in enumerate(record["probes"]):
            for protocol, answered in zip(PROTOCOLS, own["asked"], strict=True):
                shown[record["id"], protocol, probe - 1] = (own["question"], own["answer"], *answered)
    rows = read_rows(run)
    assert len(shown) == len(rows) == RECORDS * 6 * 2
    for row in rows:
        expected = (row["question"], row["answer"], row["before"], row["after"], row["score"], row["rho"], row["route"])
        found = shown[row["record_id"], row["protocol"], row["probe"]]
        assert found[:-1] == pytest.approx(expected, abs=1e-6) and found[-1] == row["stored_edit"]


def test_metrics_and_histograms_are_those_of_the_rows(run: Path) -> None:
    content, rows = page_data(run / "report"), read_rows(run)
    assert content["figures"] == json.loads((run / "result.json").read_text())["metrics"]
    bins = Counter((row["protocol"], row["kind"], int(row["rho"] * 40)) for row in rows)
    found: Counter[tuple[str, str, int]] = Counter()
    for protocol, kinds in content["rho"]["counts"].items():
        for kind, sides in kinds.items():
            for side in sides:
                found.update({(protocol, kind, bin): count for bin, count in enumerate(side) if count})
    assert found == bins


@pytest.mark.parametrize("threshold", [0.51, 0.7, 1, 1.5])
def test_on_which_side_of_the_threshold_a_probe_is_hangs_on_no_bin(
    two_records: Path, tmp_path: Path, threshold: float
) -> None:
    rows, rhos = rows_of(two_records), [0.0, 0.501, 0.509, 0.51, 0.524, 0.7, 1.0]
    for number, row in enumerate(rows):
        row["rho"] = rhos[number % 7]
    editor = {"name": "mine", "class": "m:M", "config": {"threshold": threshold}, "checkpoint": None}
    run = write_run(tmp_path / "run", two_records, rows, editor=editor)
    write_report(run)
    for kind, (below, above) in page_data(run / "report")["rho"]["counts"]["paper"].items():
        own = [row["rho"] for row in rows if row["protocol"] == "paper" and row["kind"] == kind]
        assert sum(below) == sum(rho < threshold for rho in own)
        assert sum(above) == sum(rho >= threshold for rho in own)


def test_a_rho_that_is_no_number_is_shown_as_it_is(data: Path, tmp_path: Path) -> None:
    rows = rows_of(data)
    rows[0]["rho"], rows[1]["rho"] = float("nan"), 3.5
    run = write_run(tmp_path / "run", data, rows)
    write_report(run)
    content = page_data(run / "report")
    assert (content["rho"]["low"], content["rho"]["high"]) == (0, 3.5)
    asked = written_records(run / "report")[0]["probes"]
    assert asked[0]["asked"][0][3] == "nan" and asked[1]["asked"][0][3] == 3.5


def test_nothing_needs_torch(run: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from fgvedit.cli.report import main\n"
        f"main([{str(run)!r}, '--out', {str(tmp_path / 'page')!r}]); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (
        0,
        f"{tmp_path / 'page' / 'index.html'}: 30 records, 360 rows, 31 images\n",
    )


# -- the page ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def page(browser: Any, run: Path) -> Iterator[Opened]:
    page = opened(browser, run / "report")
    yield page
    page.close()


def opened(browser: Any, folder: Path, fragment: str = "", **context: Any) -> Opened:
    page = Opened(browser, folder, fragment, **{"viewport": DESKTOP, **context})
    page.until("() => document.querySelector('#list').children.length > 0")
    return page


def shown_ids(page: Opened) -> list[str]:
    return page.tab.evaluate("[...document.querySelectorAll('.card')].map(card => card.dataset.record)")


def wait_for_focus(page: Opened, record: str) -> None:
    page.until("record => document.activeElement.closest('.card')?.dataset.record === record", record)


def wait_for_count(page: Opened, rows: Rows, show: str = "all", kind: str = "all", protocol: str = "paper") -> None:
    own = [row for row in rows if row["protocol"] == protocol and kind in ("all", row["kind"]) and shows(row, show)]
    records = len({row["record_id"] for row in own})
    text = f"Records 1 to {min(10, records)} of {records}, {len(own)} probes"
    page.until("text => document.querySelector('#count').textContent === text", text)


def test_filters_show_what_the_rows_hold(page: Opened, run: Path) -> None:
    rows = read_rows(run)
    wait_for_count(page, rows)
    for show in ("wrong", "missed", "falsely", "answer", "all"):
        page.tab.get_by_label("Show", exact=True).select_option(show)
        wait_for_count(page, rows, show)
    page.tab.get_by_label("of kind").select_option("in_scope")
    page.tab.get_by_label("Show", exact=True).select_option("missed")
    page.tab.get_by_label("Protocol").select_option("generation")
    wait_for_count(page, rows, "missed", "in_scope", "generation")
    assert page.tab.locator(".probes tbody tr").count() == len(shown_ids(page))  # one in_scope probe a record
    first = page.tab.locator(".card").first
    first.get_by_role("button", name="Show the 5 other probes").click()
    assert first.locator(".probes tbody tr").count() == 6
    page.tab.get_by_role("button", name="Show all", exact=True).click()
    wait_for_count(page, rows, protocol="generation")


def test_search_by_record_id(page: Opened) -> None:
    page.press("/")
    page.press("D-2")  # record-2 and record-20 to record-29
    page.until("() => document.querySelector('#count').textContent.startsWith('Records 1 to 10 of 11,')")
    assert shown_ids(page) == ["record-2", *(f"record-{number}" for number in range(20, 29))]
    page.press("x")
    page.tab.get_by_text("No record is like this.").wait_for()


def test_the_router_s_confusion_and_where_its_numbers_lead(page: Opened, run: Path) -> None:
    rows = [row for row in read_rows(run) if row["protocol"] == "paper"]
    for kind in ("edit", "in_scope", "out_of_scope", "other_image"):
        own = [row for row in rows if row["kind"] == kind]
        show = "missed" if changes(kind) else "falsely"
        off = sum(shows(row, show) for row in own)
        line = page.tab.locator("#router tr", has=page.tab.get_by_role("rowheader", name=kind, exact=True))
        cells = line.locator("td").all_inner_texts()
        share = f"{100 * off / len(own):.1f} %"
        assert cells == [str(len(own)), f"{len(own) - off} · {100 - 100 * off / len(own):.1f} %", f"{off} · {share}"]
    page.tab.locator("#router").get_by_role("link").last.click()  # falsely routed, other_image
    wait_for_count(page, rows, "falsely", "other_image")
    assert "show=falsely" in page.tab.url and "kind=other_image" in page.tab.url
    page.tab.go_back()
    wait_for_count(page, rows)


def test_deep_links(browser: Any, run: Path) -> None:
    rows = read_rows(run)
    page = opened(browser, run / "report", "protocol=generation&show=wrong&record=record-27")
    wait_for_focus(page, "record-27")
    own_link = page.tab.get_by_role("link", name="record-27", exact=True)
    assert own_link.get_attribute("href") == "#protocol=generation&record=record-27"
    own = {row["record_id"] for row in rows if row["protocol"] == "generation" and shows(row, "wrong")}
    ids = [f"record-{number}" for number in range(RECORDS) if f"record-{number}" in own]
    assert shown_ids(page) == ids[ids.index("record-27") // 10 * 10 :][:10]
    assert page.tab.locator("#protocol").input_value() == "generation"
    page.close()
    right = next(id for id in (row["record_id"] for row in rows) if not any(
        row["record_id"] == id and row["protocol"] == "paper" and row["kind"] == "edit" and shows(row, "missed")
        for row in rows
    ))  # fmt: skip
    page = opened(browser, run / "report", f"show=missed&kind=edit&record={right}")
    wait_for_focus(page, right)  # a record that the filter does not show is shown without it
    assert page.tab.locator("#show").input_value() == "all"
    page.close()
    page = opened(browser, run / "report", "record=nobody&show=bogus&kind=toString")
    page.tab.get_by_role("alert").get_by_text("There is no record 'nobody' in this run.").wait_for()
    wait_for_count(page, rows)
    page.close()


def test_keys(page: Opened) -> None:
    page.press("n")
    wait_for_focus(page, "record-0")
    page.press("nn")
    wait_for_focus(page, "record-2")
    page.press("p")
    wait_for_focus(page, "record-1")
    assert page.tab.url.endswith("#record=record-1")
    for number in range(2, 27):  # over two pages of the list, into the second script of records
        page.press("n")
        wait_for_focus(page, f"record-{number}")
    for number in reversed(range(19, 26)):
        page.press("p")
        wait_for_focus(page, f"record-{number}")
    card = page.tab.locator('.card[data-record="record-19"]')
    picked = int(card.locator(".pick input:checked").get_attribute("value"))
    page.press("j" if picked < 5 else "k")
    moved = picked + 1 if picked < 5 else picked - 1
    assert int(card.locator(".pick input:checked").get_attribute("value")) == moved
    page.press("h")
    assert not card.locator("canvas").first.is_visible()
    page.press("h")
    assert card.locator("canvas").first.is_visible()
    page.tab.get_by_text("Keys, and what the words mean").click()
    page.tab.get_by_role("checkbox", name="Use these keys").uncheck()
    page.press("nh")
    assert page.tab.url.endswith("#record=record-19") and card.locator("canvas").first.is_visible()


def test_a_view_is_small_whatever_the_run(page: Opened) -> None:
    assert len(shown_ids(page)) == 10
    scripts = [Path(url).name[:4] for url in page.requests if "/records/" in url]
    assert scripts == ["0000"]
    assert set(page.tab.evaluate("[...document.querySelectorAll('#list img')].map(image => image.loading)")) == {"lazy"}
    page.tab.get_by_role("button", name="Next page").first.click()
    wait_for_focus(page, "record-10")
    page.tab.get_by_role("button", name="Next page").last.click()
    wait_for_focus(page, "record-20")
    assert [Path(url).name[:4] for url in page.requests if "/records/" in url] == ["0000", "0001"]
    scripts = page.tab.evaluate("[...document.querySelectorAll('script[src^=records]')].map(script => script.src)")
    assert sorted(Path(url).name[:4] for url in scripts) == ["0000", "0001"]
    assert page.tab.get_by_role("button", name="Next page").first.is_disabled()


def test_records_that_did_not_come_are_asked_for_again(browser: Any, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    write_report(run, folder)
    (script,) = (folder / "records").glob("0001-*")
    page = opened(browser, folder)
    script.rename(tmp_path / script.name)
    page.tab.get_by_label("Record id").fill("record-27")
    page.tab.get_by_role("alert").get_by_text("The folder records is not beside this page").wait_for()
    (tmp_path / script.name).rename(script)
    page.tab.get_by_label("Record id").fill("record-28")
    page.until("() => document.querySelector('.card').dataset.record === 'record-28'")
    assert page.tab.locator("#trouble").text_content() == ""
    assert len(page.complaints) == 1 and "ERR_FILE_NOT_FOUND" in page.complaints.pop()
    page.close()


def test_answers_scores_and_routes(page: Opened, run: Path) -> None:
    rows = [row for row in read_rows(run) if row["record_id"] == "record-0" and row["protocol"] == "paper"]
    card = page.tab.locator(".card").first
    for row in rows:
        text = card.locator(f'tr[data-probe="{row["probe"]}"]').inner_text()
        assert row["question"] in text and f"{row['before']} → {row['after']}" in text and row["route"] in text
        assert f"{row['rho']:.3f}" in text
        assert {0.0: "✗ wrong", 0.25: "◐ 25 %", 1.0: "✓ right"}[row["score"]] in text
        word = ("routed", "missed") if changes(row["kind"]) else ("falsely routed", "left to base")
        assert word[row["route"] == "base"] in text
        assert ("as before: " in text) == (row["expected"] is None)
        assert row["expected"] is None or row["expected"] in text
    assert "What colour is the card?" in card.get_by_role("heading").inner_text()


def test_the_heat_map_lies_where_the_weights_are(page: Opened) -> None:
    card = page.tab.locator(".card").nth(1)
    card.scroll_into_view_if_needed()
    for probe in (0, 2, 4):  # 4: about another image
        card.locator(f'tr[data-probe="{probe}"] input').check()
        for name, strong in ((".edit", 0), (".asked", (probe + 2) % 8)):
            picture = card.locator(f"{name} .picture")
            page.until("image => image.complete", picture.locator("img").element_handle())
            hot = pixels(picture)
            page.press("h")
            plain = pixels(picture)
            page.press("h")
            for place in range(8):
                row, column = divmod(place, 2)
                at = (int((row + 0.6) * len(hot) / 4), int((column + 0.4) * hot.shape[1] / 2))
                colour, opacity = ((255, 150, 0), 0.65) if place == strong else ((12, 12, 44), 0.55)
                blend = (1 - opacity) * plain[at] + opacity * np.array(colour)
                assert np.abs(hot[at] - blend).max() < 5
        row, column = divmod((probe + 2) % 8, 2)
        assert f"row {row + 1} column {column + 1}: 100 %" in card.locator(".asked figcaption").inner_text()
    assert "Another image" in (card.locator(".asked img").get_attribute("alt") or "")


def pixels(picture: Any) -> np.ndarray:
    """(height, width, 3)"""
    return np.asarray(Image.open(io.BytesIO(picture.screenshot())).convert("RGB"), dtype=float)


def photo(width: int, height: int, kind: str = "JPEG", **options: Any) -> dict[str, Any]:
    """A green photo with a red square at its left."""
    image, buffer = Image.new("RGB", (width, height), (90, 140, 60)), io.BytesIO()
    image.paste((200, 40, 40), (0, 0, height, height))
    image.save(buffer, kind, **options)
    return {"bytes": buffer.getvalue(), "path": None}


@pytest.mark.parametrize(
    "fit, clip, seen, said",
    [
        ("shortest", "folder/of/then", (1, 1), None),
        ("squash", "folder/of/then", (3, 1), None),
        ("longest", "folder/of/then", (3, 3), None),
        (None, "ViT-B-32", (1, 1), "on the assumption that it was the square in the middle"),
        (None, "tiny-clip", (3, 1), "on the assumption that it was the whole image"),
    ],
)
def test_on_a_wide_photo_the_heat_map_lies_where_clip_looked(
    browser: Any, tmp_path: Path, fit: str | None, clip: str, seen: tuple[int, int], said: str | None
) -> None:
    write_rows([make_row(0, image=photo(300, 100))], tmp_path / "records", "test")
    rows = rows_of(tmp_path / "records")
    editor = {"name": "mine", "class": "m:M", "config": {"clip": clip}, "checkpoint": None}
    run = write_run(tmp_path / "run", tmp_path / "records", rows, [look_of("record-0", 5, fit)], editor=editor)
    write_report(run)
    page = opened(browser, run / "report")
    image, heat = (page.tab.locator(f".edit {tag}").bounding_box() for tag in ("img", "canvas"))
    assert image["width"] == pytest.approx(3 * image["height"], abs=2)
    for start, size, part in (("x", "width", seen[0]), ("y", "height", seen[1])):
        assert heat[size] == pytest.approx(part * image["height"], abs=2)
        assert heat[start] + heat[size] / 2 == pytest.approx(image[start] + image[size] / 2, abs=2)
    text = page.tab.locator("main").inner_text()
    assert said in text if said else "assumption" not in text
    page.close()


def turned() -> Image.Exif:
    """What a camera says that was held on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_a_photo_that_its_camera_wants_turned_is_shown_as_models_see_it(browser: Any, tmp_path: Path) -> None:
    image = photo(300, 100, exif=turned(), quality=95)
    entity = {"name": "card", "box": [0.0, 0.0, 100.0, 100.0]}  # the red square
    write_rows([make_row(0, image=image, entity=entity)], tmp_path / "records", "test")
    rows = rows_of(tmp_path / "records")
    run = write_run(tmp_path / "run", tmp_path / "records", rows, [look_of("record-0", 5)])
    write_report(run)
    record = load_records(str(tmp_path / "records")).records[0]
    assert record.image.open().size == (300, 100)  # what models are given
    page = opened(browser, run / "report")
    page.press("h")  # the heat map off
    shown = page.tab.locator(".edit .picture")
    page.until("image => image.complete", shown.locator("img").element_handle())
    size = "image => [image.naturalWidth, image.naturalHeight, image.width, image.height]"
    *natural, width, height = shown.locator("img").evaluate(size)
    assert natural == [300, 100] and width == pytest.approx(3 * height, abs=2)
    box, heat = (shown.locator(name).bounding_box() for name in ("rect.over", "img"))
    assert (box["x"], box["y"]) == (pytest.approx(heat["x"], abs=4), pytest.approx(heat["y"], abs=4))
    assert box["width"] == pytest.approx(heat["width"] / 3, abs=4)
    colours = pixels(shown)
    middle = colours.shape[0] // 2
    assert np.abs(colours[middle, middle] - (200, 40, 40)).max() < 20
    assert np.abs(colours[middle, -middle] - (90, 140, 60)).max() < 20
    page.close()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", [turned(), b"Exif\0\0broken"], ids=["turned", "broken"])
def test_no_image_of_a_page_says_how_it_is_to_be_turned(kind: str, exif: Any, tmp_path: Path) -> None:
    image = ImageRef("photo", photo(30, 10, kind, exif=exif)["bytes"])
    found = Images(tmp_path).file(image)
    shown = Image.open(tmp_path / found["file"])
    assert shown.size == (found["width"], found["height"]) == (30, 10)
    assert 0x0112 not in shown.getexif()


def test_the_shipped_clip_and_those_known_by_name_take_the_part_that_the_page_says() -> None:
    import open_clip

    from fgvedit.editors.memory.clip import Clip

    wide = Image.new("RGB", (300, 100), (0, 0, 255))
    wide.paste((255, 0, 0), (100, 0, 200, 100))  # the square in the middle
    whole = Clip("tiny-clip").preprocess(wide)
    middle = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(), is_train=False)(wide)
    assert whole[2, 72, 5] > whole[0, 72, 5]
    assert (middle[0, 5:-5, 5:-5] > middle[2, 5:-5, 5:-5]).all()


def test_questions_without_an_image_and_about_others(page: Opened) -> None:
    card = page.tab.locator(".card").first
    card.locator('tr[data-probe="3"] input').check()
    assert "A question without an image" in card.locator(".asked").inner_text()
    assert card.locator(".asked img").count() == 0
    card.locator('tr[data-probe="4"] input').check()
    own, other = (card.locator(f"{name} img").get_attribute("src") for name in (".edit", ".asked"))
    assert own != other and card.locator(".asked rect").count() == 0
    box, image = card.locator(".edit rect.over").bounding_box(), card.locator(".edit img").bounding_box()
    for side in ("width", "height"):  # the box is 0, 0, 8, 8 in an image of 16 pixels
        assert box[side] == pytest.approx(image[side] / 2, abs=4)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_anyone_can_read_it(browser: Any, run: Path, scheme: str, viewport: dict[str, int]) -> None:
    page = opened(browser, run / "report", color_scheme=scheme, viewport=viewport)
    page.tab.wait_for_selector("#rho-plot svg .bars")
    page.tab.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    assert page.fits()
    assert page.findings() == []
    page.close()


RHO_TABLE = (
    "[...document.querySelectorAll('#rho-table tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"
)


def test_the_plots_follow_dark_mode_and_say_the_same_as_their_table(page: Opened, run: Path) -> None:
    page.tab.wait_for_selector("#rho-plot svg .bars")
    ink = "getComputedStyle(document.querySelector('#rho-plot .annotation-text')).fill"
    light = page.tab.evaluate(ink)
    page.tab.emulate_media(color_scheme="dark")
    page.until(f"light => {ink} !== light", light)
    lines = page.tab.evaluate(RHO_TABLE)
    rows = [row for row in read_rows(run) if row["protocol"] == "paper"]
    for kind, *counts in lines:
        bins = Counter(int(row["rho"] * 10) for row in rows if row["kind"] == kind)
        assert [int(count) for count in counts] == [bins[bin] for bin in range(10)]
    assert {line[0] for line in lines} == {row["kind"] for row in rows}
    shapes = page.tab.evaluate("document.querySelector('#rho-plot').layout.shapes.map(shape => shape.x0)")
    assert shapes == [0.5] * len(lines)


def test_in_the_bin_of_the_threshold_each_colour_has_its_own_side(browser: Any, data: Path, tmp_path: Path) -> None:
    rows = rows_of(data)
    for number, row in enumerate(rows):
        row["rho"] = 0.505 if number % 5 else 0.52  # of one bin
    editor = {"name": "mine", "class": "m:M", "config": {"threshold": 0.51}, "checkpoint": None}
    run = write_run(tmp_path / "run", data, rows, editor=editor)
    write_report(run)
    page = opened(browser, run / "report")
    page.tab.wait_for_selector("#rho-plot svg .bars")
    sums = "document.querySelector('#rho-plot').data.map(trace => trace.y.reduce((one, other) => one + other, 0))"
    fine, off = (page.tab.evaluate(sums)[side::2] for side in (0, 1))
    kinds = [line[0] for line in page.tab.evaluate(RHO_TABLE)]
    for kind, right, wrong in zip(kinds, fine, off, strict=True):
        own = [row["rho"] >= 0.51 for row in rows if row["protocol"] == "paper" and row["kind"] == kind]
        assert right == own.count(changes(kind)) and wrong == len(own) - right > 0
    page.close()


def test_texts_are_text(browser: Any, tmp_path: Path) -> None:
    probes = [make_probe("in_scope", SCRIPT, image_id="image-0", question=SCRIPT)]
    row = make_row(0, id="__proto__", question=SCRIPT, answer=f"a{SCRIPT}", target=SCRIPT, probes=probes)
    row["entity"]["name"] = SCRIPT
    write_rows([row, make_row(1, id="</script><b>x</b>")], tmp_path / "records", "test")
    rows = rows_of(tmp_path / "records")
    for one in rows:
        one["before"], one["after"], one["route"] = SCRIPT, f"\u2028{SCRIPT}", SCRIPT
    editor = {
        "name": SCRIPT,
        "class": "m:M",
        "config": {"x": SCRIPT, "__proto__": {"clip": SCRIPT}},
        "checkpoint": None,
    }
    run = write_run(tmp_path / "run", tmp_path / "records", rows, editor=editor)
    write_report(run)
    page = opened(browser, run / "report")
    page.tab.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    text = page.tab.locator("body").inner_text()
    assert text.count(SCRIPT) > 12 and "</script><b>x</b>" in text
    assert page.tab.title().startswith(SCRIPT)
    assert page.tab.locator("main b", has_text="x").filter(has_not_text="<").count() == 0
    page.press("n")
    wait_for_focus(page, "__proto__")
    page.tab.reload()
    wait_for_focus(page, "__proto__")
    page.close()


# -- other runs --------------------------------------------------------------------------------------------------------


def test_an_editor_without_a_router(browser: Any, data: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", data, rows_of(data, routed=False))
    write_report(run)
    assert not (run / "report" / "plotly.min.js").exists()
    page = opened(browser, run / "report")
    heads = page.tab.locator(".card").first.get_by_role("columnheader").all_inner_texts()
    assert heads == ["probe", "before → after", "expected", "score", "route"]
    assert not page.tab.locator("#router-section").is_visible() and not page.tab.locator("#rho-section").is_visible()
    assert not page.tab.get_by_text("Heat map", exact=True).is_visible()
    assert page.tab.get_by_label("Show", exact=True).locator("option").all_inner_texts() == ["all probes", "wrong"]
    page.tab.get_by_label("Show", exact=True).select_option("wrong")
    wait_for_count(page, read_rows(run), "wrong")
    assert page.tab.locator("img.thumb").count() == page.tab.locator('tr[data-probe="4"]').count() > 0
    assert page.tab.locator("canvas").count() == 0
    page.close()


def test_a_run_in_which_everything_is_to_change(browser: Any, tmp_path: Path) -> None:
    write_rows([make_row(0, probes=[make_probe("in_scope", image_id="image-0")])], tmp_path / "records", "test")
    run = write_run(tmp_path / "run", tmp_path / "records", rows_of(tmp_path / "records"))
    write_report(run)
    page = opened(browser, run / "report")
    table = page.tab.locator("#router table")
    assert table.evaluate("table => [...table.childNodes].map(node => node.nodeName)") == ["CAPTION", "TBODY"]
    page.close()


def test_a_run_of_format_1(data: Path, run: Path, tmp_path: Path) -> None:
    rows = [{key: value for key, value in row.items() if key not in ("edits", "age")} for row in read_rows(run)]
    old = write_run(tmp_path / "run", data, rows)
    result = json.loads((old / "result.json").read_text())
    del result["manifest"]["sequence"]
    (old / "result.json").write_text(json.dumps({**result, "format": 1}))
    write_report(old)
    assert [record["signs"] for record in page_data(old / "report")["records"]] == [
        record["signs"] for record in page_data(run / "report")["records"]
    ]


def test_edits_in_a_row(browser: Any, data: Path, tmp_path: Path) -> None:
    rows = [row for row in rows_of(data, sequence=4) if int(row["record_id"].removeprefix("record-")) < 28]
    run = write_run(tmp_path / "run", data, rows, sequence=4)
    write_report(run)
    page = opened(browser, run / "report", "at=%40end&show=wrong")
    end = [row for row in rows if row["edits"] == 4]
    first = [row for row in rows if row["age"] == 0]
    assert len(end) == len(first) == 28 * 6 * 2
    wait_for_count(page, end, "wrong")
    card = page.tab.locator(".card").first
    assert card.get_by_role("link").first.get_attribute("href") == f"#at=%40end&record={shown_ids(page)[0]}"
    page.tab.get_by_label("Evaluated").select_option("right after its own edit")
    wait_for_count(page, first, "wrong")
    page.tab.get_by_role("button", name="Show all", exact=True).click()
    wait_for_count(page, first)
    text = page.tab.locator('.card[data-record="record-2"]').inner_text()
    assert "edit 3 of 4" in text
    others = [
        row for row in first
        if row["record_id"] == "record-2" and row["protocol"] == "paper"
        and row["route"] != "base" and row["stored_edit"] != 2
    ]  # fmt: skip
    assert text.count("another record's") == len(others) > 0
    page.close()


# -- bad input ---------------------------------------------------------------------------------------------------------


Alter = Callable[[list[str]], object]


def rows_altered(alter: Alter, rehash: bool = True) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        lines = (run / "rows.jsonl").read_text().splitlines()
        alter(lines)
        text = "".join(f"{line}\n" for line in lines)
        (run / "rows.jsonl").write_text(text)
        if rehash:
            result = json.loads((run / "result.json").read_text())
            result["manifest"]["rows_sha256"] = hashlib.sha256(text.encode()).hexdigest()
            (run / "result.json").write_text(json.dumps(result))

    return damage


def changed_line(line: str, **changes: Any) -> str:
    return json.dumps({**json.loads(line), **changes})


def changed(number: int, **changes: Any) -> Alter:
    return lambda lines: lines.__setitem__(number, changed_line(lines[number], **changes))


def looks_altered(**changes: Any) -> Callable[[Path], object]:
    return lambda run: (run / "looks.jsonl").write_text(json.dumps({**look_of("record-0", 5), **changes}))


@pytest.mark.parametrize(
    "damage, expected",
    [
        (rows_altered(changed(7, score=0.123), rehash=False), "holds other rows than result.json is of"),
        (rows_altered(lambda lines: lines.__setitem__(4, "{"), rehash=False), "line 5 is damaged: expected JSON"),
        (rows_altered(changed(2, score=float("nan"))), "line 3: score: found nan, expected 0 to 1"),
        (rows_altered(changed(2, probe="1")), "line 3: probe: found '1', expected a whole number"),
        (rows_altered(changed(2, kind="other")), "line 3: kind: unknown probe kind 'other': expected one of"),
        (rows_altered(changed(2, question="Who?")), "'record-0': probe 1 is 'Who.' .*not in its data"),
        (rows_altered(changed(2, record_id="x")), "'record-0': probe 1 is missing"),
        (rows_altered(lambda lines: lines.append(lines[-1])), "'record-1': probe 4 is there twice"),
        (rows_altered(lambda lines: lines.append(changed_line(lines[-1], record_id="x"))), "record 'x'.* data lack"),
        (rows_altered(lambda lines: lines.clear()), "holds no row"),
        (lambda run: (run / "rows.jsonl").unlink(), "rows.jsonl' is missing"),
        (lambda run: (run / "result.json").write_text("{"), "result.json' is damaged: expected JSON"),
        (lambda run: (run / "result.json").write_text('{"format": 3}'), "format: found 3, expected one of 1, 2"),
        (lambda run: (run / "result.json").write_text('{"format": 2}'), "editor.name: found None, expected text"),
        (lambda run: (run / "looks.jsonl").write_text("[]\n"), "looks.jsonl': line 1 is damaged"),
        (looks_altered(probes=[]), "found 0 maps .*expected 6"),
        (looks_altered(grid=[3, 2]), r"line 1: found maps of \[8\] bytes, expected 3 \* 2"),
        (looks_altered(fit="middle"), "line 1: fit: found 'middle', expected one of squash, shortest, longest"),
    ],
)
def test_damaged_runs_are_refused(
    two_records: Path, tmp_path: Path, damage: Callable[[Path], object], expected: str
) -> None:
    run = write_run(tmp_path / "run", two_records, rows_of(two_records))
    damage(run)
    with pytest.raises(FGVEditError, match=expected):
        write_report(run)
    assert {path.name for path in run.iterdir()} <= {"rows.jsonl", "result.json", "looks.jsonl"}


def test_runs_that_are_not_there_or_not_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FGVEditError, match="there is no such folder"):
        main([str(tmp_path / "none")])
    with pytest.raises(FGVEditError, match="holds no run"):
        main([str(tmp_path)])
    run = {
        "editor": {"name": "mscke", "class": "fgvedit.editors.mscke.editor:MSCKE"}, "backbone": {"name": "tiny"},
        "dataset": {"name": "scenes", "split": "test", "limit": 50}, "protocols": PROTOCOLS, "seed": 3,
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(run))
    command = (
        "python -m fgvedit.run --editor mscke --backbone tiny --dataset scenes --split test --limit 50 "
        f"--protocol paper,generation --seed 3 --out {tmp_path}, "
    )
    with pytest.raises(FGVEditError) as raised:
        main([str(tmp_path)])
    assert "is not finished" in str(raised.value) and command in str(raised.value)


def test_data_that_moved_and_other_data(data: Path, run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in data.iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    lost = write_run(tmp_path / "run", data, read_rows(run))
    result = json.loads((lost / "result.json").read_text())
    result["manifest"]["dataset"]["name"] = str(tmp_path / "gone")
    (lost / "result.json").write_text(json.dumps(result))
    with pytest.raises(FGVEditError, match="--dataset says where the run's data are now"):
        write_report(lost)
    write_report(lost, dataset=str(moved))
    assert len(page_data(lost / "report")["records"]) == RECORDS
    write_rows([make_row(number) for number in range(RECORDS + 1)], tmp_path / "other", "test")
    with pytest.raises(FGVEditError, match=r"is of revision .* was made on .*; expected the same"):
        write_report(lost, dataset=str(tmp_path / "other"))


def test_only_a_page_of_its_own_is_replaced(data: Path, run: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("x")
    file = tmp_path / "file"
    file.write_text("x")
    for out in (foreign, file, run):
        with pytest.raises(FGVEditError, match="expected a new or empty folder, or one that the same command made"):
            write_report(run, out)
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]

    out = tmp_path / "page"
    write_report(run, out)
    (out / "notes.txt").write_text("mine")
    (out / "images" / "mine.png").write_bytes(b"mine")
    before = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    rows = [row for row in rows_of(data, routed=False) if row["record_id"] < "record-2"]
    write_report(write_run(tmp_path / "small", data, rows), out)
    after = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    listed = {Path(name) for name in json.loads((out / "report.json").read_text())["files"]}
    assert after == listed | {Path("report.json"), Path("notes.txt"), Path("images/mine.png")}
    assert Path("plotly.min.js") in before - after
    (out / "report.json").write_text(json.dumps({"files": ["images/../../thesis.txt"]}))
    with pytest.raises(FGVEditError, match="is damaged: expected the names of a page's files"):
        write_report(run, out)


def test_a_page_that_fails_leaves_nothing(data: Path, tmp_path: Path) -> None:
    row = make_row(0)
    row["image"] = {"bytes": image_ref(0).data[:60], "path": None}
    write_rows([row], tmp_path / "records", "test")
    run = write_run(tmp_path / "run", tmp_path / "records", rows_of(tmp_path / "records"))
    with pytest.raises(FGVEditError, match=r"image 'image-0'.*do not decode"):
        write_report(run, tmp_path / "page")
    assert {path.name for path in tmp_path.iterdir()} == {"records", "run"}


def test_a_page_needs_a_folder_with_a_name(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FGVEditError, match=r"^--out '\.': expected a folder with a name, to be made$"):
        main([str(run), "--out", "."])
    assert list(tmp_path.iterdir()) == []


def test_the_command_line(run: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fgvedit.report"]
    done = subprocess.run([*command, str(tmp_path / "none")], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
