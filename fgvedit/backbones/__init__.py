"""Backbones by name."""

from __future__ import annotations

import difflib
import importlib
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import yaml

from fgvedit.backbones.base import Backbone
from fgvedit.backbones.loading import INPUT_MODES, LoadSpec, ModulePaths
from fgvedit.util.errors import FGVEditError, one_line, unknown
from fgvedit.util.plugins import class_at
from fgvedit.util.revision import content_hash

HOME = Path(__file__).parent
NAMES: dict[str, dict[str, Any]] = yaml.safe_load((HOME / "names.yaml").read_text())

# `model_type` in a folder's config.json -> what opens the folder; whatever else AutoModelForImageTextToText knows is
# opened by ANY.
FAMILIES = {
    "blip-2": "fgvedit.backbones.families.blip2:Blip2Backbone",
    "instructblip": "fgvedit.backbones.families.instructblip:InstructBlipBackbone",
    "minigpt4": "fgvedit.backbones.families.minigpt4.backbone:MiniGPT4Backbone",
}
ANY = "fgvedit.backbones.families.image_text:ImageTextBackbone"

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
HASHED = (".safetensors", ".json", ".txt", ".model", ".jinja")  # what a folder's revision is made of
MODULE_PATHS = tuple(field.name for field in fields(ModulePaths))


def open_backbone(
    name: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    device_map: str | None = None,
    input_mode: str = "native",
    revision: str | None = None,
) -> Backbone:
    """The backbone called `name`: a name of `names.yaml`, a folder, a hub id (`owner/name`), or a YAML file with an
    entry as in `names.yaml`.

    `device`, `dtype`: where the model is put, and in which type; `device_map`, `input_mode`: see `LoadSpec`;
    `revision`: the hub's branch, tag or commit.
    Raises `FGVEditError` for an unknown name and for a checkpoint that is incomplete, damaged or of no known family.
    """
    if input_mode not in INPUT_MODES:
        raise unknown("input mode", input_mode, INPUT_MODES)
    entry = _entry(name)
    folder, commit, source = _folder(name, entry, revision, dtype)
    kind = class_at(entry["class"], Backbone, "backbone") if "class" in entry else _family(folder)
    return kind(
        LoadSpec(
            folder=folder,
            name=entry["name"],
            revision=commit or content_hash(path for path in folder.rglob("*") if path.suffix in HASHED),
            source=source,
            device=device,
            dtype=dtype,
            device_map=device_map,
            input_mode=input_mode,
            module_paths=ModulePaths(**{option: entry[option] for option in MODULE_PATHS if option in entry}),
        )
    )


def _folder(name: str, entry: dict[str, Any], revision: str | None, dtype: torch.dtype) -> tuple[Path, str | None, str]:
    """Where an entry's checkpoint is, fetched if need be; the hub's commit, None for a folder; the source."""
    if hub := entry.get("hub"):
        from fgvedit.util.hub import fetch

        folder = fetch(hub, "backbone", revision or entry.get("revision"), dtype)
        return folder, folder.name, hub  # the hub's cache calls a snapshot's folder after its commit
    folder = Path(entry["folder"])
    if revision:
        raise FGVEditError(f"--revision '{revision}': backbone '{name}' is a folder; expected a name on the hub")
    if not folder.is_dir():
        raise FGVEditError(f"backbone '{name}': folder '{folder}' is missing; expected the files of a checkpoint")
    return folder, None, folder.resolve().name


def _entry(name: str) -> dict[str, Any]:
    """What is known of the backbone called `name`: "name", "hub" or "folder", and options of `ModulePaths`."""
    if name in NAMES:
        entry = {**NAMES[name], "name": name}
        return {**entry, "folder": HOME / entry["shipped"]} if "shipped" in entry else entry
    if name.endswith((".yaml", ".yml")):
        return _described(Path(name))
    if Path(name).is_dir():
        return {"folder": name, "name": Path(name).resolve().name}
    if HUB_ID.fullmatch(name):
        known = (key for key, entry in NAMES.items() if entry.get("hub") == name)
        return _entry(key) if (key := next(known, None)) else {"hub": name, "name": name.rpartition("/")[2]}
    raise unknown("backbone", name, NAMES)


def _described(path: Path) -> dict[str, Any]:
    """The entry in a YAML file of a user's own. A relative folder, or file with a class, is one beside the file."""
    try:
        entry = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise FGVEditError(f"backbone: there is no file '{path}'; expected one with 'hub' or 'folder'") from error
    except yaml.YAMLError as error:
        raise FGVEditError(f"backbone: '{path}' is not YAML ({one_line(error)})") from error
    if not isinstance(entry, dict) or len({"hub", "folder"} & entry.keys()) != 1:
        raise FGVEditError(f"backbone: '{path}' has to name either 'hub' or 'folder'; found {entry!r}")
    known = ("hub", "folder", "revision", "class", *MODULE_PATHS)
    for option, value in entry.items():
        if option not in known:
            raise unknown(f"option in '{path}'", option, known)
        expected = list if option == "connector" else str
        if not isinstance(value, expected):
            raise FGVEditError(f"'{path}': option '{option}' is {value!r}; expected a {expected.__name__}")
    if "folder" in entry:
        entry["folder"] = path.parent / entry["folder"]
    if ".py:" in entry.get("class", ""):
        entry["class"] = str(path.parent / entry["class"])
    return {**entry, "name": path.stem}


def _family(folder: Path) -> Any:
    """The class that opens a folder, by the `model_type` in its config.json."""
    path = folder / "config.json"
    try:
        model_type = str(json.loads(path.read_text())["model_type"])
    except FileNotFoundError as error:
        raise FGVEditError(
            f"backbone: file '{path}' is missing; expected a folder that save_pretrained wrote"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise FGVEditError(
            f"backbone: '{path}' has no model_type; expected the JSON that save_pretrained wrote"
        ) from error
    target = FAMILIES.get(model_type, ANY)
    if target == ANY:
        from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as KNOWN

        if model_type not in KNOWN:
            near = difflib.get_close_matches(model_type, {*KNOWN, *FAMILIES}, n=1, cutoff=0)[0]
            raise FGVEditError(
                f"'{path}': found the architecture '{model_type}', expected one of AutoModelForImageTextToText in "
                f"transformers; the nearest is '{near}'"
            )
    module, _, class_name = target.partition(":")
    return getattr(importlib.import_module(module), class_name)
