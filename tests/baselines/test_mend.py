"""MEND: factors, networks and the step against computations of their own, restoring, training, checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from edits import bits_kept
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import image_ref
from samples import bits, records, same
from torch import nn

from baselines.mend import editor as mend_editor
from baselines.mend import training as mend_training
from baselines.mend.editor import MEND, mend_edited, mend_step, stepped
from baselines.mend.networks import EditorNetworks, ResidualLayer, RunningNorm, counts, gradient_factors
from baselines.mend.training import divergence, mend_losses
from fgvedit.backbones import open_backbone
from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone
from fgvedit.editors import training
from fgvedit.editors.checkpoints import state
from fgvedit.editors.contract import Route
from fgvedit.editors.fine_tuning import edit_loss
from fgvedit.editors.registry import editor_config
from fgvedit.editors.training import Losses, draw_batch
from fgvedit.schema import Edit
from fgvedit.util.errors import FGVEditError

LAYERS, PARAMETERS = [0, 1], ["fc1.weight", "fc2.weight"]
NAMES = [f"{layer}.{name}" for layer in LAYERS for name in PARAMETERS]
# Of different lengths, in prompt and in answer: the batch is padded.
EDITS = [Edit(image_ref(0), "What colour?", "blue"), Edit(image_ref(1), "What shape has the small card?", "a circle")]
QUERIES = [Query(edit.question, edit.image) for edit in EDITS]


@pytest.fixture
def config() -> MEND.Config:
    return MEND.Config(
        layers=LAYERS, parameters=PARAMETERS, rank=4, edit_lr=0.01, rate_speed=10.0, steps=6, batch=2, lr=1e-3
    )


@pytest.fixture
def build(backbone: Backbone, config: MEND.Config) -> Callable[..., MEND]:
    """An editor at its start, the same every time."""

    def make(backbone: Backbone = backbone, **changes: Any) -> MEND:
        torch.manual_seed(0)
        return MEND(backbone, replace(config, **changes))

    return make


@pytest.fixture
def learnt(build: Callable[..., MEND]) -> MEND:
    """An editor with all that is trained away from its start."""
    return stirred(build())


def stirred(editor: MEND) -> MEND:
    torch.manual_seed(1)
    with torch.no_grad():
        for name, value in state(editor.networks).items():
            if name.endswith("std"):
                value.uniform_(0.5, 2)
            elif value.is_floating_point():
                value.add_(0.05 * torch.randn(value.shape)) if not name.endswith("exponent") else value.fill_(-3)
    return editor


def weights(backbone: Backbone) -> dict[str, nn.Parameter]:
    return {
        f"{layer}.{name}": backbone.language_layers[layer].get_parameter(name)
        for layer in LAYERS
        for name in PARAMETERS
    }


def gradients(backbone: Backbone, edits: list[Edit]) -> dict[str, torch.Tensor]:
    """Of the edits' loss, by autograd."""
    chosen = weights(backbone)
    for weight in chosen.values():
        weight.requires_grad_(True)
    found = torch.autograd.grad(edit_loss(backbone, edits), list(chosen.values()))
    for weight in chosen.values():
        weight.requires_grad_(False)
    return dict(zip(chosen, found, strict=True))


# The factors


@pytest.mark.parametrize("edits", [EDITS[:1], EDITS, EDITS + EDITS[:1]], ids=len)
def test_the_factors_are_those_of_the_gradient(build, backbone, edits):
    expected = gradients(backbone, edits)
    with bits_kept(backbone):
        factors = gradient_factors(build().networks, lambda: edit_loss(backbone, edits))
    assert list(factors) == NAMES
    for name, (x, delta) in factors.items():
        torch.testing.assert_close(delta.T @ x, expected[name], rtol=1e-4, atol=1e-6 * expected[name].abs().max())
        used = counts(x, delta)
        torch.testing.assert_close(delta[used].T @ x[used], delta.T @ x)


def test_padding_adds_nothing(build, backbone):
    lengths = [edit_length(backbone, edit) for edit in EDITS]
    assert lengths[0] < lengths[1]
    for x, delta in gradient_factors(build().networks, lambda: edit_loss(backbone, EDITS)).values():
        used = counts(x, delta).view(2, lengths[1])
        assert not used[0, : lengths[1] - lengths[0]].any()
        assert used.any(dim=1).all()


