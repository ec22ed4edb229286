"""Each task of a labeller as tests ask it, and a server on this machine that answers well or badly, as a test wants it.

with Api() as api:
    api.answers["entity"] = {"reason": "The question says so.", "entity": "the card"}
    api.next.append(failure(429, "busy", {"Retry-After": "3"}))
"""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image
from rows import image_ref

from builders.labelling import open_labeller
from builders.labelling.base import Effect, Labelled, Told
from builders.labelling.openai import OpenAI

KEY = "sk-very-secret-0123456789"
IMAGE = image_ref()
QUESTION = "What colour is the card?"
EDIT = Told(QUESTION, "red", "blue")
USAGE = {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}

# task -> how it is asked, and the answer to the server's `GOOD`
CALLS: dict[str, tuple[Callable[[Any], Labelled], Any]] = {
    "entity": (lambda labeller: labeller.entity(IMAGE, QUESTION, "red"), "the card"),
    "counterfactual": (lambda labeller: labeller.counterfactual(IMAGE, QUESTION, "red"), "blue"),
    "rephrase": (lambda labeller: labeller.rephrase(QUESTION), "Of which colour is that card?"),
    "effect": (lambda labeller: labeller.effect(IMAGE, EDIT, "Is it red?", "yes"), Effect("entailed", "blue")),
    "settled_by_text": (lambda labeller: labeller.settled_by_text(EDIT, "Is it red?"), False),
    "in_scope": (lambda labeller: labeller.in_scope(IMAGE, EDIT, 2), [("Is the card blue?", "yes")]),
}
GOOD: dict[str, dict[str, Any]] = {
    "entity": {"reason": "The question names it.", "entity": "the card"},
    "counterfactual": {"reason": "Another colour.", "target": "blue"},
    "rephrase": {"reason": "In other words.", "rephrase": "Of which colour is that card?"},
    "effect": {"reason": "The colour was asked for.", "relation": "entailed", "answer": "blue"},
    "settled_by_text": {"reason": "One has to look.", "settled": False},
    "in_scope": {"reason": "It follows.", "questions": [{"question": "Is the card blue?", "answer": "yes"}]},
}
STAND_INS = {"effect": Effect("unclear"), "in_scope": []}


@dataclass(frozen=True)
class Reply:
    """A response. `body`: as it is, or to be sent as JSON. `cut`: bytes of it that are sent before the connection
    breaks. `never`: nothing is sent until the server closes."""

    body: Any = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    cut: int | None = None
    never: bool = False


def said(content: str | None, finish: str = "stop", usage: Any = USAGE, **message: Any) -> Reply:
    """A completion with this content."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    completion = {"id": "chatcmpl-1", "object": "chat.completion", "model": "a-model", "choices": [choice]}
    return Reply(completion if usage is None else {**completion, "usage": usage})


def failure(status: int, message: str = "", headers: Mapping[str, str] | None = None, **error: Any) -> Reply:
    return Reply({"error": {"message": message, **error}}, status, headers or {})


class Api(ThreadingHTTPServer):
    """It speaks the OpenAI chat-completions protocol. Each request is answered by the first of `next`, while there are
    any, and else by what `answers` has for the name of the schema that it asks for: an object that the model is to say,
    a `Reply`, or a function from the request to one of them.

    `requests`: the body of each so far; `headers` go with them. `most`: how many were under way at once at most.
    `hold`: where set, the first requests are not answered before so many are under way, or for a moment. `slept`: how
    many seconds its labellers would have slept.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.answers: dict[str, Any] = dict(GOOD)
        self.next: list[Reply] = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.slept: list[float] = []
        self.most = self.hold = self._under_way = 0
        self.arrived: Callable[[int], None] = lambda number: None  # told of each request before it is answered
        self.closed = threading.Event()
        self._change = threading.Condition()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.closed.set()
        self.shutdown()
        self.server_close()

    def open(self, **options: Any) -> OpenAI:
        """A labeller that does not sleep; it asks whom the environment names."""
        labeller = open_labeller("openai", options)
        assert isinstance(labeller, OpenAI)
        labeller.sleep = self.slept.append
        return labeller

    def prompts(self) -> list[str]:
        """The text of each request's first message."""
        contents = [request["messages"][0]["content"] for request in self.requests]
        return [next(part["text"] for part in content if part["type"] == "text") for content in contents]

    def reply(self, request: dict[str, Any], headers: Mapping[str, str]) -> Reply:
        with self._change:
            self.requests.append(request)
            self.headers.append({name.lower(): value for name, value in headers.items()})
            number = len(self.requests)
            scripted = self.next.pop(0) if self.next else None
            self._under_way += 1
            self.most = max(self.most, self._under_way)
            self._change.notify_all()
            if self.hold:
                self._change.wait_for(lambda: self._under_way >= self.hold, 0.3)
                self.hold = 0
        self.arrived(number)
        answer = scripted or self.answers[request["response_format"]["json_schema"]["name"]]
        answer = answer(request) if callable(answer) else answer
        with self._change:  # before it goes out: the client may send the next one as soon as it is there
            self._under_way -= 1
        return answer if isinstance(answer, Reply) else said(json.dumps(answer))


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        there = self.path == "/v1/chat/completions"
        reply = self.server.reply(request, dict(self.headers)) if there else failure(404, f"no such path: {self.path}")
        if reply.never:
            self.server.closed.wait()
            return
        body = reply.body.encode() if isinstance(reply.body, str) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        fixed = {"Content-Type": reply.content_type, "Content-Length": str(len(body))}
        for name, value in {**fixed, **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: reply.cut])

    def log_message(self, *_: Any) -> None:
        pass


def shown(request: dict[str, Any]) -> list[Image.Image]:
    """The images of a request, decoded."""
    parts = [part for message in request["messages"] for part in message["content"] if isinstance(part, dict)]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert all(url.startswith("data:image/jpeg;base64,") for url in urls)
    return [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
