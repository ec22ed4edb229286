"""Options of whoever has a `Config` dataclass (editors, labellers): held to its fields and their types."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from fgvedit.util.errors import FGVEditError, unknown


def configured(config: Any, values: Mapping[str, Any], of: str, lacking: str = "; expected ") -> Any:
    """`config(**values)`, each value held to the type of its field.

    `config`: a dataclass; `of`: whose options they are ("editor 'mend'"); `lacking`: what stands between "option 'x' of
    … has no value" and "x=VALUE".
    Raises `FGVEditError` for an option that it does not have, one that has no value, and a value of another type. A
    whole number is taken for a float, a number that is not finite for none.
    """
    known = {field.name: field for field in fields(config)}
    hints = get_type_hints(config)
    taken = dict(values)
    for option, value in values.items():
        if option not in known:
            raise unknown(f"option of {of}", option, known)
        if not fits(value, hints[option]):
            expected = _expected(known[option], hints[option], value)
            raise FGVEditError(f"option '{option}' of {of}: found {value!r}, expected a {expected}")
        if hints[option] is float:
            taken[option] = float(value)
    for option, field in known.items():
        if option not in values and field.default is MISSING and field.default_factory is MISSING:
            raise FGVEditError(f"option '{option}' of {of} has no value{lacking}{option}=VALUE")
    return config(**taken)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value read from YAML is of an annotated type; an int is a float, but True is no int. Numbers are
    finite: JSON, which results are, has no others."""
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return any(fits(value, argument) for argument in arguments)
    if kind is Literal:
        return value in arguments
    if kind is list:
        return isinstance(value, list) and all(fits(item, argument) for argument in arguments for item in value)
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool) and _is_finite(value)
    return kind is Any or not inspect.isclass(kind) or isinstance(value, kind)


def _is_finite(value: int | float) -> bool:
    """Whether a number has a value as a float."""
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _expected(field: Field, hint: Any, value: Any) -> str:
    """What a field takes, in words, with its default for an example."""
    expected = hint.__name__ if inspect.isclass(hint) and not get_args(hint) else str(hint)
    if isinstance(value, (int, float)) and not _is_finite(value):
        expected = f"finite {expected}"
    return expected + (f" such as {field.default!r}" if field.default is not MISSING else "")


def check_positive(config: object, *options: str) -> None:
    """Raises `FGVEditError`, naming the option, for a value that is not above 0."""
    for option in options:
        if not (found := getattr(config, option)) > 0:
            raise FGVEditError(f"option '{option}': found {found}, expected more than 0")
