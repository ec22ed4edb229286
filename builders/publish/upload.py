"""A repository's upload to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
from huggingface_hub import constants

from fgvedit.util.hub import upload_refusal

OURS = ["data/*", "labels/*"]  # what an earlier push put there and this one has not is taken away


def push(folder: Path, repo: str, message: str, private: bool = False, pull_request: bool = False) -> str:
    """Upload a folder as the data set `repo`, which is made where it is not there; the address of what came of it.

    `private` counts for a new repository. A push that was stopped can be given again: what is there already is not
    sent a second time. The token is the one that huggingface_hub finds. Raises `FGVEditError` where the hub refuses.
    """
    api = huggingface_hub.HfApi(endpoint=constants.ENDPOINT)
    try:
        api.create_repo(repo, repo_type="dataset", private=private or None, exist_ok=True)
        made = api.upload_folder(
            repo_id=repo,
            repo_type="dataset",
            folder_path=folder,
            commit_message=message,
            create_pr=pull_request,
            delete_patterns=OURS,
        )
    except Exception as error:  # the hub's client raises many types
        raise upload_refusal(repo, error, "--pull-request for a repository of others") from error
    return made.pr_url or made.commit_url
