"""Model weights from the Hugging Face hub: what is to be fetched is said first, and what is in the cache is used.

And why an upload to it was refused, in a sentence."""

from __future__ import annotations

import glob
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import huggingface_hub
from huggingface_hub import constants, errors
from huggingface_hub.utils import tqdm

from fgvedit.util.errors import FGVEditError, one_line

if TYPE_CHECKING:
    import torch

PATTERNS = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
RELEASED_AS_BIN = (*PATTERNS, "pytorch_model*.bin")  # for what is on the hub in no other form
WEIGHTS = ".safetensors"
BIN = ".bin"
OTHER_WEIGHTS = (BIN, ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".gguf")
_MODEL_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_SHARD = re.compile(r"(.*)-\d{5}-of-(\d{5})\.safetensors")


@dataclass(frozen=True)
class Plan:
    """What is read of a repo on the hub at one commit, and what of it is not in the cache yet."""

    repo: str
    revision: str  # commit hash
    files: dict[str, int]  # name -> bytes
    missing: tuple[str, ...]  # names of those to fetch
    parameters: int | None  # weights of the model, as the hub counts them in its safetensors
    free: int  # bytes, on the disk of the cache

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())

    @property
    def left(self) -> int:
        """Bytes of the files that are to be fetched."""
        return sum(self.files[name] for name in self.missing)

    @property
    def cached(self) -> int:
        """Bytes of the files that are in the cache already."""
        return self.size - self.left


def plan(repo: str, revision: str | None = None, patterns: Sequence[str] = PATTERNS) -> Plan:
    """What `fetch` would fetch. `revision`: a commit, branch or tag; None: the newest on the main branch.

    Raises `FGVEditError` for a repo that the hub does not have or give, and for one without safetensors.
    """
    try:
        return _ask(repo, revision, patterns)
    except Exception as error:  # the hub's client raises many types
        raise _refusal("model", repo, revision, error) from error


def fetch(
    repo: str,
    what: str,
    revision: str | None = None,
    dtype: torch.dtype | None = None,
    patterns: Sequence[str] = PATTERNS,
) -> Path:
    """The folder with the files of a repo on the hub, from the cache or fetched into it; a local folder as it is.

    Before anything is fetched, one statement on the standard error says what (`what`, such as "backbone"), from where,
    how much, and the memory that the weights need in `dtype` (None: as stored). With HF_HUB_OFFLINE set nothing is
    asked of the hub, and what it cannot give is taken from the cache. A download that was stopped goes on.

    Raises `FGVEditError` as `plan` does, for a disk without room, and for what is not whole in the cache offline.
    """
    if Path(repo).is_dir():
        return Path(repo)
    if constants.HF_HUB_OFFLINE:
        return _offline(repo, what, revision, patterns)
    try:
        found = _ask(repo, revision, patterns)
    except Exception as error:  # the hub's client raises many types
        folder = _from_cache(repo, revision, patterns)
        if folder is None:
            raise _refusal(what, repo, revision, error) from error
        return folder
    if found.left > found.free:
        raise FGVEditError(
            f"the {what} '{repo}' cannot be fetched: {_bytes(found.left)} are to come into '{_cache()}', where "
            f"{_bytes(found.free)} are free; expected more room there, or another folder in HF_HOME"
        )
    if found.missing and os.environ.get("RANK", "0") == "0":  # of several processes one says it
        print(_statement(found, what, dtype), file=sys.stderr, flush=True)
    return _download(found, what, revision)


def _offline(repo: str, what: str, revision: str | None, patterns: Sequence[str]) -> Path:
    folder = _from_cache(repo, revision, patterns)
    if folder is None:
        raise FGVEditError(
            f"the {what} '{repo}'{_at(revision)} cannot be opened (it is not, or not whole, in the cache "
            f"'{_cache()}', and HF_HUB_OFFLINE is set); expected it there: fetch it once without HF_HUB_OFFLINE"
        )
    return folder


