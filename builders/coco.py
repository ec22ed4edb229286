"""COCO 2014 images by file name: from folders here, or fetched one by one from COCO's host."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path, PurePosixPath

from tqdm import tqdm

import fgvedit
from builders.retry_after import seconds_to_wait
from fgvedit.schema import ImageRef
from fgvedit.util.errors import FGVEditError, one_line
from fgvedit.util.files import write_text

HOST = "http://images.cocodataset.org"
SUBFOLDERS = ("train2014", "val2014")
FILE_NAME = re.compile(r"COCO_(train2014|val2014)_\d{12}\.jpg")
JPEG = b"\xff\xd8"  # how every JPEG begins
CHECKSUMS = "images.sha256"
JOBS = 4
USER_AGENT = f"fgvedit/{fgvedit.__version__} (python -m builders; one image at a time, only those named)"

ATTEMPTS = 5  # for each image
PAUSE = 1.0  # seconds before the second attempt; doubled before each further one
TIMEOUT = 60.0  # seconds without a byte
MEAN_BYTES = 163_000  # of a COCO 2014 image, to say about how much is to come
SAID = 10.0  # seconds: that a host asks to wait for more is said
IN_A_ROW = 10  # images that fail before the host is given up


class Images:
    """Images by their COCO 2014 file name, such as "train2014/COCO_train2014_000000000025.jpg" or its last part alone.

    `folders`: where they are looked for, also in `train2014/` and `val2014/` below each. With `fetch`, those that are
    not there are fetched from `host` into the first folder, `jobs` at a time; their SHA-256 is kept there in
    `images.sha256`, and a file that has changed since is fetched again.
    """

    def __init__(self, folders: Sequence[Path], fetch: bool = False, host: str = HOST, jobs: int = JOBS) -> None:
        if not folders:
            raise FGVEditError("images: found no folder, expected at least one to look in or to fetch into")
        if jobs < 1:
            raise FGVEditError(f"images: found {jobs} connections at a time, expected at least 1")
        if not host.startswith(("http://", "https://")):
            raise FGVEditError(f"images: found '{host}' for a host, expected an address such as {HOST}")
        for folder in folders[1:] if fetch else folders:
            if not folder.is_dir():
                raise FGVEditError(f"images: expected a folder of COCO 2014 images, found none at '{folder}'")
        self.folders = list(folders)
        self.fetching = fetch
        self.host = host.rstrip("/")
        self.jobs = jobs
        self._reasons: dict[str, str] = {}  # of what was asked for in vain
        self._checksums = {folder: _read_checksums(folder) for folder in self.folders}
        self._lock = threading.Lock()
        self._not_before = 0.0

    def path(self, file_name: str) -> Path:
        """Where an image lies, fetched first if that is to be done.

        Raises `FGVEditError`, naming the image and the folders, where it is not to be had.
        """
        found = self._find(file_name)
        if found is None and self.fetching:
            if file_name not in self._reasons:
                self.fetch([file_name])
            if file_name in self._reasons:
                reason = self._reasons[file_name]
                raise FGVEditError(f"image '{file_name}' {reason}; expected it there or in {self._where()}")
            found = self._find(file_name)
        if found is None:
            raise FGVEditError(f"image '{file_name}' is not there; expected it in {self._where()}")
        return found

    def ref(self, file_name: str) -> ImageRef:
        """An image, its `image_id` the file's name without its ending. It is not decoded here.

        Raises `FGVEditError` as `path` does, and for a file that is not what `images.sha256` says.
        """
        path = self.path(file_name)
        data = path.read_bytes()
        for folder in self.folders:
            if path.is_relative_to(folder):
                kept = self._checksums[folder].get(path.relative_to(folder).as_posix())
                if kept is not None and kept != hashlib.sha256(data).hexdigest():
                    raise FGVEditError(
                        f"image '{path}' has changed since it was fetched; expected the SHA-256 that "
                        f"'{folder / CHECKSUMS}' has of it: delete the image to have it fetched again"
                    )
        return ImageRef(path.stem, data)

    def fetch(self, file_names: Iterable[str]) -> dict[str, str]:
        """Fetch those of the images that are not here, or not whole; what cannot be had, each with the reason.

        What is to come is said first. Images already here are checked against `images.sha256`.
        Raises `FGVEditError` where the host gives none of several in a row.
        """
        into = self.folders[0]
        wanted = sorted({name for name in file_names if not self._is_good(name)})
        reasons = {name: "is no COCO 2014 file name" for name in wanted if not FILE_NAME.fullmatch(_last(name))}
        todo: dict[str, list[str]] = {}  # relative path -> the names it goes by
        for name in wanted:
            if name not in reasons:
                todo.setdefault(_relative(name), []).append(name)
        if todo:
            print(
                f"images: fetching {len(todo):,} from {self.host} into '{into}', about "
                f"{len(todo) * MEAN_BYTES / 1e6:,.0f} MB, {self.jobs} at a time",
                file=sys.stderr,
                flush=True,
            )
            into.mkdir(parents=True, exist_ok=True)
            for path, reason in self._fetch_all(list(todo)).items():
                reasons.update(dict.fromkeys(todo[path], reason))
        self._keep_checksums()
        self._reasons.update(reasons)
        return reasons

    def _find(self, file_name: str) -> Path | None:
        if PurePosixPath(file_name).is_absolute() or ".." in PurePosixPath(file_name).parts:
            return None  # a name from a data file does not lead out of the folders
        last = _last(file_name)
        paths = [*(f"{below}/{last}" for below in SUBFOLDERS), last]  # where one is fetched into comes first
        if file_name != last:
            paths.insert(0, file_name)
        for folder in self.folders:
            for path in paths:
                if (folder / path).is_file():
                    return folder / path
        return None

    def _is_good(self, file_name: str) -> bool:
        """Whether an image is here; of one in the folder that is fetched into, whether it is whole, too."""
        path = self._find(file_name)
        into = self.folders[0]
        if path is None or not path.is_relative_to(into):
            return path is not None
        relative, data = path.relative_to(into).as_posix(), path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if relative in self._checksums[into]:
            return self._checksums[into][relative] == digest
        try:
            ImageRef(path.stem, data).open()
        except FGVEditError:
            return False
        self._checksums[into][relative] = digest
        return True

    def _fetch_all(self, paths: Sequence[str]) -> dict[str, str]:
        """Fetch images in parallel, by their paths below the folder; the reason for each that could not be had."""
        reasons: dict[str, str] = {}
        stop = threading.Event()
        into = self.folders[0]
        with (
            ThreadPoolExecutor(self.jobs) as pool,
            open(into / CHECKSUMS, "a", encoding="utf-8") as checksums,
            tqdm(total=len(paths), desc="images", unit="image", disable=None) as bar,
        ):
            under_way = {pool.submit(self._fetch_one, path, stop): path for path in paths}
            failed = 0  # one after the other
            try:
                for done in as_completed(under_way):
                    path = under_way[done]
                    try:
                        digest = done.result()
                    except _Refused as refused:
                        reasons[path] = str(refused)
                        failed += not refused.final
                    else:
                        failed = 0
                        self._checksums[into][path] = digest
                        checksums.write(_line(digest, path))
                        checksums.flush()
                    bar.update()
                    if failed == IN_A_ROW:
                        raise FGVEditError(
                            f"images: {IN_A_ROW} in a row could not be fetched, the last of them, '{path}', "
                            f"{reasons[path]}; expected a host that gives them: the same command goes on from here"
                        )
            finally:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
        return reasons

    def _fetch_one(self, relative: str, stop: threading.Event) -> str:
        """Fetch one image, with several attempts; its SHA-256. Raises `_Refused`."""
        url = f"{self.host}/{relative}"
        for attempt in range(1, ATTEMPTS + 1):
            pause(max(0.0, self._not_before - time.monotonic()), stop)
            try:
                data = _download(url)
                break
            except _Refused as refused:
                if refused.final or attempt == ATTEMPTS:
                    raise
                wait = seconds_to_wait(refused.retry_after, time.time(), f"images: {self.host}")
                if wait is not None:
                    self._leave_alone(wait)
                else:
                    pause(PAUSE * 2 ** (attempt - 1), stop)
        path = self.folders[0] / relative
        path.parent.mkdir(exist_ok=True)
        partial = path.with_name(f".{path.name}.tmp")
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        return hashlib.sha256(data).hexdigest()

    def _leave_alone(self, seconds: float) -> None:
        """The host's wish, which holds for all connections; where it is for long, that is said."""
        with self._lock:
            until = time.monotonic() + seconds
            if until - max(self._not_before, time.monotonic()) > SAID:
                print(f"images: {self.host} asks to wait {seconds:,.0f} seconds", file=sys.stderr, flush=True)
            self._not_before = max(self._not_before, until)

    def _keep_checksums(self) -> None:
        """Write `images.sha256` in order, without the torn line that a kill may have left."""
        path, kept = self.folders[0] / CHECKSUMS, self._checksums[self.folders[0]]
        text = "".join(_line(kept[relative], relative) for relative in sorted(kept))
        if kept and (not path.is_file() or path.read_text(encoding="utf-8") != text):
            write_text(path, text)

    def _where(self) -> str:
        folders = ", ".join(f"'{folder}'" for folder in self.folders)
        return f"{folders} or in {' or '.join(SUBFOLDERS)} below"


