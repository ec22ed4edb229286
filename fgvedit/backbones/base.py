"""The contract of a backbone: the multimodal language model that is asked and edited."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from fgvedit.answering import MAX_NEW_TOKENS, TOP_K, Forced, Query, Remembered
from fgvedit.errors import FGVEditError
from fgvedit.kept import KeptFeatures
from fgvedit.schema import ImageRef


class PromptedModel(ABC):
    """A language model that reads an image's tokens, if there are any, then text: batching, padding, answering."""

    language_model: Any  # a causal language model of `transformers`
    tokenizer: Any

    @abstractmethod
    def features(self, images: Sequence[ImageRef]) -> list[torch.Tensor]:
        """(tokens, feature_width) for each image: what the connector reads."""

    @property
    @abstractmethod
    def connector(self) -> nn.Module:
        """The module from features to the language model's embeddings: (…, feature_width) -> (…, hidden)."""

    @property
    def device(self) -> torch.device:
        return self.language_model.get_input_embeddings().weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.language_model.get_input_embeddings().weight.dtype

    def token_ids(self, text: str) -> list[int]:
        """The tokens of a text that follows an image or another text: no special tokens."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def answer_ids(self, answer: str) -> list[int]:
        """The tokens of an answer as it follows the prompt: a space, then the answer."""
        return self.token_ids(" " + answer.strip())

    def embed(
        self, images: Sequence[ImageRef | None], token_ids: Sequence[Sequence[int]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Language-model inputs for image tokens (or none) followed by text, padded on the left.

        Returns embeddings (n, length, hidden), with gradient into the connector, and the mask (n, length), long.
        Raises `FGVEditError` for more tokens than the language model has positions.
        """
        seen = iter(self.features([image for image in images if image is not None]))
        tokens = torch.tensor([t for ids in token_ids for t in ids], dtype=torch.long, device=self.device)
        texts = self.language_model.get_input_embeddings()(tokens).split([len(ids) for ids in token_ids])
        rows = [
            text if image is None else torch.cat([self.connector(next(seen)).to(text.dtype), text])
            for image, text in zip(images, texts, strict=True)
        ]
        longest, context = max(map(len, rows)), self.language_model.config.max_position_embeddings
        if longest > context:
            raise FGVEditError(f"a prompt of {longest} tokens, image included: expected at most {context}")
        return left_pad(rows)

    @torch.no_grad()
    def force(self, prompts: Sequence[str], images: Sequence[ImageRef | None], answers: Sequence[str]) -> list[Forced]:
        """One forward pass over each prompt followed by its answer."""
        if not prompts:
            return []
        answer_ids = [self.answer_ids(answer) for answer in answers]
        token_ids = [self.token_ids(p) + a for p, a in zip(prompts, answer_ids, strict=True)]
        embeds, mask = self.embed(images, token_ids)
        logits = self.language_model(inputs_embeds=embeds, attention_mask=mask).logits
        return forced_from_logits(logits, mask, answer_ids)

    @torch.no_grad()
    def complete(self, prompts: Sequence[str], images: Sequence[ImageRef | None], max_new_tokens: int) -> list[str]:
        """Greedy free continuations of the prompts, stripped."""
        if not prompts:
            return []
        embeds, mask = self.embed(images, [self.token_ids(prompt) for prompt in prompts])
        return greedy(self.language_model, self.tokenizer, embeds, mask, max_new_tokens)

    def answer_loss(
        self, prompts: Sequence[str], images: Sequence[ImageRef | None], answers: Sequence[str]
    ) -> torch.Tensor:
        """Mean cross-entropy of the answers' tokens and of the end that follows them, with gradient."""
        logits, _, answer_ids = self.answer_logits(prompts, images, answers)
        return answer_cross_entropy(logits, answer_ids)

    def answer_logits(
        self, prompts: Sequence[str], images: Sequence[ImageRef | None], answers: Sequence[str]
    ) -> tuple[torch.Tensor, torch.Tensor, list[list[int]]]:
        """Logits (n, length, vocabulary) over prompts, answers and the end that follows, with gradient; the mask
        (n, length); and the tokens of each answer and its end, which are its row's last."""
        answer_ids = [[*self.answer_ids(answer), self.tokenizer.eos_token_id] for answer in answers]
        token_ids = [self.token_ids(p) + a for p, a in zip(prompts, answer_ids, strict=True)]
        embeds, mask = self.embed(images, token_ids)
        return self.language_model(inputs_embeds=embeds, attention_mask=mask).logits, mask, answer_ids


