"""Every editor on every family: it edits, answers its probes, and gives the backbone back as it was, bit for bit."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from families import SAVE
from more_families import MORE
from rows import make_row
from samples import EDITS, QUERIES, answers, records

from baselines.ike.editor import open_encoder
from fgvedit.backbones import open_backbone
from fgvedit.backbones.base import Backbone
from fgvedit.editors.contract import Editor, Route
from fgvedit.editors.registry import ENTRY_POINTS, editor_class, editor_config
from fgvedit.evaluation.conformance.comparing import compare, snapshot
from fgvedit.evaluation.protocols import open_protocols
from fgvedit.evaluation.runs.probing import probe_record
from fgvedit.schema import record_from_row
from fgvedit.util.errors import FGVEditError

FAMILIES = ("blip2", "minigpt4", *SAVE)
STATISTICS = (".count", ".exponent", ".mean", ".std")  # of MEND's networks, which gradients do not train
AGAIN = ("ft", "mscke-unschooled")  # ft-llm's other name; mscke on another CLIP, with options for tiny alone
EDITORS = sorted(point.name for point in entry_points(group=ENTRY_POINTS) if point.name not in AGAIN)

# What a model of two layers, and a test, need; everything else is the section for backbones without one.
SMALL: dict[str, dict[str, Any]] = {
    "ft-llm": {"layers": [-1], "steps": 2},
    "ft-linf": {"layers": [-1], "steps": 2},
    "ft-align": {"steps": 2},
    "lora": {"steps": 2},
    "grace": {"layer": -1, "steps": 2, "epsilon": 50.0},
    "wise": {"layer": -1, "steps": 2},
    "mend": {"layers": [-1], "rank": 8, "edit_lr": 1.0, "steps": 1, "batch": 1},
    "mscke-mend": {"layers": [-1], "rank": 8, "edit_lr": 1.0, "clip_weights": "", "threshold": 0.0},
    "mscke": {"clip_weights": "", "steps": 1, "threshold": 0.0},
    "serac": {"encoder": "new", "encoder_width": 16, "encoder_layers": 1, "steps": 1},
    "serac-switch": {"encoder": "new", "encoder_width": 16, "encoder_layers": 1, "steps": 1, "threshold": 0.0},
    "ike": {"k": 2, "room": 16},
    "none": {},
}


@pytest.fixture(scope="module")
def backbones(random_blip2: Path, random_minigpt4: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Name of a family -> a backbone of it, and what it answers to `QUERIES`."""

    @cache
    def backbone(name: str) -> tuple[Backbone, Any]:
        folder = {"blip2": random_blip2, "minigpt4": random_minigpt4}.get(name)
        if folder is None:
            folder = tmp_path_factory.mktemp("matrix") / name
            SAVE[name](folder)
        opened = open_backbone(str(folder))
        return opened, answers(opened, QUERIES)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("baselines.ike.editor.open_encoder", cache(open_encoder))  # one for all families
        yield backbone


def open_small(name: str, backbone: Backbone, random_clip: Path) -> Editor:
    options = SMALL[name] | ({"clip": str(random_clip)} if name.startswith("mscke") else {})
    kind = editor_class(name)
    torch.manual_seed(0)
    return kind(backbone, editor_config(kind, "a backbone without a section", options))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", EDITORS)
def test_it_edits_and_gives_back(name: str, family: str, backbones: Callable[[str], Any], random_clip, tmp_path):
    backbone, base = backbones(family)
    editor = open_small(name, backbone, random_clip)
    (tmp_path / "training").mkdir()
    if editor.trained and name != "mscke-mend":  # its training reads two checkpoints
        editor.train(records(2), tmp_path / "training", seed=0)
        editor.save(tmp_path / "checkpoint")
        editor.load(tmp_path / "checkpoint")
    before = snapshot(backbone)

    with editor.edit(EDITS[:1]) as edited:
        said, forced = answers(edited, QUERIES)
        routes = edited.explain(QUERIES)
    assert len(said) == len(forced) == len(routes) == len(QUERIES)
    assert {route.to for route in routes} <= {"base", "edited", "counterfactual", "mixed"}
    if name != "none":
        assert routes[0].to != "base" and forced[0] != base[1][0], "the edit changed nothing of its own answer"
    with editor.edit([]) as edited:  # with none in force it is the base model
        assert edited.explain(QUERIES) == [Route("base")] * len(QUERIES)
        assert answers(edited, QUERIES) == base
        assert edited.generate([]) == edited.teacher_force([], []) == []

    rows = probe_record(editor, record_from_row(make_row(3)), open_protocols("paper,generation"), 0).rows
    assert len(rows) == 2 * 6
    compare(before, backbone, "after the edit")
    assert answers(backbone, QUERIES) == base


@pytest.mark.parametrize("name", EDITORS)
def test_it_says_how_much_it_trains(name: str, backbones: Callable[[str], Any], random_clip, tmp_path):
    backbone, _ = backbones("blip2")
    editor = open_small(name, backbone, random_clip)
    if name in ("none", "ike"):
        expected = 0
    elif name == "grace":
        expected = 32  # one value, as wide as the model
    elif name == "wise":
        expected = 32 * 64  # a copy of the map out of the feed-forward part
    elif editor.trained:  # all that a checkpoint holds but running statistics
        editor.save(tmp_path / "checkpoint")
        weights = safetensors.torch.load_file(tmp_path / "checkpoint" / "model.safetensors")
        expected = sum(weight.numel() for name, weight in weights.items() if not name.endswith(STATISTICS))
    else:  # all that an edit moves
        before = {name: weight.clone() for name, weight in backbone.model.named_parameters()}
        with editor.edit(EDITS[:1]):
            now = dict(backbone.model.named_parameters())
            moved = [w for name, w in now.items() if name not in before or not torch.equal(w, before[name])]
            expected = sum(weight.numel() for weight in moved if weight.requires_grad)
    assert editor.trained_parameters == expected


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("wise", {}, "option 'layer': found 23, expected -2 to 1: .* has 2 language layers"),
        ("grace", {"layer": -1, "module": "ffn.dwn"}, "unknown linear map .option 'module'.* 'ffn.dwn'"),
        ("ft-llm", {}, "option 'layers': found -3, expected -2 to 1"),
        ("lora", {"targets": ["q_prj"]}, "'targets'.* 'q_prj': expected one of .*q_proj"),
    ],
)
def test_an_editor_that_cannot_says_so(name: str, option: dict, message: str, family: str, backbones):
    kind = editor_class(name)
    with pytest.raises(FGVEditError, match=message) as caught:
        kind(backbones(family)[0], editor_config(kind, "a backbone without a section", option))
    assert "\n" not in str(caught.value)


def test_a_language_model_that_generates_from_tokens_alone_is_no_counterfactual_model(random_clip, tmp_path):
    MORE["gemma3"](tmp_path / "gemma3")
    backbone, kind = open_backbone(str(tmp_path / "gemma3")), editor_class("mscke")
    if "inputs_embeds" in inspect.signature(backbone.model.prepare_inputs_for_generation).parameters:
        pytest.skip("this version of transformers lets it generate from embeddings, too")
    options = {"clip": str(random_clip), "clip_weights": ""}
    with pytest.raises(
        FGVEditError, match=r"option 'counterfactual': the Gemma3\w* of 'backbone' generates from token"
    ):
        kind(backbone, editor_config(kind, "a backbone without a section", options))
