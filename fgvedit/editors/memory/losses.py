"""What a memory editor learns from: the losses of its scope classifier and of its counterfactual model."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fgvedit.backbones.base import answer_cross_entropy
from fgvedit.editors.memory.counterfactual import CounterfactualModel
from fgvedit.editors.memory.mixture import EPSILON, BothModels, aligned, mixed
from fgvedit.editors.memory.scope import Scope, scope_loss
from fgvedit.editors.training import INSIDE, OUTSIDE, Example, Losses


def switch_losses(
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


def mixture_losses(
    models: BothModels, classifier: Scope, answer_rephrase: float, answer_in_scope: float, locality: float
) -> Losses:
    """What the released SERAC learns from: nothing says what rho is to be. The mixture of both models, weighted by rho,
    is to give the right answers in scope, and what the base model predicts out of scope.

    `answer_rephrase`, `answer_in_scope`: weights of the cross-entropies of right answers; `locality`: of the two
    divergences from the base model, which are added up. The mean rho of each kind is named beside the losses.
    """

    def losses(batch: list[Example]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        edits = [example.record.edit for example in batch]
        queries = {kind: [example.query(kind) for example in batch] for kind in (*INSIDE, *OUTSIDE)}
        models.counterfactual.prefetch(query.image for own in queries.values() for query in own)
        with torch.autocast(models.counterfactual.device.type, models.counterfactual.autocast_dtype):
            distances = classifier.distances(edits, list(queries.values()))
        rhos = dict(zip(queries, torch.exp(-distances), strict=True))
        named = {f"answer/{kind}": mixture_loss(models, batch, kind, rhos[kind]) for kind in INSIDE}
        named |= {f"locality/{kind}": mixture_loss(models, batch, kind, rhos[kind]) for kind in OUTSIDE}
        answers = answer_rephrase * named["answer/rephrase"] + answer_in_scope * named["answer/in_scope"]
        total = answers + locality * (named["locality/out_of_scope"] + named["locality/text_locality"])
        return total, named | {f"rho/{kind}": rho.mean() for kind, rho in rhos.items()}

    return losses


def mixture_loss(models: BothModels, batch: Sequence[Example], kind: str, rho: torch.Tensor) -> torch.Tensor:
    """Of probes of one kind, whose queries have the similarities `rho` (n,), with gradient: inside the scope the
    cross-entropy of the answers' tokens and of the end that follows them, outside KL(base model || mixture), the mean
    over the base model's positions."""
    edits = [example.record.edit for example in batch]
    queries = [example.query(kind) for example in batch]
    end = [models.backbone.tokenizer.eos_token_id] if kind in INSIDE else []
    answer_ids = [[*models.backbone.answer_ids(example.probes[kind].answer), *end] for example in batch]
    with torch.no_grad():
        inputs = models.base_inputs(queries, answer_ids)
        base, mask = models.backbone.logits(inputs), inputs["attention_mask"]
    with torch.autocast(models.counterfactual.device.type, models.counterfactual.autocast_dtype):
        other, other_mask = models.other_logits(edits, queries, answer_ids)
    log_mixture = (mixed(base, other, aligned(rho, other_mask, mask.shape[1])) + EPSILON).log()
    return answer_cross_entropy(log_mixture, answer_ids) if kind in INSIDE else divergence(base, log_mixture, mask)


def divergence(base: torch.Tensor, other: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """KL(base || other) of two sets of logits (n, length, tokens): the mean over the positions of `mask`, in nats."""
    log_p = base.float().log_softmax(dim=-1)
    log_q = other.log_softmax(dim=-1)[..., : log_p.shape[-1]]
    at_each = (log_p.exp() * (log_p - log_q)).sum(dim=-1)
    return (at_each * mask).sum() / mask.sum()


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