def expect_outside(folders: Iterable[Path], out: Path) -> None:
    """Raises `FGVEditError` for a folder of images within `out`, which is replaced as a whole."""
    for folder in folders:
        if out.resolve() in (folder.resolve(), *folder.resolve().parents):
            raise FGVEditError(f"--out '{out}' holds the folder of images '{folder}'; expected them apart")


class _Refused(Exception):
    """Why an image could not be had. `final`: asking again is of no use. `retry_after`: the header of that name."""

    def __init__(self, reason: str, final: bool = False, retry_after: str | None = None) -> None:
        super().__init__(reason)
        self.final = final
        self.retry_after = retry_after


def pause(seconds: float, stop: threading.Event) -> None:
    """Wait, unless all is to stop."""
    if stop.wait(seconds):
        raise _Refused("was not asked for again")


def _download(url: str) -> bytes:
    """A whole JPEG, or `_Refused`."""
    request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            data = response.read()  # raises where less comes than Content-Length says
    except urllib.error.HTTPError as error:
        with error:
            again = error.code == 429 or error.code >= 500
            reason = f"is not given by {url} (status {error.code})"
            raise _Refused(reason, not again, error.headers.get("Retry-After")) from error
    except (OSError, http.client.HTTPException) as error:  # no connection, a cut one, or not HTTP
        raise _Refused(f"could not be fetched from {url} ({one_line(error)})") from error
    try:
        if not data.startswith(JPEG):
            raise FGVEditError("another format")
        ImageRef(url, data).open()
    except FGVEditError as error:
        raise _Refused(f"did not come as a whole JPEG from {url} ({len(data)} bytes: {error})") from error
    return data


def _read_checksums(folder: Path) -> dict[str, str]:
    """Path below the folder -> SHA-256, from lines as sha256sum writes them; others are passed over."""
    path = folder / CHECKSUMS
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {match[2]: match[1] for line in lines if (match := re.fullmatch(r"([0-9a-f]{64})  (.+\.jpg)", line))}


def _line(digest: str, relative: str) -> str:
    return f"{digest}  {relative}\n"


def _last(file_name: str) -> str:
    return PurePosixPath(file_name).name


def _relative(file_name: str) -> str:
    """The path at which COCO has a file: "train2014/COCO_train2014_000000000025.jpg"."""
    match = FILE_NAME.fullmatch(_last(file_name))
    assert match
    return f"{match[1]}/{match[0]}"
