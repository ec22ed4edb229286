"""MiniGPT-4 behind the contract of a backbone."""

from __future__ import annotations

from fgvedit.backbones.base import IMAGE
from fgvedit.backbones.families.blip2 import Blip2Backbone
from fgvedit.backbones.families.minigpt4.modeling import (
    END,
    MiniGPT4ForConditionalGeneration,
    MiniGPT4Processor,
    prompt_ids,
)
from fgvedit.backbones.greedy import Ends


class MiniGPT4Backbone(Blip2Backbone):
    """A folder that `fgvedit.backbones.families.minigpt4.convert` made.

    As `Blip2Backbone`, with the question in MiniGPT-4's wrapping: a conversation of one turn ("native"), or what the
    released FGVEdit code puts around it ("paper"). An answer ends at "###", too.
    """

    model_class = MiniGPT4ForConditionalGeneration
    processor_class = MiniGPT4Processor

    def prompt_ids(self, prompt: str, with_image: bool) -> list[int]:
        """The tokens of a question in the input mode's wrapping, with `IMAGE` where its image stands."""
        return prompt_ids(self.tokenizer, prompt, self.input_mode, [IMAGE] if with_image else [])

    @property
    def ends(self) -> Ends:
        """What ends an answer: "###", too."""
        return super().ends | Ends(frozenset(), frozenset({END}))
