"""The leaderboard's site in a real browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from board_samples import make_result, make_rows, write_entry, write_reported
from pages import DESKTOP, PHONE, Opened

from fgvedit.dataset import load_records
from fgvedit.editors.supervision import SUPERVISION
from fgvedit.evaluation.protocols import protocols
from fgvedit.evaluation.protocols.generation import Generation
from fgvedit.evaluation.summary import CONTROL, NOT_COMPARED, OLDER
from fgvedit.probes import BEYOND_NOTHING, Metric, ProbeKind, changes, described, kinds, metrics, shown_metrics
from leaderboard.board import STATUSES, Entry, read_results
from leaderboard.site import data
from leaderboard.site.write import write_site

SCRIPT = "<script>document.title='hacked'</script><img src=x onerror=\"document.title='hacked'\">"
PAGES = ("index.html", "plots.html", "compare.html", "submit.html", "runs/good-tiny-cards-seq-4.html")


def names(page: Opened) -> list[str]:
    """The editors of the table, from above."""
    return page.tab.evaluate(
        "[...document.querySelectorAll('#table tbody th[scope=row]')].map(th => th.querySelector('bdi').textContent)"
    )


def found(page: Opened) -> str:
    return page.tab.locator("#found").inner_text()


# -- the table ---------------------------------------------------------------------------------------------------------


def test_the_table_shows_every_run_with_rank_interval_and_status(browser: Any, board: Path, site: Path) -> None:
    page = Opened(browser, site)
    assert set(names(page)[:2]) == {"good", "twin"} and names(page)[2:] == ["poor", "none", "claimed"]
    assert found(page) == "5 of 5 rows"
    rows = {
        name: page.tab.locator("#table tr", has=page.tab.get_by_text(name, exact=True)).inner_text()
        for name in names(page)
    }
    ranks = {name: rows[name].split()[0] for name in rows}
    assert ranks == {"good": "=1", "twin": "=1", "poor": "3", "none": "4", "claimed": "–"}
    for entry in read_results(board)[0]:
        if not entry.result["manifest"]["sequence"]:
            row = rows[entry.result["manifest"]["editor"]["name"]]
            assert entry.status in row and entry.name in row
            for name, metric in entry.result["metrics"].items():
                if name.startswith("paper/"):
                    assert f"{metric['value']:.2f}" in row
    assert "reported" in rows["claimed"] and "97.00" in rows["claimed"]
    group = page.tab.get_by_role("rowheader", name="photos/test on large")
    assert "A Paper on Editing, Table 1; not computed again, not ranked" in group.inner_text()
    page.close()


@pytest.fixture
def apart(tmp_path: Path) -> Path:
    """The site of runs that are not to be mixed: a control, two revisions of the embedded data, and a paper."""
    embedded = {"name": "scenes", "revision": load_records("scenes").revision}
    control = {kind: 0.0 for kind in kinds() if changes(kind)}
    runs: dict[str, Any] = {"a-old": 1.0, "b-old": 0.1, "c-old": 0.1, "mine": 0.9, "none": control}
    for name, right in runs.items():
        old = name.endswith("old")
        rows = [row for row in make_rows(right, 6, seed=len(name)) if old or not kinds()[row["kind"]].retired]
        named = CONTROL if name == "none" else "a.b:Editor"
        replaced = {"name": "scenes", "revision": next(iter(OLDER))}
        said = {} if old else {"supervision": "none" if name == "none" else "paper's kinds, boxes"}
        of: dict[str, Any] = {"editor": {"class": named, **said}, "dataset": replaced if old else embedded}
        write_entry(tmp_path / "results", name, make_result(name, rows, **of), rows)
    write_reported(tmp_path / "results")
    write_site(tmp_path / "results", tmp_path / "site")
    return tmp_path / "site"


def test_the_control_and_older_data_and_papers_stand_apart_and_say_so(browser: Any, apart: Path) -> None:
    page = Opened(browser, apart)
    groups = page.tab.locator("#table .block").all_inner_texts()
    assert ["an older revision of the data" in group for group in groups] == [False, True, False]
    known = next(iter(OLDER.values())).known
    assert [group.endswith(known) for group in groups] == [False, True, False]
    assert groups[2].endswith(NOT_COMPARED) and names(page) == ["mine", "none", "a-old", "b-old", "c-old", "claimed"]
    ranks = page.tab.locator("#table td.rank").all_inner_texts()
    assert ranks == ["1", "control", "1", "=2", "=2", "–"]
    told = page.tab.locator("#table td.supervision")
    assert told.all_inner_texts() == ["paper's kinds, boxes", "none", "", "", "", ""]
    assert told.first.get_attribute("title") == SUPERVISION["paper's kinds, boxes"]
    assert headers(page)[:3] == ["Rank", "Editor", "Supervision"]
    assert [name.split() for name in headers(page) if "retired" in name] == [
        [f"reference_{side}", "◉", "(retired)"] for side in ("in", "out")
    ]
    page.tab.locator("#table thead .retention button").click()
    assert names(page)[:2] == ["mine", "none"]  # wherever the control would stand
    page.tab.locator("#data").select_option(index=1)
    assert "scenes/test@" in page.tab.locator("#data").input_value() and names(page) == ["mine", "none"]
    assert not [name for name in headers(page) if "retired" in name]
    page.tab.get_by_role("link", name="none").click()
    page.tab.wait_for_selector(".plot .main-svg")
    assert "No edit at all: not ranked" in page.tab.locator("#about").inner_text()
    assert "rank" not in page.tab.locator("#metrics caption").inner_text()
    page.tab.goto((apart / "runs" / "mine.html").as_uri())
    said = SUPERVISION["paper's kinds, boxes"]
    assert f"Supervision: paper's kinds, boxes, {said}" in page.tab.locator("#about").inner_text()
    assert "the rank among 1 run on" in page.tab.locator("#metrics caption").inner_text()
    assert "git" not in page.tab.locator("#command").inner_text() and known not in page.tab.locator("body").inner_text()
    page.tab.goto((apart / "runs" / "a-old.html").as_uri())
    about = page.tab.locator("#about").inner_text()
    assert known in about and "Supervision" not in about
    checkout, command = page.tab.locator("#command").inner_text().splitlines()
    assert checkout == "git checkout scenes-3232de75" and " --dataset scenes " in command
    assert "the git tag scenes-3232de75" in page.tab.locator("#repeat").inner_text()
    assert "an older revision of the data" in page.tab.locator("#about").inner_text()
    page.tab.goto((apart / "plots.html").as_uri())
    options = page.tab.get_by_label("Runs on").locator("option").all_inner_texts()
    assert ["an older revision of the data" in option for option in options] == [False, True]
    assert page.tab.get_by_role("checkbox", name="none (control)").count() == 1
    page.tab.get_by_label("Runs on").select_option(index=1)
    page.until("known => document.getElementById('said').textContent.endsWith(known)", known)
    page.tab.goto((apart / "index.html").as_uri() + "#track=cost")
    page.tab.reload()
    assert names(page) == ["mine", "none", "a-old", "b-old", "c-old"]
    tagged = page.tab.locator("#table tbody th[scope=row]", has=page.tab.get_by_text("control", exact=True))
    assert tagged.count() == 1 and "none" in tagged.inner_text()
    assert page.tab.locator("#table .block").count() == 2
    page.close()


def test_beside_specificity_stands_what_is_above_doing_nothing(browser: Any, board: Path, site: Path) -> None:
    page = Opened(browser, site, "protocol=generation")
    columns = [name.splitlines()[0] for name in headers(page)]
    at = columns.index(BEYOND_NOTHING.name)
    assert columns[at - 1] == "specificity"
    rows = page.tab.locator("#table tr[data-run]").all()
    shown = {row.inner_text().split()[1]: row.locator("> *").nth(at).inner_text() for row in rows}
    for entry in read_results(board)[0]:
        if not entry.result["manifest"]["sequence"]:
            of = {name: entry.result["metrics"][f"generation/{name}"]["value"] for name in ("in_scope", "retention")}
            expected = f"{sum(of.values()) - 100:.2f}".replace("-", "\u2212")
            assert shown[entry.result["manifest"]["editor"]["name"]].startswith(expected)
    assert BEYOND_NOTHING.name not in page.tab.get_by_label("Ranked by").locator("option").all_inner_texts()
    page.close()


def headers(page: Opened) -> list[str]:
    """The names of the table's columns, with their marks."""
    return page.tab.get_by_role("columnheader").all_inner_texts()