def _download(found: Plan, what: str, revision: str | None) -> Path:
    """The folder with all files of a plan, those that are missing fetched into it."""
    try:
        # By the revision asked for, not by its commit: what a branch points to is then known offline too.
        folder = Path(
            huggingface_hub.snapshot_download(
                found.repo,
                revision=revision,
                allow_patterns=_exactly(found.files),
                tqdm_class=None if found.missing else _NoBar,
            )
        )
        absent = [name for name in found.files if not (folder / name).is_file()]
        if absent:
            raise FileNotFoundError(f"{absent[0]} is missing")
    except Exception as error:  # the hub's client raises many types
        raise FGVEditError(
            f"the {what} '{found.repo}' could not be fetched whole ({one_line(error)}); expected a connection that "
            "lasts: the same command goes on with what is missing"
        ) from error
    return folder


def wanted(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """What is read of the files in a repo: those that match a pattern, but of weights one copy only.

    In a folder with the shards of `model.safetensors` these are read, else that file where it is there, else all. So
    other precisions (`model.fp16.safetensors`) and formats (`consolidated.safetensors`) are left out; files for `torch`
    (`.bin`), where they are asked for, are read only where there are no safetensors.
    """
    kept = []
    weights: dict[PurePosixPath, list[str]] = {}
    for name in names:
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            if name.endswith((WEIGHTS, BIN)):
                weights.setdefault(PurePosixPath(name).parent, []).append(name)
            else:
                kept.append(name)
    for folder in weights.values():
        together = [name for name in folder if name.endswith(WEIGHTS)] or folder
        shards = [name for name in together if _MODEL_SHARD.fullmatch(PurePosixPath(name).name)]
        whole = [name for name in together if PurePosixPath(name).name == f"model{WEIGHTS}"]
        kept += shards or whole or together
    return sorted(kept)


def _ask(repo: str, revision: str | None, patterns: Sequence[str]) -> Plan:
    """`plan`, with the errors of the hub's client."""
    info = huggingface_hub.HfApi().model_info(repo, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    held = [sibling.rfilename for sibling in info.siblings or ()]
    names = wanted(held, patterns)
    if _weight_patterns(patterns) and not any(name.endswith((WEIGHTS, BIN)) for name in names):
        others = [name for name in held if name.endswith((WEIGHTS, *OTHER_WEIGHTS))]
        raise FGVEditError(
            f"'{repo}' on {constants.ENDPOINT} has no {' or '.join(_weight_patterns(patterns))} at commit {info.sha}, "
            f"found {', '.join(others[:3]) or 'no weights'}; expected safetensors: name a revision with them, or a "
            "folder that save_pretrained wrote"
        )
    # Asks for each file, too: a gated repo says what it holds and then does not give it.
    files = huggingface_hub.snapshot_download(
        repo, revision=info.sha, allow_patterns=_exactly(names), dry_run=True, tqdm_class=_NoBar
    )
    return Plan(
        repo,
        str(info.sha),
        {file.filename: file.file_size or 0 for file in sorted(files, key=lambda file: file.filename)},
        tuple(sorted(file.filename for file in files if file.will_download)),
        info.safetensors.total if info.safetensors else None,
        _free(_cache()),
    )


def _from_cache(repo: str, revision: str | None, patterns: Sequence[str]) -> Path | None:
    """The folder of the cache, without a request; None where it is not there or is not whole."""
    weights = _weight_patterns(patterns)
    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                repo,
                revision=revision,
                allow_patterns=[pattern for pattern in patterns if pattern not in weights],
                local_files_only=True,  # raises where it knows of a file that matches and is not there
            )
        )
    except (OSError, ValueError):
        return None
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    found = [name for name in files if any(fnmatchcase(name, pattern) for pattern in weights)]
    shards = Counter((match[1], int(match[2])) for name in found if (match := _SHARD.fullmatch(name)))
    whole = all(there == shards_of[1] for shards_of, there in shards.items())
    return folder if whole and (found or not weights) else None


