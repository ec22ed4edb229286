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


LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 2}


def save(
    folder: Path, name: str, processor: Any, image: str, text: dict[str, Any], vision: dict[str, Any], **config: Any
) -> None:
    """Write the architecture `name` of transformers, with random weights, and its processor. `image`: the token that
    stands for one; `text`: what the language model has of its own."""
    tokenizer = processor.tokenizer
    language_model = {
        **LAYERS,
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_key_value_heads": 1,
        "max_position_embeddings": 1024,
        **{token: getattr(tokenizer, token) for token in ("bos_token_id", "eos_token_id", "pad_token_id")},
        **text,
    }
    torch.manual_seed(0)
    made = getattr(hf, f"{name}Config")(text_config=language_model, vision_config=vision, **config)
    made.image_token_id = tokenizer.convert_tokens_to_ids(image)
    model = getattr(hf, f"{name}ForConditionalGeneration")(made)
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


def vision_model(model_type: str, **changes: Any) -> dict[str, Any]:
    widths = {"hidden_size": 24, "intermediate_size": 32}
    return {"model_type": model_type, **widths, **LAYERS, "image_size": 56, "patch_size": 14, **changes}


def square(side: int) -> dict[str, int]:
    """A size in pixels, as the image processors want it."""
    return {"height": side, "width": side}


# Tokenizers


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
    processor = hf.LlavaProcessor(
        hf.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size=square(56)),
        legacy_llama_tokenizer(),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat.LLAVA,
    )
    text = {"model_type": "llama", "num_key_value_heads": 2}
    vision = vision_model("clip_vision_model", num_hidden_layers=3)  # the last but one is read
    layer: dict[str, Any] = {"vision_feature_layer": -2, "vision_feature_select_strategy": "default"}
    save(folder, "Llava", processor, "<image>", text, vision, **layer, image_seq_length=16)


def save_llava_onevision(folder: Path) -> None:
    """Images are cut into up to 3 x 3 tiles."""
    pinpoints = [[28 * rows, 28 * columns] for rows in (1, 2, 3) for columns in (1, 2, 3)]
    processor = hf.LlavaOnevisionProcessor(
        hf.LlavaOnevisionImageProcessor(size=square(28), image_grid_pinpoints=pinpoints),
        qwen_tokenizer("<image>", "<video>"),
        hf.LlavaOnevisionVideoProcessor(size=square(28)),
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
        chat_template=chat.ONEVISION,
    )
    vision = vision_model("siglip_vision_model", image_size=28, vision_use_head=False)
    tiles = {"image_grid_pinpoints": pinpoints, "vision_aspect_ratio": "anyres_max_9"}
    video = processor.video_token_id
    text = {"model_type": "qwen2"}
    save(folder, "LlavaOnevision", processor, "<image>", text, vision, **tiles, video_token_index=video)


# InstructBLIP


def save_instructblip(folder: Path) -> None:
    """With a Vicuna, whose first token is its last one: "</s>"."""
    named = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "[PAD]"}
    letters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
    numbered = {piece: number for number, piece in enumerate(pieces)}
    processor = hf.InstructBlipProcessor(
        hf.BlipImageProcessor(size=square(28)),
        hf.LlamaTokenizer(**llama_vocabulary(), **named, add_bos_token=True),
        hf.BertTokenizer(vocab=numbered, bos_token="[DEC]"),
        num_query_tokens=12,
    )
    text = {"model_type": "llama", "num_key_value_heads": 2}
    vision = {**LAYERS, "hidden_size": 32, "intermediate_size": 32, "image_size": 28, "patch_size": 14}
    length = len(processor.qformer_tokenizer)
    qformer = {**LAYERS, "hidden_size": 48, "intermediate_size": 32, "vocab_size": length}
    save(folder, "InstructBlip", processor, "<image>", text, vision, qformer_config=qformer, num_query_tokens=12)


# Qwen-VL


def save_qwen(
    folder: Path,
    name: str,
    video_processor: Any,
    template: str,
    side: int,
    text: dict[str, Any],
    vision: dict[str, Any],
    **pixels: Any,
) -> None:
    """An image has 16 to 40 tokens of side x side pixels; `pixels`: what else its processor is told."""
    size = {"shortest_edge": 16 * side**2, "longest_edge": 40 * side**2}
    tokens = {f"{part}_token_id": f"<|{part}|>" for part in ("vision_start", "vision_end")}
    tokens |= {f"{part}_token_id": f"<|{part}_pad|>" for part in ("image", "video")}
    tokenizer = qwen_tokenizer(*tokens.values())
    images = hf.Qwen2VLImageProcessor(size=size, patch_size=side // 2, **pixels)
    videos = video_processor(size=size, **pixels)
    processor = getattr(hf, f"{name}Processor")(images, tokenizer, videos, chat_template=template)
    ids = {field: tokenizer.convert_tokens_to_ids(token) for field, token in tokens.items()}
    vision = {"depth": 2, "num_heads": 2, "patch_size": side // 2, **vision}
    save(folder, name, processor, "<|image_pad|>", text, vision, **ids)


ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}}
WIDTHS = {"hidden_size": 24, "intermediate_size": 32, "out_hidden_size": 32}


def save_qwen2_vl(folder: Path) -> None:
    vision = {"embed_dim": 24, "mlp_ratio": 2, "hidden_size": 32}
    save_qwen(folder, "Qwen2VL", hf.Qwen2VLVideoProcessor, chat.QWEN2, 28, ROPE, vision)


def save_qwen2_5_vl(folder: Path) -> None:
    """The first vision layer attends within windows of 4 x 4 tokens."""
    vision = {**WIDTHS, "window_size": 112, "fullatt_block_indexes": [1]}
    save_qwen(folder, "Qwen2_5_VL", hf.Qwen2VLVideoProcessor, chat.QWEN2, 28, ROPE, vision)


def save_qwen3_vl(folder: Path) -> None:
    """The first vision layer is also read by the first language layer; there is no system prompt of its own."""
    sections = {"mrope_section": [4, 2, 2], "mrope_interleaved": True}
    text = {"head_dim": 16, "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, **sections}}
    vision = {**WIDTHS, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    save_qwen(folder, "Qwen3VL", hf.Qwen3VLVideoProcessor, chat.QWEN3, 32, text, vision, **half)


SAVE: dict[str, Callable[[Path], None]] = {
    "llava": save_llava,
    "llava_onevision": save_llava_onevision,
    "instructblip": save_instructblip,
    "qwen2_vl": save_qwen2_vl,
    "qwen2_5_vl": save_qwen2_5_vl,
    "qwen3_vl": save_qwen3_vl,
}
