"""Train `tiny` and `tiny-clip` from nothing, or measure those that are shipped."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

import fgvedit
from builders.tiny.clip import NAME, UNSCHOOLED, build_clip, train_clip, write_clip_folder
from builders.tiny.evaluate import evaluate
from builders.tiny.join import JOINING, RETRIEVING, SHARPENING, train_together
from builders.tiny.language import CellEmbedding, Mixture, Pointing, train_language
from builders.tiny.log import Log
from builders.tiny.model import build_model, build_processor, build_tokenizer
from builders.tiny.point import train_pointing
from builders.tiny.vision import Pool, train_queries, train_vision
from fgvedit.editors.checkpoints import check_shapes, fill, state
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
    "together": 2000,
    "sharpen": 1600,
    "retrieve": 1000,
    "clip": 1000,
    "point": 2400,
}
MODEL = Path(fgvedit.__file__).parent / "backbones" / "tiny" / "model"
BACKBONE = "tiny"
QUALITY = MODEL.parent  # the log and the measured quality, beside the model that they are of
EPILOG = """\
examples:
  python -m builders.tiny train
      train both models again; a stopped training goes on at the stage where it was
  python -m builders.tiny train --only tiny --threads 1
      train one of them, and the other one beside it: neither learns from the other
  python -m builders.tiny evaluate
      measure the shipped models on the test split
"""


def train_tiny(work: Path, seed: int) -> None:
    """From nothing to the backbone in the package."""
    log = Log(work / f"{BACKBONE}.jsonl")
    tokenizer = build_tokenizer(seed)
    model = build_model(tokenizer, seed)
    torch.manual_seed(seed)
    cells = CellEmbedding(model.language_model.get_input_embeddings(), tokenizer)
    pointing = Pointing(model.config.text_config.hidden_size)
    parts = nn.ModuleDict({"model": model, "turn": cells.turn, "pointing": pointing})
    pool = Pool(seed)

    def join(stage: str, mixture: Mixture, steps: int) -> None:
        train_together(model, pointing, tokenizer, pool, mixture, steps, seed, log, stage)

    stages: list[tuple[str, Callable[[int], None]]] = [
        ("language", lambda steps: train_language(model, cells, pointing, tokenizer, steps, seed, log)),
        ("vision", lambda steps: train_vision(model, pool, steps, seed, log)),
        ("queries", lambda steps: train_queries(model, cells, pool, steps, seed, log)),
        ("together", lambda steps: join("together", JOINING, steps)),
        ("sharpen", lambda steps: join("sharpen", SHARPENING, steps)),
        ("retrieve", lambda steps: join("retrieve", RETRIEVING, steps)),
    ]
    for name, run in stages:
        _stage(work, name, parts, run)
    model.set_attn_implementation("sdpa")
    model.save_pretrained(MODEL)
    build_processor(tokenizer).save_pretrained(MODEL)
    shutil.copy(log.file, QUALITY / "log.jsonl")


def train_tiny_clip(work: Path, seed: int) -> None:
    """From nothing to the CLIP in the package; it is kept as it was before it was taught what a phrase names, too."""
    log = Log(work / f"{NAME}.jsonl")
    tokenizer = build_tokenizer(seed)
    clip = build_clip(tokenizer, seed)
    _stage(work, "clip", clip, lambda steps: train_clip(clip, tokenizer, Pool(seed), steps, seed, log))
    write_clip_folder(SHIPPED / UNSCHOOLED, tokenizer, clip.state_dict())
    phrases = partial(Pool, seed, stream="phrases")
    _stage(work, "point", clip, lambda steps: train_pointing(clip, tokenizer, phrases(), steps, seed, log))
    write_clip_folder(SHIPPED / NAME, tokenizer, clip.state_dict())
    shutil.copy(log.file, SHIPPED / NAME / "log.jsonl")


def _stage(work: Path, name: str, trained: nn.Module, run: Callable[[int], None]) -> None:
    """Its weights are kept in `work`, and it is skipped where they are there."""
    file = work / f"{name}.safetensors"
    if not file.exists():
        run(STEPS[name])
        write_tensors(file, state(trained))
        return
    kept = read_tensors(file)[0]
    check_shapes(file, kept, state(trained), f"stage '{name}'")
    fill(trained, kept)


TRAINED = {BACKBONE: train_tiny, NAME: train_tiny_clip}


def main(argv: list[str] | None = None) -> None:
    """Train, or not, and measure."""
    parser = ArgumentParser(prog="python -m builders.tiny", description=__doc__, epilog=EPILOG)
    parser.add_argument("task", choices=("train", "evaluate"))
    parser.add_argument("--only", choices=tuple(TRAINED), help="train this model alone, and measure nothing")
    parser.add_argument("--work", type=Path, default=Path("runs/tiny"), help="of the stages (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    if options.task == "train":
        options.work.mkdir(parents=True, exist_ok=True)
        for name in [options.only] if options.only else TRAINED:
            TRAINED[name](options.work, options.seed)
    if options.task == "train" and options.only:
        return  # the other one may still be in training: what is measured is of both
    quality = evaluate()
    write_json(QUALITY / "quality.json", quality)
    for group, measured in quality.items():
        print(f"{group:40s} {measured['percent']:6.2f} % of {measured['asked']}")


if __name__ == "__main__":
    command_line(main)
