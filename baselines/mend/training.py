"""Meta-training of MEND: after the step on a record's edit its answers must be right and all else as it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from torch import nn

from baselines.mend.networks import EditorNetworks, Factors, counts, gradient_factors
from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone, answer_cross_entropy
from fgvedit.editors.training import INSIDE, OUTSIDE, Example, Losses

KINDS = (*INSIDE, *OUTSIDE)


def mend_losses(
    backbone: Backbone, networks: EditorNetworks, answer_rephrase: float, answer_in_scope: float, locality: float
) -> Losses:
    """The losses of `fgvedit.editors.training.train`, weighted (Mitchell et al. 2022, section 3, and, with in-scope
    probes, the released FGVEdit code).

    Each record has an edit of its own. `answer/…`: cross-entropy of the right answers after it, with the weights
    `answer_rephrase` and `answer_in_scope`. `locality/…`, with the weight `locality`: divergence of what is predicted
    after it, at every position, from what the base model predicts there.
    """

    def losses(batch: list[Example]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        for example in batch:  # one at a time: features then do not depend on where a training was stopped
            for image in [example.record.image, *(example.query(kind).image for kind in KINDS)]:
                backbone.features([image] if image else [])
        step = _step(backbone, networks, batch)
        named = _named_losses(backbone, networks, step, batch)
        answer = answer_rephrase * named["answer/rephrase"] + answer_in_scope * named["answer/in_scope"]
        return answer + locality * sum(named[f"locality/{kind}"] for kind in OUTSIDE), named

    return losses


def divergence(base: torch.Tensor, edited: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """KL(base || edited) of logits (n, length, vocabulary): the mean over each row's positions in `mask`, over rows."""
    was, now = base.float().log_softmax(dim=-1), edited.float().log_softmax(dim=-1)
    each = (was.exp() * (was - now)).sum(dim=-1)
    return ((each * mask).sum(dim=-1) / mask.sum(dim=-1)).mean()


def _step(backbone: Backbone, networks: EditorNetworks, batch: Sequence[Example]) -> Factors:
    """Each record's own step, as transformed factors, with gradient (see `_transformed`)."""
    edits = [example.query("edit") for example in batch]
    targets = [example.record.target for example in batch]
    # The sum over records: a row's factors are then of the gradient of its own record's loss.
    factors = gradient_factors(networks, lambda: torch.stack(_answer_losses(backbone, edits, targets)).sum())
    return {name: _transformed(networks, name, *pair, len(batch)) for name, pair in factors.items()}


def _named_losses(
    backbone: Backbone, networks: EditorNetworks, step: Factors, batch: Sequence[Example]
) -> dict[str, torch.Tensor]:
    """`answer/…` and `locality/…` of a batch after each record's own step."""
    asked = [(example.query(kind), example.probes[kind].answer) for example in batch for kind in KINDS]
    with _stepping(networks, step):
        logits, _, answer_ids = _forced(backbone, *zip(*asked, strict=True))
    named = {
        f"answer/{kind}": torch.stack(_cross_entropies(logits, answer_ids)[number :: len(KINDS)]).mean()
        for number, kind in enumerate(INSIDE)
    }
    for number, kind in enumerate(OUTSIDE, start=len(INSIDE)):
        with torch.no_grad():
            base, mask, _ = _forced(backbone, *zip(*asked[number :: len(KINDS)], strict=True))
        edited = logits[number :: len(KINDS), -base.shape[1] :]  # padded on the left to another length
        named[f"locality/{kind}"] = divergence(base, edited, mask)
    return named


def _forced(
    backbone: Backbone, queries: Sequence[Query], answers: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor, list[list[int]]]:
    """Logits, mask and the answers' tokens (see `PromptedModel.answer_logits`)."""
    prompts = [backbone.prompt_of(query) for query in queries]
    return backbone.answer_logits(prompts, [query.image for query in queries], answers)


def _answer_losses(backbone: Backbone, queries: Sequence[Query], answers: Sequence[str]) -> list[torch.Tensor]:
    """Cross-entropy of each query's answer, the mean over its tokens."""
    logits, _, answer_ids = _forced(backbone, queries, answers)
    return _cross_entropies(logits, answer_ids)


def _cross_entropies(logits: torch.Tensor, answer_ids: Sequence[list[int]]) -> list[torch.Tensor]:
    return [answer_cross_entropy(row[None], [ids]) for row, ids in zip(logits, answer_ids, strict=True)]


def _transformed(
    networks: EditorNetworks, name: str, x: torch.Tensor, delta: torch.Tensor, rows: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Transformed factors row by row, (rows, length, in) and, times the rate, (rows, length, out), with gradient."""
    used = counts(x, delta)
    new_x, new_delta = networks(name, x[used], delta[used])
    new_x = torch.zeros_like(x).masked_scatter(used[:, None], new_x)
    new_delta = torch.zeros_like(delta).masked_scatter(used[:, None], networks.rate(name) * new_delta)
    return new_x.view(rows, -1, x.shape[-1]), new_delta.view(rows, -1, delta.shape[-1])


def _stepping(networks: EditorNetworks, step: Factors) -> ExitStack:
    """Inside, each row of a batch goes through weights that have made its own step, with gradient into the step."""
    hooks = ExitStack()
    for name, linear in networks.linears.items():
        hooks.callback(linear.register_forward_hook(_side_path(*step[name])).remove)
    return hooks


def _side_path(x: torch.Tensor, delta: torch.Tensor) -> Callable[[nn.Module, tuple, torch.Tensor], torch.Tensor]:
    """(W - delta^T x) h = W h - delta^T (x h), for the h of each row: the edited weights are never made."""

    def hook(_: nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
        h = inputs[0].float().view(len(x), -1, x.shape[-1])
        change = h @ x.transpose(1, 2) @ delta
        return output - change.view(output.shape).to(output.dtype)

    return hook
