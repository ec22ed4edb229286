"""What a memory editor learns from: the losses of its scope classifier and of its counterfactual model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from fgvedit.editors.memory.counterfactual import CounterfactualModel
from fgvedit.editors.memory.scope import Scope, scope_loss
from fgvedit.editors.training import INSIDE, OUTSIDE, Drawn

if TYPE_CHECKING:
    from fgvedit.editors.memory.editor import MemoryEditor


def memory_losses(
    classifier: Scope, counterfactual: CounterfactualModel, config: MemoryEditor.Config
) -> Callable[[list[Drawn]], tuple[torch.Tensor, dict[str, torch.Tensor]]]:
    """Scope and answer losses of a batch, each kind's by name, and their sum with the weights of `config`."""

    def losses(batch: list[Drawn]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        counterfactual.prefetch(drawn.query(kind).image for drawn in batch for kind in INSIDE)
        with torch.autocast(counterfactual.device.type, counterfactual.autocast_dtype):
            named = {f"scope/{kind}": loss for kind, loss in scope_losses(classifier, batch).items()}
            named |= {f"answer/{kind}": answer_loss(counterfactual, batch, kind) for kind in INSIDE}
        scope = torch.stack([value for name, value in named.items() if name.startswith("scope/")]).sum()
        answers = config.answer_rephrase * named["answer/rephrase"] + config.answer_in_scope * named["answer/in_scope"]
        return config.scope * scope + answers, named

    return losses


def scope_losses(classifier: Scope, batch: Sequence[Drawn]) -> dict[str, torch.Tensor]:
    """Binary cross-entropy of rho for the edit's own question and for each kind of probe, with gradient."""
    kinds = ("edit", *INSIDE, *OUTSIDE)
    edits = [drawn.record.edit for drawn in batch]
    distances = classifier.distances(edits, [[drawn.query(kind) for drawn in batch] for kind in kinds])
    return {
        kind: scope_loss(distance, inside=kind not in OUTSIDE) for kind, distance in zip(kinds, distances, strict=True)
    }


def answer_loss(counterfactual: CounterfactualModel, batch: Sequence[Drawn], kind: str) -> torch.Tensor:
    """Cross-entropy of the right answers to probes of one kind, given the edit."""
    queries = [drawn.query(kind) for drawn in batch]
    prompts = [counterfactual.prompt(d.record.edit, query.question) for d, query in zip(batch, queries, strict=True)]
    return counterfactual.answer_loss(
        prompts, [query.image for query in queries], [drawn.probes[kind].answer for drawn in batch]
    )
