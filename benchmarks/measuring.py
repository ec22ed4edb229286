"""One record under FT-LLM and under MSCKE, through the public interface: seconds and memory, step by step."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from benchmarks.counting import count
from benchmarks.models import Folders, Size, build
from fgvedit.backbones import open_backbone
from fgvedit.backbones.answering import Answerer, Forced, Query
from fgvedit.backbones.base import Backbone
from fgvedit.editors.registry import editor_class, editor_config
from fgvedit.evaluation.conformance.comparing import snapshot
from fgvedit.evaluation.runs.chunks import peak_memory
from fgvedit.evaluation.runs.manifest import COMPUTING, versions
from fgvedit.schema import ImageRef, Probe, Record

NEW_TOKENS = 4  # of an answer that is generated
STEPS = 2  # of FT-LLM's optimisation: each takes the same


def measure(size: Size, model: str, work: Path, meta: bool = False) -> dict[str, Any]:
    """What is counted ("parts", see `count`) and, unless `meta`, what `edit_both` measures."""
    result = {
        "model": model,
        "command": f"python -m benchmarks.full_size --model {model}" + (" --meta" if meta else ""),
        "packages": versions(COMPUTING),
        "parts": count(size),
    }
    return result if meta else {**result, **edit_both(size, model, work)}


class Meter:
    """Seconds, and the most memory that the process has held, of one step after the other."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Note what the `with` block took as a step: "step", "seconds", "peak_gb" so far and its "increase_gb"."""
        before, start = peak_gb(), time.perf_counter()
        yield
        seconds, after = time.perf_counter() - start, peak_gb()
        self.steps.append({"step": name, "seconds": seconds, "peak_gb": after, "increase_gb": after - before})
        print(f"{name:28} {seconds:8.1f} s {after:8.2f} GB", flush=True)


def peak_gb() -> float:
    """The most main memory that the process has held so far, in 10^9 bytes."""
    return peak_memory(torch.device("cpu")) / 1e9


def edit_both(size: Size, model: str, work: Path) -> dict[str, Any]:
    """One record under both editors, in bfloat16 on the CPU, images and prompts as in the released code.

    "steps": see `Meter`; "peak_gb"; "encoded_images": how many went through the vision tower; "editors": for each
    "undone", whether all weights were their bits again, and "questions" (see `edit`); "machine".
    """
    meter = Meter()
    record = one_record()
    with meter.step("build"):
        folders = build(size, model, work, [record.edit.fact, *(probe.question for probe in record.probes)])
    with meter.step("open"):
        backbone = open_backbone(str(folders.backbone), dtype=torch.bfloat16, input_mode="paper")
    with meter.step("hash all weights"):
        before = snapshot(backbone)
    with meter.step("encode the image"):
        backbone.features([record.image])
    with meter.step("ask"):
        answers = ask(backbone.cached_answerer, record)

    editors = {}
    for name, changes in options(size, folders).items():
        questions = edit(name, changes, backbone, record, answers, meter)
        with meter.step(f"{name}: hash all weights"):
            after = snapshot(backbone)
        editors[name] = {"undone": after == before, "questions": questions}
        before = after
    return {
        "steps": meter.steps,
        "peak_gb": peak_gb(),
        "encoded_images": backbone.encoded_images,
        "editors": editors,
        "machine": {
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        },
    }


def options(size: Size, folders: Folders) -> dict[str, dict[str, Any]]:
    """Editor -> what differs from its shipped options: fewer steps, and models that are built and not fetched."""
    mscke = {"clip": str(folders.clip)}
    if size.counterfactual:
        mscke["counterfactual"] = str(folders.counterfactual)
    return {"ft-llm": {"steps": STEPS}, "mscke": mscke}


def edit(
    name: str, changes: dict[str, Any], backbone: Backbone, record: Record, before: list[Forced], meter: Meter
) -> list[dict[str, Any]]:
    """Edit, ask, undo. `changes`: of the editor's shipped options; `before`: the answers without the edit.

    For each question "kind", "route" and "rho" (see `Route`), and whether any of the tokens that the model thinks most
    likely, in image, prompt or answer, has "changed".
    """
    kind = editor_class(name)
    with meter.step(f"{name}: open"):
        editor = kind(backbone, editor_config(kind, backbone.name, changes))  # not `open_editor`: it is not trained
    with ExitStack() as stack:
        with meter.step(f"{name}: edit"):
            edited = stack.enter_context(editor.edit([record.edit]))
        with meter.step(f"{name}: ask"):
            after = ask(edited, record)
        probes = record.asked
        routes = edited.explain([Query(probe.question, probe.image) for probe in probes])
        with meter.step(f"{name}: undo"):
            stack.close()
    return [
        {
            "kind": probe.kind,
            "route": route.to,
            "rho": route.rho,
            "changed": old.top.tolist() != new.top.tolist(),
        }
        for probe, route, old, new in zip(probes, routes, before, after, strict=True)
    ]


def ask(answerer: Answerer, record: Record) -> list[Forced]:
    """Everything in one batch, as in a run: freely, then with the answers forced."""
    probes = record.asked
    queries = [Query(probe.question, probe.image) for probe in probes]
    answerer.generate(queries, NEW_TOKENS)
    return answerer.teacher_force(queries, [probe.answer for probe in probes])


def one_record() -> Record:
    """An edit of a picture of COCO's size, with a probe of each kind that the released data have."""
    picture = io.BytesIO()
    Image.effect_mandelbrot((640, 480), (-2.2, -1.2, 1.0, 1.2), 100).convert("RGB").save(picture, "JPEG")
    image = ImageRef("picture", picture.getvalue())
    return Record(
        id="record",
        group="picture",
        image=image,
        question="What colour is the bus behind the cyclist?",
        answer="red",
        target="green",
        entity="bus",
        box=(),
        probes=(
            Probe("rephrase", "The bus behind the cyclist has which colour?", "green", image),
            Probe("in_scope", "Is the bus behind the cyclist green?", "yes", image),
            Probe("out_of_scope", "What colour is the cyclist's helmet?", "white", image),
            Probe("text_locality", "Which river runs through Vienna?", "Danube", None),
        ),
    )
