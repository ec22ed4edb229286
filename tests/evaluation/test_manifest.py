"""What a result file says about where it comes from, and files that are whole or absent."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import pytest
import torch

from fgvedit.evaluation.runs.manifest import checkpoint_hash, environment, git_state
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import read_json, write_json, write_text


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, check=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a module in a package, which is no checkout yet."""
    (tmp_path / "checkout" / "package").mkdir(parents=True)
    (tmp_path / "checkout" / "package" / "module.py").write_text("")
    return tmp_path / "checkout"


def test_the_commit_and_whether_anything_was_changed_since(root: Path):
    assert git_state(root) is None
    git(root, "init")
    assert git_state(root) is None  # no commit yet
    git(root, "add", ".")
    git(root, "commit", "-m", "first")
    commit = git(root, "rev-parse", "HEAD")
    assert git_state(root) == {"commit": commit, "dirty": False}
    (root / "package" / "module.py").write_text("changed")
    assert git_state(root) == {"commit": commit, "dirty": True}


def test_an_environment_inside_somebody_elses_checkout_has_no_commit(root: Path):
    git(root.parent, "init")
    git(root.parent, "add", ".")
    git(root.parent, "commit", "-m", "theirs")
    assert git_state(root) is None


def test_no_git_is_no_commit(root: Path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_state(root) is None


def test_the_environment_names_versions():
    found = environment(torch.device("cpu"))
    assert found["python"] == platform.python_version()
    assert found["packages"]["torch"] == importlib.metadata.version("torch")
    expected = {"fgvedit", "torch", "transformers", "datasets", "open_clip_torch", "numpy"}
    assert set(found["packages"]) == expected | {"peft", "sentence-transformers"}


def test_the_environment_names_what_computes(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    found = environment(torch.device("cpu"))["hardware"]
    assert found.pop("name").strip() and found == {"processes": 4, "threads": torch.get_num_threads()}
    monkeypatch.setattr("fgvedit.evaluation.runs.manifest.CPUINFO", Path("/not there"))  # as beside Linux
    assert environment(torch.device("cpu"))["hardware"]["name"].strip()
    monkeypatch.setattr(torch.cuda, "get_device_name", {torch.device("cuda", 1): "A GPU"}.get)
    assert environment(torch.device("cuda", 1))["hardware"]["name"] == "A GPU"


def test_a_checkpoints_hash_is_of_what_was_saved(tmp_path: Path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    first = checkpoint_hash(tmp_path)
    (tmp_path / "train.log").write_text("step 1")
    assert checkpoint_hash(tmp_path) == first
    (tmp_path / "model.safetensors").write_bytes(b"Weights")
    assert checkpoint_hash(tmp_path) != first


def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path, monkeypatch):
    path = tmp_path / "result.json"
    write_json(path, {"old": "é"})
    for error in (KeyboardInterrupt(), OSError(28, "No space left on device")):
        monkeypatch.setattr(os, "fsync", _raise(error))
        with pytest.raises(type(error)):
            write_text(path, "new")
        assert read_json(path) == {"old": "é"}
        assert list(tmp_path.iterdir()) == [path]


def _raise(error: BaseException):
    def fail(_: int) -> None:
        raise error

    return fail


def test_a_file_that_is_not_json_is_named(tmp_path: Path):
    (tmp_path / "a.json").write_bytes(b"\xff\xfe")
    with pytest.raises(FGVEditError, match=r"a\.json' is damaged: expected JSON"):
        read_json(tmp_path / "a.json")
