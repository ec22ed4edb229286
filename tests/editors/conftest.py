"""What tests of MSCKE share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fgvedit.backbones.base import Backbone
from fgvedit.editors.mscke.editor import MSCKE


@pytest.fixture
def build(backbone: Backbone, random_clip: Path) -> Callable[..., MSCKE]:
    """An editor with random weights, the same ones every time."""
    config = MSCKE.Config(
        clip=str(random_clip), counterfactual="backbone", counterfactual_layers=1, steps=6, batch=2, lr=1e-3
    )

    def make(backbone: Backbone = backbone, **changes: Any) -> MSCKE:
        torch.manual_seed(0)
        return MSCKE(backbone, replace(config, **changes))

    return make
