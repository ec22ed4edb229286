"""Features that are kept up to a bound, and runs that are the same under one."""

from __future__ import annotations

import json

import pytest
import torch
from dummy import InPrompt, write_dataset
from rows import image_ref

from fgvedit.backbones import open_backbone
from fgvedit.backbones.feature_cache import FeatureCache
from fgvedit.dataset import load_records
from fgvedit.evaluation.protocols import open_protocols
from fgvedit.evaluation.runs.runner import run

IMAGES = [image_ref(number) for number in range(4)]


class Encoder:
    """Ten floats, 40 bytes, an image; and which images it was given."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, images):
        self.calls.append([image.image_id for image in images])
        return torch.stack([torch.full((10,), float(image.image_id[-1])) for image in images])


def test_each_image_is_encoded_once():
    kept, encode = FeatureCache(), Encoder()
    found = kept.get([IMAGES[1], IMAGES[0], IMAGES[1]], encode)
    assert [float(row[0]) for row in found] == [1, 0, 1]
    assert [float(row[0]) for row in kept.get([IMAGES[2], IMAGES[1]], encode)] == [2, 1]
    assert encode.calls == [["image-1", "image-0"], ["image-2"]]
    assert kept.bytes == 120 and kept.get([], encode) == []
    kept.forget(IMAGES[1:])
    assert IMAGES[0] in kept and IMAGES[1] not in kept and kept.bytes == 40
    kept.clear()
    assert IMAGES[0] not in kept and kept.bytes == 0


def test_what_was_not_asked_for_longest_goes_first():
    kept, encode = FeatureCache(limit=100), Encoder()
    kept.get(IMAGES[:2], encode)
    kept.get(IMAGES[:1], encode)
    kept.get(IMAGES[2:3], encode)
    assert [image in kept for image in IMAGES] == [True, False, True, False] and kept.bytes == 80


def test_a_request_above_the_bound_is_answered():
    kept, encode = FeatureCache(limit=100), Encoder()
    assert [float(row[0]) for row in kept.get(IMAGES, encode)] == [0, 1, 2, 3]
    assert kept.bytes <= 100


def test_a_row_does_not_hold_its_batch():
    kept, encode = FeatureCache(), Encoder()
    assert [row.untyped_storage().nbytes() for row in kept.get(IMAGES, encode)] == [40] * 4


@pytest.mark.parametrize("limit", [0, 900])  # bytes; an image has 288, and a chunk two images
def test_a_run_is_the_same_under_a_bound(random_blip2, tmp_path, monkeypatch, limit):
    monkeypatch.setattr("fgvedit.evaluation.runs.plan.CHUNK", 2)
    data = load_records(str(write_dataset(tmp_path / "data", records=6)), "test")
    rows = []
    for bound in (1 << 30, limit):
        backbone = open_backbone(str(random_blip2))
        backbone.feature_cache.limit = bound
        out = tmp_path / str(bound)
        cost = run(InPrompt(backbone, InPrompt.Config()), data, open_protocols("paper,generation"), out)
        rows.append([json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()])
        assert backbone.feature_cache.bytes <= bound
        assert (cost["manifest"]["cost"]["encoded_images"] == 4) == (bound > 0)
    assert rows[0] == rows[1]
