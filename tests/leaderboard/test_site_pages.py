"""The leaderboard's site in a real browser: plots, the page of a run, two runs compared."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from board_samples import make_result, make_rows, write_reported
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pages import Opened

from fgvedit.cli.options import parse_overrides
from fgvedit.cli.run import parser
from fgvedit.evaluation.metrics import paired_differences
from fgvedit.probes import BEYOND_NOTHING, kinds, shown_metrics
from leaderboard.board import read_results
from leaderboard.site import data
from leaderboard.site.write import write_site


def found(page: Opened) -> str:
    return page.tab.locator("#found").inner_text()


# -- plots -------------------------------------------------------------------------------------------------------------


def test_plots_have_their_numbers_as_tables(browser: Any, board: Path, site: Path) -> None:
    page = Opened(browser, site / "plots.html")
    page.tab.wait_for_selector(".plot .main-svg")
    plane = page.tab.locator("figure", has=page.tab.get_by_role("heading", name="Specificity against locality"))
    plane.locator("summary").focus()
    page.tab.keyboard.press("Enter")
    metrics = {entry.id: entry.result["metrics"] for entry in read_results(board)[0]}
    row = plane.get_by_role("row", name="poor").inner_text()
    for name in ("paper/locality", "paper/specificity"):
        assert f"{metrics['poor-tiny-cards'][name]['value']:.2f}" in row
    assert plane.get_by_role("row").count() == 5
    assert page.tab.locator("#second table tbody tr").count() == len(kinds())
    assert BEYOND_NOTHING.name in plane.locator("thead").inner_text()
    assert not page.tab.locator("#third").is_visible()
    boxes = page.tab.get_by_role("group", name="Editors in the profile").get_by_role("checkbox")
    assert [box.is_checked() for box in boxes.all()].count(True) == 3
    page.tab.get_by_role("checkbox", name="none").check()
    assert page.tab.locator("#second thead th").count() == 6
    page.close()


def test_what_an_address_leaves_out_is_as_at_first(browser: Any, site: Path) -> None:
    page = Opened(browser, site / "plots.html")
    page.tab.wait_for_selector(".plot .main-svg")
    read = "['block', 'protocol', 'at', 'metric', 'cost'].map((id) => document.getElementById(id).value).join()"
    first = page.tab.evaluate(read)
    link = "block=good-tiny-cards-seq-4&protocol=generation&at=%40end&metric=in_scope&cost=peak_memory"
    page.tab.evaluate(f"location.hash = '{link}'")
    page.until(f"{read}.endsWith(',generation,@end,in_scope,peak_memory')")
    page.tab.evaluate("location.hash = 'profile=twin-tiny-cards'")
    page.until(f"{read} === '{first}'")
    page.close()


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("index.html", "track=sequence"),
        ("plots.html", "group=good-tiny-cards-seq-4"),
        ("compare.html", "a=good-tiny-cards-seq-4"),
    ],
)
def test_an_older_link_says_moment_and_group(name: str, runs: str, browser: Any, site: Path) -> None:
    page = Opened(browser, site / name, f"{runs}&moment=%40end")
    asked = page.tab.get_by_label("Asked")
    page.until("document.getElementById('at').value === '@end'")
    asked.wait_for()
    for chosen in ("", "@end"):
        asked.select_option(chosen)
        page.until("at => (new URLSearchParams(location.hash.slice(1)).get('at') || '') === at", chosen)
    assert "moment" not in page.tab.url and "group" not in page.tab.url
    page.close()


def test_curves_over_a_sequence_of_edits(browser: Any, board: Path, site: Path) -> None:
    page = Opened(browser, site / "plots.html", "block=good-tiny-cards-seq-4&metric=in_scope")
    figures = page.tab.locator("#third figure")
    page.tab.wait_for_selector("#third .main-svg")
    for summary in figures.locator("summary").all():
        summary.click()
    entry = next(one for one in read_results(board)[0] if one.id == "good-tiny-cards-seq-4")
    of_kind: list[Any] = [row for row in entry.rows() if row["kind"] == "in_scope" and row["protocol"] == "paper"]
    sides = ((1, "edits", lambda row: row["age"] == 0), (0, "age", lambda row: row["edits"] == 4))
    for number, (first, field, counts) in enumerate(sides):
        shown = [line.split("\t") for line in figures.nth(number).locator("tbody").inner_text().splitlines()]
        for edits in range(first, first + 4):
            scores = [row["score"] for row in of_kind if counts(row) and row[field] == edits]
            line = next(cells for cells in shown if cells[:2] == ["good", str(edits)])
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


def test_the_page_of_a_run(browser: Any, board: Path, site: Path) -> None:
    page = Opened(browser, site)
    page.tab.get_by_role("link", name="good").click()
    page.tab.wait_for_selector(".plot .main-svg")
    text = page.tab.locator("main").inner_text()
    entry = next(one for one in read_results(board)[0] if one.id == "good-tiny-cards")
    shown = ["score", *shown_metrics()]
    for name, metric in entry.result["metrics"].items():
        row = page.tab.locator("#metrics tbody tr").nth(shown.index(name.split("/")[1])).inner_text()
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


def differences(page: Opened, rows_a: list[Any], rows_b: list[Any]) -> list[tuple[Any, str]]:
    """Each metric's difference under `generation`, and its row on the page."""
    shown = page.tab.locator("#differences tbody tr").all_inner_texts()
    by_metric = {row.split()[0].removesuffix("◉"): row for row in shown}
    found = paired_differences(rows_a, rows_b).items()
    return [(metric, by_metric[name[11:]]) for name, metric in found if name.startswith("generation/")]


