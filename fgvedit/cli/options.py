"""What the command lines share: options, and how they are read."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Sequence
from typing import Any

import yaml

from fgvedit.util.devices import DTYPES, parse_device, parse_dtype
from fgvedit.util.errors import FGVEditError, unknown


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `add_backbone_options` and --set (a list of KEY=VALUE) to a command line that opens an
    editor."""
    add_backbone_options(parser)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one option of the editor's configuration; may be given several times",
    )


def add_data_options(parser: argparse.ArgumentParser, split: str = "test") -> None:
    """Add --dataset, --split and --limit (int or None): which records; `split`: the one that is taken by default."""
    parser.add_argument(
        "--dataset",
        default="scenes",
        metavar="NAME",
        help="a configuration of the embedded data, a folder of Parquet files or a hub id; default: %(default)s",
    )
    parser.add_argument("--split", default=split, help="default: %(default)s")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N records")


def check_counts(options: argparse.Namespace, *names: str) -> None:
    """Raises `FGVEditError`, naming the option, for a number below 1; no number is fine."""
    for name in names:
        found = getattr(options, name)
        if found is not None and found < 1:
            raise FGVEditError(f"--{name} is {found}; expected 1 or more, or no --{name}")


def add_backbone_options(parser: argparse.ArgumentParser) -> None:
    """Add --backbone, how and where it is opened (see `backbone_request`), and --seed (int)."""
    parser.add_argument(
        "--backbone",
        default="tiny",
        metavar="NAME",
        help="a name, a folder, a hub id (OWNER/NAME) or a YAML file that describes one; default: %(default)s",
    )
    parser.add_argument("--revision", metavar="REV", help="of a backbone on the hub: a branch, a tag or a commit")
    parser.add_argument(
        "--input-mode",
        default="native",
        metavar="MODE",
        help="native (as the model's processor makes it) or paper (BLIP-2 and MiniGPT-4 as in the released code: "
        "364 px, no first token); default: %(default)s",
    )
    parser.add_argument(
        "--device", default="auto", help="auto (a CUDA device if there is one, else cpu), cpu, cuda, cuda:1, …"
    )
    parser.add_argument("--device-map", metavar="MAP", help="auto: spread the backbone over all devices here")
    parser.add_argument("--dtype", default="float32", help=f"{', '.join(DTYPES)} (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default: %(default)s)")


def backbone_request(options: argparse.Namespace) -> dict[str, Any]:
    """What was asked for by the options of `add_backbone_options`, as arguments of `open_backbone`.

    Raises `FGVEditError` for a device or type that is unknown or not on this machine.
    """
    if options.device_map not in (None, "auto"):
        raise unknown("device map", options.device_map, ["auto"])
    if options.device_map and os.environ.get("WORLD_SIZE", "1") != "1":
        raise FGVEditError(
            f"--device-map {options.device_map} with {os.environ['WORLD_SIZE']} processes: each takes all devices, "
            "expected one process"
        )
    dtype, device = parse_dtype(options.dtype), parse_device(options.device)
    if device.type == "cuda" and device.index is None:
        device = type(device)("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return {
        "name": options.backbone,
        "device": device,
        "dtype": dtype,
        "device_map": options.device_map,
        "input_mode": options.input_mode,
        "revision": options.revision,
    }


def backbone_arguments(options: argparse.Namespace) -> list[str]:
    """The options of `add_backbone_options` as they stand on another command line."""
    given = {
        "--backbone": options.backbone,
        "--revision": options.revision,
        "--input-mode": options.input_mode,
        "--device": options.device,
        "--device-map": options.device_map,
        "--dtype": options.dtype,
        "--seed": options.seed,
    }
    return [text for name, value in given.items() if value is not None for text in (name, str(value))]


def parse_overrides(settings: Sequence[str]) -> dict[str, Any]:
    """["lr=1e-3", "fusion=dot"] -> {"lr": 0.001, "fusion": "dot"}; values are read as YAML, and 1e-3 as a number.

    Raises `FGVEditError` for a setting that is not KEY=VALUE. Whether the editor has the option is not known here.
    """
    overrides: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not (key.strip() and equals):
            raise FGVEditError(f"--set: found '{setting}', expected KEY=VALUE such as lr=0.001")
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError) as error:  # ValueError: a date or number that is none, as 2024-13-45
            raise FGVEditError(
                f"--set {key}: found '{text}', which cannot be read as YAML; expected a value such as 0.001"
            ) from error
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                value = float(value)  # YAML 1.1 reads 1e-3, without a point, as text
        overrides[key.strip()] = value
    return overrides
