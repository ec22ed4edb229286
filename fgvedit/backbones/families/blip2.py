"""BLIP-2 with a decoder-only language model, such as OPT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import transformers
from torch import nn

from fgvedit.backbones.answering import Query, question_prompt
from fgvedit.backbones.base import IMAGE, Backbone, blocks_of
from fgvedit.backbones.loading import LoadSpec, fit_tokenizer, open_model, open_processor
from fgvedit.schema import ImageRef
from fgvedit.util.errors import FGVEditError

ENCODE_BATCH = 32  # images through the vision tower at once
PAPER_PIXELS = 364  # the released FGVEdit code's images, for which it interpolates the tower's positions


class Blip2Backbone(Backbone):
    """A folder that `Blip2ForConditionalGeneration` and `Blip2Processor` were saved in (Li et al. 2023).

    The features of an image are the Q-Former's outputs for its queries: (queries, Q-Former width). Both input modes put
    a question about an image in the released FGVEdit code's words. "native" takes images and special tokens (OPT's at
    the start of a text) as the processor makes them, and puts every question in these words; "paper" has images of 364
    pixels, no special token, and a question without an image in no words but its own.
    """

    model_class = transformers.Blip2ForConditionalGeneration
    processor_class = transformers.Blip2Processor

    def __init__(self, spec: LoadSpec) -> None:
        """Raises `FGVEditError` for a file that is missing or damaged and for an encoder-decoder language model."""
        super().__init__(spec)
        check_decoder(spec.folder)
        self.processor = open_processor(spec, self.processor_class)
        self.model = open_model(spec, self.model_class)
        self.language_model = self.model.language_model
        self.tokenizer = self.processor.tokenizer
        fit_tokenizer(spec, self.tokenizer, self.language_model)
        self.image_size = (
            {"size": {"height": PAPER_PIXELS, "width": PAPER_PIXELS}} if self.input_mode == "paper" else {}
        )

    def encode_images(self, images: Sequence[ImageRef]) -> list[torch.Tensor]:
        """The features of each image, (tokens, feature width), `ENCODE_BATCH` images at a time."""
        starts = range(0, len(images), ENCODE_BATCH)
        return [row for start in starts for row in self.encode_batch(images[start : start + ENCODE_BATCH])]

    def encode_batch(self, images: Sequence[ImageRef]) -> torch.Tensor:
        """(n, queries, Q-Former width) of images that go through the vision tower together."""
        states = self.vision_states(images)
        queries = self.model.query_tokens.expand(len(images), -1, -1)
        # In float16 transformers keeps the Q-Former in single precision.
        asked = self.model.qformer(query_embeds=queries, encoder_hidden_states=states.to(queries.dtype))
        return asked.last_hidden_state.to(self.dtype)

    def vision_states(self, images: Sequence[ImageRef]) -> torch.Tensor:
        """(n, patches, vision width): the vision tower's last states."""
        opened = [image.open() for image in images]
        pixels = self.processor.image_processor(opened, return_tensors="pt", **self.image_size)["pixel_values"]
        weight = next(self.model.vision_model.parameters())
        return self.model.vision_model(
            pixels.to(weight.device, weight.dtype), interpolate_pos_encoding=self.input_mode == "paper"
        ).last_hidden_state

    @property
    def connector(self) -> nn.Module:
        """The linear layer from the Q-Former's width to the language model's."""
        return self.model.language_projection

    @property
    def feature_width(self) -> int:
        """The Q-Former's width."""
        return self.model.config.qformer_config.hidden_size

    @property
    def language_layers(self) -> nn.ModuleList:
        """The decoder layers of OPT, or of another language model."""
        return blocks_of(self.language_model)

    def prompt(self, question: str) -> str:
        """The released FGVEdit code's words around a question, in both input modes."""
        return question_prompt(question)

    def prompt_of(self, query: Query) -> str:
        """As `prompt`; the question alone for one without an image in the input mode "paper"."""
        bare = self.input_mode == "paper" and query.image is None
        return query.question if bare else self.prompt(query.question)

    def prompt_ids(self, prompt: str, with_image: bool) -> list[int]:
        """The image, then the text, with its special tokens in the input mode "native" alone."""
        text = self.tokenizer(prompt, add_special_tokens=self.input_mode == "native")["input_ids"]
        return [IMAGE, *text] if with_image else text


def check_decoder(folder: Path) -> None:
    """Raises `FGVEditError` for a language model that has an encoder too, such as T5."""
    text = transformers.AutoConfig.from_pretrained(folder, local_files_only=True).get_text_config()
    if text.is_encoder_decoder:
        raise FGVEditError(
            f"'{folder / 'config.json'}': the language model is of type '{text.model_type}', which has an encoder; "
            "expected one that is a decoder alone, such as 'opt'"
        )
