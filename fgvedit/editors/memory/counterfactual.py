"""The counterfactual model: a smaller language model that reads the edit and answers the query about its image."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from fgvedit.backbones.answering import MAX_NEW_TOKENS, Forced, Query, new_fact
from fgvedit.backbones.base import Backbone, Inputs, PromptedModel, blocks_of
from fgvedit.backbones.greedy import Ends
from fgvedit.backbones.loading import quiet_transformers
from fgvedit.editors.memory.texts import Texts, edit_text, query_text
from fgvedit.schema import Edit, ImageRef
from fgvedit.util.errors import FGVEditError, one_line
from fgvedit.util.hub import RELEASED_AS_BIN, fetch

OF_BACKBONE = "backbone"
IMAGE_TOKENS = 64  # of an image at most; BLIP-2 and MiniGPT-4 have 32


class CounterfactualModel(nn.Module, PromptedModel):
    """f_cfr(t_e, y_e, i_test, t_test) of SERAC (Mitchell et al. 2022) and MSCKE: it reads i_test through the backbone's
    image features and a projection of its own, which is trained and saved with it (the released code makes a random one
    anew for every edit).

    `source`: "backbone", the first `layers` layers of the backbone's language model (0: all), or the hub id or folder
    of a causal language model that shares the backbone's tokenizer. `trained`: how many of its last layers are trained,
    the projection apart; 0 for all of it. What is trained is in float32; layers of the backbone that are not trained
    are not copied. There is no dropout, as in the released code. `texts`: see `prompt`.
    """

    def __init__(self, backbone: Backbone, source: str, layers: int, trained: int = 0, texts: Texts = "plain") -> None:
        super().__init__()
        self.texts = texts
        self.backbone = backbone
        self.tokenizer = backbone.tokenizer
        self.language_model: Any
        own = first_layers(backbone, layers, trained) if source == OF_BACKBONE else _load(source, backbone, trained)
        if "inputs_embeds" not in inspect.signature(own.prepare_inputs_for_generation).parameters:
            raise FGVEditError(
                f"option 'counterfactual': the {type(own).__name__} of '{source}' generates from token ids alone, and "
                "an image's are embeddings; expected another language model with the backbone's tokenizer"
            )
        if trained:
            # Not a part of this module: what is frozen is neither saved nor put into training mode.
            object.__setattr__(self, "language_model", own)
            self.trained_layers = last_layers(own, trained)
        else:
            self.language_model = own
        self.projection = nn.Linear(backbone.feature_width, own.get_input_embeddings().embedding_dim)
        given = backbone.connector.state_dict()
        if {name: value.shape for name, value in given.items()} == {
            name: value.shape for name, value in self.projection.state_dict().items()
        }:
            self.projection.load_state_dict(given)  # the language model is the backbone's: so is what it can read
        without_dropout(self)  # as in the released code
        self.to(backbone.device)

    def prefetch(self, images: Iterable[ImageRef | None]) -> None:
        """Have the backbone encode these images into its feature cache, one at a time; None is none.

        For training: features, to the last bit, then do not depend on where it was stopped, nor on its autocast.
        """
        for image in images:
            if image is not None:
                self.backbone.features([image])

    @property
    def connector(self) -> nn.Module:
        """The projection: (tokens, the backbone's feature width) -> (tokens, hidden)."""
        return self.projection

    @property
    def ends(self) -> Ends:
        """What ends an answer: of its own language model and of the backbone, in whose place it answers."""
        return super().ends | self.backbone.ends

    def features(self, images: Sequence[ImageRef]) -> list[torch.Tensor]:
        """The backbone's features of each image, (at most `IMAGE_TOKENS`, feature width), in the projection's dtype."""
        weight = self.projection.weight
        return [pooled(features.to(weight.device, weight.dtype)) for features in self.backbone.features(images)]

    def prompt(self, edit: Edit, query: Query) -> str:
        """The edit, then the query. "plain": as a new fact in the words of IKE, then as the backbone puts it;
        "released": each in the released code's words, which have no others for a new fact."""
        if self.texts == "plain":
            return new_fact(edit.fact) + self.backbone.prompt_of(query)
        return f"{edit_text(edit, self.texts)} {query_text(query, self.texts)}"

    def prompt_ids(self, prompt: str, with_image: bool) -> list[int]:
        """As the backbone reads a prompt: the tokenizer is its own."""
        return self.backbone.prompt_ids(prompt, with_image)

    def answer_ids(self, answer: str) -> list[int]:
        """As the backbone reads an answer."""
        return self.backbone.answer_ids(answer)

    def logits(self, inputs: Inputs) -> torch.Tensor:
        """(n, length, vocabulary), in mixed precision where a part is frozen in half precision."""
        with self._mixed_precision():
            return super().logits(inputs)

    def continuations(self, inputs: Inputs, max_new_tokens: int) -> torch.Tensor:
        """(n, at most `max_new_tokens`): greedy, in mixed precision where a part is frozen in half precision."""
        with self._mixed_precision():
            return super().continuations(inputs, max_new_tokens)

    @property
    def autocast_dtype(self) -> torch.dtype:
        """In which it is trained: the half precision of what is frozen, else bfloat16."""
        return torch.bfloat16 if self.dtype == torch.float32 else self.dtype

    def _mixed_precision(self) -> AbstractContextManager[Any]:
        """What is trained is in float32; what is frozen around it may be in half precision."""
        if self.dtype == torch.float32 or torch.is_autocast_enabled(self.device.type):
            return nullcontext()
        return torch.autocast(self.device.type, self.autocast_dtype)

    def generate(
        self, edits: Sequence[Edit], queries: Sequence[Query], max_new_tokens: int = MAX_NEW_TOKENS
    ) -> list[str]:
        """The greedy free answer to each query under the edit of the same index."""
        prompts = [self.prompt(edit, query) for edit, query in zip(edits, queries, strict=True)]
        return self.complete(prompts, [query.image for query in queries], max_new_tokens)

    def teacher_force(self, edits: Sequence[Edit], queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]:
        """What is predicted with each answer in the input, under the edit of the same index."""
        prompts = [self.prompt(edit, query) for edit, query in zip(edits, queries, strict=True)]
        return self.force(prompts, [query.image for query in queries], answers)


class Counterfactuals:
    """A counterfactual model over the edits in force (see `fgvedit.editors.routing.InScopeAnswerer`)."""

    def __init__(self, model: CounterfactualModel, edits: Sequence[Edit]) -> None:
        self.model = model
        self.edits = edits

    def generate(self, queries: Sequence[Query], edits: Sequence[int | None], max_new_tokens: int) -> list[str]:
        """Greedy free answers, each under its query's edit."""
        return self.model.generate(self._those(edits), queries, max_new_tokens)

    def teacher_force(
        self, queries: Sequence[Query], edits: Sequence[int | None], answers: Sequence[str]
    ) -> list[Forced]:
        """What is predicted with the answers in the input, each under its query's edit."""
        return self.model.teacher_force(self._those(edits), queries, answers)

    def _those(self, edits: Sequence[int | None]) -> list[Edit]:
        return [self.edits[edit] for edit in edits if edit is not None]


def without_dropout(parts: nn.Module) -> None:
    """Set every dropout of a module to 0, those too that are numbers of its parts."""
    for part in parts.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        for name in ("dropout", "attention_dropout", "activation_dropout"):
            if isinstance(getattr(part, name, None), float):
                setattr(part, name, 0.0)


def pooled(features: torch.Tensor) -> torch.Tensor:
    """Features (tokens, width) as at most `IMAGE_TOKENS` rows, means over neighbours: some models keep thousands."""
    if len(features) <= IMAGE_TOKENS:
        return features
    return nn.functional.adaptive_avg_pool1d(features.T[None], IMAGE_TOKENS)[0].T


def first_layers(backbone: Backbone, layers: int, trained: int) -> Any:
    """The backbone's language model with its first `layers` layers (0: all), and without a vision tower.

    A copy, trainable, in float32; with `trained` only the last so many layers are, and the rest is the backbone's own.
    Raises `FGVEditError` for a number of layers that the backbone does not have.
    """
    blocks = backbone.language_layers
    if not 0 <= layers <= len(blocks):
        raise FGVEditError(
            f"option 'counterfactual_layers': found {layers}, expected 0 (all) or 1 to {len(blocks)}, the backbone's"
        )
    first = list(blocks)[: layers or len(blocks)]
    check_trained(trained, first)
    # What a copy finds in its memo it does not copy.
    memo: dict[int, Any] = {}
    if trained:
        copied_parts = {id(part) for block in first[-trained:] for part in block.modules()}
        for part in backbone.language_model.modules():
            if id(part) not in copied_parts and all(inner is not blocks for inner in part.modules()):
                memo[id(part)] = part
    memo |= {id(part): nn.Identity() for part in backbone.vision_parts}
    memo[id(blocks)] = nn.ModuleList(copy.deepcopy(first, memo))
    copied = copy.deepcopy(backbone.language_model, memo)
    config = copied.config.get_text_config()
    config.num_hidden_layers = len(first)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: len(first)]
    return copied if trained else copied.float().requires_grad_(True)


