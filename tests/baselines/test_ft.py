"""Fine-tuning: of language layers, of the connector, and within a bound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from dummy import write_dataset
from edits import EDIT, OTHER, QUERIES, QUERY, bits_kept
from hypothesis import given
from hypothesis import strategies as st
from samples import answers, bits, same

from baselines.ft_align.editor import FineTuneAlign
from baselines.ft_linf.editor import FineTuneLinf, limits_around
from baselines.ft_llm.editor import FineTuneLLM
from fgvedit.backbones import open_backbone
from fgvedit.backbones.base import Backbone
from fgvedit.dataset import load_records
from fgvedit.editors.contract import Editor, Route
from fgvedit.editors.fine_tuning import OPTIMISERS, edit_loss
from fgvedit.editors.registry import editor_config
from fgvedit.evaluation.protocols import open_protocols
from fgvedit.evaluation.runs.runner import run
from fgvedit.util.errors import FGVEditError

LAYERS = {"layers": [-2, -1], "parameters": ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]}
OPTIONS: dict[type[Editor], dict[str, Any]] = {
    FineTuneLLM: {**LAYERS, "lr": 0.01, "steps": 60},
    FineTuneAlign: {"lr": 0.1, "steps": 300},
    FineTuneLinf: {**LAYERS, "lr": 0.01, "steps": 60, "bound": 0.1},
}
KINDS = list(OPTIONS)
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def opened(kind: type[Editor], backbone: Backbone, **options: Any) -> Any:
    return kind(backbone, editor_config(kind, backbone.name, {**OPTIONS[kind], **options}))


def trained(editor: Any) -> dict[str, torch.nn.Parameter]:
    """The parameters that an editor may change."""
    if isinstance(editor, FineTuneAlign):
        return dict(editor.backbone.connector.named_parameters())
    return {
        f"{layer}.{name}": editor.backbone.language_layers[layer].get_parameter(name)
        for layer in editor.config.layers
        for name in editor.config.parameters
    }


@every_kind
def test_it_learns_the_edit_and_gives_back_the_base_model_bit_for_bit(kind: type[Editor], backbone: Backbone):
    editor = opened(kind, backbone)
    before = answers(backbone, QUERIES)
    assert before[0][0] != "blue"
    with bits_kept(backbone) as state:
        with editor.edit([EDIT]) as edited:
            assert edited.generate([QUERY]) == ["blue"]
            forced = edited.teacher_force([QUERY], ["blue"])[0]
            assert forced.predicted.tolist() == forced.answer.tolist()
            assert edited.explain(QUERIES) == [Route("edited", 0)] * 3
            changed = {id(p) for n, p in backbone.model.named_parameters() if not torch.equal(p, state[n])}
        assert answers(backbone, QUERIES) == before
    assert changed and changed == {id(parameter) for parameter in trained(editor).values()}


@every_kind
def test_all_edits_count_at_once(kind: type[Editor], backbone: Backbone):
    edits = [EDIT, OTHER]
    before = [edit_loss(backbone, [edit]).item() for edit in edits]
    with bits_kept(backbone), opened(kind, backbone).edit(edits) as edited:
        assert edited.explain([QUERY]) == [Route("edited")]
        with torch.no_grad():
            after = [edit_loss(backbone, [edit]).item() for edit in edits]
    assert all(new < 0.8 * old for new, old in zip(after, before, strict=True))


def test_it_learns_several_edits_at_once(backbone: Backbone):
    with opened(FineTuneLLM, backbone).edit([EDIT, OTHER]) as edited:
        assert edited.generate(QUERIES[:2]) == ["blue", "round"]


@every_kind
def test_it_restores_after_an_error_in_the_optimisation(
    kind: type[Editor], backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    editor = opened(kind, backbone, steps=5)
    whole, losses = backbone.answer_loss, []

    def failing(*arguments: Any) -> torch.Tensor:
        losses.append(whole(*arguments))
        if len(losses) == 3:
            raise RuntimeError("on purpose")
        return losses[-1]

    monkeypatch.setattr(backbone, "answer_loss", failing)
    with bits_kept(backbone), pytest.raises(RuntimeError, match="on purpose"), editor.edit([EDIT]):
        pytest.fail("the edit was made")


@every_kind
def test_flags_are_given_back_where_parameters_were_trainable(kind: type[Editor], backbone: Backbone):
    editor = opened(kind, backbone, steps=2)
    next(iter(trained(editor).values())).requires_grad_(True)
    with bits_kept(backbone), editor.edit([EDIT]):
        pass


@every_kind
def test_it_works_where_gradients_are_off(kind: type[Editor], backbone: Backbone):
    with bits_kept(backbone), torch.no_grad(), opened(kind, backbone).edit([EDIT]) as edited:
        assert edited.generate([QUERY]) == ["blue"]


@every_kind
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_it_learns_in_half_precision(kind: type[Editor], dtype: torch.dtype, random_blip2: Path):
    editor = opened(kind, open_backbone(str(random_blip2), dtype=dtype))
    with bits_kept(editor.backbone), editor.edit([EDIT]) as edited:
        assert edited.generate([QUERY]) == ["blue"]


def test_small_steps_add_up_in_half_precision(random_blip2: Path):
    backbone = open_backbone(str(random_blip2), dtype=torch.bfloat16)
    small = {"optimiser": "adam", "lr": 1e-4, "steps": 30, "stop_loss": 0}
    editor = opened(FineTuneLLM, backbone, parameters=["fc2.weight"], **small)
    weight = trained(editor)["-1.fc2.weight"]
    before = weight.detach().clone()
    with editor.edit([EDIT]):
        # 30 steps of 1e-4 pass many weights' spacing (2**-9 at 0.3); any one of them is lost beside most.
        assert (weight != before).float().mean() > 0.5


@every_kind
def test_it_stops_when_the_edit_is_learnt(kind: type[Editor], backbone: Backbone):
    with bits_kept(backbone) as state, opened(kind, backbone, stop_loss=1e9).edit([EDIT]):
        assert same(bits(backbone.model), state)


def losses_of(editor: Any, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The loss before each step of an edit."""
    whole, losses = editor.backbone.answer_loss, []

    def kept(*arguments: Any) -> torch.Tensor:
        loss = whole(*arguments)
        losses.append(loss.item())
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(editor.backbone, "answer_loss", kept)
        with editor.edit([EDIT]):
            return losses


