"""What MiniGPT-4 is made of, as it is released, but small and random: for tests of the converter and of its result."""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from families import spread
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    BlipImageProcessor,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaTokenizer,
)

from fgvedit.backbones.families.minigpt4.convert import convert
from fgvedit.backbones.families.minigpt4.modeling import SYSTEM

IMAGE_SIZE = 16
QUERIES = 3
SHARD = "40KB"  # so that there are several files of weights


@dataclass(frozen=True)
class Parts:
    """Where the three parts are."""

    blip2: Path
    vicuna: Path
    projection: Path


def save_minigpt4(folder: Path) -> Path:
    """The folder of a MiniGPT-4 in single precision."""
    parts = save_parts(folder.with_name(f"{folder.name}-parts"))
    convert(parts.blip2, parts.vicuna, parts.projection, folder, torch.float32)
    return folder


def save_parts(folder: Path) -> Parts:
    parts = Parts(folder / "blip2-flan-t5-xxl", folder / "vicuna-7b", folder / "pretrained_minigpt4_7b.pth")
    torch.manual_seed(0)
    save_blip2(parts.blip2)
    save_vicuna(parts.vicuna)
    torch.save(projection(), parts.projection)
    return parts


def save_blip2(folder: Path) -> None:
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = Blip2Config(
        vision_config={"hidden_size": 16, "image_size": IMAGE_SIZE, "patch_size": 8, **layers},
        qformer_config={"hidden_size": 24, "vocab_size": 1, "max_position_embeddings": 1, **layers},
        text_config={
            "model_type": "t5",
            "vocab_size": 40,
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 32,
            "num_layers": 2,
            "num_heads": 2,
        },
        num_query_tokens=QUERIES,
        image_token_index=39,
    )
    model = Blip2ForConditionalGeneration(config)
    spread(model)
    model.save_pretrained(folder, max_shard_size=SHARD)
    # Other means than the class's own.
    BlipImageProcessor(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.25]
    ).save_pretrained(folder)


def save_vicuna(folder: Path) -> None:
    """With the numbers of special tokens that config.json of Vision-CAIR/vicuna-7b gives, which are not its
    tokenizer's, and with the padding token of lmsys/vicuna-7b-v1.5."""
    made = tokenizer()
    config = LlamaConfig(
        vocab_size=len(made),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
    )
    model = LlamaForCausalLM(config)
    spread(model)
    model.save_pretrained(folder, max_shard_size=SHARD)
    made.save_pretrained(folder)
    change_json(folder / "config.json", bos_token_id=0, eos_token_id=1, pad_token_id=-1)


def tokenizer() -> Any:
    """Llama's way: `<unk>`, `<s>`, `</s>`, a token for each byte, then pieces in which "▁" is a space."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Metaspace()
    first = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=first,
        initial_alphabet=[*string.ascii_letters, *string.punctuation, "▁"],
        show_progress=False,
    )
    bpe.train_from_iterator([SYSTEM, "###Human: <Img></Img> ###Assistant: Question: Short answer: colour"], trainer)
    model = json.loads(bpe.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    return LlamaTokenizer(vocab=model["vocab"], merges=merges, pad_token="<unk>", add_bos_token=True)


def projection(hidden_size: int = 32) -> dict[str, Any]:
    """The released file's content: what was trained, with the model's buffers, and how the training stood."""
    buffers = {
        "Qformer.bert.embeddings.position_ids": torch.arange(4)[None],
        "llama_model.model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8),
    }
    weight, bias = torch.randn(hidden_size, 24), torch.randn(hidden_size)
    moments = {"step": torch.tensor(5000.0), "exp_avg": torch.zeros(hidden_size, 24)}
    return {
        "model": {"llama_proj.weight": weight, "llama_proj.bias": bias, **buffers},
        "optimizer": {"state": {0: moments}, "param_groups": [{"lr": 3e-5, "params": [0]}]},
        "config": {"model": {"arch": "mini_gpt4", "vit_precision": "fp16"}},
        "scaler": {"scale": 65536.0},
        "epoch": 4,
    }


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
