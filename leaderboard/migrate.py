"""Result files and rows of every format so far, brought to the current one after each is held to its own schema.

Format 1 lacked what a sequence needs (`manifest.sequence`; the rows' `edits` and `age`), `manifest.hardware` and
`cost.trained_parameters`. Format 2 lacked groups: each record was one of its image's, and figures counted images.

An editor that was renamed has its name of today in a result of any format, told by its class (`RENAMED`).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, cast

import jsonschema

from fgvedit.evaluation.rows import LACKED, Row, completed
from fgvedit.probes import kinds
from fgvedit.util.errors import FGVEditError, unknown

SCHEMAS = Path(__file__).parent / "schema"
CURRENT = 3

# JSON Schema counts 1.0 as an integer. Here it is none: hashes and ids would tell it from 1.
INTEGERS = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=INTEGERS)


def schema_of(name: str) -> dict[str, Any]:
    """`schema/<name>.schema.json`; of rows, from format 2 on, with the kinds of probes that are registered."""
    return validator(name).schema


def validator(name: str) -> Any:
    """The validator of `schema_of(name)`."""
    return _validator(name, tuple(kinds()) if name.startswith("row.") else ())


@cache
def _validator(name: str, kinds_of_probes: tuple[str, ...]) -> Any:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    if kinds_of_probes:
        schema["properties"]["kind"].setdefault("enum", list(kinds_of_probes))
    return Validator(schema)


def check(value: Any, schema: str, where: str, whole: str = "the whole file") -> None:
    """Raises `FGVEditError`, which starts with `where` and names the field, or `whole`, where a schema is not met."""
    error = jsonschema.exceptions.best_match(validator(schema).iter_errors(value))
    if error is not None:
        field = ".".join(map(str, error.absolute_path)) or whole
        named = error.validator == "enum" and isinstance(error.instance, str)
        what = [part for part in error.absolute_path if isinstance(part, str)]
        message = str(unknown(what[-1], error.instance[:60], error.validator_value)) if named else error.message
        message = message if len(message) <= 200 else f"{message[:120]} … {message[-60:]}"
        raise FGVEditError(f"{where}: {field}: {message}")


def _to_2(result: dict[str, Any]) -> dict[str, Any]:
    manifest = result["manifest"]
    cost = {**manifest["cost"], "trained_parameters": None}
    return {**result, "format": 2, "manifest": {**manifest, "sequence": None, "hardware": None, "cost": cost}}


def _to_3(result: dict[str, Any]) -> dict[str, Any]:
    router = {protocol: _with_groups(figures) for protocol, figures in result["router"].items()}
    return {**result, "format": 3, "metrics": _with_groups(result["metrics"]), "router": router}


def _with_groups(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Figures of format 2 in format 3, in which their images are groups."""
    return {
        name: {"groups" if field == "images" else field: value for field, value in figure.items()}
        for name, figure in figures.items()
    }


# Class -> what its editor is called now. `serac` is another one today.
RENAMED = {"baselines.serac.editor:SERAC": "serac-switch"}

TO_NEXT: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _to_2, 2: _to_3}


def current_result(result: Any, where: str) -> dict[str, Any]:
    """A result of any format as one of the current format, its editor called what it is called today.

    Raises `FGVEditError` where it is not valid.
    """
    version = result.get("format") if isinstance(result, dict) else None
    if type(version) is not int or version not in TO_NEXT:
        version = CURRENT  # whose schema says what is wrong with an unknown one
    check(result, f"result.v{version}", f"{where} is not a valid result file")
    for step in range(version, CURRENT):
        result = TO_NEXT[step](result)
    return _with_names_of_today(result)


def _with_names_of_today(result: dict[str, Any]) -> dict[str, Any]:
    manifest = result["manifest"]
    editor = manifest["editor"]
    if editor["class"] not in RENAMED:
        return result
    return {**result, "manifest": {**manifest, "editor": {**editor, "name": RENAMED[editor["class"]]}}}


def current_rows(rows: Iterable[Any], where: str) -> list[Row]:
    """Rows of one format, any, as rows of the current one. Raises `FGVEditError`, naming the first bad row, before the
    next one is taken."""
    rest = iter(rows)
    first = next(rest, ...)
    if first is ...:
        raise FGVEditError(f"{where} holds no row; expected one a probe and protocol")
    named = set(first) if isinstance(first, dict) else set()
    version = next((v for v, lacked in LACKED.items() if not set(lacked) & named), CURRENT)
    return [cast(Row, completed(row)) for row in _checked(chain([first], rest), f"row.v{version}", where)]


def _checked(rows: Iterable[Any], schema: str, where: str) -> Iterator[dict[str, Any]]:
    """As `check` for each row, but each column's values are checked once, however often they occur."""
    valid = validator(schema)
    columns = {name: valid.evolve(schema=column) for name, column in valid.schema["properties"].items()}
    passed: dict[str, dict[type, set[Any]]] = {name: defaultdict(set) for name in columns}  # to Python, 1 is 1.0
    for number, row in enumerate(rows, 1):
        well = isinstance(row, dict) and row.keys() == columns.keys()
        for name, value in row.items() if well else ():
            if isinstance(value, (list, dict)):
                well = False
            elif value not in (known := passed[name][type(value)]):
                known.add(value)
                well = well and columns[name].is_valid(value)
        if not well:
            check(row, schema, f"{where}: row {number}", "its fields")
        yield row
