"""MSCKE's training: what it learns, how it goes on after a stop, its losses against the classifier's own answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from rows import image_ref, make_probe, make_row
from samples import bits, records, same

from fgvedit.backbones import open_backbone
from fgvedit.backbones.answering import Query
from fgvedit.editors import training
from fgvedit.editors.memory import losses as memory
from fgvedit.editors.memory.scope import scope_loss, squared_distance
from fgvedit.schema import record_from_row


def losses(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_training(build, backbone, random_blip2, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_LOG_EVERY", 5)
    editor = build(steps=30)
    before, base = bits(editor.parts), bits(backbone.model)
    editor.train(records(), tmp_path / "new" / "folder", seed=0)
    log = losses(tmp_path / "new" / "folder")
    assert [line["step"] for line in log] == [5, 10, 15, 20, 25, 30]
    for name in ("scope/rephrase", "scope/out_of_scope", "scope/text_locality", "answer/rephrase", "answer/in_scope"):
        assert log[-1][name] < log[0][name]
    after = bits(editor.parts)
    for name in (
        "counterfactual.projection.weight",
        "counterfactual.language_model.model.decoder.layers.0.fc1.weight",
        "classifier.clip.model.visual.conv1.weight",
        "classifier.clip.model.text.token_embedding.weight",
    ):
        assert not torch.equal(after[name], before[name])
    assert same(bits(backbone.model), base)
    kept, alone = (model.features([image_ref()])[0] for model in (backbone, open_backbone(str(random_blip2))))
    assert torch.equal(kept, alone)  # encoded by itself, in float32
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())
    assert not editor.classifier.training and not editor.counterfactual.language_model.training
    with editor.edit([records()[0].edit]) as edited:
        inside, outside, text = edited.explain(
            [Query(probe.question, probe.image) for probe in records()[0].probes[1:4]]
        )
    assert (inside.to, outside.to, text.to) == ("counterfactual", "base", "base")


@pytest.mark.parametrize("stop", [1, 5])
def test_a_stopped_training_goes_on_to_the_same_weights(build, random_blip2, tmp_path, monkeypatch, stop):
    monkeypatch.setattr(training, "_LOG_EVERY", 2)
    monkeypatch.setattr(training, "_SAVE_EVERY", -1)
    whole = build()
    whole.train(records(), tmp_path / "whole", seed=3)
    calls = []

    def failing(*args):
        calls.append(args)
        if len(calls) == stop + 1:
            raise KeyboardInterrupt
        return scope_losses(*args)

    scope_losses = memory.scope_losses
    monkeypatch.setattr(memory, "scope_losses", failing)
    with pytest.raises(KeyboardInterrupt):
        build(open_backbone(str(random_blip2))).train(records(), tmp_path / "stopped", seed=3)
    with (tmp_path / "stopped" / "log.jsonl").open("a") as file:
        file.write('{"step": 6, "sco')  # and the process was killed
    torch.manual_seed(99)
    resumed = build(open_backbone(str(random_blip2)))
    resumed.train(records(), tmp_path / "stopped", seed=3)
    assert len(calls) == stop + 1 + 6 - stop // 2 * 2
    assert same(bits(resumed.parts), bits(whole.parts))
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    other = build()
    other.train(records(), tmp_path / "other", seed=4)
    assert not same(bits(other.parts), bits(whole.parts))


def test_the_scope_losses_are_those_of_the_classifier(build):
    """Against the classifier's own answer to each question, a probe that shows another image included."""
    classifier = build().classifier
    row = make_row(0)
    row["probes"][2] = make_probe("out_of_scope", "green", {"bytes": image_ref(5).data, "path": None}, "image-5")
    batch = training.draw_batch([record_from_row(row), *records(3)[1:]], 3, seed=0, step=0)
    found = memory.scope_losses(classifier, batch)
    assert list(found) == ["edit", "rephrase", "in_scope", "out_of_scope", "text_locality"]
    for kind, value in found.items():
        z_edits = torch.cat([classifier.embed_edits([example.record.edit]) for example in batch])
        z = classifier.embed_queries([example.query(kind) for example in batch])
        expected = scope_loss(squared_distance(z_edits, z), inside=kind in ("edit", "rephrase", "in_scope"))
        torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-4)