def test_sorting_by_mouse_and_keyboard(browser: Any, board: Path, site: Path) -> None:
    page = Opened(browser, site, "protocol=generation")
    header = page.tab.get_by_role("columnheader", name="other_image")
    assert header.get_attribute("aria-sort") == "none"
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    values = {
        entry.result["manifest"]["editor"]["name"]: entry.result["metrics"]["generation/other_image"]["value"]
        for entry in read_results(board)[0]
        if not entry.result["manifest"]["sequence"]
    }
    assert [values[name] for name in names(page)] == sorted(values.values(), reverse=True)
    page.tab.keyboard.press("Enter")  # the button has kept the focus
    assert header.get_attribute("aria-sort") == "ascending"
    editor = page.tab.get_by_role("columnheader", name="Editor")
    editor.get_by_role("button").focus()
    page.tab.keyboard.press("Space")
    assert editor.get_attribute("aria-sort") == "ascending" and header.get_attribute("aria-sort") == "none"
    assert names(page) == ["good", "none", "poor", "twin"]
    assert page.url.split("#")[0] + "#protocol=generation&track=single&sort=editor&order=up" == page.tab.url
    page.close()


def test_filters_are_told_and_can_be_sent_as_a_link(browser: Any, site: Path) -> None:
    page = Opened(browser, site)
    page.tab.get_by_label("Status").select_option("verified-rows")
    assert sorted(names(page)) == ["none", "poor", "twin"] and found(page) == "3 of 5 rows"
    page.tab.get_by_label("Find an editor").fill("ADA")
    assert names(page) == ["twin"]
    page.tab.get_by_role("combobox", name="Ranked by").select_option("locality")
    link = page.tab.url.partition("#")[2]
    page.close()
    again = Opened(browser, site, link)
    assert names(again) == ["twin"] and found(again) == "1 of 5 rows"
    assert again.tab.get_by_role("combobox", name="Ranked by").input_value() == "locality"
    assert again.tab.get_by_role("status").inner_text() == "1 of 5 rows"
    again.tab.get_by_label("Find an editor").fill("nobody")
    assert found(again) == "None of 5 rows is like this."
    again.tab.evaluate("location.hash = 'track=sequence'")
    again.until("document.getElementById('found').textContent === '2 of 2 rows'")
    assert names(again) == ["good", "poor"]
    again.close()


