"""The commands as they are called: quick to say what they take, and nothing that lies beside them gets in their way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("is_package", [True, False], ids=["package", "folder"])
def test_folders_of_the_users_own_are_not_in_the_way(
    is_package: bool, tmp_path: Path, random_blip2: Path, dataset_folder: Path
) -> None:
    """Folders called as ours, whose own modules fail when they are taken for ours, and one that is asked for."""
    for name in ("baselines", "builders", "leaderboard"):
        (tmp_path / name / "none").mkdir(parents=True)
        (tmp_path / name / "none" / "editor.py").write_text("raise RuntimeError('not this one')")
        if is_package:
            (tmp_path / name / "__init__.py").write_text("raise RuntimeError('nor this one')")
    (tmp_path / "baselines" / "mine.py").write_text(
        "from baselines.none.editor import NoEdit\nclass Mine(NoEdit):\n    name = 'mine'\n"
    )
    if is_package:
        command = [
            "-m",
            "fgvedit.run",
            "--editor",
            "baselines.mine:Mine",
            "--backbone",
            str(random_blip2),
            "--limit",
            "1",
        ]
        command += ["--dataset", str(dataset_folder), "--protocol", "generation", "--device", "cpu", "--out", "out"]
    else:
        registry = "from fgvedit.editors.registry import editor_class as c"
        command = ["-c", f"{registry}; print(*(c(name).name for name in ('baselines.mine:Mine', 'lora', 'none')))"]
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("mine on random, 1 records" if is_package else "mine lora none\n")
    assert (tmp_path / "out" / "result.json").is_file() == is_package
