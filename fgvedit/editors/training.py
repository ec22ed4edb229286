"""The training loop that editors share: batches of records with a probe of each kind, Adam, going on after a stop."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from fgvedit.backbones.answering import Query
from fgvedit.editors.checkpoints import state
from fgvedit.probes import doing_for
from fgvedit.schema import Probe, Record
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import write_text
from fgvedit.util.options import check_positive
from fgvedit.util.tensors import read_tensors, write_tensors

INSIDE = ("rephrase", "in_scope")  # and the edit itself
OUTSIDE = ("out_of_scope", "text_locality")
_SAVE_EVERY = 60  # seconds
_LOG_EVERY = 20  # steps


@dataclass(frozen=True, kw_only=True)
class Training:
    """How an editor is trained; its `Config` inherits from this. `batch` counts records; `lr`, of Adam, goes to
    `lr_end` in a straight line; a gradient longer than `clip_gradient` is shortened to it."""

    steps: int = 50_000
    batch: int = 1
    lr: float = 1e-5
    lr_end: float = 1e-5
    clip_gradient: float = 100.0

    def __post_init__(self) -> None:
        check_positive(self, "steps", "batch", "lr", "clip_gradient")


@dataclass(frozen=True)
class Example:
    """A training record with one probe for each kind that the losses take (see `probes_for`)."""

    record: Record
    probes: dict[str, Probe]

    def query(self, kind: str) -> Query:
        """The question of the probe of this kind, or of the edit itself ("edit")."""
        if kind == "edit":
            return Query(self.record.question, self.record.image)
        return Query(self.probes[kind].question, self.probes[kind].image)


Losses = Callable[[list[Example]], tuple[torch.Tensor, dict[str, torch.Tensor]]]  # see `train`


def train(
    parts: nn.Module,
    losses: Losses,
    config: Training,
    records: Sequence[Record],
    out: Path,
    seed: int,
    revision: str,
    speeds: Mapping[str, float] | None = None,
) -> None:
    """Adam over the trainable parameters of `parts`; `losses`: batch -> (what goes down, what the log names); `speeds`:
    child module of `parts` -> how many times the learning rate its own is, 1 for those that are not named.

    What is drawn in a step depends on the seed and the step alone. The state is saved in `out` every so often, so that
    the same call goes on where a stopped one was, to the same weights; `out/log.jsonl` has the losses. `revision`:
    the backbone's.
    Raises `FGVEditError` for no records, one without a probe for one of the kinds (see `probes_for`), and an `out` that
    holds another training.
    """
    if not records:
        raise FGVEditError("there is no record to train on; expected at least one")
    out.mkdir(parents=True, exist_ok=True)
    about = {"config": asdict(config), "seed": seed, "records": _identity(records), "backbone_revision": revision}
    parts.train()
    parameters = [parameter for parameter in parts.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(_groups(parts, speeds or {}), lr=config.lr)
    progress = Progress(out, parts, optimiser, about)
    sums: dict[str, torch.Tensor] = {}
    steps = range(progress.step, config.steps)
    for step in tqdm(steps, initial=progress.step, total=config.steps, desc="training"):
        for group in optimiser.param_groups:
            group["lr"] = group["speed"] * (config.lr + (config.lr_end - config.lr) * step / config.steps)
        batch = draw_batch(records, config.batch, seed, step)
        torch.manual_seed(random.Random(f"{seed}/dropout/{step}").getrandbits(63))
        loss, named = losses(batch)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, config.clip_gradient)
        optimiser.step()
        for name, value in named.items():
            sums[name] = sums.get(name, torch.zeros((), device=value.device)) + value.detach().float()
        last = step + 1 == config.steps
        if last or not (step + 1) % _LOG_EVERY:
            means = {name: round(total.item() / (step % _LOG_EVERY + 1), 4) for name, total in sums.items()}
            progress.note(step + 1, means, last)
            sums = {}
    parts.eval()


def _groups(parts: nn.Module, speeds: Mapping[str, float]) -> list[dict[str, Any]]:
    """The trainable parameters as Adam's groups, by speed."""
    of: dict[float, list[nn.Parameter]] = defaultdict(list)
    for name, parameter in parts.named_parameters():
        if parameter.requires_grad:
            of[speeds.get(name.partition(".")[0], 1.0)].append(parameter)
    return [{"params": parameters, "speed": speed} for speed, parameters in of.items()]


def draw_batch(records: Sequence[Record], size: int, seed: int, step: int) -> list[Example]:
    """The batch of a step: every record once an epoch, in an order of its own for each epoch; random probes,
    of each sort equally often."""
    rng = random.Random(f"{seed}/{step}")
    batch = []
    for index in range(step * size, (step + 1) * size):
        epoch, within = divmod(index, len(records))
        record = records[_order(len(records), seed, epoch)[within]]
        kinds = (*INSIDE, *OUTSIDE)
        batch.append(Example(record, {kind: rng.choice(rng.choice(probes_for(record, kind))) for kind in kinds}))
    return batch


def probes_for(record: Record, kind: str) -> list[list[Probe]]:
    """The probes that a record is trained on for a kind, by sort: its own, and those of the kind that may stand in
    (`ProbeKind.or_else`): worded ones beside hard ones. From hard ones alone, which no word tells apart, an editor that
    reads words alone unlearns what words do tell."""
    return [probes for name in doing_for(kind) if (probes := record.probes_of(name))]


class Progress:
    """What is needed to go on: `training.safetensors` (weights, Adam's moments, what they are of) and `log.jsonl`."""

    def __init__(self, out: Path, parts: nn.Module, optimiser: torch.optim.Adam, identity: dict) -> None:
        """Puts what a stopped training of the same `identity` left in `out` into `parts` and `optimiser`; `step`: how
        many were made. Raises `FGVEditError` where `out` holds another training, or a damaged one."""
        self.out, self.parts, self.optimiser = out, parts, optimiser
        self.identity = json.loads(json.dumps(identity))
        self.step = 0
        self._saved = time.monotonic()
        if self.file.exists():
            self._load()
        log = out / "log.jsonl"
        if log.exists():  # what comes after the last save is written again
            lines = log.read_text().splitlines(keepends=True)[: -(-self.step // _LOG_EVERY)]
            write_text(log, "".join(lines))

    @property
    def file(self) -> Path:
        """Where the state is saved."""
        return self.out / "training.safetensors"

    def note(self, step: int, means: dict[str, float], last: bool) -> None:
        """Log the mean losses up to a step, and save the state at the last one, or where that is long ago."""
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, **means}) + "\n")
        if last or time.monotonic() - self._saved > _SAVE_EVERY:
            write_tensors(self.file, dict(self._tensors()), training=json.dumps({**self.identity, "step": step}))
            self._saved = time.monotonic()

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
    """How many records there are, and a hash of their ids.

    Raises `FGVEditError` for one without a probe of a kind that the losses take.
    """
    names = hashlib.sha256()
    for record in records:
        names.update(f"{record.id}\n".encode())
        for kind in (*INSIDE, *OUTSIDE):
            if not probes_for(record, kind):
                lacking = " or ".join(f"'{name}'" for name in doing_for(kind))
                taken = ", ".join(" or ".join(doing_for(name)) for name in (*INSIDE, *OUTSIDE))
                raise FGVEditError(
                    f"record '{record.id}' has no probe of kind {lacking}; training takes at least one each of {taken}"
                )
    return f"{len(records)} ({names.hexdigest()[:12]})"
