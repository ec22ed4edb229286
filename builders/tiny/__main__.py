"""Train `tiny` and `tiny-clip` from nothing, or measure the shipped `tiny`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import fgvedit
from builders.tiny.clip import NAME, build_clip, train_clip, write_clip_folder
from builders.tiny.evaluate import evaluate
from builders.tiny.join import JOINING, RETRIEVING, SHARPENING, train_together
from builders.tiny.language import CellEmbedding, Mixture, train_language
from builders.tiny.log import Log
from builders.tiny.model import build_model, build_processor, build_tokenizer
from builders.tiny.vision import Pool, train_queries, train_vision
from fgvedit.editors.checkpoints import fill, state
from fgvedit.editors.memory.clip import SHIPPED
from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import command_line
from fgvedit.util.files import write_json
from fgvedit.util.tensors import read_tensors, write_tensors

SEED = 0
STEPS = {
    "language": 4000,
    "vision": 1000,
    "queries": 600,
    "together": 2200,
    "sharpen": 1400,
    "retrieve": 1000,
    "clip": 1000,
}
MODEL = Path(fgvedit.__file__).parent / "backbones" / "tiny" / "model"
QUALITY = MODEL.parent  # the log and the measured quality, beside the model that they are of
CLIP = SHIPPED / NAME
EPILOG = """\
examples:
  python -m builders.tiny train
      train everything again, about an hour on 2 cores; a stopped training goes on at the stage where it was
  python -m builders.tiny evaluate
      measure the shipped backbone on the test split
"""


def train(work: Path, seed: int, threads: int) -> None:
    """Each stage keeps its weights in `work` and is skipped where they are there; the result goes into the package."""
    torch.set_num_threads(threads)
    work.mkdir(parents=True, exist_ok=True)
    log = Log(work / "log.jsonl")
    tokenizer = build_tokenizer(seed)
    model = build_model(tokenizer, seed)
    torch.manual_seed(seed)
    cells = CellEmbedding(model.language_model.get_input_embeddings(), tokenizer)
    parts = nn.ModuleDict({"model": model, "turn": cells.turn})
    pool = Pool(seed)
    clip = build_clip(tokenizer, seed)

    def join(stage: str, mixture: Mixture, steps: int) -> None:
        train_together(model, tokenizer, pool, mixture, steps, seed, log, stage)

    stages: list[tuple[str, nn.Module, Callable[[int], None]]] = [
        ("language", parts, lambda steps: train_language(model, cells, tokenizer, steps, seed, log)),
        ("vision", parts, lambda steps: train_vision(model, pool, steps, seed, log)),
        ("queries", parts, lambda steps: train_queries(model, cells, pool, steps, seed, log)),
        ("together", parts, lambda steps: join("together", JOINING, steps)),
        ("sharpen", parts, lambda steps: join("sharpen", SHARPENING, steps)),
        ("retrieve", parts, lambda steps: join("retrieve", RETRIEVING, steps)),
        ("clip", clip, lambda steps: train_clip(clip, tokenizer, pool, steps, seed, log)),
    ]
    for name, trained, run in stages:
        file = work / f"{name}.safetensors"
        if not file.exists():
            run(STEPS[name])
            write_tensors(file, state(trained))
        else:
            fill(trained, read_tensors(file)[0])
    model.set_attn_implementation("sdpa")
    model.save_pretrained(MODEL)
    build_processor(tokenizer).save_pretrained(MODEL)
    write_clip_folder(CLIP, tokenizer, clip.state_dict())
    shutil.copy(log.file, QUALITY)


def main(argv: list[str] | None = None) -> None:
    """Train, or not, and measure."""
    parser = ArgumentParser(prog="python -m builders.tiny", description=__doc__, epilog=EPILOG)
    parser.add_argument("task", choices=("train", "evaluate"))
    parser.add_argument("--work", type=Path, default=Path("runs/tiny"), help="of the stages (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    options = parser.parse_args(argv)
    if options.task == "train":
        train(options.work, options.seed, options.threads)
    quality = evaluate()
    write_json(QUALITY / "quality.json", quality)
    for group, measured in quality.items():
        print(f"{group:24s} {measured['percent']:6.2f} % of {measured['asked']}")


if __name__ == "__main__":
    command_line(main)
