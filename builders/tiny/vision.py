"""Stages 2 and 3: the vision tower with a label under every patch, then the Q-Former with a cell for every query."""

from __future__ import annotations

import io
import itertools
import math
import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers import Blip2ForConditionalGeneration

from builders.scenes.pictures import seen
from builders.scenes.scene import COLORS, COUNTS, GRID, KINDS, Scene, render
from builders.tiny.descent import descent
from builders.tiny.language import CELLS, CellEmbedding, cell_labels
from builders.tiny.log import Log
from builders.tiny.prompts import training_scenes

BATCH = 96
_SIZES = (len(KINDS) + 1, len(COLORS) + 1, len(COUNTS) + 1, CELLS)
_POOL = 12_000  # scenes that are rendered once and shown again and again


class Labels(nn.Module):
    """Reads kind, colour, count and cell off a feature: (…, width) -> (…, 25 + 9 + 5 + 9).

    Without the cell the vision tower would forget where a patch is, and no query could ask for a place.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(width, sum(_SIZES))

    def loss_and_accuracy(self, features: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Summed cross-entropy of the labels (…, 4), and their accuracies, (4,), where there is a card."""
        parts = self.read(features).float().split(_SIZES, dim=-1)
        loss = sum(
            nn.functional.cross_entropy(part.flatten(0, -2), labels[..., n].flatten()) for n, part in enumerate(parts)
        )
        card = labels[..., 0] > 0
        right = [(part.argmax(-1) == labels[..., n])[card].float().mean() for n, part in enumerate(parts)]
        return torch.as_tensor(loss), torch.stack(right).detach()


def accuracies(values: torch.Tensor) -> dict[str, torch.Tensor]:
    """Accuracies (4,), as `Labels.loss_and_accuracy` has them, by name."""
    return dict(zip(("kind", "color", "count", "cell"), values, strict=True))


class Pool:
    """Pictures of scenes, as the model reads their pixels, half as they are drawn and half seen another way; and their
    labels."""

    def __init__(self, seed: int, size: int = _POOL, stream: str = "tiny") -> None:
        rng = random.Random(f"pool/{stream}/{seed}")
        self.scenes: Sequence[Scene] = list(itertools.islice(training_scenes(seed + 1, stream), size))
        self.pixels = torch.from_numpy(
            np.stack([_pixels(rng, scene, number % 2 == 1) for number, scene in enumerate(self.scenes)])
        )
        cells = torch.arange(CELLS).expand(size, -1)
        self.labels = torch.cat([cell_labels(self.scenes), cells[..., None]], dim=-1)

    def images(self, indices: torch.Tensor) -> torch.Tensor:
        """(n, 3, height, width) in [-1, 1], as the processor makes them."""
        return self.pixels[indices].permute(0, 3, 1, 2).float() / 127.5 - 1

    def batches(self, size: int, steps: int, seed: int) -> Iterator[tuple[int, torch.Tensor]]:
        """Each step, from 1, and the indices of a random batch; each scene once an epoch."""
        generator = torch.Generator().manual_seed(seed)
        epochs = (torch.randperm(len(self.scenes), generator=generator).split(size) for _ in itertools.count())
        return enumerate(itertools.islice(itertools.chain.from_iterable(epochs), steps), start=1)


def _pixels(rng: random.Random, scene: Scene, another_way: bool) -> np.ndarray:
    """(height, width, 3), 0 to 255."""
    image = Image.open(io.BytesIO(seen(rng, "", scene).data)) if another_way else render(scene)
    return np.asarray(image.convert("RGB"))


def patch_labels(labels: torch.Tensor, side: int) -> torch.Tensor:
    """Labels of cells (n, 9, k) as labels of side x side patches (n, side * side, k)."""
    each = side // GRID
    grid = labels.unflatten(1, (GRID, GRID))
    return grid.repeat_interleave(each, 1).repeat_interleave(each, 2).flatten(1, 2)


def train_vision(model: Blip2ForConditionalGeneration, pool: Pool, steps: int, seed: int, log: Log) -> None:
    """Train `model.vision_model` to know, at every patch, the card that it belongs to."""
    torch.manual_seed(seed)
    heads = Labels(model.config.vision_config.hidden_size)
    descend = descent(steps, 1.5e-3, model.vision_model, heads)
    side = math.isqrt(model.vision_model.embeddings.num_patches)
    for step, indices in pool.batches(BATCH, steps, seed):
        labels = patch_labels(pool.labels[indices], side)
        with torch.autocast("cpu", torch.bfloat16):
            patches = model.vision_model(pixel_values=pool.images(indices)).last_hidden_state[:, 1:]
            loss, accuracy = heads.loss_and_accuracy(patches, labels)
        descend(loss)
        log.step("vision", step, steps, loss=loss, **accuracies(accuracy))


def train_queries(
    model: Blip2ForConditionalGeneration, cells: CellEmbedding, pool: Pool, steps: int, seed: int, log: Log
) -> None:
    """Train the Q-Former and the projection, on features encoded once, so that query i gives the embedding of cell i.

    `cells` is what the language model already reads; it stays as it is.
    """
    torch.manual_seed(seed)
    heads = Labels(model.config.qformer_config.hidden_size)
    descend = descent(steps, 1.5e-3, model.query_tokens, model.qformer, model.language_projection, heads)
    features = pool_features(model, pool)
    with torch.no_grad():
        targets = cells(pool.labels)
        variance = targets.var()
    for step, indices in pool.batches(256, steps, seed):
        with torch.autocast("cpu", torch.bfloat16):
            queries = read_queries(model, features[indices])
            loss, accuracy = heads.loss_and_accuracy(queries, pool.labels[indices])
            image_tokens = model.language_projection(queries).float()
        distance = nn.functional.mse_loss(image_tokens, targets[indices]) / variance
        descend(loss + distance)
        log.step("queries", step, steps, loss=loss, distance=distance, **accuracies(accuracy))


@torch.no_grad()
def pool_features(model: Blip2ForConditionalGeneration, pool: Pool) -> torch.Tensor:
    """(scenes, patches, width): the vision tower over every scene of the pool."""
    everything = torch.arange(len(pool.scenes)).split(256)
    return torch.cat([model.vision_model(pixel_values=pool.images(part)).last_hidden_state for part in everything])


def read_queries(model: Blip2ForConditionalGeneration, vision_features: torch.Tensor) -> torch.Tensor:
    """(n, patches, width) of the vision tower -> (n, 9, width) of the Q-Former."""
    queries = model.query_tokens.expand(len(vision_features), -1, -1)
    return model.qformer(query_embeds=queries, encoder_hidden_states=vision_features).last_hidden_state
