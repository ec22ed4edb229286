"""The house: which room imports which, how large its parts are, and that each public name says what it is."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("fgvedit", "builders", "baselines", "leaderboard", "benchmarks")
LIGHT = (
    "fgvedit",
    "fgvedit.editors.supervision",
    "fgvedit.evaluation.protocols",
    "fgvedit.evaluation.metrics",
    "fgvedit.evaluation.summary",
    "fgvedit.cli",
)
# What a room may import of the others; within `fgvedit` in the order of the way of the data.
ROOMS = ("util", "data", "backbones", "editors", "evaluation", "viewers", "studies", "cli")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


SOURCES = {name_of(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def imports(name: str) -> Iterator[str]:
    """The modules of this project that a module imports, wherever in it, for types alone included."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in SOURCES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (found for found in inner if found in SOURCES)
            if node.module in SOURCES and not all(found in SOURCES for found in inner):
                yield node.module


GRAPH = {name: sorted(set(imports(name)) - {name}) for name in SOURCES}


def test_no_module_imports_itself_by_way_of_others():
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' -> '.join((*way[way.index(name) :], name))}"
        if name not in done:
            for other in GRAPH[name]:
                visit(other, (*way, name))
            done.add(name)

    for name in GRAPH:
        visit(name, ())


def test_fgvedit_imports_nothing_that_stands_on_it():
    for name, others in GRAPH.items():
        package = name.partition(".")[0]
        above = {"fgvedit": PACKAGES[1:], "leaderboard": ("builders", "baselines", "benchmarks")}.get(package, ())
        for other in others:
            assert other.partition(".")[0] not in above, f"{name} imports {other}"


def room_of(name: str) -> str:
    """The room of `fgvedit` that a module belongs to; the modules beside the rooms are about data."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else "data"


def test_a_room_imports_only_from_those_before_it():
    for name, others in GRAPH.items():
        beside = len(name.split(".")) == 2 and SOURCES[name].name != "__init__.py" and room_of(name) == "data"
        if name.startswith("fgvedit.") and not (beside and any(".cli." in other for other in others)):  # a door
            for other in (other for other in others if other.startswith("fgvedit.")):
                assert ROOMS.index(room_of(other)) <= ROOMS.index(room_of(name)), f"{name} imports {other}"


def test_what_anybody_can_score_a_run_with_needs_no_torch():
    modules = [*LIGHT, *(name for name in SOURCES if name.startswith("fgvedit.cli."))]
    code = f"import sys; {'; '.join(f'import {name}' for name in modules)}; assert 'torch' not in sys.modules"
    code += "; from fgvedit.evaluation.protocols import protocols; list(protocols().values())"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True)


def test_what_docs_name_is_there():
    named = re.compile(r"`((?:fgvedit|builders|baselines|leaderboard|benchmarks|tests|docs)/[\w./-]+)`")
    for page in (ROOT / "README.md", ROOT / "fgvedit" / "README.md", *(ROOT / "docs").glob("*.md")):
        for path in named.findall(page.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), f"{page.name} names {path}"


def test_rooms_are_small():
    doors = {path.stem for path in (ROOT / "fgvedit" / "cli").glob("*.py")}
    for folder in [ROOT / "fgvedit", *(path.parent for path in (ROOT / "fgvedit").rglob("__init__.py"))]:
        found = [path.name for path in folder.iterdir() if path.name not in ("__pycache__", "__init__.py", "py.typed")]
        if folder.name == "fgvedit":
            found = [name for name in found if name.removesuffix(".py") not in doors]
        assert len(found) <= 12, f"{folder}: {len(found)} entries: {', '.join(sorted(found))}"


def test_files_and_functions_are_short():
    lengths = []
    for name, tree in TREES.items():
        lines = len(SOURCES[name].read_text(encoding="utf-8").splitlines())
        assert lines <= 400, f"{name}: {lines} lines"
        lengths += [
            node.end_lineno - node.lineno + 1
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and node.end_lineno
        ]
    assert sorted(lengths)[int(0.95 * len(lengths))] <= 30
    for page in (path for package in PACKAGES for path in (ROOT / package).rglob("*")):
        if page.suffix in (".js", ".css", ".html"):
            assert len(page.read_text(encoding="utf-8").splitlines()) <= 400, page


def public(module: Any) -> Iterator[tuple[str, Any]]:
    """The classes and functions that a module defines, and the methods and properties of its classes."""
    for name, found in vars(module).items():
        if name.startswith("_") or getattr(found, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(found):
            yield name, found
            for inner, method in vars(found).items():
                if not inner.startswith("_") and (inspect.isroutine(method) or isinstance(method, property)):
                    yield f"{name}.{inner}", getattr(found, inner)
        elif inspect.isroutine(found):
            yield name, found


def said(found: Any) -> str | None:
    """The docstring, of a method also that of the contract that it fulfils; not what a dataclass makes up."""
    text = inspect.getdoc(found)
    made_up = inspect.isclass(found) and text and text.startswith(f"{found.__name__}(")
    return None if made_up or (inspect.isclass(found) and "__doc__" not in vars(found)) else text


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_documented_and_typed(package: str):
    silent, untyped = [], []
    for name in (name for name in SOURCES if name.partition(".")[0] == package and not name.endswith("__main__")):
        for inner, found in public(importlib.import_module(name)):
            if not said(found):
                silent.append(f"{name}.{inner}")
            if inspect.isfunction(found):
                hints = getattr(found, "__annotations__", {})
                unsaid = set(inspect.signature(found).parameters) - set(hints) - {"self", "cls"}
                if unsaid or "return" not in hints:
                    untyped.append(f"{name}.{inner}")
    assert not silent, f"{len(silent)} without a docstring: {', '.join(silent)}"
    assert not untyped, f"{len(untyped)} without types: {', '.join(untyped)}"
