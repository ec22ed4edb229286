"""Free answers: the likeliest token, one after the other, up to the first end, whatever a checkpoint's files say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
import transformers
from torch import nn


@dataclass(frozen=True)
class Ends:
    """What ends an answer: these tokens, and these texts within it."""

    tokens: frozenset[int]
    texts: frozenset[str] = frozenset()

    def __or__(self, other: Ends) -> Ends:
        return Ends(self.tokens | other.tokens, self.texts | other.texts)

    def before(self, tokens: Sequence[int]) -> list[int]:
        """The tokens that come before the first end."""
        return list(takewhile(lambda token: token not in self.tokens, tokens))

    def cut(self, text: str) -> str:
        """What of a text comes before the first end."""
        return text[: min((text.index(end) for end in self.texts if end in text), default=len(text))]


def ends_of(tokenizer: Any, *models: Any) -> Ends:
    """All that is said of where answers end: by a tokenizer, and by the configurations and generation configurations of
    models of `transformers`. They may disagree: that of BLIP-2 with OPT says the newline, its tokenizer `</s>`."""
    generating = [model.generation_config for model in models]
    configs = [config for model in models for config in (model.config, model.config.get_text_config())]
    ids = [getattr(one, "eos_token_id", None) for one in (tokenizer, *generating, *configs)]
    texts = [getattr(one, "stop_strings", None) for one in generating]
    return Ends(
        frozenset(token for one in ids for token in ([one] if isinstance(one, int) else one or ())),
        frozenset(text for one in texts for text in ([one] if isinstance(one, str) else one or ()) if text),
    )


def generate_greedily(
    model: Any, inputs: Mapping[str, Any], max_new_tokens: int, ends: Ends, pad: int | None
) -> torch.Tensor:
    """What the `generate` of a model of `transformers` gives when nothing but the model decides: no penalty, sampling,
    beam, forced or forbidden token of its generation configuration counts. Rows that have ended go on with `pad`."""
    plain = transformers.GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        eos_token_id=sorted(ends.tokens) or None,
        pad_token_id=pad,
    )
    # Given alone, it would be filled up with what the model's own says.
    with replaced(model, "generation_config", plain):
        return model.generate(**inputs, generation_config=plain)


@contextmanager
def replaced(module: nn.Module, name: str, by: Any) -> Iterator[None]:
    """Let `module` have another method or value of its own for a while."""
    before = vars(module).get(name)
    setattr(module, name, by)
    try:
        yield
    finally:
        if before is None:
            delattr(module, name)
        else:
            setattr(module, name, before)