def _refusal(what: str, repo: str, revision: str | None, error: Exception) -> FGVEditError:
    """What the hub's client raised, as one sentence that says what to do."""
    if isinstance(error, FGVEditError):
        return FGVEditError(f"the {what} {error}")
    if isinstance(error, errors.DryRunError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    hub = constants.ENDPOINT
    login = "log in with 'hf auth login' or set HF_TOKEN"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.HFValidationError):
        reason, expected = "there is no such folder, and it is no hub id", "a hub id or a folder"
    elif isinstance(error, errors.RevisionNotFoundError):
        reason, expected = f"it has no revision '{revision}'", f"a commit, branch or tag of {hub}/{repo}"
    elif isinstance(error, errors.GatedRepoError):
        reason, expected = "it is gated", f"access to it: ask for it at {hub}/{repo}, then {login}"
    elif isinstance(error, errors.RepositoryNotFoundError) or status in (401, 403):
        reason = f"{hub} has no such model, or gives it to its owners only"
        expected = f"a hub id or a folder; where it is private, {login}"
    else:
        reason = f"{hub} does not give it: {one_line(error)}"
        expected = f"a connection to the hub, or the whole model in the cache '{_cache()}'"
    return FGVEditError(f"the {what} '{repo}'{_at(revision)} cannot be opened ({reason}); expected {expected}")


def upload_refusal(repo: str, error: Exception, otherwise: str) -> FGVEditError:
    """Why a repository on the hub could not be written to. `otherwise`: what else would do where one may not."""
    login = "log in with 'hf auth login' or set HF_TOKEN"
    status = status_of(error)
    if isinstance(error, errors.RepositoryNotFoundError) and status == 404:
        reason, expected = "there is no such repository", "one that is there, in the form OWNER/NAME"
    elif status == 401:
        reason, expected = "it does not know who asks", f"a token that may write: {login}"
    elif status == 403:
        reason, expected = f"the token may not write to '{repo}'", f"one that may ({login}), or {otherwise}"
    elif status == 409:
        reason, expected = "the repository was changed in the meantime", "no other push at the same time: give it again"
    else:
        reason, expected = one_line(error), "a connection that lasts: the same command goes on with what is missing"
    return FGVEditError(f"'{repo}' could not be pushed to {constants.ENDPOINT} ({reason}); expected {expected}")


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status that an error of the hub's client, or what caused it, goes back to."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is not None:
            return int(status)
        error = error.__cause__
    return None


def _statement(found: Plan, what: str, dtype: torch.dtype | None) -> str:
    if dtype is not None and found.parameters is not None:
        needed, form = found.parameters * dtype.itemsize, f"in {dtype}".replace("torch.", "")
    else:
        needed, form = sum(size for name, size in found.files.items() if name.endswith((WEIGHTS, BIN))), "as stored"
    count = f" ({found.parameters:,} parameters)" if found.parameters is not None else ""
    files = f"{len(found.files)} file{'s' if len(found.files) > 1 else ''}"
    there = len(found.files) - len(found.missing)
    return (
        f"{what}: fetching {found.repo} from {constants.ENDPOINT}, commit {found.revision}\n"
        f"  {files} of {_bytes(found.size)}, {there} of them ({_bytes(found.cached)}) here already; "
        f"into {_cache()}, which has {_bytes(found.free)} free\n"
        f"  its weights{count} take {_bytes(needed)} of memory {form}; free here: {', '.join(_memory()) or 'unknown'}"
    )


def _memory() -> list[str]:
    """What is free: of main memory, where the system tells, and of each CUDA device."""
    import torch

    found = []
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        kilobytes = re.search(r"^MemAvailable:\s*(\d+) kB", meminfo.read_text(), re.MULTILINE)
        found += [f"{_bytes(int(kilobytes[1]) * 1024)} of RAM"] if kilobytes else []
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:  # macOS does not say what is free
        found.append(f"at most {_bytes(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))} of RAM")
    for device in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        found.append(f"{_bytes(torch.cuda.mem_get_info(device)[0])} on GPU {device}")
    return found


class _NoBar(tqdm):
    """For what is quick: the client shows its bars even where there is nothing to fetch."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "disable": True})


def _cache() -> Path:
    return Path(constants.HF_HUB_CACHE)


def _free(folder: Path) -> int:
    """Bytes on the disk of a folder, which need not be there yet."""
    folder = folder.absolute()
    return shutil.disk_usage(next(there for there in (folder, *folder.parents) if there.exists())).free


def _weight_patterns(patterns: Sequence[str]) -> list[str]:
    return [pattern for pattern in patterns if pattern.endswith((WEIGHTS, BIN))]


def _exactly(names: Iterable[str]) -> list[str]:
    return [glob.escape(name) for name in names]


def _at(revision: str | None) -> str:
    return f" at revision '{revision}'" if revision else ""


def _bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
