"""Labels from a model on this machine, through the project's own backbones."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from builders.labelling.tasks import Ask, Asking, wording
from fgvedit.backbones import open_backbone
from fgvedit.backbones.base import Backbone
from fgvedit.util.devices import parse_device, parse_dtype
from fgvedit.util.errors import FGVEditError


@dataclass(frozen=True)
class Options:
    """`model`: as --backbone takes it: a name, a folder, a hub id or a YAML file; `revision`: of the hub. `tries`:
    answers asked for until one is of use. `answer_tokens`: of one answer."""

    model: str
    revision: str = ""
    device: str = "auto"
    dtype: str = "bfloat16"
    tries: int = 2
    answer_tokens: int = 300

    def __post_init__(self) -> None:
        for option in ("tries", "answer_tokens"):
            if getattr(self, option) < 1:
                raise FGVEditError(
                    f"labeller 'local': option '{option}' is {getattr(self, option)}; expected 1 or more"
                )


class Local(Asking):
    """Answers greedily, one question at a time: the same answer to the same question."""

    Config = Options
    concurrency = 1

    def __init__(self, config: Options, backbone: Backbone | None = None) -> None:
        """`backbone`: one that is open already. Raises `FGVEditError` for a model that cannot be opened."""
        self.config = config
        self.tries = config.tries
        self.backbone = backbone or open_backbone(
            config.model, parse_device(config.device), parse_dtype(config.dtype), revision=config.revision or None
        )
        self.name = f"local:{self.backbone.source}"
        self.version = f"{wording()}-{self.backbone.revision}-{config.dtype}-{config.answer_tokens}"
        self._turn = threading.Lock()

    def reply(self, ask: Ask[Any], wrong: Sequence[tuple[str, str]]) -> str:
        """What the model says. Raises `FGVEditError` where its context has too little room for an answer."""
        prompt = ask.prompt
        for said, matter in wrong:
            prompt += (
                f"\n\nYou have answered: {said}\nThat is of no use: it {matter}. Answer again, in the form asked for."
            )
        with self._turn:
            room = self.backbone.context - self.backbone.prompt_length(prompt, ask.image)
            if room < self.config.answer_tokens:
                raise FGVEditError(
                    f"labeller '{self.name}': its model takes {self.backbone.context} tokens, of which task "
                    f"'{ask.task}' leaves {max(room, 0)} for an answer; expected {self.config.answer_tokens} of them "
                    "(option 'answer_tokens'), so a model that takes more"
                )
            [said] = self.backbone.complete([prompt], [ask.image], self.config.answer_tokens)
        return said
