"""The stage after `tiny-clip`'s first: what a phrase names is taught, as the part of the picture that it attends to."""

from __future__ import annotations

import random
from collections.abc import Sequence

import open_clip
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from builders.scenes.language import Question
from builders.scenes.scene import ATTRIBUTES, GRID, IMAGE_SIZE, KINDS, Scene
from builders.tiny.clip import PATCHES, WIDTH, contrast, described, token_ids, train_question
from builders.tiny.descent import descent
from builders.tiny.log import Log
from builders.tiny.vision import Labels, Pool, patch_labels
from fgvedit.editors.memory.clip import patch_features
from fgvedit.editors.mscke.fusion import attention

BATCH = 48  # images
_PHRASES = 5  # of each image
_LEFT_OUT = 0.25  # of the words around a name
_SHARP = 8.0  # how much a cosine counts
_DIRECTIONS = ((-1, 0), (1, 0), (0, -1), (0, 1))


class Beside(nn.Module):
    """Reads the kinds of the cards above, below, left and right of a patch's card off its feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(width, len(_DIRECTIONS) * (len(KINDS) + 1))

    def loss(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Summed cross-entropy of the labels (…, 4), indices from 1, 0 where there is no card."""
        read = self.read(features).float().unflatten(-1, (len(_DIRECTIONS), -1))
        return len(_DIRECTIONS) * nn.functional.cross_entropy(read.flatten(0, -2), labels.flatten())


class Asked(nn.Module):
    """Reads the attribute that is asked about off the direction of a text's feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(len(ATTRIBUTES), width))

    def loss(self, texts: torch.Tensor, attributes: Sequence[str]) -> torch.Tensor:
        """Cross-entropy of the attributes of texts (n, d), by their cosines with a direction for each."""
        names = tuple(ATTRIBUTES)
        cosines = nn.functional.normalize(texts.float(), dim=-1) @ nn.functional.normalize(self.directions, dim=-1).T
        return nn.functional.cross_entropy(_SHARP * cosines, torch.tensor([names.index(one) for one in attributes]))


def beside(kinds: torch.Tensor) -> torch.Tensor:
    """Kinds of cells (n, 9), 0 for none -> those of the four cells beside each, (n, 9, 4)."""
    around = nn.functional.pad(kinds.unflatten(1, (GRID, GRID)), (1, 1, 1, 1))
    each = [around[:, 1 + y : 1 + y + GRID, 1 + x : 1 + x + GRID] for y, x in _DIRECTIONS]
    return torch.stack([one.flatten(1) for one in each], dim=-1)


def phrase(rng: random.Random, scene: Scene) -> tuple[str, Question]:
    """A question, half the time with an answer behind it, right or not, as an edit has; and half the time with some
    words left out, so that what is asked is not known by one phrasing's words alone."""
    asked = train_question(rng, scene)
    text = _thinned(rng, asked.text, asked.name) if rng.random() < 0.5 else asked.text
    answered = rng.random() < 0.5
    return f"{text} {rng.choice(ATTRIBUTES[asked.attribute])}" if answered else text, asked


def _thinned(rng: random.Random, text: str, name: str) -> str:
    """The text without some of the words around the name."""
    start = text.lower().index(name.lower())
    before, after = text[:start].split(" "), text[start + len(name) :].split(" ")
    kept = [[word for word in words if rng.random() > _LEFT_OUT] for words in (before[:-1], after[1:])]
    return " ".join([*kept[0], before[-1] + text[start : start + len(name)] + after[0], *kept[1]])


def cells_attended(texts: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
    """How much of the text's attention each cell gets, (n, 9), of texts (n, d) and patches (n, 36, d)."""
    side = IMAGE_SIZE // PATCHES
    weights = attention(texts.float(), patches.float()).view(-1, GRID, side // GRID, GRID, side // GRID)
    return weights.sum(dim=(2, 4)).flatten(1)


def train_pointing(
    model: open_clip.CustomTextCLIP,
    tokenizer: PreTrainedTokenizerFast,
    pool: Pool,
    steps: int,
    seed: int,
    log: Log,
) -> None:
    """Cross-entropy of the named card's cell, by the attention of MSCKE's fusion `dot`; and, so that it is not lost,
    what else a text says and a patch shows: the attribute that is asked about, captions, and the labels of the card
    under each patch, with the kinds of those beside it."""
    torch.manual_seed(seed)
    rng = random.Random(f"phrases/{seed}")
    side = IMAGE_SIZE // PATCHES
    labels = patch_labels(pool.labels, side)
    around = patch_labels(beside(pool.labels[..., 0]), side)
    heads, others, about = Labels(WIDTH), Beside(WIDTH), Asked(WIDTH)
    descend = descent(steps, 1e-3, model, heads, others, about, weight_decay=0.05)
    for step, indices in pool.batches(BATCH, steps, seed):
        scenes = [pool.scenes[index] for index in indices.tolist()]
        own = [scene for scene in scenes for _ in range(_PHRASES)]
        asked = [phrase(rng, scene) for scene in own]
        texts = token_ids(tokenizer, [*(described(rng, scene) for scene in scenes), *(text for text, _ in asked)])
        with torch.autocast("cpu", torch.bfloat16):
            pooled, patches = patch_features(model.visual, pool.images(indices))
            said = model.encode_text(texts)
            labelling, _ = heads.loss_and_accuracy(patches, labels[indices])
            neighbours = others.loss(patches, around[indices])
        matching, _ = contrast(model, pooled, said[: len(scenes)])
        phrases = said[len(scenes) :]
        attributes = about.loss(phrases, [question.attribute for _, question in asked])
        cells = cells_attended(phrases, patches.repeat_interleave(_PHRASES, 0))
        named = torch.tensor([scene.entities[q.entity].cell for scene, (_, q) in zip(own, asked, strict=True)])
        pointing = nn.functional.nll_loss(cells.clamp_min(1e-9).log(), named)
        descend(matching + labelling + neighbours + attributes + 2 * pointing)
        pointed = (cells.argmax(-1) == named).float().mean()
        log.step(
            "point",
            step,
            steps,
            contrast=matching,
            labels=labelling,
            beside=neighbours,
            asked=attributes,
            point=pointing,
            pointed=pointed,
        )
