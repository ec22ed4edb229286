"""A results folder's own tests, as a CI job runs them on a pull request: `python -m leaderboard.check results`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from fgvedit.cli import ArgumentParser
from fgvedit.errors import FGVEditError, command_line
from leaderboard.board import RUN_FILES, Entry, read_entry, read_reported
from leaderboard.data import Known, read_key
from leaderboard.submit import add_data_option
from leaderboard.texts import visible
from leaderboard.verify import Run, Seen, faults, read_run

PARTS = ("runs", "reported", "data")
BESIDE = ("README.md", "LICENSE", "eval.yaml")  # may stand beside them, as may what begins with a dot

EPILOG = """\
examples:
  python -m leaderboard.check results
  python -m leaderboard.check . --data my-data

Every submitted run is verified as when it was submitted, and every other file is one that belongs there. A line a
finding; exit code 1 where there is one, 2 for bad usage. As a CI job: see docs/leaderboard.md.
"""

Finding = tuple[str, str]  # where (a path within the results folder), and a sentence


def check(results: Path, known: Known) -> list[Finding]:
    """All that is wrong with a results folder, in the order of its paths."""
    found = [*strays(results), *broken_files(results)]
    runs = []
    for folder in folders(results / "runs"):
        try:
            runs.append(read_entry(folder))
        except FGVEditError as error:
            found.append((_path(folder, results), str(error)))
    seen = Seen()
    runs.sort(key=lambda entry: (entry.submitted, entry.id))  # of two equal ones the later is the copy
    for entry in tqdm(runs, desc="verifying", unit="run", disable=None):
        found += [(_path(entry.folder, results), sentence) for sentence in faults_of(entry, known, seen)]
    return sorted(found)


def faults_of(entry: Entry, known: Known, seen: Seen) -> Iterator[str]:
    try:
        run = read_run(entry.folder / "result.json", entry.folder / "rows.jsonl.xz")
    except FGVEditError as error:
        yield str(error)
        return
    yield from faults(run, known)
    if copied := seen.add(entry.id, run.manifest, run.rows):
        yield copied
    if entry.reproduced is not None:
        yield from faults_of_reproduction(entry.reproduced["agreement"], run)


def faults_of_reproduction(agreement: dict[str, float], run: Run) -> Iterator[str]:
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


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []


def folders(folder: Path) -> list[Path]:
    return [path for path in entries(folder) if path.is_dir() and not path.is_symlink()]


def _path(path: Path, results: Path) -> str:
    return path.relative_to(results).as_posix()


def main(argv: Sequence[str] | None = None) -> int:
    options = ArgumentParser(
        prog="python -m leaderboard.check", description="Verify every file of a results folder.", epilog=EPILOG
    )
    options.add_argument("results", type=Path, metavar="RESULTS", help="a results folder")
    add_data_option(options)
    chosen = options.parse_args(argv)
    results: Path = chosen.results
    if not any((results / part).is_dir() for part in ("runs", "reported")):
        raise FGVEditError(f"'{results}' holds neither 'runs' nor 'reported'; expected a results folder")
    found = check(results, Known(results, chosen.data))
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
