"""A results folder's own tests, as a CI job runs them on a pull request: `python -m leaderboard.check results`."""

from __future__ import annotations

import contextlib
import filecmp
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import FGVEditError, command_line
from leaderboard.board import REPRODUCED, RUN_FILES, Entry, read_entry, read_reported, status_of_new
from leaderboard.data import Known, read_key
from leaderboard.duplicate_runs import DuplicateRuns
from leaderboard.submit import add_data_option
from leaderboard.texts import visible
from leaderboard.verify import Run, faults, read_run

PARTS = ("runs", "reported", "data")
BESIDE = ("README.md", "LICENSE", "eval.yaml")  # may stand beside them, as may what begins with a dot

EPILOG = """\
examples:
  python -m leaderboard.check results
  python -m leaderboard.check results --data my-data
  python -m leaderboard.check proposed --adds-to results    # what a stranger proposes: new runs and nothing else

Every submitted run is verified as when it was submitted, and every other file is one that belongs there. A line a
finding; exit code 1 where there is one, 2 for bad usage. It is run from outside the results folder, since Python looks
for modules where it is started. As a CI job: see docs/leaderboard.md.
"""

Finding = tuple[str, str]  # where (a path within the results folder), and a sentence


def check(results: Path, known: Known, base: Path | None = None) -> list[Finding]:
    """All that is wrong with a results folder, in the order of its paths; with `base`, another one, also whatever is
    not as there, but for new runs."""
    found = [*strays(results), *broken_files(results)]
    runs = []
    for folder in folders(results / "runs"):
        try:
            runs.append(read_entry(folder))
        except FGVEditError as error:
            found.append((_path(folder, results), str(error)))
    new = {entry.id for entry in runs if base is not None and not (base / "runs" / entry.id).exists()}
    if base is not None:
        found += changes(results, base)
    others = DuplicateRuns()
    runs.sort(key=lambda entry: (entry.id in new, entry.submitted, entry.id))  # of two equal ones the later is the copy
    for entry in tqdm(runs, desc="verifying", unit="run", disable=None):
        sentences = faults_of(entry, known, others, is_new=entry.id in new)
        found += [(_path(entry.folder, results), sentence) for sentence in sentences]
    return sorted(found)


def faults_of(entry: Entry, known: Known, others: DuplicateRuns, is_new: bool = False) -> Iterator[str]:
    """A sentence for whatever is wrong with a submitted run. `others`: those before it; `is_new`: whether a stranger
    proposes it, who can have reproduced nothing."""
    try:
        run = read_run(entry.folder / "result.json", entry.folder / "rows.jsonl.xz")
    except FGVEditError as error:
        yield str(error)
        return
    wrong = list(faults(run, known))
    yield from wrong or others.add(entry.id, run.manifest, run.rows)  # they are not measured by what is wrong itself
    yield from faults_of_status(entry, is_new)
    if entry.reproduced is not None:
        yield from faults_of_reproduction(entry.reproduced["agreement"], run)


def faults_of_status(entry: Entry, is_new: bool) -> Iterator[str]:
    """Where a submission says that more, or less, of it was checked than was."""
    with contextlib.suppress(FGVEditError):  # of a protocol that is not registered: said already
        expected = status_of_new(entry.result["manifest"])
        if entry.status != expected and (is_new or entry.status != REPRODUCED):
            yield f"its status is '{entry.status}'; expected '{expected}', as of a new run under its protocols"


def faults_of_reproduction(agreement: dict[str, float], run: Run) -> Iterator[str]:
    """Where the rows that are said to agree are not those of the run, or do not agree."""
    if agreement["rows"] != len(run.rows) or agreement["equal"] > agreement["rows"]:
        yield (
            f"reproduced.agreement: {agreement['equal']} of {agreement['rows']} rows agree; expected of the "
            f"{len(run.rows)} rows that there are"
        )
    if agreement["difference"] > agreement["tolerance"]:
        yield (
            f"reproduced.agreement: difference is {agreement['difference']}; expected at most the tolerance "
            f"{agreement['tolerance']}"
        )


def strays(results: Path) -> Iterator[Finding]:
    """What does not belong into a results folder, and links, wherever they lead."""
    for path in sorted(results.iterdir()):
        if path.name in PARTS:
            if path.is_symlink() or not path.is_dir():
                yield path.name, "it is not a folder; expected one"
        elif not path.name.startswith(".") and path.name not in BESIDE:
            yield path.name, f"it does not belong here; expected {', '.join((*PARTS, *BESIDE))}"
    for folder in entries(results / "runs"):
        if folder.is_symlink() or not folder.is_dir():
            yield _path(folder, results), "it is not a folder; expected one a run"
            continue
        for path in sorted(folder.iterdir()):
            if path.name not in RUN_FILES:
                yield _path(path, results), f"it does not belong here; expected {', '.join(RUN_FILES)} and nothing else"
    for part, suffix in (("reported", ".json"), ("data", ".jsonl.xz")):
        for path in entries(results / part):
            if not path.name.endswith(suffix):
                yield _path(path, results), f"it does not belong here; expected files that end in '{suffix}'"