def edit_length(backbone: Backbone, edit: Edit) -> int:
    text = len(backbone.token_ids(backbone.prompt(edit.question)) + backbone.answer_ids(edit.target)) + 1
    return text + len(backbone.features([edit.image])[0])


def test_the_factors_are_taken_where_gradients_are_off(build, backbone):
    networks = build().networks
    here = gradient_factors(networks, lambda: edit_loss(backbone, EDITS))
    with torch.no_grad():
        there = gradient_factors(networks, lambda: edit_loss(backbone, EDITS))
    assert all(torch.equal(delta, there[name][1]) for name, (_, delta) in here.items())


def test_an_error_in_the_loss_leaves_no_hook(build, backbone):
    def failing() -> torch.Tensor:
        edit_loss(backbone, EDITS)
        raise RuntimeError("on purpose")

    with bits_kept(backbone), pytest.raises(RuntimeError, match="on purpose"):
        gradient_factors(build().networks, failing)


# The step


@pytest.mark.parametrize("edits", [EDITS[:1], EDITS], ids=len)
def test_at_its_start_the_editor_makes_the_step_of_gradient_descent(build, backbone, edits):
    editor, chosen = build(), weights(backbone)
    expected = {name: chosen[name] - 0.01 * gradient for name, gradient in gradients(backbone, edits).items()}
    loss = edit_loss(backbone, edits)
    with bits_kept(backbone) as before, editor.edit(edits):
        for name, weight in chosen.items():
            assert not torch.equal(weight, before[whole_name(backbone, weight)])
            torch.testing.assert_close(weight.detach(), expected[name], rtol=0, atol=1e-6)
        assert edit_loss(backbone, edits) < loss
        changed = {name for name, value in backbone.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {whole_name(backbone, weight) for weight in chosen.values()}  # and no bias


def whole_name(backbone: Backbone, parameter: nn.Parameter) -> str:
    return next(name for name, value in backbone.model.named_parameters() if value is parameter)


def test_the_step_takes_the_sum_of_outer_products_of_the_transformed_factors(learnt):
    networks, backbone = learnt.networks, learnt.backbone
    factors = gradient_factors(networks, lambda: edit_loss(backbone, EDITS))
    expected = {}
    with torch.no_grad():
        for name, (x, delta) in factors.items():
            expected[name] = weights(backbone)[name].clone()
            for x_t, delta_t in zip(x, delta, strict=True):
                if x_t.any() and delta_t.any():
                    new_x, new_delta = networks(name, x_t[None], delta_t[None])
                    expected[name] -= networks.rate(name) * torch.outer(new_delta[0], new_x[0])
    with mend_edited(backbone, networks, EDITS):
        for name, weight in weights(backbone).items():
            torch.testing.assert_close(weight.detach(), expected[name], rtol=1e-4, atol=1e-5)


def test_a_step_can_be_made_again(learnt):
    backbone = learnt.backbone
    step = mend_step(backbone, learnt.networks, EDITS)
    with learnt.edit(EDITS):
        expected = bits(backbone.model)
    for _ in range(2):
        with bits_kept(backbone), stepped(learnt.networks, step):
            assert same(bits(backbone.model), expected)


def test_the_route(learnt):
    for edits, route in (([], Route("base")), (EDITS[:1], Route("edited", 0)), (EDITS, Route("edited"))):
        with learnt.edit(edits) as edited:
            assert edited.explain(QUERIES) == [route] * 2


def test_the_base_model_comes_back_after_an_error_in_the_middle_of_the_step(learnt, monkeypatch):
    step = mend_step(learnt.backbone, learnt.networks, EDITS)
    step[NAMES[-1]] = (step[NAMES[-1]][0], torch.zeros(1, 1))
    monkeypatch.setattr(mend_editor, "mend_step", lambda *_: step)
    with bits_kept(learnt.backbone), pytest.raises(RuntimeError), learnt.edit(EDITS):
        raise AssertionError("the step does not fit")


def test_gradients_may_be_off_outside(learnt):
    with bits_kept(learnt.backbone), learnt.edit(EDITS):
        expected = bits(learnt.backbone.model)
    with torch.no_grad(), learnt.edit(EDITS):
        assert same(bits(learnt.backbone.model), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(learnt, backbone, dtype):
    expected = mend_step(backbone, learnt.networks, EDITS)
    backbone.model.to(dtype)
    backbone.forget_images()
    step = mend_step(backbone, learnt.networks, EDITS)
    for name, (x, delta) in step.items():
        assert x.dtype == delta.dtype == torch.float32
        whole = expected[name][1].T @ expected[name][0]
        assert nn.functional.cosine_similarity((delta.T @ x).flatten(), whole.flatten(), dim=0) > 0.9
    with bits_kept(backbone) as before, learnt.edit(EDITS) as edited:
        for name, weight in weights(backbone).items():
            x, delta = step[name]
            expected_weight = (before[whole_name(backbone, weight)].float() - delta.T @ x).to(dtype)
            assert torch.equal(weight, expected_weight)
        assert len(edited.generate(QUERIES)) == 2


def test_deltas_too_small_for_float16_are_kept(build, backbone):
    networks, small = build().networks, 2.0**-16
    backbone.model.to(torch.float16)
    factors = gradient_factors(networks, lambda: edit_loss(backbone, EDITS))
    for name, (_, delta) in gradient_factors(networks, lambda: small * edit_loss(backbone, EDITS)).items():
        torch.testing.assert_close(delta / small, factors[name][1], rtol=0.05, atol=0.01 * factors[name][1].abs().max())


# The networks


def test_the_networks_compute_the_published_formula(learnt):
    kept, rng = {k: v.double().numpy() for k, v in learnt.networks.state_dict().items()}, np.random.default_rng(0)
    for name, index in (("0.fc2.weight", 0), ("1.fc2.weight", 1)):
        x, delta = rng.normal(size=(5, 64)), rng.normal(size=(5, 32))
        of = lambda tensor: kept[f"networks.32x64.{tensor}"]  # noqa: E731

        def normalised(rows: np.ndarray, norm: str, of: Callable = of) -> np.ndarray:
            unit = 2.0 ** of(f"{norm}.exponent")
            return (rows - unit * of(f"{norm}.mean")) / (unit * of(f"{norm}.std"))

        z = np.concatenate([normalised(x, "norm_x"), normalised(delta, "norm_delta")], axis=1)
        for layer in ("layers.0", "layers.1"):
            mixed = z @ of(f"{layer}.down").T @ of(f"{layer}.up").T + of(f"{layer}.bias")
            z = z + np.maximum(0, of(f"{layer}.scale")[index] * mixed + of(f"{layer}.shift")[index])
        new_x, new_delta = learnt.networks(name, torch.tensor(x).float(), torch.tensor(delta).float())
        np.testing.assert_allclose(new_x.detach(), z[:, :64], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(new_delta.detach(), z[:, 64:], rtol=1e-3, atol=1e-3)


def test_at_their_start_the_networks_are_the_identity_that_learns(build):
    networks = build().networks
    x, delta = torch.randn(3, 32), 1e-4 * torch.randn(3, 64)
    new_x, new_delta = networks("0.fc1.weight", x, delta)
    assert torch.equal(new_x, x) and torch.equal(new_delta, delta)
    (new_x.sum() + new_delta.sum()).backward()
    for layer in networks.networks["64x32"].layers:
        assert layer.up.grad.abs().max() > 0  # with a ReLU it would be 0


def test_weights_of_one_shape_share_a_network_but_not_scale_shift_and_rate(build):
    networks = build().networks
    assert set(networks.networks) == {"64x32", "32x64"}
    (shared,) = {name for name, _ in networks.named_parameters() if name == "networks.64x32.layers.0.up"}
    x, delta = torch.randn(3, 32), torch.randn(3, 64)
    rates = {name: networks.rate(name).item() for name in NAMES}
    assert rates == pytest.approx(dict.fromkeys(NAMES, 0.01))
    with torch.no_grad():
        networks.get_parameter(shared).normal_()
    first, second = (networks(f"{layer}.fc1.weight", x, delta)[0] for layer in LAYERS)
    assert torch.equal(first, second) and not torch.equal(first, x)
    for own in ("scale", "shift"):
        with torch.no_grad():
            networks.get_parameter(f"networks.64x32.layers.0.{own}")[1] += 0.5
        first_then, second_then = (networks(f"{layer}.fc1.weight", x, delta)[0] for layer in LAYERS)
        assert torch.equal(first_then, first) and not torch.equal(second_then, second)
        second = second_then
    with torch.no_grad():
        networks.log_rates[3] = 0.2
    assert networks.rate(NAMES[3]).item() == pytest.approx(0.01 * np.exp(10 * 0.2))
    assert {name: networks.rate(name).item() for name in NAMES[:3]} == {name: rates[name] for name in NAMES[:3]}


def test_the_backbone_is_no_part_of_the_networks(build, backbone):
    mine = {id(value) for value in state(build().networks).values()}
    assert not mine & {id(value) for value in backbone.model.state_dict(keep_vars=True).values()}


def test_the_rank_is_at_most_the_width(build):
    assert ResidualLayer(8, 1920, 1).down.shape == (8, 8)
    assert ResidualLayer(8, 3, 1).up.shape == (8, 3)
    assert len(build(hidden_layers=2).networks.networks["64x32"].layers) == 3


@settings(deadline=None, max_examples=30)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5), unit=st.sampled_from([1e-6, 1.0, 300.0]))
def test_the_norm_has_the_mean_and_deviation_of_all_rows_so_far(sizes, unit):
    rng, norm, rows_so_far = np.random.default_rng(sum(sizes)), RunningNorm(4), np.zeros((0, 4))
    for size in sizes:
        rows = unit * (rng.normal(size=(size, 4)) * [1, 2, 0.5, 1] + [0, 3, -1, 0.2])
        rows_so_far = np.concatenate([rows_so_far, rows])
        found = norm(torch.tensor(rows).float())
        if len(rows_so_far) > 1:
            std = np.maximum(rows_so_far.std(axis=0, ddof=1), 1e-3 * 2.0 ** norm.exponent.item())
            np.testing.assert_allclose(found, (rows - rows_so_far.mean(axis=0)) / std, rtol=2e-3, atol=2e-3)
    assert norm.count == len(rows_so_far)
    before = bits(norm)
    norm.eval()(torch.randn(3, 4))
    assert same(bits(norm), before)


def test_the_norm_bears_no_rows_and_a_feature_that_never_varies():
    norm = RunningNorm(3)
    assert norm(torch.zeros(0, 3)).shape == (0, 3)
    rows = torch.tensor([[1.0, 0.0, 2.0], [3.0, 0.0, 1.0], [2.0, 0.0, 4.0]])
    assert norm(rows).isfinite().all() and norm.count == 3
    assert norm.eval()(torch.tensor([[1.0, 0.5, 1.0]])).abs().max() < 1e3  # 5e6 with an offset of 1e-7


def test_the_released_offset_is_small_beside_the_deltas_of_tiny():
    """The released code divides by the deviation + 1e-7; docs/baselines.md says what that makes."""
    kept = safetensors.torch.load_file(MEND.home() / "checkpoints" / "tiny" / "model.safetensors")
    for name in (name for name in kept if name.endswith("norm_delta.std")):
        deviation = kept[name].double() * 2.0 ** kept[name.replace(".std", ".exponent")].double()
        assert (1e-7 / deviation).max() < 1e-3


# Training


def test_training(build, backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_LOG_EVERY", 10)
    editor = build(steps=30, batch=2, lr=3e-3, answer_in_scope=0.3, answer_rephrase=0.3)
    before, encoded, encode = bits(editor.networks), [], backbone.encode_images
    monkeypatch.setattr(backbone, "encode_images", lambda images: encoded.append(len(images)) or encode(images))
    with bits_kept(backbone):
        editor.train(records(), tmp_path / "new" / "folder", seed=0)
    assert set(encoded) == {1}  # so that features do not depend on where a training was stopped
    log = losses(tmp_path / "new" / "folder")
    assert [line["step"] for line in log] == [10, 20, 30]
    total = [sum((0.3 if name.startswith("answer") else 1) * line[name] for name in NAMED) for line in log]
    assert total[-1] < total[0]
    assert log[-1]["answer/rephrase"] < log[0]["answer/rephrase"]
    after = bits(editor.networks)
    learns = [name for name, _ in editor.networks.named_parameters()]
    assert not [name for name in learns if torch.equal(after[name], before[name])]
    assert after["networks.64x32.norm_x.count"] > 30 * 2
    assert not editor.networks.training


NAMED = ("answer/rephrase", "answer/in_scope", "locality/out_of_scope", "locality/text_locality")


def losses(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_stopped_training_goes_on_to_the_same_weights(build, random_blip2, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_LOG_EVERY", 2)
    monkeypatch.setattr(training, "_SAVE_EVERY", -1)
    whole = build()
    whole.train(records(), tmp_path / "whole", seed=3)
    calls, original = [], mend_training.divergence

    def failing(*args: torch.Tensor) -> torch.Tensor:
        calls.append(args)
        if len(calls) == 2 * 3 + 1:  # twice a step: in the fourth
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(mend_training, "divergence", failing)
    stopped = build(open_backbone(str(random_blip2)))
    with bits_kept(stopped.backbone), pytest.raises(KeyboardInterrupt):
        stopped.train(records(), tmp_path / "stopped", seed=3)
    resumed = build(open_backbone(str(random_blip2)))
    resumed.train(records(), tmp_path / "stopped", seed=3)
    assert len(calls) == 2 * 3 + 1 + 2 * (6 - 2)
    assert same(bits(resumed.networks), bits(whole.networks))
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")


def losses_of(editor: MEND) -> Losses:
    weights = (editor.config.answer_rephrase, editor.config.answer_in_scope, editor.config.locality)
    return mend_losses(editor.backbone, editor.networks, *weights)


def test_the_losses_are_those_of_the_model_after_the_edit(learnt):
    """One record at a time, with the weights really changed, against a batch with its side paths."""
    backbone, batch = learnt.backbone, draw_batch(records(), 3, seed=0, step=0)
    total, named = losses_of(learnt)(batch)
    expected: dict[str, list[float]] = {name: [] for name in NAMED}
    for example in batch:
        asked = {kind: (example.query(kind), example.probes[kind].answer) for kind in example.probes}
        before = {kind: log_probabilities(backbone, *asked[kind]) for kind in asked}
        with mend_edited(backbone, learnt.networks, [example.record.edit]):
            for kind, (query, answer) in asked.items():
                after = log_probabilities(backbone, query, answer)
                if f"answer/{kind}" in expected:
                    prompt = backbone.prompt(query.question)
                    expected[f"answer/{kind}"].append(backbone.answer_loss([prompt], [query.image], [answer]).item())
                else:
                    kl = nn.functional.kl_div(after, before[kind], log_target=True, reduction="batchmean")
                    expected[f"locality/{kind}"].append(kl.item())
    assert {name: value.item() for name, value in named.items()} == pytest.approx(
        {name: float(np.mean(values)) for name, values in expected.items()}, rel=1e-3, abs=1e-5
    )
    weighted = 0.1 * (named[NAMED[0]] + named[NAMED[1]]) + named[NAMED[2]] + named[NAMED[3]]
    assert total.item() == pytest.approx(weighted.item())


@torch.no_grad()
def log_probabilities(backbone: Backbone, query: Query, answer: str) -> torch.Tensor:
    ids = [*backbone.answer_ids(answer), backbone.tokenizer.eos_token_id]
    inputs = backbone.inputs([backbone.prompt(query.question)], [query.image], [ids])
    return backbone.logits(inputs)[0].log_softmax(dim=-1)


def test_the_weights_of_the_losses(build):
    batch = draw_batch(records(), 2, seed=0, step=0)
    options = {"answer_rephrase": 2.0, "answer_in_scope": 3.0, "locality": 5.0}
    editor = build(**options)
    total, named = losses_of(editor)(batch)
    expected = 2 * named[NAMED[0]] + 3 * named[NAMED[1]] + 5 * (named[NAMED[2]] + named[NAMED[3]])
    assert total.item() == pytest.approx(expected.item())


def test_training_has_the_gradient_of_the_edited_model(build):
    """The gradient of a log-rate against a difference quotient."""
    editor = stirred(build(edit_lr=1e-4))  # so small a step that no neuron of the random backbone turns over
    batch = draw_batch(records(), 2, seed=0, step=0)
    loss = losses_of(editor)
    (found,) = torch.autograd.grad(loss(batch)[0], [editor.networks.log_rates])
    for index in range(len(NAMES)):
        values = []
        for off in (1e-3, -1e-3):
            with torch.no_grad():
                editor.networks.log_rates[index] += off
                values.append(loss(batch)[0].item())
                editor.networks.log_rates[index] -= off
        assert found[index].item() == pytest.approx((values[0] - values[1]) / 2e-3, rel=0.02, abs=2e-3)


def test_divergence():
    base, edited = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    mask = torch.tensor([[0, 1, 1], [1, 1, 1]])
    p, q = base.softmax(-1).numpy(), edited.softmax(-1).numpy()
    each = (p * np.log(p / q)).sum(-1)
    expected = (each[0, 1:].mean() + each[1].mean()) / 2
    assert divergence(base, edited, mask).item() == pytest.approx(expected, rel=1e-4)
    assert divergence(base, base, mask).item() == 0


# Checkpoints and options


def test_a_checkpoint_comes_back(build, backbone, tmp_path):
    editor = build()
    editor.train(records(), tmp_path, seed=0)
    editor.save(tmp_path)
    loaded = build()
    loaded.load(tmp_path)
    for name, value in bits(editor.networks).items():
        torch.testing.assert_close(bits(loaded.networks)[name], value, rtol=1e-3, atol=1e-6)
    one, other = (mend_step(backbone, each.networks, EDITS) for each in (editor, loaded))
    for name, (x, delta) in one.items():
        step = delta.T @ x
        torch.testing.assert_close(other[name][1].T @ other[name][0], step, rtol=0.02, atol=0.005 * step.abs().max())


def test_tiny_deltas_survive_a_checkpoint(build, tmp_path):
    editor = build()
    norm = editor.networks.networks["64x32"].norm_delta
    norm.train()(1e-7 * torch.randn(50, 64))
    editor.save(tmp_path)
    loaded = build()
    loaded.load(tmp_path)
    rows = 1e-7 * torch.randn(5, 64)
    assert norm.eval()(rows).std().item() == pytest.approx(1, rel=0.2)
    torch.testing.assert_close(
        loaded.networks.networks["64x32"].norm_delta(rows), norm.eval()(rows), rtol=0.01, atol=0.01
    )


@pytest.mark.parametrize(
    ("option", "value"),
    [("rank", 3), ("layers", [1]), ("hidden_layers", 2), ("edit_lr", 0.1), ("rate_speed", 2.0)],
)
def test_a_checkpoint_of_another_architecture_is_refused(build, tmp_path, option, value):
    build().save(tmp_path)
    with pytest.raises(FGVEditError, match=f"trained with {option} "):
        build(**{option: value}).load(tmp_path)


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("rank", 0, "option 'rank': found 0, expected more than 0"),
        ("hidden_layers", 0, "option 'hidden_layers': found 0"),
        ("edit_lr", -1.0, "option 'edit_lr': found -1.0"),
        ("rate_speed", 0.0, "option 'rate_speed': found 0.0"),
        ("steps", 0, "option 'steps': found 0"),
        ("layers", [7], "option 'layers': found 7, expected -2 to 1"),
        ("layers", [], "option 'layers': found an empty list"),
        ("parameters", ["fc1.weigth"], "'fc1.weigth'.*did you mean 'fc1.weight'"),
        ("parameters", ["fc1.bias"], "option 'parameters': found 'fc1.bias' of a Linear, expected weights of linear"),
        ("parameters", ["final_layer_norm.weight"], "'final_layer_norm.weight' of a LayerNorm, expected weights"),
        ("parameters", "fc1.weight", "option 'parameters' .* expected a list"),
    ],
)
def test_a_bad_option(backbone, option, value, sentence):
    with pytest.raises(FGVEditError, match=sentence):
        MEND(backbone, editor_config(MEND, backbone.name, {"layers": LAYERS, "rank": 4, option: value}))


@pytest.mark.parametrize("name", ["tiny", "blip2-opt-2.7b", "minigpt4-7b", "a backbone without a section"])
def test_the_shipped_configurations_are_valid(name):
    config = editor_config(MEND, name)
    assert len(config.layers) == 3 and len(config.parameters) == 2
    if name != "tiny":
        assert (config.rank, config.lr, config.edit_lr, config.clip_gradient) == (1920, 1e-6, 1e-4, 100)
        assert (config.answer_rephrase, config.answer_in_scope, config.locality) == (0.1, 0.1, 1.0)


def test_equal_layers_are_edited_once(backbone, config):
    assert list(EditorNetworks(backbone, replace(config, layers=[1, -1])).linears) == NAMES[2:]
