"""Cached answers: a labeller's, on disk by what was asked, so that nothing is asked twice, nor paid for twice."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from builders.labelling.base import Effect, Labelled, Labeller, Relation, Stopping, Told, Unanswered, Value
from fgvedit.schema import ImageRef
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import read_json, write_json


@dataclass
class Stats:
    """`asked`: questions that the labeller was asked; `damaged`: those of them whose file was there but no use."""

    asked: int = 0
    from_cache: int = 0
    damaged: int = 0


class Cached(Labeller):
    """A `Labeller` that asks another one what it has not answered before.

    An answer is a file of JSON in `folder`, called after the hash of the labeller's name and version, the task and its
    inputs, images by their keys. It is whole or absent; several processes and threads may share the folder. What is no
    answer (`Refused`, `Unanswered`) is not kept.
    """

    def __init__(self, labeller: Labeller, folder: Path) -> None:
        self.labeller = labeller
        self.folder = folder
        self.name = labeller.name
        self.concurrency = labeller.concurrency
        self.stats = Stats()
        # Where set, nothing more is asked: who asks gets `Stopping`. It is the labeller's own, if that has one.
        self.stopping: threading.Event = getattr(labeller, "stopping", None) or threading.Event()
        self._lock = threading.Lock()  # of `stats` and `_asking`
        self._asking: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()

    def entity(self, image: ImageRef, question: str, answer: str) -> Labelled[str]:
        return self._kept("entity", text, image, question, answer)

    def counterfactual(self, image: ImageRef, question: str, answer: str) -> Labelled[str]:
        return self._kept("counterfactual", text, image, question, answer)

    def rephrase(self, question: str) -> Labelled[str]:
        return self._kept("rephrase", text, question)

    def effect(self, image: ImageRef, edit: Told, question: str, answer: str) -> Labelled[Effect]:
        return self._kept("effect", as_effect, image, edit, question, answer)

    def settled_by_text(self, edit: Told, question: str) -> Labelled[bool]:
        return self._kept("settled_by_text", as_bool, edit, question)

    def in_scope(self, image: ImageRef, edit: Told, count: int) -> Labelled[list[tuple[str, str]]]:
        return self._kept("in_scope", pairs, image, edit, count)

    def _kept(self, task: str, value: Callable[[Any], Value], *inputs: Any) -> Labelled[Value]:
        version = str(getattr(self.labeller, "version", ""))
        asked = {"labeller": self.name, "version": version, "task": task, "inputs": [_plain(one) for one in inputs]}
        key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        path = self.folder / key[:2] / f"{key}.json"
        with self._one_at_a_time(key):
            if path.exists():
                try:
                    answer = _read(path, asked, value)
                except FGVEditError as error:
                    self._damaged(error)
                else:
                    self._count("from_cache")
                    return answer
            if self.stopping.is_set():
                raise Stopping
            self._count("asked")
            answer = getattr(self.labeller, task)(*inputs)
            if not isinstance(answer, Unanswered):
                _write(path, {"asked": asked, "value": _plain(answer.value), "reason": answer.reason})
            return answer

    def _one_at_a_time(self, key: str) -> Any:
        """A lock for those threads of this process that ask the same."""
        with self._lock:
            return self._asking.setdefault(key, threading.Lock())

    def _count(self, what: str) -> None:
        with self._lock:
            setattr(self.stats, what, getattr(self.stats, what) + 1)

    def _damaged(self, error: FGVEditError) -> None:
        self._count("damaged")
        if self.stats.damaged == 1:
            print(f"kept answers: {error}; it is asked for again, as are others like it", file=sys.stderr)


def _plain(value: Any) -> Any:
    """An input or an answer as JSON has it."""
    if isinstance(value, ImageRef):
        return value.key
    if isinstance(value, (Told, Effect)):
        return asdict(value)
    return [list(pair) for pair in value] if isinstance(value, list) else value


def _write(path: Path, entry: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f"{path.stem}.{os.getpid()}")  # another process may be writing the same answer
    write_json(own, entry)
    os.replace(own, path)


def _read(path: Path, asked: dict[str, Any], value: Callable[[Any], Value]) -> Labelled[Value]:
    """Raises `FGVEditError`, naming the file, where it does not hold an answer to what is asked."""
    entry = read_json(path)
    try:
        if entry["asked"] != asked:
            raise ValueError("it answers another question")
        return Labelled(value(entry["value"]), text(entry["reason"]))
    except (ValueError, TypeError, KeyError) as error:
        raise FGVEditError(f"'{path}' is damaged: expected an answer that was kept, found {error!r}") from error


# An answer from JSON; ValueError or TypeError where it is none


def text(value: Any) -> str:
    """The value itself. Raises `TypeError` where it is not text."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def as_bool(value: Any) -> bool:
    """The value itself. Raises `TypeError` where it is neither true nor false."""
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def as_effect(value: Any) -> Effect:
    """An `Effect` of its fields. Raises `ValueError` or `TypeError` for other fields, and a relation that is none."""
    effect = Effect(**value)
    if effect.relation not in get_args(Relation):
        raise ValueError(f"{effect.relation!r} is no relation")
    return Effect(effect.relation, text(effect.answer))


def pairs(value: Any) -> list[tuple[str, str]]:
    """Questions with their answers. Raises `ValueError` or `TypeError` for what is no list of two texts each."""
    return [(text(question), text(answer)) for question, answer in value]
