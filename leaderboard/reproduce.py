"""A submitted run that a maintainer ran again: `python -m leaderboard.reproduce`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import FGVEditError, command_line, unknown
from fgvedit.util.files import write_json
from leaderboard.board import REPRODUCED, Entry, check_submission, read_results
from leaderboard.data import Known
from leaderboard.duplicate_runs import identity
from leaderboard.reading import read_json
from leaderboard.submit import add_data_option, with_names_of_data
from leaderboard.verify import Run, key_of, read_run, verify

TOLERANCE = 0.5  # percentage points in each metric, for other hardware and library versions

EPILOG = """\
examples:
  python -m leaderboard.reproduce runs/again --in results --id mscke-tiny-scenes-3232de75-0 \\
      --by "A. Maintainer" --link https://example.org/maintainer

compares a run of one's own with the submitted one: the same editor, configuration, checkpoint, backbone, data,
protocols and seed. Where no metric differs by more than the tolerance, the submission is marked as 'reproduced';
otherwise nothing is written and the exit code is 1.
"""


def agreement(submitted: Run, again: Run, tolerance: float) -> dict[str, Any]:
    """How far two runs of the same thing agree: rows, those of equal score, and the metric that differs most, in
    percentage points. Raises `FGVEditError` where they are not of the same thing."""
    ours, theirs = identity(again.manifest), identity(submitted.manifest)
    for name, value in theirs.items():
        if ours[name] != value:
            raise FGVEditError(
                f"{name} is {json.dumps(ours[name])} in the run made again; expected {json.dumps(value)}, as in the "
                "submitted one"
            )
    scores = {key_of(row): row["score"] for row in again.rows}
    equal = sum(scores.get(key_of(row)) == row["score"] for row in submitted.rows)
    values = again.result["metrics"]
    differences = {
        name: abs(metric["value"] - values[name]["value"])
        for name, metric in submitted.result["metrics"].items()
        if name in values  # one from outside is lacking where its package was not there
    }
    most = max(differences, key=lambda name: differences[name])
    return {
        "rows": len(submitted.rows),
        "equal": equal,
        "metric": most,
        "difference": round(differences[most], 4),
        "tolerance": tolerance,
    }


def mark(entry: Entry, by: Mapping[str, str], again: Run, agreed: Mapping[str, Any]) -> None:
    """Write into the entry's submission.json that it was reproduced. `by`: "by" and "link"."""
    path = entry.folder / "submission.json"
    about = {
        **read_json(path),
        "status": REPRODUCED,
        "reproduced": {
            **by,
            "date": date.today().isoformat(),
            "rows_sha256": again.manifest["rows_sha256"],
            "agreement": dict(agreed),
        },
    }
    check_submission(about, f"'{path}'")
    write_json(path, about)


def parser() -> ArgumentParser:
    """The options of the command."""
    options = ArgumentParser(
        prog="python -m leaderboard.reproduce", description="Compare a run with a submitted one.", epilog=EPILOG
    )
    options.add_argument(
        "run", type=Path, metavar="RUN_DIR", help="the run made again, as python -m fgvedit.run wrote it"
    )
    options.add_argument("--in", type=Path, required=True, metavar="RESULTS", dest="results", help="a results folder")
    options.add_argument("--id", required=True, help="of the submitted run")
    options.add_argument("--by", required=True, metavar="NAME", help="who made it again")
    options.add_argument("--link", required=True, help="to them, http or https")
    options.add_argument(
        "--tolerance", type=float, default=TOLERANCE, help="in percentage points of each metric; default: %(default)s"
    )
    add_data_option(options)
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """The command: mark a submitted run as reproduced; 1 where the two runs differ by more than the tolerance."""
    chosen = parser().parse_args(argv)
    if not 0 <= chosen.tolerance <= 100:
        raise FGVEditError(f"--tolerance is {chosen.tolerance}; expected 0 to 100 percentage points")
    entries = {entry.id: entry for entry in read_results(chosen.results)[0]}
    if chosen.id not in entries:
        raise unknown("submitted run", chosen.id, entries)
    entry, known = entries[chosen.id], Known(chosen.results, chosen.data)
    submitted = read_run(entry.folder / "result.json", entry.folder / "rows.jsonl.xz")
    again = with_names_of_data(read_run(chosen.run / "result.json", chosen.run / "rows.jsonl"), known)
    for run in (submitted, again):
        verify(run, known)
    agreed = agreement(submitted, again, chosen.tolerance)
    print(
        f"{agreed['equal']} of {agreed['rows']} rows agree exactly in score; the metric that differs most is "
        f"{agreed['metric']}, by {agreed['difference']} percentage points"
    )
    if agreed["difference"] > chosen.tolerance:
        print(f"not reproduced: more than {chosen.tolerance}; nothing was written")
        return 1
    mark(entry, {"by": chosen.by, "link": chosen.link}, again, agreed)
    print(f"marked as '{REPRODUCED}': {entry.folder / 'submission.json'}")
    return 0


if __name__ == "__main__":
    command_line(main)