def test_a_bad_link_shows_the_table(browser: Any, site: Path) -> None:
    page = Opened(browser, site, "protocol=nonsense&rank=x&sort=y&order=z&track=w")
    for link in ("%", "track=single&status=%3Cscript%3E", "track=toString"):
        assert len(names(page)) == 5
        page.tab.goto(f"{site.as_uri()}/index.html#{link}")
        page.tab.reload()
    assert len(names(page)) == 5
    page.close()


def test_groups_that_would_read_alike_are_told_apart(browser: Any, tmp_path: Path) -> None:
    for number, backbone in enumerate(({}, {"revision": "e" * 64}, {"input_mode": "paper"})):
        rows = make_rows(0.9, 4, seed=number)
        write_entry(tmp_path / "results", f"run-{number}", make_result("same", rows, backbone=backbone), rows)
    write_site(tmp_path / "results", tmp_path / "site")
    texts = {
        f"cards/test@abababab on tiny, 4 records, single edits (weights {weights}, {mode} input)"
        for weights, mode in (("cccccccc", "native"), ("eeeeeeee", "native"), ("cccccccc", "paper"))
    }
    page = Opened(browser, tmp_path / "site")
    assert set(page.tab.locator("#table .block").all_inner_texts()) == texts
    assert page.tab.locator("#table .rank").all_inner_texts() == ["Rank", "1", "1", "1"]
    page.close()
    page = Opened(browser, tmp_path / "site" / "plots.html")
    assert set(page.tab.get_by_label("Runs on").locator("option").all_inner_texts()) == texts
    page.close()
    page = Opened(browser, tmp_path / "site" / "compare.html")
    assert len(set(page.tab.get_by_label("Run A").locator("option").all_inner_texts())) == 3
    page.close()


