"""FT-L (Zhu et al., 2020, as in ROME): fine-tuning with every changed weight within a bound of what it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from baselines.ft_llm.editor import FineTuneLLM
from fgvedit.editors.contract import EditedModel
from fgvedit.editors.fine_tuning import fine_tuned, fine_tuned_sequentially
from fgvedit.schema import Edit
from fgvedit.util.options import check_positive


class FineTuneLinf(FineTuneLLM):
    """As FT-LLM, with no weight further than `bound` from what it was (FT+L of ROME, `baselines/ft/ft_main.py`)."""

    name = "ft-linf"

    @dataclass(frozen=True, kw_only=True)
    class Config(FineTuneLLM.Config):
        """`bound`: how far each weight may go from its original, in units of the weight."""

        bound: float

        def __post_init__(self) -> None:
            super().__post_init__()
            check_positive(self, "bound")

    def edit(self, edits: Sequence[Edit]) -> AbstractContextManager[EditedModel]:
        """Fine-tune within the bound on the edits, all in one batch."""
        return fine_tuned(self.backbone, self.parameters, edits, self.config, self._clamp())

    def edit_sequentially(self) -> AbstractContextManager[Callable[[Edit], EditedModel]]:
        """Each edit goes on from the weights as they are; the bound stays around the original ones."""
        return fine_tuned_sequentially(self.backbone, self.parameters, self.config, self._clamp())

    def _clamp(self) -> Callable[[list[torch.Tensor]], None]:
        """Keeps weights within the bound of what they are now."""
        limits = [limits_around(parameter.detach(), self.config.bound) for parameter in self.parameters.values()]

        def clamp(masters: list[torch.Tensor]) -> None:
            for master, (least, most) in zip(masters, limits, strict=True):
                master.clamp_(least, most)

        return clamp


def limits_around(weight: torch.Tensor, bound: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The least and the most that `weight`'s own dtype can hold within `bound` of it, float32, of its shape.

    Both can be held in that dtype, so a float32 value between them stays between them when it is rounded to it.
    """
    least, most = weight.double() - bound, weight.double() + bound
    low, high = least.to(weight.dtype), most.to(weight.dtype)
    up = torch.full_like(weight, torch.inf)
    low = torch.where(low.double() < least, torch.nextafter(low, up), low)
    high = torch.where(high.double() > most, torch.nextafter(high, -up), high)
    return low.float(), high.float()
