"""MSCKE: the classifier's numbers against computations of their own, routing, checkpoints, and training."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import safetensors.torch
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
)
from torch import nn

from fgvedit.backbones import open_backbone
from fgvedit.backbones.answering import Query
from fgvedit.cli import run, train
from fgvedit.editors.checkpoints import state
from fgvedit.editors.memory.counterfactual import Counterfactuals
from fgvedit.editors.memory.scope import scope_loss, similarity
from fgvedit.editors.mscke.editor import MSCKE
from fgvedit.editors.mscke.fusion import FUSIONS, Fusion
from fgvedit.editors.routing import Routed, most_similar
from fgvedit.util.errors import FGVEditError

# The classifier's numbers


def test_dot_is_a_softmax_over_the_patches_of_each_row():
    text, pooled, patches = torch.randn(3, 8), torch.randn(3, 8), torch.randn(3, 5, 8)
    found = Fusion("dot", 8)(text, pooled, patches)
    assert found is not None
    for row in range(3):
        scores = [math.exp(float(text[row] @ patch) / math.sqrt(8)) for patch in patches[row]]
        expected = sum(score / sum(scores) * patch for score, patch in zip(scores, patches[row], strict=True))
        torch.testing.assert_close(found[row], expected)


@pytest.mark.parametrize("count", [1, 7])
@torch.no_grad()
def test_dot_released_mixes_the_images_of_all_stored_edits(build, count):
    classifier = build(fusion="dot-released").classifier
    text = classifier.clip.read([f"{edit.question} {edit.target}" for edit in EDITS[:count]])
    image = classifier.clip.model.encode_image(classifier.clip.pixels([edit.image for edit in EDITS[:count]]))
    mixed = torch.softmax(text @ image.T, dim=1) @ image
    expected = torch.cat([mixed / mixed.norm(dim=1, keepdim=True), text / text.norm(dim=1, keepdim=True)], dim=1)
    torch.testing.assert_close(classifier.embed_edits(EDITS[:count]), expected)
    alone = torch.cat([classifier.embed_edits([edit]) for edit in EDITS[:count]])
    assert torch.allclose(alone, expected, atol=1e-5) == (count == 1)


def test_dot_released_with_one_edit_is_concat(build):
    released, concat = (build(fusion=fusion).classifier for fusion in ("dot-released", "concat"))
    assert torch.equal(released.embed_edits(EDITS[:1]), concat.embed_edits(EDITS[:1]))
    assert not torch.allclose(released.embed_edits(EDITS[:3]), concat.embed_edits(EDITS[:3]), atol=1e-3)
    assert torch.equal(released.embed_queries(QUERIES), concat.embed_queries(QUERIES))


def test_text_alone_reads_no_image(build):
    classifier = build(fusion="text").classifier
    one, other = classifier.embed_queries([Query("What?", image_ref(0)), Query("What?", image_ref(1))])
    assert torch.allclose(one, other) and len(one) == 16
    assert not any(image_ref(number) in classifier.feature_cache for number in range(2))


def test_cross_attention_reads_the_patches(build):
    classifier = build(fusion="cross").classifier
    one, other = classifier.embed_queries([Query("What?", image_ref(0)), Query("What?", image_ref(1))])
    assert not torch.allclose(one, other, atol=1e-3)
    assert "classifier.fusion.cross.in_proj_weight" in state(build(fusion="cross").parts)


def test_similarity_is_a_gaussian_of_the_distance():
    z_edits, z_queries = torch.randn(3, 6), torch.randn(2, 6)
    rho = similarity(z_edits, z_queries)
    for query in range(2):
        for edit in range(3):
            distance = sum((a - b) ** 2 for a, b in zip(z_queries[query].tolist(), z_edits[edit].tolist(), strict=True))
            assert float(rho[query, edit]) == pytest.approx(math.exp(-distance))
    assert torch.equal(similarity(z_edits, z_edits).diagonal(), torch.ones(3))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_rho_is_between_zero_and_one(build, fusion):
    classifier = build(fusion=fusion).classifier
    rho = similarity(classifier.embed_edits(EDITS), classifier.embed_queries(QUERIES))
    assert rho.shape == (3, 7) and (rho > 0).all() and (rho <= 1).all()
    asked = [Query(edit.fact, edit.image) for edit in EDITS[:1]]
    assert float(similarity(classifier.embed_edits(EDITS[:1]), classifier.embed_queries(asked))) == pytest.approx(1)


@pytest.mark.parametrize("inside", [True, False])
def test_scope_loss_is_binary_cross_entropy_of_rho(inside):
    distance = torch.tensor([0.01, 0.7, 2.0, 7.9])
    expected = nn.functional.binary_cross_entropy(torch.exp(-distance), torch.full((4,), float(inside)))
    torch.testing.assert_close(scope_loss(distance, inside), expected)


def test_far_from_an_edit_the_released_loss_teaches_nothing_and_this_one_does():  # docs/mscke.md says it
    released, ours = (torch.tensor([1.0, 27.0, 50.0, 200.0], requires_grad=True) for _ in range(2))
    nn.functional.binary_cross_entropy(torch.exp(-released), torch.ones(4), reduction="sum").backward()
    scope_loss(ours, inside=True).backward()
    assert released.grad is not None and ours.grad is not None
    assert released.grad.tolist() == [pytest.approx(1, rel=1e-3)] * 2 + [pytest.approx(0, abs=1e-9)] * 2
    assert ours.grad.tolist() == [pytest.approx(1 / 4)] * 4  # of a mean of four


def test_scope_loss_is_finite_where_nothing_differs():
    distance = torch.zeros(2, requires_grad=True)
    scope_loss(distance, inside=False).backward()
    assert distance.grad is not None and distance.grad.isfinite().all()


@pytest.mark.parametrize("fusion", ["dot", "dot-released", "concat", "cross"])
def test_without_an_image_the_first_half_is_zero(build, fusion):
    classifier = build(fusion=fusion).classifier
    alone = classifier.embed_queries([Query("What?")])[0]
    shown, among = classifier.embed_queries([Query("What?", image_ref()), Query("What?")])
    assert torch.equal(alone[:16], torch.zeros(16)) and torch.equal(among[:16], torch.zeros(16))
    assert shown[:16].norm() == pytest.approx(1) and alone[16:].norm() == pytest.approx(1)
    torch.testing.assert_close(alone, among)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_training_and_use_see_the_same(build, fusion):
    classifier = build(fusion=fusion).classifier
    texts, images = [query.question for query in QUERIES], [query.image for query in QUERIES]
    torch.testing.assert_close(classifier.embed_with_gradient(texts, images), classifier.embed_queries(QUERIES))
    nothing = classifier.embed_with_gradient(["Who?"], [None])
    torch.testing.assert_close(nothing, classifier.embed_queries([Query("Who?")]))


def test_each_image_is_encoded_once(build, monkeypatch):
    editor = build()
    encoded: list[int] = []
    see = editor.classifier.clip.see
    monkeypatch.setattr(editor.classifier.clip, "see", lambda pixels: encoded.append(len(pixels)) or see(pixels))
    for edit in EDITS[:2]:
        with editor.edit([edit]) as edited:
            edited.generate(QUERIES)
            edited.teacher_force(QUERIES, ["a"] * 3)
            edited.explain(QUERIES)
    assert encoded == [1, 1]
    editor.classifier.forget()
    editor.classifier.embed_queries(QUERIES)
    assert sum(encoded) == 4


def test_rho_does_not_depend_on_what_was_read_before(build):
    fresh, used = build().classifier, build().classifier
    used.embed_edits(EDITS[1:])
    assert torch.equal(fresh.embed_queries(QUERIES), used.embed_queries(QUERIES))
    assert torch.equal(fresh.embed_edits(EDITS), used.embed_edits(EDITS))


def test_sequential_edits_are_each_embedded_once(build, monkeypatch):
    editor = build()
    texts: list[str] = []
    read = editor.classifier.clip.read
    monkeypatch.setattr(editor.classifier.clip, "read", lambda asked: texts.extend(asked) or read(asked))
    expect_each_read_once(editor, build(), EDITS, QUERIES, texts)
    editor.classifier.forget()
    editor.classifier.embed_edits(EDITS[:1])
    assert texts[len(EDITS) :] == [*(query.question for query in QUERIES), EDITS[0].fact]


# Answering


def test_above_the_threshold_of_any_rho_every_answer_is_the_base_models(build, random_blip2):
    with build(threshold=1.1).edit(EDITS[:1]) as edited:
        assert answers(edited, QUERIES) == answers(open_backbone(str(random_blip2)), QUERIES)
        routes = edited.explain(QUERIES)
    assert all(route.to == "base" and route.edit == 0 and 0 < (route.rho or 0) <= 1 for route in routes)


def test_at_threshold_zero_every_answer_is_the_counterfactuals(build, backbone):
    expect_the_counterfactuals_answers(build(threshold=0.0), backbone)


def test_the_most_similar_edit_counts(build, backbone):
    model = build().counterfactual
    rhos = torch.tensor([[0.2, 0.9, 0.6], [0.1, 0.3, 0.4], [0.5, 0.0, 0.1]])
    asked: list[int] = []

    def given(queries):
        asked.extend(QUERIES.index(query) for query in queries)
        return torch.stack([rhos[QUERIES.index(query)] for query in queries])

    edited = Routed(backbone, Counterfactuals(model, EDITS[:3]), most_similar(given, 0.5, "counterfactual"))
    routes = edited.explain(QUERIES)
    assert [(route.to, route.edit) for route in routes] == [("counterfactual", 1), ("base", 2), ("counterfactual", 0)]
    assert [route.rho for route in routes] == pytest.approx([0.9, 0.4, 0.5])
    inside = model.generate([EDITS[1], EDITS[0]], [QUERIES[0], QUERIES[2]])
    assert edited.generate(QUERIES) == [inside[0], *backbone.generate(QUERIES[1:2]), inside[1]]
    assert edited.explain(QUERIES[::-1]) == routes[::-1]
    assert asked == [0, 1, 2]  # each query's similarity is computed once


def test_several_edits_in_force(build):
    editor = build()
    rhos = similarity(editor.classifier.embed_edits(EDITS), editor.classifier.embed_queries(QUERIES))
    with editor.edit(EDITS) as edited:
        for route, row in zip(edited.explain(QUERIES), rhos, strict=True):
            assert (route.edit, route.rho) == (int(row.argmax()), pytest.approx(float(row.max())))


@torch.no_grad()
def test_the_counterfactual_model_sees_the_image(build):
    model = build().counterfactual
    prompt = model.prompt(EDITS[0], Query("What is it?", image_ref(0)))
    assert prompt == f"New Fact: {EDITS[0].question} {EDITS[0].target}\nQuestion: What is it? Short answer:"

    def logits(image):
        return model.logits(model.inputs([prompt], [image]))[0, -1]

    assert (logits(image_ref(0)) - logits(image_ref(1))).abs().max() > 1e-3
    assert torch.equal(logits(image_ref(0)), logits(image_ref(0)))
    assert logits(None).shape == logits(image_ref(0)).shape


def test_the_counterfactual_model_begins_as_the_backbones_first_layers(build, backbone):
    editor = build(counterfactual_layers=2)
    mine, given = editor.counterfactual.language_model, backbone.language_model
    assert same(bits(mine), bits(given)) and mine is not given
    assert torch.equal(editor.counterfactual.projection.weight, backbone.connector.weight)
    assert len(build().counterfactual.language_model.model.decoder.layers) == 1
    assert same(bits(build(counterfactual_layers=0).counterfactual.language_model), bits(given))


@pytest.mark.parametrize("layers", [0, 1])
def test_only_the_last_layer_of_a_counterfactual_model_is_trained_and_copied(build, backbone, tmp_path, layers):
    editor = build(counterfactual_layers=layers, counterfactual_trained=1)
    model, blocks = editor.counterfactual, backbone.language_layers
    own = model.language_model.model.decoder
    assert len(own.layers) == (layers or 2)
    assert own.embed_tokens is backbone.language_model.get_input_embeddings()
    last, given = own.layers[-1], blocks[len(own.layers) - 1]
    assert last is not given and same(bits(last), bits(given))
    assert all(mine is other for mine, other in zip(own.layers[:-1], blocks, strict=False))
    before, base = bits(editor.parts), bits(backbone.model)
    editor.train(records(), tmp_path, seed=0)
    changed = {name for name, value in bits(editor.parts).items() if not torch.equal(value, before[name])}
    mine = {name for name in before if name.startswith("counterfactual.")}
    assert {name.split(".")[1] for name in mine} == {"trained_layers", "projection"}
    assert mine - changed <= {name for name in mine if name.endswith("k_proj.bias")}  # it moves all scores alike
    assert "classifier.clip.model.visual.conv1.weight" in changed
    assert same(base, bits(backbone.model)) and not any(p.requires_grad for p in backbone.model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_trained_layer_in_single_within_a_backbone_in_half_precision(random_blip2, random_clip, tmp_path, dtype):
    half = open_backbone(str(random_blip2), dtype=dtype)
    options = {"clip": str(random_clip), "clip_weights": "", "counterfactual": "backbone", "steps": 1, "threshold": 0.0}
    editor = MSCKE(half, MSCKE.Config(**options, counterfactual_trained=1))
    assert {p.dtype for p in editor.counterfactual.parameters()} == {torch.float32}
    assert {p.dtype for p in half.language_model.parameters()} == {dtype}
    editor.train(records(), tmp_path, seed=0)
    with editor.edit(EDITS[:1]) as edited:
        assert len(edited.generate(QUERIES)) == len(edited.teacher_force(QUERIES, ["blue"] * 3)) == 3


def test_a_counterfactual_model_of_another_folder(build, backbone, tmp_path):
    backbone.language_model.save_pretrained(tmp_path / "language-model")
    editor = build(counterfactual=str(tmp_path / "language-model"), threshold=0.0)
    with editor.edit(EDITS[:1]) as edited:
        assert len(edited.generate(QUERIES)) == 3


@torch.no_grad()
@pytest.mark.parametrize("trained", [0, 1])
def test_a_counterfactual_model_has_no_dropout(build, backbone, tmp_path, trained):
    """facebook/opt-125m comes with a rate of 0.1, which the released code sets to 0."""
    backbone.language_model.config.dropout = 0.3
    backbone.language_model.save_pretrained(tmp_path)
    model = build(counterfactual=str(tmp_path), counterfactual_trained=trained).counterfactual
    inputs = model.inputs([model.prompt(EDITS[0], QUERIES[0])], [QUERIES[0].image])
    assert model.language_model.config.dropout == 0.3
    assert torch.equal(model.eval().logits(inputs), model.train().logits(inputs))


def test_a_counterfactual_model_that_is_released_for_torch_alone(build, backbone, tmp_path):
    """As weights only: what a pickle would do otherwise is refused."""
    folder = tmp_path / "language-model"
    backbone.language_model.save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(backbone.language_model.state_dict(), folder / "pytorch_model.bin")
    assert same(bits(build(counterfactual=str(folder)).counterfactual.language_model), bits(backbone.language_model))
    torch.save({"weight": Path("/tmp")}, folder / "pytorch_model.bin")
    with pytest.raises(FGVEditError, match=r"'counterfactual'.* cannot be opened"):
        build(counterfactual=str(folder))


# Checkpoints


@pytest.fixture
def saved(build, tmp_path) -> Path:
    folder = tmp_path / "checkpoint"
    build().save(folder)
    return folder


def test_a_checkpoint_gives_the_same_answers(build, saved, tmp_path):
    torch.manual_seed(1)
    first, second = build(), build()
    for parameter in second.parts.parameters():
        nn.init.normal_(parameter)
    first.load(saved)  # what is saved is rounded to float16: compare what was loaded once and twice
    first.save(tmp_path / "again")
    second.load(tmp_path / "again")
    assert same(bits(first.parts), bits(second.parts))
    with first.edit(EDITS) as one, second.edit(EDITS) as other:
        assert one.explain(QUERIES) == other.explain(QUERIES)
        assert answers(one, QUERIES) == answers(other, QUERIES)


def test_what_a_checkpoint_holds(saved, backbone):
    weights = safetensors.torch.load_file(saved / "model.safetensors")
    assert {"counterfactual.projection.weight", "classifier.clip.model.visual.proj"} <= weights.keys()
    assert {value.dtype for value in weights.values()} == {torch.float16}
    described = json.loads((saved / "editor.json").read_text())
    assert (described["editor"], described["backbone"]) == ("mscke", "random")
    assert described["backbone_revision"] == backbone.revision and described["config"]["fusion"] == "dot"
    assert sorted(path.name for path in saved.iterdir()) == ["editor.json", "model.safetensors"]


@pytest.mark.parametrize("option", ["fusion", "counterfactual_layers"])
def test_a_checkpoint_of_another_architecture_is_refused(build, saved, option):
    other = {"fusion": "concat", "counterfactual_layers": 2}[option]
    with pytest.raises(FGVEditError, match=f"trained with {option} '.*expected '{other}'"):
        build(**{option: other}).load(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fusion": "dott"}, r"unknown fusion 'dott'.*did you mean 'dot'"),
        ({"clip": "ViT-B-33"}, "unknown CLIP 'ViT-B-33'"),
        ({"clip": "RN50", "clip_weights": ""}, "CLIP 'RN50' has a ModifiedResNet for images"),
        ({"counterfactual": "/no/such/folder"}, "the counterfactual model '/no/such/folder' cannot be opened"),
        ({"counterfactual_layers": 3}, r"option 'counterfactual_layers': found 3, expected 0 \(all\) or 1 to 2"),
        ({"counterfactual_layers": -1}, r"option 'counterfactual_layers': found -1, expected 0 \(all\) or 1 to 2"),
        ({"counterfactual_trained": 2}, r"option 'counterfactual_trained': found 2, expected 0 \(all\) to 1"),
        ({"batch": 0}, "option 'batch': found 0, expected more than 0"),
    ],
)
def test_a_configuration_that_cannot_be(build, changes, message):
    with pytest.raises(FGVEditError, match=message):
        build(**changes)


def test_a_clip_that_cannot_be_opened(build, random_clip, copy_of):
    folder = copy_of(random_clip)
    weights = folder / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(FGVEditError, match=r"CLIP '.*random-clip' cannot be opened"):
        build(clip=str(folder))
    weights.unlink()
    with pytest.raises(FGVEditError, match=r"open_clip_model\.safetensors' is missing"):
        build(clip=str(folder))


# The command lines


def test_train_and_run_by_their_commands(random_blip2, random_clip, dataset_folder, tmp_path, capsys):
    options = [f"clip={random_clip}", "counterfactual=backbone", "counterfactual_layers=1", "steps=2", "batch=2"]
    common = ["--editor", "mscke", "--backbone", str(random_blip2), "--dataset", str(dataset_folder), "--device", "cpu"]
    for option in options:
        common += ["--set", option]
    trained, out = tmp_path / "trained", tmp_path / "result"
    train.main([*common, "--out", str(trained)])
    assert f"saved in {trained}" in capsys.readouterr().out
    run.main([*common, "--checkpoint", str(trained), "--limit", "2", "--out", str(out)])
    assert json.loads((out / "result.json").read_text())["manifest"]["editor"]["name"] == "mscke"
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * 2 * 6
    assert all(0 < row["rho"] <= 1 and row["stored_edit"] == 0 for row in rows)
    assert all(row["after"] == row["before"] for row in rows if row["route"] == "base")
