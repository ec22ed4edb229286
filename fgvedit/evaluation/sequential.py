"""Which records a run edits in a row. Nothing here needs torch: anybody can say which records such a run holds."""

from __future__ import annotations

from collections.abc import Sequence

from fgvedit.util.errors import FGVEditError


def sequential_groups(image_ids: Sequence[str], edits: int) -> list[list[int]]:
    """The groups that a run with `edits` edits in a row makes of records with these image ids: places in `image_ids`.

    The first record of each image, in their order, `edits` at a time; what is left over at the end is left out. No
    image is edited twice: a second edit may rightly change what the probes of the first one ask.
    Raises `FGVEditError` for fewer than two edits, and where there is not one whole group.
    """
    if edits < 2:
        raise FGVEditError(f"--sequence is {edits}; expected 2 or more edits in a row, or no --sequence for one by one")
    first: dict[str, int] = {}
    for place, image_id in enumerate(image_ids):
        first.setdefault(image_id, place)
    if len(first) < edits:
        raise FGVEditError(
            f"--sequence is {edits}, but the {len(image_ids)} records show {len(first)} different images; expected an "
            f"image for each edit: --sequence {max(len(first), 2)} or less, or more records"
        )
    places = list(first.values())
    return [places[start : start + edits] for start in range(0, len(places) - edits + 1, edits)]


def evaluation_points(edits: int) -> list[tuple[int, int, int]]:
    """(place of a record in its group, edits in force, its age) whenever the probes of a group's records are asked, in
    order: each right after its own edit, then once more after all; the last one is asked once."""
    after_own = [(place, place + 1, 0) for place in range(edits)]
    return after_own + [(place, edits, edits - 1 - place) for place in range(edits - 1)]
