"""Stage 1: the language model alone, reading each cell of a scene as one embedding in place of an image token."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import torch
from torch import nn
from transformers import Blip2ForConditionalGeneration, PreTrainedTokenizerFast

from builders.scenes.scene import COLORS, COLUMNS, COUNTS, GRID, KINDS, ROWS, Scene
from builders.tiny.descent import descent
from builders.tiny.log import Log
from builders.tiny.prompts import Example, entailed, in_context, plain, survey, training_scenes, with_demonstrations
from fgvedit.backbones.base import answer_cross_entropy, left_pad

CELLS = GRID * GRID
_Sort = Callable[[random.Random, Scene], Example]
Mixture: TypeAlias = tuple[tuple[_Sort, float, int], ...]
# How often a batch is of each sort, and its size: about as many tokens in each. First to read, then to reason.
_READING: Mixture = ((plain, 0.65, 144), (survey, 0.35, 96))
_REASONING: Mixture = (
    (plain, 0.42, 144),
    (entailed, 0.2, 128),
    (in_context, 0.3, 96),
    (with_demonstrations, 0.05, 24),
    (survey, 0.03, 96),
)
_READING_SHARE = 0.35  # of the steps


def cell_labels(scenes: Sequence[Scene]) -> torch.Tensor:
    """(n, 9, 3): kind, colour and count of each cell, as indices from 1; 0 where the cell is empty."""
    colors = tuple(COLORS)
    labels = torch.zeros(len(scenes), CELLS, 3, dtype=torch.long)
    for number, scene in enumerate(scenes):
        for entity in scene.entities:
            row = (KINDS.index(entity.kind), colors.index(entity.color), COUNTS.index(entity.count))
            labels[number, entity.cell] = torch.tensor(row) + 1
    return labels


class CellEmbedding(nn.Module):
    """What a perfect eye would hand to the language model: (n, 9, 3) labels -> (n, 9, hidden).

    A cell is a sum of the words for what is in it and where it is, each turned by a learned map, so that what is
    learned about reading one word holds for all.
    """

    def __init__(self, words: nn.Embedding, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        width = words.embedding_dim
        self.words = words
        turns = [nn.Linear(width, width, bias=False) for _ in range(5)]
        for turn in turns:
            nn.init.orthogonal_(turn.weight)
        self.turn = nn.ModuleList(turns)
        named = (KINDS, tuple(COLORS), tuple(map(str, COUNTS)))
        nothing = tokenizer.pad_token_id
        for number, values in enumerate(named):
            ids = [nothing, *(one_token(tokenizer, value) for value in values)]
            self.register_buffer(f"ids_{number}", torch.tensor(ids), persistent=False)
        self.register_buffer("rows", torch.tensor([one_token(tokenizer, r) for r in ROWS for _ in COLUMNS]), False)
        self.register_buffer("columns", torch.tensor([one_token(tokenizer, c) for _ in ROWS for c in COLUMNS]), False)

    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        """Labels (n, 9, 3), as `cell_labels` has them -> embeddings (n, 9, hidden)."""
        seen = self.turn[3](self.words(self.rows)) + self.turn[4](self.words(self.columns))
        for number in range(3):
            seen = seen + self.turn[number](self.words(self.get_buffer(f"ids_{number}")[labels[..., number]]))
        return seen


class Pointing(nn.Module):
    """Reads the cell of the card that a name means off the language model, half way up, where the name ends.

    With the answers alone it takes long to find out what names mean, and longest where that takes two steps.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, CELLS))

    def loss(self, hidden: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of the cells (n,) for hidden states (n, hidden)."""
        return nn.functional.cross_entropy(self.read(hidden).float(), cells)


def one_token(tokenizer: PreTrainedTokenizerFast, word: str) -> int:
    """The token of a word inside a sentence, which the tokenizer has learned whole."""
    (token,) = tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
    return token


def choose(rng: random.Random, mixture: Mixture) -> tuple[_Sort, int]:
    """What the examples of a batch are, and how many."""
    make, _, size = rng.choices(mixture, [weight for _, weight, _ in mixture])[0]
    return make, size


def batches(seed: int, steps: int) -> Iterator[list[Example]]:
    """A batch of one sort for each step."""
    rng = random.Random(f"examples/{seed}")
    scenes = training_scenes(seed)
    for step in range(steps):
        make, size = choose(rng, _READING if step < _READING_SHARE * steps else _REASONING)
        yield [make(rng, next(scenes)) for _ in range(size)]


def language_loss(
    model: Blip2ForConditionalGeneration,
    pointing: Pointing,
    tokenizer: PreTrainedTokenizerFast,
    examples: Sequence[Example],
    image_tokens: torch.Tensor,
) -> torch.Tensor:
    """The cross-entropy of the answers, of those shown in the prompts, and of the cards that the names mean.

    `image_tokens` (number of examples with a scene, 9, hidden), in their order.
    """
    eos = tokenizer.eos_token_id
    read = tokenizer([e.prompt for e in examples], add_special_tokens=False, return_offsets_mapping=True)
    prompts = read["input_ids"]
    answers = tokenizer([f" {e.answer}" for e in examples], add_special_tokens=False)["input_ids"]
    answers = [[*ids, eos] for ids in answers]
    rows = [torch.tensor(prompt + answer) for prompt, answer in zip(prompts, answers, strict=True)]
    words = model.language_model.get_input_embeddings()(torch.cat(rows)).split([len(row) for row in rows])
    seen = iter(image_tokens)
    embeds, mask = left_pad(
        [word if e.scene is None else torch.cat([next(seen), word]) for e, word in zip(examples, words, strict=True)]
    )
    out = model.language_model.model(inputs_embeds=embeds, attention_mask=mask, output_hidden_states=True)
    hidden, half_way = out.last_hidden_state, out.hidden_states[len(out.hidden_states) // 2]
    kept = max(len(ids) for ids in answers) + 1
    loss = answer_cross_entropy(model.language_model.lm_head(hidden[:, -kept:]), answers)
    starts = [hidden.shape[1] - len(row) for row in rows]
    shown, named = [], []
    for number, (e, row, offsets) in enumerate(zip(examples, rows, read["offset_mapping"], strict=True)):
        for index, (left, right) in enumerate(offsets):
            if any(start < right and left < end for start, end in e.shown):
                shown.append((number, starts[number] + index, int(row[index])))
            named += [(number, starts[number] + index, cell) for end, cell in e.named if left < end <= right]
    if shown:
        number, index, token = torch.tensor(shown).T
        logits = model.language_model.lm_head(hidden[number, index - 1])
        loss = loss + nn.functional.cross_entropy(logits.float(), token)
    if named:
        number, index, cell = torch.tensor(named).T
        loss = loss + pointing.loss(half_way[number, index], cell)
    return loss


def train_language(
    model: Blip2ForConditionalGeneration,
    cells: CellEmbedding,
    pointing: Pointing,
    tokenizer: PreTrainedTokenizerFast,
    steps: int,
    seed: int,
    log: Log,
) -> None:
    """Train `model.language_model`, the cell embeddings that it learns to read, and what reads names, in place."""
    descend = descent(steps, 1.5e-3, model.language_model, cells.turn, pointing)
    for step, examples in enumerate(batches(seed, steps), start=1):
        labels = cell_labels([e.scene for e in examples if e.scene is not None])
        with torch.autocast("cpu", torch.bfloat16):
            loss = language_loss(model, pointing, tokenizer, examples, cells(labels))
        descend(loss)
        log.step("language", step, steps, loss=loss)
