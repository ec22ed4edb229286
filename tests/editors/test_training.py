"""The training loop: on a part whose path can be worked out by hand, and what it does with what it finds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rows import make_probe, make_row
from samples import bits, records, same
from torch import nn

from fgvedit.editors.training import Training, draw_batch, train
from fgvedit.schema import Record, record_from_row
from fgvedit.util.errors import FGVEditError


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


def test_a_part_may_learn_at_a_rate_of_its_own(tmp_path):
    """Under a constant gradient Adam moves a weight by just its rate in each step."""
    parts = nn.ModuleDict({"slow": nn.Linear(3, 1, bias=False), "other": nn.Linear(3, 1, bias=False)})
    before = {name: part.weight.detach().clone() for name, part in parts.items()}

    def losses(batch):
        return torch.stack([part.weight.sum() for part in parts.values()]).sum(), {}

    config = Training(steps=4, lr=0.01, lr_end=0.01)
    train(parts, losses, config, records(2), tmp_path, seed=0, revision="r", speeds={"slow": 0.25})
    for name, rate in (("slow", 0.0025), ("other", 0.01)):
        torch.testing.assert_close(parts[name].weight.detach(), before[name] - 4 * rate, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("clip", [0.5, 100.0])
def test_a_long_gradient_is_shortened(tmp_path, clip):
    part = nn.Linear(4, 1, bias=False)
    lengths = []

    def losses(batch):
        if part.weight.grad is not None:
            lengths.append(float(part.weight.grad.norm()))
        return 3 * part.weight.sum(), {}

    train(part, losses, Training(steps=2, clip_gradient=clip), records(2), tmp_path, seed=0, revision="r")
    assert lengths == [pytest.approx(min(clip, 6.0))]


def once(out: Path, taught: Sequence[Record], seed: int = 0, **changes: Any) -> nn.Module:
    """A training of one step of a part of random weights."""
    torch.manual_seed(0)
    part = nn.Linear(4, 1)

    def losses(batch: Any) -> Any:
        loss = part(torch.ones(4)).square().sum()
        return loss, {"loss": loss}

    train(part, losses, Training(**{"steps": 1, "lr": 0.001, **changes}), taught, out, seed, revision="r")
    return part


def test_a_finished_training_is_not_done_again(tmp_path):
    first = once(tmp_path, records())
    again = nn.Linear(4, 1)
    train(again, None, Training(steps=1, lr=0.001), records(), tmp_path, seed=0, revision="r")  # type: ignore[arg-type]
    assert same(bits(again), bits(first))


@pytest.mark.parametrize(
    ("changes", "count", "seed", "message"),
    [
        ({"batch": 2}, 4, 0, "with batch = 1 where this one has 2"),
        ({"lr": 0.1}, 4, 0, r"with lr = 0.001 where this one has 0.1"),
        ({}, 3, 0, "with records = '4 .* where this one has '3 "),
        ({}, 4, 1, "with seed = 0 where this one has 1"),
    ],
)
def test_another_training_in_the_same_folder(tmp_path, changes, count, seed, message):
    once(tmp_path, records())
    with pytest.raises(FGVEditError, match=f"holds another training, {message}"):
        once(tmp_path, records(count), seed, **changes)


def test_a_damaged_training(tmp_path):
    once(tmp_path, records())
    path = tmp_path / "training.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(FGVEditError, match=r"training\.safetensors' is truncated"):
        once(tmp_path, records())


@pytest.mark.parametrize("kind", ["rephrase", "in_scope", "out_of_scope", "text_locality"])
def test_a_record_without_a_kind_of_probe(tmp_path, kind):
    row = make_row(7)
    row["probes"] = [probe for probe in row["probes"] if probe["kind"] != kind]
    with pytest.raises(FGVEditError, match=f"record 'record-7' has no probe of kind '{kind}'"):
        once(tmp_path, [*records(2), record_from_row(row)])


def test_worded_probes_are_drawn_beside_hard_ones():
    """As often, however many of each there are; and alone where a record has no hard one."""
    row = make_row(0)
    row["probes"][1]["kind"] = "worded_in"
    row["probes"] += [make_probe("worded_out", f"{number}", image_id="image-0") for number in range(3)]
    drawn = [draw_batch([record_from_row(row)], 1, seed=0, step=step)[0].probes for step in range(64)]
    assert {probes["in_scope"].kind for probes in drawn} == {"worded_in"}
    assert 20 <= sum(probes["out_of_scope"].kind == "out_of_scope" for probes in drawn) <= 44
    assert len({probes["out_of_scope"].answer for probes in drawn if probes["out_of_scope"].kind == "worded_out"}) == 3


def test_nothing_to_train_on(tmp_path):
    with pytest.raises(FGVEditError, match="no record to train on"):
        once(tmp_path, [])


def test_every_record_is_drawn_once_an_epoch():
    four = records()
    drawn = [[e.record.id for step in (2 * n, 2 * n + 1) for e in draw_batch(four, 2, 0, step)] for n in range(9)]
    assert all(sorted(epoch) == [record.id for record in four] for epoch in drawn)
    assert len({tuple(epoch) for epoch in drawn}) > 1
