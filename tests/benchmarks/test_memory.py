"""The memory of the named backbones: counts beside formulas written by hand, bytes beside what is alive."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import fgvedit
from fgvedit.backbones import NAMES, open_backbone
from fgvedit.editors.contract import restored
from fgvedit.editors.fine_tuning import Optimisation, optimise
from fgvedit.editors.registry import editor_class, editor_config
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import between_markers

ROOT = Path(fgvedit.__file__).parent.parent
sys.path.insert(0, str(ROOT))  # benchmarks are not installed

from benchmarks import named  # noqa: E402
from benchmarks.memory import CLOSE, FT_LLM, HEADER, MSCKE_TRAIN, OPEN, main, table  # noqa: E402
from benchmarks.named import ALL, PUBLISHED, Counts, count  # noqa: E402

pytestmark = pytest.mark.skipif(not named.RUNS_ON_META, reason="an older transformers, refused with one sentence")

CLIP_VIT_L_14 = 427_616_513  # OpenAI's, as open_clip and its model card give it


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def norm(width: int) -> int:
    return 2 * width


def test_every_named_backbone_has_a_row_and_totals_are_the_published_ones() -> None:
    assert set(ALL) == {*NAMES, "minigpt4-7b"}
    totals = {}
    for name in PUBLISHED:
        model, _ = named.without_weights(name)
        assert all(parameter.is_meta for parameter in model.parameters())
        totals[name] = sum(parameter.numel() for parameter in model.parameters())
    on_record = {name: entry.parameters for name, entry in PUBLISHED.items() if entry.parameters}
    assert len(on_record) == 5
    assert {name: totals[name] for name in on_record} == on_record
    # Of the others only a rounded number of billions is known.
    rounded = {"blip2-opt-6.7b": 7.8, "minigpt4-7b": 7.8, "instructblip-vicuna-7b": 7.9, "llava-onevision-7b": 8.0}
    assert {name: round(totals[name] / 1e9, 1) for name in totals.keys() - on_record} == rounded


def test_blip2_beside_formulas() -> None:
    found = count("blip2-opt-2.7b")
    d, f = 1408, 6144
    block = 2 * norm(d) + linear(d, 3 * d) + linear(d, d) + linear(d, f) + linear(f, d)
    assert found.vision == linear(3 * 14 * 14, d) + d + 257 * d + 39 * block + norm(d)
    h, i = 768, 3072
    own = 4 * linear(h, h) + norm(h) + linear(h, i) + linear(i, h) + norm(h)
    across = 2 * linear(h, h) + 2 * linear(d, h) + norm(h)
    assert found.connector == 32 * h + norm(h) + 12 * own + 6 * across + linear(h, 2560)

    def opt(vocabulary: int, width: int, layers: int) -> int:
        inner = 4 * width
        layer = 4 * linear(width, width) + 2 * norm(width) + linear(width, inner) + linear(inner, width)
        return (vocabulary + 2050) * width + layers * layer + norm(width)

    assert found.language == opt(50304, 2560, 32)
    assert found.total == found.vision + found.connector + found.language == 3_744_761_856
    assert found.ft_llm == 2 * 2560 * 10240
    assert found.mscke == CLIP_VIT_L_14 + opt(50272, 768, 12) + linear(768, 768)

    assert found.image_tokens == 32
    vision = 2 * 256 * 588 * d + 39 * (2 * 257 * (4 * d * d + 2 * d * f) + 4 * 257**2 * d)
    asked = 12 * (2 * 32 * (4 * h * h + 2 * h * i) + 4 * 32**2 * h)
    asked += 6 * (2 * 32 * 2 * h * h + 2 * 257 * 2 * d * h + 4 * 32 * 257 * h) + 2 * 32 * h * 2560
    assert found.image_flop == vision + asked
    tokens = 32 + 48
    layers = 32 * (2 * tokens * 12 * 2560**2 + 4 * tokens**2 * 2560)
    assert found.language_flop == layers + 2 * tokens * 2560 * 50304


def test_qwen2_vl_beside_formulas() -> None:
    found = count("qwen2-vl-7b")
    v, m, d, f, kv = 1280, 5120, 3584, 18944, 512
    block = 2 * norm(v) + linear(v, 3 * v) + linear(v, v) + linear(v, m) + linear(m, v)
    assert found.vision == 3 * 2 * 14 * 14 * v + 32 * block
    assert found.connector == norm(v) + linear(m, m) + linear(m, d)
    layer = linear(d, d) + 2 * linear(d, kv) + d * d + 3 * d * f + 2 * d
    assert found.language == 2 * 152064 * d + 28 * layer + d
    assert found.total == found.vision + found.connector + found.language
    assert found.ft_llm == 3 * 2 * d * f
    assert found.mscke == CLIP_VIT_L_14 + layer + linear(v, d)

    tokens = 23 * 17  # of 28 x 28 pixels each: the photo becomes one of 644 x 476
    assert found.image_tokens == tokens
    patches = 4 * tokens
    blocks = 32 * (2 * patches * 12 * v * v + 4 * patches**2 * v)
    merger = 2 * tokens * (m * m + m * d)
    assert found.image_flop == pytest.approx(2 * patches * 1176 * v + blocks + merger, rel=1e-4)  # and positions
    read = tokens + 48
    layers = 28 * (2 * read * (2 * d * d + 2 * d * kv + 3 * d * f) + 4 * read**2 * d)
    assert found.language_flop == pytest.approx(layers + 2 * read * d * 152064, rel=1e-4)


def test_tiny_beside_its_weights() -> None:
    """What is built without weights is what the backbone and its editors hold with them."""
    found = count("tiny")
    backbone: Any = open_backbone("tiny")
    mscke, ft_llm = (
        editor_class(name)(backbone, editor_config(editor_class(name), "tiny")) for name in ("mscke", "ft-llm")
    )

    def total(parameters: Any) -> int:
        return sum(parameter.numel() for parameter in parameters)

    assert found.vision == total(backbone.model.vision_model.parameters())
    assert found.language == total(backbone.language_model.parameters())
    assert found.total == total(backbone.model.parameters())
    assert found.mscke == total(mscke.parts.parameters())  # type: ignore[attr-defined]
    assert found.ft_llm == total(ft_llm.parameters.values())  # type: ignore[attr-defined]
    assert found.image_tokens == 9


def test_of_instructblip_the_projection_reads_the_states_before_the_qformer() -> None:
    layer = 4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096
    assert count("instructblip-vicuna-7b").mscke == CLIP_VIT_L_14 + layer + linear(1408, 4096)


class Alive(TorchDispatchMode):
    """The bytes of tensors that were made inside and are still there: now, and at most."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[StorageWeakRef, int]] = {}
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if torch.is_tensor(leaf)}
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if torch.is_tensor(leaf) and (storage := leaf.untyped_storage())._cdata not in before:
                self.made[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.most = max(self.most, self.now)
        return out

    @property
    def now(self) -> int:
        return sum(size for storage, size in self.made.values() if not storage.expired())


def layers(dtype: torch.dtype) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(64, 64, bias=False, dtype=dtype) for _ in range(24)))


