"""GRACE: the codebook on hand-made keys, and the editor on a random backbone."""

from __future__ import annotations

import math
import random

import pytest
import torch
from edits import EDIT, QUERY, bits_kept
from hypothesis import given
from hypothesis import strategies as st
from rows import image_ref

from baselines.grace.editor import GRACE, Codebook, Entry, replaced, similarity
from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone
from fgvedit.editors.registry import editor_config, open_editor
from fgvedit.schema import Edit
from fgvedit.util.errors import FGVEditError

OTHER = Edit(image_ref(1), "What is the shape?", "card")
OTHER_QUERY = Query(OTHER.question, OTHER.image)
FAR = [Query("Where is the tower?", image_ref(2)), Query("Where is the tower?"), Query(EDIT.question)]
OVERRIDES = {"layer": 0, "module": "fc2", "epsilon": 2.0, "lr": 1.0, "steps": 30}

# The targets are single tokens: what follows the first new token is hardly moved by a value in a random model.


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)  # of the values


def grace(backbone: Backbone, **options: object) -> GRACE:
    return GRACE(backbone, editor_config(GRACE, backbone.name, {**OVERRIDES, **options}))


def same_forced(backbone: Backbone, queries: list[Query], answers: list[str], edited) -> bool:
    fresh = backbone.cached_answerer.teacher_force(queries, answers)
    found = edited.teacher_force(queries, answers)
    return all(torch.equal(one.top, other.top) for one, other in zip(fresh, found, strict=True))


def test_it_learns_the_edit_and_leaves_the_base_model_bits_kept(backbone: Backbone):
    before = backbone.generate([QUERY, *FAR], max_new_tokens=1)
    with bits_kept(backbone), grace(backbone).edit([EDIT]) as edited:
        assert edited.generate([QUERY], max_new_tokens=1) == ["blue"]
        forced = edited.teacher_force([QUERY], ["blue"])[0]
        assert forced.predicted.tolist() == forced.answer.tolist()
    assert backbone.generate([QUERY, *FAR], max_new_tokens=1) == before and before[0] != "blue"


def test_an_edits_own_query_has_distance_0_and_far_ones_are_answered_bit_for_bit_by_the_base(backbone: Backbone):
    before = backbone.cached_answerer.generate(FAR)
    with grace(backbone).edit([EDIT]) as edited:
        own, *far = edited.explain([QUERY, *FAR])
        assert (own.to, own.edit, own.rho) == ("edited", 0, 1.0)
        assert all(route.to == "base" and route.rho is not None and route.rho < 0.5 for route in far)
        assert edited.generate([QUERY, *FAR])[1:] == before
        assert same_forced(backbone, FAR, ["red"] * len(FAR), edited)


def test_the_key_is_what_the_map_reads_at_the_prompts_end_whatever_is_asked_beside_it(backbone: Backbone):
    editor = grace(backbone)
    together, alone = editor._keys([QUERY, *FAR]), [editor._keys([query])[0] for query in (QUERY, *FAR)]
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))
    read = []
    hook = editor.module.register_forward_hook(lambda module, inputs, output: read.append(inputs[0]))
    backbone.teacher_force([QUERY], ["red"])
    hook.remove()
    expected = read[0].reshape(-1, editor.module.in_features)[-1 - len(backbone.answer_ids("red"))]
    torch.testing.assert_close(alone[0], expected)


def test_several_edits_are_answered_together_and_a_text_only_query_is_routed(backbone: Backbone):
    with bits_kept(backbone), grace(backbone).edit([OTHER, EDIT]) as edited:
        queries = [QUERY, FAR[1], OTHER_QUERY]
        routes = edited.explain(queries)
        assert [(route.to, route.edit) for route in (routes[0], routes[2])] == [("edited", 1), ("edited", 0)]
        assert routes[1].to == "base"
        assert edited.generate(queries, 1) == ["blue", backbone.generate([FAR[1]], 1)[0], "card"]
        forced = edited.teacher_force(queries, ["blue", "in the town", "card"])
        assert all(forced[row].predicted.tolist() == forced[row].answer.tolist() for row in (0, 2))


