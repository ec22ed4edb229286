"""How a backbone's folder is opened: what is asked for, and what can be wrong with the files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
import transformers

from fgvedit.util.errors import FGVEditError, one_line

INPUT_MODES = ("native", "paper")


@dataclass(frozen=True)
class ModulePaths:
    """Where things are in a model of `transformers`, as dotted paths; None: found from its architecture.

    `vision`: the vision tower; `connector`: the modules between it and the language model; `layers`: the language
    model's list of blocks. `question`: the words in which a question is put, with {question} in them.
    """

    vision: str | None = None
    connector: list[str] | None = None
    layers: str | None = None
    question: str | None = None


@dataclass(frozen=True)
class LoadSpec:
    """Which backbone is to be opened, and how.

    `revision`: the hub's commit, or a hash of the folder's files; `source`: the hub id, or what the folder is called.
    `input_mode`: "native", what the model's own processor makes of images and text, or "paper", what the released
    FGVEdit code makes of them. `device_map`: "auto", for `accelerate` to spread the model over what there is, or None.
    """

    folder: Path
    name: str
    revision: str
    source: str
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    device_map: str | None = None
    input_mode: str = "native"
    module_paths: ModulePaths = field(default_factory=ModulePaths)


def open_processor(spec: LoadSpec, kind: Any) -> Any:
    """The processor in the folder, by a class of `transformers` that has `from_pretrained`.

    Raises `FGVEditError` where it cannot be read.
    """
    with quiet_transformers():
        try:
            return kind.from_pretrained(spec.folder, local_files_only=True)
        except Exception as error:  # tokenizer and image processor raise whatever their parsers do
            raise FGVEditError(
                f"backbone '{spec.name}': the tokenizer and processor files in '{spec.folder}' cannot be read "
                f"({one_line(error)}); expected those that the processor's save_pretrained wrote"
            ) from error


def open_model(spec: LoadSpec, kind: Any) -> Any:
    """The model in the folder, frozen, where it is to be, by a class of `transformers` that has `from_pretrained`.

    Raises `FGVEditError` for weights that are missing, damaged or of another shape, and for a model that the devices
    cannot hold.
    """
    check_weights(spec.folder)
    options = {"device_map": spec.device_map} if spec.device_map else {}
    with quiet_transformers():
        try:
            model, loading = kind.from_pretrained(
                spec.folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=spec.dtype,
                output_loading_info=True,
                **options,
            )
        except (OSError, RuntimeError, ValueError, safetensors.SafetensorError) as error:
            raise FGVEditError(
                f"backbone '{spec.name}': the weights in '{spec.folder}' do not fit its config.json ({one_line(error)})"
            ) from error
    _check_found(spec, loading)
    if not spec.device_map:
        model.to(spec.device)
    elif any(parameter.is_meta for parameter in model.parameters()):
        raise FGVEditError(
            f"backbone '{spec.name}': the devices here do not hold all of it in {spec.dtype}, and a part that "
            "waits in main memory or on disk cannot be edited; expected more or larger devices, or --dtype bfloat16"
        )
    return model.eval().requires_grad_(False)


def _check_found(spec: LoadSpec, loading: Mapping[str, Any]) -> None:
    """Raises `FGVEditError` for tensors that transformers did not find: it fills them with random numbers, and says so
    in a log."""
    for fault in ("missing_keys", "mismatched_keys"):
        if loading[fault]:
            raise FGVEditError(
                f"backbone '{spec.name}': the safetensors in '{spec.folder}' do not hold all that its "
                f"config.json asks for; {fault.replace('_', ' ')}: {', '.join(map(str, sorted(loading[fault])[:3]))}"
            )


def fit_tokenizer(spec: LoadSpec, tokenizer: Any, model: Any) -> None:
    """Give a tokenizer a token to pad with. Raises `FGVEditError` where it has tokens that the model does not."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise FGVEditError(
            f"backbone '{spec.name}': the tokenizer in '{spec.folder}' has {len(tokenizer)} tokens, expected at "
            f"most the language model's {rows}"
        )


def check_weights(folder: Path) -> None:
    """Raises `FGVEditError`, naming the file, for what `from_pretrained` says in many words or not at all."""
    index = folder / "model.safetensors.index.json"
    try:
        shards = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else {"model.safetensors"}
    except (ValueError, KeyError, AttributeError) as error:
        raise FGVEditError(f"'{index}': expected the JSON index of the weights' files, found another") from error
    for shard in sorted(shards):
        path = folder / shard
        if not path.is_file():
            raise FGVEditError(f"weights '{path}' are missing; expected a safetensors file")
        try:
            with safetensors.safe_open(path, framework="pt"):
                pass
        except safetensors.SafetensorError as error:
            raise FGVEditError(
                f"weights '{path}' are truncated or damaged: expected a whole safetensors file, found "
                f"{path.stat().st_size} bytes ({error})"
            ) from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No loading bars and reports on the terminal; what is wrong is raised instead."""
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
