"""What does not depend on the machine, counted on the meta device: parameters, bytes and operations by part."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.models import Size, backbone_on_meta, clip_on_meta, language_model_on_meta, small_tokenizer
from fgvedit.backbones.base import blocks_of
from fgvedit.backbones.families.blip2 import PAPER_PIXELS

PROMPT = 48  # tokens, those of the image included


def count(size: Size) -> list[dict[str, Any]]:
    """For each part "part", "parameters", "gb" (10^9 bytes, as it is held) and "tflop" of one pass.

    A pass is one image of `PAPER_PIXELS`, one prompt of `PROMPT` tokens or, for CLIP, one image and one text of its own
    size. The backbone is held in bfloat16, and what MSCKE trains in float32.
    """
    model = backbone_on_meta(size, small_tokenizer([])).eval()
    clip = clip_on_meta(size.clip).eval()
    answering, trained = counterfactual(size, model)
    patches = (PAPER_PIXELS // size.vision["patch_size"]) ** 2 + 1
    pixels = torch.empty(1, 3, PAPER_PIXELS, PAPER_PIXELS, dtype=model.dtype, device="meta")
    states = torch.empty(1, patches, size.vision["hidden_size"], dtype=model.dtype, device="meta")
    prompt = torch.empty(1, PROMPT, dtype=torch.long, device="meta")
    image = torch.empty(1, 3, *clip.visual.image_size, device="meta")
    text = torch.empty(1, clip.context_length, dtype=torch.long, device="meta")

    vision, queries = model.vision_model, model.query_tokens
    qformer, connector, language_model = model.qformer, model.language_projection, model.language_model
    return [
        part("vision tower", [vision], lambda: vision(pixels, interpolate_pos_encoding=True)),
        part("Q-Former", [qformer], lambda: qformer(query_embeds=queries, encoder_hidden_states=states), [queries]),
        part("connector", [connector], lambda: connector(queries)),
        part("language model", [language_model], lambda: language_model(prompt)),
        part("CLIP", [clip], lambda: (clip.encode_image(image), clip.encode_text(text)), held=4),
        part("counterfactual model", [], lambda: answering(prompt), trained, held=4),
    ]


def part(
    name: str,
    modules: Iterable[nn.Module],
    forward: Callable[[], Any],
    more: Iterable[nn.Parameter] = (),
    held: int = 2,
) -> dict[str, Any]:
    """A row of `count`: the parameters of `modules` and `more`, of `held` bytes each, and the operations of a pass."""
    number = sum(parameter.numel() for module in modules for parameter in module.parameters())
    number += sum(parameter.numel() for parameter in more)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        forward()
    return {"part": name, "parameters": number, "gb": number * held / 1e9, "tflop": counter.get_total_flops() / 1e12}


def counterfactual(size: Size, model: Any) -> tuple[Any, list[nn.Parameter]]:
    """The language model that answers inside the scope, and what is held for it beside the backbone: all of it or, of
    the backbone's own, a copy of the last layer; and a projection from the Q-Former."""
    if size.counterfactual:
        answering = language_model_on_meta(size.counterfactual).eval()
        held = list(answering.parameters())
    else:
        answering = model.language_model
        held = list(blocks_of(answering)[-1].parameters())
    width = answering.get_input_embeddings().embedding_dim
    projection = nn.Linear(size.qformer["hidden_size"], width, device="meta")
    return answering, [*held, *projection.parameters()]
