"""The leaderboard's site in a real browser."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from board_samples import make_result, make_rows, write_entry, write_reported, write_results
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pages import DESKTOP, PHONE, Opened

from fgvedit.cli.options import parse_overrides
from fgvedit.cli.run import parser
from fgvedit.evaluation.metrics import paired_differences
from leaderboard.board import read_results
from leaderboard.ranking import ranked_by
from leaderboard.site import data
from leaderboard.site.__main__ import main
from leaderboard.site.write import write_site

SCRIPT = "<script>document.title='hacked'</script><img src=x onerror=\"document.title='hacked'\">"
PAGES = ("index.html", "plots.html", "compare.html", "submit.html", "runs/good-tiny-cards-seq-4.html")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board") / "results"
    write_results(folder)
    return folder


@pytest.fixture(scope="module")
def site(results: Path) -> Path:
    main([str(results), "--out", str(results.parent / "site")])
    return results.parent / "site"


def names(page: Opened) -> list[str]:
    """The editors of the table, from above."""
    return page.tab.evaluate(
        "[...document.querySelectorAll('#table tbody th[scope=row]')].map(th => th.querySelector('bdi').textContent)"
    )


def found(page: Opened) -> str:
    return page.tab.locator("#found").inner_text()


# -- the table ---------------------------------------------------------------------------------------------------------


def test_the_table_shows_every_run_with_rank_interval_and_status(browser: Any, results: Path, site: Path) -> None:
    page = Opened(browser, site)
    assert set(names(page)[:2]) == {"good", "twin"} and names(page)[2:] == ["poor", "none", "claimed"]
    assert found(page) == "5 of 5 rows"
    rows = {
        name: page.tab.locator("#table tr", has=page.tab.get_by_text(name, exact=True)).inner_text()
        for name in names(page)
    }
    assert [rows[name].split()[0] for name in ("good", "twin", "poor", "none", "claimed")] == [
        "=1",
        "=1",
        "3",
        "4",
        "–",
    ]
    for entry in read_results(results)[0]:
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


def test_sorting_by_mouse_and_keyboard(browser: Any, results: Path, site: Path) -> None:
    page = Opened(browser, site, "protocol=generation")
    header = page.tab.get_by_role("columnheader", name="other_image")
    assert header.get_attribute("aria-sort") == "none"
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    values = {
        entry.result["manifest"]["editor"]["name"]: entry.result["metrics"]["generation/other_image"]["value"]
        for entry in read_results(results)[0]
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


@pytest.mark.parametrize(
    "link",
    ["protocol=nonsense&rank=x&sort=y&order=z&track=w", "%", "track=single&status=%3Cscript%3E", "track=toString"],
)
def test_a_bad_link_shows_the_table(browser: Any, site: Path, link: str) -> None:
    page = Opened(browser, site, link)
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
    assert set(page.tab.locator("#table .group").all_inner_texts()) == texts
    assert page.tab.locator("#table .rank").all_inner_texts() == ["Rank", "1", "1", "1"]
    page.close()
    page = Opened(browser, tmp_path / "site" / "plots.html")
    assert set(page.tab.get_by_label("Runs on").locator("option").all_inner_texts()) == texts
    page.close()
    page = Opened(browser, tmp_path / "site" / "compare.html")
    assert len(set(page.tab.get_by_label("Run A").locator("option").all_inner_texts())) == 3
    page.close()


def test_what_is_to_be_known_of_a_papers_numbers_is_shown(browser: Any, tmp_path: Path) -> None:
    write_reported(tmp_path / "results", note="By its authors & friends, on 1 < 2 machines.")
    write_site(tmp_path / "results", tmp_path / "site")
    page = Opened(browser, tmp_path / "site")
    assert "not ranked. By its authors & friends, on 1 < 2 machines." in page.tab.locator("#table .group").inner_text()
    page.close()


def test_tracks(browser: Any, site: Path) -> None:
    page = Opened(browser, site)
    assert not page.tab.get_by_label("Asked").is_visible()
    page.tab.get_by_role("radio", name="Single edits").focus()
    page.tab.keyboard.press("ArrowRight")
    assert names(page) == ["good", "poor"] and "4 sequential edits" in page.tab.locator("#table .group").inner_text()
    right_after = page.tab.locator("#table").inner_text()
    page.tab.get_by_label("Asked").select_option("@end")
    assert page.tab.locator("#table").inner_text() != right_after
    assert "after all edits" in page.tab.locator("caption").inner_text()
    page.tab.get_by_text("Cost", exact=True).click()
    assert sorted(names(page)) == ["good", "good", "none", "poor", "poor", "twin"]
    assert (
        "1,024 MiB" in page.tab.locator("#table").inner_text()
        and "A CPU, 2 threads, float32" in page.tab.locator("#table").inner_text()
    )
    assert not page.tab.get_by_label("Protocol").is_visible()
    page.close()


# -- plots -------------------------------------------------------------------------------------------------------------


def test_plots_have_their_numbers_as_tables(browser: Any, results: Path, site: Path) -> None:
    page = Opened(browser, site / "plots.html")
    page.tab.wait_for_selector(".plot .main-svg")
    plane = page.tab.locator("figure", has=page.tab.get_by_role("heading", name="Specificity against locality"))
    plane.locator("summary").focus()
    page.tab.keyboard.press("Enter")
    metrics = {entry.id: entry.result["metrics"] for entry in read_results(results)[0]}
    row = plane.get_by_role("row", name="poor").inner_text()
    for name in ("paper/locality", "paper/specificity"):
        assert f"{metrics['poor-tiny-cards'][name]['value']:.2f}" in row
    assert plane.get_by_role("row").count() == 5
    assert page.tab.locator("#second table tbody tr").count() == 8  # kinds of probes
    assert not page.tab.locator("#third").is_visible()
    boxes = page.tab.get_by_role("group", name="Editors in the profile").get_by_role("checkbox")
    assert [box.is_checked() for box in boxes.all()].count(True) == 3
    page.tab.get_by_role("checkbox", name="none").check()
    assert page.tab.locator("#second thead th").count() == 6
    page.close()


def test_what_an_address_leaves_out_is_as_at_first(browser: Any, site: Path) -> None:
    page = Opened(browser, site / "plots.html")
    page.tab.wait_for_selector(".plot .main-svg")
    read = "['group', 'protocol', 'moment', 'metric', 'cost'].map((id) => document.getElementById(id).value).join()"
    first = page.tab.evaluate(read)
    link = "group=good-tiny-cards-seq-4&protocol=generation&moment=%40end&metric=in_scope&cost=peak_memory"
    page.tab.evaluate(f"location.hash = '{link}'")
    page.until(f"{read}.endsWith(',generation,@end,in_scope,peak_memory')")
    page.tab.evaluate("location.hash = 'profile=twin-tiny-cards'")
    page.until(f"{read} === '{first}'")
    page.close()


def test_curves_over_a_row_of_edits(browser: Any, results: Path, site: Path) -> None:
    page = Opened(browser, site / "plots.html", "group=good-tiny-cards-seq-4&metric=in_scope")
    figures = page.tab.locator("#third figure")
    page.tab.wait_for_selector("#third .main-svg")
    for summary in figures.locator("summary").all():
        summary.click()
    entry = next(one for one in read_results(results)[0] if one.id == "good-tiny-cards-seq-4")
    of_kind = [row for row in entry.rows() if row["kind"] == "in_scope" and row["protocol"] == "paper"]
    for number, (field, kept) in enumerate(
        (("edits", lambda row: row["age"] == 0), ("age", lambda row: row["edits"] == 4))
    ):
        shown = [line.split("\t") for line in figures.nth(number).locator("tbody").inner_text().splitlines()]
        for place in range(4):
            scores = [row["score"] for row in of_kind if kept(row) and row[field] == place + (field == "edits")]
            line = next(cells for cells in shown if cells[:2] == ["good", str(place + (field == "edits"))])
            assert float(line[2]) == pytest.approx(100 * sum(scores) / len(scores), abs=0.005)
            assert line[4] == str(len(scores)) == "3"
    page.close()


def test_points_of_long_curves_are_shared() -> None:
    rows = make_rows(0.5, 50, 50, protocols=("paper",))
    found = data.curves(rows)["paper/reliability"]
    for side, shift in (("edits_in_force", 1), ("edits_since", 0)):
        points = found[side]
        assert len(points) == 17 and [point[0] for point in points[:2]] == [1 + shift, 4 + shift]
        assert sum(int(point[4] or 0) for point in points) == 50
    assert data.curves(make_rows(0.5)) == {}


# -- a run's page ------------------------------------------------------------------------------------------------------


def test_the_page_of_a_run(browser: Any, results: Path, site: Path) -> None:
    page = Opened(browser, site)
    page.tab.get_by_role("link", name="good").click()
    page.tab.wait_for_selector(".plot .main-svg")
    text = page.tab.locator("main").inner_text()
    entry = next(one for one in read_results(results)[0] if one.id == "good-tiny-cards")
    for name, metric in entry.result["metrics"].items():
        row = page.tab.locator("#metrics tbody tr").nth(ranked_by().index(name.split("/")[1])).inner_text()
        assert f"{metric['value']:.2f}" in row
    assert "Reproduced by Grace on 2026-11-27: 190 of 192 rows equal" in text
    assert entry.result["manifest"]["rows_sha256"] in text and "a.b:Editor" in text
    assert "null" not in text and "undefined" not in text
    command = page.tab.locator("#command").inner_text()
    options = parser().parse_args(shlex.split(command)[3:])
    assert (options.editor, options.backbone, options.dataset, options.split) == ("a.b:Editor", "tiny", "cards", "test")
    assert options.set == ["lr=0.001", "layers=[-1]"] and options.seed == 0
    links = page.tab.locator("a[href^=http]")
    assert links.count() == 2
    assert {link.get_attribute("rel") for link in links.all()} == {"noopener nofollow"}
    page.tab.get_by_role("link", name="Compare it probe by probe with one of 3").click()
    page.tab.wait_for_selector("#differences table")
    assert page.tab.get_by_label("Run A").input_value() == "good-tiny-cards"
    page.tab.get_by_label("Run B").select_option("poor-tiny-cards")
    page.close()


def test_the_command_repeats_the_run() -> None:
    changes = {"seed": 3, "dataset": {"limit": 40, "name": "a set"}, "backbone": {"input_mode": "paper"}}
    command = data.command(make_result("mine", make_rows(1.0, 4, 4), **changes)["manifest"])
    assert " --sequence 4 " in command
    options = parser().parse_args(shlex.split(command.replace(" --sequence 4", ""))[3:])
    assert (options.limit, options.seed, options.dataset, options.input_mode) == (40, 3, "a set", "paper")


def test_the_command_names_the_commit_of_a_backbone_on_the_hub() -> None:
    backbone = {"name": "blip", "source": "owner/blip", "revision": "e" * 40}
    manifest = make_result("mscke", make_rows(1.0, 4), backbone=backbone)["manifest"]
    manifest["editor"]["class"] = "fgvedit.editors.mscke.editor:MSCKE"
    options = parser().parse_args(shlex.split(data.command(manifest))[3:])
    assert (options.editor, options.backbone, options.revision) == ("mscke", "owner/blip", "e" * 40)


VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)


@given(st.dictionaries(st.text("abc_", min_size=1), VALUES | st.lists(VALUES, max_size=3), max_size=3))
@example({"a": "on", "b": "null", "c": "~", "a_": "[1, 2]", "b_": "dot", "c_": "", "ab": "two\nlines", "ac": "#"})
@settings(max_examples=50, deadline=None)
def test_the_command_gives_every_setting_as_it_was(config: dict[str, Any]) -> None:
    manifest = make_result("mine", make_rows(1.0, 1))["manifest"]
    manifest["editor"]["config"] = {name: value for name, value in config.items() if not looks_like_a_number(value)}
    options = parser().parse_args(shlex.split(data.command(manifest))[3:])
    assert parse_overrides(options.set) == manifest["editor"]["config"]


def looks_like_a_number(value: Any) -> bool:
    """A text that `--set` takes for a number in any quotes."""
    try:
        return isinstance(value, str) and float(value) is not None
    except ValueError:
        return False


# -- comparing ---------------------------------------------------------------------------------------------------------


def test_two_runs_probe_by_probe(browser: Any, results: Path, site: Path) -> None:
    page = Opened(browser, site / "compare.html", "a=good-tiny-cards&b=poor-tiny-cards&protocol=generation&who=all")
    page.tab.wait_for_selector("#probes li")
    good, poor = (
        next(one for one in read_results(results)[0] if one.id == f"{name}-tiny-cards").rows()
        for name in ("good", "poor")
    )
    for name, metric in paired_differences(good, poor).items():
        if name.startswith("generation/"):
            row = page.tab.locator("#differences").get_by_role("row", name=name.split("/")[1]).first.inner_text()
            for key in ("value", "low", "high"):
                assert f"{abs(metric[key]):.2f}" in row
            assert ("A: good" in row) == (metric["low"] > 0)
    pairs = [(a, b) for a, b in zip(good, poor, strict=True) if a["protocol"] == "generation"]
    assert found(page) == f"{len(pairs)} of {len(pairs)} probes, page 1 of {-(-len(pairs) // 25)}"
    wins = [a for a, b in pairs if a["score"] > b["score"]]
    page.tab.get_by_label("Who is right").select_option("a")
    assert found(page).startswith(f"{len(wins)} of {len(pairs)} probes")
    page.tab.get_by_label("Kind of probe").select_option("in_scope")
    wins = [a for a in wins if a["kind"] == "in_scope"]
    assert found(page).startswith(f"{len(wins)} of {len(pairs)} probes")
    assert page.tab.locator("#probes li").count() == min(25, len(wins))
    first = page.tab.locator("#probes li", has_text=wins[0]["question"]).inner_text()
    assert "The answer must be “blue”; before “red”." in first and wins[0]["record_id"] in first
    assert first.index("blue") < first.index("right") < first.index("green") < first.index("wrong")
    page.tab.get_by_label("Question or answer has").fill(wins[0]["question"])
    assert page.tab.locator("#probes li").count() == 1
    link = page.tab.url.partition("#")[2]
    page.tab.get_by_role("button", name="Swap A and B").click()
    page.until("document.getElementById('found').textContent.startsWith('None of')")
    for name, metric in paired_differences(poor, good).items():
        if name.startswith("generation/"):
            row = page.tab.locator("#differences").get_by_role("row", name=name.split("/")[1]).first.inner_text()
            for key in ("value", "low", "high"):
                assert ("\u2212" if metric[key] < 0 else "") + f"{abs(metric[key]):.2f}" in row
            assert ("B: good" in row) == (metric["high"] < 0)
    page.close()
    again = Opened(browser, site / "compare.html", link)
    again.tab.wait_for_selector("#probes li")
    assert wins[0]["question"] in again.tab.locator("#probes").inner_text()
    again.close()


def test_pages_of_probes_by_keyboard(browser: Any, site: Path) -> None:
    page = Opened(browser, site / "compare.html", "a=good-tiny-cards&b=twin-tiny-cards&who=all")
    page.tab.wait_for_selector("#probes li")
    assert found(page) == "96 of 96 probes, page 1 of 4"
    page.tab.get_by_role("button", name="Next").focus()
    for _ in range(3):
        page.tab.keyboard.press("Enter")
    assert found(page).endswith("page 4 of 4") and page.tab.locator("#probes li").count() == 21
    assert (
        page.tab.evaluate("document.activeElement.textContent") == "Previous"
    )  # "Next" cannot have the focus any more
    assert "page=4" in page.tab.url
    number = page.tab.get_by_role("spinbutton", name="Page")
    number.fill("2")
    number.press("Enter")
    assert found(page).endswith("page 2 of 4")
    page.close()


def test_only_runs_on_the_same_probes_can_be_compared(browser: Any, site: Path) -> None:
    page = Opened(browser, site / "compare.html", "a=good-tiny-cards-seq-4&moment=%40end&who=all")
    page.tab.wait_for_selector("#probes li")
    options = page.tab.get_by_label("Run B").locator("option")
    assert [option.get_attribute("value") for option in options.all()] == ["poor-tiny-cards-seq-4"]
    assert found(page).startswith("96 of 96 probes")  # of those asked at the end
    page.tab.get_by_label("Run A").select_option("twin-tiny-cards")
    page.until("document.getElementById('b').options.length === 3")
    assert not page.tab.get_by_label("Asked").is_visible()
    page.close()


@pytest.mark.parametrize(("reported", "said"), [(True, "claimed"), (False, "None of 0 rows is like this.")])
def test_without_runs_every_page_says_so(reported: bool, said: str, browser: Any, tmp_path: Path) -> None:
    (tmp_path / "results" / "runs").mkdir(parents=True)
    if reported:
        write_reported(tmp_path / "results")
    write_site(tmp_path / "results", tmp_path / "site")
    for name, text in (
        ("index.html", said),
        ("plots.html", "There is no run yet."),
        ("compare.html", "There are no two runs"),
    ):
        page = Opened(browser, tmp_path / "site" / name)
        assert text in page.tab.locator("main").inner_text()
        page.close()


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
        rows = [{**row, "record_id": f"{SCRIPT}{place // 16}", "probe": place % 8} for place, row in enumerate(rows)]
        rows = [{**row, "after": f"{SCRIPT}{number}"} for row in rows]
        result = make_result(SCRIPT, rows, backbone={"name": SCRIPT}, dtype=SCRIPT)
        result["manifest"]["editor"]["config"] = {SCRIPT: SCRIPT, "__proto__": SCRIPT}
        write_entry(tmp_path / "results", f"run-{number}", result, rows)
    write_reported(tmp_path / "results", dataset="a & b")
    write_site(tmp_path / "results", tmp_path / "site")
    for name, fragment in (
        ("index.html", ""),
        ("index.html", "track=cost"),
        ("plots.html", ""),
        ("compare.html", ""),
        ("runs/run-0.html", ""),
    ):
        page = Opened(browser, tmp_path / "site" / name, fragment)
        if name == "compare.html":
            page.tab.wait_for_selector("#probes li")
        page.tab.wait_for_timeout(100)
        assert SCRIPT.split("<img")[0] in page.tab.locator("main").inner_text() or name == "plots.html"
        assert page.tab.locator("img, main script").count() == 0
        assert "hacked" not in page.tab.title().replace(SCRIPT, "")
        page.close()