def test_tracks(browser: Any, site: Path) -> None:
    page = Opened(browser, site)
    assert not page.tab.get_by_label("Asked").is_visible()
    page.tab.get_by_role("radio", name="Single edits").focus()
    page.tab.keyboard.press("ArrowRight")
    assert names(page) == ["good", "poor"] and "4 sequential edits" in page.tab.locator("#table .block").inner_text()
    right_after = page.tab.locator("#table").inner_text()
    page.tab.get_by_label("Asked").select_option("@end")
    assert page.tab.locator("#table").inner_text() != right_after
    assert "after all edits" in page.tab.locator("caption").inner_text()
    page.tab.get_by_text("Cost", exact=True).click()
    assert sorted(names(page)) == ["good", "good", "none", "poor", "poor", "twin"]
    text = page.tab.locator("#table").inner_text()
    assert "1,024 MiB" in text and "A CPU, 2 threads, float32" in text
    assert not page.tab.get_by_label("Protocol").is_visible()
    page.close()


# -- what is registered ------------------------------------------------------------------------------------------------


class Lenient(Generation):
    """A protocol of somebody else, which can hold no score to its row."""

    name = "lenient"
    meaning = "whatever is <b>said</b>"
    checked = False


def test_what_others_registered_is_shown_under_its_own_name(browser: Any, tmp_path: Path, monkeypatch) -> None:
    mirror = ProbeKind("mirror", "the entity in a mirror", "the new answer", "mirrored", needs_eyes=True)
    long = Metric("long", ("edit",), "answers of four letters", lambda row: float(len(row["after"]) == 4))
    monkeypatch.setitem(protocols(), "lenient", Lenient())
    monkeypatch.setitem(
        metrics(), "mirrored", Metric("mirrored", ("mirror",), "the entity in a mirror: the new answer")
    )
    monkeypatch.setitem(metrics(), "long", long)
    monkeypatch.setitem(kinds(), "mirror", mirror)
    rows = make_rows(0.9, protocols=("paper", "lenient"))
    result = make_result("mine", rows)
    write_entry(tmp_path / "results", "mine", result, rows, status="unchecked-scores")
    write_site(tmp_path / "results", tmp_path / "site")
    page = Opened(browser, tmp_path / "site", "protocol=lenient&rank=long")
    assert "Protocol lenient (whatever is <b>said</b>; its scores are as the run wrote them)" in caption(page)
    row = page.tab.locator("#table tr", has=page.tab.get_by_text("mine", exact=True)).inner_text()
    for name in ("mirrored", "long"):
        assert f"{result['metrics'][f'lenient/{name}']['value']:.2f}" in row
    assert "unchecked-scores" in row and row.startswith("1")
    eyes = page.tab.get_by_role("columnheader", name="mirrored").get_by_role("img", name="needs eyes")
    assert eyes.count() == 1 and page.tab.get_by_role("columnheader", name="long").get_by_role("img").count() == 0
    legend = page.tab.locator("#legend").inner_text()
    assert all(one["meaning"] in legend for one in described()["metrics"])
    assert "whatever is <b>said</b>" in legend and STATUSES["unchecked-scores"] in legend
    page.tab.get_by_role("link", name="mine").click()
    page.tab.wait_for_selector(".plot .main-svg")
    shown = page.tab.locator("#metrics tbody th").all_inner_texts()
    assert any(one.startswith("mirrored◉") and "the entity in a mirror: the new answer" in one for one in shown)
    profile = page.tab.locator("#profile .ytick text").all_text_contents()  # from below: what stays, what changes
    assert profile[::-1] == [*filter(changes, kinds()), *(kind for kind in kinds() if not changes(kind))]
    page.close()


def caption(page: Opened) -> str:
    return page.tab.locator("#table caption").inner_text()


