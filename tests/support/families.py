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

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertTokenizer,
    BlipImageProcessor,
    CLIPImageProcessor,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessor,
    Gemma3Processor,
    GemmaTokenizer,
    GotOcr2ImageProcessor,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessor,
    Idefics3Processor,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    LlamaTokenizer,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    LlavaProcessor,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    MllamaConfig,
    MllamaForConditionalGeneration,
    MllamaImageProcessor,
    MllamaProcessor,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    PixtralImageProcessor,
    PixtralProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    SiglipImageProcessor,
)

SENTENCES = [
    "You are a helpful assistant. USER: ASSISTANT: system user assistant",
    "Question: What colour is the card on the left of the table? Short answer: blue",
    "How many people are in the photo? two. Is the dog next to the bench? yes. no",
    "Which animal stands behind the red car? The white cat.",
]

LLAVA_TEMPLATE = """
{%- for message in messages -%}
    {%- if message.role != "system" %}{{ message.role | upper }}: {% endif -%}
    {%- for part in message.content if part.type == "image" %}{{ "<image>\n" }}{% endfor -%}
    {%- for part in message.content if part.type == "text" %}{{ part.text }} {% endfor -%}
{%- endfor -%}
{%- if add_generation_prompt %}ASSISTANT:{% endif -%}
"""

ONEVISION_TEMPLATE = """
{%- for message in messages -%}
    {{- "<|im_start|>" + message.role + " " -}}
    {%- for part in message.content if part.type == "image" %}<image>{% endfor -%}
    {%- for part in message.content if part.type == "text" %}{{ "\n" + part.text }}{% endfor -%}
    <|im_end|>
{%- endfor -%}
{%- if add_generation_prompt %}{{ "<|im_start|>assistant\n" }}{% endif -%}
"""

QWEN3_TEMPLATE = """
{%- for message in messages -%}
    {{- "<|im_start|>" + message.role + "\n" -}}
    {%- if message.content is string %}{{ message.content }}{% else -%}
        {%- for part in message.content -%}
            {%- if part.type == "image" %}<|vision_start|><|image_pad|><|vision_end|>
            {%- elif part.type == "text" %}{{ part.text }}{% endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{- "<|im_end|>\n" -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ "<|im_start|>assistant\n" }}{% endif -%}
"""

QWEN_SYSTEM = """
{%- if messages[0].role != "system" -%}
    {{- "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n" -}}
{%- endif -%}
"""

QWEN2_TEMPLATE = QWEN_SYSTEM + QWEN3_TEMPLATE

LLAVA_NEXT_TEMPLATE = """
{%- for message in messages -%}
    {{- "[INST] " -}}
    {%- for part in message.content if part.type == "image" %}{{ "<image>\n" }}{% endfor -%}
    {%- for part in message.content if part.type == "text" %}{{ part.text }}{% endfor -%}
    {{- " [/INST]" -}}
{%- endfor -%}
"""

INTERNVL_TEMPLATE = """
{%- for message in messages -%}
    {{- "<|im_start|>" + message.role + "\n" -}}
    {%- for part in message.content -%}
        {%- if part.type == "image" %}{{ "<IMG_CONTEXT>\n" }}{% else %}{{ part.text }}{% endif -%}
    {%- endfor -%}
    {{- "<|im_end|>\n" -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ "<|im_start|>assistant\n" }}{% endif -%}
"""

IDEFICS3_TEMPLATE = """
{{- "<|begin_of_text|>" -}}
{%- for message in messages -%}
    {{- message.role | capitalize + (":" if message.content[0].type == "image" else ": ") -}}
    {%- for part in message.content -%}
        {%- if part.type == "image" %}<image>{% else %}{{ part.text }}{% endif -%}
    {%- endfor -%}
    {{- "<end_of_utterance>\n" -}}
{%- endfor -%}
{%- if add_generation_prompt %}Assistant:{% endif -%}
"""

GEMMA3_TEMPLATE = """
{{- bos_token -}}
{%- for message in messages -%}
    {{- "<start_of_turn>" + message.role + "\n" -}}
    {%- for part in message.content -%}
        {%- if part.type == "image" %}<start_of_image>{% else %}{{ part.text | trim }}{% endif -%}
    {%- endfor -%}
    {{- "<end_of_turn>\n" -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ "<start_of_turn>model\n" }}{% endif -%}
"""

