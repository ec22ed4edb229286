"""What it takes to build data of many records: python -m benchmarks.building --help"""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import standin
from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import FGVEditError, command_line
from fgvedit.util.files import between_markers, read_json, write_json, write_text

OPEN, CLOSE = "<!-- building -->", "<!-- /building -->"
EPILOG = f"""\
The stand-in for VQA v2.0 is made up: small photos of noise and questions from templates, in the official files' form.

examples:
  python -m benchmarks.building
      builds 10,000 and 100,000 records, each with one process and with two, validates the most of them, and plans 1.1 M
      questions: half an hour on two free cores
  python -m benchmarks.building --records 300 --planned 1000 --work /tmp/building
      the same in small, in a minute or so
  python -m benchmarks.building --write benchmarks/README.md
      what was measured in --work, and what was not yet, between {OPEN} and {CLOSE} of that file

A benchmark that was stopped goes on where it was: what has been measured is in --work.
"""
COCO_IMAGES = 204_721  # that VQA v2.0 asks about, with the test images: 1.1 M questions
PROCESSES = (1, 2)
EVERY = 1.0  # seconds between two readings of the memory
TENTHS = 10  # of a run's time; the most memory of each is told


def parser() -> ArgumentParser:
    """The command's options."""
    parser = ArgumentParser(
        prog="python -m benchmarks.building",
        description="Build, validate and plan data from a stand-in for VQA v2.0, and say what each took.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "--records",
        type=int,
        nargs="+",
        default=[10_000, 100_000],
        metavar="N",
        help="of each build (default: %(default)s)",
    )
    parser.add_argument(
        "--planned", type=int, default=COCO_IMAGES, metavar="IMAGES", help="of the plan (default: %(default)s)"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("runs/building"),
        metavar="DIR",
        help="where stand-ins, what is built (3 GB) and building.json, the result, go (default: %(default)s)",
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help=f"put the table between {OPEN} and {CLOSE}, too")
    return parser


def main(argv: list[str] | None = None) -> None:
    """The command; `argv`: its arguments, those of the process where it is None."""
    args = parser().parse_args(argv)
    if args.write:
        between_markers(args.write, "", OPEN, CLOSE)  # what is missing is said now, not when everything is measured
    args.work.mkdir(parents=True, exist_ok=True)
    sizes = sorted(args.records)
    result = {
        "command": f"python -m benchmarks.building --records {' '.join(map(str, sizes))} --planned {args.planned}",
        "runs": [measured_once(args.work, *run) for run in runs(args.work, sizes, args.planned)],
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
    }
    write_json(args.work / "building.json", result)
    text = report(result)
    if args.write:
        write_text(args.write, between_markers(args.write, text, OPEN, CLOSE))
    print(f"\n{text}\n\nresult: {args.work / 'building.json'}")


def runs(work: Path, sizes: Sequence[int], planned: int) -> list[tuple[str, int, list[str]]]:
    """What is measured: a name, the images of the stand-in, and the command, without Python."""
    found = []
    for records in sizes:
        images = images_for(records)
        for processes in PROCESSES:
            out = work / f"{records}-{processes}"
            more = ["--limit", str(records), "--num-proc", str(processes)]
            found.append((f"build {records} {processes}", images, ["builders.vqav2", *given(work, images, out), *more]))
    most = work / f"{sizes[-1]}-{PROCESSES[-1]}"
    found.append((f"validate {sizes[-1]} 1", images_for(sizes[-1]), ["builders.validate", str(most)]))
    plan = ["builders.vqav2", *given(work, planned, work / "planned"), "--dry-run"]
    found.append((f"plan {planned} 1", planned, plan))
    return found


def images_for(records: int) -> int:
    """Images that make somewhat more than so many records."""
    return 20 + records * 3 // 4


def given(work: Path, images: int, out: Path) -> list[str]:
    """The options of `builders.vqav2` that name a stand-in's files and where to build."""
    folder = work / f"standin-{images}"
    return [
        *("--questions", *(str(folder / standin.question_file(subtype)) for subtype in standin.SUBTYPES)),
        *("--annotations", *(str(folder / standin.annotation_file(subtype)) for subtype in standin.SUBTYPES)),
        *("--images", str(folder), "--locality", str(folder / "nq.jsonl"), "--out", str(out)),
    ]


