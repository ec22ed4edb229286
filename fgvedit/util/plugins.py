"""Classes of a user's own, by where they are: `package.module:Class` or `file.py:Class`.

`what` they are ("editor", "backbone") stands in what is said of those that cannot be had.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fgvedit.util.errors import FGVEditError, one_line, unknown


def class_at(target: str, base: Any, what: str) -> Any:
    """The subclass of `base` at `target`. Raises `FGVEditError` where there is none."""
    where, _, name = target.rpartition(":")
    if where.endswith(".py"):
        path = Path(where)
        if not path.is_file():
            raise FGVEditError(f"{what} '{target}': there is no file '{where}'; expected FILE.py:CLASS")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module  # dataclasses look their module up by name
        with imported(target, what):
            spec.loader.exec_module(module)
    else:
        with imported(target, what):
            module = importlib.import_module(where)
    if not hasattr(module, name):
        classes = [key for key, value in vars(module).items() if inspect.isclass(value) and issubclass(value, base)]
        raise unknown(f"class in '{where}'", name, classes)
    return checked(getattr(module, name), target, base, what)


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
    except Exception as error:
        raise FGVEditError(
            f"{what} '{target}' cannot be imported ({type(error).__name__}: {one_line(error)}); expected a module that "
            "imports without an error"
        ) from error


def checked(found: Any, target: str, base: Any, what: str) -> Any:
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise FGVEditError(
            f"{what} '{target}' is {found!r}; expected a subclass of {base.__module__}.{base.__qualname__}"
        )
    return found
