"""MiniGPT-4 (Zhu et al., 2023) for `transformers`: BLIP-2's vision tower and Q-Former, one linear layer, and a Llama.

Facts: Vision-CAIR/MiniGPT-4, minigpt4/models/minigpt4.py and minigpt_base.py, minigpt4/conversation/conversation.py
(`CONV_VISION_Vicuna0`); for the input mode "paper" zjunlp/EasyEdit, easyeditor/trainer/blip2_models/mini_gpt4.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    BatchFeature,
    Blip2Config,
    Blip2ForConditionalGeneration,
    LlamaConfig,
    ProcessorMixin,
)

# What the conversation begins with.
SYSTEM = (
    "Give the following image: <Img>ImageContent</Img>. You will be able to see the image once I provide it to you. "
    "Please answer my questions."
)
# An answer ends here or at "</s>". Llama has several tokens for it, so that it is searched for in the text:
# `generate(..., stop_strings=END, tokenizer=...)`.
END = "###"


class MiniGPT4Config(Blip2Config):
    """A `Blip2Config` whose language model is a Llama, unless `text_config` says otherwise.

    `image_token_id` is the tokenizer's `<unk>`: Llama's has bytes for what it does not know, so that no text makes it
    but one that spells it out, and the vocabulary stays as it is.
    """

    model_type = "minigpt4"

    def __init__(self, text_config: Any = None, **kwargs: Any) -> None:
        super().__init__(text_config=LlamaConfig() if text_config is None else text_config, **kwargs)


class MiniGPT4ForConditionalGeneration(Blip2ForConditionalGeneration):
    """The modules are BLIP-2's: `vision_model`, `qformer` with `query_tokens`, `language_projection`, `language_model`.

    Each `image_token_id` of `input_ids`, wherever it stands, is replaced by the next of the images' projected queries
    (`num_query_tokens` an image). `generate` gives prompts and continuations. Text alone goes through `language_model`.
    """

    config_class = MiniGPT4Config


def segments(text: str, mode: str, with_image: bool) -> list[str | None]:
    """A user's text as the model is to read it: what is tokenised piece by piece, and None where the image stands.

    "native": a conversation of one turn; the words before and behind the image are one piece each, as in
    `get_context_emb`. The released code always has an image; without one its conversation is the same, less the image.
    "paper": as in `text_encoding`, the text is a piece of its own behind the image, without one it stands alone.
    """
    if mode == "native":
        if with_image:
            return [f"{SYSTEM}{END}Human: <Img>", None, f"</Img> {text}{END}Assistant: "]
        return [f"{SYSTEM}{END}Human: {text}{END}Assistant: "]
    return [f"{END}Human: <Img>", None, "</Img> ", text] if with_image else [text]


def prompt_ids(tokenizer: Any, text: str, mode: str, image: Sequence[int] = ()) -> list[int]:
    """The tokens of a user's text in its `segments`; `image`: what stands for its image, empty where there is none.

    "native" begins with `<s>`, "paper" does not. Where the pieces are cut matters: Llama's tokenizer puts a space
    before each, so that "</Img>" is read as " </Img>", and gives a space at a piece's end a token. An answer is a piece
    of its own in "native", where it follows "Assistant: ", and the end of the text's piece in "paper".
    """
    ids = [tokenizer.bos_token_id] if mode == "native" else []
    for piece in segments(text, mode, bool(image)):
        ids += image if piece is None else tokenizer(piece, add_special_tokens=False)["input_ids"]
    return ids


class MiniGPT4Processor(ProcessorMixin):
    """What users' texts and their images, if there are any, are to `MiniGPT4ForConditionalGeneration`.

    Each text is put as in the input mode "native", its image first. Rows are padded on the left.
    """

    def __init__(self, image_processor: Any, tokenizer: Any, num_query_tokens: int = 32) -> None:
        self.num_query_tokens = num_query_tokens
        super().__init__(image_processor, tokenizer)

    def __call__(
        self, images: Any = None, text: str | Sequence[str] = "", return_tensors: str | None = None, **options: Any
    ) -> BatchFeature:
        """The model's "input_ids" and "attention_mask" and, with images, one for each text, "pixel_values".

        `options`: of the image processor, such as `size`.
        """
        texts = [text] if isinstance(text, str) else text
        image = [self.tokenizer.unk_token_id] * self.num_query_tokens if images is not None else []
        rows = [prompt_ids(self.tokenizer, text, "native", image) for text in texts]
        made = dict(self.tokenizer.pad({"input_ids": rows}, padding_side="left", return_tensors=return_tensors))
        if images is not None:
            made |= self.image_processor(images, return_tensors=return_tensors, **options)
        return BatchFeature(made)


AutoConfig.register("minigpt4", MiniGPT4Config)
AutoModelForImageTextToText.register(MiniGPT4Config, MiniGPT4ForConditionalGeneration)
AutoProcessor.register(MiniGPT4Config, MiniGPT4Processor)