def test_two_runs_probe_by_probe(browser: Any, board: Path, site: Path) -> None:
    page = Opened(browser, site / "compare.html", "a=good-tiny-cards&b=poor-tiny-cards&protocol=generation&who=all")
    page.tab.wait_for_selector("#probes li")
    good, poor = (
        next(one for one in read_results(board)[0] if one.id == f"{name}-tiny-cards").rows()
        for name in ("good", "poor")
    )
    for metric, row in differences(page, good, poor):
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
    for metric, row in differences(page, poor, good):
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
    probes = 12 * len(kinds())
    pages = -(-probes // 25)
    assert found(page) == f"{probes} of {probes} probes, page 1 of {pages}"
    page.tab.get_by_role("button", name="Next").focus()
    for _ in range(pages - 1):
        page.tab.keyboard.press("Enter")
    assert found(page).endswith(f"page {pages} of {pages}")
    assert page.tab.locator("#probes li").count() == probes - 25 * (pages - 1)
    # "Next" cannot have the focus any more
    assert page.tab.evaluate("document.activeElement.textContent") == "Previous"
    assert f"page={pages}" in page.tab.url
    number = page.tab.get_by_role("spinbutton", name="Page")
    number.fill("2")
    number.press("Enter")
    assert found(page).endswith(f"page 2 of {pages}")
    page.close()


def test_only_runs_on_the_same_probes_can_be_compared(browser: Any, site: Path) -> None:
    page = Opened(browser, site / "compare.html", "a=good-tiny-cards-seq-4&at=%40end&who=all")
    page.tab.wait_for_selector("#probes li")
    options = page.tab.get_by_label("Run B").locator("option")
    assert [option.get_attribute("value") for option in options.all()] == ["poor-tiny-cards-seq-4"]
    probes = 12 * len(kinds())  # of those asked at the end
    assert found(page).startswith(f"{probes} of {probes} probes")
    page.tab.get_by_label("Run A").select_option("twin-tiny-cards")
    page.until("document.getElementById('b').options.length === 3")
    assert not page.tab.get_by_label("Asked").is_visible()
    page.close()


@pytest.mark.parametrize("reported", [True, False])
def test_without_runs_every_page_says_so(reported: bool, browser: Any, tmp_path: Path) -> None:
    (tmp_path / "results" / "runs").mkdir(parents=True)
    said = "None of 0 rows is like this."
    if reported:
        write_reported(tmp_path / "results", note="By its authors & friends, on 1 < 2 machines.")
        said = "not ranked. By its authors & friends, on 1 < 2 machines."
    write_site(tmp_path / "results", tmp_path / "site")
    page = Opened(browser, tmp_path / "site")
    for name, text in (
        ("index.html", said),
        ("plots.html", "There is no run yet."),
        ("compare.html", "There are no two runs"),
    ):
        page.tab.goto((tmp_path / "site" / name).as_uri())
        assert text in page.tab.locator("main").inner_text()
    page.close()