def broken_files(results: Path) -> Iterator[Finding]:
    """Reported numbers and answer keys that are not valid."""
    for part, suffix, read in (("reported", ".json", read_reported), ("data", ".jsonl.xz", read_key)):
        for path in entries(results / part):
            if path.name.endswith(suffix):
                try:
                    read(path)
                except FGVEditError as error:
                    yield _path(path, results), str(error)


def changes(results: Path, base: Path) -> Iterator[Finding]:
    """Every file of `base` that is missing or not the same, and every other one that is not a new run's."""
    here, there = files(results), files(base)
    for name in sorted(here.keys() | there.keys()):
        if name not in here:
            yield name, "it is removed; expected it as it was"
        elif name in there:
            link = here[name].is_symlink() or there[name].is_symlink()
            if link or not filecmp.cmp(here[name], there[name], shallow=False):
                yield name, "it is changed; expected it as it was"
        elif not (name.startswith("runs/") and name.count("/") == 2) or (base / name).parent.exists():
            yield name, "it is added; expected new folders of runs and nothing else"


def files(folder: Path) -> dict[str, Path]:
    """The files and links below a folder, by their path within it; without what git keeps for itself."""
    found: dict[str, Path] = {}
    for parent, inner, names in os.walk(folder):
        if Path(parent) == folder:
            inner[:] = [name for name in inner if name != ".git"]
        links = [name for name in inner if (Path(parent) / name).is_symlink()]
        found |= {_path(path, folder): path for path in (Path(parent) / name for name in (*names, *links))}
    found.pop(".git", None)  # of a work tree: a file
    return found


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted; nothing where it is not there, or a link."""
    return sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []


def folders(folder: Path) -> list[Path]:
    """The folders in a folder; links are none."""
    return [path for path in entries(folder) if path.is_dir() and not path.is_symlink()]


def _path(path: Path, results: Path) -> str:
    return path.relative_to(results).as_posix()


def _expect_outside(results: Path) -> None:
    """Raises `FGVEditError` where modules of the results folder could be run: it may hold anybody's."""
    inside = results.resolve()
    for what, path in (("this program", Path(__file__)), ("the current folder, where Python looks first", Path.cwd())):
        if path.resolve().is_relative_to(inside):
            raise FGVEditError(
                f"'{results}' holds {what}; expected a results folder with none of this: install FGVEdit elsewhere and "
                "start the check from outside the folder"
            )


def parser() -> ArgumentParser:
    """The options of the command."""
    options = ArgumentParser(
        prog="python -m leaderboard.check", description="Verify every file of a results folder.", epilog=EPILOG
    )
    options.add_argument("results", type=Path, metavar="RESULTS", help="a results folder")
    options.add_argument(
        "--adds-to",
        type=Path,
        metavar="BASE",
        help="a results folder as it was: allow new runs that nobody has reproduced, and no other difference to it",
    )
    add_data_option(options)
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """The command: a line a finding; 1 where there is one."""
    chosen = parser().parse_args(argv)
    results: Path = chosen.results
    if not any((results / part).is_dir() for part in ("runs", "reported")):
        raise FGVEditError(f"'{results}' holds neither 'runs' nor 'reported'; expected a results folder")
    _expect_outside(results)
    base: Path | None = chosen.adds_to
    if base is not None and not base.is_dir():
        raise FGVEditError(f"--adds-to: '{base}' is no folder; expected the results folder that is added to")
    found = check(results, Known(base or results, chosen.data), base)
    lines = [(visible(where), visible(sentence.replace(f"{results}/", ""))) for where, sentence in found]
    width = max((len(where) for where, _ in lines), default=0)
    for where, sentence in lines:
        print(f"{where.ljust(width)}  {sentence}")
    counts = (
        (len(folders(results / "runs")), "runs"),
        (len(entries(results / "reported")), "files of reported numbers"),
        (len(entries(results / "data")), "answer keys"),
    )
    print(f"checked {', '.join(f'{number} {what}' for number, what in counts)}: {len(found) or 'no'} findings")
    return 1 if found else 0


if __name__ == "__main__":
    command_line(main)
