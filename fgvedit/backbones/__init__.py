"""Backbones by name."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import torch

from fgvedit.backbones.base import Backbone
from fgvedit.errors import FGVEditError, one_line, unknown
from fgvedit.revision import content_hash

# A shipped folder, or an id on the Hugging Face hub.
NAMES: dict[str, Path | str] = {
    "tiny": Path(__file__).parent / "tiny" / "model",
    "blip2-opt-2.7b": "Salesforce/blip2-opt-2.7b",
}

# `model_type` in a folder's config.json -> what opens the folder: Class(folder, name, revision, device, dtype)
FAMILIES = {
    "blip-2": "fgvedit.backbones.blip2:Blip2Backbone",
}


def open_backbone(name: str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Backbone:
    """The backbone called `name`: a name of `NAMES`, or the path to a folder.

    Raises `FGVEditError` for an unknown name and for a checkpoint that is incomplete, damaged or of no known family.
    """
    source = NAMES.get(name, Path(name))
    revision = None
    if isinstance(source, str):
        folder = _download(source)
        revision = folder.name  # the hub's cache calls a snapshot's folder after its commit
    elif source.is_dir():
        folder = source
    elif name in NAMES:
        raise FGVEditError(f"backbone '{name}': folder '{source}' is missing; expected the files of a checkpoint")
    else:
        raise unknown("backbone", name, NAMES)

    family = FAMILIES.get(model_type := _model_type(folder))
    if family is None:
        raise unknown(f"architecture in '{folder / 'config.json'}'", model_type, FAMILIES)
    module, _, class_name = family.partition(":")
    if revision is None:
        revision = content_hash(path for path in folder.iterdir() if path.suffix in (".safetensors", ".json", ".txt"))
    kind = getattr(importlib.import_module(module), class_name)
    return kind(folder, name if name in NAMES else folder.resolve().name, revision, device, dtype)


def _model_type(folder: Path) -> str:
    path = folder / "config.json"
    try:
        return str(json.loads(path.read_text())["model_type"])
    except FileNotFoundError as error:
        raise FGVEditError(
            f"backbone: file '{path}' is missing; expected a folder that save_pretrained wrote"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise FGVEditError(
            f"backbone: '{path}' has no model_type; expected the JSON that save_pretrained wrote"
        ) from error


def _download(hub_id: str) -> Path:
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(hub_id, allow_patterns=["*.safetensors", "*.json", "*.txt"]))
    except Exception as error:  # the hub's client raises many types: no network, no such model, no permission
        raise FGVEditError(
            f"backbone: '{hub_id}' could not be read from the hub ({one_line(error)}); try 'tiny'"
        ) from error
