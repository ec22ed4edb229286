"""A hub on this machine: what `huggingface_hub` asks of the real one, answered from memory.

    with LocalHub() as hub:
        first = hub.add("owner/model", {"config.json": b"{}", "model.safetensors": weights})
        hub.add("owner/model", folder)  # a second commit, to which `main` then points

`connected` has the client of this process ask it; `environment` is for processes that a test starts.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

LARGE = 1000  # bytes from which a file is kept as the real hub keeps weights, with its SHA-256 as its tag


@dataclass
class Repo:
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)  # files of each, the first commit first
    refs: dict[str, str] = field(default_factory=dict)  # branches and tags


class LocalHub:
    """Serves from when it is entered until it is left or closed, and can be opened again.

    `requests`: method and path of each so far that is about a repo. `sent`: bytes of each file that went out, by name.
    `cut`: how many bytes of a file are sent before the connection breaks, once. `broken`: names of files, and paths,
    that it fails to give.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.requests: list[str] = []
        self.sent: dict[str, int] = {}
        self.cut: dict[str, int] = {}
        self.broken: set[str] = set()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    def add(self, name: str, files: Mapping[str, bytes] | Path, branch: str = "main", gated: bool = False) -> str:
        """A new commit with these files, or those of a folder, and no others; its hash."""
        if isinstance(files, Path):
            files = {p.relative_to(files).as_posix(): p.read_bytes() for p in files.rglob("*") if p.is_file()}
        repo = self.repos.setdefault(name, Repo())
        repo.gated = gated
        content = repr((name, len(repo.commits), sorted(files.items()))).encode()
        commit = hashlib.sha1(content).hexdigest()
        repo.commits[commit] = dict(files)
        repo.refs[branch] = commit
        return commit

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> LocalHub:
        hub = self

        class Handler(_Handler):
            served = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """From here on no connection is answered."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@contextmanager
def connected(hub: LocalHub, cache: Path) -> Iterator[LocalHub]:
    """The client of this process asks `hub`, without a token, and keeps what it gets in `cache`."""
    import huggingface_hub
    from huggingface_hub import constants, hf_api

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.url)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
        patch.setattr(hf_api.api, "endpoint", hub.url)  # the client of the functions that are not methods
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.delenv("HF_TOKEN", raising=False)
        huggingface_hub.close_session()  # it remembers which proxies there were
        yield hub
    huggingface_hub.close_session()


def environment(hub: LocalHub, home: Path) -> dict[str, str]:
    """The environment of a process whose client asks `hub` and keeps everything in `home`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return {**own, "HF_ENDPOINT": hub.url, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}


class _Handler(BaseHTTPRequestHandler):
    """One connection a request (HTTP 1.0), so that a closed hub answers none."""

    served: LocalHub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if match := re.fullmatch(r"/api/models/(.+?)(?:/(revision|tree)/([^/]+))?", path):
            name, kind, revision = match.groups()
        elif match := re.fullmatch(r"/(.+?)/(resolve)/([^/]+)/(.+)", path):
            name, kind, revision = match.groups()[:3]
        else:
            return self._refuse(404, "")
        self.served.requests.append(f"{self.command} {path}")
        if path in self.served.broken:
            return self._refuse(500, "")
        repo = self.served.repos.get(name)
        if repo is None:
            return self._refuse(401, "RepoNotFound")
        revision = unquote(revision or "main")
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            return self._refuse(404, "RevisionNotFound")
        if repo.gated and kind in ("tree", "resolve"):
            return self._refuse(403 if self.headers.get("authorization") else 401, "GatedRepo")
        files = repo.commits[commit]
        if kind == "resolve":
            self._file(commit, files, unquote(match[4]))
        elif kind == "tree":
            self._json([_entry(path, content) for path, content in files.items()])
        else:
            self._json(_info(name, commit, repo, files))
        return None

    def _file(self, commit: str, files: Mapping[str, bytes], name: str) -> None:
        if name not in files:
            return self._refuse(404, "EntryNotFound")
        if name in self.served.broken and self.command == "GET":
            return self._refuse(500, "")
        content = files[name]
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(start[1]) if start else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{_tag(content)}"')
        self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        if self.command == "GET":
            part = content[first : first + self.served.cut.pop(name, len(content))]
            self.wfile.write(part)
            self.served.sent[name] = self.served.sent.get(name, 0) + len(part)
        return None

    def _json(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def _info(name: str, commit: str, repo: Repo, files: Mapping[str, bytes]) -> dict[str, Any]:
    siblings = [{"rfilename": path} for path in files]
    info = {"id": name, "sha": commit, "private": False, "gated": "manual" if repo.gated else False, "tags": []}
    parameters: dict[str, int] = {}
    for path, content in files.items():
        if re.fullmatch(r"model(-\d+-of-\d+)?\.safetensors", path):
            for kind, count in _counts(content):
                parameters[kind] = parameters.get(kind, 0) + count
    counted = {"safetensors": {"parameters": parameters, "total": sum(parameters.values())}} if parameters else {}
    return {**info, "siblings": siblings, **counted}


def _counts(content: bytes) -> Iterator[tuple[str, int]]:
    """Type and number of elements of each tensor in a safetensors file; none where it is not one."""
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length])
    except ValueError:
        return
    for name, tensor in header.items():
        if name != "__metadata__":
            count = 1
            for size in tensor["shape"]:
                count *= size
            yield tensor["dtype"], count


def _entry(path: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": _blob(content)}
    if len(content) >= LARGE:
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry


def _tag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if len(content) >= LARGE else _blob(content)


def _blob(content: bytes) -> str:
    """What git calls a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