def test_forced_and_free_answers_begin_with_the_same_token(backbone: Backbone):
    # After one step the answer is neither the target nor the base model's, in rows of different lengths.
    with grace(backbone, steps=1, lr=2.0).edit([OTHER, EDIT]) as edited:
        queries = [QUERY, OTHER_QUERY]
        free = edited.generate(queries, max_new_tokens=1)
        forced = edited.teacher_force(queries, ["a long answer", "no"])
        firsts = [backbone.tokenizer.decode(row.predicted[:1].tolist(), skip_special_tokens=True) for row in forced]
        assert [first.strip() for first in firsts] == free
        assert free != backbone.generate(queries, max_new_tokens=1)


def test_the_hooks_are_gone_after_an_error(backbone: Backbone, monkeypatch: pytest.MonkeyPatch):
    editor = grace(backbone)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("on purpose")

    with editor.edit([EDIT]) as edited:
        edited.explain([QUERY])
        with monkeypatch.context() as patched:
            patched.setattr(backbone.language_model, "forward", fail)
            with bits_kept(backbone), pytest.raises(RuntimeError, match="on purpose"):
                edited.generate([QUERY])
            with bits_kept(backbone), pytest.raises(RuntimeError, match="on purpose"):
                edited.explain([FAR[0]])
    monkeypatch.setattr("baselines.grace.editor.edit_loss", fail)
    with bits_kept(backbone), pytest.raises(RuntimeError, match="on purpose"), editor.edit([EDIT]):
        pass


def test_it_learns_in_half_precision_and_where_gradients_are_off(backbone: Backbone):
    backbone.model.to(torch.bfloat16)
    backbone.forget_images()
    with bits_kept(backbone), torch.no_grad(), grace(backbone).edit([EDIT]) as edited:
        assert edited.explain([QUERY])[0].rho == 1
        assert edited.generate([QUERY], max_new_tokens=1) == ["blue"]


def test_a_warm_value_begins_as_what_the_map_gives_out(backbone: Backbone):
    # A step too small to count: the answer's logits, and so the tokens, are the base model's.
    with grace(backbone, value_init="warm", lr=1e-6, steps=1).edit([EDIT]) as edited:
        assert edited.explain([QUERY])[0].to == "edited"
        assert edited.generate([QUERY]) == backbone.generate([QUERY])
    with grace(backbone, value_init="cold", lr=1e-6, steps=1).edit([EDIT]) as edited:
        cold = edited.teacher_force([QUERY], ["blue"])[0]
    assert not torch.equal(cold.top, backbone.teacher_force([QUERY], ["blue"])[0].top)


def test_a_replacement_counts_at_the_prompts_ends_of_the_first_pass_alone():
    module, x, values = torch.nn.Linear(3, 2), torch.randn(2, 4, 3), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    plain = module(x)
    for shaped in (x, x.flatten(0, 1)):  # some language models flatten the tokens of a batch
        with replaced(module, values, [1, 3]):
            first, second = module(shaped).reshape(2, 4, 2), module(shaped).reshape(2, 4, 2)
        expected = plain.clone()
        expected[0, -1], expected[1, -3] = values
        torch.testing.assert_close(first, expected)
        torch.testing.assert_close(second, plain)
    assert not module._forward_hooks


def codebook(*keys: tuple[float, str], epsilon: float = 1.0) -> Codebook:
    book = Codebook(epsilon)
    for edit, (key, target) in enumerate(keys):
        book.add(torch.tensor([key, 0.0]), target, edit)
    return book


def balls(book: Codebook) -> list[tuple[float, float, str, list[int]]]:
    return [(entry.key[0].item(), entry.epsilon, entry.target, entry.edits) for entry in book.entries]


def test_a_far_key_makes_a_new_ball():
    assert balls(codebook((0, "a"), (2.5, "a"), (5, "b"))) == [
        (0, 1, "a", [0]),
        (2.5, 1, "a", [1]),
        (5, 1, "b", [2]),
    ]


def test_a_near_key_of_the_same_target_expands_the_ball_and_never_shrinks_it():
    book = codebook((0, "a"), (1.5, "a"), (0.5, "a"))
    assert balls(book) == [(0, pytest.approx(1.5, rel=1e-4), "a", [0, 1, 2])]
    [(entry, distance)] = book.nearest(torch.tensor([[1.5, 0.0]]))
    assert distance <= entry.epsilon  # not out of it by rounding


