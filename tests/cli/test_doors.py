"""The commands as they are called: quick to say what they take, and nothing that lies beside them gets in their way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fgvedit.util.plugins import class_at

DOORS = ("run", "train", "study", "report", "demo", "check_editor")
HEAVY = ("torch", "numpy", "datasets", "transformers", "pandas", "gradio")


def test_help_and_bad_options_import_nothing_heavy():
    code = f"""if True:
        import sys
        from importlib import import_module
        from fgvedit.util.errors import FGVEditError
        for door in {DOORS!r}:
            main = import_module("fgvedit." + door).main
            for arguments in (["--help"], ["--halp"], ["none", "--editr", "none"]):
                try:
                    main(arguments)
                except (SystemExit, FGVEditError):
                    continue
        for door in ("run", "train"):
            for bad in (["--limit", "0"], ["--set", "lr"]):
                try:
                    import_module("fgvedit." + door).main(["--editor", "none", *bad])
                except FGVEditError as error:
                    print(error)
        print(sorted(set({HEAVY!r}) & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *said, heavy = done.stdout.splitlines()
    bad = ["--limit is 0; expected 1 or more, or no --limit", "--set: found 'lr', expected KEY=VALUE such as lr=0.001"]
    assert said[-4:] == bad * 2 and heavy == "[]"
    assert done.stderr.count("did you mean '--help'?") == len(DOORS)


MINE = """
from baselines.shared import NAME  # of their own package
from fgvedit.editors.contract import Editor, unedited
from contextlib import contextmanager
from dataclasses import dataclass


class Mine(Editor):
    name = NAME

    @dataclass(frozen=True)
    class Config:
        pass

    @contextmanager
    def edit(self, edits):
        yield unedited(self.backbone)
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a researcher's packages that are called as ours, down to a module that fails if taken for ours."""
    for name in ("baselines", "builders", "leaderboard"):
        (tmp_path / name / "none").mkdir(parents=True)
        (tmp_path / name / "none" / "editor.py").write_text("raise RuntimeError('not this one')")
    (tmp_path / "baselines" / "mine.py").write_text(MINE)
    (tmp_path / "baselines" / "shared.py").write_text("NAME = 'mine'\n")
    return tmp_path


@pytest.mark.parametrize("is_package", [True, False], ids=["package", "folder"])
def test_folders_of_the_users_own_are_not_in_the_way(own: Path, is_package: bool) -> None:
    """Editors of ours, one of theirs, and ours again after theirs was imported."""
    if is_package:
        (own / "baselines" / "__init__.py").write_text("HELPER = 1\n")
        with (own / "baselines" / "mine.py").open("a") as file:
            file.write("from baselines import HELPER\n")
    registry = "from fgvedit.editors.registry import editor_class as c; "
    own_first = (("baselines.mine:Mine", "none", "lora"), ("baselines.grace.editor:GRACE",))
    for names in own_first if is_package else (("lora", "none", "mscke-mend", "baselines.mine:Mine"),):
        code = f"{registry}print(*(c(name).name for name in {names}))"
        done = subprocess.run([sys.executable, "-c", code], cwd=own, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [name.rpartition(":")[2].lower() for name in names]


def test_a_run_of_ones_own_in_a_package_that_is_called_as_ours(own: Path, random_blip2: Path, dataset_folder: Path):
    (own / "baselines.py").write_text("raise RuntimeError('nor this one')")  # which a folder goes before
    (own / "baselines" / "__init__.py").write_text("")
    options = ["--backbone", random_blip2, "--dataset", dataset_folder, "--protocol", "generation", "--device", "cpu"]
    command = [sys.executable, "-m", "fgvedit.run", "--editor", "baselines.mine:Mine", "--limit", "1", "--out", "out"]
    done = subprocess.run([*command, *map(str, options)], cwd=own, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("mine on random, 1 records"), done.stderr
    code = json.loads((own / "out" / "run.json").read_text())["code"]
    assert "the editor's mine.py" in code and "baselines.none.editor" not in code


def test_a_file_that_is_called_as_a_module_takes_nobodys_place(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text(
        MINE.replace("from baselines.shared import NAME  # of their own package", "NAME = 1")
    )
    editor = class_at(f"{tmp_path / 'json.py'}:Mine", object, "editor")
    assert editor.__module__.startswith("json_") and sys.modules["json"] is json
