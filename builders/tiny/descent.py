"""How every stage goes down its loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

_WARM_UP = 100  # steps


def descent(
    steps: int, lr: float, *learned: nn.Module | nn.Parameter, weight_decay: float = 0.01
) -> Callable[[torch.Tensor], None]:
    """What makes one step down a loss: AdamW over all that is learned, with the gradient clipped at length 1, at a rate
    that rises to `lr` in a straight line and falls in a cosine to a fiftieth of it."""
    parameters = [p for one in learned for p in ([one] if isinstance(one, nn.Parameter) else one.parameters())]
    optimiser = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.98), weight_decay=weight_decay)

    def factor(step: int) -> float:
        if step < _WARM_UP:
            return (step + 1) / _WARM_UP
        progress = (step - _WARM_UP) / max(1, steps - _WARM_UP)
        return 0.02 + 0.98 * 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * min(1.0, progress)))))

    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)

    def descend(loss: torch.Tensor) -> None:
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        rate.step()

    return descend
