"""Labels from any server that speaks the OpenAI chat-completions protocol."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from builders.labelling.base import Refused, Stopping
from builders.labelling.spending import Cost, Meter
from builders.labelling.tasks import Ask, Asking, samples, wording
from builders.retry_after import seconds_to_wait
from fgvedit.schema import ImageRef
from fgvedit.util.errors import FGVEditError, one_line, unknown

try:
    import httpx2
except ModuleNotFoundError as error:
    raise FGVEditError(
        "labeller 'openai' needs the module 'httpx2', which is not installed; expected: pip install 'fgvedit[builders]'"
    ) from error

OPENAI = "https://api.openai.com/v1"
RETRIED = (408, 409, 429, 500, 502, 503, 504)
OF_THE_QUESTION = (400, 413, 415, 422)  # as a rule
CHARACTERS = 3.5  # of an English prompt in a token; more, as a rule, so that estimates are on the high side

USUAL_ANSWER = 100  # tokens

# How OpenAI counts an image: a base, and for each of its tiles of 512 pixels. A photo of 4:3 has four, since its
# shorter side is scaled to 768; in low detail only the base counts.
TILES = 4
IMAGE_TOKENS = {"gpt-4o-mini": (2833, 5667)}
OTHER_IMAGE_TOKENS = (85, 170)
DETAILS = ("auto", "low", "high")


@dataclass(frozen=True)
class Options:
    """`base_url`: "" for OPENAI_BASE_URL, or else OpenAI's own. `key_variable`: the environment variable with the key;
    it may be unset where the server is not OpenAI's. `timeout`: seconds without a byte. `attempts`: requests sent for
    one answer while the server fails. `tries`: answers asked for until one is of use. `answer_tokens`: of one answer, a
    model's thinking included. `image_side`: pixels of the longer side at most; `detail`: what OpenAI makes of it.
    `image_tokens`: of one image in estimates; 0 for OpenAI's rule. Prices are for a million tokens, `budget` is in
    their currency; it and `max_requests` are for one run, and 0 is no bound.
    """

    model: str = "gpt-4o-mini"  # the paper's
    base_url: str = ""
    key_variable: str = "OPENAI_API_KEY"
    concurrency: int = 8
    timeout: float = 120.0
    attempts: int = 6
    tries: int = 3
    answer_tokens: int = 500
    image_side: int = 768
    detail: str = "auto"
    image_tokens: int = 0
    seed: int = 0
    input_price: float = 0.0
    output_price: float = 0.0
    budget: float = 0.0
    max_requests: int = 0

    def __post_init__(self) -> None:
        for option in ("concurrency", "timeout", "attempts", "tries", "answer_tokens", "image_side"):
            if not getattr(self, option) > 0:
                raise FGVEditError(f"labeller 'openai': option '{option}' is {getattr(self, option)}; expected above 0")
        for option in ("image_tokens", "input_price", "output_price", "budget", "max_requests"):
            if not 0 <= getattr(self, option) < math.inf:
                raise FGVEditError(
                    f"labeller 'openai': option '{option}' is {getattr(self, option)}; expected 0 or more"
                )
        if self.detail not in DETAILS:
            raise unknown("detail of labeller 'openai'", self.detail, DETAILS)
        if self.budget and not (self.input_price or self.output_price):
            raise FGVEditError(
                f"labeller 'openai': option 'budget' is {self.budget} and no price is known; expected the options "
                "'input_price' and 'output_price', for a million tokens each"
            )


def cost(config: Options, requests: int, input_tokens: int, output_tokens: int) -> Cost:
    """What so many requests with these tokens in all cost, at the prices of the options."""
    prices = config.input_price, config.output_price
    money = (input_tokens * prices[0] + output_tokens * prices[1]) / 1e6
    return Cost(requests, input_tokens, output_tokens, money, any(prices))


class OpenAI(Asking):
    """Asks as many questions at once as `concurrency` says; waits and asks again where the server is busy or fails."""

    Config = Options

    def __init__(self, config: Options) -> None:
        """Raises `FGVEditError` for an address that is none, and a key that is missing or cannot be sent."""
        self.config = config
        self.name = f"openai:{config.model}"
        self.concurrency = config.concurrency
        self.tries = config.tries
        self.url = _address(config)
        shaping = (config.image_side, config.detail, config.answer_tokens, config.seed)
        self.version = "-".join(map(str, (wording(), *shaping, self.url)))
        self.meter = Meter(self.name, config.budget, config.max_requests)
        self.stopping = threading.Event()
        self.sleep: Callable[[float], object] = self.stopping.wait
        self.now: Callable[[], float] = time.time
        self._key = _key(config, self.url)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limits = httpx2.Limits(max_connections=None)  # `_turn` is the limit
        self._client = httpx2.Client(headers=headers, timeout=config.timeout, limits=limits)
        self._turn = threading.BoundedSemaphore(config.concurrency)
        self._unknown: set[str] = set()  # parameters that the server does not take

    @property
    def spent(self) -> Cost:
        """By this run, as the server counted it."""
        return self.meter.spent

    @staticmethod
    def estimate(config: Options, counts: Mapping[str, int]) -> Cost:
        """What so many asks of each task cost, as a rule: one request each, of the task's prompt for a sample at
        `CHARACTERS` a token, an image as OpenAI counts one (or `image_tokens`), and `USUAL_ANSWER` tokens of answer. It
        does not know which answers are kept already, nor which questions have to be put again."""
        whole = Cost()
        for task, count in counts.items():
            if task not in samples():
                raise unknown("task", task, samples())
            one = _most(config, samples()[task], ())
            answer = min(USUAL_ANSWER, config.answer_tokens)
            whole += cost(config, count, count * one.input_tokens, count * answer)
        return whole

    def reply(self, ask: Ask[Any], wrong: Sequence[tuple[str, str]]) -> str:
        """What the model says. Raises `Refused` where it declines or says nothing, and `FGVEditError` where the server
        gives no answer to any question."""
        choice = self._choice(ask, wrong)
        message = choice.get("message")
        message = message if isinstance(message, dict) else {}
        said, finish = message.get("content"), choice.get("finish_reason")
        if message.get("refusal") or finish == "content_filter":
            raise self._refused(ask, str(message.get("refusal") or "its content filter"))
        if isinstance(said, str) and said.strip():
            return said
        if finish == "length":
            raise self._refused(ask, f"{self.config.answer_tokens} tokens without an answer (option 'answer_tokens')")
        raise self._refused(ask, "an answer without content")

    def _refused(self, ask: Ask[Any], why: str) -> Refused:
        return Refused(f"labeller '{self.name}': declined task '{ask.task}': {self._told(why)}")

    # One answer

    def _choice(self, ask: Ask[Any], wrong: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """The first choice of a completion. Raises `FGVEditError` where the server gives none, and `Refused`."""
        messages = self._messages(ask, wrong)
        most = _most(self.config, ask, wrong)
        failed = 0
        while True:
            sent = self._body(ask, messages)
            wait = None
            try:
                response = self._post(sent, most)
            except httpx2.RequestError as error:
                what = f"{type(error).__name__}: {one_line(error)}"
            else:
                if self._learn(response, sent):
                    continue
                choice, what = self._read(response, ask)
                if choice:
                    return choice
                who = f"labeller '{self.name}': {self.url}"
                wait = seconds_to_wait(response.headers.get("retry-after"), self.now(), who)
            failed += 1
            if failed >= self.config.attempts:
                last = f"gave no answer in {failed} requests, the last one {self._told(what)}"
                raise self._given_up(ask, f"{last}; expected a chat completion: the same command goes on from here")
            self.sleep(backoff(failed) if wait is None else wait)

    def _read(self, response: httpx2.Response, ask: Ask[Any]) -> tuple[dict[str, Any] | None, str]:
        """The first choice of a response, or else what it is, where asking again may mend it."""
        if response.status_code != 200:
            self._check(response, ask)
            return None, f"status {response.status_code}: {_message(response)}"
        kind = response.headers.get("content-type", "no content type")
        return _first_choice(response), f"an answer without choices, of type '{kind}': {_message(response)}"

    def _post(self, body: dict[str, Any], most: Cost) -> httpx2.Response:
        with self._turn:
            if self.stopping.is_set():
                raise Stopping
            self.meter.put_by(most)
            actual = replace(most, requests=0)  # where nobody tells
            try:
                response = self._client.post(f"{self.url}/chat/completions", json=body)
                actual = self._usage(response, actual)
                return response
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                actual = Cost()
                raise
            finally:
                self.meter.settle(most, actual)

    def _given_up(self, ask: Ask[Any], why: str) -> FGVEditError:
        """`Refused` where it is this question that the server cannot answer, or else what ends the run."""
        kind = Refused if self._answers_others() else FGVEditError
        return kind(f"labeller '{self.name}': task '{ask.task}': {self.url} {why}")

    def _answers_others(self) -> bool:
        """Whether the server answers a question that nothing is wrong with, image and all."""
        ask = samples()["entity"]
        try:
            body = self._body(ask, self._messages(ask, ()))
            return bool(_first_choice(self._post(body, _most(self.config, ask, ()))))
        except httpx2.RequestError:
            return False

    def _usage(self, response: httpx2.Response, unknown_usage: Cost) -> Cost:
        """What the server says that it counts; a request that failed is free."""
        if response.status_code != 200:
            return Cost()
        usage = _json(response).get("usage")
        if not isinstance(usage, dict):
            return unknown_usage
        read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if not (isinstance(read, int) and isinstance(written, int) and min(read, written) >= 0):
            return unknown_usage
        return cost(self.config, 0, read, written)

    def _body(self, ask: Ask[Any], messages: list[dict[str, Any]]) -> dict[str, Any]:
        form = {"name": ask.task, "strict": True, "schema": ask.schema}
        optional = {
            "response_format": {"type": "json_schema", "json_schema": form},
            "temperature": 0,
            "seed": self.config.seed,
            "max_tokens": self.config.answer_tokens,
        }
        if "max_tokens" in self._unknown:
            optional["max_completion_tokens"] = self.config.answer_tokens
        taken = {name: value for name, value in optional.items() if name not in self._unknown}
        return {"model": self.config.model, "messages": messages, **taken}

    def _messages(self, ask: Ask[Any], wrong: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = [{"type": "text", "text": ask.prompt}]
        if ask.image is not None:
            url = data_url(ask.image, self.config.image_side)
            detail = {} if self.config.detail == "auto" else {"detail": self.config.detail}
            content.insert(0, {"type": "image_url", "image_url": {"url": url, **detail}})
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        for said, matter in wrong:
            messages.append({"role": "assistant", "content": said})
            messages.append(
                {"role": "user", "content": f"That is of no use: it {matter}. Answer again, in the form asked for."}
            )
        return messages

    # What a server says where it does not answer

    def _learn(self, response: httpx2.Response, sent: Mapping[str, Any]) -> bool:
        """Whether the server does not take a parameter that it can do without: it is left out from now on."""
        if response.status_code not in (400, 422):
            return False
        said, optional = _message(response), ("response_format", "temperature", "seed", "max_tokens")
        for name in optional:
            if name in sent and name in said:
                if name not in self._unknown:
                    print(f"labeller '{self.name}': the server takes no '{name}'; going on without", file=sys.stderr)
                self._unknown.add(name)
                return True
        return False

    def _check(self, response: httpx2.Response, ask: Ask[Any]) -> None:
        """Raise what asking again would not mend."""
        status, said = response.status_code, self._told(_message(response))
        who = f"labeller '{self.name}': {self.url}"
        if status in (401, 403):
            found = "found none" if not self._key else f"it does not accept the one in {self.config.key_variable}"
            raise FGVEditError(
                f"{who} answers with status {status}: expected a key for it in the environment variable "
                f"{self.config.key_variable}, {found}"
            )
        if "insufficient_quota" in said:
            raise FGVEditError(f"{who} says that the account's quota is used up ({said}); expected one with credit")
        if status in RETRIED:
            return
        if "content_filter" in said or "content_policy" in said:
            raise self._refused(ask, said)
        why = (
            f"answers with status {status} to a question to model '{self.config.model}': {said}; expected the address "
            "of a chat-completions server (option 'base_url') that has this model (option 'model')"
        )
        raise self._given_up(ask, why) if status in OF_THE_QUESTION else FGVEditError(f"{who} {why}")

    def _told(self, said: str) -> str:
        """What a server said, for an error of ours: one line of some length, without the key."""
        line = one_line(Exception(said))
        return (line.replace(self._key, "…") if self._key else line)[:300]


def data_url(image: ImageRef, side: int) -> str:
    """An image as JPEG in a data URL, its longer side `side` pixels at most."""
    shown = image.open()
    shown.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def backoff(failed: int) -> float:
    """Seconds before the next request after so many that failed: 1, 2, 4 … 60, each less up to half of it by chance, so
    that many threads do not come back at once."""
    return min(60.0, 2.0 ** (failed - 1)) * random.uniform(0.5, 1)


def _address(config: Options) -> str:
    name = "option 'base_url'" if config.base_url else "OPENAI_BASE_URL"
    given = config.base_url or os.environ.get("OPENAI_BASE_URL", "") or OPENAI
    try:
        url = httpx2.URL(given.strip().rstrip("/"))
    except (httpx2.InvalidURL, ValueError) as error:
        raise FGVEditError(f"labeller 'openai': {name} is no address; expected one such as {OPENAI}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise FGVEditError(f"labeller 'openai': {name} is no address of http or https; expected one such as {OPENAI}")
    if url.userinfo or url.query or url.fragment:
        raise FGVEditError(
            f"labeller 'openai': {name} holds more than an address; expected one such as {OPENAI}, and the key in "
            f"{config.key_variable}"
        )
    return str(url)


def _key(config: Options, url: str) -> str:
    key = os.environ.get(config.key_variable, "").strip()
    if not key and url.startswith("https://api.openai.com"):
        raise FGVEditError(
            f"labeller 'openai': {url} wants a key, found none; expected one in the environment variable "
            f"{config.key_variable}"
        )
    if not all(" " < letter <= "~" for letter in key):  # the client's own error would show it
        raise FGVEditError(
            f"labeller 'openai': the environment variable {config.key_variable} holds characters that no key has; "
            "expected printable ASCII without spaces"
        )
    return key


def _most(config: Options, ask: Ask[Any], wrong: Sequence[tuple[str, str]]) -> Cost:
    """What one request costs at most, as a rule."""
    text = len(ask.prompt) + len(json.dumps(ask.schema)) + sum(len(said) + len(matter) for said, matter in wrong)
    tokens = math.ceil(text / CHARACTERS) + (_image_tokens(config) if ask.image is not None else 0)
    return cost(config, 1, tokens, config.answer_tokens)


def _image_tokens(config: Options) -> int:
    base, tile = next((count for name, count in IMAGE_TOKENS.items() if name in config.model), OTHER_IMAGE_TOKENS)
    return config.image_tokens or base + (0 if config.detail == "low" else TILES * tile)


def _json(response: httpx2.Response) -> dict[str, Any]:
    """The object in a response; an empty one where there is none."""
    try:
        found = json.loads(response.content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _first_choice(response: httpx2.Response) -> dict[str, Any] | None:
    choices = _json(response).get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None


def _message(response: httpx2.Response) -> str:
    """What a server says that is wrong: the `error` of its JSON, or its text."""
    error = _json(response).get("error")
    return json.dumps(error, ensure_ascii=False) if error else response.text
