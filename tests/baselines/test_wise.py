"""WISE: its losses, router and merging against direct computations, and the editor on a random backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from edits import EDIT, QUERY, bits_kept
from hypothesis import given
from hypothesis import strategies as st
from rows import image_ref

from baselines.wise.editor import WISE, activations, merge, routing_loss, similarity
from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone
from fgvedit.editors.parameters import read_by
from fgvedit.editors.registry import editor_config, open_editor
from fgvedit.schema import Edit
from fgvedit.util.errors import FGVEditError

OTHER = Edit(image_ref(1), "What is the shape?", "card")
OTHER_QUERY = Query(OTHER.question, OTHER.image)
IRRELEVANT = ["Where is the tower?", "Who was the first?"]
TEXT = Query(IRRELEVANT[0])
OVERRIDES = {
    "layer": 0,
    "module": "fc2",
    "irrelevant": IRRELEVANT,
    "lr": 0.1,
    "steps": 200,
    "alpha": 2.0,
    "beta": 4.0,
    "gamma": 2.0,
    "mask_ratio": 0.5,
    "act_ratio": 0.8,
}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)  # of the masks


def wise(backbone: Backbone, **options: object) -> WISE:
    return WISE(backbone, editor_config(WISE, backbone.name, {**OVERRIDES, **options}))


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("on purpose")


def test_it_learns_the_edit_and_leaves_no_trace(backbone: Backbone):
    before = backbone.generate([QUERY, TEXT])
    # Within the edit, too: the side memory is in place only as long as it answers.
    with bits_kept(backbone), wise(backbone).edit([EDIT]) as edited, bits_kept(backbone):
        assert edited.generate([QUERY]) == ["blue"]
        forced = edited.teacher_force([QUERY], ["blue"])[0]
        assert forced.predicted.tolist() == forced.answer.tolist()
        assert edited.explain([QUERY])[0].to == "edited"
    assert backbone.generate([QUERY, TEXT]) == before and before[0] != "blue"


def test_what_is_below_the_threshold_is_answered_by_the_base_bit_for_bit(backbone: Backbone):
    base = backbone.cached_answerer.teacher_force([TEXT], ["in the town"])[0]
    free = backbone.cached_answerer.generate([TEXT])
    with wise(backbone).edit([EDIT]) as edited:
        routes = edited.explain([QUERY, TEXT])
        assert [route.to for route in routes] == ["edited", "base"]
        assert routes[0].rho is not None and routes[1].rho is not None and routes[1].rho < 0.5 < routes[0].rho
        assert [route.edit for route in routes] == [0, 0]
        assert edited.generate([QUERY, TEXT])[1:] == free
        assert torch.equal(edited.teacher_force([QUERY, TEXT], ["blue", "in the town"])[1].top, base.top)


def test_it_restores_after_an_error(backbone: Backbone, monkeypatch: pytest.MonkeyPatch):
    editor = wise(backbone)
    with editor.edit([EDIT]) as edited:
        edited.explain([QUERY])
        with monkeypatch.context() as patched:
            patched.setattr(backbone.language_model, "forward", fail)
            asks: list[Callable] = [
                lambda: edited.generate([QUERY]),
                lambda: edited.teacher_force([QUERY], ["blue"]),
                lambda: edited.explain([TEXT]),
            ]
            for ask in asks:
                with bits_kept(backbone), pytest.raises(RuntimeError, match="on purpose"):
                    ask()
    steps: Iterator[Callable] = iter([routing_loss, routing_loss, fail])
    monkeypatch.setattr("baselines.wise.editor.routing_loss", lambda *given: next(steps)(*given))
    with bits_kept(backbone), pytest.raises(RuntimeError, match="on purpose"), editor.edit([EDIT]):
        pass


def test_a_shard_changes_only_what_its_mask_lets_it_and_within_the_bound(backbone: Backbone):
    editor = wise(backbone, mask_ratio=0.25, norm_constraint=0.02, steps=5)
    main = editor.module.weight.detach().clone()
    torch.manual_seed(3)
    side = editor._learn([EDIT], editor._read([EDIT]), editor._irrelevant(), editor._new_shard()).weight
    torch.manual_seed(3)
    mask = torch.rand(main.shape) < 0.25
    change = side - main
    assert not change[~mask].any()
    assert (change[mask] != 0).float().mean() > 0.5  # not all of the map's inputs are active
    assert change.abs().max() <= 0.02 * (1 + 1e-5) and (change.abs() > 0.0199).any()


def test_delta_is_the_mean_length_of_what_the_side_memory_adds_to_the_maps_output(backbone: Backbone):
    editor = wise(backbone)
    with editor.edit([EDIT]) as edited:
        side = edited.in_scope.side  # type: ignore[attr-defined]
        routes = edited.explain([QUERY, TEXT, OTHER_QUERY])
    outputs = {}
    for memory in ("main", "side"):
        outputs_of: list[torch.Tensor] = []
        hook = editor.module.register_forward_hook(lambda *args, into=outputs_of: into.append(args[2]))
        with torch.no_grad():
            kept = editor.module.weight.clone()
            if memory == "side":
                editor.module.weight.copy_(side)
            for query in (QUERY, TEXT, OTHER_QUERY):
                # The prompt's tokens come before the first of the answer, of one token here.
                backbone.teacher_force([query], ["blue"])
            editor.module.weight.copy_(kept)
        hook.remove()
        outputs[memory] = [output.reshape(-1, editor.module.out_features)[:-1].numpy() for output in outputs_of]
    deltas = [
        float(np.mean(np.linalg.norm(one - other, axis=-1)))
        for one, other in zip(outputs["main"], outputs["side"], strict=True)
    ]
    read = read_by(editor.module, backbone, [QUERY, TEXT, OTHER_QUERY])
    assert activations(read, side - kept).tolist() == pytest.approx(deltas, rel=1e-4)
    threshold = 0.8 * deltas[0]
    assert [route.rho for route in routes] == pytest.approx([d / (d + threshold) for d in deltas], rel=1e-4)
    assert [route.to for route in routes] == ["edited" if d >= threshold else "base" for d in deltas]


positive = st.floats(0, 50, width=32)


@given(
    st.lists(positive, min_size=1, max_size=4), st.lists(positive, min_size=1, max_size=4), positive, positive, positive
)
def test_the_routing_loss_is_that_of_the_paper(
    inside: list[float], outside: list[float], alpha: float, beta: float, gamma: float
):
    terms = [
        max(0, other - alpha) + max(0, beta - edit) + max(0, gamma - (edit - other))
        for edit in inside
        for other in outside
    ]
    found = routing_loss(torch.tensor(inside), torch.tensor(outside), alpha, beta, gamma).item()
    assert found == pytest.approx(sum(terms) / len(terms), rel=1e-4, abs=1e-4)


def test_the_routing_losses_are_met(backbone: Backbone):
    editor = wise(backbone)
    with editor.edit([EDIT]) as edited:
        change = edited.in_scope.side - editor.module.weight.detach()  # type: ignore[attr-defined]
    inside = activations(read_by(editor.module, backbone, [QUERY]), change)
    outside = activations(read_by(editor.module, backbone, [Query(text) for text in IRRELEVANT]), change)
    assert routing_loss(inside, outside, 2.0, 4.0, 2.0).item() < 0.1


def ties(main: np.ndarray, shards: list[np.ndarray], density: float) -> np.ndarray:
    merged = main.copy()
    trimmed = []
    for shard in shards:
        change = shard - main
        least = np.sort(np.abs(change))[::-1][int(density * main.size) - 1]
        trimmed.append(np.where(np.abs(change) >= least, change, 0))
    for entry in range(main.size):
        values = [change[entry] for change in trimmed]
        positive = sum(values) >= 0
        agree = [value for value in values if value != 0 and (value > 0) == positive]
        merged[entry] += sum(agree) / len(agree) if agree else 0
    return merged


@given(st.integers(0, 10_000), st.integers(2, 4), st.sampled_from([0.25, 0.5, 1.0]))
def test_merging_is_that_of_ties(seed: int, count: int, density: float):
    drawn = np.random.default_rng(seed)
    main = drawn.normal(size=12)
    shards = [main + drawn.normal(size=12) * (drawn.random(12) < 0.7) for _ in range(count)]
    found = merge(torch.tensor(main).float().view(3, 4), [torch.tensor(s).float().view(3, 4) for s in shards], density)
    np.testing.assert_allclose(found.flatten().numpy(), ties(main, shards, density), rtol=1e-4, atol=1e-5)


def test_merging_by_hand():
    main = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    one, two = main + torch.tensor([[2.0, -3.0, 0.1, 0.0]]), main + torch.tensor([[4.0, 1.0, 0.0, 0.5]])
    # Agreeing entries are averaged, of others the sign of the larger sum counts, the smallest changes are left out.
    assert merge(main, [one, two], 0.5).tolist() == [[4.0, -2.0, 1.0, 1.0]]
    assert merge(main, [one, two], 0.75).tolist() == [[4.0, -2.0, pytest.approx(1.1), 1.5]]


@given(st.integers(0, 10_000), st.floats(0.1, 1))
def test_one_shard_merges_to_itself(seed: int, density: float):
    drawn = torch.Generator().manual_seed(seed)
    main, shard = torch.randn(3, 4, generator=drawn), torch.randn(3, 4, generator=drawn)
    assert torch.equal(merge(main, [shard], density), shard)
    torch.testing.assert_close(merge(main, [shard, shard], 1.0), shard)


@given(st.floats(0, 100), st.floats(0.001, 100))
def test_rho_is_a_half_at_the_threshold(delta: float, threshold: float):
    assert (similarity(delta, threshold) >= 0.5) == (delta >= threshold)


@pytest.mark.parametrize("shard", [2, 1])
def test_several_edits_are_inside_in_one_shard_and_in_merged_ones(backbone: Backbone, shard: int):
    editor = wise(backbone, shard=shard, act_ratio=1.0)
    queries = [QUERY, TEXT, OTHER_QUERY]
    with bits_kept(backbone), editor.edit([EDIT, OTHER]) as edited:
        routes = edited.explain(queries)
        assert [route.to for route in routes] == ["edited", "base", "edited"]
        assert {route.edit for route in routes} == {None}
        answers = edited.generate(queries)
        assert answers[1] == backbone.generate([TEXT])[0]
        if shard == 2:
            assert [answers[0], answers[2]] == ["blue", "card"]


def test_it_learns_in_half_precision_and_where_gradients_are_off(backbone: Backbone):
    backbone.model.to(torch.bfloat16)
    backbone.forget_images()
    with bits_kept(backbone), torch.no_grad(), wise(backbone).edit([EDIT]) as edited:
        assert edited.explain([QUERY])[0].to == "edited"
        assert edited.generate([QUERY], max_new_tokens=1) == ["blue"]


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("layer", 2, "option 'layer': found 2, expected -2 to 1"),
        ("module", "fc3", "unknown linear map .*'fc3'.*did you mean 'fc"),
        ("irrelevant", [], "option 'irrelevant': found an empty list"),
        ("irrelevant", "Who?", "option 'irrelevant' .*'Who\\?'"),
        ("mask_ratio", 1.5, "option 'mask_ratio': found 1.5, expected at most 1"),
        ("density", 0, "option 'density': found 0.0, expected more than 0"),
        ("act_ratio", 2, "option 'act_ratio': found 2.0, expected at most 1"),
        ("beta", -1, "option 'beta': found -1.0, expected at least 0"),
        ("norm_constraint", 0, "option 'norm_constraint': found 0.0, expected more than 0"),
        ("shard", 0, "option 'shard': found 0, expected more than 0"),
        ("steps", 0, "option 'steps': found 0, expected more than 0"),
        ("lr", -1, "option 'lr': found -1.0, expected more than 0"),
    ],
)
def test_it_names_a_bad_option(backbone: Backbone, option: str, value: object, sentence: str):
    with pytest.raises(FGVEditError, match=sentence):
        wise(backbone, **{option: value})


@pytest.mark.parametrize(
    ("name", "module"),
    [("blip2-opt-2.7b", "fc1"), ("minigpt4-7b", "mlp.down_proj"), ("tiny", "ffn.down"), ("none", "ffn.down")],
)
def test_the_shipped_configurations_are_valid(name: str, module: str):
    config = editor_config(WISE, name)
    assert config.module == module and config.irrelevant


def test_it_edits_the_shipped_backbone():
    from fgvedit.backbones import open_backbone
    from fgvedit.dataset import load_records

    record = load_records("scenes", limit=1).records[0]
    editor = open_editor("wise", open_backbone("tiny"))
    with editor.edit([record.edit]) as edited:
        assert edited.generate([Query(record.question, record.image)]) == [record.target]
        text = [Query(probe.question) for probe in record.probes_of("text_locality")]
        assert {route.to for route in edited.explain(text)} == {"base"}
