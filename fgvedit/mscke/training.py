"""Training of MSCKE: the scope classifier and the counterfactual model, together, on the probes of training records."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from tqdm import tqdm

from fgvedit.answering import Query
from fgvedit.checkpoints import read_tensors, state, write_tensors
from fgvedit.errors import FGVEditError
from fgvedit.files import write_text
from fgvedit.mscke.counterfactual import CounterfactualModel
from fgvedit.mscke.scope import ScopeClassifier, said, scope_loss, squared_distance
from fgvedit.schema import Probe, Record

if TYPE_CHECKING:
    from fgvedit.mscke.editor import MSCKE

INSIDE = ("rephrase", "in_scope")  # and the edit itself
OUTSIDE = ("out_of_scope", "text_locality")
_SAVE_EVERY = 60  # seconds
_LOG_EVERY = 20  # steps


@dataclass(frozen=True)
class Drawn:
    """A training record with one probe of each kind that the losses take."""

    record: Record
    probes: dict[str, Probe]

    def query(self, kind: str) -> Query:
        if kind == "edit":
            return Query(self.record.question, self.record.image)
        return Query(self.probes[kind].question, self.probes[kind].image)


def train(
    classifier: ScopeClassifier,
    counterfactual: CounterfactualModel,
    records: Sequence[Record],
    config: MSCKE.Config,
    out: Path,
    seed: int,
    revision: str,
) -> None:
    """Adam over batches of records; loss = scope + answer losses, with the weights of `config`.

    What is drawn in a step hangs on the seed and the step alone. The state is kept in `out` every so often, so that
    the same call goes on where a stopped one was, to the same weights; `out/log.jsonl` has the losses. `revision`:
    the backbone's.
    """
    if not records:
        raise FGVEditError("there is no record to train on; expected at least one")
    out.mkdir(parents=True, exist_ok=True)
    about = {"config": asdict(config), "seed": seed, "records": _identity(records), "backbone_revision": revision}
    parts = nn.ModuleDict({"classifier": classifier, "counterfactual": counterfactual}).train()
    parameters = [parameter for parameter in parts.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=config.lr)
    kept = Progress(out, parts, optimiser, about)
    device = next(iter(parameters)).device
    sums: dict[str, torch.Tensor] = {}
    saved = time.monotonic()
    for step in tqdm(range(kept.step, config.steps), initial=kept.step, total=config.steps, desc="training"):
        for group in optimiser.param_groups:
            group["lr"] = config.lr + (config.lr_end - config.lr) * step / config.steps
        batch = draw(records, config.batch, seed, step)
        torch.manual_seed(random.Random(f"{seed}/dropout/{step}").getrandbits(63))
        counterfactual.look(drawn.query(kind).image for drawn in batch for kind in INSIDE)
        with torch.autocast(device.type, torch.bfloat16):
            losses = {f"scope/{kind}": loss for kind, loss in scope_losses(classifier, batch).items()}
            losses |= {f"answer/{kind}": answer_loss(counterfactual, batch, kind) for kind in INSIDE}
        loss = config.scope * sum(value for name, value in losses.items() if name.startswith("scope/"))
        loss = loss + config.answer_rephrase * losses["answer/rephrase"]
        loss = loss + config.answer_in_scope * losses["answer/in_scope"]
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, config.clip_gradient)
        optimiser.step()
        for name, value in losses.items():
            sums[name] = sums.get(name, torch.zeros((), device=device)) + value.detach().float()
        last = step + 1 == config.steps
        if (step + 1) % _LOG_EVERY and not last:
            continue
        means = {name: round(total.item() / (step % _LOG_EVERY + 1), 4) for name, total in sums.items()}
        kept.log({"step": step + 1, **means})
        sums = {}
        if last or time.monotonic() - saved > _SAVE_EVERY:
            kept.save(step + 1)
            saved = time.monotonic()
    parts.eval()
    classifier.forget_images()


def draw(records: Sequence[Record], size: int, seed: int, step: int) -> list[Drawn]:
    """The batch of a step: every record once an epoch, in an order of its own for each epoch; random probes."""
    rng = random.Random(f"{seed}/{step}")
    batch = []
    for place in range(step * size, (step + 1) * size):
        epoch, number = divmod(place, len(records))
        record = records[_order(len(records), seed, epoch)[number]]
        kinds = (*INSIDE, *OUTSIDE)
        batch.append(Drawn(record, {kind: rng.choice(record.probes_of(kind)) for kind in kinds}))
    return batch


def scope_losses(classifier: ScopeClassifier, batch: Sequence[Drawn]) -> dict[str, torch.Tensor]:
    """Binary cross-entropy of rho for the edit's own question and for each kind of probe, with gradient."""
    kinds = ("edit", *INSIDE, *OUTSIDE)
    queries = [drawn.query(kind) for kind in kinds for drawn in batch]
    texts = [said(drawn.record.edit) for drawn in batch] + [query.question for query in queries]
    images = [drawn.record.image for drawn in batch] + [query.image for query in queries]
    z = classifier.embed_with_gradient(texts, images).view(len(kinds) + 1, len(batch), -1)
    return {
        kind: scope_loss(squared_distance(z[0], z[number]), inside=kind not in OUTSIDE)
        for number, kind in enumerate(kinds, start=1)
    }


