"""SERAC's scope classifiers, which read text alone (Mitchell et al., ICML 2022), and their encoders."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import nn

from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone
from fgvedit.backbones.feature_cache import FeatureCache
from fgvedit.editors.memory.clip import SHIPPED, Clip
from fgvedit.editors.memory.counterfactual import without_dropout
from fgvedit.editors.memory.scope import Scope, similarity, squared_distance
from fgvedit.editors.memory.texts import Texts, edit_text, query_text
from fgvedit.editors.training import Training
from fgvedit.schema import Edit
from fgvedit.util.errors import FGVEditError, one_line, unknown
from fgvedit.util.hub import fetch

VARIANTS = ("embedding", "cross")
NEW = "new"
ENCODER_OPTIONS = ("encoder", "encoder_width", "encoder_layers", "variant")  # which shape a checkpoint
_NEW_HEADS = 4
_NEW_POSITIONS = 256
_NEW_RANGE = 0.1  # with DistilBERT's 0.02 the first token of a narrow encoder hardly hears of the others at first


@dataclass(frozen=True, kw_only=True)
class TextScopeOptions(Training):
    """`encoder`: the name of a shipped CLIP, whose text tower it is then, or as `TextEncoder` takes it, which says what
    `encoder_width` and `encoder_layers` are; `variant`: one of `VARIANTS`.
    """

    encoder: str = "distilbert-base-cased"
    encoder_width: int = 0
    encoder_layers: int = 0
    variant: str = "embedding"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variant not in VARIANTS:
            raise unknown("variant of SERAC's classifier (option 'variant')", self.variant, VARIANTS)


def text_scope(backbone: Backbone, options: TextScopeOptions, texts: Texts) -> Scope:
    """A shipped CLIP's text tower or a text encoder, with the chosen variant of rho. `texts`: what it is given to read.

    Raises `FGVEditError` for an encoder that cannot be opened or cannot have this variant.
    """
    if options.encoder in {folder.name for folder in SHIPPED.iterdir()}:
        if options.variant != "embedding":
            raise FGVEditError(
                f"option 'variant': found '{options.variant}' with encoder '{options.encoder}', which reads one "
                f"short text at a time; expected 'embedding', or the encoder '{NEW}'"
            )
        return EmbeddingScope(ClipTextTower(options.encoder), texts)
    encoder = TextEncoder(backbone, options.encoder, options.encoder_width, options.encoder_layers)
    return EmbeddingScope(encoder, texts) if options.variant == "embedding" else CrossScope(encoder, texts)


class TextEncoder(nn.Module):
    """A text, or a pair of texts read together, as the last state of its first token: (n, width).

    `source`: the hub id or folder of a text encoder of `transformers`, such as `distilbert-base-cased`; or `new`, a
    DistilBERT of `layers` layers, `width` wide, which starts from nothing and reads with the backbone's tokenizer.
    There is no dropout, as in the released code.
    """

    def __init__(self, backbone: Backbone, source: str, width: int, layers: int) -> None:
        """Raises `FGVEditError` for an encoder that cannot be opened, and for a size that a new one cannot have."""
        super().__init__()
        self.new = source == NEW
        self.tokenizer: Any
        self.model: Any
        if self.new:
            self.tokenizer = backbone.tokenizer
            self.model = _new_distilbert(self.tokenizer, width, layers)
        else:
            self.tokenizer, self.model = _opened(source)
        without_dropout(self.model)
        self.width: int = self.model.config.hidden_size
        self.separator: str = "" if self.new else self.tokenizer.sep_token or ""

    def forward(self, texts: Sequence[str], others: Sequence[str] | None = None) -> torch.Tensor:
        """(n, width) of n texts or, with `others`, of n pairs."""
        ids, mask = self._tokens(texts, others)
        device = next(self.model.parameters()).device
        return self.model(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state[:, 0]

    def _tokens(self, texts: Sequence[str], others: Sequence[str] | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and their mask, (n, length), padded on the right; what is too long is cut."""
        if not self.new:
            pairs = () if others is None else (list(others),)
            made = self.tokenizer(
                list(texts), *pairs, return_tensors="pt", padding=True, truncation=True, padding_side="right"
            )
            return made["input_ids"], made["attention_mask"]
        # A backbone's tokenizer knows no pairs and puts nothing first: its end of sequence stands for both.
        mark = self.tokenizer.eos_token_id
        rows = [[mark, *ids] for ids in self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
        if others is not None:
            more = self.tokenizer(list(others), add_special_tokens=False)["input_ids"]
            rows = [[*row, mark, *ids] for row, ids in zip(rows, more, strict=True)]
        padded = nn.utils.rnn.pad_sequence(
            [torch.tensor(row[:_NEW_POSITIONS]) for row in rows], batch_first=True, padding_value=-1
        )
        return padded.clamp_min(0), (padded >= 0).long()


def _new_distilbert(tokenizer: Any, width: int, layers: int) -> Any:
    """A DistilBERT with random weights for this tokenizer's tokens."""
    import transformers

    if width < 1 or width % _NEW_HEADS or layers < 1:
        raise FGVEditError(
            f"options 'encoder_width' and 'encoder_layers': found {width} and {layers}, expected a multiple of "
            f"{_NEW_HEADS} and 1 or more, such as 128 and 3"
        )
    return transformers.DistilBertModel(
        transformers.DistilBertConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=_NEW_POSITIONS,
            dim=width,
            hidden_dim=4 * width,
            n_layers=layers,
            n_heads=_NEW_HEADS,
            initializer_range=_NEW_RANGE,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _opened(source: str) -> tuple[Any, Any]:
    """Tokenizer and model of a text encoder of `transformers`."""
    import transformers

    try:
        folder = fetch(source, "text encoder", dtype=torch.float32)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
        return tokenizer, model
    except FGVEditError as error:
        raise FGVEditError(f"option 'encoder': {error}") from error
    except Exception as error:  # tokenizers, safetensors and transformers raise many types
        raise FGVEditError(
            f"option 'encoder': the text encoder '{source}' cannot be opened ({one_line(error)}); expected "
            f"'{NEW}', a hub id or a folder"
        ) from error


class ClipTextTower(nn.Module):
    """A text as the text tower of a shipped CLIP reads it, which MSCKE's classifier reads with too: (n, width)."""

    separator = ""

    def __init__(self, name: str) -> None:
        super().__init__()
        clip = Clip(name)
        self.tokenizer = clip.tokenizer
        self.tower: Any = clip.model.text

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """(n, width) of n texts."""
        return self.tower(self.tokenizer(list(texts)).to(next(self.tower.parameters()).device))


class TextScope(Scope, ABC):
    """A classifier that reads texts alone; images do not count. `texts`: how edits and queries are put.

    "released" as the released SERAC has it: of an edit's text the last word is cut off, so that nothing is left of a
    target of one word, and the encoder's separator stands behind it, where it has one.
    """

    def __init__(self, encoder: TextEncoder | ClipTextTower, texts: Texts) -> None:
        super().__init__()
        self.encoder = encoder
        self.texts = texts

    def of_edit(self, edit: Edit) -> str:
        """What is read of an edit."""
        text = edit_text(edit, self.texts)
        return text if self.texts == "plain" else text.rsplit(" ", 1)[0] + self.encoder.separator

    def of_query(self, query: Query) -> str:
        """What is read of a query."""
        return query_text(query, self.texts)


class EmbeddingScope(TextScope):
    """rho = exp(-||E([t_e; y_e]) - E(t_test)||^2), as in the released code."""

    def __init__(self, encoder: TextEncoder | ClipTextTower, texts: Texts) -> None:
        super().__init__(encoder, texts)
        self.stored = FeatureCache()  # of each edit, read by itself

    @torch.no_grad()
    def remember(self, edits: Sequence[Edit]) -> Callable[[Sequence[Query]], torch.Tensor]:
        """Encode the edits, and give what says how similar queries are to them: queries -> rho (queries, edits)."""
        stored = torch.stack(self.stored.get(edits, self._encoded))

        @torch.no_grad()
        def rhos(queries: Sequence[Query]) -> torch.Tensor:
            return similarity(stored, self.encoder([self.of_query(query) for query in queries]))

        return rhos

    def _encoded(self, edits: Sequence[Edit]) -> Iterator[torch.Tensor]:
        return (self.encoder([self.of_edit(edit)])[0] for edit in edits)

    def forget(self) -> None:
        """Empty the cache of stored edits."""
        self.stored.clear()

    def distances(self, edits: Sequence[Edit], queries: Sequence[Sequence[Query]]) -> torch.Tensor:
        """||E(edit) - E(question)||^2 of each edit with the query at its index in each list: (lists, edits)."""
        texts = [self.of_edit(edit) for edit in edits] + [self.of_query(query) for own in queries for query in own]
        z = self.encoder(texts).view(len(queries) + 1, len(edits), -1)
        return squared_distance(z[:1], z[1:])


class CrossScope(TextScope):
    """rho = sigmoid(w E([t_e; y_e], t_test) + b): edit and query are read together (the cross-attention of
    Mitchell et al. 2022)."""

    def __init__(self, encoder: TextEncoder, texts: Texts) -> None:
        super().__init__(encoder, texts)
        self.head = nn.Linear(encoder.width, 1)

    def remember(self, edits: Sequence[Edit]) -> Callable[[Sequence[Query]], torch.Tensor]:
        """Give what says how similar queries are to the edits, pair by pair: queries -> rho (queries, edits)."""

        @torch.no_grad()
        def rhos(queries: Sequence[Query]) -> torch.Tensor:
            pairs = list(product(queries, edits))
            return (
                self._score([edit for _, edit in pairs], [query for query, _ in pairs])
                .sigmoid()
                .view(len(queries), len(edits))
            )

        return rhos

    def distances(self, edits: Sequence[Edit], queries: Sequence[Sequence[Query]]) -> torch.Tensor:
        """-log rho of each edit with the query at its index in each list: (lists, edits), with gradient."""
        scores = self._score([edit for _ in queries for edit in edits], [query for own in queries for query in own])
        return nn.functional.softplus(-scores).view(len(queries), len(edits))

    def _score(self, edits: Sequence[Edit], queries: Sequence[Query]) -> torch.Tensor:
        """(n,), float32: the logit of each pair."""
        states = self.encoder([self.of_edit(edit) for edit in edits], [self.of_query(query) for query in queries])
        return self.head(states).float()[:, 0]
