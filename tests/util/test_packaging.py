"""What a built wheel holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import fgvedit
from fgvedit.cli import run

ROOT = Path(fgvedit.__file__).parent.parent
PACKAGES = ("fgvedit", "builders", "baselines", "leaderboard")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_of_modules_is_a_package(package):
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    assert folders and all((folder / "__init__.py").is_file() for folder in folders)


@pytest.mark.slow
def test_a_wheel_works_without_a_checkout(tmp_path):
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    data = {".parquet", ".yaml", ".json", ".safetensors", ".png", ".txt"}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*"):
            if path.suffix in data | {".py"}:
                assert path.relative_to(ROOT).as_posix() in held

    site, own = tmp_path / "site", tmp_path / "own"
    (own / "baselines").mkdir(parents=True)  # of a researcher's own, in the way of the project's
    (own / "baselines" / "__init__.py").write_text("")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        f"import fgvedit; assert fgvedit.__file__.startswith({str(site)!r})\n"
        "from fgvedit.backbones import open_backbone; from fgvedit.editors.registry import open_editor\n"
        "open_editor('mscke', open_backbone('tiny'))\n"
        "print(sorted(fgvedit.load_dataset('fgvedit')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=own, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['test', 'train']"

    options = ["--editor", "lora", "--limit", "1", "--set", "steps=1", "--out", "run"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    subprocess.run([sys.executable, "-m", "fgvedit.run", *options], cwd=own, env=environment, check=True)
    run.main([*options[:-1], str(tmp_path / "run")])  # from the checkout: the same code, the same rows
    from_wheel, from_checkout = (json.loads((folder / "run" / "result.json").read_text()) for folder in (own, tmp_path))
    for field in ("code", "rows_sha256"):
        assert from_wheel["manifest"][field] == from_checkout["manifest"][field]
