"""Editors by name: the registry, an editor's options for a backbone, and its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import yaml

from fgvedit.backbones.base import Backbone
from fgvedit.editors.checkpoints import trained_with
from fgvedit.editors.contract import Editor
from fgvedit.util.errors import FGVEditError, one_line, unknown
from fgvedit.util.options import configured
from fgvedit.util.plugins import checked, class_at, loaded

ENTRY_POINTS = "fgvedit.editors"


def editor_class(target: str) -> type[Editor]:
    """The editor named `target`: a registered name, `package.module:Class`, or `file.py:Class`.

    Raises `FGVEditError`, with the nearest name, for one that is not there, and for a class that is no `Editor`.
    """
    if ":" in target:
        return class_at(target, Editor, "editor")
    registered = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if target not in registered:
        raise unknown("editor", target, registered)
    return checked(loaded(registered[target], "editor"), target, Editor, "editor")


def editor_config(editor: type[Editor], backbone_name: str, overrides: Mapping[str, Any] | None = None) -> Any:
    """The editor's `Config` for a backbone: its `config.yaml`'s section of that name (else `default`), overridden.

    Raises `FGVEditError` for an option that the configuration does not have, one that has no value, and a value of
    another type.
    """
    values = {**_section(editor.home() / "config.yaml", backbone_name), **(overrides or {})}
    lacking = f" for backbone '{backbone_name}'; expected one in config.yaml or as --set "
    return configured(editor.Config, values, f"editor '{editor.name}'", lacking)


def _section(path: Path, backbone_name: str) -> dict[str, Any]:
    try:
        sections = (yaml.safe_load(path.read_text()) if path.is_file() else None) or {}
        return dict(sections.get(backbone_name, sections.get("default")) or {})
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise FGVEditError(
            f"'{path}' cannot be read ({one_line(error)}); expected a section of options for each backbone"
        ) from error


def open_editor(
    target: str, backbone: Backbone, overrides: Mapping[str, Any] | None = None, checkpoint: Path | None = None
) -> Editor:
    """The editor named `target` on `backbone`, ready to edit: loaded from `checkpoint`, or see `checkpoint_folder`.

    The options that shape what was trained are the checkpoint's, where `overrides` do not say otherwise.
    Raises `FGVEditError` for an unknown editor or option, and for a checkpoint that is missing or does not fit.
    """
    kind = editor_class(target)
    folder = checkpoint_folder(kind, backbone.name, checkpoint)
    shape = trained_with(folder, kind.architecture) if folder else {}
    editor = kind(backbone, editor_config(kind, backbone.name, {**shape, **(overrides or {})}))
    if folder:
        if not folder.is_dir():
            raise FGVEditError(
                f"editor '{kind.name}' has no checkpoint for backbone '{backbone.name}' at '{folder}'; expected a "
                f"folder: train one with python -m fgvedit.train --editor {target} --backbone {backbone.name}"
            )
        editor.load(folder)
    return editor


def checkpoint_folder(kind: type[Editor], backbone_name: str, given: Path | None = None) -> Path | None:
    """Where an editor's checkpoint for a backbone lies: `given`, or the one shipped, or else where `fgvedit.train` puts
    one; None where it is not trained.

    Raises `FGVEditError` for one given to an editor that takes none. The folder returned may not be there.
    """
    if kind.trained:
        shipped, trained = kind.home() / "checkpoints" / backbone_name, training_folder(kind, backbone_name)
        return given or (trained if trained.is_dir() and not shipped.is_dir() else shipped)
    if given:
        raise FGVEditError(f"editor '{kind.name}' takes no checkpoint, found --checkpoint '{given}'")
    return None


def training_folder(kind: type[Editor], backbone_name: str) -> Path:
    """Where `fgvedit.train` puts a checkpoint if it is not told."""
    return Path("runs") / f"train-{kind.name}-{backbone_name}"
