"""A server on this machine that speaks the OpenAI chat-completions protocol, well or badly, as a test wants it.

    with LocalOpenAI() as server:
        server.answers["entity"] = {"reason": "The question says so.", "entity": "the card"}
        server.next.append(Reply(status=429, headers={"Retry-After": "3"}))

Each request is answered by the first of `next`, while there are any, and else by what `answers` has for the name of the
schema that it asks for: an object that the model is to say, or a function from the request to one or to a `Reply`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}

GOOD: dict[str, dict[str, Any]] = {
    "entity": {"reason": "The question names it.", "entity": "the card"},
    "counterfactual": {"reason": "Another colour.", "target": "blue"},
    "rephrase": {"reason": "In other words.", "rephrase": "Of which colour is that card?"},
    "effect": {"reason": "The colour was asked for.", "relation": "entailed", "answer": "blue"},
    "settled_by_text": {"reason": "One has to look.", "settled": False},
    "in_scope": {"reason": "It follows.", "questions": [{"question": "Is the card blue?", "answer": "yes"}]},
}


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


class LocalOpenAI:
    """`requests`: the body of each so far; `headers` go with them. `most`: how many were under way at once at most.
    `hold`: where set, the first requests are not answered before so many are under way, or `patience` seconds are over.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Any] = dict(GOOD)
        self.next: list[Reply] = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most = 0
        self.hold = 0
        self.patience = 1.0
        self.arrived: Callable[[int], None] = lambda number: None  # told of each request before it is answered
        self.closed = threading.Event()
        self._under_way = 0
        self._change = threading.Condition()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def prompts(self) -> list[str]:
        """The text of each request's first message."""
        return [
            next(part["text"] for part in request["messages"][0]["content"] if part["type"] == "text")
            for request in self.requests
        ]

    def __enter__(self) -> LocalOpenAI:
        outer = self

        class Handler(_Handler):
            served = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

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
                self._change.wait_for(lambda: self._under_way >= self.hold, self.patience)
                self.hold = 0
        self.arrived(number)
        if scripted is not None:
            return scripted
        answer = self.answers[request["response_format"]["json_schema"]["name"]]
        answer = answer(request) if callable(answer) else answer
        return answer if isinstance(answer, Reply) else said(json.dumps(answer))

    def left(self) -> None:
        with self._change:
            self._under_way -= 1


class _Handler(BaseHTTPRequestHandler):
    served: LocalOpenAI

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            return self._send(failure(404, f"no such path: {self.path}"))
        reply = self.served.reply(request, dict(self.headers))
        self.served.left()  # before it goes out: the client may send the next one as soon as it is there
        return self._send(reply)

    def _send(self, reply: Reply) -> None:
        if reply.never:
            self.served.closed.wait()
            return
        body = reply.body.encode() if isinstance(reply.body, str) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: reply.cut])

    def log_message(self, *_: Any) -> None:
        pass
