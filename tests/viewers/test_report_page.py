"""The page of a run in a real browser."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from made_runs import Rows, editor, read_rows, rows_of, shows, wait_for_focus, write_data
from pages import DESKTOP, PHONE, SCRIPT, Opened
from rows import make_probe, make_row

from fgvedit.dataset import load_records
from fgvedit.evaluation.protocols import protocols
from fgvedit.evaluation.summary import CONTROL, OLDER, OlderRevision
from fgvedit.probes import changes, described, shown_metrics
from fgvedit.viewers.report import overview
from fgvedit.viewers.report.page import write_report

SHOWN = ("edit", "rephrase", "in_scope", "out_of_scope", "text_locality", "other_image")  # kinds of `make_row`


def choose(page: Opened, label: str, option: str) -> None:
    page.tab.get_by_label(label, exact=True).select_option(option)


def shown_ids(page: Opened) -> list[str]:
    return page.tab.evaluate("[...document.querySelectorAll('.card')].map(card => card.dataset.record)")


def wait_for_count(page: Opened, rows: Rows, show: str = "all", kind: str = "all", protocol: str = "paper") -> None:
    own = [row for row in rows if row["protocol"] == protocol and kind in ("all", row["kind"]) and shows(row, show)]
    records = len({row["record_id"] for row in own})
    text = f"Records 1 to {min(10, records)} of {records}, {len(own)} probes"
    page.until("text => document.querySelector('#count').textContent === text", text)


# -- records and filters -----------------------------------------------------------------------------------------------


def test_filters_show_what_the_rows_hold(page: Opened, run: Path) -> None:
    rows = read_rows(run)
    wait_for_count(page, rows)
    for show in ("wrong", "missed", "falsely", "answer", "all"):
        choose(page, "Show", show)
        wait_for_count(page, rows, show)
    choose(page, "of kind", "in_scope")
    choose(page, "Show", "missed")
    choose(page, "Protocol", "generation")
    wait_for_count(page, rows, "missed", "in_scope", "generation")
    assert page.tab.locator(".probes tbody tr").count() == len(shown_ids(page))  # one in_scope probe a record
    first = page.tab.locator(".card").first
    first.get_by_role("button", name="Show the 5 other probes").click()
    assert first.locator(".probes tbody tr").count() == 6
    page.tab.get_by_role("button", name="Show all", exact=True).click()
    wait_for_count(page, rows, protocol="generation")


def test_metrics_are_said_as_the_registry_says_them(page: Opened) -> None:
    lines = page.tab.locator("#metrics tbody").all_inner_texts()
    shown = [metric for metric in shown_metrics().values() if any(kind in SHOWN for kind in metric.kinds)]
    for line, metric in zip(lines, shown, strict=True):
        assert line.startswith(f"{metric.name}\t") and metric.meaning in line
        assert ("needs eyes" in line) == metric.needs_eyes and "retired" not in line
    for name, protocol in protocols().items():
        if name in ("paper", "generation"):
            choose(page, "Protocol", name)
            page.until("text => document.querySelector('#protocol-meaning').textContent === text", protocol.meaning)


def test_what_is_not_registered_here_or_retired_is_shown_like_any_other(
    show: Callable[..., Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = described()
    for one in (*known["kinds"], *known["metrics"]):
        one["retired"] = one["name"] == "other_image"
    monkeypatch.setattr(overview, "described", lambda: known)
    monkeypatch.setattr(overview, "protocols", lambda: {})
    page = show([make_row(number) for number in range(2)])
    line = page.tab.locator("#metrics tbody", has=page.tab.get_by_text("retired", exact=True))
    assert line.count() == 1 and line.inner_text().startswith("other_image")
    assert "other_image (retired)" in page.tab.get_by_label("of kind").locator("option").all_inner_texts()
    assert page.tab.locator("#metrics tbody").count() == len(page.tab.evaluate("pageData.metrics")) == 8
    assert "not registered here" in page.tab.locator("#protocol-meaning").inner_text()


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


def test_deep_links(open_page: Callable[..., Opened], run: Path) -> None:
    rows = read_rows(run)
    page = open_page("protocol=generation&show=wrong&record=record-27")
    wait_for_focus(page, "record-27")
    own_link = page.tab.get_by_role("link", name="record-27", exact=True)
    assert own_link.get_attribute("href") == "#protocol=generation&record=record-27"
    own = {row["record_id"]: None for row in rows if row["protocol"] == "generation" and shows(row, "wrong")}
    assert shown_ids(page) == [*own][[*own].index("record-27") // 10 * 10 :][:10]
    assert page.tab.locator("#protocol").input_value() == "generation"
    edits = [row for row in rows if row["protocol"] == "paper" and row["kind"] == "edit"]
    right = next(row["record_id"] for row in edits if not shows(row, "missed"))
    page = open_page(f"show=missed&kind=edit&record={right}")
    wait_for_focus(page, right)  # a record that the filter does not show is shown without it
    assert page.tab.locator("#show").input_value() == "all"
    page = open_page("record=nobody&show=bogus&kind=toString")
    page.tab.get_by_role("alert").get_by_text("There is no record 'nobody' in this run.").wait_for()
    wait_for_count(page, rows)


def test_keys(open_page: Callable[..., Opened]) -> None:
    page = open_page()
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


def test_a_view_is_small_whatever_the_run(open_page: Callable[..., Opened]) -> None:
    page = open_page()
    assert len(shown_ids(page)) == 10
    scripts = [Path(url).name[:4] for url in page.requests if "/records/" in url]
    assert scripts == ["0000"]
    loading = page.tab.evaluate("[...document.querySelectorAll('#list img')].map(image => image.loading)")
    assert set(loading) == {"lazy"}
    page.tab.get_by_role("button", name="Next page").first.click()
    wait_for_focus(page, "record-10")
    page.tab.get_by_role("button", name="Next page").last.click()
    wait_for_focus(page, "record-20")
    assert [Path(url).name[:4] for url in page.requests if "/records/" in url] == ["0000", "0001"]
    scripts = page.tab.evaluate("[...document.querySelectorAll('script[src^=records]')].map(script => script.src)")
    assert sorted(Path(url).name[:4] for url in scripts) == ["0000", "0001"]
    assert page.tab.get_by_role("button", name="Next page").first.is_disabled()


def test_records_that_did_not_come_are_asked_for_again(
    open_page: Callable[..., Opened], run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "page"
    write_report(run, folder)
    (script,) = (folder / "records").glob("0001-*")
    page = open_page(folder=folder)
    script.rename(tmp_path / script.name)
    page.tab.get_by_label("Record id").fill("record-27")
    page.tab.get_by_role("alert").get_by_text("The folder records is not beside this page").wait_for()
    (tmp_path / script.name).rename(script)
    page.tab.get_by_label("Record id").fill("record-28")
    page.until("() => document.querySelector('.card').dataset.record === 'record-28'")
    assert page.tab.locator("#trouble").text_content() == ""
    assert len(page.complaints) == 1 and "ERR_FILE_NOT_FOUND" in page.complaints.pop()


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


@pytest.mark.parametrize("viewport, scheme", [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_anyone_can_read_it(open_page: Callable[..., Opened], scheme: str, viewport: dict[str, int]) -> None:
    page = open_page(color_scheme=scheme, viewport=viewport)
    page.tab.wait_for_selector("#rho-plot svg .bars")
    page.tab.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    assert page.fits()
    assert page.findings() == []


RHO_TABLE = (
    "[...document.querySelectorAll('#rho-table tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"
)


def test_the_plots_follow_dark_mode_and_say_the_same_as_their_table(page: Opened, run: Path) -> None:
    page.tab.wait_for_selector("#rho-plot svg .bars")
    ink = "getComputedStyle(document.querySelector('#rho-plot .annotation-text')).fill"
    light = page.tab.evaluate(ink)
    page.tab.emulate_media(color_scheme="dark")
    page.until(f"light => {ink} !== light", light)
    page.tab.emulate_media(color_scheme="light")
    page.until(f"light => {ink} === light", light)
    lines = page.tab.evaluate(RHO_TABLE)
    rows = [row for row in read_rows(run) if row["protocol"] == "paper"]
    for kind, *counts in lines:
        bins = Counter(int(row["rho"] * 10) for row in rows if row["kind"] == kind)
        assert [int(count) for count in counts] == [bins[bin] for bin in range(10)]
    assert {line[0] for line in lines} == {row["kind"] for row in rows}
    shapes = page.tab.evaluate("document.querySelector('#rho-plot').layout.shapes.map(shape => shape.x0)")
    assert shapes == [0.5] * len(lines)


def test_in_the_bin_of_the_threshold_each_colour_has_its_own_side(show: Callable[..., Opened], data: Path) -> None:
    rows = rows_of(data)
    for number, row in enumerate(rows):
        row["rho"] = 0.505 if number % 5 else 0.52  # of one bin
    page = show(data, rows, editor=editor(threshold=0.51))
    page.tab.wait_for_selector("#rho-plot svg .bars")
    sums = "document.querySelector('#rho-plot').data.map(trace => trace.y.reduce((one, other) => one + other, 0))"
    fine, off = (page.tab.evaluate(sums)[side::2] for side in (0, 1))
    for (kind, *_), right, wrong in zip(page.tab.evaluate(RHO_TABLE), fine, off, strict=True):
        own = [row["rho"] >= 0.51 for row in rows if row["protocol"] == "paper" and row["kind"] == kind]
        assert right == own.count(changes(kind)) and wrong == len(own) - right > 0


def test_texts_are_text(show: Callable[..., Opened], tmp_path: Path) -> None:
    probes = [make_probe("in_scope", SCRIPT, image_id="image-0", question=SCRIPT)]
    row = make_row(0, id="__proto__", question=SCRIPT, answer=f"a{SCRIPT}", target=SCRIPT, probes=probes)
    row["entity"]["name"] = SCRIPT
    data = write_data(tmp_path / "hostile", row, make_row(1, id="</script><b>x</b>"))
    texts = {"before": SCRIPT, "after": f"\u2028{SCRIPT}", "route": SCRIPT}
    rows = [{**one, **texts, "protocol": f"{one['protocol']}{SCRIPT}"} for one in rows_of(data)]
    named = {**editor(x=SCRIPT, __proto__={"clip": SCRIPT}), "name": SCRIPT}
    protocols = [f"paper{SCRIPT}", f"generation{SCRIPT}"]
    page = show(data, rows, editor=named, protocols=protocols)
    page.tab.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    text = page.tab.locator("body").inner_text()
    assert text.count(SCRIPT) > 12 and "</script><b>x</b>" in text
    assert page.tab.title().startswith(SCRIPT)
    assert page.tab.locator("main b", has_text="x").filter(has_not_text="<").count() == 0
    page.press("n")
    wait_for_focus(page, "__proto__")
    page.tab.reload()
    wait_for_focus(page, "__proto__")


def test_the_control_is_called_that(show: Callable[..., Opened], data: Path) -> None:
    control = {**editor(), "name": "none", "class": CONTROL}
    page = show(data, rows_of(data, routed=False), editor=control)
    assert page.tab.locator("#title").inner_text() == "none (the control: no edit at all) on tiny"


def test_a_run_on_older_data_says_what_is_known_of_them(
    show: Callable[..., Opened], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced = OlderRevision("cards", "cards-1", "Everything was <b>easier</b> then.")
    monkeypatch.setitem(OLDER, load_records(str(data)).revision, replaced)
    page = show(data, rows_of(data, routed=False))
    assert page.tab.locator("#older").inner_text() == replaced.known


# -- other runs --------------------------------------------------------------------------------------------------------


def test_an_editor_without_a_router(show: Callable[..., Opened], data: Path, tmp_path: Path) -> None:
    rows = rows_of(data, routed=False)
    page = show(data, rows)
    assert not (tmp_path / "run" / "report" / "plotly.min.js").exists()
    heads = page.tab.locator(".card").first.get_by_role("columnheader").all_inner_texts()
    assert heads == ["probe", "before → after", "expected", "score", "route"]
    assert not page.tab.locator("#older").is_visible()
    assert not page.tab.locator("#router-section").is_visible() and not page.tab.locator("#rho-section").is_visible()
    assert not page.tab.get_by_text("Heat map", exact=True).is_visible()
    assert page.tab.get_by_label("Show", exact=True).locator("option").all_inner_texts() == ["all probes", "wrong"]
    choose(page, "Show", "wrong")
    wait_for_count(page, rows, "wrong")
    assert page.tab.locator("img.thumb").count() == page.tab.locator('tr[data-probe="4"]').count() > 0
    assert page.tab.locator("canvas").count() == 0


def test_a_run_in_which_everything_is_to_change(show: Callable[..., Opened]) -> None:
    page = show([make_row(0, probes=[make_probe("in_scope", image_id="image-0")])])
    table = page.tab.locator("#router table")
    assert table.evaluate("table => [...table.childNodes].map(node => node.nodeName)") == ["CAPTION", "TBODY"]


def test_sequential_editing(show: Callable[..., Opened], data: Path) -> None:
    rows = [row for row in rows_of(data, sequence=4) if int(row["record_id"].removeprefix("record-")) < 28]
    page = show(data, rows, "at=%40end&show=wrong", sequence=4)
    end = [row for row in rows if row["edits"] == 4]
    first = [row for row in rows if row["age"] == 0]
    assert len(end) == len(first) == 28 * 6 * 2
    wait_for_count(page, end, "wrong")
    card = page.tab.locator(".card").first
    assert card.get_by_role("link").first.get_attribute("href") == f"#at=%40end&record={shown_ids(page)[0]}"
    choose(page, "Evaluated", "right after its own edit")
    wait_for_count(page, first, "wrong")
    page.tab.get_by_role("button", name="Show all", exact=True).click()
    wait_for_count(page, first)
    page.tab.evaluate("location.hash = 'moment=%40end&show=wrong'")  # a link to an older page
    wait_for_count(page, end, "wrong")
    page.tab.evaluate("location.hash = ''")
    wait_for_count(page, first)
    text = page.tab.locator('.card[data-record="record-2"]').inner_text()
    assert "edit 3 of 4" in text
    own = [row for row in first if row["record_id"] == "record-2" and row["protocol"] == "paper"]
    others = [row for row in own if row["route"] != "base" and row["stored_edit"] != 2]
    assert text.count("another record's") == len(others) > 0
