"""The training log: one JSON object a line, kept beside what was trained."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch

_EVERY = 50  # steps


class Log:
    """A file of lines of JSON, to which steps are added."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.started = time.monotonic()
        self._sums: dict[str, float] = {}
        self._steps = 0

    def step(self, stage: str, step: int, steps: int, **values: torch.Tensor) -> None:
        """Note one step's values; every so often, write their means."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.item()
        self._steps += 1
        if step % _EVERY == 0 or step == steps:
            means = {name: round(total / self._steps, 4) for name, total in self._sums.items()}
            self.write(stage=stage, step=step, of=steps, **means)
            self._sums, self._steps = {}, 0

    def write(self, **line: object) -> None:
        """Add a line, with the minutes since the log was opened, and print it."""
        line["minutes"] = round((time.monotonic() - self.started) / 60, 1)
        with self.file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
