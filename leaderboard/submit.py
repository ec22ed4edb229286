"""A finished run, checked and put into a results folder, or proposed to one on the hub: `python -m leaderboard.submit`.

Nothing is written before everything is checked, and then the run's folder is there whole or not at all.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import FGVEditError, command_line
from leaderboard.board import RUN_FILES, Entry, check_id, check_submission, read_results, status_of_new
from leaderboard.data import Known
from leaderboard.duplicate_runs import DuplicateRuns
from leaderboard.reading import pack
from leaderboard.verify import Run, read_run, verify

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

EPILOG = """\
examples:
  python -m leaderboard.submit runs/mscke-tiny-scenes-0 --to results --name "MSCKE" --link https://example.org/code
  python -m leaderboard.submit runs/mine --hub OWNER/RESULTS --name "Mine" --link https://example.org/paper
      a pull request on a results repository of the Hugging Face hub
  python -m leaderboard.submit runs/mine --to results --data my-data --name "Mine" --link https://example.org/code
      on data that are neither embedded nor known to the results folder

Every metric is computed again from the rows, and the rows are held to the data; what is checked stands in
docs/leaderboard.md. A run is accepted as 'verified-rows' or, where a protocol cannot compute its scores again, as
'unchecked-scores'.
"""


def submit(run: Run, results: Path, about: Mapping[str, Any], known: Known) -> tuple[dict[str, Any], Run]:
    """The submission.json and the run as they are to be stored, both checked; nothing is written.

    `results`: a folder of the runs so far, which need not be there. `about`: name, link and description.
    Raises `FGVEditError` for the first thing that is wrong with the run, and where it is there already.
    """
    entries = entries_of(results)
    run = with_names_of_data(run, known)
    submission = {
        "format": 1,
        "id": new_id(run.manifest, {entry.id for entry in entries}),
        **about,
        "submitted": date.today().isoformat(),
        "status": status_of_new(run.manifest),
        "reproduced": None,
    }
    check_submission(submission, "the submission")
    verify(run, known)
    runs = DuplicateRuns()
    revision = run.manifest["dataset"]["revision"]
    others = [entry for entry in entries if entry.result["manifest"]["dataset"]["revision"] == revision]
    for entry in tqdm(others, desc="comparing with others", unit="run", disable=None):
        runs.add(entry.id, entry.result["manifest"], entry.rows())
    for sentence in runs.add(submission["id"], run.manifest, run.rows):
        raise FGVEditError(sentence)
    return submission, run


def entries_of(results: Path) -> list[Entry]:
    """The runs of a results folder; none where it is not there yet, or holds at most answer keys."""
    if not results.exists() or (results.is_dir() and {path.name for path in results.iterdir()} <= {"data"}):
        return []
    return read_results(results)[0]


def with_names_of_data(run: Run, known: Known) -> Run:
    """The run with its data called as they are known, whatever their folder was called where it was made."""
    result = copy.deepcopy(run.result)
    key = known.find(result["manifest"]["dataset"])
    result["manifest"]["dataset"] |= {"name": key.name, "config": key.config}
    return Run(result, run.rows, run.text)


def new_id(manifest: Mapping[str, Any], taken: set[str]) -> str:
    """editor-backbone-data-revision-seed[-seq-N][-again], in lower-case letters, digits and hyphens."""
    data = manifest["dataset"]
    parts = [manifest["editor"]["name"][:30], manifest["backbone"]["name"][:24], data["name"][:12]]  # for ID_LENGTH
    parts += [data["revision"][:8], str(manifest["seed"])]
    parts += [f"seq-{manifest['sequence']}"] if manifest["sequence"] else []
    slugs = [re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts]
    base = "-".join(slug for slug in slugs if slug)
    id = next(id for id in (base, *(f"{base}-{number}" for number in range(2, 10**6))) if id not in taken)
    check_id(id, "the submission")
    return id


def write_run(folder: Path, submission: Mapping[str, Any], run: Run) -> None:
    """The three files of a run, in a folder that is there and empty."""
    contents = (_json(submission), _json(run.result), pack(run.text))
    for name, content in zip(RUN_FILES, contents, strict=True):
        (folder / name).write_bytes(content)


def add(results: Path, submission: Mapping[str, Any], run: Run) -> Path:
    """Write `runs/<id>`, whole or not at all.

    `whole_folder` is not for this: it writes beside the folder to be, and whatever lies in `runs` is a run, to whoever
    reads the results meanwhile or after a kill.
    """
    runs = results / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=results, prefix=".submission-"))
    try:
        write_run(partial, submission, run)
        partial.chmod(0o755)  # a temporary folder is its owner's alone
        return partial.rename(runs / submission["id"])
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def parser() -> ArgumentParser:
    """The options of the command."""
    options = ArgumentParser(
        prog="python -m leaderboard.submit", description="Submit a finished run to a leaderboard.", epilog=EPILOG
    )
    options.add_argument("run", type=Path, metavar="RUN_DIR", help="what python -m fgvedit.run wrote")
    where = options.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--to", type=Path, metavar="RESULTS", help="a results folder, which is made where it is not there"
    )
    where.add_argument("--hub", metavar="REPO", help="a results repository on the hub, as OWNER/NAME: by pull request")
    options.add_argument("--name", required=True, help="of the method, as it is to be shown")
    options.add_argument("--link", required=True, help="to its code or paper, http or https")
    options.add_argument("--description", default="", help="a sentence or two")
    add_data_option(options)
    options.add_argument(
        "--eval-results",
        type=Path,
        metavar="FILE",
        help="with --hub: also write the metrics as YAML, to go into .eval_results/ of a model on the hub",
    )
    return options


def add_data_option(options: ArgumentParser) -> None:
    """`--data`, of every command that holds rows to data."""
    options.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="NAME",
        help="data to hold rows to, beside the embedded ones: a folder or a hub id; may be given several times",
    )


def main(argv: Sequence[str] | None = None) -> None:
    """The command: check a run, then write it to a folder or propose it to the hub."""
    options = parser().parse_args(argv)
    _check_options(options)
    run = read_run(options.run / "result.json", options.run / "rows.jsonl")
    about = {"name": options.name, "link": options.link, "description": options.description}
    if options.hub is not None:
        _propose(options, run, about)
        return
    submission, run = submit(run, options.to, about, Known(options.to, options.data))
    print(f"accepted as '{submission['status']}': {add(options.to, submission, run)}")


def _check_options(options: Namespace) -> None:
    if options.hub is None and options.eval_results is not None:
        raise FGVEditError("--eval-results is given without --hub; expected --hub, the benchmark that the results name")
    if (path := options.eval_results) is not None and (path.is_dir() or not path.parent.is_dir()):
        raise FGVEditError(f"--eval-results is '{path}'; expected a file, in a folder that is there")
    if options.hub is not None and not HUB_ID.fullmatch(options.hub):
        raise FGVEditError(f"--hub is '{options.hub}'; expected OWNER/NAME")
    if not options.run.is_dir():
        raise FGVEditError(f"'{options.run}' is no folder; expected a finished run, as python -m fgvedit.run writes it")


def _propose(options: Namespace, run: Run, about: Mapping[str, Any]) -> None:
    from leaderboard import hub

    with tempfile.TemporaryDirectory() as folder:
        results, own = Path(folder) / "results", Path(folder) / "run"
        hub.download(options.hub, results)
        submission, run = submit(run, results, about, Known(results, options.data))
        own.mkdir()
        write_run(own, submission, run)
        title = f"{submission['name']}: {submission['id']}"
        address = hub.propose(options.hub, own, f"runs/{submission['id']}", title)
        print(f"proposed as '{submission['status']}': {address}")
    if options.eval_results is not None:
        hub.write_eval_results(options.eval_results, options.hub, submission, run.result)
        print(f"metrics for a model's .eval_results folder: {options.eval_results}")


if __name__ == "__main__":
    command_line(main)
