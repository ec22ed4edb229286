"""Which code makes a run's rows: every module of this project that they pass through, by its content."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import hashlib
import inspect
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fgvedit.editors.contract import Editor
from fgvedit.evaluation.protocols import Protocol
from fgvedit.probes import OWN_KINDS, kinds
from fgvedit.util.plugins import ROOT

OWN = ("fgvedit", "baselines")  # packages of this project that shape rows
RUN = ("fgvedit.evaluation.runs.runner", "fgvedit.dataset")  # from which every row comes
# What a run imports and no row passes through: it reads rows, or shows them.
SHAPES_NO_ROW = ("fgvedit.cli", "fgvedit.studies", "fgvedit.viewers", "fgvedit.evaluation.metrics")


def code_of(editor: Editor, protocols: Sequence[Protocol], probed: Collection[str] = ()) -> dict[str, str]:
    """Module, or file of somebody's own, -> SHA-256 of its content: the editor's, the backbone's and the protocols'
    and, of this project, whatever these and a run import, directly or not.

    The same in a checkout and in an installed wheel. What a file of somebody's own imports from elsewhere does not
    count. Kinds of probes from outside count by what they say where they are `probed`, and so does what a YAML file
    says of a backbone.
    """
    classes = {"editor": type(editor), "backbone": type(editor.backbone)}
    classes |= {f"protocol '{protocol.name}'": type(protocol) for protocol in protocols}
    own = [kind.__module__ for kind in classes.values() if _file_of(kind.__module__)]
    files = {}
    for role, kind in classes.items():
        if kind.__module__ not in own:
            with contextlib.suppress(TypeError, OSError):  # of a class that stands in no file
                path = Path(inspect.getfile(kind))
                files[f"the {role}'s {path.name}"] = path
    found = {name: content(path) for name, path in files.items()}
    imported = [name for path in files.values() for name in imports_of(path)]
    found |= {name: content(path) for name, path in sorted(modules_from([*RUN, *own, *imported]).items())}
    foreign = [kind for kind in kinds().values() if kind.name in probed and kind not in OWN_KINDS]
    found |= {f"kind of probe '{kind.name}'": _hash(repr(kind).encode()) for kind in foreign}
    paths = dataclasses.asdict(editor.backbone.module_paths)
    return found | {f"backbone's {name}": str(value) for name, value in paths.items() if value is not None}


def modules_from(names: Iterable[str]) -> dict[str, Path]:
    """Module -> its file, for these modules of `OWN` and those that they import; not beyond `SHAPES_NO_ROW`."""
    found: dict[str, Path] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        path = _file_of(name)
        if name in found or path is None or any(f"{name}.".startswith(f"{other}.") for other in SHAPES_NO_ROW):
            continue
        found[name] = path
        waiting += [name.rpartition(".")[0], *imports_of(path)]
    return found


def imports_of(path: Path) -> Iterator[str]:
    """What a source file imports of `OWN`, wherever in it; a name that it imports from a package may be a module.

    Nothing for a file that is not Python's text: a compiled module, say.
    """
    if path.suffix != ".py":
        return
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _is_own(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and _is_own(node.module):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def content(path: Path) -> str:
    """SHA-256 of a text file, whatever its lines end in."""
    return _hash(path.read_bytes().replace(b"\r\n", b"\n"))


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _is_own(module: Any) -> bool:
    return module.partition(".")[0] in OWN


def _file_of(name: str) -> Path | None:
    """The file of a module of `OWN`; None of any other, be it in a package of somebody's own that is called alike."""
    path = ROOT.joinpath(*name.split("."))
    files = (path / "__init__.py", path.with_suffix(".py")) if _is_own(name) else ()
    return next((file for file in files if file.is_file()), None)
