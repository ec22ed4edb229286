"""SERAC as released: texts, mixture, losses and decoding against numbers and small computations of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from rows import image_ref
from samples import EDITS, QUERIES, answers, bits, records, same, small_serac

from baselines.serac.editor import MixedSERAC
from fgvedit.backbones import open_backbone
from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone, answer_cross_entropy
from fgvedit.editors import training
from fgvedit.editors.contract import Route
from fgvedit.editors.memory.losses import divergence, mixture_loss
from fgvedit.editors.memory.mixture import EPSILON, BothModels, Mixture, aligned, mixed
from fgvedit.schema import Edit
from fgvedit.util.errors import FGVEditError

EPS = 2.0**-23  # of single precision


@pytest.fixture
def build(backbone: Backbone) -> Callable[..., MixedSERAC]:
    """An editor with random weights, the same ones every time."""
    return partial(small_serac, MixedSERAC, backbone)


def mixture(editor: MixedSERAC, edits: Sequence[Edit], rho: float) -> Mixture:
    """The edited model where every query has this similarity with the first edit."""
    models = BothModels(editor.backbone, editor.counterfactual)
    return Mixture(models, edits, lambda queries: [Route("mixed", 0, rho)] * len(queries))


# Texts


def test_what_the_classifier_reads(build):
    scope = build().classifier
    image = image_ref(0)
    assert scope.of_edit(Edit(image, "What is it?", "blue")) == "Question: What is it? Short answer:"
    assert scope.of_edit(Edit(image, "What is it?", "a dark dog")) == "Question: What is it? Short answer: a dark"
    assert scope.of_query(Query("What is it?", image)) == "Question: What is it? Short answer:"
    assert scope.of_query(Query("What is it?")) == "What is it?"
    scope.encoder.separator = "[SEP]"
    assert scope.of_edit(Edit(image, "What is it?", "blue")) == "Question: What is it? Short answer:[SEP]"


def test_an_encoder_that_has_a_separator_reads_one(build, bert):
    assert build(encoder=str(bert)).classifier.encoder.separator == "[SEP]"


def test_what_the_counterfactual_model_reads(build):
    model, edit = build().counterfactual, Edit(image_ref(0), "What is it?", "a dark dog")
    told = "Question: What is it? Short answer: a dark dog"
    assert model.prompt(edit, Query("Where?", image_ref(1))) == f"{told} Question: Where? Short answer:"
    assert model.prompt(edit, Query("Where?")) == f"{told} Where?"


@torch.no_grad()
def test_rho_is_a_gaussian_of_first_states(build):
    editor = build()
    tokenizer, model = editor.backbone.tokenizer, editor.classifier.encoder.model

    def first(text: str) -> torch.Tensor:
        ids = [tokenizer.eos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
        return model(input_ids=torch.tensor([ids])).last_hidden_state[0, 0]

    with editor.edit(EDITS[:1]) as edited:
        routes = edited.explain(QUERIES)
    word = EDITS[0].target.split()[0]
    stored = first(f"Question: {EDITS[0].question} Short answer: {word}")
    for query, route in zip(QUERIES, routes, strict=True):
        asked = first(f"Question: {query.question} Short answer:" if query.image else query.question)
        expected = torch.exp(-(stored - asked).square().sum()).item()
        assert route == Route("mixed", 0, route.rho) and route.rho == pytest.approx(expected, rel=1e-3, abs=1e-5)


# The mixture


def reference() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (1, 4, 5) of two models, of which the released code's own functions were asked."""
    at = torch.arange(20.0, dtype=torch.float64).view(1, 4, 5)
    return 3 * at.sin().float(), 3 * at.cos().float()


def test_mixture_and_losses_have_the_released_codes_numbers():
    base, other = reference()
    found = mixed(base, other, torch.full((1, 4), 0.3))
    expected = [
        [0.25818893, 0.34653166, 0.35550824, 0.03574717, 0.00402463],
        [0.02434363, 0.18535435, 0.25888211, 0.45192486, 0.07949559],
    ]
    torch.testing.assert_close(found[0, :2], torch.tensor(expected), atol=1e-6, rtol=0)
    log_mixture = (found + EPSILON).log()
    assert divergence(base, log_mixture, torch.ones(1, 4)).item() == pytest.approx(0.17601317, abs=1e-6)
    assert answer_cross_entropy(log_mixture, [[2, 4]]).item() == pytest.approx(0.93398845, abs=1e-6)