def test_a_near_key_of_another_target_splits_the_way_between_them():
    assert balls(codebook((0, "a"), (1.5, "b"))) == [(0, 0.75, "a", [0]), (1.5, 0.75, "b", [1])]


def test_a_split_grows_no_ball():
    book = codebook((0, "a"), (0.5, "b"), (-1.0, "c"))
    assert [ball[1] for ball in balls(book)] == [0.25, 0.25, 0.5]


def test_the_same_key_with_another_target_takes_the_place_of_the_earlier_one():
    assert balls(codebook((0, "a"), (0, "b"))) == [(0, 1, "b", [1])]


# EasyEdit's codebook, written out from easyeditor/models/grace/GRACE.py: of the nearest key alone it asks whether it is
# close, whether its label is the same, and by how much it has to grow or to give way.


def easyedit(drawn: list[tuple[tuple[int, int], str]], prepended: bool) -> list[tuple[list[int], float]]:
    """Keys and radii after these edits, from a radius of 5. `prepended`: labels are put before those that are there,
    and keys behind, as EasyEdit does it; otherwise both behind."""
    keys: list[tuple[int, int]] = []
    radii: list[float] = []
    labels: list[str] = []
    for key, label in drawn:
        distances = [math.dist(key, other) for other in keys]
        near = min(range(len(keys)), key=distances.__getitem__, default=0)
        close = bool(keys) and distances[near] <= 5.0 + radii[near]
        if close and labels[near] == label:
            radii[near] = max(radii[near], distances[near])
            continue
        if close:
            radii[near] = distances[near] / 2 - 1e-5
        keys.append(key)
        radii.append(distances[near] / 2 if close else 5.0)
        labels = [label, *labels] if prepended else [*labels, label]
    return [(list(key), radius) for key, radius in zip(keys, radii, strict=True)]


POINTS = st.tuples(st.integers(-20, 20), st.integers(-20, 20))


def ours(drawn: list[tuple[tuple[int, int], str]]) -> list[tuple[list[int], float]]:
    book = Codebook(5.0)
    for edit, (key, target) in enumerate(drawn):
        book.add(torch.tensor(key, dtype=torch.float32), target, edit)
    return [([int(part) for part in entry.key], entry.epsilon) for entry in book.entries]


@given(st.lists(st.tuples(POINTS, st.sampled_from("ab")), min_size=1, max_size=2, unique_by=lambda drawn: drawn[0]))
def test_of_two_keys_the_codebook_is_easyedits(drawn: list[tuple[tuple[int, int], str]]):
    for (key, radius), (other, expected) in zip(ours(drawn), easyedit(drawn, prepended=True), strict=True):
        assert key == other and radius == pytest.approx(expected, rel=2e-5, abs=2e-5)


@given(st.lists(st.tuples(POINTS, st.just("a")), min_size=1, max_size=12))
def test_of_one_target_the_codebook_is_easyedits(drawn: list[tuple[tuple[int, int], str]]):
    for (key, radius), (other, expected) in zip(ours(drawn), easyedit(drawn, prepended=True), strict=True):
        assert key == other and radius == pytest.approx(expected, rel=2e-5)


def test_where_easyedit_takes_another_keys_label_for_the_nearest_ones():
    # The third is near the second, of the same label; EasyEdit compares it with the first one's, and splits.
    drawn = [((0, 0), "a"), ((20, 0), "b"), ((26, 0), "b")]
    assert easyedit(drawn, prepended=True) == [([0, 0], 5.0), ([20, 0], 3.0 - 1e-5), ([26, 0], 3.0)]
    assert easyedit(drawn, prepended=False) == [([0, 0], 5.0), ([20, 0], 6.0)]
    assert ours(drawn) == [([0, 0], 5.0), ([20, 0], pytest.approx(6.0, rel=2e-5))]


def test_how_often_that_changes_easyedits_codebook():  # docs/baselines.md says it
    rng = random.Random(0)
    sequences = [
        [((rng.randint(-20, 20), rng.randint(-20, 20)), rng.choice("abc")) for _ in range(10)] for _ in range(300)
    ]
    changed = [easyedit(drawn, prepended=True) != easyedit(drawn, prepended=False) for drawn in sequences]
    assert sum(changed) == 262


