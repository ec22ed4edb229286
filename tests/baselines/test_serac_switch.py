"""SERAC as a switch: its classifiers' numbers against computations of their own, and what it shares with MSCKE."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from rows import image_ref
from samples import (
    EDITS,
    QUERIES,
    answers,
    bits,
    expect_each_read_once,
    expect_the_counterfactuals_answers,
    records,
    same,
    small_serac,
)
from torch import nn

from baselines.serac_switch.editor import SwitchSERAC
from fgvedit.backbones import open_backbone
from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone
from fgvedit.editors import training
from fgvedit.editors.memory.clip import Clip
from fgvedit.editors.memory.losses import scope_losses
from fgvedit.editors.memory.scope import scope_loss
from fgvedit.editors.memory.text_scope import VARIANTS
from fgvedit.schema import Edit
from fgvedit.util.errors import FGVEditError


@pytest.fixture
def build(backbone: Backbone) -> Callable[..., SwitchSERAC]:
    """An editor with random weights, the same ones every time."""
    return partial(small_serac, SwitchSERAC, backbone)


def rhos(editor: SwitchSERAC, edits: list[Edit], queries: list[Query]) -> torch.Tensor:
    return editor.classifier.remember(edits)(queries)


@torch.no_grad()
def test_the_embedding_variant_is_a_gaussian_of_first_states(build):
    editor = build()
    tokenizer, model = editor.backbone.tokenizer, editor.classifier.encoder.model

    def first(text: str) -> torch.Tensor:
        ids = [tokenizer.eos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
        return model(input_ids=torch.tensor([ids])).last_hidden_state[0, 0]

    found = rhos(editor, EDITS[:3], QUERIES)
    for row, query in enumerate(QUERIES):
        for column, edit in enumerate(EDITS[:3]):
            distance = (first(f"{edit.question} {edit.target}") - first(query.question)).square().sum()
            torch.testing.assert_close(found[row, column], torch.exp(-distance), atol=1e-5, rtol=1e-3)


@torch.no_grad()
def test_the_cross_variant_reads_edit_and_query_together(build):
    editor = build(variant="cross")
    tokenizer, classifier = editor.backbone.tokenizer, editor.classifier
    end = tokenizer.eos_token_id

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    found = rhos(editor, EDITS[:3], QUERIES)
    for row, query in enumerate(QUERIES):
        for column, edit in enumerate(EDITS[:3]):
            text = [end, *ids(f"{edit.question} {edit.target}"), end, *ids(query.question)]
            state = classifier.encoder.model(input_ids=torch.tensor([text])).last_hidden_state[0, 0]
            expected = torch.sigmoid(state @ classifier.head.weight[0] + classifier.head.bias[0])
            torch.testing.assert_close(found[row, column], expected, atol=1e-6, rtol=1e-4)


def test_sequential_edits_are_each_read_once(build, monkeypatch):
    editor = build()
    encoder, texts = editor.classifier.encoder, []
    forward = encoder.forward
    monkeypatch.setattr(encoder, "forward", lambda asked: texts.extend(asked) or forward(asked))
    expect_each_read_once(editor, build(), EDITS, QUERIES, texts)


def test_an_edit_is_as_similar_to_itself_as_can_be(build):
    asked = [Query(f"{edit.question} {edit.target}", edit.image) for edit in EDITS]
    torch.testing.assert_close(rhos(build(), EDITS, asked).diagonal(), torch.ones(len(EDITS)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_images_do_not_count(build, variant):
    editor = build(variant=variant)
    queries = [Query("Where is it?", image) for image in (image_ref(0), image_ref(5), None)]
    found = rhos(editor, EDITS[:2], queries)
    torch.testing.assert_close(found, found[:1].expand(3, -1))
    other = [Edit(image_ref(6), edit.question, edit.target) for edit in EDITS[:2]]
    torch.testing.assert_close(rhos(editor, other, queries), found)


@torch.no_grad()
def test_the_text_tower_of_the_shipped_clip(build):
    editor = build(encoder="tiny-clip", encoder_width=0, encoder_layers=0)
    clip = Clip("tiny-clip").eval()
    stored = clip.read([f"{edit.question} {edit.target}" for edit in EDITS[:2]])
    asked = clip.read([query.question for query in QUERIES])
    expected = torch.exp(-(asked[:, None] - stored[None]).square().sum(dim=-1))
    torch.testing.assert_close(rhos(editor, EDITS[:2], QUERIES), expected)
    assert not any("visual" in name for name in editor.parts.state_dict())
    assert editor.supervision == "paper's kinds"  # it reads no picture, and no box was of a text alone
    with pytest.raises(FGVEditError, match=r"option 'variant': found 'cross' with encoder 'tiny-clip'.*'embedding'"):
        build(encoder="tiny-clip", variant="cross")


def test_an_encoder_of_transformers(build, bert):
    from transformers import AutoModel, AutoTokenizer

    found = rhos(build(encoder=str(bert)), EDITS[:1], QUERIES)
    tokenizer, model = AutoTokenizer.from_pretrained(bert), AutoModel.from_pretrained(bert)
    with torch.no_grad():
        texts = [f"{EDITS[0].question} {EDITS[0].target}", *(query.question for query in QUERIES)]
        first = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, 0] for text in texts]
    expected = torch.stack([torch.exp(-(first[0] - other).square().sum()) for other in first[1:]])
    torch.testing.assert_close(found[:, 0], expected, atol=1e-5, rtol=1e-3)
    assert rhos(build(encoder=str(bert), variant="cross"), EDITS[:2], QUERIES).shape == (3, 2)


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_and_use_see_the_same(build, variant):
    editor = build(variant=variant)
    batch = training.draw_batch(records(), 3, seed=0, step=0)
    found = scope_losses(editor.classifier, batch)
    assert list(found) == ["edit", "rephrase", "in_scope", "out_of_scope", "text_locality"]
    for kind, value in found.items():
        own = torch.cat([rhos(editor, [example.record.edit], [example.query(kind)])[0] for example in batch])
        expected = scope_loss(-own.log(), inside=kind in ("edit", "rephrase", "in_scope"))
        torch.testing.assert_close(value, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_with_rho_forced_to_zero_every_answer_is_the_base_models(build, random_blip2, variant):
    # No rho reaches 1.1: to the routing, every one is as good as 0.
    with build(threshold=1.1, variant=variant).edit(EDITS) as edited:
        assert answers(edited, QUERIES) == answers(open_backbone(str(random_blip2)), QUERIES)
        routes = edited.explain(QUERIES)
    assert all(route.to == "base" and route.edit is not None and 0 <= (route.rho or 0) <= 1 for route in routes)


@pytest.mark.parametrize("variant", VARIANTS)
def test_with_rho_forced_to_one_every_answer_is_the_counterfactuals(build, backbone, variant):
    expect_the_counterfactuals_answers(build(threshold=0.0, variant=variant), backbone)


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_tells_inside_from_outside(build, backbone, tmp_path, variant):
    editor = build(steps=40, variant=variant, lr=3e-3)
    before, base = bits(editor.parts), bits(backbone.model)
    editor.train(records(), tmp_path, seed=0)
    after = bits(editor.parts)
    assert all(not torch.equal(after[name], before[name]) for name in after if name.endswith("weight"))
    assert same(bits(backbone.model), base)
    with editor.edit([records()[0].edit]) as edited:
        probes = records()[0].probes[1:4]
        inside, outside, text = edited.explain([Query(probe.question, probe.image) for probe in probes])
    assert (inside.to, outside.to, text.to) == ("counterfactual", "base", "base")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_checkpoint_gives_the_same_answers(build, tmp_path, variant):
    first, second = build(variant=variant), build(variant=variant)
    for parameter in second.parts.parameters():
        nn.init.normal_(parameter)
    first.save(tmp_path / "one")
    first.load(tmp_path / "one")  # what is saved is rounded to float16
    second.load(tmp_path / "one")
    assert same(bits(first.parts), bits(second.parts))
    with first.edit(EDITS) as one, second.edit(EDITS) as other:
        assert one.explain(QUERIES) == other.explain(QUERIES)
    with pytest.raises(FGVEditError, match=f"trained with variant '{variant}'"):
        build(variant=next(other for other in VARIANTS if other != variant)).load(tmp_path / "one")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "crosss"}, r"unknown variant .* 'crosss'.*did you mean 'cross'"),
        ({"encoder": "/no/such/folder"}, "the text encoder '/no/such/folder' cannot be opened"),
        ({"encoder_width": 0}, "options 'encoder_width' and 'encoder_layers': found 0 and 1"),
        ({"steps": 0}, "option 'steps': found 0, expected more than 0"),
    ],
)
def test_a_configuration_that_cannot_be(build, changes, message):
    with pytest.raises(FGVEditError, match=message):
        build(**changes)