def test_it_stops_at_the_first_loss_below_the_limit_and_not_before(backbone: Backbone, monkeypatch: pytest.MonkeyPatch):
    losses = losses_of(opened(FineTuneLLM, backbone, stop_loss=0.5), monkeypatch)
    assert len(losses) > 2 and losses[-1] < 0.5 <= min(losses[:-1])
    assert len(losses_of(opened(FineTuneLLM, backbone, stop_loss=0, steps=len(losses) + 3), monkeypatch)) == (
        len(losses) + 3
    )


def descended(editor: Any, loss: Callable[[], torch.Tensor], rates: list[float]) -> dict[str, torch.Tensor]:
    """Plain gradient descent at these rates, written out, with the backbone restored."""
    parameters = trained(editor)
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    for rate in rates:
        for parameter in parameters.values():
            parameter.requires_grad_(True)
            parameter.grad = None
        loss().backward()
        with torch.no_grad():
            for parameter in parameters.values():
                assert parameter.grad is not None
                parameter.sub_(rate * parameter.grad)
    after = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(before[name])
            parameter.grad = None
            parameter.requires_grad_(False)
    return after


@every_kind
@pytest.mark.parametrize("rates", [[0.01], [0.01, 0.005, 0.0025]], ids=["one step", "decaying"])
def test_steps_of_sgd_are_those_of_the_answers_cross_entropy(
    kind: type[Editor], rates: list[float], backbone: Backbone
):
    options: dict[str, Any] = {"optimiser": "sgd", "lr": 0.01, "lr_decay": 0.5, "steps": len(rates), "stop_loss": 0}
    editor = opened(kind, backbone, **options)

    def loss() -> torch.Tensor:
        """Of the image's tokens, the prompt, the answer and the end, put together here."""
        tokenizer, model = backbone.tokenizer, backbone.language_model
        prompt = tokenizer("Question: What colour is the card? Short answer:", add_special_tokens=False).input_ids
        answer = [*tokenizer(" blue", add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        text = model.get_input_embeddings()(torch.tensor([prompt + answer]))
        image = backbone.connector(backbone.features([EDIT.image])[0])[None]
        logits = model(inputs_embeds=torch.cat([image, text], dim=1)).logits[0]
        return -logits.log_softmax(-1)[range(-len(answer) - 1, -1), answer].mean()

    expected = descended(editor, loss, rates)
    before = {name: parameter.detach().clone() for name, parameter in trained(editor).items()}
    with editor.edit([EDIT]):
        for name, parameter in trained(editor).items():
            change, right = parameter.detach() - before[name], expected[name] - before[name]
            assert right.abs().max() > 0
            torch.testing.assert_close(change, right, rtol=1e-3, atol=1e-6, msg=name)


@pytest.mark.parametrize(("optimiser", "lr"), [("adam", 0.01), ("adamw", 0.01), ("sgd", 0.05)])
def test_each_optimiser_learns_the_edit(optimiser: str, lr: float, backbone: Backbone):
    with opened(FineTuneLLM, backbone, optimiser=optimiser, lr=lr).edit([EDIT]) as edited:
        assert edited.generate([QUERY]) == ["blue"]


def test_every_optimiser_is_tried():
    assert set(OPTIMISERS) == {"adam", "adamw", "sgd"}


def test_weight_decay_is_handed_to_the_optimiser(backbone: Backbone):
    changed = []
    for weight_decay in (0.0, 0.5):
        editor = opened(FineTuneLLM, backbone, steps=1, weight_decay=weight_decay)
        with editor.edit([EDIT]):
            changed.append({name: parameter.detach().clone() for name, parameter in trained(editor).items()})
    for name, original in trained(editor).items():
        # AdamW takes lr * weight_decay of each weight off before its step.
        torch.testing.assert_close(changed[0][name] - changed[1][name], 0.01 * 0.5 * original, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bound", [0.003, 0.02])
def test_no_weight_goes_farther_than_the_bound_and_many_go_as_far(bound: float, dtype: torch.dtype, random_blip2: Path):
    editor = opened(FineTuneLinf, open_backbone(str(random_blip2), dtype=dtype), bound=bound, steps=10, stop_loss=0)
    before = {name: parameter.detach().clone() for name, parameter in trained(editor).items()}
    with editor.edit([EDIT]):
        pairs = [(parameter.detach(), before[name]) for name, parameter in trained(editor).items()]
        far = max((after.double() - original.double()).abs().max().item() for after, original in pairs)
        limits = [(after, *limits_around(original, bound)) for after, original in pairs]
        assert 0.9 * bound < far <= bound
        assert sum(int((after == least).sum()) for after, least, _ in limits) > 100
        assert sum(int((after == most).sum()) for after, _, most in limits) > 100


def test_a_bound_that_is_never_met_changes_nothing(backbone: Backbone):
    with opened(FineTuneLLM, backbone, steps=5).edit([EDIT]):
        weights = bits(backbone.model)
    for bound, unchanged in ((10.0, True), (0.001, False)):
        with opened(FineTuneLinf, backbone, steps=5, bound=bound).edit([EDIT]):
            assert same(bits(backbone.model), weights) is unchanged


@given(
    st.lists(st.floats(-4, 4, width=16), min_size=1, max_size=20),
    st.floats(2**-20, 1.0, width=32),  # what is added to a weight is then exact in double precision
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)
def test_the_limits_are_the_outermost_numbers_within_the_bound(values: list[float], bound: float, dtype: torch.dtype):
    weight = torch.tensor(values).to(dtype)
    least, most = limits_around(weight, bound)
    up = torch.full_like(weight, torch.inf)
    for limit, outwards in ((least, -up), (most, up)):
        held = limit.to(dtype)
        assert torch.equal(held.float(), limit)
        assert ((held.double() - weight.double()).abs() <= bound).all()
        assert ((torch.nextafter(held, outwards).double() - weight.double()).abs() >= bound).all()


@every_kind
@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("lr", "fast", "option 'lr' .* expected a float"),
        ("lr", 0, "option 'lr': found 0.0, expected more than 0"),
        ("lr", float("nan"), "option 'lr' of .*: found nan, expected a finite float"),
        ("lr_decay", -1, "option 'lr_decay': found -1.0, expected more than 0"),
        ("steps", 0, "option 'steps': found 0, expected more than 0"),
        ("stop_loss", -0.1, "option 'stop_loss': found -0.1, expected 0 or more"),
        ("weight_decay", -1, "option 'weight_decay': found -1.0, expected 0 or more"),
        ("optimiser", "adamm", "unknown optimiser .*'adamm'.*did you mean 'adamw?'"),
        ("lrs", 1.0, "unknown option .*'lrs'.*did you mean 'lr'"),
    ],
)
def test_a_bad_option_of_the_optimisation_is_named(
    kind: type[Editor], option: str, value: object, sentence: str, backbone: Backbone
):
    with pytest.raises(FGVEditError, match=sentence):
        opened(kind, backbone, **{option: value})


@pytest.mark.parametrize("kind", [FineTuneLLM, FineTuneLinf], ids=lambda kind: kind.name)
@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("parameters", ["fc1.weigth"], "'parameters'.*'fc1.weigth'.*did you mean 'fc1.weight'"),
        ("parameters", ["c1.weight"], "'parameters'.*'c1.weight'"),
        ("parameters", "fc1.weight", "option 'parameters' .* expected a list"),
        ("parameters", [], "option 'parameters': found an empty list"),
        ("layers", 3, "option 'layers' .* expected a list"),
        ("layers", [], "option 'layers': found an empty list"),
        ("layers", [2], "option 'layers': found 2, expected -2 to 1"),
        ("layers", [0, -3], "option 'layers': found -3, expected -2 to 1"),
    ],
)
def test_a_bad_choice_of_parameters_is_named(
    kind: type[Editor], option: str, value: object, sentence: str, backbone: Backbone
):
    with pytest.raises(FGVEditError, match=sentence):
        opened(kind, backbone, **{option: value})


