"""The benchmark at full size: its own path with models of a few thousand parameters, and what it counts."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import safetensors

import fgvedit
from fgvedit.util.errors import FGVEditError

ROOT = Path(fgvedit.__file__).parent.parent
sys.path.insert(0, str(ROOT))  # benchmarks are not installed

from benchmarks import models  # noqa: E402
from benchmarks.counting import count  # noqa: E402
from benchmarks.full_size import main, report  # noqa: E402

# 32 language layers: the shipped options of FT-LLM are about the last of them.
LANGUAGE = {"vocab_size": 1000, "hidden_size": 16, "num_hidden_layers": 32, "num_attention_heads": 2}
OPT = {"model_type": "opt", "word_embed_proj_dim": 16, "ffn_dim": 32, **LANGUAGE}
LLAMA = {"model_type": "llama", "intermediate_size": 32, **LANGUAGE}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
QFORMER = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 28, "patch_size": 14, "width": 16, "layers": 1, "head_width": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
TINY = {
    "blip2-opt-2.7b": models.Size(VISION, QFORMER, 4, OPT, CLIP, {**OPT, "num_hidden_layers": 2}),
    "minigpt4-7b": models.Size(VISION, QFORMER, 4, LLAMA, CLIP, None),
}
FULL_SIZE = models.SIZES
RESULTS = [ROOT / "benchmarks" / "results" / f"{model}.json" for model in FULL_SIZE]
BACKBONE_PARTS = {
    "vision tower": "vision_model.",
    "Q-Former": ("qformer.", "query_tokens"),
    "connector": "language_projection.",
    "language model": "language_model.",
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "SIZES", TINY)


@pytest.fixture(scope="module")
def full_size_parts() -> dict[str, list[dict[str, Any]]]:
    return {model: count(size) for model, size in FULL_SIZE.items()}


def stored(folder: Path) -> dict[str, int]:
    """How many numbers each tensor in the files of a folder has."""
    found = {}
    for path in folder.glob("*.safetensors"):
        with safetensors.safe_open(path, framework="pt") as file:
            found.update({name: file.get_tensor(name).numel() for name in file.keys()})  # noqa: SIM118
    return found


@pytest.mark.parametrize("model", TINY)
def test_an_edit_with_both_editors(model, tmp_path, capsys):
    assert main(["--model", model, "--work", str(tmp_path)]) == 0
    result = json.loads((tmp_path / f"{model}.json").read_text())
    assert report(result) in capsys.readouterr().out

    steps = [row["step"] for row in result["steps"]]
    assert steps[:4] == ["build", "open", "hash all weights", "encode the image"]
    assert {f"{editor}: {step}" for editor in ("ft-llm", "mscke") for step in ("open", "edit", "ask", "undo")} < {
        *steps
    }
    peaks = [row["peak_gb"] for row in result["steps"]]
    assert peaks == sorted(peaks) and result["peak_gb"] >= peaks[-1] > 0
    assert result["encoded_images"] == 1

    editors = result["editors"]
    assert editors["ft-llm"]["undone"] and editors["mscke"]["undone"]
    assert all(asked["changed"] and asked["route"] == "edited" for asked in editors["ft-llm"]["questions"])
    assert {asked["kind"] for asked in editors["mscke"]["questions"]} == {
        "edit",
        "rephrase",
        "in_scope",
        "out_of_scope",
        "text_locality",
    }

    counted = {row["part"]: row for row in result["parts"]}
    weights = stored(tmp_path / model)
    for part, names in BACKBONE_PARTS.items():
        assert counted[part]["parameters"] == sum(weights[name] for name in weights if name.startswith(names))
        assert counted[part]["gb"] == pytest.approx(2e-9 * counted[part]["parameters"])
    clip = sum(stored(tmp_path / f"{model}-clip").values())
    assert counted["CLIP"]["parameters"] == clip and counted["CLIP"]["gb"] == pytest.approx(4e-9 * clip)
    if model == "minigpt4-7b":
        second = sum(number for name, number in weights.items() if ".layers.31." in name)
    else:
        second = sum(stored(tmp_path / f"{model}-counterfactual").values())
    assert counted["counterfactual model"]["parameters"] == second + 24 * 16 + 16


def test_models_that_are_there_are_taken(tmp_path, monkeypatch):
    first = models.build(TINY["blip2-opt-2.7b"], "blip2-opt-2.7b", tmp_path, ["What?"])
    written = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    monkeypatch.setattr(models, "random_weight", lambda name, shape: pytest.fail("made again"))
    assert models.build(TINY["blip2-opt-2.7b"], "blip2-opt-2.7b", tmp_path, ["What?"]) == first
    assert len(written) == 3 and all(path.read_bytes() == data for path, data in written.items())


def test_a_build_that_was_stopped_leaves_no_folder(tmp_path, monkeypatch):
    def fail(name: str, shape: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "random_weight", fail)
    with pytest.raises(KeyboardInterrupt):
        models.build(TINY["minigpt4-7b"], "minigpt4-7b", tmp_path, ["What?"])
    assert not list(tmp_path.iterdir())


def test_a_trace_in_the_weights_and_too_much_memory_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("fgvedit.editors.fine_tuning.restored", lambda parameters: nullcontext())
    assert main(["--model", "blip2-opt-2.7b", "--work", str(tmp_path), "--limit-gb", "0.1"]) == 1
    faults = capsys.readouterr().out.partition("\nresult: ")[2].splitlines()[1:]
    assert faults[0] == "ft-llm left a trace in the weights"
    assert len(faults) == 2 and faults[1].endswith("GB of memory were used, more than --limit-gb 0.1")
    result = json.loads((tmp_path / "blip2-opt-2.7b.json").read_text())
    assert not result["editors"]["ft-llm"]["undone"] and "ft-llm`: 5 of 5 answers change" in report(result)
    assert "a trace is left in the weights" in report(result)


def test_an_unknown_model_names_the_nearest(tmp_path):
    with pytest.raises(FGVEditError, match=r"'blip2-opt-2.8b'.*did you mean 'blip2-opt-2.7b'"):
        main(["--model", "blip2-opt-2.8b", "--work", str(tmp_path)])


def test_operations_at_full_size(full_size_parts):
    tflop = {row["part"]: row["tflop"] for row in full_size_parts["blip2-opt-2.7b"]}
    # Counted apart from this code, before it was written.
    assert tflop["vision tower"] == pytest.approx(1.434, rel=0.01)
    assert tflop["Q-Former"] == pytest.approx(0.024, rel=0.01)
    assert tflop["language model"] == pytest.approx(0.255, rel=0.01)
    # By hand: two operations for each weight and position in the linear maps, and two products in the attention.
    tokens, wide, layers, ffn, vocabulary = 48, 4096, 32, 11008, 32000
    maps = layers * (4 * wide**2 + 3 * wide * ffn) + wide * vocabulary
    by_hand = 2 * tokens * maps + layers * 2 * 2 * tokens**2 * wide
    llama = {row["part"]: row["tflop"] for row in full_size_parts["minigpt4-7b"]}["language model"]
    assert llama == pytest.approx(by_hand / 1e12, rel=0.01)


def test_parameters_at_full_size(full_size_parts):
    parts = {model: {row["part"]: row["parameters"] for row in rows} for model, rows in full_size_parts.items()}
    # As the hub and the models' papers have them.
    assert sum(parts["blip2-opt-2.7b"][part] for part in BACKBONE_PARTS) == 3_744_761_856
    assert parts["minigpt4-7b"]["language model"] == 6_738_415_616
    assert parts["blip2-opt-2.7b"]["CLIP"] == parts["minigpt4-7b"]["CLIP"] == 427_616_513
    assert parts["blip2-opt-2.7b"]["counterfactual model"] == 125_239_296 + 768 * 768 + 768


def test_nothing_is_built_where_nothing_is_measured(tmp_path, capsys):
    assert main(["--model", "minigpt4-7b", "--meta", "--work", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["minigpt4-7b.json"]
    assert report(json.loads((tmp_path / "minigpt4-7b.json").read_text())) in capsys.readouterr().out


@pytest.mark.parametrize("path", RESULTS, ids=[path.stem for path in RESULTS])
def test_the_readme_has_what_was_measured(path, full_size_parts):
    result = json.loads(path.read_text())
    readme = (ROOT / "benchmarks" / "README.md").read_text()
    assert f"{result['command']}\n" in readme and report(result) in readme
    for found, expected in zip(result["parts"], full_size_parts[result["model"]], strict=True):
        assert found == {**expected, "tflop": pytest.approx(expected["tflop"], rel=0.01)}
