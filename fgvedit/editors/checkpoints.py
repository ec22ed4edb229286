"""An editor's checkpoint: `model.safetensors` with what was trained, `editor.json` with what it was trained for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fgvedit.backbones.base import Backbone
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import read_json, write_json
from fgvedit.util.tensors import read_tensors, write_tensors

WEIGHTS = "model.safetensors"
DESCRIPTION = "editor.json"
# Options that came later, and what those checkpoints were trained with that do not name them.
LATER = {"classifier_texts": "plain", "counterfactual_texts": "plain"}


def save_checkpoint(folder: Path, parts: nn.Module, editor: str, backbone: Backbone, config: Mapping[str, Any]) -> None:
    """Write the parameters and buffers of `parts`, as float16, and what they belong to.

    `folder` is made where it is not there. `editor`: the editor's name; `config`: its options, with their values.
    """
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

    `architecture`: option -> value that the editor is configured with, which the checkpoint has to have too.
    Raises `FGVEditError`, naming the file, for one that is missing or damaged, of another editor, of a backbone with
    other weights, or of another architecture; `parts` are then what they were.
    """
    _check_description(folder / DESCRIPTION, editor, backbone, architecture)
    weights, _ = read_tensors(folder / WEIGHTS)
    if part:
        own = f"{part}."
        weights = {name.removeprefix(own): value for name, value in weights.items() if name.startswith(own)}
    check_shapes(folder / WEIGHTS, weights, state(parts), f"editor '{editor}'")
    fill(parts, weights)


def _check_description(path: Path, editor: str, backbone: Backbone, architecture: Mapping[str, Any]) -> None:
    """Raises `FGVEditError` where the checkpoint described in a file was trained for something else."""
    if not path.is_file():
        raise FGVEditError(f"checkpoint '{path}' is missing; expected a folder that an editor saved")
    described = read_json(path)
    if not (isinstance(described, dict) and isinstance(described.get("config"), dict)):
        raise FGVEditError(f"checkpoint '{path}' is damaged: expected an object with 'config'")
    found = {"editor": described.get("editor"), "backbone_revision": described.get("backbone_revision")}
    found["input_mode"] = described.get("input_mode", "native")
    found.update({option: {**LATER, **described["config"]}.get(option) for option in architecture})
    expected = {"editor": editor, "backbone_revision": backbone.revision, "input_mode": backbone.input_mode}
    for field, value in (expected | dict(architecture)).items():
        if found[field] != value:
            raise FGVEditError(
                f"checkpoint '{path}': it was trained with {field} '{found[field]}' (backbone "
                f"'{described.get('backbone')}'), expected '{value}' (backbone '{backbone.name}')"
            )


def check_shapes(path: Path, found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], of: str) -> None:
    """Raises `FGVEditError` for a tensor of a file that is missing, left over or of another shape; `of`: what the
    expected ones are of."""
    shapes = {name: list(value.shape) for name, value in expected.items()}
    found_shapes = {name: list(value.shape) for name, value in found.items()}
    for name in sorted(shapes.keys() | found_shapes.keys()):
        if shapes.get(name) != found_shapes.get(name):
            raise FGVEditError(
                f"checkpoint '{path}': tensor '{name}' has shape {found_shapes.get(name, 'none')}, "
                f"expected {shapes.get(name, 'no such tensor')} ({of} has {len(expected)} tensors)"
            )


def trained_with(folder: Path, options: Sequence[str]) -> dict[str, Any]:
    """Which of these options of a configuration a checkpoint has, and their values; none where it cannot be read."""
    try:
        config = {**LATER, **json.loads((folder / DESCRIPTION).read_text())["config"]}
        return {option: config[option] for option in options if option in config}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # loading says what is wrong


def _halved(value: torch.Tensor) -> torch.Tensor:
    return value.half() if value.is_floating_point() else value


def state(parts: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters and buffers of a module by name, each tensor once where several names share it."""
    taken: set[int] = set()
    once = {}
    for name, value in parts.state_dict(keep_vars=True).items():
        if id(value) not in taken:
            taken.add(id(value))
            once[name] = value
    return once


@torch.no_grad()
def fill(parts: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Put tensors, named as `state` names them, into a module."""
    for name, value in state(parts).items():
        value.copy_(weights[name])