MISTRAL3_TEMPLATE = """
{{- bos_token -}}
{%- for message in messages -%}
    [INST]
    {%- for part in message.content -%}
        {%- if part.type == "image" %}[IMG]{% else %}{{ part.text }}{% endif -%}
    {%- endfor -%}
    [/INST]
{%- endfor -%}
"""


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
    return PreTrainedTokenizerFast(
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
    return Qwen2Tokenizer(
        **train(bpe, [], pre_tokenizers.ByteLevel.alphabet()),
        eos_token="<|im_end|>",
        padding_side="left",
        extra_special_tokens={"turn": "<|im_start|>", **named} if named else ["<|im_start|>", *image_tokens],
    )


# LLaVA


def save_llava(folder: Path) -> None:
    tokenizer = legacy_llama_tokenizer()
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_TEMPLATE,
    )
    config = LlavaConfig(
        text_config=language_model(tokenizer, model_type="llama", num_key_value_heads=2),
        vision_config=vision_model("clip_vision_model", num_hidden_layers=3),  # the last but one is read
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=16,
        image_token_index=processor.image_token_id,
    )
    save(folder, LlavaForConditionalGeneration, config, processor)


def save_llava_onevision(folder: Path) -> None:
    """Images are cut into up to 3 x 3 tiles."""
    tokenizer = qwen_tokenizer("<image>", "<video>")
    pinpoints = [[28 * rows, 28 * columns] for rows in (1, 2, 3) for columns in (1, 2, 3)]
    side = {"height": 28, "width": 28}
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(size=side, image_grid_pinpoints=pinpoints),
        tokenizer,
        LlavaOnevisionVideoProcessor(size=side),
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
        chat_template=ONEVISION_TEMPLATE,
    )
    config = LlavaOnevisionConfig(
        text_config=language_model(tokenizer, model_type="qwen2"),
        vision_config=vision_model("siglip_vision_model", image_size=28, vision_use_head=False),
        image_grid_pinpoints=pinpoints,
        vision_aspect_ratio="anyres_max_9",
        image_token_index=processor.image_token_id,
        video_token_index=processor.video_token_id,
    )
    save(folder, LlavaOnevisionForConditionalGeneration, config, processor)


# InstructBLIP


