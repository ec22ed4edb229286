"""Fixtures that several tests of the builders share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from labelling import KEY, Api
from official_vqa import Folder, scenes


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """A server that labellers ask; the environment has its address and a key."""
    with Api() as api:
        monkeypatch.setenv("OPENAI_BASE_URL", api.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield api


@pytest.fixture
def small(tmp_path: Path) -> Folder:
    """What a build from VQA v2.0 is given: forty images with four questions each."""
    return Folder(tmp_path, scenes(range(1, 41)))
