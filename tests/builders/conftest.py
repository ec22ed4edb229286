"""Fixtures that several tests of the builders share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from labelling import KEY, Api


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """A server that labellers ask; the environment has its address and a key."""
    api = Api()
    with api:
        monkeypatch.setenv("OPENAI_BASE_URL", api.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield api
