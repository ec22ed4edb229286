"""Submissions by pull request, to a hub on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from local_hub_uploads import UploadHub, pushing
from results_folder import write_entry, write_run

from fgvedit.util.errors import FGVEditError
from leaderboard import check, submit

REPO = "owner/results"
ID = "mine-tiny-cards-dddddddd-0"
LINK = "https://example.org/code"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    """A hub on which somebody keeps results of the made-up data."""
    write_entry(tmp_path / "results", "other", skill=0.6)
    (tmp_path / "results" / "README.md").write_text("ours")
    with UploadHub() as served, pushing(served, tmp_path / "cache"):
        monkeypatch.setenv("HF_TOKEN", "secret")
        served.members["secret"] = {"me"}
        served.add(REPO, tmp_path / "results")
        yield served


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return write_run(tmp_path / "mine", "mine")


def propose(folder: Path, *options: str, repo: str = REPO) -> None:
    submit.main([str(folder), "--hub", repo, "--name", "Mine", "--link", LINK, *options])


def test_a_run_is_proposed_by_a_pull_request_that_passes_the_check(hub: UploadHub, mine: Path, tmp_path: Path, capsys):
    before = hub.files(REPO)
    propose(mine)
    assert f"proposed as 'verified-rows': {hub.url}/datasets/{REPO}/discussions/1" in capsys.readouterr().out
    assert hub.files(REPO) == before and hub.pulls == [f"Mine: {ID}"]
    proposed = hub.files(REPO, "refs/pr/1")
    own = {path for path in proposed if path not in before}
    assert own == {f"runs/{ID}/{name}" for name in ("submission.json", "result.json", "rows.jsonl.xz")}
    for path, content in proposed.items():
        (tmp_path / "merged" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "merged" / path).write_bytes(content)
    assert check.main([str(tmp_path / "merged")]) == 0


def test_what_is_there_already_is_not_proposed(hub: UploadHub, mine: Path, tmp_path: Path):
    write_entry(tmp_path / "results", "mine")
    hub.add(REPO, tmp_path / "results")
    with pytest.raises(FGVEditError, match=f"is there already as '{ID}'"):
        propose(mine)
    assert not hub.pulls


def test_a_repository_without_runs_takes_a_first_one(hub: UploadHub, mine: Path, tmp_path: Path):
    hub.add("owner/new", {path: content for path, content in hub.files(REPO).items() if not path.startswith("runs/")})
    propose(mine, repo="owner/new")
    assert f"runs/{ID}/result.json" in hub.files("owner/new", "refs/pr/1")


def test_metrics_are_written_as_the_hub_reads_them(hub: UploadHub, mine: Path, tmp_path: Path):
    propose(mine, "--eval-results", str(tmp_path / "fgvedit.yaml"))
    entries = parse_eval_result_entries(yaml.safe_load((tmp_path / "fgvedit.yaml").read_text()))
    metrics = json.loads((mine / "result.json").read_text())["metrics"]
    assert {entry.task_id: entry.value for entry in entries} == {
        name.replace("/", "_"): metric["value"] for name, metric in metrics.items()
    }
    first, low = entries[0], next(iter(metrics.values()))["low"]
    assert (first.dataset_id, first.source_url, first.source_name) == (REPO, LINK, "Mine")
    assert first.notes is not None
    assert first.notes.startswith("mine on tiny, 12 records of cards/test at dddddddd, edits one by one; percent")
    assert f"interval {low} to " in first.notes


def test_where_metrics_cannot_be_written_nothing_is_proposed(hub: UploadHub, mine: Path, tmp_path: Path):
    with pytest.raises(FGVEditError, match=r"--eval-results is '.*/missing/x\.yaml'; expected a file, in a folder"):
        propose(mine, "--eval-results", str(tmp_path / "missing" / "x.yaml"))
    assert not hub.pulls


def test_a_refused_run_leaves_no_file_of_metrics(hub: UploadHub, mine: Path, tmp_path: Path):
    (mine / "rows.jsonl").write_text("")
    with pytest.raises(FGVEditError, match="holds no row"):
        propose(mine, "--eval-results", str(tmp_path / "fgvedit.yaml"))
    assert not (tmp_path / "fgvedit.yaml").exists() and not hub.pulls


@pytest.mark.parametrize(
    ("step", "status", "sentence"),
    [
        ("/commit/", 401, f"'{REPO}' could not be pushed.*does not know who asks.*HF_TOKEN"),
        ("/commit/", 403, f"the token may not write to '{REPO}'.*a repository that takes pull requests"),
        ("/commit/", 404, "there is no such repository|could not be pushed"),
        ("/preupload/", 401, "does not know who asks"),
    ],
)
def test_a_refusal_of_the_hub_in_a_sentence(step, status, sentence, hub: UploadHub, mine: Path):
    hub.refused[step] = status
    with pytest.raises(FGVEditError, match=sentence) as refused:
        propose(mine)
    assert "\n" not in str(refused.value) and not hub.pulls


def test_a_repository_that_is_not_there_in_a_sentence(hub: UploadHub, mine: Path):
    with pytest.raises(FGVEditError, match=r"'owner/nothing' cannot be read.*HF_TOKEN"):
        propose(mine, repo="owner/nothing")


def test_a_token_that_is_not_known_in_a_sentence(hub: UploadHub, mine: Path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(FGVEditError, match="does not know who asks"):
        propose(mine)


def test_no_hub_in_a_sentence(hub: UploadHub, mine: Path):
    hub.close()
    with pytest.raises(FGVEditError, match=f"'{REPO}' cannot be read"):
        propose(mine)
