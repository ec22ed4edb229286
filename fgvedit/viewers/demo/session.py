"""Whoever visits: the edits stored, the question asked last, and what the model answers; nothing here knows the page.

A `Session` is one visitor's, and visitors share a `SharedModel`: the edits of a session are in force only while one of
its questions is answered, behind a lock.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageOps

from fgvedit.backbones.answering import Query
from fgvedit.editors.contract import AttentionMaps, Editor, Route
from fgvedit.evaluation.runs.probing import set_seed
from fgvedit.schema import Edit, ImageRef
from fgvedit.util.errors import FGVEditError

MAX_EDITS = 50
MAX_CHARACTERS = 300  # of a question or an answer
MAX_BYTES = 20 << 20  # of an uploaded file
MAX_PIXELS = 50_000_000  # of an uploaded image
LONGEST = 1600  # pixels: an uploaded image is made no larger than this on its longer side
FORMATS = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True, eq=False)
class Answer:
    """What the model says to `query` without any edit (`before`) and under `edits` (`after`), and why.

    `attention`: where in the images the editor's router attended (see `EditedModel.attention_maps`).
    """

    query: Query
    edits: tuple[Edit, ...]
    before: str
    after: str
    route: Route
    attention: AttentionMaps | None = None


class SharedModel:
    """An editor on its backbone, which answers one question at a time. What is drawn at random depends on `seed`."""

    def __init__(self, editor: Editor, seed: int = 0) -> None:
        self.editor = editor
        self.seed = seed
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedModel:
        return self  # a copy of a session has edits of its own, but there is one model

    def answer(self, edits: Sequence[Edit], query: Query) -> Answer:
        """What is said to a query without any edit and under `edits`.

        Raises `FGVEditError` where the backbone or the editor does, as for a prompt that is too long.
        """
        stored = tuple(edits)
        with self._lock:
            self.editor.backbone.cached_answerer.forget()  # or it would grow with every question
            (before,) = self.editor.backbone.cached_answerer.generate([query])
            if not stored:
                return Answer(query, stored, before, before, Route("base"))
            set_seed(self.seed, "demo")
            with self.editor.edit(stored) as edited:
                (after,) = edited.generate([query])
                (route,) = edited.explain([query])
                maps = edited.attention_maps([query])
        return Answer(query, stored, before, after, route, maps[0] if maps else None)


class Session:
    """One visitor's edits, in the order in which they were stored, all in force together."""

    def __init__(self, model: SharedModel) -> None:
        self.model = model
        self.edits: list[Edit] = []
        self.asked: Query | None = None

    def ask(self, question: str, image: ImageRef | None) -> Answer:
        """Ask about an image, or without one, under the edits stored so far.

        Raises `FGVEditError` for a question that is empty or too long, here or for the model.
        """
        query = Query(one_text("question", question), image)
        answer = self.model.answer(self.edits, query)
        self.asked = query
        return answer

    def edit(self, question: str, target: str, image: ImageRef) -> Answer:
        """Store an edit and ask again: what was asked last, or the edit's own question where nothing was.

        Raises `FGVEditError` for texts as `ask` does, for too many edits, and for an edit that the editor cannot make;
        nothing is then stored.
        """
        if len(self.edits) >= MAX_EDITS:
            raise FGVEditError(f"found {MAX_EDITS} stored edits, expected at most as many; undo one first")
        new = Edit(image, one_text("question", question), one_text("answer", target))
        query = self.asked or Query(new.question, image)
        answer = self.model.answer([*self.edits, new], query)
        self.edits.append(new)
        self.asked = query
        return answer

    def undo(self) -> Answer | None:
        """Take back the last edit and ask again; None where nothing was asked."""
        del self.edits[-1:]
        return self._again()

    def undo_all(self) -> Answer | None:
        """Take back all edits and ask again; None where nothing was asked."""
        self.edits.clear()
        return self._again()

    def _again(self) -> Answer | None:
        return self.model.answer(self.edits, self.asked) if self.asked else None


def one_text(what: str, text: str) -> str:
    """A text that was typed, on one line. Raises `FGVEditError` for one that is empty or too long."""
    line = " ".join(text.split())
    if not line:
        raise FGVEditError(f"the {what} is empty; expected some words")
    if len(line) > MAX_CHARACTERS:
        raise FGVEditError(f"the {what} has {len(line)} characters; expected at most {MAX_CHARACTERS}")
    return line


def uploaded(data: bytes, name: str) -> ImageRef:
    """The image in a file of a visitor's, turned as its camera says, as an RGB image without anything else that the
    file holds. Raises `FGVEditError`, naming the file, for one that is too large or no image."""
    if len(data) > MAX_BYTES:
        raise FGVEditError(f"'{name}' has {len(data):,} bytes; expected at most {MAX_BYTES:,}")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)  # reads the header alone
        pixels = image.width * image.height
        if pixels <= MAX_PIXELS:
            decoded = ImageOps.exif_transpose(image).convert("RGB")
    except Exception as error:  # Pillow raises a dozen types on bad bytes
        raise FGVEditError(f"'{name}' is no image that can be read; expected a whole PNG, JPEG or WebP file") from error
    if pixels > MAX_PIXELS:
        raise FGVEditError(f"'{name}' has {pixels:,} pixels; expected at most {MAX_PIXELS:,}")
    decoded.thumbnail((LONGEST, LONGEST))
    buffer = io.BytesIO()
    decoded.save(buffer, "PNG")
    return ImageRef(f"upload-{hashlib.sha256(data).hexdigest()[:8]}", buffer.getvalue())
