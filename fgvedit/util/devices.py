"""Devices and floating-point types by the names that commands take; torch is imported when one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fgvedit.util.errors import FGVEditError, unknown

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")


def parse_device(name: str) -> torch.device:
    """The device called `name`. Raises `FGVEditError` for one that is unknown or not on this machine."""
    kind, _, index = name.partition(":")
    if kind not in DEVICES or (index and not index.isdigit()):
        raise unknown("device", name, DEVICES)

    import torch  # not before the name is known to be one

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    available = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
        "xpu": torch.xpu.device_count(),
    }
    if kind == "auto" or int(index or 0) >= available[kind]:
        here = [f"{other}:{i}" if i else other for other, count in available.items() for i in range(count)]
        raise FGVEditError(
            f"device '{name}' is not on this machine: expected auto or one of {', '.join(here)}; the nearest is "
            f"'{kind if available.get(kind) else 'cpu'}'"
        )
    return torch.device(name)


def parse_dtype(name: str) -> torch.dtype:
    """The floating-point type called `name`. Raises `FGVEditError` for one that is not in `DTYPES`."""
    if name not in DTYPES:
        raise unknown("dtype", name, DTYPES)

    import torch

    return getattr(torch, name)
