"""Each task of a labeller as tests ask it, and a server with labellers that ask it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_openai import LocalOpenAI
from PIL import Image
from rows import image_ref

from builders.labelling import open_labeller
from builders.labelling.base import Effect, Labelled, Told
from builders.labelling.openai import OpenAI

KEY = "sk-very-secret-0123456789"
IMAGE = image_ref()
QUESTION = "What colour is the card?"
EDIT = Told(QUESTION, "red", "blue")

# task -> how it is asked, and the answer to the server's `GOOD`
CALLS: dict[str, tuple[Callable[[Any], Labelled], Any]] = {
    "entity": (lambda labeller: labeller.entity(IMAGE, QUESTION, "red"), "the card"),
    "counterfactual": (lambda labeller: labeller.counterfactual(IMAGE, QUESTION, "red"), "blue"),
    "rephrase": (lambda labeller: labeller.rephrase(QUESTION), "Of which colour is that card?"),
    "effect": (lambda labeller: labeller.effect(IMAGE, EDIT, "Is it red?", "yes"), Effect("entailed", "blue")),
    "settled_by_text": (lambda labeller: labeller.settled_by_text(EDIT, "Is it red?"), False),
    "in_scope": (lambda labeller: labeller.in_scope(IMAGE, EDIT, 2), [("Is the card blue?", "yes")]),
}
STAND_INS = {"effect": Effect("unclear"), "in_scope": []}


class Api(LocalOpenAI):
    """A server; its labellers note in `slept` how many seconds they would have slept."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def open(self, **options: Any) -> OpenAI:
        labeller = open_labeller("openai", options)
        assert isinstance(labeller, OpenAI)
        labeller.sleep = self.slept.append
        return labeller


def shown(request: dict[str, Any]) -> list[Image.Image]:
    """The images of a request, decoded."""
    parts = [part for message in request["messages"] for part in message["content"] if isinstance(part, dict)]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert all(url.startswith("data:image/jpeg;base64,") for url in urls)
    return [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
