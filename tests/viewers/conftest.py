"""A finished run and its page, as the tests of that page share them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_runs import RECORDS, Rows, attention_of, opened, rows_of, write_data, write_run
from pages import Opened
from rows import make_row

from fgvedit.viewers.report.page import write_report


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "records", *map(make_row, range(RECORDS)))


@pytest.fixture(scope="session")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of an editor with a router that reads images, with its page."""
    attention = [attention_of(f"record-{number}", 5) for number in range(RECORDS)]
    folder = write_run(tmp_path_factory.mktemp("runs") / "run", data, rows_of(data), attention)
    write_report(folder)
    return folder


@pytest.fixture(scope="session")
def shared(browser: Any, run: Path) -> Iterator[Opened]:
    page = opened(browser, run / "report")
    yield page
    page.close()


@pytest.fixture
def page(shared: Opened) -> Opened:
    """The run's page as it is first seen, for tests that leave nothing behind but what stands in its address."""
    shared.tab.evaluate("location.hash = ''")
    shared.tab.evaluate("document.activeElement.blur()")
    shared.until("() => document.querySelector('#count').textContent.startsWith('Records 1 to 10 of')")
    return shared


@pytest.fixture
def open_page(browser: Any, run: Path) -> Iterator[Callable[..., Opened]]:
    """Opens the run's page, or another, anew."""
    pages = []

    def make(fragment: str = "", folder: Path | None = None, **context: Any) -> Opened:
        pages.append(opened(browser, folder or run / "report", fragment, **context))
        return pages[-1]

    yield make
    for page in pages:
        page.close()


@pytest.fixture
def show(open_page: Callable[..., Opened], tmp_path: Path) -> Callable[..., Opened]:
    """Makes a run of these rows, on data or on the rows of such, and opens its page."""

    def make(data: Path | list[dict[str, Any]], rows: Rows | None = None, fragment: str = "", **about: Any) -> Opened:
        data = write_data(tmp_path / "records", *data) if isinstance(data, list) else data
        run = write_run(tmp_path / "run", data, rows_of(data) if rows is None else rows, **about)
        write_report(run)
        return open_page(fragment, run / "report")

    return make
