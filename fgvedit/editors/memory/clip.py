"""The CLIP that scope classifiers read images and texts with, opened by `open_clip`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fgvedit.schema import ImageRef
from fgvedit.util.errors import FGVEditError, one_line, unknown
from fgvedit.util.hub import fetch

SHIPPED = Path(__file__).parent / "weights"
# Those shipped that were taught, with boxes, which part of a picture a phrase names: editors that begin with one of
# them were told more than those that begin with another CLIP.
TAUGHT_WITH_BOXES = ("tiny-clip",)


class Clip(nn.Module):
    """Images and texts as aligned features; images as patches too.

    `name`: a model of `open_clip` (`ViT-B-32`, `ViT-L-14`), a folder with `open_clip_config.json`, or `tiny-clip`,
    which is shipped. `pretrained`: the weights' tag at `open_clip`, such as `openai`, which are then fetched from the
    hub, or their file; a folder has its own.
    """

    def __init__(self, name: str, pretrained: str = "") -> None:
        """Raises `FGVEditError` for a model or weights that are unknown, missing or damaged, and for a CLIP that reads
        images in another way than as patches."""
        super().__init__()
        import open_clip

        folder = SHIPPED / name if (SHIPPED / name).is_dir() else Path(name)
        self.taught_with_boxes = folder.resolve() in [(SHIPPED / taught).resolve() for taught in TAUGHT_WITH_BOXES]
        if folder.is_dir():
            if not any(folder.glob("open_clip_*.safetensors")):  # without, open_clip would go on with random weights
                raise FGVEditError(f"scope classifier: '{folder / 'open_clip_model.safetensors'}' is missing")
            name, pretrained = f"local-dir:{folder}", ""
        elif name not in open_clip.list_models():
            raise FGVEditError(
                f"scope classifier: unknown CLIP '{name}'; expected tiny-clip, a folder with open_clip_config.json or "
                f"a model of open_clip such as ViT-B-32"
            )
        self.model: Any
        self.preprocess: Any
        self.tokenizer: Any
        self.model, self.preprocess, self.tokenizer = _opened(name, pretrained)
        if not isinstance(self.model.visual, open_clip.transformer.VisionTransformer):
            raise FGVEditError(
                f"scope classifier: CLIP '{name.removeprefix('local-dir:')}' has a {type(self.model.visual).__name__} "
                "for images, expected open_clip's VisionTransformer, such as that of ViT-B-32"
            )
        if not (folder.is_dir() or pretrained):  # open_clip would go on with random weights here too
            raise unknown(f"weights of CLIP '{name}'", pretrained, open_clip.list_pretrained_tags_by_model(name))

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return next(self.parameters()).device

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of an image's patches."""
        rows, columns = self.model.visual.grid_size
        return rows, columns

    @property
    def fit(self) -> str:
        """How an image is made a square, as `open_clip` calls it: "squash", "shortest" (its middle is read) or
        "longest" (with a border)."""
        return self.model.visual.preprocess_cfg["resize_mode"]

    def pixels(self, images: Sequence[ImageRef]) -> torch.Tensor:
        """(n, 3, height, width), as the image tower takes them, on the CPU."""
        return torch.stack([self.preprocess(image.open()) for image in images])

    def see(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Aligned features of images (n, 3, height, width): pooled (n, d) and one for each patch (n, patches, d)."""
        return patch_features(self.model.visual, pixels.to(self.device))

    def read(self, texts: Sequence[str]) -> torch.Tensor:
        """Aligned features of texts: (n, d)."""
        return self.model.encode_text(self.tokenizer(list(texts)).to(self.device))


def patch_features(visual: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What `open_clip`'s VisionTransformer gives for images (n, 3, height, width), in the space of the texts: pooled
    (n, d), and for each patch (n, patches, d)."""
    out = visual.forward_intermediates(pixels, indices=1, normalize_intermediates=True, output_fmt="NLC")
    patches = out["image_intermediates"][-1]
    return out["image_features"], patches if visual.proj is None else patches @ visual.proj


def _opened(name: str, pretrained: str) -> tuple[Any, Any, Any]:
    """A model of `open_clip`, what makes pixels of an image, and its tokenizer."""
    import open_clip

    tag = open_clip.get_pretrained_cfg(name, pretrained)
    if tag:
        fetch(tag["hf_hub"].rpartition("/")[0], "CLIP", patterns=[open_clip.constants.HF_SAFE_WEIGHTS_NAME])
    try:
        with _quiet_logging():
            model, _, preprocess = open_clip.create_model_and_transforms(
                name,
                pretrained=pretrained or None,
                force_quick_gelu=bool(tag.get("quick_gelu")),  # open_clip itself only warns
            )
            return model, preprocess, open_clip.get_tokenizer(name)
    except Exception as error:  # the hub's client, safetensors and torch raise many types
        raise FGVEditError(
            f"scope classifier: CLIP '{name.removeprefix('local-dir:')}' cannot be opened ({one_line(error)})"
        ) from error


@contextmanager
def _quiet_logging() -> Iterator[None]:
    """Errors alone: open_clip reports every step of loading on the root logger."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.root.setLevel(level)