def test_bytes_of_a_changed_parameter_are_the_most_that_an_optimisation_holds() -> None:
    model = layers(torch.bfloat16).requires_grad_(False)
    parameters = dict(model.named_parameters())
    inputs = torch.ones(1, 64, dtype=torch.bfloat16)
    settings = Optimisation(optimiser="adamw", lr=1e-4, steps=3, stop_loss=0)
    with Alive() as alive, restored(parameters):
        optimise(lambda: model(inputs).float().square().mean(), list(parameters.values()), settings)
    number = sum(parameter.numel() for parameter in parameters.values())
    assert alive.most / number == pytest.approx(FT_LLM, rel=0.03)
    for name in ALL:  # with other optimisers it would be another number
        assert editor_config(editor_class("ft-llm"), name).optimiser in ("adam", "adamw")


def test_bytes_of_a_trained_parameter_are_its_gradient_moments_and_itself() -> None:
    with Alive() as alive:
        model = layers(torch.float32)
        optimiser = torch.optim.Adam(model.parameters())
        for _ in range(2):
            optimiser.zero_grad()
            model(torch.ones(1, 64)).square().mean().backward()
            held = alive.now
            optimiser.step()
    assert held / sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(MSCKE_TRAIN, rel=0.03)
    for name in ALL:  # another fusion would have parameters
        assert editor_config(editor_class("mscke"), name).fusion == "dot"


def test_table() -> None:
    row = Counts("some", 100_000_000, 20_000_000, 3_000_000_000, 50_000_000, 250_000_000, 2929, 10**12, 2 * 10**13)
    header, ruler, line = table([row]).splitlines()
    assert header == f"| {' | '.join(HEADER)} |"
    assert ruler.count("---") == len(HEADER)
    found = [cell.strip() for cell in line.strip("|").split("|")]
    parameters, memory = ["100.0", "20.0", "3,000.0", "3,120.0"], ["6.24", "12.48", "1.20", "1.00", "4.00"]
    assert found == ["`some`", *parameters, *memory, "2,929", "1,000.0", "20,000.0"]


def test_the_table_is_written_between_its_markers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(named, "ALL", ("tiny",))
    file = tmp_path / "page.md"
    file.write_text(f"before\n{OPEN}\nan older one\n{CLOSE}\nafter\n")
    main(["--write", str(file)])
    written = file.read_text()
    assert written == f"before\n{OPEN}\n\n{capsys.readouterr().out.strip()}\n\n{CLOSE}\nafter\n"
    assert "| `tiny` | 1.0 |" in written and "640 x 480" in written and "older" not in written
    assert between_markers(file, "new", OPEN, CLOSE) == f"before\n{OPEN}\n\nnew\n\n{CLOSE}\nafter\n"


@pytest.mark.parametrize("content", ["no marker", OPEN, f"{CLOSE} {OPEN}", f"{OPEN} {OPEN} {CLOSE}"])
def test_a_file_without_each_marker_once_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text(content)
    with pytest.raises(FGVEditError, match=r"page.md' holds .*expected each once, in this order"):
        main(["--write", str(file)])
    assert file.read_text() == content


def test_command_line_refuses_a_missing_file() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", "--write", "none.md"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 2 and run.stdout == ""
    assert run.stderr == f"error: --write: there is no file 'none.md'; expected one that holds '{OPEN}' and '{CLOSE}'\n"
