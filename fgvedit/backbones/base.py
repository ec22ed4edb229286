"""The contract of a backbone: the multimodal language model that is asked and edited."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from fgvedit.backbones.answering import MAX_NEW_TOKENS, TOP_K, CachedAnswerer, Forced, Query
from fgvedit.backbones.feature_cache import FeatureCache
from fgvedit.backbones.greedy import Ends, ends_of, generate_greedily
from fgvedit.backbones.loading import LoadSpec
from fgvedit.schema import ImageRef
from fgvedit.util.errors import FGVEditError

IMAGE = -1  # stands, among the tokens of a prompt, for its image

LOGITS = 2**30  # numbers at once: 2 GB in half precision, of which a large vocabulary and a long image soon take more

Inputs = dict[str, Any]  # what a language model is called with; "attention_mask" (n, length) is always there


class PromptedModel(ABC):
    """A language model that reads text with an image somewhere in it: batching, padding, answering."""

    language_model: Any  # a causal language model of `transformers`
    tokenizer: Any
    answer_lead = ": "  # the end of a prompt, and what parts the answer from it

    @abstractmethod
    def features(self, images: Sequence[ImageRef]) -> list[torch.Tensor]:
        """(tokens, feature width) for each image: what comes before the connector."""

    @property
    @abstractmethod
    def connector(self) -> nn.Module:
        """What makes the language model's embeddings of features: (…, feature width) -> (…, hidden)."""

    @property
    def device(self) -> torch.device:
        """Where the language model takes its input."""
        return self.language_model.get_input_embeddings().weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the language model's embeddings."""
        return self.language_model.get_input_embeddings().weight.dtype

    @property
    def context(self) -> int:
        """How many tokens the language model takes, those of an image included."""
        return self.language_model.config.get_text_config().max_position_embeddings

    @property
    def ends(self) -> Ends:
        """What ends an answer."""
        return ends_of(self.tokenizer, self.language_model)

    def token_ids(self, text: str) -> list[int]:
        """The tokens of a text alone: no special tokens."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def prompt_ids(self, prompt: str, with_image: bool) -> list[int]:
        """The tokens of a prompt, with `IMAGE` where its image stands: here, before the text."""
        return [IMAGE, *self.token_ids(prompt)] if with_image else self.token_ids(prompt)

    def answer_ids(self, answer: str) -> list[int]:
        """The tokens of an answer as it follows a prompt; some tokenizers read the start of a text in another way."""
        before = self.token_ids(self.answer_lead.rstrip(" "))
        both = self.token_ids(self.answer_lead + answer.strip())
        return both[len(before) :] if both[: len(before)] == before else self.token_ids(" " + answer.strip())

    def inputs(
        self,
        prompts: Sequence[str],
        images: Sequence[ImageRef | None],
        answer_ids: Sequence[Sequence[int]] | None = None,
    ) -> Inputs:
        """What the language model is called with for prompts, each followed by the tokens of an answer; padded on the
        left, with gradient into the connector.

        Raises `FGVEditError` for more tokens than the language model takes.
        """
        rows = self.rows(prompts, images, answer_ids)
        texts = [[token for token in row if token != IMAGE] for row in rows]
        tokens = torch.tensor([token for text in texts for token in text], dtype=torch.long, device=self.device)
        embedded = self.language_model.get_input_embeddings()(tokens).split([len(text) for text in texts])
        features = iter(self.features([image for image in images if image is not None]))
        whole = []
        for row, text, prompt in zip(rows, embedded, prompts, strict=True):
            if IMAGE in row:
                index = row.index(IMAGE)
                shown = self.image_embeddings(next(features), prompt).to(text.dtype)
                text = torch.cat([text[:index], shown, text[index:]])
            whole.append(text)
        self.check_length(max(map(len, whole)))
        embeds, mask = left_pad(whole)
        # Positions as generation counts them: what stands beside a row must not change it.
        return {"inputs_embeds": embeds, "attention_mask": mask, "position_ids": mask.cumsum(dim=1) * mask - 1}

    def rows(
        self,
        prompts: Sequence[str],
        images: Sequence[ImageRef | None],
        answer_ids: Sequence[Sequence[int]] | None,
    ) -> list[list[int]]:
        """The tokens of each prompt, with `IMAGE` in it where there is one, and of the answer that follows it."""
        return [
            [*self.prompt_ids(prompt, image is not None), *(answer_ids[index] if answer_ids else ())]
            for index, (prompt, image) in enumerate(zip(prompts, images, strict=True))
        ]

    def image_embeddings(self, features: torch.Tensor, prompt: str) -> torch.Tensor:
        """(tokens, hidden): what the language model reads of an image's features beside this prompt."""
        return self.connector(features)

    def check_length(self, length: int) -> None:
        """Raises `FGVEditError` for more tokens than the language model takes."""
        if length > self.context:
            raise FGVEditError(f"a prompt of {length} tokens, image included: expected at most {self.context}")

    def logits(self, inputs: Inputs) -> torch.Tensor:
        """(n, length, vocabulary): over each row's image, prompt and answer, padding before them."""
        return self.language_model(**inputs).logits

    def continuations(self, inputs: Inputs, max_new_tokens: int) -> torch.Tensor:
        """(n, at most `max_new_tokens`): greedy, up to each row's end, by the model's own `generate`."""
        given = {name: value for name, value in inputs.items() if name != "position_ids"}  # it counts them itself
        return generate_greedily(self.language_model, given, max_new_tokens, self.ends, self.tokenizer.pad_token_id)

    def written(self, tokens: Sequence[int]) -> str:
        """An answer's tokens as text, cut at the first end and stripped."""
        ends = self.ends
        return ends.cut(self.tokenizer.decode(ends.before(tokens), skip_special_tokens=True)).strip()

    @torch.no_grad()
    def force(self, prompts: Sequence[str], images: Sequence[ImageRef | None], answers: Sequence[str]) -> list[Forced]:
        """One forward pass over each prompt followed by its answer; as few as `LOGITS` allows for all of them."""
        if not prompts:
            return []
        answer_ids = [self.answer_ids(answer) for answer in answers]
        inputs = self.inputs(prompts, images, answer_ids)
        vocabulary = self.language_model.get_input_embeddings().weight.shape[0]
        if len(prompts) > 1 and inputs["attention_mask"].numel() * vocabulary > LOGITS:
            half = len(prompts) // 2
            parts = (slice(None, half), slice(half, None))
            return [forced for part in parts for forced in self.force(prompts[part], images[part], answers[part])]
        return forced_from_logits(self.logits(inputs), inputs["attention_mask"], answer_ids)

    @torch.no_grad()
    def complete(self, prompts: Sequence[str], images: Sequence[ImageRef | None], max_new_tokens: int) -> list[str]:
        """Greedy free continuations of the prompts, cut at the first end and stripped."""
        if not prompts:
            return []
        tokens = self.continuations(self.inputs(prompts, images), max_new_tokens)
        return [self.written(row) for row in tokens.tolist()]

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
        inputs = self.inputs(prompts, images, answer_ids)
        return self.logits(inputs), inputs["attention_mask"], answer_ids