def test_the_nearest_of_overlapping_balls_counts():
    book = codebook((0, "a"), (1.5, "a"), (3.0, "a"), (4.2, "a"))
    assert [entry.edits[0] for entry, _ in book.nearest(torch.tensor([[0.1, 0.0], [2.9, 0.0]]))] == [0, 2]


def test_a_key_is_at_distance_0_from_itself_in_a_codebook_of_many():
    keys = 100 * torch.randn(60, 8)
    book = Codebook(1.0)
    for edit, key in enumerate(keys):
        book.add(key, str(edit), edit)
    assert [(entry.edits, distance) for entry, distance in book.nearest(keys)] == [([edit], 0.0) for edit in range(60)]


@given(
    st.lists(
        st.tuples(st.lists(st.integers(-20, 20), min_size=2, max_size=2), st.sampled_from("abc")),
        min_size=1,
        max_size=12,
    )
)
def test_a_new_ball_overlaps_no_ball_of_another_target(drawn: list[tuple[list[int], str]]):
    book = Codebook(5.0)
    for edit, (key, target) in enumerate(drawn):
        before = {id(entry): entry.epsilon for entry in book.entries}
        book.add(torch.tensor(key, dtype=torch.float32), target, edit)
        made = book.entries[-1]
        if id(made) in before:
            continue  # expanded, or taken over
        for entry in book.entries[:-1]:
            assert entry.epsilon <= before[id(entry)]
            if entry.target != target:
                distance = torch.dist(entry.key, made.key).item()
                assert entry.epsilon + made.epsilon <= distance * (1 + 1e-6)


@given(st.floats(0, 100), st.floats(0.01, 10))
def test_rho_is_a_half_at_the_edge_of_a_ball(distance: float, epsilon: float):
    entry = Entry(torch.zeros(1), epsilon, "a")
    assert (similarity(distance, entry) >= 0.5) == (distance <= epsilon)
    assert similarity(0, entry) == 1 and similarity(epsilon, entry) == 0.5


def test_edits_of_one_ball_share_a_value(backbone: Backbone):
    same = Edit(EDIT.image, "What colour has the card?", "blue")
    with grace(backbone, epsilon=100.0).edit([EDIT, same]) as edited:
        routes = edited.explain([QUERY, Query(same.question, same.image)])
        assert [(route.to, route.edit) for route in routes] == [("edited", 0), ("edited", 0)]
        assert edited.generate([QUERY, Query(same.question, same.image)], max_new_tokens=1) == ["blue", "blue"]


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("layer", 2, "option 'layer': found 2, expected -2 to 1"),
        ("layer", -3, "option 'layer': found -3, expected -2 to 1"),
        ("module", "fc3", "unknown linear map .*'fc3'.*did you mean 'fc"),
        ("module", "activation_fn", "unknown linear map"),
        ("epsilon", 0, "option 'epsilon': found 0.0, expected more than 0"),
        ("steps", 0, "option 'steps': found 0, expected more than 0"),
        ("lr", -1, "option 'lr': found -1.0, expected more than 0"),
        ("stop_loss", -1, "option 'stop_loss': found -1.0"),
        ("value_init", "hot", "option 'value_init' .*'hot'"),
    ],
)
def test_it_names_a_bad_option(backbone: Backbone, option: str, value: object, sentence: str):
    with pytest.raises(FGVEditError, match=sentence):
        grace(backbone, **{option: value})


@pytest.mark.parametrize(
    ("name", "layer", "module"),
    [
        ("blip2-opt-2.7b", 21, "ffn.down"),
        ("minigpt4-7b", 27, "mlp.down_proj"),
        ("tiny", 1, "fc2"),
        ("none", -10, "ffn.down"),
    ],
)
def test_the_shipped_configurations_are_valid(name: str, layer: int, module: str):
    config = editor_config(GRACE, name)
    assert (config.layer, config.module) == (layer, module)


def test_it_edits_the_shipped_backbone():
    from fgvedit.backbones import open_backbone
    from fgvedit.dataset import load_records

    record = load_records("scenes", limit=1).records[0]
    editor = open_editor("grace", open_backbone("tiny"))
    with editor.edit([record.edit]) as edited:
        assert edited.generate([Query(record.question, record.image)]) == [record.target]
        text = [Query(probe.question) for probe in record.probes_of("text_locality")]
        assert {route.to for route in edited.explain(text)} == {"base"}
