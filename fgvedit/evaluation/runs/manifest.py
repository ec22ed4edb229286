"""What a run was: everything that determines its rows, and what it ran on."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
import subprocess
from collections.abc import Collection, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvedit.editors.supervision import checked_supervision
from fgvedit.evaluation.runs.code import code_of
from fgvedit.util.plugins import ROOT
from fgvedit.util.revision import content_hash

if TYPE_CHECKING:
    import torch

    from fgvedit.dataset import Loaded
    from fgvedit.editors.contract import Editor
    from fgvedit.evaluation.protocols import Protocol

FORMAT = 3  # of the run folder, its rows and the result file
PACKAGES = ("fgvedit", "torch", "transformers", "datasets", "open_clip_torch", "numpy", "peft", "sentence-transformers")
COMPUTING = PACKAGES[:3]  # another version of these may change a row
CPUINFO = Path("/proc/cpuinfo")


def identity(
    editor: Editor,
    data: Loaded,
    protocols: Sequence[Protocol],
    kinds: Collection[str] = (),
    *,
    seed: int,
    limit: int | None,
    checkpoint: Path | None,
    sequence: int | None = None,
) -> dict[str, Any]:
    """Everything that determines the rows of a run; two runs that agree on it have the same rows. `kinds`: of probes,
    that the data have."""
    kind = type(editor)
    backbone = editor.backbone
    run = {
        "format": FORMAT,
        "editor": {
            "name": kind.name,
            "class": f"{kind.__module__}:{kind.__qualname__}",
            **({"control": True} if kind.control else {}),
            "supervision": checked_supervision(editor.supervision, f"supervision of editor '{kind.name}'"),
            "config": dataclasses.asdict(editor.config),
            "checkpoint": checkpoint_hash(checkpoint) if checkpoint else None,
        },
        "backbone": {
            "name": backbone.name,
            "source": backbone.source,
            "revision": backbone.revision,
            "input_mode": backbone.input_mode,
        },
        "dataset": {
            "name": data.name,
            "config": data.config,
            "split": data.split,
            "revision": data.revision,
            "records": len(data.records),
            "limit": limit,
        },
        "protocols": [protocol.name for protocol in protocols],
        "sequence": sequence,
        "seed": seed,
        "code": code_of(editor, protocols, kinds),
        "device": backbone.device.type,
        "dtype": str(backbone.dtype).removeprefix("torch."),
        "packages": versions(COMPUTING),
    }
    return json.loads(json.dumps(run))  # as it will be read again: tuples are lists


def checkpoint_hash(folder: Path) -> str:
    """The content hash of what `Editor.save` wrote there; logs and what a training goes on from do not count."""
    return content_hash(path for path in folder.iterdir() if path.suffix in (".safetensors", ".json"))


def environment(device: torch.device) -> dict[str, Any]:
    """Python, package versions, the commit of the checkout that `fgvedit` runs from, if it does, and the hardware."""
    return {
        "python": platform.python_version(),
        "packages": versions(PACKAGES),
        "git": git_state(ROOT),
        "hardware": hardware(device),
    }


def hardware(device: torch.device) -> dict[str, Any]:
    """What the seconds of a run were measured on: the name of the GPU or CPU, how many processes had one each or shared
    it, and with how many CPU threads each computes."""
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return {"name": name, "processes": int(os.environ.get("WORLD_SIZE", 1)), "threads": torch.get_num_threads()}


def _cpu_name() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(\S.*?)\s*$", CPUINFO.read_text(), re.MULTILINE)
    except OSError:  # not Linux
        found = None
    return found[1] if found else platform.processor() or platform.machine() or "unknown"


def versions(packages: Sequence[str]) -> dict[str, str | None]:
    """Package -> its installed version; None where it is not installed."""
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def git_state(root: Path) -> dict[str, Any] | None:
    """{"commit", "dirty"} of the checkout at `root`; None where there is none."""
    root = root.resolve()

    def git(*arguments: str) -> str:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=True, env=environ)
        return done.stdout.decode(errors="replace").strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root:
            return None  # an environment inside somebody else's checkout
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None
