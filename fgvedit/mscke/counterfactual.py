"""The counterfactual model: a smaller language model that reads the edit and answers the query about its image."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from fgvedit.answering import MAX_NEW_TOKENS, Forced, Query, new_fact
from fgvedit.backbones.base import Backbone, PromptedModel
from fgvedit.errors import FGVEditError, one_line
from fgvedit.schema import Edit, ImageRef

OF_BACKBONE = "backbone"


class CounterfactualModel(nn.Module, PromptedModel):
    """f_cfr(t_e, y_e, i_test, t_test): it sees i_test through the backbone's image features and a projection of its
    own, which is trained and saved with it (the released code makes a random one anew for every edit).

    `source`: "backbone", a copy of the first `layers` layers of the backbone's language model, or the hub id or
    folder of a causal language model that shares the backbone's tokenizer. The prompt is the edit as a new fact, in
    the words of IKE, then the query as the backbone puts it. `trained`: how many of its last layers are trained, the
    projection apart; 0 for all of it.
    """

    def __init__(self, backbone: Backbone, source: str, layers: int, trained: int = 0) -> None:
        super().__init__()
        self.backbone_features = backbone.features
        self.backbone_prompt = backbone.prompt
        self.tokenizer = backbone.tokenizer
        self.language_model: Any
        if source == OF_BACKBONE:
            self.language_model = first_layers(backbone.language_model, layers)
        else:
            self.language_model = _load(source)
            rows = self.language_model.get_input_embeddings().num_embeddings
            if len(self.tokenizer) > rows:
                raise FGVEditError(
                    f"option 'counterfactual': the language model '{source}' has {rows} tokens, expected at least the "
                    f"{len(self.tokenizer)} of the tokenizer of '{backbone.name}', which it has to share"
                )
        if trained:
            train_last_layers(self.language_model, trained)
        width = self.language_model.get_input_embeddings().embedding_dim
        self.projection = nn.Linear(backbone.feature_width, width)
        given = backbone.connector.state_dict()
        if {name: value.shape for name, value in given.items()} == {
            name: value.shape for name, value in self.projection.state_dict().items()
        }:
            self.projection.load_state_dict(given)  # the language model is the backbone's: so is what it can read
        self.to(backbone.device)

    def look(self, images: Iterable[ImageRef | None]) -> None:
        """Have the backbone encode these images, one at a time.

        For training: features, to the last bit, then do not depend on where it was stopped, nor on its autocast.
        """
        for image in images:
            if image is not None:
                self.backbone_features([image])

    @property
    def connector(self) -> nn.Module:
        return self.projection

    def features(self, images: Sequence[ImageRef]) -> list[torch.Tensor]:
        dtype = self.projection.weight.dtype
        return [features.to(dtype) for features in self.backbone_features(images)]

    def prompt(self, edit: Edit, question: str) -> str:
        return new_fact(edit.fact) + self.backbone_prompt(question)

    def generate(
        self, edits: Sequence[Edit], queries: Sequence[Query], max_new_tokens: int = MAX_NEW_TOKENS
    ) -> list[str]:
        """The answer to each query under the edit at its place."""
        prompts = [self.prompt(edit, query.question) for edit, query in zip(edits, queries, strict=True)]
        return self.complete(prompts, [query.image for query in queries], max_new_tokens)

    def teacher_force(self, edits: Sequence[Edit], queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]:
        prompts = [self.prompt(edit, query.question) for edit, query in zip(edits, queries, strict=True)]
        return self.force(prompts, [query.image for query in queries], answers)


class Counterfactuals:
    """A counterfactual model over the edits in force (see `fgvedit.routing.Inside`)."""

    def __init__(self, model: CounterfactualModel, edits: Sequence[Edit]) -> None:
        self.model = model
        self.edits = edits

    def generate(self, queries: Sequence[Query], edits: Sequence[int | None], max_new_tokens: int) -> list[str]:
        return self.model.generate(self._those(edits), queries, max_new_tokens)

    def teacher_force(
        self, queries: Sequence[Query], edits: Sequence[int | None], answers: Sequence[str]
    ) -> list[Forced]:
        return self.model.teacher_force(self._those(edits), queries, answers)

    def _those(self, edits: Sequence[int | None]) -> list[Edit]:
        return [self.edits[edit] for edit in edits if edit is not None]


def first_layers(language_model: Any, layers: int) -> nn.Module:
    """A copy of a language model with its first `layers` layers, trainable, in float32."""
    config = copy.deepcopy(language_model.config)
    if not 0 < layers <= config.num_hidden_layers:
        raise FGVEditError(
            f"option 'counterfactual_layers': found {layers}, expected 1 to {config.num_hidden_layers}, the backbone's"
        )
    config.num_hidden_layers = layers
    copied = type(language_model)(config)
    copied.load_state_dict(
        {name: value for name, value in language_model.state_dict().items() if name in copied.state_dict()}
    )
    return copied.float().requires_grad_(True)


def train_last_layers(language_model: nn.Module, trained: int) -> None:
    """Freeze a language model but for its last `trained` layers."""
    layers = max((m for m in language_model.modules() if isinstance(m, nn.ModuleList)), key=len)
    if not 0 < trained <= len(layers):
        raise FGVEditError(f"option 'counterfactual_trained': found {trained}, expected 0 (all) to {len(layers)}")
    language_model.requires_grad_(False)
    for layer in layers[-trained:]:
        layer.requires_grad_(True)


def _load(source: str) -> nn.Module:
    import transformers

    try:
        return transformers.AutoModelForCausalLM.from_pretrained(source, use_safetensors=True).float()
    except Exception as error:  # the hub's client raises many types
        raise FGVEditError(
            f"option 'counterfactual': the language model '{source}' cannot be opened ({one_line(error)}); expected "
            f"'{OF_BACKBONE}', a hub id or a folder"
        ) from error
