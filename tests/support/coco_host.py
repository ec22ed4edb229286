"""COCO's host on this machine: serves images by path, and fails as hosts do where it is told to.

    with CocoHost({"train2014/COCO_train2014_000000000025.jpg": data}) as host:
        host.faults["train2014/COCO_train2014_000000000025.jpg"] = ["500", "cut"]  # then fine

Faults: a status ("404"), with the seconds or date of Retry-After ("429 7"), "cut" (half of the image, then the
connection breaks), "long" and "short" (a Content-Length that is too large or too small), "html" (a page in the image's
place), "png" (a picture that is not the one), "moved" (a redirect to where it is), "stall" (nothing, until the host
closes).
"""

from __future__ import annotations

import hashlib
import io
import random
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image
from rows import png

PAGE = b"<html><body>Please log in</body></html>"

NAMES = [f"COCO_train2014_{number:012d}.jpg" for number in range(4)] + ["COCO_val2014_000000000042.jpg"]
PLACES = [f"{name.split('_')[1]}/{name}" for name in NAMES]


def photo(number: int) -> bytes:
    noise = random.Random(number).randbytes(40 * 30 * 3)
    buffer = io.BytesIO()
    Image.frombytes("RGB", (40, 30), noise).save(buffer, "JPEG")
    return buffer.getvalue()


PHOTOS = {place: photo(number) for number, place in enumerate(PLACES)}


def held(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class CocoHost:
    """`requests`: the path of each so far. `agents`: what they said they were. `most`: how many were open at once."""

    def __init__(self, images: Mapping[str, bytes]) -> None:
        self.images = dict(images)
        self.faults: dict[str, list[str]] = {}
        self.requests: list[str] = []
        self.agents: set[str] = set()
        self.most = 0
        self.stalled = threading.Event()
        self._closed = threading.Event()
        self._open = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> CocoHost:
        host = self

        class Handler(_Handler):
            served = host

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    served: CocoHost

    def do_GET(self) -> None:
        host, path = self.served, self.path.strip("/")
        with host._lock:
            host.requests.append(path)
            host.agents.add(self.headers["User-Agent"])
            host._open += 1
            host.most = max(host.most, host._open)
            faults = host.faults.get(path)
            fault = faults.pop(0) if faults else ""
        self._counted = True
        try:
            self._answer(path.removeprefix("moved/"), fault)
        finally:
            self._leave()

    def _leave(self) -> None:
        """No longer count as open: before the last byte goes, after which the next request may come at once."""
        with self.served._lock:
            self.served._open -= self._counted
            self._counted = False

    def _answer(self, path: str, fault: str) -> None:
        status, _, wait = fault.partition(" ")
        if status.isdigit():
            self._send(int(status), b"no", {"Retry-After": wait} if wait else {})
        elif fault == "moved":
            self._send(302, b"", {"Location": f"/moved/{path}"})
        elif fault == "html":
            self._send(200, PAGE, {"Content-Type": "text/html"})
        elif fault == "png":
            self._send(200, png(), {"Content-Type": "image/png"})
        elif fault == "stall":
            self.served.stalled.set()
            self.served._closed.wait()
        elif path not in self.served.images:
            self._send(404, b"no such key")
        else:
            data = self.served.images[path]
            length = {"long": len(data) + 10, "short": len(data) - 10}.get(fault, len(data))
            self._send(200, data[: len(data) // 2] if fault == "cut" else data, length=length)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None, length: int = -1) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length if length >= 0 else len(body)))
        self.send_header("ETag", f'"{hashlib.md5(body).hexdigest()}"')
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        self.wfile.write(body[:-1])
        self._leave()
        self.wfile.write(body[-1:])

    def log_message(self, *_: Any) -> None:
        pass
