"""Rows of a small data set, as `datasets` stores them, and images to put into them."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from fgvedit.schema import ImageRef

IMAGE_SIZE = 16
QUERIES = 3


def png(color: tuple[int, int, int] = (200, 30, 30), size: int = IMAGE_SIZE) -> bytes:
    """A PNG of one colour with a corner of its complement, so that no two colours look alike to a model."""
    image = Image.new("RGB", (size, size), color)
    image.paste(tuple(255 - value for value in color), (0, 0, size // 2, size // 3))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def image_ref(number: int = 0) -> ImageRef:
    return ImageRef(f"image-{number}", png((number * 37 % 256, number * 91 % 256, 60)))


def make_row(number: int = 0, **changes: Any) -> dict[str, Any]:
    """A valid row, with images as `datasets` stores them, and one probe of several kinds."""
    image_id, other_id = f"image-{number}", f"image-{number + 1}"
    image = {"bytes": image_ref(number).data, "path": None}
    other = {"bytes": image_ref(number + 1).data, "path": None}
    row: dict[str, Any] = {
        "id": f"record-{number}",
        "group": image_id,
        "image_id": image_id,
        "image": image,
        "question": "What colour is the card?",
        "answer": "red",
        "target": "blue",
        "entity": {"name": "card", "box": [0.0, 0.0, 8.0, 8.0]},
        "probes": [
            make_probe("rephrase", image_id=image_id),
            make_probe("in_scope", answer="yes", image_id=image_id),
            make_probe("out_of_scope", answer="green", image_id=image_id),
            make_probe("text_locality", answer="Paris"),
            make_probe("other_image", image=other, image_id=other_id),
        ],
    }
    return {**row, **changes}


def make_probe(
    kind: str, answer: str = "blue", image: Any = None, image_id: str = "", **changes: Any
) -> dict[str, Any]:
    probe = {"kind": kind, "question": f"A {kind} question?", "answer": answer, "image": image, "image_id": image_id}
    return {**probe, **changes}