def test_a_bound_of_nothing_is_named(backbone: Backbone):
    with pytest.raises(FGVEditError, match=r"option 'bound': found 0.0, expected more than 0"):
        opened(FineTuneLinf, backbone, bound=0)


def test_a_layer_named_twice_counts_once(backbone: Backbone):
    assert list(opened(FineTuneLLM, backbone, layers=[1, -1], parameters=["fc1.bias"]).parameters) == ["1.fc1.bias"]


def test_a_run_scores_full_reliability_and_gives_the_base_model_back(backbone: Backbone, tmp_path: Path):
    data = load_records(str(write_dataset(tmp_path / "cards", 4)))
    with bits_kept(backbone):
        result = run(opened(FineTuneLLM, backbone), data, open_protocols("paper,generation"), tmp_path / "out")
    assert result["metrics"]["paper/reliability"]["value"] == 100
    assert result["metrics"]["generation/reliability"]["value"] == 100
    assert result["router"] == {}


@every_kind
@pytest.mark.parametrize("name", ["tiny", "blip2-opt-2.7b", "minigpt4-7b", "a backbone without a section"])
def test_the_shipped_configurations_are_valid(kind: type[Editor], name: str):
    config = editor_config(kind, name)
    assert config.lr > 0
    if kind is not FineTuneAlign:
        ends = {
            "minigpt4-7b": ("up_proj.weight", "down_proj.weight"),
            "a backbone without a section": ("ffn.up.weight", "ffn.down.weight"),
        }
        opt = ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")
        assert all(parameter.endswith(ends.get(name, opt)) for parameter in config.parameters)
