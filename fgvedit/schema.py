"""What a record of fine-grained visual knowledge editing is: an image, an edit of one entity in it, and probes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError

from fgvedit.probes import EDIT, probe_kinds
from fgvedit.util.errors import FGVEditError, unknown

if TYPE_CHECKING:
    import datasets


OPTIONAL = ("group",)  # columns that data may lack
NO_ANSWER = "unanswerable"  # the recorded answer to a question about an image that is not shown


@dataclass(frozen=True, eq=False)
class ImageRef:
    """An encoded image that is decoded when it is opened.

    `key` is the SHA-256 of the encoded bytes: equal images share every cache, whatever they are called.
    """

    image_id: str
    data: bytes = field(repr=False)

    @cached_property
    def key(self) -> str:
        """64 hex digits, equal for equal images."""
        return hashlib.sha256(self.data).hexdigest()

    def open(self) -> Image.Image:
        """The image as RGB. Raises `FGVEditError`, naming the image, where the bytes are not a whole image."""
        try:
            return Image.open(io.BytesIO(self.data)).convert("RGB")
        except Exception as error:  # Pillow raises a dozen types on bad bytes
            why = "of no known format" if isinstance(error, UnidentifiedImageError) else str(error)
            raise FGVEditError(
                f"image '{self.image_id}': expected a readable PNG, JPEG or WebP image, found {len(self.data)} bytes "
                f"that do not decode ({why})"
            ) from error


@dataclass(frozen=True)
class Edit:
    """What an editor is told: to `question` about `image`, answer `target` from now on."""

    image: ImageRef
    question: str
    target: str

    @property
    def fact(self) -> str:
        """[t_e; y_e]: the edit's text, as prompts tell it and scope classifiers read it."""
        return f"{self.question} {self.target}"

    @property
    def key(self) -> str:
        """Equal for equal edits."""
        return f"{self.image.key} {self.fact}"


@dataclass(frozen=True)
class Probe:
    """A question asked before and after the edit.

    `image` is None for a text-only probe; a probe on the edit's own image carries that same `ImageRef`.
    `answer` is right after the edit for the kinds that the edit changes (see `fgvedit.probes`); for the others it is
    the answer that an unedited, faultless model gives, and what is scored is whether the model's own answer stayed.
    """

    kind: str
    question: str
    answer: str
    image: ImageRef | None


@dataclass(frozen=True)
class Record:
    """One edit with its probes. `group`: of records that were drawn together, and so are not independent (a quad of
    scenes, a photo). `box` is (x, y, width, height) in pixels, empty where it is not known."""

    id: str
    group: str
    image: ImageRef
    question: str
    answer: str
    target: str
    entity: str
    box: tuple[float, ...]
    probes: tuple[Probe, ...]

    @property
    def edit(self) -> Edit:
        """What an editor is told of it."""
        return Edit(self.image, self.question, self.target)

    @property
    def asked(self) -> list[Probe]:
        """All that is asked about it: the edit itself, then its probes."""
        return [Probe(EDIT, self.question, self.target, self.image), *self.probes]

    def probes_of(self, kind: str) -> list[Probe]:
        """Its probes of one kind, in their order."""
        return [probe for probe in self.probes if probe.kind == kind]


def features() -> datasets.Features:
    """The columns of every configuration, as `datasets.Features`. Older data lack `group`: see `OPTIONAL`."""
    import datasets

    text = datasets.Value("string")
    return datasets.Features(
        {
            "id": text,
            "group": text,
            "image_id": text,
            "image": datasets.Image(),
            "question": text,
            "answer": text,
            "target": text,
            "entity": {"name": text, "box": datasets.List(datasets.Value("float32"))},
            "probes": datasets.List(
                {
                    "kind": text,
                    "question": text,
                    "answer": text,
                    "image": datasets.Image(),
                    "image_id": text,
                }
            ),
        }
    )


def record_from_row(row: Mapping[str, Any], index: int = 0) -> Record:
    """A row of a data set, with its images undecoded (`{"bytes": …, "path": …}`), as a `Record`.

    Raises `FGVEditError`, naming the record and the field, for a missing or empty field, an unknown probe kind,
    a target that is the answer, or an image that is not there. A row without a `group` is one of its image's.
    """
    name = f"record '{row['id']}'" if row.get("id") else f"record number {index}"
    for column in ("id", "image_id", "image", "question", "answer", "target", "entity", "probes"):
        if row.get(column) in (None, ""):
            raise FGVEditError(f"{name}: field '{column}' is missing or empty; expected every field of fgvedit.schema")
    if row["target"] == row["answer"]:
        raise FGVEditError(f"{name}: field 'target' is '{row['target']}', the same as 'answer'; expected another one")

    image = _image(row["image"], row["image_id"], f"{name}: field 'image'")
    probes = [
        _probe(probe, row["image_id"], image, f"{name}: probe {number}") for number, probe in enumerate(row["probes"])
    ]
    entity = row["entity"]
    return Record(
        id=row["id"],
        group=row.get("group") or row["image_id"],
        image=image,
        question=row["question"],
        answer=row["answer"],
        target=row["target"],
        entity=entity.get("name") or "",
        box=tuple(entity.get("box") or ()),
        probes=tuple(probes),
    )


def _probe(probe: Mapping[str, Any], own_id: str, own_image: ImageRef, where: str) -> Probe:
    """A probe of a row whose own image is `own_image`, called `own_id`."""
    if probe.get("kind") not in probe_kinds():
        raise FGVEditError(f"{where}: {unknown('probe kind', str(probe.get('kind')), probe_kinds())}")
    for column in ("question", "answer"):
        if not probe.get(column):
            raise FGVEditError(f"{where} ({probe['kind']}): field '{column}' is missing or empty")
    image_id = probe.get("image_id")
    shown = None
    if probe.get("image") is not None:
        shown = _image(probe["image"], image_id or "", f"{where}: field 'image'")
    elif image_id == own_id:
        shown = own_image
    elif image_id:
        raise FGVEditError(
            f"{where} ({probe['kind']}): field 'image' is empty and its image_id '{image_id}' is not the record's own "
            f"'{own_id}'; expected the image, or an empty image_id for none"
        )
    return Probe(probe["kind"], probe["question"], probe["answer"], shown)


def _image(value: Any, image_id: str, where: str) -> ImageRef:
    data = value.get("bytes") if isinstance(value, Mapping) else None
    if data is None and isinstance(value, Mapping) and value.get("path"):
        try:
            with open(value["path"], "rb") as file:
                data = file.read()
        except OSError as error:
            raise FGVEditError(f"{where}: cannot read '{value['path']}' ({error.strerror})") from error
    if not data:
        raise FGVEditError(f"{where} ('{image_id}') holds no bytes; expected an encoded image or a path to one")
    return ImageRef(image_id, data)