def measured_once(work: Path, name: str, images: int, command: list[str]) -> dict[str, Any]:
    """What a run took, measured now unless it has been."""
    path = work / f"{name.replace(' ', '-')}.json"
    if not path.is_file():
        folder = standin.write(work / f"standin-{images}", images, photos=not name.startswith("plan"))
        what, size, processes = name.split()
        print(f"{what}: {int(size):,}, {processes} processes", flush=True)
        found = measured([sys.executable, "-m", *command], path.with_suffix(".log"))
        asked = sum(count(folder / standin.question_file(subtype)) for subtype in standin.SUBTYPES)
        row = {"run": what, "processes": int(processes), "images": images, "questions": asked, **found}
        if what != "plan":
            row["records"] = int(size)
        if what == "build":
            out = Path(command[command.index("--out") + 1])
            made = read_json(out / "build.json")["counts"]
            row["records"] = sum(made[split]["records"] for split in ("train", "test"))
            row["bytes"] = sum(file.stat().st_size for file in out.iterdir())
        write_json(path, row)
    found = read_json(path)
    assert isinstance(found, dict)
    return found


def count(path: Path) -> int:
    """Questions of a file that `standin` wrote."""
    return path.read_text(encoding="utf-8").count('"question_id"')


def measured(command: Sequence[str], log: Path) -> dict[str, Any]:
    """Run a command: its "seconds" and "cpu_seconds"; "load", the mean number of processes on the machine that wanted a
    core in its last minute; and "peak_gb", the most memory that its processes held together, of the whole run and of
    each tenth of it. What they share counts for each of them.

    Raises `FGVEditError` where it fails; what it says goes to `log`.
    """
    import psutil

    samples: list[tuple[float, float]] = []
    start, cpu = time.perf_counter(), _cpu_seconds()
    with log.open("w", encoding="utf-8") as said:
        process = psutil.Popen(command, stdout=said, stderr=said, env={**os.environ, "OMP_NUM_THREADS": "1"})
        while process.poll() is None:
            samples.append((time.perf_counter() - start, _held(process)))
            time.sleep(EVERY)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise FGVEditError(f"'{' '.join(command[1:])}' ended with exit code {process.returncode}; see '{log}'")
    tenths = [0.0] * TENTHS
    for at, held in samples:
        part = min(int(at / seconds * TENTHS), TENTHS - 1)
        tenths[part] = max(tenths[part], held / 1e9)
    cpu = _cpu_seconds() - cpu
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "load": os.getloadavg()[0],
        "peak_gb": max(tenths),
        "peak_gb_of_tenths": tenths,
    }


def _cpu_seconds() -> float:
    """Of all processes that were started here and have ended, and of those that they started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _held(process: Any) -> int:
    """Bytes of main memory of a process and those that it started."""
    import psutil

    held = 0
    try:
        for one in (process, *process.children(recursive=True)):
            held += one.memory_info().rss
    except psutil.NoSuchProcess:  # it has just ended
        pass
    return held


def report(result: dict[str, Any]) -> str:
    """A result as Markdown."""
    lines = [
        f"```bash\n{result['command']}\n```",
        "",
        "| run | records | questions | processes | seconds | CPU seconds | load | records/s | written, MB | peak, GB | "
        "of each tenth, GB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|",
        *(f"| {' | '.join(cells(row))} |" for row in result["runs"]),
        "",
    ]
    seconds = {(row["records"], row["processes"]): row["seconds"] for row in result["runs"] if row["run"] == "build"}
    for records in dict.fromkeys(records for records, _ in seconds):
        one, two = (seconds[records, processes] for processes in PROCESSES)
        lines.append(
            f"- {records:,} records with {PROCESSES[-1]} processes: {one / two:.2f} times as fast as with one."
        )
    lines.append(f"- Machine: {result['machine']['cores']} CPU cores; Python {result['machine']['python']}.")
    return "\n".join(lines)


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the table, of what `measured_once` gave."""
    records = row.get("records")
    return [
        row["run"],
        f"{records:,}" if records else "",
        f"{row['questions']:,}",
        str(row["processes"]),
        f"{row['seconds']:,.0f}",
        f"{row['cpu_seconds']:,.0f}",
        f"{row['load']:.1f}",
        f"{records / row['seconds']:,.0f}" if records else "",
        f"{row['bytes'] / 1e6:,.0f}" if "bytes" in row else "",
        f"{row['peak_gb']:.2f}",
        " ".join(f"{part:.2f}" for part in row["peak_gb_of_tenths"]),
    ]


if __name__ == "__main__":
    command_line(main)
