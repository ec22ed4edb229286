"""The paper's models at their real size with random weights: what is in them, and how they get into folders."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from fgvedit.backbones.families.minigpt4.convert import Stored, write_weights
from fgvedit.backbones.families.minigpt4.modeling import MiniGPT4Config, MiniGPT4Processor
from fgvedit.backbones.loading import quiet_transformers
from fgvedit.util.files import whole_folder, write_json
from fgvedit.util.tensors import write_tensors


@dataclass(frozen=True)
class Size:
    """A backbone and what MSCKE puts beside it, as arguments of their configurations.

    `clip`: as in the model configurations of `open_clip`; `counterfactual`: a language model, or None where it is the
    backbone's own.
    """

    vision: Mapping[str, int]
    qformer: Mapping[str, int]
    queries: int
    language: Mapping[str, Any]
    clip: Mapping[str, Any]
    counterfactual: Mapping[str, Any] | None


VIT_G = {
    "hidden_size": 1408,
    "intermediate_size": 6144,
    "num_hidden_layers": 39,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
}
QFORMER = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
OPT_2_7B = {
    "model_type": "opt",
    "vocab_size": 50304,
    "hidden_size": 2560,
    "word_embed_proj_dim": 2560,
    "ffn_dim": 10240,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
}
OPT_125M = {
    "model_type": "opt",
    "vocab_size": 50272,
    "hidden_size": 768,
    "word_embed_proj_dim": 768,
    "ffn_dim": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
LLAMA_7B = {
    "model_type": "llama",
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
}
VIT_L_14 = {
    "embed_dim": 768,
    "quick_gelu": True,  # as OpenAI's
    "vision_cfg": {"image_size": 224, "layers": 24, "width": 1024, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 768, "heads": 12, "layers": 12},
}
SIZES = {
    "blip2-opt-2.7b": Size(VIT_G, QFORMER, 32, OPT_2_7B, VIT_L_14, OPT_125M),
    "minigpt4-7b": Size(VIT_G, QFORMER, 32, LLAMA_7B, VIT_L_14, None),
}


@dataclass(frozen=True)
class Folders:
    """Where the models lie. The backbone's folder is called after the model, and so gets its shipped options."""

    backbone: Path
    clip: Path
    counterfactual: Path


def build(size: Size, model: str, work: Path, texts: Iterable[str]) -> Folders:
    """The models' folders within `work`; one that is there already is taken as it is.

    The tokenizer has the words of `texts`.
    """
    folders = Folders(work / model, work / f"{model}-clip", work / f"{model}-counterfactual")
    tokenizer = small_tokenizer(texts)
    if not folders.backbone.is_dir():
        save(folders.backbone, backbone_on_meta(size, tokenizer), processor(size, tokenizer))
    if size.counterfactual and not folders.counterfactual.is_dir():
        save(folders.counterfactual, language_model_on_meta(size.counterfactual), tokenizer)
    if not folders.clip.is_dir():
        save_clip(folders.clip, size.clip)
    return folders


# Models without weights


def backbone_on_meta(size: Size, tokenizer: Any) -> Any:
    """The backbone in bfloat16 on the meta device, with this tokenizer's special tokens."""
    kind = MiniGPT4Config if size.language["model_type"] == "llama" else transformers.Blip2Config
    config = kind(
        vision_config=dict(size.vision),
        qformer_config=dict(size.qformer),
        text_config={
            **size.language,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        num_query_tokens=size.queries,
        image_token_index=tokenizer.unk_token_id if kind is MiniGPT4Config else tokenizer.image_token_id,
        dtype=torch.bfloat16,
    )
    with torch.device("meta"), quiet_transformers():
        return transformers.AutoModelForImageTextToText.from_config(config)


def language_model_on_meta(language: Mapping[str, Any]) -> Any:
    """A language model in bfloat16 on the meta device, of the arguments of its configuration."""
    config = transformers.AutoConfig.for_model(**language, dtype=torch.bfloat16)
    with torch.device("meta"), quiet_transformers():
        return transformers.AutoModelForCausalLM.from_config(config)


def clip_on_meta(clip: Mapping[str, Any]) -> Any:
    """A CLIP of `open_clip` on the meta device, of its model configuration."""
    import open_clip

    with torch.device("meta"):
        return open_clip.CLIP(**clip)


# Folders


def save(folder: Path, model: Any, reader: Any) -> None:
    """What `save_pretrained` of a model and of its processor or tokenizer leaves, with one file of weights in memory at
    a time."""
    with whole_folder(folder) as partial:
        tensors = {
            name: Stored(folder, tuple(weight.shape), functools.partial(random_weight, name, weight.shape))
            for name, weight in model.named_parameters()
        }
        write_weights(partial, tensors, dict.fromkeys(tensors, torch.bfloat16))
        model.config.save_pretrained(partial)
        reader.save_pretrained(partial)


def save_clip(folder: Path, clip: Mapping[str, Any]) -> None:
    """What `open_clip` opens as `local-dir`."""
    with whole_folder(folder) as partial:
        weights = {name: random_weight(name, weight.shape) for name, weight in clip_on_meta(clip).named_parameters()}
        write_tensors(partial / "open_clip_model.safetensors", weights)
        write_json(partial / "open_clip_config.json", {"model_cfg": dict(clip), "preprocess_cfg": {}})


def random_weight(name: str, shape: torch.Size) -> torch.Tensor:
    """As before training: norms that change nothing, no biases, and the rest normal; the same for the same name."""
    if len(shape) < 2:
        return torch.full(shape, float(name.endswith("weight")), dtype=torch.bfloat16)
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    return torch.empty(shape, dtype=torch.bfloat16).normal_(0, 0.02, generator=generator)


def small_tokenizer(texts: Iterable[str]) -> Any:
    """Byte-level, with a token for each word of `texts`, so that a prompt is about as long as for a real one."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=["<unk>", "<s>", "</s>", "<image>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        padding_side="left",
        extra_special_tokens={"image_token": "<image>"},
    )


def processor(size: Size, tokenizer: Any) -> Any:
    """The backbone's processor, for images of its own size."""
    side = {"height": size.vision["image_size"], "width": size.vision["image_size"]}
    kind = MiniGPT4Processor if size.language["model_type"] == "llama" else transformers.Blip2Processor
    return kind(transformers.BlipImageProcessor(size=side), tokenizer, size.queries)
