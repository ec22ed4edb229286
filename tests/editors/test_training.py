"""The training loop, on a part whose path can be worked out by hand."""

from __future__ import annotations

import json

import pytest
import torch
from samples import records
from torch import nn

from fgvedit.editors.training import Training, train


def test_the_rate_goes_down_in_a_straight_line(tmp_path):
    """Under a constant gradient Adam moves a weight by just the rate in each step."""
    part = nn.Linear(3, 1, bias=False)
    before = part.weight.detach().clone()
    config = Training(steps=10, batch=2, lr=0.01, lr_end=0.001)
    batches = []

    def losses(batch):
        batches.append([example.record.id for example in batch])
        loss = part.weight.sum()
        return loss, {"sum": loss}

    train(part, losses, config, records(4), tmp_path, seed=0, revision="r")
    moved = sum(0.01 + (0.001 - 0.01) * step / 10 for step in range(10))
    torch.testing.assert_close(part.weight.detach(), before - moved, atol=1e-6, rtol=1e-5)
    assert [sorted(one + other) for one, other in zip(batches[::2], batches[1::2], strict=True)] == [
        [f"record-{number}" for number in range(4)]
    ] * 5
    (line,) = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert line["step"] == 10 and line["sum"] < before.sum()


@pytest.mark.parametrize("clip", [0.5, 100.0])
def test_a_long_gradient_is_shortened(tmp_path, clip):
    part = nn.Linear(4, 1, bias=False)
    seen = []

    def losses(batch):
        if part.weight.grad is not None:
            seen.append(float(part.weight.grad.norm()))
        return 3 * part.weight.sum(), {}

    train(part, losses, Training(steps=2, clip_gradient=clip), records(2), tmp_path, seed=0, revision="r")
    assert seen == [pytest.approx(min(clip, 6.0))]
