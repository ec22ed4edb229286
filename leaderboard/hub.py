"""A results repository on the Hugging Face hub: read it, propose a run by a pull request, and say a run's metrics in
the form in which the hub shows results beside a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import yaml
from huggingface_hub import constants

from fgvedit.util.errors import FGVEditError, one_line
from fgvedit.util.files import write_text
from fgvedit.util.hub import status_of, upload_refusal

READ = ["runs/*", "reported/*", "data/*"]


def download(repo: str, folder: Path) -> None:
    """The files of a results repository, as regular files in `folder`. Raises `FGVEditError` where it cannot be."""
    try:
        huggingface_hub.snapshot_download(
            repo, repo_type="dataset", allow_patterns=READ, local_dir=folder, endpoint=constants.ENDPOINT
        )
    except Exception as error:  # the hub's client raises many types
        known = status_of(error) in (401, 403, 404)
        reason = "it has no such data set, or gives it to its owners only" if known else one_line(error)
        raise FGVEditError(
            f"'{repo}' cannot be read from {constants.ENDPOINT} ({reason}); expected a results repository: where it is "
            "private, log in with 'hf auth login' or set HF_TOKEN"
        ) from error
    (folder / "runs").mkdir(parents=True, exist_ok=True)  # a new repository has none


def propose(repo: str, folder: Path, at: str, message: str) -> str:
    """Open a pull request that adds the files of `folder` as `at/…`; its address.

    The token is the one that huggingface_hub finds. Raises `FGVEditError` where the hub refuses.
    """
    added = [
        huggingface_hub.CommitOperationAdd(f"{at}/{path.name}", path.read_bytes()) for path in sorted(folder.iterdir())
    ]
    try:
        made = huggingface_hub.HfApi(endpoint=constants.ENDPOINT).create_commit(
            repo, added, commit_message=message, repo_type="dataset", create_pr=True
        )
    except Exception as error:
        raise upload_refusal(repo, error, "a repository that takes pull requests") from error
    return made.pr_url or made.commit_url


def write_eval_results(path: Path, repo: str, about: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Write a run's metrics as the hub reads them from a model's `.eval_results/` folder.

    `repo`: the data set on the hub that is the benchmark; the task of a metric is `<protocol>_<metric>` in its
    `eval.yaml`. `about`: the run's submission.
    """
    manifest = result["manifest"]
    data = manifest["dataset"]
    how = f"{manifest['sequence']} sequential edits" if manifest["sequence"] else "edits one by one"
    notes = (
        f"{manifest['editor']['name']} on {manifest['backbone']['name']}, {data['records']} records of {data['name']}/"
        f"{data['split']} at {data['revision'][:8]}, {how}; percent, 95 % interval"
    )
    entries = [
        huggingface_hub.EvalResultEntry(
            dataset_id=repo,
            task_id=task(name),
            value=metric["value"],
            date=about["submitted"],
            source_url=about["link"],
            source_name=about["name"],
            notes=f"{notes} {metric['low']} to {metric['high']}",
        )
        for name, metric in result["metrics"].items()
    ]
    text = yaml.safe_dump(
        huggingface_hub.eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True, width=1000
    )
    write_text(path, text)


def task(metric: str) -> str:
    """paper/specificity@end -> paper_specificity_end"""
    return metric.replace("/", "_").replace("@", "_")
