"""Stages 4 to 6: Q-Former and language model together, on the frozen vision tower's kept features."""

from __future__ import annotations

import random

import torch
from transformers import Blip2ForConditionalGeneration, PreTrainedTokenizerFast

from builders.tiny.descent import descent
from builders.tiny.language import Mixture, Pointing, choose, language_loss
from builders.tiny.log import Log
from builders.tiny.prompts import entailed, hard, in_context, plain, survey, twins, with_demonstrations, with_retrieved
from builders.tiny.vision import Pool, pool_features, read_queries

JOINING: Mixture = (
    (plain, 0.15, 144),
    (hard, 0.3, 144),
    (entailed, 0.28, 128),
    (in_context, 0.16, 96),
    (with_demonstrations, 0.08, 24),
    (survey, 0.03, 96),
)
SHARPENING: Mixture = (
    (plain, 0.06, 144),
    (hard, 0.2, 144),
    (twins, 0.2, 144),
    (entailed, 0.42, 128),
    (in_context, 0.09, 96),
    (with_demonstrations, 0.03, 24),
)
RETRIEVING: Mixture = (
    (plain, 0.07, 144),
    (hard, 0.13, 144),
    (twins, 0.15, 144),
    (entailed, 0.22, 128),
    (in_context, 0.1, 96),
    (with_retrieved, 0.33, 16),
)


def train_together(
    model: Blip2ForConditionalGeneration,
    pointing: Pointing,
    tokenizer: PreTrainedTokenizerFast,
    pool: Pool,
    mixture: Mixture,
    steps: int,
    seed: int,
    log: Log,
    stage: str,
) -> None:
    """Train all of `model` but its vision tower on the answers' loss."""
    torch.manual_seed(seed)
    rng = random.Random(f"{stage}/{seed}")
    features = pool_features(model, pool)
    learned = (model.query_tokens, model.qformer, model.language_projection, model.language_model, pointing)
    descend = descent(steps, 1e-3, *learned)
    for step in range(1, steps + 1):
        make, size = choose(rng, mixture)
        indices = [rng.randrange(len(pool.scenes)) for _ in range(size)]
        examples = [make(rng, pool.scenes[index]) for index in indices]
        shown = [index for index, example in zip(indices, examples, strict=True) if example.scene is not None]
        with torch.autocast("cpu", torch.bfloat16):
            image_tokens = model.language_projection(read_queries(model, features[shown]))
            loss = language_loss(model, pointing, tokenizer, examples, image_tokens)
        descend(loss)
        log.step(stage, step, steps, loss=loss)
