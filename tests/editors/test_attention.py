"""Where a scope classifier attended: against its own features by hand, and as a run writes it."""

from __future__ import annotations

import base64
import json
import math
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from rows import IMAGE_SIZE, image_ref
from samples import EDITS
from torch import nn

from fgvedit.backbones.answering import Query
from fgvedit.dataset import load_records
from fgvedit.editors.mscke.editor import MSCKE
from fgvedit.evaluation.protocols import open_protocols
from fgvedit.evaluation.runs.runner import run

QUERIES = [Query("What colour is the card?", image_ref(0)), Query("What?", image_ref(1)), Query("Where is Paris?")]
GRID = (IMAGE_SIZE // 8, IMAGE_SIZE // 8)  # of the random CLIP, whose patches have 8 pixels


@torch.no_grad()
def by_hand(editor: MSCKE, text: str, image: Any) -> torch.Tensor:
    """softmax(t . p / sqrt(d)) over the patches p, one after the other."""
    clip: Any = editor.classifier.clip
    [word], (_, [patches]) = clip.read([text]), clip.see(clip.pixels([image]))
    scores = [math.exp(float(word @ patch) / math.sqrt(len(word))) for patch in patches]
    return torch.tensor([score / sum(scores) for score in scores]).view(GRID)


def test_it_shows_where_its_text_attends(build):
    editor = build()
    with editor.edit(EDITS[:1]) as edited:
        maps = edited.attention_maps(QUERIES)
    for shown, query in zip(maps, QUERIES, strict=True):
        torch.testing.assert_close(shown.edit, by_hand(editor, EDITS[0].fact, EDITS[0].image))
        if query.image is None:
            assert shown.query is None
        else:
            torch.testing.assert_close(shown.query, by_hand(editor, query.question, query.image))
    assert not torch.allclose(maps[0].query, maps[1].query)


def test_of_several_edits_the_one_that_counted_is_shown(build):
    editor = build()
    with editor.edit(EDITS) as edited:
        routes, maps = edited.explain(QUERIES), edited.attention_maps(QUERIES)
    for route, shown in zip(routes, maps, strict=True):
        torch.testing.assert_close(shown.edit, by_hand(editor, EDITS[route.edit].fact, EDITS[route.edit].image))


def test_of_several_edits_only_those_that_counted_are_read(build, monkeypatch):
    editor, texts = build(), []
    read = editor.classifier.attention
    monkeypatch.setattr(
        editor.classifier, "attention", lambda asked, images: texts.extend(asked) or read(asked, images)
    )
    with editor.edit(EDITS) as edited:
        [route] = edited.explain(QUERIES[:1])
        edited.attention_maps(QUERIES[:1])
    assert len(EDITS) > 1 and texts == [EDITS[route.edit].fact, QUERIES[0].question]


@pytest.mark.parametrize("fit", ["squash", "shortest", "longest"])
def test_it_says_how_much_of_an_image_it_reads(build, random_clip, tmp_path, fit):
    clip = shutil.copytree(random_clip, tmp_path / "clip")
    config = json.loads((clip / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["resize_mode"] = fit
    (clip / "open_clip_config.json").write_text(json.dumps(config))
    with build(clip=str(clip)).edit(EDITS[:1]) as edited:
        assert edited.attention_maps(QUERIES)[0].fit == fit


@torch.no_grad()
def test_cross_attention_is_the_mean_of_its_heads(build):
    editor = build(fusion="cross")
    scope = editor.classifier
    [found] = scope.attention([QUERIES[0].question], [QUERIES[0].image])
    [word], (_, [patches]) = scope.clip.read([QUERIES[0].question]), scope.clip.see(scope.clip.pixels([image_ref(0)]))
    cross, width = scope.fusion.cross, len(word)
    query, key = (
        nn.functional.linear(x, cross.in_proj_weight[rows], cross.in_proj_bias[rows]).view(-1, cross.num_heads, 4)
        for x, rows in ((word, slice(0, width)), (patches, slice(width, 2 * width)))
    )
    heads = torch.einsum("qhd,khd->hk", query, key) / 2  # sqrt(4): 16 numbers in four heads
    torch.testing.assert_close(found, heads.softmax(dim=-1).mean(dim=0).view(GRID))


@pytest.mark.parametrize("fusion", ["text", "concat", "dot-released"])
def test_a_classifier_that_does_not_attend_says_nothing(build, fusion):
    with build(fusion=fusion).edit(EDITS[:1]) as edited:
        assert edited.attention_maps(QUERIES) is None


def test_a_run_writes_them_beside_its_rows(build, dataset_folder, tmp_path):
    editor, data = build(), load_records(str(dataset_folder))
    run(editor, data, open_protocols("generation"), tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out" / "looks.jsonl").read_text().splitlines()]
    assert [line["record_id"] for line in lines] == [record.id for record in data.records]
    for line, record in zip(lines, data.records, strict=True):
        assert (line["grid"], line["fit"]) == (list(GRID), "squash")
        asked = [(record.question, record.image), *((probe.question, probe.image) for probe in record.probes)]
        expected = [(record.edit.fact, record.image), *asked]
        for written, (text, image) in zip([line["edit"], *line["probes"]], expected, strict=True):
            if image is None:
                assert written is None
                continue
            weights = by_hand(editor, text, image)
            found = np.frombuffer(base64.b64decode(written), np.uint8).reshape(GRID)
            assert found.max() == 255
            assert np.abs(found - 255 * (weights / weights.max()).numpy()).max() <= 0.51
