"""Stage 1: the language model alone, reading each cell of a scene as one embedding in place of an image token."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import torch
from torch import nn
from transformers import Blip2ForConditionalGeneration, PreTrainedTokenizerFast

from builders.scenes.scene import COLORS, COLUMNS, COUNTS, GRID, KINDS, ROWS, Scene
from builders.tiny.log import Log
from builders.tiny.prompts import Example, entailed, in_context, plain, survey, training_scenes, with_demonstrations
from fgvedit.backbones.base import answer_cross_entropy, left_pad

CELLS = GRID * GRID
DIRECTIONS = ((-1, 0), (1, 0), (0, -1), (0, 1))  # rows and columns from a cell to those beside it
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


def beside(kinds: torch.Tensor) -> torch.Tensor:
    """Kinds of cells (n, 9), 0 for none -> those of the cells above, below, left and right of each, (n, 9, 4)."""
    around = nn.functional.pad(kinds.unflatten(1, (GRID, GRID)), (1, 1, 1, 1))
    each = [around[:, 1 + row : 1 + row + GRID, 1 + column : 1 + column + GRID] for row, column in DIRECTIONS]
    return torch.stack([one.flatten(1) for one in each], dim=-1)


class CellEmbedding(nn.Module):
    """What a perfect eye would hand to the language model: (n, 9, 3) labels -> (n, 9, hidden).

    A cell is a sum of the words for what is in it, where it is, and the kinds of the cards beside it, each turned by a
    learned map, so that what is learned about reading one word holds for all. Without the neighbours, a card that is
    named by one would be two steps away.
    """

    def __init__(self, words: nn.Embedding, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        width = words.embedding_dim
        self.words = words
        turns = [nn.Linear(width, width, bias=False) for _ in range(5 + len(DIRECTIONS))]
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
        for number, kinds in enumerate(beside(labels[..., 0]).unbind(-1), start=5):
            seen = seen + self.turn[number](self.words(self.get_buffer("ids_0")[kinds]))
        return seen


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
    tokenizer: PreTrainedTokenizerFast,
    examples: Sequence[Example],
    image_tokens: torch.Tensor,
) -> torch.Tensor:
    """The answers' cross-entropy, and that of the answers shown in the prompts, if there are any.

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
    hidden = model.language_model.model(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
    kept = max(len(ids) for ids in answers) + 1
    loss = answer_cross_entropy(model.language_model.lm_head(hidden[:, -kept:]), answers)
    shown = [
        (number, hidden.shape[1] - len(row) + index, int(row[index]))
        for number, (e, row, offsets) in enumerate(zip(examples, rows, read["offset_mapping"], strict=True))
        for start, end in e.shown
        for index, (left, right) in enumerate(offsets)
        if start < right and left < end
    ]
    if shown:
        number, index, token = torch.tensor(shown).T
        loss = loss + nn.functional.cross_entropy(
            model.language_model.lm_head(hidden[number, index - 1]).float(), token
        )
    return loss


def schedule(optimiser: torch.optim.Optimizer, steps: int, warm_up: int = 100) -> torch.optim.lr_scheduler.LRScheduler:
    """Linear warm-up, then a cosine down to a fiftieth."""

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        progress = (step - warm_up) / max(1, steps - warm_up)
        return 0.02 + 0.98 * 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * min(1.0, progress)))))

    return torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


def optimise(
    loss: torch.Tensor,
    optimiser: torch.optim.Optimizer,
    rate: torch.optim.lr_scheduler.LRScheduler,
    parameters: Sequence[nn.Parameter],
) -> None:
    """One step of the optimiser and its schedule, with the gradient clipped at length 1."""
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimiser.step()
    rate.step()


def train_language(
    model: Blip2ForConditionalGeneration,
    cells: CellEmbedding,
    tokenizer: PreTrainedTokenizerFast,
    steps: int,
    seed: int,
    log: Log,
) -> None:
    """Train `model.language_model` and the cell embeddings that it learns to read, in place."""
    parameters = [*model.language_model.parameters(), *cells.turn.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=1.5e-3, betas=(0.9, 0.98), weight_decay=0.01)
    rate = schedule(optimiser, steps)
    for step, examples in enumerate(batches(seed, steps), start=1):
        labels = cell_labels([e.scene for e in examples if e.scene is not None])
        with torch.autocast("cpu", torch.bfloat16):
            loss = language_loss(model, tokenizer, examples, cells(labels))
        optimise(loss, optimiser, rate, parameters)
        log.step("language", step, steps, loss=loss)