def last_layers(language_model: nn.Module, trained: int) -> nn.ModuleList:
    """A language model's last `trained` layers, made trainable and float32; the rest of it is frozen.

    Raises `FGVEditError` for more layers than there are.
    """
    language_model.requires_grad_(False)
    layers = list(blocks_of(language_model))
    check_trained(trained, layers)
    return nn.ModuleList(layers[-trained:]).float().requires_grad_(True)


def check_trained(trained: int, layers: Sequence[nn.Module]) -> None:
    """Raises `FGVEditError` for a number of trained layers that is below 0 or above that of these layers."""
    if not 0 <= trained <= len(layers):
        raise FGVEditError(f"option 'counterfactual_trained': found {trained}, expected 0 (all) to {len(layers)}")


def _load(source: str, backbone: Backbone, trained: int) -> Any:
    import transformers

    dtype = backbone.dtype if trained else torch.float32
    # facebook/opt-125m, the released code's, is on the hub as .bin alone, which transformers reads as weights only.
    folder = fetch(source, "counterfactual model", dtype=dtype, patterns=RELEASED_AS_BIN)
    whole = any(folder.glob("*.safetensors"))
    try:
        with quiet_transformers():
            found = transformers.AutoModelForCausalLM.from_pretrained(folder, use_safetensors=whole, dtype=dtype)
    except Exception as error:  # transformers raises many types
        raise FGVEditError(
            f"option 'counterfactual': the language model '{source}' cannot be opened ({one_line(error)}); expected "
            f"'{OF_BACKBONE}', a hub id or a folder"
        ) from error
    rows = found.get_input_embeddings().num_embeddings
    if len(backbone.tokenizer) > rows:
        raise FGVEditError(
            f"option 'counterfactual': the language model '{source}' has {rows} tokens, expected at least the "
            f"{len(backbone.tokenizer)} of the tokenizer of '{backbone.name}', which it has to share"
        )
    return found.to(backbone.device)
