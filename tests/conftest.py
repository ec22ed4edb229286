"""Options and fixtures: a random BLIP-2 of a few thousand parameters, and a small data set."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pages import BROWSERS
from rows import IMAGE_SIZE, QUERIES, make_row

from fgvedit.backbones import open_backbone
from fgvedit.backbones.base import Backbone

if "PYTEST_XDIST_WORKER" in os.environ:  # several processes share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of programs that tests start
    torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    # Before it has read this file pytest takes the FOLDER of "--real-data FOLDER" for tests; hence the "=".
    parser.addoption("--real-data", type=Path, metavar="FOLDER", help="folder of real photos; write --real-data=FOLDER")


@pytest.fixture(scope="session")
def real_data(request: pytest.FixtureRequest) -> Path:
    """The folder given by --real-data=FOLDER; a test that needs it is skipped without."""
    folder = request.config.getoption("--real-data")
    if folder is None:
        pytest.skip("needs --real-data=FOLDER")
    if not folder.is_dir():
        pytest.fail(f"--real-data {folder}: no such folder")
    return folder


@pytest.fixture
def dataset_folder(tmp_path: Path) -> Path:
    """A folder of Parquet files: 3 training and 2 test records."""
    import datasets

    from fgvedit.schema import features

    folder = tmp_path / "dataset"
    folder.mkdir()
    for split, numbers in {"train": range(3), "test": range(10, 12)}.items():
        rows = [make_row(number) for number in numbers]
        datasets.Dataset.from_list(rows, features=features()).to_parquet(folder / f"{split}.parquet")
    return folder


@pytest.fixture(scope="session")
def random_blip2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a saved BLIP-2 with random weights and 16-pixel images."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2Processor,
        Blip2QFormerConfig,
        Blip2VisionConfig,
        BlipImageProcessor,
        OPTConfig,
        PreTrainedTokenizerFast,
    )

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "</s>", "<image>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(["Question: What colour is the card? Short answer: blue"], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        eos_token="</s>",
        padding_side="left",
    )
    vision = Blip2VisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=IMAGE_SIZE,
        patch_size=8,
        initializer_range=0.5,
    )
    qformer = Blip2QFormerConfig(
        vocab_size=1,
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=1,
        initializer_range=0.3,
    )
    text = OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        init_std=0.3,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = Blip2Config(
        vision_config=vision,
        qformer_config=qformer,
        text_config=text,
        num_query_tokens=QUERIES,
        image_token_index=tokenizer.get_vocab()["<image>"],
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    model = Blip2ForConditionalGeneration(config)
    torch.nn.init.normal_(model.query_tokens)
    processor = Blip2Processor(
        BlipImageProcessor(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}), tokenizer, num_query_tokens=QUERIES
    )
    folder = tmp_path_factory.mktemp("backbones") / "random"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def backbone(random_blip2: Path) -> Backbone:
    return open_backbone(str(random_blip2))


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    """Copies a folder to where a test may damage it."""
    return lambda folder: Path(shutil.copytree(folder, tmp_path / folder.name))


@pytest.fixture(scope="session")
def random_clip(random_blip2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that `open_clip` opens: random weights, 16-pixel images, the tokens of `random_blip2`."""
    import json

    import open_clip
    from safetensors.torch import save_file
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(random_blip2, padding_side="right")
    end = tokenizer.eos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, tokenizer.eos_token_id)]
    )
    text = {
        "context_length": 64,
        "vocab_size": len(tokenizer),
        "width": 16,
        "heads": 2,
        "layers": 1,
        "pool_type": "eos",
        "eos_id": tokenizer.eos_token_id,
        "pad_id": tokenizer.pad_token_id,
        "hf_tokenizer_name": "random",
    }
    vision = {"image_size": IMAGE_SIZE, "patch_size": 8, "width": 16, "layers": 1, "head_width": 8}
    towers: dict[str, Any] = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    config = {
        "model_cfg": {**towers, "custom_text": True},
        "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"},
    }
    torch.manual_seed(0)
    model = open_clip.CustomTextCLIP(**towers)
    folder = tmp_path_factory.mktemp("clips") / "random-clip"
    tokenizer.save_pretrained(folder)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="session")
def random_minigpt4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the converter makes of a MiniGPT-4 with random weights."""
    from minigpt4_parts import save_minigpt4

    folder = tmp_path_factory.mktemp("minigpt4") / "random-minigpt4"
    save_minigpt4(folder)
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium, for `pages.Opened`; a test that needs it is skipped without."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"needs one of the programs {', '.join(BROWSERS)}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()
