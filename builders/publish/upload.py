"""A repository's upload to the Hugging Face hub, and what can be in its way, in a sentence."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
from huggingface_hub import constants

from fgvedit.errors import FGVEditError, one_line

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
        raise _refusal(repo, error) from error
    return made.pr_url or made.commit_url


def _refusal(repo: str, error: Exception) -> FGVEditError:
    login = "log in with 'hf auth login' or set HF_TOKEN"
    status = _status(error)
    if status == 401:
        reason, expected = "it does not know who asks", f"a token that may write: {login}"
    elif status == 403:
        reason = f"the token may not write to '{repo}'"
        expected = f"one that may ({login}), or --pull-request for a repository of others"
    elif status == 409:
        reason, expected = "the repository was changed in the meantime", "no other push at the same time: give it again"
    else:
        reason, expected = one_line(error), "a connection that lasts: the same command goes on with what is missing"
    return FGVEditError(f"'{repo}' could not be pushed to {constants.ENDPOINT} ({reason}); expected {expected}")


def _status(error: BaseException | None) -> int | None:
    """The HTTP status that an error, or what caused it, goes back to."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is not None:
            return int(status)
        error = error.__cause__
    return None
