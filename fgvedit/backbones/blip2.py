"""BLIP-2 with an OPT language model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import torch
import transformers
from torch import nn

from fgvedit.backbones.base import Backbone
from fgvedit.errors import FGVEditError, one_line
from fgvedit.schema import ImageRef

ENCODE_BATCH = 32  # images through the vision tower at once


class Blip2Backbone(Backbone):
    """A folder that `Blip2ForConditionalGeneration` and `Blip2Processor` were saved in.

    The features of an image are the Q-Former's outputs for its queries: (queries, Q-Former width). The prompt is that
    of the released FGVEdit code, with no token before it.
    """

    model: Any  # Blip2ForConditionalGeneration, of whose parts transformers does not say the types

    def __init__(
        self,
        folder: Path,
        name: str,
        revision: str,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Raises `FGVEditError` for a file that is missing or damaged and for a language model other than OPT."""
        super().__init__()
        self.name = name
        self.revision = revision
        _check_files(folder)
        with quiet_transformers():
            try:
                processor = transformers.Blip2Processor.from_pretrained(folder, local_files_only=True)
            except Exception as error:  # tokenizer and image processor raise whatever their parsers do
                raise FGVEditError(
                    f"backbone '{name}': the tokenizer and processor files in '{folder}' cannot be read "
                    f"({one_line(error)}); expected those that Blip2Processor.save_pretrained wrote"
                ) from error
            try:
                opened: Any = transformers.Blip2ForConditionalGeneration.from_pretrained(
                    folder, local_files_only=True, use_safetensors=True, dtype=dtype, output_loading_info=True
                )
            except (OSError, RuntimeError, ValueError, safetensors.SafetensorError) as error:
                raise FGVEditError(
                    f"backbone '{name}': the weights in '{folder}' do not fit its config.json ({one_line(error)})"
                ) from error
        self.model, loading = opened
        # transformers fills what it does not find with random numbers, and says so in a log.
        for fault in ("missing_keys", "mismatched_keys"):
            if loading[fault]:
                raise FGVEditError(
                    f"backbone '{name}': the safetensors in '{folder}' do not hold all that its config.json asks for; "
                    f"{fault.replace('_', ' ')}: {', '.join(map(str, sorted(loading[fault])[:3]))}"
                )
        self.model.to(device).eval().requires_grad_(False)
        self.language_model = self.model.language_model
        self.image_processor = processor.image_processor
        self.tokenizer = processor.tokenizer
        rows = self.model.language_model.get_input_embeddings().num_embeddings
        if len(self.tokenizer) > rows:
            raise FGVEditError(
                f"backbone '{name}': the tokenizer in '{folder}' has {len(self.tokenizer)} tokens, expected at most "
                f"the language model's {rows}"
            )

    def encode_images(self, images: Sequence[ImageRef]) -> torch.Tensor:
        return torch.cat(
            [self._encode(images[start : start + ENCODE_BATCH]) for start in range(0, len(images), ENCODE_BATCH)]
        )

    def _encode(self, images: Sequence[ImageRef]) -> torch.Tensor:
        pixels = self.image_processor([image.open() for image in images], return_tensors="pt")["pixel_values"]
        seen = self.model.vision_model(pixels.to(self.device, self.dtype)).last_hidden_state
        queries = self.model.query_tokens.expand(len(images), -1, -1)
        # In half precision transformers keeps the Q-Former in single.
        asked = self.model.qformer(query_embeds=queries, encoder_hidden_states=seen.to(queries.dtype))
        return asked.last_hidden_state.to(self.dtype)

    @property
    def connector(self) -> nn.Module:
        return self.model.language_projection

    @property
    def feature_width(self) -> int:
        return self.model.config.qformer_config.hidden_size

    @property
    def language_layers(self) -> list[nn.Module]:
        return list(self.language_model.model.decoder.layers)  # type: ignore[union-attr, arg-type]

    def prompt(self, question: str) -> str:
        return question_prompt(question)


def question_prompt(question: str) -> str:
    """The released FGVEdit code's words around a question."""
    return f"Question: {question} Short answer:"


def _check_files(folder: Path) -> None:
    """Raises `FGVEditError`, naming the file, for what `from_pretrained` says in many words or not at all."""
    config = json.loads((folder / "config.json").read_text())
    language_model = (config.get("text_config") or {}).get("model_type", "opt")
    if language_model != "opt":
        raise FGVEditError(
            f"'{folder / 'config.json'}': the language model is of type '{language_model}', expected 'opt'"
        )
    index = folder / "model.safetensors.index.json"
    try:
        shards = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else {"model.safetensors"}
    except (ValueError, KeyError, AttributeError) as error:
        raise FGVEditError(f"'{index}': expected the JSON index of the weights' files, found another") from error
    for shard in sorted(shards):
        path = folder / shard
        if not path.is_file():
            raise FGVEditError(f"weights '{path}' are missing; expected a safetensors file")
        try:
            with safetensors.safe_open(path, framework="pt"):
                pass
        except safetensors.SafetensorError as error:
            raise FGVEditError(
                f"weights '{path}' are truncated or damaged: expected a whole safetensors file, found "
                f"{path.stat().st_size} bytes ({error})"
            ) from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No loading bars and reports on the terminal; what is wrong is raised instead."""
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
