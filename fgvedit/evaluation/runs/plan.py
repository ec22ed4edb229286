"""What a run does, before it does it: its chunks, when each record is probed, which images are encoded together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fgvedit.backbones.base import Backbone
from fgvedit.evaluation.sequential import EvaluationPoint, evaluation_points
from fgvedit.schema import ImageRef, Record
from fgvedit.util.errors import FGVEditError

CHUNK = 8  # records: what a stop can cost (in sequential editing a sequence), and whose images are encoded in one batch


class Plan:
    """The records in chunks, when each is probed, and which images are encoded together.

    A chunk is `CHUNK` records, or the `sequence` records whose edits are made one on top of the other.

    An image belongs to the batch of `CHUNK` records in which it comes first, and that batch's images are encoded at
    once, whichever record needs one of them: features, to the last bit, must not depend on where a run was stopped or
    how it is shared.
    """

    def __init__(self, records: Sequence[Record], sequence: int | None = None) -> None:
        self.records = records
        self.sequence = sequence
        self.size = sequence or CHUNK
        self.probes: dict[str, int] = {}  # record id -> how many probes it has
        self.kinds: set[str] = set()  # of probes, that the records have
        self.batches: dict[str, int] = {}  # image key -> batch
        for index in range(len(records)):
            record = records[index]
            if record.id in self.probes:
                raise FGVEditError(f"record '{record.id}' is there twice; expected every record to have its own id")
            self.probes[record.id] = len(record.probes)
            self.kinds.update(probe.kind for probe in record.probes)
            for image in images_of(record):
                self.batches.setdefault(image.key, index // CHUNK)
        if not self.probes:
            raise FGVEditError("there is no record to run on; expected at least one")

    def __len__(self) -> int:
        return -(-len(self.records) // self.size)

    def indices(self, chunk: int) -> range:
        """Of a chunk's records."""
        return range(chunk * self.size, min((chunk + 1) * self.size, len(self.records)))

    def chunk(self, chunk: int) -> list[Record]:
        """A chunk's records."""
        return [self.records[index] for index in self.indices(chunk)]

    def evaluation_points(self, chunk: int) -> list[EvaluationPoint]:
        """When the records of a chunk are probed, in order; an index counts within the chunk."""
        size = len(self.indices(chunk))
        if self.sequence is None:
            return [EvaluationPoint(index, 1, 0) for index in range(size)]
        return evaluation_points(size)

    def encode(self, records: Sequence[Record], backbone: Backbone) -> None:
        """Have the backbone encode every image of these records that it does not have, with the others of its batch."""
        needed = [image for record in records for image in images_of(record)]
        for batch in sorted({self.batches[image.key] for image in needed if image not in backbone.feature_cache}):
            indices = range(batch * CHUNK, min((batch + 1) * CHUNK, len(self.records)))
            images = [image for index in indices for image in images_of(self.records[index])]
            images = [image for image in images if self.batches[image.key] == batch]
            backbone.feature_cache.forget(images)  # some may be left: a part of the batch would be rounded otherwise
            backbone.features(images)

    def keys(self, chunk: int, protocols: Sequence[str]) -> list[tuple[str, str, int, int]]:
        """(record_id, protocol, edits, probe) of every row of a chunk, in their order."""
        first = self.indices(chunk)[0]
        ids = list(self.probes)
        return [
            (id, protocol, edits, probe)
            for id, edits in ((ids[first + index], edits) for index, edits, _ in self.evaluation_points(chunk))
            for protocol in protocols
            for probe in range(-1, self.probes[id])
        ]


def images_of(record: Record) -> Iterator[ImageRef]:
    """A record's own image, then those of its probes."""
    yield record.image
    for probe in record.probes:
        if probe.image is not None:
            yield probe.image