def test_rows_meet_at_their_ends_and_what_one_lacks_is_the_others():
    base, other = reference()
    shorter, fewer = other[:, 2:], other[..., :3]
    weight = aligned(torch.tensor([0.25]), torch.ones(1, 2), 4)
    assert weight.tolist() == [[0, 0, 0.25, 0.25]]
    found = mixed(base, shorter, weight)
    torch.testing.assert_close(found[:, :2], base[:, :2].softmax(-1))
    torch.testing.assert_close(found[:, 2:], 0.75 * base[:, 2:].softmax(-1) + 0.25 * shorter.softmax(-1))
    found = mixed(base, fewer, torch.full((1, 4), 0.25))
    torch.testing.assert_close(found[..., 3:], 0.75 * base.softmax(-1)[..., 3:])
    torch.testing.assert_close(found.sum(-1), torch.ones(1, 4))
    assert aligned(torch.tensor([0.25]), torch.tensor([[0, 1, 1, 1, 1]]), 3).tolist() == [[0.25] * 3]


@torch.no_grad()
def alone(editor: MixedSERAC, edit: Edit, query: Query, rho: float, ids: list[int]) -> torch.Tensor:
    """(length, tokens), in double precision: the mixture for one query by itself, written out."""
    backbone, second = editor.backbone, editor.counterfactual
    asked = f"Question: {query.question} Short answer:"
    told = f"Question: {edit.question} Short answer: {edit.target} {asked if query.image else query.question}"
    base = backbone.logits(backbone.inputs([backbone.prompt_of(query)], [query.image], [ids]))[0]
    other = second.logits(second.inputs([told], [query.image], [ids]))[0, -len(base) :]
    return (1 - rho) * base.double().softmax(-1) + rho * other.double().softmax(-1)


@pytest.mark.parametrize("rho", [0.01, 0.4, 1.0])
def test_forced_answers_are_of_the_mixture_at_every_position(build, rho):
    editor = build()
    for query, found in zip(QUERIES, mixture(editor, EDITS[:1], rho).teacher_force(QUERIES, ["blue"] * 3), strict=True):
        expected = alone(editor, EDITS[0], query, rho, editor.backbone.answer_ids("blue"))
        assert found.answer.tolist() == editor.backbone.answer_ids("blue")
        assert len(found.top) == len(expected)
        likeliest = expected.topk(10).values
        torch.testing.assert_close(expected.gather(1, found.top.long()), likeliest, atol=1e-9, rtol=1e-4)


@pytest.mark.parametrize("rho", [0.4, 1.0])
def test_free_answers_take_the_mixtures_likeliest_token_each_time(build, rho):
    editor = build()
    tokenizer, ends = editor.backbone.tokenizer, editor.backbone.ends.tokens
    for query, found in zip(QUERIES, mixture(editor, EDITS[:1], rho).generate(QUERIES, 4), strict=True):
        taken: list[int] = []
        while len(taken) < 4 and not ends & {*taken}:
            taken.append(int(alone(editor, EDITS[0], query, rho, taken)[-1].argmax()))
        assert found == tokenizer.decode([one for one in taken if one not in ends], skip_special_tokens=True).strip()


def test_what_is_guessed_first_changes_no_answer(build, monkeypatch):
    model = mixture(build(), EDITS[:1], 0.4)
    expected = model.generate(QUERIES, 4)
    for guesses in ([[]] * 3, [[5], [7, 8, 9], []]):
        monkeypatch.setattr(model, "_guesses", lambda *_, guesses=guesses: guesses)
        assert model.generate(QUERIES, 4) == expected


def test_large_batches_are_asked_in_parts(build, monkeypatch):
    model = mixture(build(), EDITS[:1], 0.4)
    whole = answers(model, QUERIES)
    monkeypatch.setattr("fgvedit.editors.memory.mixture.HELD", 1)
    assert model._parts(QUERIES, [[0]] * 3) == [slice(0, 1), slice(1, 2), slice(2, 3)]
    assert answers(model, QUERIES)[0] == whole[0]


def test_a_query_that_is_like_no_edit_is_the_base_models(build, random_blip2, monkeypatch):
    editor = build()
    monkeypatch.setattr(
        editor.classifier, "remember", lambda edits: lambda queries: torch.zeros(len(queries), len(edits))
    )
    with editor.edit(EDITS) as edited:
        assert edited.explain(QUERIES) == [Route("base", 0, 0.0)] * 3
        assert answers(edited, QUERIES) == answers(open_backbone(str(random_blip2)), QUERIES)