def answer_loss(counterfactual: CounterfactualModel, batch: Sequence[Drawn], kind: str) -> torch.Tensor:
    """Cross-entropy of the right answers to probes of one kind, given the edit."""
    queries = [drawn.query(kind) for drawn in batch]
    prompts = [counterfactual.prompt(d.record.edit, query.question) for d, query in zip(batch, queries, strict=True)]
    return counterfactual.answer_loss(
        prompts, [query.image for query in queries], [drawn.probes[kind].answer for drawn in batch]
    )


class Progress:
    """What is needed to go on: `training.safetensors` (weights, Adam's moments, what they are of) and `log.jsonl`."""

    def __init__(self, out: Path, parts: nn.Module, optimiser: torch.optim.Adam, identity: dict) -> None:
        self.out, self.parts, self.optimiser = out, parts, optimiser
        self.identity = json.loads(json.dumps(identity))
        self.step = 0
        if self.file.exists():
            self._load()
        log = out / "log.jsonl"
        if log.exists():  # what comes after the last save is written again
            lines = log.read_text().splitlines(keepends=True)[: -(-self.step // _LOG_EVERY)]
            write_text(log, "".join(lines))

    @property
    def file(self) -> Path:
        return self.out / "training.safetensors"

    def log(self, line: dict[str, object]) -> None:
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def save(self, step: int) -> None:
        write_tensors(self.file, dict(self._tensors()), training=json.dumps({**self.identity, "step": step}))

    def _tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        for name, value in state(self.parts).items():
            yield f"weights/{name}", value
            for moment, moments in self.optimiser.state.get(value, {}).items():  # type: ignore[call-overload]
                yield f"{moment}/{name}", moments

    def _load(self) -> None:
        tensors, metadata = read_tensors(self.file)
        if "training" not in metadata:
            raise FGVEditError(f"'{self.file}' does not say which training it is of; expected another --out")
        described = json.loads(metadata["training"])
        step = described.pop("step")
        if described != self.identity:
            raise FGVEditError(
                f"'{self.out}' holds another training, with {_difference(described, self.identity)}; expected the same "
                "options, or another --out"
            )
        self.step = step
        with torch.no_grad():
            for name, value in state(self.parts).items():
                value.copy_(tensors[f"weights/{name}"])
                if f"exp_avg/{name}" in tensors:
                    self.optimiser.state[value] = {  # type: ignore[index]
                        "step": tensors[f"step/{name}"],  # on the CPU, where Adam keeps it
                        "exp_avg": tensors[f"exp_avg/{name}"].to(value.device),
                        "exp_avg_sq": tensors[f"exp_avg_sq/{name}"].to(value.device),
                    }


def _difference(found: dict, expected: dict) -> str:
    flat = [{**part, **part.get("config", {}), "config": None} for part in (found, expected)]
    name = next(name for name in {**flat[1], **flat[0]} if flat[0].get(name) != flat[1].get(name))
    return f"{name} = {flat[0].get(name)!r} where this one has {flat[1].get(name)!r}"


@lru_cache(maxsize=2)  # a batch may reach into the next epoch
def _order(size: int, seed: int, epoch: int) -> list[int]:
    return random.Random(f"{seed}/epoch/{epoch}").sample(range(size), size)


def _identity(records: Sequence[Record]) -> str:
    """What the records are called, as a hash. Raises `FGVEditError` for one without a probe that the losses take."""
    names = hashlib.sha256()
    for record in records:
        names.update(f"{record.id}\n".encode())
        for kind in (*INSIDE, *OUTSIDE):
            if not record.probes_of(kind):
                raise FGVEditError(
                    f"record '{record.id}' has no probe of kind '{kind}'; training takes at least one each of "
                    f"{', '.join((*INSIDE, *OUTSIDE))}"
                )
    return f"{len(records)} ({names.hexdigest()[:12]})"