class Backbone(PromptedModel):
    """A multimodal language model behind one interface, which answers (`Answerer`) and which editors change.

    A family says how an image becomes features (`encode_images`), how features become the language model's input
    (`connector`) and how a question is put (`prompt`, `prompt_ids`). Features are what comes before the connector, so
    that they stay true whatever an editor does to the connector or the language model; each image is encoded once,
    until `forget_images` or until others take its place (see `FeatureCache`).

    `encoded_images`: how many images have been put through the vision tower.
    """

    model: Any  # of `transformers`, which does not say the types of its parts

    def __init__(self, spec: LoadSpec) -> None:
        self.name = spec.name
        self.revision = spec.revision
        self.source = spec.source
        self.module_paths = spec.module_paths
        self.input_mode = spec.input_mode
        self.cached_answerer = CachedAnswerer(self)
        self.feature_cache = FeatureCache()
        self.encoded_images = 0

    @abstractmethod
    def encode_images(self, images: Sequence[ImageRef]) -> Sequence[Any]:
        """What the feature cache holds of each image, without gradient: as a rule its features, (tokens, feature
        width)."""

    @property
    @abstractmethod
    def feature_width(self) -> int:
        """The last dimension of `features`."""

    @property
    def ends(self) -> Ends:
        """What ends an answer: all that the checkpoint says, of the whole model and of the language model."""
        return ends_of(self.tokenizer, self.model, self.language_model)

    @property
    @abstractmethod
    def language_layers(self) -> nn.ModuleList:
        """The language model's blocks, first to last."""

    @property
    def vision_parts(self) -> list[nn.Module]:
        """What stands within `language_model` and is not asked without an image: nothing, where that is a model of its
        own."""
        return []

    @property
    def feed_forward(self) -> tuple[str, str]:
        """What the two maps of a block's feed-forward part are called within it: ("fc1", "fc2"), for example.

        They are the last two linear maps of a block outside its attention. Raises `FGVEditError` where there are none.
        """
        block = self.language_layers[-1]
        linear = [name for name, part in block.named_modules() if isinstance(part, nn.Linear) and "attn" not in name]
        if len(linear) < 2:
            raise FGVEditError(
                f"backbone '{self.name}': found no two linear maps outside the attention of a {type(block).__name__}; "
                "expected the maps to be named by their own names"
            )
        return linear[-2], linear[-1]

    @abstractmethod
    def prompt(self, question: str) -> str:
        """The words in which a question is put."""

    def prompt_of(self, query: Query) -> str:
        """The words in which a query is put: those of `prompt`, unless one without an image is put in others."""
        return self.prompt(query.question)

    def encoded(self, images: Sequence[ImageRef]) -> list[Any]:
        """What the feature cache holds of each image; those that are not in it are encoded together."""
        return self.feature_cache.get(images, self._encode_new)

    def features(self, images: Sequence[ImageRef]) -> list[torch.Tensor]:
        """(tokens, feature width) for each image: what comes before the connector, from the cache where it is there."""
        return self.encoded(images)

    @torch.no_grad()
    def _encode_new(self, images: Sequence[ImageRef]) -> Sequence[Any]:
        self.encoded_images += len(images)
        return self.encode_images(images)

    def forget_images(self) -> None:
        """Empty the feature cache."""
        self.feature_cache.clear()

    def prompt_length(self, prompt: str, image: ImageRef | None) -> int:
        """How many tokens a prompt takes, those of its image included."""
        tokens = len(self.prompt_ids(prompt, image is not None))
        return tokens if image is None else tokens - 1 + self.image_length(image)

    def image_length(self, image: ImageRef) -> int:
        """How many tokens of the language model's input an image takes."""
        return len(self.features([image])[0])

    def teacher_force(self, queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]:
        """What is predicted over each query, put as by `prompt_of`, followed by its answer, in one forward pass."""
        prompts = [self.prompt_of(query) for query in queries]
        return self.force(prompts, [query.image for query in queries], answers)

    def generate(self, queries: Sequence[Query], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
        """Greedy free answers to queries that are put as by `prompt_of`."""
        prompts = [self.prompt_of(query) for query in queries]
        return self.complete(prompts, [query.image for query in queries], max_new_tokens)


def left_pad(rows: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (length_i, …) as one tensor (n, length, …), zeros on the left, and its mask (n, length), long."""
    lengths = torch.tensor([len(row) for row in rows], device=rows[0].device)
    longest = max(len(row) for row in rows)
    padded = torch.stack([nn.functional.pad(row, (0, 0) * (row.dim() - 1) + (longest - len(row), 0)) for row in rows])
    mask = torch.arange(longest, device=padded.device) >= (longest - lengths)[:, None]
    return padded, mask.long()


def blocks_of(language_model: nn.Module) -> nn.ModuleList:
    """A language model's blocks: its longest list of modules."""
    return max((part for part in language_model.modules() if isinstance(part, nn.ModuleList)), key=len)


def forced_from_logits(logits: torch.Tensor, mask: torch.Tensor, answer_ids: Sequence[list[int]]) -> list[Forced]:
    """`Forced` for each row of left-padded logits (n, length, vocabulary); one copy to the host for the batch."""
    top = logits.topk(min(TOP_K, logits.shape[-1]), dim=-1).indices.to(torch.int32).cpu()
    lengths = mask.sum(dim=1).tolist()
    return [
        Forced(row[-length:].clone(), torch.tensor(ids, dtype=torch.int32))
        for row, length, ids in zip(top, lengths, answer_ids, strict=True)
    ]


def answer_cross_entropy(logits: torch.Tensor, answer_ids: Sequence[list[int]]) -> torch.Tensor:
    """Mean over all answer tokens, in nats, of left-padded logits (n, length, vocabulary), with gradient: the last
    len(ids) tokens of each row are its answer."""
    longest = max(len(ids) for ids in answer_ids)
    targets = torch.full((len(answer_ids), longest), -100)
    for row, ids in zip(targets, answer_ids, strict=True):
        row[longest - len(ids) :] = torch.tensor(ids)
    predictions = logits[:, -longest - 1 : -1].float()
    return nn.functional.cross_entropy(predictions.flatten(0, 1), targets.flatten().to(logits.device))
