"""The site's folder: whole or not at all, and with what else lies there."""

from __future__ import annotations

import itertools
import json
from functools import partial
from pathlib import Path

import pytest
from board_samples import make_result, make_rows, write_entry, write_reported, write_results
from killing import killed_before
from submitting import content

from fgvedit.evaluation.metrics import metrics_from_rows
from fgvedit.util.errors import FGVEditError
from leaderboard.board import read_results
from leaderboard.site import write
from leaderboard.site.write import MARK, write_site

PAGES = {"index.html", "plots.html", "compare.html", "submit.html"}
OTHERS = {".git/HEAD": b"ref", "CNAME": b"example.org", "README.md": b"ours"}  # of the branch that a host serves


@pytest.fixture(autouse=True)
def _no_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plotting library, of some megabytes, is written in an instant."""
    monkeypatch.setattr(write, "write_plotly", lambda folder: (folder / "plotly.min.js").write_text("plots"))


@pytest.fixture
def papers(tmp_path: Path) -> tuple[Path, Path]:
    """Two results folders without a run."""
    for name in ("one", "other"):
        write_reported(tmp_path / name, title=f"The {name} paper")
    return tmp_path / "one", tmp_path / "other"


def put(folder: Path, files: dict[str, bytes]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text)
    return folder


def test_a_site_is_replaced_and_anything_else_left_alone(papers: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "at" / "site"
    write_site(papers[0], out)
    put(out, {"runs/stale.html": b"x"})
    write_site(papers[0], out)
    assert not (out / "runs" / "stale.html").exists() and list(out.parent.iterdir()) == [out]
    for mark in (None, b"{}", b"[1]", b'{"made_by": "me"}'):
        foreign = put(tmp_path / "foreign", {"thesis.txt": b"x", **({MARK: mark} if mark else {})})
        before = content(foreign)
        with pytest.raises(FGVEditError, match="foreign' holds files that are no site"):
            write_site(papers[0], foreign)
        assert content(foreign) == before
    with pytest.raises(FGVEditError, match="is no folder"):
        write_site(papers[0], papers[0] / "reported" / "a-paper.json")


def test_what_is_not_the_sites_own_stays(papers: tuple[Path, Path], tmp_path: Path) -> None:
    out = put(tmp_path / "at" / "pages", OTHERS)
    write_site(papers[0], out)
    put(out, {"robots.txt": b"all"})
    (out / "latest").symlink_to("index.html")
    (out / ".git" / "index").symlink_to("HEAD")
    write_site(papers[1], out)
    assert {path.name for path in out.iterdir()} == {
        *(".git", "CNAME", "README.md", "robots.txt", "latest"),
        *(*PAGES, MARK, "data", "runs", "plotly.min.js"),
    }
    assert content(out).items() >= {**OTHERS, "robots.txt": b"all"}.items()
    assert (out / "latest").readlink() == Path("index.html") and (out / ".git" / "index").readlink() == Path("HEAD")
    assert b"The other paper" in (out / "latest").read_bytes() and list(out.parent.iterdir()) == [out]


def test_a_link_is_followed_and_the_current_folder_refused(
    papers: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_site(papers[0], tmp_path / "pages")
    link = tmp_path / "link"
    link.symlink_to("pages")
    write_site(papers[1], link)
    made = content(tmp_path / "pages")
    assert link.readlink() == Path("pages") and b"The other paper" in made["index.html"]
    monkeypatch.chdir(link)
    with pytest.raises(FGVEditError, match="is the current folder"):
        write_site(papers[0], Path("."))
    assert content(tmp_path / "pages") == made


def test_a_kill_at_any_moment_leaves_a_site(papers: tuple[Path, Path], tmp_path: Path, monkeypatch) -> None:
    """The old one, the new one, or one that the next call puts back, with what else lay there; and that call works."""
    monkeypatch.setattr("os.fsync", lambda file: None)
    old, new = ({**content(site(results, tmp_path / "made")), **OTHERS} for results in papers)
    bad = without_rows(tmp_path / "bad")
    for change in itertools.count():
        folder = tmp_path / "at" / str(change)
        out = put(folder / "site", old)
        killed = killed_before(change, partial(write_site, papers[1], out))
        assert content(out) in (old, new) or not out.exists()
        with pytest.raises(FGVEditError, match=r"rows\.jsonl\.xz' ends in the middle"):
            write_site(bad, out)
        assert content(out) in (old, new) and list(folder.iterdir()) == [out]
        if not killed:
            assert content(out) == new and change > 20
            return
        write_site(papers[1], out)
        assert content(out) == new and list(folder.iterdir()) == [out]


def site(results: Path, out: Path) -> Path:
    write_site(results, out)
    return out


def without_rows(results: Path) -> Path:
    """A results folder with a run whose rows are damaged."""
    rows = make_rows(1.0, 2)
    write_entry(results, "a-run", make_result("a", rows), rows)
    return put(results, {"runs/a-run/rows.jsonl.xz": b"nothing"})


def test_bad_results_leave_the_site_as_it_was(papers: tuple[Path, Path], tmp_path: Path) -> None:
    before = content(site(papers[0], tmp_path / "at" / "site"))
    with pytest.raises(FGVEditError, match=r"rows\.jsonl\.xz' ends in the middle"):
        write_site(without_rows(tmp_path / "bad"), tmp_path / "at" / "site")
    assert content(tmp_path / "at") == {f"site/{name}": text for name, text in before.items()}


def test_what_is_no_results_folder_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FGVEditError, match="expected a results folder"):
        write_site(tmp_path / "nothing", tmp_path / "new" / "site")
    assert not list(tmp_path.iterdir())


def test_the_same_results_give_the_same_files_that_hold_what_was_submitted(tmp_path: Path) -> None:
    write_results(tmp_path / "results")
    made = content(site(tmp_path / "results", tmp_path / "site"))
    assert made == content(site(tmp_path / "results", tmp_path / "again"))
    shown = json.loads(made["index.html"].decode().split('id="page-data">')[1].split("</script>")[0])
    for entry in read_results(tmp_path / "results")[0]:
        row = next(one for one in shown["runs"] if one["id"] == entry.id)
        for name, metric in metrics_from_rows(entry.rows()).items():
            assert row["metrics"][name] == [metric["value"], metric["low"], metric["high"]]