def test_retired_metrics_and_those_that_nobody_registered_are_shown_where_a_run_has_them(monkeypatch) -> None:
    monkeypatch.setitem(kinds(), "reference_in", replace(kinds()["reference_in"], retired=True))
    every = make_rows(0.9)
    few = [row for row in every if row["kind"] != "reference_in"]
    result = make_result("mine", every)
    result["metrics"]["paper/theirs"] = result["metrics"]["paper/locality"]

    def registered(result: dict[str, Any], rows: list[Any]) -> dict[str, Any]:
        entry = Entry("x", "x", "", "", "", "verified-rows", None, result, Path())
        return {one["name"]: one for one in data.registry([data.shown(entry, rows)], [])["metrics"]}

    shown, without = registered(result, every), registered(make_result("mine", few), few)
    assert shown["reference_in"]["retired"] and shown["theirs"]["meaning"] == "not registered where this was made"
    assert shown.keys() - without.keys() == {"reference_in", "theirs"}
    assert list(without) == ["score", *(name for name in shown_metrics() if name != "reference_in")]


# -- for everybody -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_accessible_and_no_wider_than_the_window(browser: Any, site: Path, name: str) -> None:
    page = Opened(browser, site / name, reduced_motion="reduce")
    if name == "compare.html":
        page.tab.wait_for_selector("#probes li")
    assert page.tab.locator("h1").count() == 1
    page.tab.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    for size in (DESKTOP, PHONE):
        page.tab.set_viewport_size(size)
        for scheme in ("light", "dark"):
            page.tab.emulate_media(color_scheme=scheme)
            assert page.findings() == [], (size, scheme)
        page.until("document.documentElement.scrollWidth <= window.innerWidth")
    page.close()


def test_the_first_tab_leads_to_the_content(browser: Any, site: Path) -> None:
    page = Opened(browser, site, "track=cost")
    page.tab.keyboard.press("Tab")
    page.tab.keyboard.press("Enter")
    assert page.tab.evaluate("document.activeElement.id") == "main"
    assert page.tab.url.endswith("#track=cost")
    page.close()


def test_plots_follow_the_colour_scheme(browser: Any, site: Path) -> None:
    page = Opened(browser, site / "plots.html", color_scheme="light")
    page.tab.wait_for_selector(".plot .main-svg")
    read = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    light = page.tab.evaluate(read)
    page.tab.emulate_media(color_scheme="dark")
    page.until(f"{read} !== '{light}'")
    page.close()


# -- what somebody typed -----------------------------------------------------------------------------------------------


def test_names_answers_and_settings_are_only_text(browser: Any, tmp_path: Path) -> None:
    for number in range(2):
        rows = make_rows(
            0.5, 4, seed=number, record_id=SCRIPT, kind="edit", question=SCRIPT, before=SCRIPT, route="edited"
        )
        rows = [{**row, "record_id": f"{SCRIPT}{index // 16}", "probe": index % 8} for index, row in enumerate(rows)]
        rows = [{**row, "after": f"{SCRIPT}{number}"} for row in rows]
        result = make_result(SCRIPT, rows, backbone={"name": SCRIPT}, dtype=SCRIPT)
        result["manifest"]["editor"]["config"] = {SCRIPT: SCRIPT, "__proto__": SCRIPT}
        write_entry(tmp_path / "results", f"run-{number}", result, rows)
    write_reported(tmp_path / "results", dataset="a & b")
    write_site(tmp_path / "results", tmp_path / "site")
    page = Opened(browser, tmp_path / "site")
    for name in ("index.html", "index.html#track=cost", "plots.html", "compare.html", "runs/run-0.html"):
        page.tab.goto(f"{(tmp_path / 'site').as_uri()}/{name}")
        if name == "compare.html":
            page.tab.wait_for_selector("#probes li")
        page.tab.wait_for_timeout(100)
        assert SCRIPT.split("<img")[0] in page.tab.locator("main").inner_text() or name == "plots.html"
        assert page.tab.locator("img, main script").count() == 0
        assert "hacked" not in page.tab.title().replace(SCRIPT, "")
    page.close()
