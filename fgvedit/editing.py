"""The contract of an editor, and the registry that finds one by name."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import MISSING, dataclass, fields
from importlib.metadata import entry_points
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import torch
import yaml
from torch import nn

from fgvedit.answering import MAX_NEW_TOKENS, Answerer, Forced, Query
from fgvedit.backbones.base import Backbone
from fgvedit.checkpoints import trained_with
from fgvedit.errors import FGVEditError, one_line, unknown
from fgvedit.plugins import checked, class_at, imported
from fgvedit.schema import Edit, Record

ENTRY_POINTS = "fgvedit.editors"


@dataclass(frozen=True)
class Route:
    """Why a query was answered as it was.

    `to`: "base" (the unedited model), "edited" (a model with changed weights, layers or prompt) or "counterfactual"
    (a second model). `edit`: the index, among the edits in force, of the one that counted. `rho`: its similarity.
    """

    to: str
    edit: int | None = None
    rho: float | None = None


@dataclass(frozen=True, eq=False)
class Look:
    """Where in two images a scope classifier looked to compare a query with a stored edit: for the edit's fact in the
    edit's image, and for the query's question in its own (None where it has none). (rows, columns), of sum 1.

    `fit`: of how much of an image that is (see `fgvedit.pages.fit.area`).
    """

    edit: torch.Tensor
    query: torch.Tensor | None
    fit: str = "squash"


class EditedModel(ABC):
    """A backbone under one or more edits. It answers as a backbone does and explains each answer."""

    @abstractmethod
    def generate(self, queries: Sequence[Query], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]: ...

    @abstractmethod
    def teacher_force(self, queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]: ...

    @abstractmethod
    def explain(self, queries: Sequence[Query]) -> list[Route]: ...

    def looks(self, queries: Sequence[Query]) -> list[Look] | None:
        """Where a router that looks at images looked, for each query and the stored edit that counted; None for an
        editor that has no such router."""
        return None


class Rerouted(EditedModel):
    """An edited model that answers every query through one answerer."""

    def __init__(self, answerer: Answerer, route: Route) -> None:
        self.answerer = answerer
        self.route = route

    def generate(self, queries: Sequence[Query], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
        return self.answerer.generate(queries, max_new_tokens)

    def teacher_force(self, queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]:
        return self.answerer.teacher_force(queries, answers)

    def explain(self, queries: Sequence[Query]) -> list[Route]:
        return [self.route] * len(queries)


def unedited(backbone: Backbone) -> EditedModel:
    """The backbone where no edit is in force."""
    return Rerouted(backbone.remembered, Route("base"))


class Editor(ABC):
    """A way to edit a backbone.

    A subclass has a `Config` dataclass, whose values for each backbone stand in `config.yaml` beside its module, and,
    where it is trained, its shipped checkpoints in `checkpoints/<backbone>/` there.
    """

    name: ClassVar[str]
    Config: ClassVar[type]
    trained: ClassVar[bool] = False  # whether it needs `train` or `load` before it can edit
    architecture: ClassVar[tuple[str, ...]] = ()  # the options that shape what is trained: a checkpoint has its own

    def __init__(self, backbone: Backbone, config: Any) -> None:
        self.backbone = backbone
        self.config = config

    @property
    def trained_parameters(self) -> int | None:
        """How many parameters the method trains, ahead or for one edit; None where the editor does not say."""
        return None

    @abstractmethod
    def edit(self, edits: Sequence[Edit]) -> AbstractContextManager[EditedModel]:
        """The backbone under `edits`. On leaving, the backbone is what it was, bit for bit."""

    def edit_in_turn(self) -> AbstractContextManager[Callable[[Edit], EditedModel]]:
        """Inside, each call makes one more edit, on top of those made before, and gives the backbone under all of them;
        what an earlier call gave is no longer to be asked. On leaving, the backbone is what it was, bit for bit.

        Here the edits so far are made anew, together, which is right for a memory that keeps every edit as it is. An
        editor whose next edit goes on from what those before left behind says how.
        """
        return _together(self)

    def train(self, records: Sequence[Record], out: Path, seed: int) -> None:
        """Train on `records`, showing progress, with what is needed to go on after a stop in `out`."""
        raise FGVEditError(f"editor '{self.name}' has nothing to train; run it with python -m fgvedit.run")

    def save(self, folder: Path) -> None:
        """Write what was trained: safetensors and JSON."""
        raise FGVEditError(f"editor '{self.name}' has nothing to save")

    def load(self, folder: Path) -> None:
        """Read what `save` wrote. Raises `FGVEditError` for a checkpoint that is damaged or of another backbone."""
        raise FGVEditError(f"editor '{self.name}' has nothing to load")

    @classmethod
    def home(cls) -> Path:
        return Path(inspect.getfile(cls)).parent


@contextmanager
def _together(editor: Editor) -> Iterator[Callable[[Edit], EditedModel]]:
    made: list[Edit] = []
    with ExitStack() as in_force:

        def make(edit: Edit) -> EditedModel:
            in_force.close()
            made.append(edit)
            return in_force.enter_context(editor.edit(tuple(made)))

        yield make


def size(parameters: Iterable[torch.Tensor]) -> int:
    """How many numbers they hold."""
    return sum(parameter.numel() for parameter in parameters)


@contextmanager
def restored(parameters: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """Let the block change these parameters in place; afterwards they hold the bits they held before."""
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    requires_grad = {name: parameter.requires_grad for name, parameter in parameters.items()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(before[name])
                parameter.requires_grad_(requires_grad[name])
                parameter.grad = None


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
