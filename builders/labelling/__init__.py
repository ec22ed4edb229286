"""Who says how questions are put otherwise, and which an edit concerns: people's stand-ins, behind one contract."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from builders.labelling.base import Labeller
from fgvedit.util.errors import FGVEditError, unknown
from fgvedit.util.options import configured
from fgvedit.util.plugins import class_at

LABELLERS = {
    "rules": "builders.labelling.rules:Rules",
    "openai": "builders.labelling.openai:OpenAI",
    "local": "builders.labelling.local:Local",
}
TASKS = ("entity", "counterfactual", "rephrase", "effect", "settled_by_text", "in_scope")


def open_labeller(name: str, options: Mapping[str, Any]) -> Labeller:
    """The labeller called `name`: one of `LABELLERS`, or a class of a user's own as `package.module:Class` or
    `file.py:Class`. As an editor's, its options are the fields of its `Config`, a dataclass; a class without one is
    made without options.

    Raises `FGVEditError` for a name or option that is unknown, a value of another type, and a class that is no
    labeller.
    """
    kind = _kind(name)
    labeller = kind(*_config(kind, name, options))
    lacking = [attribute for attribute in ("name", "concurrency") if not hasattr(labeller, attribute)]
    if lacking:
        raise FGVEditError(
            f"labeller '{name}' does not say its {' and '.join(lacking)}; expected both, once it is made"
        )
    return labeller


def estimate(name: str, options: Mapping[str, Any], counts: Mapping[str, int]) -> str:
    """What so many asks of each of `TASKS` cost, in words; empty where that labeller's class cannot tell. Nothing is
    opened: a class that can tell has a static method `estimate(config, counts)`. Raises `FGVEditError` as
    `open_labeller` does."""
    kind = _kind(name)
    config = _config(kind, name, options)
    return str(kind.estimate(*config, counts)) if hasattr(kind, "estimate") else ""


def _kind(name: str) -> Any:
    """A labeller's class."""
    if ":" in name:
        kind = class_at(name, object, "labeller")
    elif name in LABELLERS:
        module, _, class_name = LABELLERS[name].partition(":")
        kind = getattr(importlib.import_module(module), class_name)
    else:
        raise unknown("labeller", name, LABELLERS)
    lacking = [task for task in TASKS if not callable(getattr(kind, task, None))]
    if lacking:
        raise FGVEditError(
            f"labeller '{name}' has no {', '.join(lacking)}; expected a class with the methods of "
            "builders.labelling.base.Labeller"
        )
    return kind


def _config(kind: Any, name: str, options: Mapping[str, Any]) -> list[Any]:
    """What a labeller is made with: its `Config`, or nothing."""
    config = getattr(kind, "Config", None)
    if not (isinstance(config, type) and is_dataclass(config)):
        if options:
            raise FGVEditError(f"labeller '{name}' takes no options, found '{next(iter(options))}'")
        return []
    return [configured(config, options, f"labeller '{name}'")]
