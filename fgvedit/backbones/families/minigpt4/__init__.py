"""MiniGPT-4 with Vicuna-7B: the model, and `convert`, which makes its folder from the parts that are released."""

from fgvedit.backbones.families.minigpt4.modeling import (
    MiniGPT4Config,
    MiniGPT4ForConditionalGeneration,
    MiniGPT4Processor,
)

__all__ = ["MiniGPT4Config", "MiniGPT4ForConditionalGeneration", "MiniGPT4Processor"]
