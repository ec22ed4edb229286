"""Files that are whole or absent: an interrupted write leaves what was there before."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from fgvedit.util.errors import FGVEditError
from fgvedit.util.locks import Held, lock


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file beside `path`, then put it in its place."""
    partial = path.with_name(f".{path.name}.tmp")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError):
            error.filename = str(path)  # a full disk names none, and `partial` means nothing to a user
        raise


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_bytes(path, text.encode("utf-8", "backslashreplace"))  # half a character as JSON escapes it: \ud83d


def read_json(path: Path) -> Any:
    """Raises `FGVEditError`, naming the file, where it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FGVEditError(f"'{path}' is damaged: expected JSON, found {error}") from error


def noted(path: Path, key: str) -> Any:
    """What the object in a file of JSON has for `key`; None where there is no such file or nothing of the kind."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found.get(key) if isinstance(found, dict) else None


def is_unicode(value: Any) -> bool:
    """Whether all texts of what was read from JSON can be written: JSON can hold half a character, as in "\\ud83d"."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def check_out(out: Path, is_ours: Callable[[Path], bool] | None = None) -> None:
    """Raises `FGVEditError` where a folder cannot be written as `whole_folder` does: the current folder is it or lies
    in it, or it holds what `is_ours` does not know for the same program's."""
    place = out.resolve()
    if place == Path.cwd() or place in Path.cwd().parents:
        raise FGVEditError(
            f"--out '{out}' is the current folder or above it, and would be replaced as a whole; expected another one, "
            "or to be called from outside it"
        )
    if _holds_something(out) and not (is_ours and out.is_dir() and is_ours(out)):
        ours = ", or one that the same command made" if is_ours else ""
        raise FGVEditError(f"--out '{out}' holds something else; expected a new or empty folder{ours}")


@contextlib.contextmanager
def whole_folder(
    out: Path,
    is_ours: Callable[[Path], bool] | None = None,
    keep_others: bool | Callable[[Path], Collection[str]] = False,
) -> Iterator[Path]:
    """A folder to write into, which becomes `out` when all is there, and is gone where that fails.

    `is_ours`: tells a folder that the same program made, which is replaced then, with all that is in it; None: none
    is. `keep_others`: what lies in that folder and is not the program's own is kept, where the new folder has nothing
    of the name. Its own is what the function says of it, files and folders by their names relative to it; True: what
    stands at the top of the new folder.
    Whenever the process is killed, either of the two folders is there, or is put there by the next call. Raises
    `FGVEditError` for other folders, before and after (see `check_out`), and where another process is writing there.
    """
    check_out(out, is_ours)
    place = out.resolve()  # a link stays one
    place.parent.mkdir(parents=True, exist_ok=True)
    partial, older = (place.with_name(f".{place.name}.{what}") for what in ("fgvedit-new", "fgvedit-old"))
    try:
        with lock(place.with_name(f".{place.name}.fgvedit-lock")):
            _settle(place, partial, older)  # of a run that was killed
            partial.mkdir()
            try:
                yield partial
                check_out(out, is_ours)
                if place.exists():
                    if keep_others:
                        own = keep_others(place) if callable(keep_others) else [path.name for path in partial.iterdir()]
                        _take_along(place, partial, frozenset(own))
                    shutil.copymode(place, partial)
                    place.rename(older)
                partial.rename(place)
            finally:
                _settle(place, partial, older)
    except Held as error:
        raise FGVEditError(
            f"--out '{out}': another process is writing it; expected to wait until that is done"
        ) from error


def _take_along(older: Path, new: Path, own: Collection[str]) -> None:
    """Have whatever lies in `older` lie in `new` too, but for what is called as one of `own`, or is there already."""
    for folder, folders, files in os.walk(older):
        within = Path(folder).relative_to(older)
        folders[:] = [name for name in folders if (within / name).as_posix() not in own]
        for name in [name for name in folders if (Path(folder) / name).is_symlink()]:
            folders.remove(name)
            files.append(name)
        for name in folders:
            (new / within / name).mkdir(exist_ok=True)
        for name in files:
            if (within / name).as_posix() not in own and not os.path.lexists(new / within / name):
                _link(Path(folder) / name, new / within / name)


def _link(file: Path, to: Path) -> None:
    """Have a file lie in two places; as a copy where its file system knows no links."""
    try:
        os.link(file, to, follow_symlinks=False)
    except OSError:
        shutil.copy2(file, to, follow_symlinks=False)


def _settle(place: Path, partial: Path, older: Path) -> None:
    """Put the older folder back where no new one took its place, and remove what is left over.

    Raises `FGVEditError` where something else was put in its place since, as the older folder may hold what is nowhere
    else.
    """
    if older.exists():
        if not _holds_something(place):
            older.replace(place)
        elif partial.exists():  # killed with neither in place
            raise FGVEditError(
                f"'{older}' is what lay in '{place}' when a run was killed, and something else lies there now; "
                "expected one of them moved away"
            )
    for left in (partial, older):
        shutil.rmtree(left, ignore_errors=True)


def _holds_something(path: Path) -> bool:
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def between_markers(path: Path, text: str, start: str, end: str, option: str = "--write") -> str:
    """What a file holds, with `text` between its markers. Raises `FGVEditError`, naming the command line's `option`,
    where each is not there once.
    """
    if not path.is_file():
        raise FGVEditError(f"{option}: there is no file '{path}'; expected one that holds '{start}' and '{end}'")
    content = path.read_bytes().decode("utf-8")
    first, last = content.find(start), content.find(end)
    if content.count(start) != 1 or content.count(end) != 1 or last < first:
        raise FGVEditError(
            f"{option}: '{path}' holds '{start}' {content.count(start)} times and '{end}' {content.count(end)} times; "
            "expected each once, in this order"
        )
    return f"{content[: first + len(start)]}\n\n{text.strip()}\n\n{content[last:]}"
