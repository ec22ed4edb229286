"""Classes and objects from outside: by entry point, or by where they are (`package.module:Class`, `file.py:Class`).

`what` they are ("editor", "backbone") stands in what is said of those that cannot be had.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

from fgvedit.util.errors import FGVEditError, one_line, unknown

ROOT = Path(__file__).resolve().parents[2]  # of a checkout, or where a wheel was unpacked
OURS = ("baselines", "builders", "leaderboard")  # packages beside `fgvedit`, of names that others use too


def class_at(target: str, base: Any, what: str) -> Any:
    """The subclass of `base` at `target`. Raises `FGVEditError` where there is none."""
    where, _, name = target.rpartition(":")
    if where.endswith(".py"):
        path = Path(where)
        if not path.is_file():
            raise FGVEditError(f"{what} '{target}': there is no file '{where}'; expected FILE.py:CLASS")
        with imported(target, what):
            module = _module_of(path)
    else:
        with imported(target, what):
            module = _module_called(where)
    if not hasattr(module, name):
        classes = [key for key, value in vars(module).items() if inspect.isclass(value) and issubclass(value, base)]
        raise unknown(f"class in '{where}'", name, classes)
    return checked(getattr(module, name), target, base, what)


def _module_of(path: Path) -> ModuleType:
    """The module in a file, executed anew. It is called as its file, unless another module is."""
    name = path.stem
    with contextlib.suppress(ValueError):  # of a module that was not found by anything
        other = importlib.util.find_spec(name)
        if other and other.origin != str(path.resolve()):
            name += "_" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module


def _module_called(name: str) -> ModuleType:
    """The module of this name as Python finds it first, be it in a package of somebody's own that is called as one of
    `OURS`; this project's where that has none."""
    package = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if package not in OURS or not f"{name}.".startswith(f"{error.name}."):
            raise
    put_first(package)
    return importlib.import_module(name)


def loaded(point: EntryPoint, what: str) -> Any:
    """What an entry point names; of one of this project's packages, this project's, whatever else lies in the working
    directory under that name. Raises `FGVEditError` where it cannot be imported."""
    package = point.module.partition(".")[0]
    with imported(point.name, what):
        if package in OURS:
            put_first(package)
        return point.load()


def put_first(package: str) -> None:
    """Have the modules of one of `OURS` found where `fgvedit` lies, whatever else goes by that name or was imported.

    Modules of another package of that name can be imported as long as this one has none called alike: a researcher's
    own `baselines/` is on the way too, though without what its `__init__.py` says.
    """
    ours = str(ROOT / package)
    theirs: dict[str, ModuleType] = {}
    if list(getattr(sys.modules.get(package), "__path__", ()))[:1] != [ours]:
        within = [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]
        theirs = {name: sys.modules.pop(name) for name in within}
    sys.path.insert(0, str(ROOT))
    try:
        found = importlib.import_module(package)
    finally:
        sys.path.remove(str(ROOT))
    paths = [*found.__path__, *getattr(theirs.get(package), "__path__", ())]
    paths += [str(Path(entry).resolve() / package) for entry in sys.path]
    found.__path__ = list(dict.fromkeys([ours, *(path for path in paths if Path(path).is_dir())]))
    for name, module in theirs.items():
        own = ROOT.joinpath(*name.split("."))
        if not own.is_dir() and not own.with_suffix(".py").is_file():
            sys.modules[name] = module


@contextmanager
def imported(target: str, what: str) -> Iterator[None]:
    """Whatever a module raises while it is imported, as `FGVEditError`."""
    where = target.rpartition(":")[0]
    try:
        yield
    except ModuleNotFoundError as error:
        if where and f"{where}.".startswith(f"{error.name}."):
            raise FGVEditError(f"{what} '{target}': no module '{error.name}'; expected PACKAGE.MODULE:CLASS") from error
        raise FGVEditError(f"{what} '{target}' needs the module '{error.name}', which is not installed") from error
    except FGVEditError:
        raise
    except Exception as error:
        raise FGVEditError(
            f"{what} '{target}' cannot be imported ({type(error).__name__}: {one_line(error)}); expected a module that "
            "imports without an error"
        ) from error


def checked(found: Any, target: str, base: Any, what: str) -> Any:
    """`found`, a class. Raises `FGVEditError` where it is no subclass of `base`."""
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise FGVEditError(
            f"{what} '{target}' is {found!r}; expected a subclass of {base.__module__}.{base.__qualname__}"
        )
    return found
