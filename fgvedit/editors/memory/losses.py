"""What a memory editor learns from: the losses of its scope classifier and of its counterfactual model."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fgvedit.editors.memory.counterfactual import CounterfactualModel
from fgvedit.editors.memory.scope import Scope, scope_loss
from fgvedit.editors.training import INSIDE, OUTSIDE, Example, Losses


def memory_losses(
    classifier: Scope, counterfactual: CounterfactualModel, answer_rephrase: float, answer_in_scope: float, scope: float
) -> Losses:
    """Scope and answer losses of a batch, each kind's by name, and their weighted sum (MSCKE, arXiv 2411.12790).

    `answer_rephrase`, `answer_in_scope`: weights of the counterfactual model's answers to these kinds; `scope`: of the
    classifier's losses, which are added up.
    """

    def losses(batch: list[Example]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        counterfactual.prefetch(example.query(kind).image for example in batch for kind in INSIDE)
        with torch.autocast(counterfactual.device.type, counterfactual.autocast_dtype):
            named = {f"scope/{kind}": loss for kind, loss in scope_losses(classifier, batch).items()}
            named |= {f"answer/{kind}": answer_loss(counterfactual, batch, kind) for kind in INSIDE}
        scopes = torch.stack([value for name, value in named.items() if name.startswith("scope/")]).sum()
        answers = answer_rephrase * named["answer/rephrase"] + answer_in_scope * named["answer/in_scope"]
        return scope * scopes + answers, named

    return losses


def scope_losses(classifier: Scope, batch: Sequence[Example]) -> dict[str, torch.Tensor]:
    """Binary cross-entropy of rho for the edit's own question and for each kind of probe, by kind, with gradient."""
    kinds = ("edit", *INSIDE, *OUTSIDE)
    edits = [example.record.edit for example in batch]
    distances = classifier.distances(edits, [[example.query(kind) for example in batch] for kind in kinds])
    return {
        kind: scope_loss(distance, inside=kind not in OUTSIDE) for kind, distance in zip(kinds, distances, strict=True)
    }


def answer_loss(counterfactual: CounterfactualModel, batch: Sequence[Example], kind: str) -> torch.Tensor:
    """Cross-entropy of the right answers to probes of one kind, given the edit: the mean over their tokens."""
    queries = [example.query(kind) for example in batch]
    prompts = [counterfactual.prompt(e.record.edit, query) for e, query in zip(batch, queries, strict=True)]
    return counterfactual.answer_loss(
        prompts, [query.image for query in queries], [example.probes[kind].answer for example in batch]
    )