def test_the_most_similar_edit_is_mixed_in(build, monkeypatch):
    editor = build()
    rhos = torch.tensor([[0.1, 0.3], [0.6, 0.2], [0.0, 0.0]])
    monkeypatch.setattr(editor.classifier, "remember", lambda edits: lambda queries: rhos[: len(queries)])
    with editor.edit(EDITS[:2]) as edited:
        found = edited.explain(QUERIES)
        assert [(route.to, route.edit) for route in found] == [("mixed", 1), ("mixed", 0), ("base", 0)]
        forced = edited.teacher_force(QUERIES, ["blue"] * 3)
    expected = alone(editor, EDITS[1], QUERIES[0], found[0].rho or 0, editor.backbone.answer_ids("blue"))
    assert forced[0].top[:, 0].tolist() == expected.argmax(-1).tolist()


# Training


@pytest.mark.parametrize("kind", ["rephrase", "in_scope", "out_of_scope", "text_locality"])
def test_the_loss_of_a_kind_is_that_of_the_mixture(build, kind):
    editor = build()
    (example,) = training.draw_batch(records(), 1, seed=0, step=0)
    query, rho = example.query(kind), 0.3
    ids = editor.backbone.answer_ids(example.probes[kind].answer)
    ids += [editor.backbone.tokenizer.eos_token_id] if kind in ("rephrase", "in_scope") else []
    with torch.autocast("cpu", torch.bfloat16):  # what it is trained in
        second = editor.counterfactual
        edit = example.record.edit
        told = f"Question: {edit.question} Short answer: {edit.target} "
        told += f"Question: {query.question} Short answer:" if query.image else query.question
        other = second.logits(second.inputs([told], [query.image], [ids]))[0].detach()
    backbone = editor.backbone
    base = backbone.logits(backbone.inputs([backbone.prompt_of(query)], [query.image], [ids]))[0].detach()
    p, q = base.double().softmax(-1), other[-len(base) :].double().softmax(-1)
    log_mixture = ((0.7 * p + 0.3 * q + EPS).log()).log_softmax(-1)
    if kind in ("rephrase", "in_scope"):
        at_answer = log_mixture[-len(ids) - 1 : -1]
        expected = -sum(at_answer[index, token] for index, token in enumerate(ids)) / len(ids)
    else:
        expected = (p * (p.log() - log_mixture)).sum(-1).mean()
    models = BothModels(backbone, second)
    found = mixture_loss(models, [example], kind, torch.tensor([rho]))
    assert found.item() == pytest.approx(float(expected), rel=1e-4, abs=1e-6)


def test_what_goes_down_is_the_released_sum_and_nothing_says_what_rho_is(build):
    editor = build()
    batch = training.draw_batch(records(), 3, seed=0, step=0)
    total, named = editor.losses()(batch)
    assert [name for name in named if not name.startswith("rho/")] == [
        "answer/rephrase",
        "answer/in_scope",
        "locality/out_of_scope",
        "locality/text_locality",
    ]
    expected = 0.1 * named["answer/rephrase"] + 0.1 * named["answer/in_scope"]
    expected = expected + named["locality/out_of_scope"] + named["locality/text_locality"]
    torch.testing.assert_close(total, expected)
    total.backward()
    reached = [name for name, value in editor.parts.named_parameters() if value.grad is not None]
    assert {name.partition(".")[0] for name in reached} == {"classifier", "counterfactual"}
    assert all(value.grad is None for value in editor.backbone.model.parameters())


def test_training_goes_down_and_leaves_the_base_model(build, backbone, tmp_path):
    editor = build(steps=30, lr=3e-3)
    base, batch = bits(backbone.model), training.draw_batch(records(), 4, seed=0, step=0)
    before = editor.losses()(batch)[0].item()
    editor.train(records(), tmp_path, seed=0)
    assert editor.losses()(batch)[0].item() < before
    assert same(bits(backbone.model), base)


def test_there_is_no_dropout(build, bert):
    for part in build(encoder=str(bert)).parts.modules():
        assert getattr(part, "dropout", 0.0) == 0.0 or isinstance(part.dropout, torch.nn.Dropout)
        assert not isinstance(part, torch.nn.Dropout) or part.p == 0.0


def test_a_checkpoint_gives_the_same_answers(build, tmp_path):
    first, second = build(), build()
    for parameter in first.parts.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    first.save(tmp_path / "one")
    first.load(tmp_path / "one")  # what is saved is rounded to float16
    second.load(tmp_path / "one")
    with first.edit(EDITS) as one, second.edit(EDITS) as other:
        assert one.explain(QUERIES) == other.explain(QUERIES)
        assert answers(one, QUERIES) == answers(other, QUERIES)


def test_a_threshold_is_no_option_of_it(backbone, tmp_path: Path):
    from fgvedit.editors.registry import editor_class, editor_config

    with pytest.raises(FGVEditError, match="threshold"):
        editor_config(editor_class("serac"), "tiny", {"threshold": 0.5})
