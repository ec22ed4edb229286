"""Files of tensors, in safetensors: whole or absent, and read with what is wrong said in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from fgvedit.util.errors import FGVEditError


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], **metadata: str) -> None:
    """Write tensors, by name, and texts beside them; the file is whole, or what was there before stays.

    Raises `OSError`, naming the file, where it cannot be written.
    """
    partial = path.with_name(f".{path.name}.tmp")
    try:
        contiguous = {name: value.detach().contiguous().cpu() for name, value in tensors.items()}
        safetensors.torch.save_file(contiguous, partial, metadata=metadata or None)
        partial.replace(path)
    except safetensors.SafetensorError as error:
        raise OSError(None, f"cannot be written ({error})", str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors, on the CPU, and metadata, both by name.

    Raises `FGVEditError`, naming the file, where it is missing or not a whole safetensors file.
    """
    if not path.is_file():
        raise FGVEditError(f"checkpoint '{path}' is missing; expected a safetensors file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise FGVEditError(
            f"checkpoint '{path}' is truncated or damaged: expected a whole safetensors file, found "
            f"{path.stat().st_size} bytes ({error})"
        ) from error
