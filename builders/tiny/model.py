"""The shapes of the tiny BLIP-2, its tokenizer and its processor."""

from __future__ import annotations

import itertools
import random

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipImageProcessor,
    OPTConfig,
    PreTrainedTokenizerFast,
)

from builders.scenes.facts import facts
from builders.scenes.language import caption
from builders.scenes.scene import CELL, GRID, IMAGE_SIZE
from builders.tiny.prompts import Example, entailed, in_context, training_scenes
from fgvedit.schema import NO_ANSWER

QUERIES = GRID * GRID
CONTEXT = 384  # tokens, image tokens included
VOCABULARY = 1600
_TOKENIZER_EXAMPLES = 4000
PAD, EOS, IMAGE = "<pad>", "</s>", "<image>"


def build_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE learned from what the model will read, so that its words are single tokens and any text fits."""
    rng = random.Random(seed)
    texts = [f" {answer} {question}" for question, answer in facts() for _ in range(50)]
    for scene in itertools.islice(training_scenes(seed), _TOKENIZER_EXAMPLES):
        example: Example = in_context(rng, scene)
        compared = entailed(rng, scene)
        texts += [f"{one.prompt} {one.answer}" for one in (example, compared)]
        texts += [caption(rng, scene, most=3), f" {NO_ANSWER}"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, EOS, IMAGE],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        padding_side="left",
        model_max_length=CONTEXT,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Blip2Processor:
    """What makes images of `IMAGE_SIZE` pixels, in [-1, 1], and tokens of what the model is given."""
    image_processor = BlipImageProcessor(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return Blip2Processor(image_processor, tokenizer, num_query_tokens=QUERIES)


def build_config(tokenizer: PreTrainedTokenizerFast) -> Blip2Config:
    """The shapes of the vision tower, the Q-Former and the language model."""
    vision = Blip2VisionConfig(
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=IMAGE_SIZE,
        patch_size=CELL // 2,
        initializer_range=0.02,  # the default, 1e-10, does not learn from nothing
    )
    qformer = Blip2QFormerConfig(
        vocab_size=1,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=4,
        encoder_hidden_size=128,
        cross_attention_frequency=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=1,
    )
    text = OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        word_embed_proj_dim=192,
        ffn_dim=768,
        num_hidden_layers=4,
        num_attention_heads=6,
        max_position_embeddings=CONTEXT,
        dropout=0.0,
        init_std=0.08,  # with OPT's 0.02 it takes long before it attends to anything
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Blip2Config(
        vision_config=vision,
        qformer_config=qformer,
        text_config=text,
        num_query_tokens=QUERIES,
        image_text_hidden_size=64,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
    )


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Blip2ForConditionalGeneration:
    """The model with random weights, the same for the same seed."""
    torch.manual_seed(seed)
    model = Blip2ForConditionalGeneration(build_config(tokenizer))
    model.set_attn_implementation("eager")  # on a CPU the fused kernel's backward pass is the slower one
    torch.nn.init.normal_(model.query_tokens, std=0.5)  # zeros would make all queries ask the same
    return model