class Backbone(PromptedModel):
    """A multimodal language model behind one interface.

    A family says how an image becomes features (`encode_images`), how features become the language model's input
    (`connector`) and how a question is put (`prompt`). Features are what comes before the connector, so that they
    stay true whatever an editor does to the connector or the language model; each image is encoded once, until
    `forget_images` or until others take its place (see `KeptFeatures`).
    """

    name: str
    revision: str  # content hash of the weights and of the tokenizer
    model: nn.Module

    def __init__(self) -> None:
        self.remembered = Remembered(self)
        self.kept = KeptFeatures()
        self.encoded_images = 0  # how many images have been put through the vision tower

    @abstractmethod
    def encode_images(self, images: Sequence[ImageRef]) -> torch.Tensor:
        """(n, tokens, feature_width): what the connector reads, without gradient."""

    @property
    @abstractmethod
    def feature_width(self) -> int:
        """The last dimension of `encode_images`."""

    @property
    @abstractmethod
    def language_layers(self) -> list[nn.Module]:
        """The language model's blocks, first to last."""

    @abstractmethod
    def prompt(self, question: str) -> str:
        """The text before which the image stands and after which the answer follows."""

    def features(self, images: Sequence[ImageRef]) -> list[torch.Tensor]:
        """(tokens, feature_width) for each image; those not seen before are encoded in one batch."""
        return self.kept.get(images, self._encode_new)

    @torch.no_grad()
    def _encode_new(self, images: Sequence[ImageRef]) -> torch.Tensor:
        self.encoded_images += len(images)
        return self.encode_images(images)

    def forget_images(self) -> None:
        self.kept.clear()

    def teacher_force(self, queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]:
        prompts = [self.prompt(query.question) for query in queries]
        return self.force(prompts, [query.image for query in queries], answers)

    def generate(self, queries: Sequence[Query], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
        prompts = [self.prompt(query.question) for query in queries]
        return self.complete(prompts, [query.image for query in queries], max_new_tokens)


def left_pad(rows: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (length_i, width) as one tensor (n, length, width), zeros on the left, and its mask (n, length), long."""
    lengths = torch.tensor([len(row) for row in rows], device=rows[0].device)
    longest = max(len(row) for row in rows)
    padded = torch.stack([nn.functional.pad(row, (0, 0, longest - len(row), 0)) for row in rows])
    mask = torch.arange(longest, device=padded.device) >= (longest - lengths)[:, None]
    return padded, mask.long()


def forced_from_logits(logits: torch.Tensor, mask: torch.Tensor, answer_ids: Sequence[list[int]]) -> list[Forced]:
    """`Forced` for each row of left-padded logits (n, length, vocabulary); one copy to the host for the batch."""
    top = logits.topk(min(TOP_K, logits.shape[-1]), dim=-1).indices.to(torch.int32).cpu()
    lengths = mask.sum(dim=1).tolist()
    return [
        Forced(row[-length:].clone(), torch.tensor(ids, dtype=torch.int32))
        for row, length, ids in zip(top, lengths, answer_ids, strict=True)
    ]


def answer_cross_entropy(logits: torch.Tensor, answer_ids: Sequence[list[int]]) -> torch.Tensor:
    """Mean over all answer tokens of a left-padded batch: the last len(ids) tokens of each row are its answer."""
    longest = max(len(ids) for ids in answer_ids)
    targets = torch.full((len(answer_ids), longest), -100)
    for row, ids in zip(targets, answer_ids, strict=True):
        row[longest - len(ids) :] = torch.tensor(ids)
    predictions = logits[:, -longest - 1 : -1].float()
    return nn.functional.cross_entropy(predictions.flatten(0, 1), targets.flatten().to(logits.device))


def greedy(
    language_model: nn.Module, tokenizer: Any, embeds: torch.Tensor, mask: torch.Tensor, max_new_tokens: int
) -> list[str]:
    """Greedy continuations of left-padded embeddings, cut at the end of sequence and stripped."""
    tokens = language_model.generate(  # type: ignore[operator]
        inputs_embeds=embeds,
        attention_mask=mask,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return [text.strip() for text in tokenizer.batch_decode(tokens, skip_special_tokens=True)]
