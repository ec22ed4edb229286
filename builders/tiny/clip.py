"""The tiny CLIP: an `open_clip` model, and its first stage, on scenes and their captions."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import PreTrainedTokenizerFast

from builders.scenes.language import Question, caption, true_answer
from builders.scenes.quads import held_out
from builders.scenes.scene import CELL, IMAGE_SIZE, Scene
from builders.tiny.descent import descent
from builders.tiny.log import Log
from builders.tiny.model import EOS
from builders.tiny.prompts import random_question
from builders.tiny.vision import Labels, Pool, accuracies, patch_labels
from fgvedit.util.tensors import write_tensors

NAME = "tiny-clip"
UNSCHOOLED = "tiny-clip-unschooled"  # before it is taught what a phrase names
BATCH = 128
CONTEXT = 32  # tokens
WIDTH = 128
PATCHES = CELL // 2  # pixels of a side


def clip_config(tokenizer: PreTrainedTokenizerFast, name: str = NAME) -> dict[str, Any]:
    """What `open_clip` reads from `open_clip_config.json`."""
    return {
        "model_cfg": {
            "embed_dim": WIDTH,
            "custom_text": True,
            "vision_cfg": {
                "image_size": IMAGE_SIZE,
                "patch_size": PATCHES,
                "width": WIDTH,
                "layers": 4,
                "head_width": 32,
            },
            "text_cfg": {
                "context_length": CONTEXT,
                "vocab_size": len(tokenizer),
                "width": WIDTH,
                "heads": 4,
                "layers": 3,
                "pool_type": "eos",
                "eos_id": tokenizer.eos_token_id,
                "pad_id": tokenizer.pad_token_id,
                "hf_tokenizer_name": name,
            },
        },
        "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"},
    }


def write_clip_folder(folder: Path, tokenizer: PreTrainedTokenizerFast, weights: dict[str, torch.Tensor]) -> None:
    """A folder that `open_clip` opens as `local-dir:`; its tokenizer ends every text with the end of sequence."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(clip_config(tokenizer, folder.name), indent=2) + "\n")
    write_tensors(folder / "open_clip_model.safetensors", weights)
    ending = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        pad_token=tokenizer.pad_token,
        eos_token=EOS,
        padding_side="right",
        model_max_length=CONTEXT,
    )
    ending.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"$A {EOS}", special_tokens=[(EOS, tokenizer.eos_token_id)]
    )
    ending.save_pretrained(folder)


def build_clip(tokenizer: PreTrainedTokenizerFast, seed: int) -> open_clip.CustomTextCLIP:
    """The CLIP with random weights, the same for the same seed."""
    torch.manual_seed(seed)
    config = clip_config(tokenizer)["model_cfg"]
    return open_clip.CustomTextCLIP(**{name: value for name, value in config.items() if name != "custom_text"})


def described(rng: random.Random, scene: Scene) -> str:
    """A description of the scene or, half the time, a question about it with its answer: CLIP has read both."""
    if rng.random() < 0.5:
        return caption(rng, scene, most=2)
    asked = train_question(rng, scene)
    return f"{asked.text} {true_answer(scene, asked)}"


def train_question(rng: random.Random, scene: Scene) -> Question:
    """A question as the train split's edits may ask it: no phrasing or (kind, attribute) of the test split alone."""
    while True:
        asked = random_question(rng, scene, split="train")
        if not held_out(scene.entities[asked.entity].kind, asked.attribute):
            return asked


def token_ids(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> torch.Tensor:
    """(n, CONTEXT), each ended and padded as the shipped tokenizer does it."""
    ids = [[*tokenizer(text)["input_ids"][: CONTEXT - 1], tokenizer.eos_token_id] for text in texts]
    return torch.tensor([row + [tokenizer.pad_token_id] * (CONTEXT - len(row)) for row in ids])


def contrast(
    model: open_clip.CustomTextCLIP, images: torch.Tensor, texts: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """CLIP's loss of images and texts (n, d) that belong together, and the share of images nearest to their own."""
    images, texts = (nn.functional.normalize(part.float(), dim=-1) for part in (images, texts))
    logits = model.logit_scale.exp().clamp(max=100) * images @ texts.T
    pairs = torch.arange(len(logits))
    loss = (nn.functional.cross_entropy(logits, pairs) + nn.functional.cross_entropy(logits.T, pairs)) / 2
    return loss, (logits.detach().argmax(dim=1) == pairs).float().mean()


def train_clip(
    model: open_clip.CustomTextCLIP,
    tokenizer: PreTrainedTokenizerFast,
    pool: Pool,
    steps: int,
    seed: int,
    log: Log,
) -> None:
    """CLIP's contrastive loss over captions, and, for the image tower, the label of the card under each patch."""
    torch.manual_seed(seed)
    rng = random.Random(f"captions/{seed}")
    labels = patch_labels(pool.labels, IMAGE_SIZE // PATCHES)
    heads = Labels(WIDTH)
    descend = descent(steps, 1e-3, model, heads, weight_decay=0.05)
    for step, indices in pool.batches(BATCH, steps, seed):
        texts = token_ids(tokenizer, [described(rng, pool.scenes[index]) for index in indices.tolist()])
        with torch.autocast("cpu", torch.bfloat16):
            seen = model.visual.forward_intermediates(pool.images(indices), indices=1, output_fmt="NLC")
            image, patches = seen["image_features"], seen["image_intermediates"][-1]
            labelling, accuracy = heads.loss_and_accuracy(patches, labels[indices])
            text = model.encode_text(texts)
        loss, matched = contrast(model, image, text)
        descend(loss + labelling)
        log.step("clip", step, steps, contrast=loss, matched=matched, **accuracies(accuracy))
