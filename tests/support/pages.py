"""A page in a real browser (the fixture `browser` of conftest.py): what it asks for and complains of, and axe-core's
findings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
SCRIPT = (  # what anybody may write, and no page is to run
    "<script>document.title = 'hacked'</script><img src=x onerror=\"document.title='hacked'\"> ${1+1} {{1+1}} **b**"
)


class Opened:
    """A page in a profile of its own; what it asked for and complained of.

    `path`: an HTML file, or a folder with an index.html; `fragment`: what stands behind "#"; `context`: options of a
    browser context, such as `viewport` and `color_scheme`.
    """

    def __init__(self, browser: Any, path: Path, fragment: str = "", **context: Any) -> None:
        file = path / "index.html" if path.is_dir() else path
        self.url = file.resolve().as_uri() + (f"#{fragment}" if fragment else "")
        self.context = browser.new_context(**context)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.open()

    def open(self) -> None:
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(30_000)  # a busy machine may take long; nothing here is timed
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.goto(self.url)

    def press(self, keys: str) -> None:
        for key in keys:
            self.tab.keyboard.press(key)

    def until(self, expression: str, value: Any = None) -> None:
        """Wait until a JavaScript expression, or a function of `value`, is true. Playwright's own wait has the page
        evaluate text, which the page's policy forbids."""
        for _ in range(600):
            if self.tab.evaluate(expression, value):
                return
            self.tab.wait_for_timeout(50)
        pytest.fail(f"waited in vain for {expression} ({value!r})")

    def close(self) -> None:
        """Close it, and fail where it complained or asked for anything from outside."""
        self.context.close()
        assert self.complaints == []
        assert all(url.startswith(("file:", "blob:", "data:")) for url in self.requests), "the page used the network"

    def fits(self) -> bool:
        """Whether nothing makes the page wider than its window."""
        return bool(self.tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))

    def findings(self) -> list[str]:
        """axe-core's serious and critical findings, a line each; skips the test where axe-core is missing."""
        axe = pytest.importorskip("axe_playwright_python", reason="needs the Python package axe-playwright-python")
        # Evaluated by the debugger, so that the page's policy stays as it is.
        self.tab.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
        found = self.tab.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        return [
            f"{one['id']}: {one['help']}: {node['html']} {node['failureSummary']}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]
