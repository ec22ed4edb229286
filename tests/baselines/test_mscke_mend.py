"""MSCKE-MEND: MSCKE's routing, MEND's answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from samples import EDITS, QUERIES, answers, bits, same
from torch import nn

from baselines.mend.editor import MEND, mend_step
from baselines.mscke_mend.editor import MSCKEMend
from fgvedit.backbones import open_backbone
from fgvedit.backbones.base import Backbone
from fgvedit.editors.mscke.editor import MSCKE
from fgvedit.util.errors import FGVEditError

MEND_OPTIONS: dict[str, Any] = {
    "layers": [0, 1],
    "parameters": ["fc1.weight", "fc2.weight"],
    "rank": 8,
    "edit_lr": 0.5,
    "rate_speed": 1.0,
}


@pytest.fixture
def build(backbone: Backbone, random_clip: Path) -> Callable[..., MSCKEMend]:
    def make(**changes: Any) -> MSCKEMend:
        torch.manual_seed(0)
        config = MSCKEMend.Config(**{"clip": str(random_clip), **MEND_OPTIONS, **changes})
        editor = MSCKEMend(backbone, config)
        for parameter in editor.networks.parameters():
            with torch.no_grad():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return editor

    return make


def mend_of(editor: MSCKEMend) -> MEND:
    mend = MEND(editor.backbone, MEND.Config(**MEND_OPTIONS))
    mend.networks.load_state_dict(editor.networks.state_dict())
    return mend


def test_outside_every_answer_is_the_base_models(build, random_blip2):
    with build(threshold=1.1).edit(EDITS) as edited:
        assert answers(edited, QUERIES) == answers(open_backbone(str(random_blip2)), QUERIES)
        assert {route.to for route in edited.explain(QUERIES)} == {"base"}


def test_inside_every_answer_is_mends(build, backbone):
    editor = build(threshold=0.0)
    with editor.edit(EDITS[:1]) as edited:
        assert {route.to for route in edited.explain(QUERIES)} == {"edited"}
        found = answers(edited, QUERIES)
    with mend_of(editor).edit(EDITS[:1]) as edited:
        assert answers(edited, QUERIES) == found
    assert answers(backbone, QUERIES) != found


def test_it_was_told_what_its_classifier_was(build):
    assert build().supervision == "paper's kinds"
    assert build(clip="tiny-clip").supervision == "paper's kinds, boxes"


def test_the_classifier_routes_as_mscke_does(build, backbone, random_clip):
    editor = build()
    config = MSCKE.Config(clip=str(random_clip), counterfactual="backbone", counterfactual_layers=1)
    mscke = MSCKE(backbone, config)
    mscke.classifier.load_state_dict(editor.classifier.state_dict())
    with editor.edit(EDITS) as one, mscke.edit(EDITS) as other:
        assert [(r.edit, r.rho) for r in one.explain(QUERIES)] == [(r.edit, r.rho) for r in other.explain(QUERIES)]


def test_of_several_edits_the_one_that_counts_answers(build):
    editor = build(threshold=0.0)
    with editor.edit(EDITS) as edited:
        routes = edited.explain(QUERIES)
        found = edited.teacher_force(QUERIES, ["blue"] * 3)
    assert len({route.edit for route in routes}) > 1
    for query, route, forced in zip(QUERIES, routes, found, strict=True):
        agreement = []
        for edit in EDITS:
            with mend_of(editor).edit([edit]) as alone:
                agreement.append((alone.teacher_force([query], ["blue"])[0].top == forced.top).float().mean().item())
        # Another batch rounds in another way, which may swap ranks far down.
        assert route.edit is not None and agreement[route.edit] > 0.95
        assert max(agreement[: route.edit] + agreement[route.edit + 1 :]) < 0.9, agreement


def test_each_edits_step_is_computed_once_and_when_it_is_made(build, monkeypatch):
    editor, counted = build(threshold=0.0), []

    def counting(backbone: Backbone, networks: Any, edits: Any) -> Any:
        counted.extend(edits)
        return mend_step(backbone, networks, edits)

    monkeypatch.setattr("baselines.mscke_mend.editor.mend_step", counting)
    with editor.edit(EDITS) as edited:
        assert counted == EDITS
        together = answers(edited, QUERIES)
    assert counted == EDITS
    with editor.edit_sequentially() as make:
        for number, edit in enumerate(EDITS, 1):
            edited = make(edit)
            assert counted == EDITS + EDITS[:number]
            assert all(route.edit < number for route in edited.explain(QUERIES))
            found = answers(edited, QUERIES)
    assert found == together and counted == 2 * EDITS


def test_the_base_model_is_untouched(build, backbone, monkeypatch):
    before, editor = bits(backbone.model), build(threshold=0.0)
    with editor.edit(EDITS[:2]) as edited:
        answers(edited, QUERIES)
        assert same(bits(backbone.model), before)
        monkeypatch.setattr(backbone, "generate", None)
        with pytest.raises(TypeError):
            edited.generate(QUERIES)
    assert same(bits(backbone.model), before)


def test_training_puts_two_checkpoints_together(build, backbone, random_clip, tmp_path):
    mscke = MSCKE(backbone, MSCKE.Config(clip=str(random_clip), counterfactual="backbone", counterfactual_layers=1))
    mend = MEND(backbone, MEND.Config(**MEND_OPTIONS))
    for module in (mscke.classifier, mend.networks):
        for parameter in module.parameters():
            nn.init.normal_(parameter)
    mscke.save(tmp_path / "mscke")
    mend.save(tmp_path / "mend")
    mscke.load(tmp_path / "mscke")  # what is saved is rounded to float16
    mend.load(tmp_path / "mend")
    options = {"mscke": str(tmp_path / "mscke"), "mend": str(tmp_path / "mend")}
    both = build(**options)
    both.train([], tmp_path / "out", seed=0)
    both.save(tmp_path / "out")
    loaded = build()
    loaded.load(tmp_path / "out")
    for editor in (both, loaded):
        assert same(bits(editor.classifier), bits(mscke.classifier))
        assert same(bits(editor.networks), bits(mend.networks))
    with pytest.raises(FGVEditError, match=r"trained with rank '8'.*expected '4'"):
        build(**options, rank=4).train([], tmp_path / "out", seed=0)
    with pytest.raises(FGVEditError, match=r"nowhere/editor\.json' is missing"):
        build(**{**options, "mend": str(tmp_path / "nowhere")}).train([], tmp_path / "out", seed=0)
