"""Editors by name: the registry, an editor's options for a backbone, and its checkpoint."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from importlib.metadata import entry_points
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from fgvedit.backbones.base import Backbone
from fgvedit.editors.checkpoints import trained_with
from fgvedit.editors.contract import Editor
from fgvedit.util.errors import FGVEditError, one_line, unknown
from fgvedit.util.plugins import checked, class_at, imported

ENTRY_POINTS = "fgvedit.editors"


def editor_class(target: str) -> type[Editor]:
    """The editor named `target`: a registered name, `package.module:Class`, or `file.py:Class`."""
    if ":" in target:
        return class_at(target, Editor, "editor")
    registered = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if target not in registered:
        raise unknown("editor", target, registered)
    with imported(target, "editor"):
        found = registered[target].load()
    return checked(found, target, Editor, "editor")


def editor_config(editor: type[Editor], backbone_name: str, overrides: Mapping[str, Any] | None = None) -> Any:
    """The editor's `Config` for a backbone: its `config.yaml`'s section of that name (else `default`), overridden.

    Raises `FGVEditError` for an option that the configuration does not have, one that has no value, and a value of
    another type.
    """
    values = {**_section(editor.home() / "config.yaml", backbone_name), **(overrides or {})}
    known = {field.name: field for field in fields(editor.Config)}
    hints = get_type_hints(editor.Config)
    for option, value in values.items():
        if option not in known:
            raise unknown(f"option of editor '{editor.name}'", option, known)
        hint = hints[option]
        if not _fits(value, hint):
            example = f" such as {known[option].default!r}" if known[option].default is not MISSING else ""
            expected = hint.__name__ if inspect.isclass(hint) and not get_args(hint) else str(hint)
            if isinstance(value, float) and not math.isfinite(value):
                expected = f"finite {expected}"
            raise FGVEditError(
                f"option '{option}' of editor '{editor.name}': found {value!r}, expected a {expected}{example}"
            )
        if hint is float:
            values[option] = float(value)
    for option, field in known.items():
        if option not in values and field.default is MISSING and field.default_factory is MISSING:
            raise FGVEditError(
                f"option '{option}' of editor '{editor.name}' has no value for backbone '{backbone_name}'; expected "
                f"one in config.yaml or as --set {option}=VALUE"
            )
    return editor.Config(**values)


def _section(path: Path, backbone_name: str) -> dict[str, Any]:
    try:
        sections = (yaml.safe_load(path.read_text()) if path.is_file() else None) or {}
        return dict(sections.get(backbone_name, sections.get("default")) or {})
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise FGVEditError(
            f"'{path}' cannot be read ({one_line(error)}); expected a section of options for each backbone"
        ) from error


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value read from YAML is of an annotated type; an int is a float, but True is no int. Numbers are
    finite: JSON, which results are, has no others."""
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if kind is Literal:
        return value in arguments
    if kind is list:
        return isinstance(value, list) and all(_fits(item, argument) for argument in arguments for item in value)
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool) and math.isfinite(value)
    return kind is Any or not inspect.isclass(kind) or isinstance(value, kind)


def open_editor(
    target: str, backbone: Backbone, overrides: Mapping[str, Any] | None = None, checkpoint: Path | None = None
) -> Editor:
    """The editor named `target` on `backbone`, ready to edit: loaded from `checkpoint`, or see `checkpoint_folder`.

    The options that shape what was trained are the checkpoint's, where `overrides` do not say otherwise.
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
