"""Checkpoints as in `families`, of architectures that are opened without a class of their own, or refused: LLaVA-NeXT,
InternVL, Idefics 3 (SmolVLM), Gemma 3, Mistral 3; PaliGemma, Mllama."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import chat_templates as chat
import transformers as hf
from families import legacy_llama_tokenizer, llama_vocabulary, qwen_tokenizer, save, square, train, vision_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors


def byte_tokenizer(begin: str, end: str, *others: str) -> Any:
    """As Llama 3 and Mistral's Tekken have it: bytes, and a token that begins every text."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made = train(bpe, [], pre_tokenizers.ByteLevel.alphabet())
    bpe.model = models.BPE(**made)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens([begin, end, *others])
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, bpe.token_to_id(begin))]
    )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=begin,
        eos_token=end,
        pad_token=end,
        padding_side="left",
        extra_special_tokens=list(others),
    )


def gemma_tokenizer(**image_tokens: str) -> Any:
    """Line breaks side by side are one token, as in the checkpoints; no space is put before a text."""
    vocabulary = llama_vocabulary()
    for lines in ("\n", "\n\n", "\n\n\n"):
        vocabulary["vocab"][lines] = len(vocabulary["vocab"])
    vocabulary["merges"] += [("\n", "\n"), ("\n\n", "\n")]
    return hf.GemmaTokenizer(
        **vocabulary,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<unk>",
        mask_token="<unk>",
        add_bos_token=True,
        padding_side="left",
        extra_special_tokens={"start": "<start_of_turn>", "end": "<end_of_turn>", **image_tokens},
    )


def save_llava_next(folder: Path) -> None:
    """Images are cut into up to 2 x 2 tiles, or 3 in a row; the whole comes before them."""
    pinpoints = [[28, 56], [56, 28], [56, 56], [84, 28], [28, 84]]
    processor = hf.LlavaNextProcessor(
        hf.LlavaNextImageProcessor(size={"shortest_edge": 28}, crop_size=square(28), image_grid_pinpoints=pinpoints),
        legacy_llama_tokenizer(),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat.LLAVA_NEXT,
    )
    vision = vision_model("clip_vision_model", num_hidden_layers=3, image_size=28)
    text = {"model_type": "mistral"}
    save(folder, "LlavaNext", processor, "<image>", text, vision, image_grid_pinpoints=pinpoints)


def save_internvl(folder: Path) -> None:
    """Images are cut into up to 6 tiles; the whole comes behind them. Four patches become one token."""
    start_and_end = {"start_image_token": "<img>", "end_image_token": "</img>"}
    processor = hf.InternVLProcessor(
        hf.GotOcr2ImageProcessor(size=square(56), max_patches=6, crop_to_patches=True),
        qwen_tokenizer(**start_and_end, context_image_token="<IMG_CONTEXT>", video_token="<video>"),
        hf.InternVLVideoProcessor(size=square(56)),
        image_seq_length=4,
        chat_template=chat.INTERNVL,
    )
    text, vision = {"model_type": "qwen2"}, vision_model("internvl_vision")
    save(folder, "InternVL", processor, "<IMG_CONTEXT>", text, vision, image_seq_length=4)


def save_idefics3(folder: Path) -> None:
    """Images are cut into rows and columns of tiles, each of which a token of its own names; the whole comes last."""
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    image_tokens = ["<fake_token_around_image>", "<global-img>", "<image>", "<end_of_utterance>"]
    tokenizer = byte_tokenizer("<|begin_of_text|>", "<|end_of_text|>", *image_tokens, *tiles)
    processor = hf.Idefics3Processor(
        hf.Idefics3ImageProcessor(size={"longest_edge": 112}, max_image_size={"longest_edge": 56}),
        tokenizer,
        image_seq_len=4,
        chat_template=chat.IDEFICS3,
    )
    text, vision = {"model_type": "llama"}, vision_model("idefics3_vision")
    save(folder, "Idefics3", processor, "<image>", text, vision, pad_token_id=tokenizer.pad_token_id)


def save_gemma3(folder: Path) -> None:
    """An image's tokens attend to one another, in both directions; the first layer reaches what is 16 tokens away."""
    tokens = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    tokenizer = gemma_tokenizer(**tokens)
    image_processor = hf.Gemma3ImageProcessor(size=square(56))
    processor = hf.Gemma3Processor(image_processor, tokenizer, image_seq_length=4, chat_template=chat.GEMMA3)
    text = {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 16}
    layers = {"layer_types": ["sliding_attention", "full_attention"]}
    vision = vision_model("siglip_vision_model", vision_use_head=False)
    ids = {f"{name}_index": tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()}
    image = tokens["image_token"]
    save(folder, "Gemma3", processor, image, {**text, **layers}, vision, mm_tokens_per_image=4, **ids)


def save_mistral3(folder: Path) -> None:
    """Images keep their proportions; a token stands at the end of each row of theirs."""
    processor = hf.PixtralProcessor(
        hf.PixtralImageProcessor(size={"longest_edge": 112}, patch_size=14),
        byte_tokenizer("<s>", "</s>", "[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]"),
        patch_size=14,
        spatial_merge_size=2,
        chat_template=chat.MISTRAL3,
    )
    text, vision = {"model_type": "mistral", "head_dim": 16}, vision_model("pixtral", image_size=112)
    save(folder, "Mistral3", processor, "[IMG]", text, vision)


# What is refused: a prompt's tokens that attend to those behind them; images that the language model's layers attend to


def save_paligemma(folder: Path) -> None:
    images = hf.SiglipImageProcessor(size=square(56), image_seq_length=16)
    processor = hf.PaliGemmaProcessor(images, gemma_tokenizer(image_token="<image>"))
    text = {"model_type": "gemma", "head_dim": 16}
    vision = vision_model("siglip_vision_model", vision_use_head=False)
    save(folder, "PaliGemma", processor, "<image>", text, vision, projection_dim=32)


def save_mllama(folder: Path) -> None:
    tokenizer = byte_tokenizer("<|begin_of_text|>", "<|eot_id|>", "<|image|>", "<|python_tag|>")
    processor = hf.MllamaProcessor(hf.MllamaImageProcessor(size=square(56)), tokenizer)
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
    vision = {
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_global_layers": 1,
        "attention_heads": 2,
        "vision_output_dim": 48,
        "intermediate_layers_indices": [0],
        "image_size": 56,
    }
    save(folder, "Mllama", processor, "<|image|>", {"cross_attention_layers": [1], **rope}, vision)


# Of families that are opened by their architecture alone.
MORE: dict[str, Callable[[Path], None]] = {
    "llava_next": save_llava_next,
    "internvl": save_internvl,
    "idefics3": save_idefics3,
    "gemma3": save_gemma3,
    "mistral3": save_mistral3,
}

REFUSED: dict[str, Callable[[Path], None]] = {"paligemma": save_paligemma, "mllama": save_mllama}