def save_instructblip(folder: Path) -> None:
    """With a Vicuna, whose first token is its last one: "</s>"."""
    tokenizer = LlamaTokenizer(
        **llama_vocabulary(),
        bos_token="</s>",
        eos_token="</s>",
        unk_token="</s>",
        pad_token="[PAD]",
        add_bos_token=True,
    )
    letters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
    qformer_tokenizer = BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, bos_token="[DEC]")
    processor = InstructBlipProcessor(
        BlipImageProcessor(size={"height": 28, "width": 28}), tokenizer, qformer_tokenizer, num_query_tokens=12
    )
    config = InstructBlipConfig(
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
    save(folder, InstructBlipForConditionalGeneration, config, processor)


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
        Qwen2VLForConditionalGeneration,
        Qwen2VLConfig,
        Qwen2VLProcessor,
        Qwen2VLImageProcessor(size=size),
        Qwen2VLVideoProcessor(size=size),
        QWEN2_TEMPLATE,
        text={"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}},
        vision={"patch_size": 14, "embed_dim": 24, "mlp_ratio": 2, "hidden_size": 32},
    )


def save_qwen2_5_vl(folder: Path) -> None:
    """The first vision layer looks at windows of 4 x 4 tokens."""
    size = between(16, 40, side=28)
    save_qwen(
        folder,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLConfig,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor(size=size),
        Qwen2VLVideoProcessor(size=size),
        QWEN2_TEMPLATE,
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
        Qwen3VLForConditionalGeneration,
        Qwen3VLConfig,
        Qwen3VLProcessor,
        Qwen2VLImageProcessor(size=size, patch_size=16, **half),
        Qwen3VLVideoProcessor(size=size, **half),
        QWEN3_TEMPLATE,
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


# LLaVA-NeXT, InternVL, Idefics 3 (SmolVLM), Gemma 3, Mistral 3


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
    return PreTrainedTokenizerFast(
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
    return GemmaTokenizer(
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
    tokenizer = legacy_llama_tokenizer()
    pinpoints = [[28, 56], [56, 28], [56, 56], [84, 28], [28, 84]]
    processor = LlavaNextProcessor(
        LlavaNextImageProcessor(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, image_grid_pinpoints=pinpoints
        ),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_NEXT_TEMPLATE,
    )
    config = LlavaNextConfig(
        text_config=language_model(tokenizer, model_type="mistral"),
        vision_config=vision_model("clip_vision_model", num_hidden_layers=3, image_size=28),
        image_grid_pinpoints=pinpoints,
        image_token_index=processor.image_token_id,
    )
    save(folder, LlavaNextForConditionalGeneration, config, processor)


def save_internvl(folder: Path) -> None:
    """Images are cut into up to 6 tiles; the whole comes behind them. Four patches become one token."""
    tokenizer = qwen_tokenizer(
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    side = {"height": 56, "width": 56}
    processor = InternVLProcessor(
        GotOcr2ImageProcessor(size=side, max_patches=6, crop_to_patches=True),
        tokenizer,
        InternVLVideoProcessor(size=side),
        image_seq_length=4,
        chat_template=INTERNVL_TEMPLATE,
    )
    config = InternVLConfig(
        text_config=language_model(tokenizer, model_type="qwen2"),
        vision_config=vision_model("internvl_vision"),
        image_token_id=processor.image_token_id,
        image_seq_length=4,
    )
    save(folder, InternVLForConditionalGeneration, config, processor)


def save_idefics3(folder: Path) -> None:
    """Images are cut into rows and columns of tiles, each of which a token of its own names; the whole comes last."""
    places = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    image_tokens = ["<fake_token_around_image>", "<global-img>", "<image>", "<end_of_utterance>"]
    tokenizer = byte_tokenizer("<|begin_of_text|>", "<|end_of_text|>", *image_tokens, *places)
    processor = Idefics3Processor(
        Idefics3ImageProcessor(size={"longest_edge": 112}, max_image_size={"longest_edge": 56}),
        tokenizer,
        image_seq_len=4,
        chat_template=IDEFICS3_TEMPLATE,
    )
    config = Idefics3Config(
        text_config=language_model(tokenizer, model_type="llama"),
        vision_config=vision_model("idefics3_vision"),
        image_token_id=processor.image_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    save(folder, Idefics3ForConditionalGeneration, config, processor)


def save_gemma3(folder: Path) -> None:
    """An image's tokens look at one another, in both directions; the first layer sees what is 16 tokens away."""
    tokens = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    tokenizer = gemma_tokenizer(**tokens)
    processor = Gemma3Processor(
        Gemma3ImageProcessor(size={"height": 56, "width": 56}),
        tokenizer,
        image_seq_length=4,
        chat_template=GEMMA3_TEMPLATE,
    )
    config = Gemma3Config(
        text_config=language_model(
            tokenizer,
            head_dim=16,
            query_pre_attn_scalar=16,
            sliding_window=16,
            layer_types=["sliding_attention", "full_attention"],
        ),
        vision_config=vision_model("siglip_vision_model", vision_use_head=False),
        mm_tokens_per_image=4,
        **{
            name.replace("token", "token_index"): tokenizer.convert_tokens_to_ids(token)
            for name, token in tokens.items()
        },
    )
    save(folder, Gemma3ForConditionalGeneration, config, processor)


def save_mistral3(folder: Path) -> None:
    """Images keep their proportions; a token stands at the end of each row of theirs."""
    tokenizer = byte_tokenizer("<s>", "</s>", "[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]")
    processor = PixtralProcessor(
        PixtralImageProcessor(size={"longest_edge": 112}, patch_size=14),
        tokenizer,
        patch_size=14,
        spatial_merge_size=2,
        chat_template=MISTRAL3_TEMPLATE,
    )
    config = Mistral3Config(
        text_config=language_model(tokenizer, model_type="mistral", head_dim=16),
        vision_config=vision_model("pixtral", image_size=112),
        image_token_index=processor.image_token_id,
    )
    save(folder, Mistral3ForConditionalGeneration, config, processor)


# What is refused: a prompt's tokens that look ahead; images that are looked at from within the language model


def save_paligemma(folder: Path) -> None:
    tokenizer = gemma_tokenizer(image_token="<image>")
    processor = PaliGemmaProcessor(
        SiglipImageProcessor(size={"height": 56, "width": 56}, image_seq_length=16), tokenizer
    )
    config = PaliGemmaConfig(
        text_config=language_model(tokenizer, model_type="gemma", head_dim=16),
        vision_config=vision_model("siglip_vision_model", vision_use_head=False),
        projection_dim=32,
        image_token_index=processor.image_token_id,
    )
    save(folder, PaliGemmaForConditionalGeneration, config, processor)


def save_mllama(folder: Path) -> None:
    tokenizer = byte_tokenizer("<|begin_of_text|>", "<|eot_id|>", "<|image|>", "<|python_tag|>")
    processor = MllamaProcessor(MllamaImageProcessor(size={"height": 56, "width": 56}), tokenizer)
    config = MllamaConfig(
        text_config=language_model(
            tokenizer, cross_attention_layers=[1], rope_parameters={"rope_type": "default", "rope_theta": 1e4}
        ),
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 2,
            "vision_output_dim": 48,
            "intermediate_layers_indices": [0],
            "image_size": 56,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<|image|>"),
    )
    save(folder, MllamaForConditionalGeneration, config, processor)


SAVE: dict[str, Callable[[Path], None]] = {
    "llava": save_llava,
    "llava_onevision": save_llava_onevision,
    "instructblip": save_instructblip,
    "qwen2_vl": save_qwen2_vl,
    "qwen2_5_vl": save_qwen2_5_vl,
    "qwen3_vl": save_qwen3_vl,
}

# Of families that are opened by their architecture alone.
MORE: dict[str, Callable[[Path], None]] = {
    "llava_next": save_llava_next,
    "internvl": save_internvl,
    "idefics3": save_idefics3,
    "gemma3": save_gemma3,
    "mistral3": save_mistral3,
}

REFUSED: dict[str, Callable[[Path], None]] = {"paligemma": save_paligemma, "mllama": save_mllama}
