"""How well `tiny-clip` sees: what its texts find and point at, and what can be read off its patches."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import nn

from builders.scenes.language import NAMES, all_names, caption, question_of
from builders.scenes.scene import ATTRIBUTES, IMAGE_SIZE, Scene, encode, render, scene_stream
from builders.tiny.clip import PATCHES
from builders.tiny.language import cell_labels
from builders.tiny.point import cells_attended
from builders.tiny.prompts import training_scenes
from builders.tiny.vision import patch_labels
from fgvedit.editors.memory.clip import Clip
from fgvedit.schema import ImageRef

_AMONG = 100  # images, of which a description is to find its own
_SCENES = 500  # of the test split's stream
_FITTED = 1000  # scenes from which it is learnt how patches are read


@torch.no_grad()
def sight(name: str) -> dict[str, list[bool]]:
    """What a CLIP gets right on scenes of the test split's stream, by group.

    `described`: descriptions of one or two cards whose own image is the nearest among a hundred. `point/…`: questions
    that name a card in this way, in any phrasing, half with an answer behind them, whose attention (MSCKE's fusion
    `dot`) is most on that card's cell. `patch/…`: patches of cards from which a linear map, fitted by least squares on
    other scenes, tells this attribute.
    """
    clip = Clip(name).eval()
    scenes = list(itertools.islice(scene_stream("test", 0), _SCENES))
    pooled, patches = _seen(clip, scenes)
    found = {"described": _described(clip, scenes, pooled)}
    found |= {f"point/{sort}": marks for sort, marks in _pointed(clip, scenes, patches).items()}
    others = list(itertools.islice(training_scenes(2), _FITTED))
    read = _read(_seen(clip, others)[1], _labels(others), patches, _labels(scenes))
    return found | {f"patch/{attribute}": marks for attribute, marks in read.items()}


def _seen(clip: Clip, scenes: Sequence[Scene]) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of scenes as they are drawn: pooled (n, d) and patches (n, 36, d)."""
    images = [ImageRef(f"scene {number}", encode(render(scene))) for number, scene in enumerate(scenes)]
    parts = [clip.see(clip.pixels(images[start : start + _AMONG])) for start in range(0, len(images), _AMONG)]
    return torch.cat([pooled for pooled, _ in parts]), torch.cat([patches for _, patches in parts])


def _described(clip: Clip, scenes: Sequence[Scene], pooled: torch.Tensor) -> list[bool]:
    rng = random.Random(0)
    said = nn.functional.normalize(clip.read([caption(rng, scene, most=2) for scene in scenes]), dim=-1)
    right = []
    for texts, images in zip(said.split(_AMONG), nn.functional.normalize(pooled, dim=-1).split(_AMONG), strict=True):
        right += ((texts @ images.T).argmax(dim=1) == torch.arange(len(texts))).tolist()
    return right


def _pointed(clip: Clip, scenes: Sequence[Scene], patches: torch.Tensor) -> dict[str, list[bool]]:
    rng = random.Random(0)
    found: dict[str, list[bool]] = defaultdict(list)
    for scene, of_scene in zip(scenes, patches, strict=True):
        asked = []
        for index, entity in enumerate(scene.entities):
            for sort, names in all_names(scene, entity).items():
                attribute = rng.choice([one for one in ATTRIBUTES if sort in NAMES[one]])
                question = question_of(rng, scene, index, attribute, "open", sort, rng.choice(names), "test")
                answer = rng.choice(("", f" {rng.choice(ATTRIBUTES[attribute])}"))
                asked.append((sort, entity.cell, question.text + answer))
        cells = cells_attended(clip.read([text for *_, text in asked]), of_scene.expand(len(asked), -1, -1))
        for (sort, cell, _), attended in zip(asked, cells.argmax(dim=-1).tolist(), strict=True):
            found[sort].append(attended == cell)
    return found


def _labels(scenes: Sequence[Scene]) -> torch.Tensor:
    return patch_labels(cell_labels(scenes), IMAGE_SIZE // PATCHES)


def _read(
    fitted: torch.Tensor, labels: torch.Tensor, features: torch.Tensor, expected: torch.Tensor
) -> dict[str, list[bool]]:
    """By attribute, of the patches of cards; features (n, 36, d), labels (n, 36, 3)."""
    fitted, labels = fitted[labels[..., 0] > 0], labels[labels[..., 0] > 0]
    features, expected = features[expected[..., 0] > 0], expected[expected[..., 0] > 0]
    found = {}
    for number, attribute in enumerate(("kind", "color", "count")):
        targets = nn.functional.one_hot(labels[:, number]).float()
        read = torch.linalg.lstsq(_with_one(fitted), targets).solution
        found[attribute] = ((_with_one(features) @ read).argmax(dim=-1) == expected[:, number]).tolist()
    return found


def _with_one(features: torch.Tensor) -> torch.Tensor:
    return torch.cat([features, torch.ones(len(features), 1)], dim=-1)
