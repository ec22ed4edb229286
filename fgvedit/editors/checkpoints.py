"""An editor's checkpoint: `model.safetensors` with what was trained, `editor.json` with what it was trained for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from fgvedit.backbones.base import Backbone
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import read_json, write_json

WEIGHTS = "model.safetensors"
DESCRIPTION = "editor.json"


def save_checkpoint(folder: Path, parts: nn.Module, editor: str, backbone: Backbone, config: Mapping[str, Any]) -> None:
    """Write the parameters and buffers of `parts`, as float16, and what they belong to."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: _halved(value.detach()) for name, value in state(parts).items()}
    write_tensors(folder / WEIGHTS, weights)
    described = {"editor": editor, "backbone": backbone.name, "backbone_revision": backbone.revision}
    described["input_mode"] = backbone.input_mode
    write_json(folder / DESCRIPTION, {**described, "config": dict(config)})


def load_checkpoint(
    folder: Path, parts: nn.Module, editor: str, backbone: Backbone, architecture: Mapping[str, Any], part: str = ""
) -> None:
    """Read what `save_checkpoint` wrote into `parts`, or, where `part` names one of its modules, into that alone.

    Raises `FGVEditError`, naming the file, for one that is missing or damaged, of another editor, of a backbone with
    other weights, or of another architecture (option -> value that the editor is configured with).
    """
    if not (folder / DESCRIPTION).is_file():
        raise FGVEditError(f"checkpoint '{folder / DESCRIPTION}' is missing; expected a folder that an editor saved")
    described = read_json(folder / DESCRIPTION)
    if not (isinstance(described, dict) and isinstance(described.get("config"), dict)):
        raise FGVEditError(f"checkpoint '{folder / DESCRIPTION}' is damaged: expected an object with 'config'")
    found = {"editor": described.get("editor"), "backbone_revision": described.get("backbone_revision")}
    found["input_mode"] = described.get("input_mode", "native")
    found.update({option: described["config"].get(option) for option in architecture})
    expected = {"editor": editor, "backbone_revision": backbone.revision, "input_mode": backbone.input_mode}
    expected |= architecture
    for field, value in expected.items():
        if found[field] != value:
            raise FGVEditError(
                f"checkpoint '{folder / DESCRIPTION}': it was trained with {field} '{found[field]}' (backbone "
                f"'{described.get('backbone')}'), expected '{value}' (backbone '{backbone.name}')"
            )
    weights, _ = read_tensors(folder / WEIGHTS)
    if part:
        own = f"{part}."
        weights = {name.removeprefix(own): value for name, value in weights.items() if name.startswith(own)}
    mine = state(parts)
    shapes = {name: list(value.shape) for name, value in mine.items()}
    found_shapes = {name: list(value.shape) for name, value in weights.items()}
    for name in sorted(shapes.keys() | found_shapes.keys()):
        if shapes.get(name) != found_shapes.get(name):
            raise FGVEditError(
                f"checkpoint '{folder / WEIGHTS}': tensor '{name}' has shape {found_shapes.get(name, 'none')}, "
                f"expected {shapes.get(name, 'no such tensor')} (editor '{editor}' has {len(mine)} tensors)"
            )
    fill(parts, weights)


def trained_with(folder: Path, options: Sequence[str]) -> dict[str, Any]:
    """Which of these options of a configuration a checkpoint has, and their values; none where it cannot be read."""
    try:
        config = json.loads((folder / DESCRIPTION).read_text())["config"]
        return {option: config[option] for option in options if option in config}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # loading says what is wrong


def _halved(value: torch.Tensor) -> torch.Tensor:
    return value.half() if value.is_floating_point() else value


def state(parts: nn.Module) -> dict[str, torch.Tensor]:
    """The state of a module, each tensor once where several names share it."""
    seen: set[int] = set()
    once = {}
    for name, value in parts.state_dict(keep_vars=True).items():
        if id(value) not in seen:
            seen.add(id(value))
            once[name] = value
    return once


@torch.no_grad()
def fill(parts: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Put tensors, named as `state` names them, into a module."""
    for name, value in state(parts).items():
        value.copy_(weights[name])


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], **metadata: str) -> None:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}.tmp")
    try:
        contiguous = {name: value.detach().contiguous().cpu() for name, value in tensors.items()}
        safetensors.torch.save_file(contiguous, partial, metadata=metadata or None)
        partial.replace(path)
    except safetensors.SafetensorError as error:
        raise OSError(None, f"cannot be written ({error})", str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata. Raises `FGVEditError`, naming the file, where it is not a whole safetensors file."""
    if not path.is_file():
        raise FGVEditError(f"checkpoint '{path}' is missing; expected a safetensors file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise FGVEditError(
            f"checkpoint '{path}' is truncated or damaged: expected a whole safetensors file, found "
            f"{path.stat().st_size} bytes ({error})"
        ) from error
