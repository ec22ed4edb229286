"""Checkpoints of the supported families as the hub has them, but small: some 100,000 random weights each.

Each `save_<family>` writes the model, its processor and its tokenizer, made from nothing, into a folder. What differs
between real checkpoints and trips callers up is kept: where the image stands, what is put before a prompt, which
tokens are special, how an image's size decides on its tokens.
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chat_templates as chat
import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SENTENCES = [
    "You are a helpful assistant. USER: ASSISTANT: system user assistant",
    "Question: What colour is the card on the left of the table? Short answer: blue",
    "How many people are in the photo? two. Is the dog next to the bench? yes. no",
    "Which animal stands behind the red car? The white cat.",
]


def save(folder: Path, model_class: Any, config: Any, processor: Any) -> None:
    torch.manual_seed(0)
    model = model_class(config)
    spread(model)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


@torch.no_grad()
def spread(model: torch.nn.Module) -> None:
    """Every weight random, by its fan-in: what the classes themselves begin with hardly lets an image through."""
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            weight.normal_(0, 2 / weight[0].numel() ** 0.5)
        else:  # a weight of one dimension is a norm's
            weight.normal_(float(name.endswith("weight")), 0.1)


# Vision towers and language models


def vision_model(model_type: str, **changes: Any) -> dict[str, Any]:
    return {
        "model_type": model_type,
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
        **changes,
    }


def language_model(tokenizer: Any, **changes: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 1024,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **changes,
    }


def train(bpe: Tokenizer, first: list[str], alphabet: list[str]) -> dict[str, Any]:
    """What the tokenizer classes take: at most 500 tokens, the given ones first, and the merges that make them."""
    bpe.train_from_iterator(
        SENTENCES,
        trainers.BpeTrainer(vocab_size=500, special_tokens=first, initial_alphabet=alphabet, show_progress=False),
    )
    model = json.loads(bpe.to_str())["model"]
    return {"vocab": model["vocab"], "merges": [tuple(merge) for merge in model["merges"]]}


def llama_vocabulary() -> dict[str, Any]:
    """In SentencePiece's manner: special tokens, all bytes, then pieces of which a word's first begins with "▁"."""
    bpe = Tokenizer(models.BPE())
    words = pre_tokenizers.Metaspace(prepend_scheme="always")
    bpe.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.Punctuation()])
    return train(bpe, ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))], [])


def legacy_llama_tokenizer() -> Any:
    """As LLaVA-1.5 has it: "▁" goes before every text, also behind an image token and where a space begins it."""
    bpe = Tokenizer(models.BPE(**llama_vocabulary(), unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bpe.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    bpe.add_special_tokens(["<unk>", "<s>", "</s>", "<image>", "<pad>"])
    bpe.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", bpe.token_to_id("<s>"))]
    )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        padding_side="left",
        extra_special_tokens={"image_token": "<image>"},
    )


def qwen_tokenizer(*image_tokens: str, **named: str) -> Any:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return hf.Qwen2Tokenizer(
        **train(bpe, [], pre_tokenizers.ByteLevel.alphabet()),
        eos_token="<|im_end|>",
        padding_side="left",
        extra_special_tokens={"turn": "<|im_start|>", **named} if named else ["<|im_start|>", *image_tokens],
    )


# LLaVA


def save_llava(folder: Path) -> None:
    tokenizer = legacy_llama_tokenizer()
    processor = hf.LlavaProcessor(
        hf.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat.LLAVA,
    )
    config = hf.LlavaConfig(
        text_config=language_model(tokenizer, model_type="llama", num_key_value_heads=2),
        vision_config=vision_model("clip_vision_model", num_hidden_layers=3),  # the last but one is read
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=16,
        image_token_index=processor.image_token_id,
    )
    save(folder, hf.LlavaForConditionalGeneration, config, processor)


def save_llava_onevision(folder: Path) -> None:
    """Images are cut into up to 3 x 3 tiles."""
    tokenizer = qwen_tokenizer("<image>", "<video>")
    pinpoints = [[28 * rows, 28 * columns] for rows in (1, 2, 3) for columns in (1, 2, 3)]
    side = {"height": 28, "width": 28}
    processor = hf.LlavaOnevisionProcessor(
        hf.LlavaOnevisionImageProcessor(size=side, image_grid_pinpoints=pinpoints),
        tokenizer,
        hf.LlavaOnevisionVideoProcessor(size=side),
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
        chat_template=chat.ONEVISION,
    )
    config = hf.LlavaOnevisionConfig(
        text_config=language_model(tokenizer, model_type="qwen2"),
        vision_config=vision_model("siglip_vision_model", image_size=28, vision_use_head=False),
        image_grid_pinpoints=pinpoints,
        vision_aspect_ratio="anyres_max_9",
        image_token_index=processor.image_token_id,
        video_token_index=processor.video_token_id,
    )
    save(folder, hf.LlavaOnevisionForConditionalGeneration, config, processor)


# InstructBLIP


def save_instructblip(folder: Path) -> None:
    """With a Vicuna, whose first token is its last one: "</s>"."""
    tokenizer = hf.LlamaTokenizer(
        **llama_vocabulary(),
        bos_token="</s>",
        eos_token="</s>",
        unk_token="</s>",
        pad_token="[PAD]",
        add_bos_token=True,
    )
    letters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
    qformer_tokenizer = hf.BertTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)}, bos_token="[DEC]"
    )
    processor = hf.InstructBlipProcessor(
        hf.BlipImageProcessor(size={"height": 28, "width": 28}), tokenizer, qformer_tokenizer, num_query_tokens=12
    )
    config = hf.InstructBlipConfig(
        text_config=language_model(tokenizer, model_type="llama", num_key_value_heads=2),
        qformer_config={
            "vocab_size": len(qformer_tokenizer),
            "hidden_size": 48,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        num_query_tokens=12,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    save(folder, hf.InstructBlipForConditionalGeneration, config, processor)


# Qwen-VL


QWEN_TOKENS = {
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
}


def save_qwen(
    folder: Path,
    model_class: Any,
    config_class: Any,
    processor_class: Any,
    image_processor: Any,
    video_processor: Any,
    template: str,
    text: dict[str, Any],
    vision: dict[str, Any],
) -> None:
    tokenizer = qwen_tokenizer(*QWEN_TOKENS.values())
    processor = processor_class(image_processor, tokenizer, video_processor, chat_template=template)
    config = config_class(
        text_config=language_model(tokenizer, **text),
        vision_config={"depth": 2, "num_heads": 2, **vision},
        **{name: tokenizer.convert_tokens_to_ids(token) for name, token in QWEN_TOKENS.items()},
    )
    save(folder, model_class, config, processor)


def between(least: int, most: int, side: int) -> dict[str, int]:
    """How many tokens of side x side pixels an image may have, in pixels, as the image processors want it."""
    return {"shortest_edge": least * side**2, "longest_edge": most * side**2}


def save_qwen2_vl(folder: Path) -> None:
    size = between(16, 40, side=28)
    save_qwen(
        folder,
        hf.Qwen2VLForConditionalGeneration,
        hf.Qwen2VLConfig,
        hf.Qwen2VLProcessor,
        hf.Qwen2VLImageProcessor(size=size),
        hf.Qwen2VLVideoProcessor(size=size),
        chat.QWEN2,
        text={"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}},
        vision={"patch_size": 14, "embed_dim": 24, "mlp_ratio": 2, "hidden_size": 32},
    )


def save_qwen2_5_vl(folder: Path) -> None:
    """The first vision layer attends within windows of 4 x 4 tokens."""
    size = between(16, 40, side=28)
    save_qwen(
        folder,
        hf.Qwen2_5_VLForConditionalGeneration,
        hf.Qwen2_5_VLConfig,
        hf.Qwen2_5_VLProcessor,
        hf.Qwen2VLImageProcessor(size=size),
        hf.Qwen2VLVideoProcessor(size=size),
        chat.QWEN2,
        text={"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}},
        vision={
            "patch_size": 14,
            "hidden_size": 24,
            "intermediate_size": 32,
            "out_hidden_size": 32,
            "window_size": 112,
            "fullatt_block_indexes": [1],
        },
    )


def save_qwen3_vl(folder: Path) -> None:
    """The first vision layer is also read by the first language layer; there is no system prompt of its own."""
    size = between(16, 40, side=32)
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    save_qwen(
        folder,
        hf.Qwen3VLForConditionalGeneration,
        hf.Qwen3VLConfig,
        hf.Qwen3VLProcessor,
        hf.Qwen2VLImageProcessor(size=size, patch_size=16, **half),
        hf.Qwen3VLVideoProcessor(size=size, **half),
        chat.QWEN3,
        text={
            "head_dim": 16,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5e6,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
        },
        vision={
            "patch_size": 16,
            "hidden_size": 24,
            "intermediate_size": 32,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
    )


SAVE: dict[str, Callable[[Path], None]] = {
    "llava": save_llava,
    "llava_onevision": save_llava_onevision,
    "instructblip": save_instructblip,
    "qwen2_vl": save_qwen2_vl,
    "qwen2_5_vl": save_qwen2_5_vl,
    "qwen3_vl": save_qwen3_vl,
}
