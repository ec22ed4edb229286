"""The local hub with data sets that can be pushed to: what `huggingface_hub` sends, kept as a commit.

    with UploadHub() as hub, connected(hub, cache):
        hub.members["token"] = {"owner"}
        ...

Files of `local_hub.LARGE` bytes or more go through git LFS, as Parquet does where hf_xet is not there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml
from local_hub import LARGE, LocalHub, _Handler, connected


class UploadHub(LocalHub):
    """`members`: the owners that a token may write for. `pushed`: method and path of each request that changes
    something. `large`: contents that came by LFS, by SHA-256. `refused`: status with which the next request that
    matches a pattern is turned down, once. `created`: what was asked for of each new repository. `pulls`: title of each
    pull request; its files are at the ref `refs/pr/N`."""

    def __init__(self) -> None:
        super().__init__()
        self.members: dict[str, set[str]] = {}
        self.pushed: list[str] = []
        self.large: dict[str, bytes] = {}
        self.refused: dict[str, int] = {}
        self.created: dict[str, dict[str, Any]] = {}
        self.messages: list[str] = []
        self.pulls: list[str] = []

    def __enter__(self) -> UploadHub:
        hub = self

        class Handler(_UploadHandler):
            served = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def files(self, repo: str, ref: str = "main") -> dict[str, bytes]:
        return self.repos[repo].commits[self.repos[repo].refs[ref]]


@contextmanager
def pushing(hub: UploadHub, cache: Path) -> Iterator[UploadHub]:
    """As `connected`, without hf_xet, whose storage is not here."""
    from huggingface_hub import constants

    with connected(hub, cache), pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield hub


class _UploadHandler(_Handler):
    served: UploadHub

    def do_GET(self) -> None:
        self.path = self.path.replace("/api/datasets/", "/api/models/", 1).replace("/datasets/", "/", 1)
        super().do_GET()

    def do_POST(self) -> None:
        path, body = self._received()
        if self._turned_down(path):
            return
        if path == "/api/validate-yaml":
            errors = _errors(json.loads(body)["content"])
            return self._json({"errors": errors, "warnings": []}, 400 if errors else 200)
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if match := re.fullmatch(r"/datasets/(.+)\.git/info/lfs/objects/batch", path):
            if self._may_write(match[1], pull_request=True):  # a batch does not say what it is for
                self._batch(json.loads(body)["objects"])
            return None
        if match := re.fullmatch(r"/api/datasets/(.+?)/(preupload|commit)/([^/]+)", path):
            if not self._may_write(match[1], bool(self._query().get("create_pr"))):
                return None
            if match[2] == "preupload":
                return self._preupload(json.loads(body)["files"])
            return self._commit(match[1], unquote(match[3]), [json.loads(line) for line in body.splitlines()])
        return self._refuse(404, "")

    def do_PUT(self) -> None:
        path, body = self._received()
        if self._turned_down(path):
            return None
        self.served.large[path.removeprefix("/lfs/")] = body
        return self._json({})

    def _received(self) -> tuple[str, bytes]:
        """The path, and the body, which is read even where nothing is made of it."""
        path = urlsplit(self.path).path
        self.served.pushed.append(f"{self.command} {path}")
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            return path, body
        return path, self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _turned_down(self, path: str) -> bool:
        for pattern in list(self.served.refused):
            if re.search(pattern, path):
                self._refuse(self.served.refused.pop(pattern), "")
                return True
        return False

    def _query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query)

    def _may_write(self, repo: str, pull_request: bool = False) -> bool:
        """Whether the token may; it is refused where not. Anyone known may open a pull request."""
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.served.members:
            self._refuse(401, "")
            return False
        if repo.partition("/")[0] not in self.served.members[token] and not pull_request:
            self._refuse(403, "")
            return False
        return True

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if not self._may_write(name):
            return None
        there = name in self.served.repos
        if not there:
            self.served.created[name] = asked
            self.served.add(name, {".gitattributes": b""})
        return self._json({"url": f"{self.served.url}/datasets/{name}"}, 409 if there else 200)

    def _preupload(self, files: list[dict[str, Any]]) -> None:
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["size"] >= LARGE else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in files
        ]
        return self._json({"files": modes})

    def _batch(self, objects: list[dict[str, Any]]) -> None:
        answer = []
        for one in objects:
            actions = {"upload": {"href": f"{self.served.url}/lfs/{one['oid']}"}}
            known = one["oid"] in self.served.large
            answer.append({**one, **({} if known else {"actions": actions})})
        self._json({"transfer": "basic", "objects": answer})

    def _commit(self, name: str, branch: str, lines: list[dict[str, Any]]) -> None:
        files = dict(self.served.files(name, branch))
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.served.messages.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                content = self.served.large.get(value["oid"])
                if content is None or hashlib.sha256(content).hexdigest() != value["oid"]:
                    return self._refuse(400, "")
                files[value["path"]] = content
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        url = f"{self.served.url}/datasets/{name}"
        answer: dict[str, Any] = {}
        if self._query().get("create_pr"):
            self.served.pulls.append(self.served.messages[-1])
            branch = f"refs/pr/{len(self.served.pulls)}"
            answer["pullRequestUrl"] = f"{url}/discussions/{len(self.served.pulls)}"
        commit = self.served.add(name, files, branch)
        return self._json({**answer, "success": True, "commitOid": commit, "commitUrl": f"{url}/commit/{commit}"})

    def _json(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _errors(card: str) -> list[dict[str, str]]:
    """What the hub would not take of a card's YAML."""
    said = yaml.safe_load(card.split("---\n")[1])
    lacking = [name for name in ("license", "configs") if name not in said]
    return [{"message": f'"{name}" is required'} for name in lacking]
