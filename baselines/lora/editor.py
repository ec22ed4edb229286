"""LoRA (Hu et al., 2022), by `peft`: the edit is learnt in low-rank adapters beside linear maps of the layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from fgvedit.backbones.base import Backbone
from fgvedit.editors.contract import EditedModel, Editor
from fgvedit.editors.fine_tuning import Optimisation, edit_loss, edited_model, optimise
from fgvedit.editors.parameters import chosen_layers, chosen_within, linear_maps
from fgvedit.schema import Edit
from fgvedit.util.errors import FGVEditError
from fgvedit.util.options import check_positive


class LoRA(Editor):
    """The edit is learnt in adapters of low rank beside linear maps, which are taken off again; the weights stay."""

    name = "lora"

    @dataclass(frozen=True, kw_only=True)
    class Config(Optimisation):
        """`layers`: indices of language layers, negative ones from the end (null: all); `targets`: ends of names of
        linear maps within one. An adapter adds alpha / rank * B A x to what its map makes of x; A is drawn, B is 0 at
        first. `dropout`: of x, while the edit is learnt."""

        layers: list[int] | None = None
        targets: list[str]
        rank: int
        alpha: int
        dropout: float = 0.0

        def __post_init__(self) -> None:
            super().__post_init__()
            check_positive(self, "rank", "alpha")
            if not 0 <= self.dropout < 1:
                raise FGVEditError(f"option 'dropout': found {self.dropout}, expected from 0 to below 1")

    def __init__(self, backbone: Backbone, config: Config) -> None:
        super().__init__(backbone, config)
        self.peft = _peft()
        layers = range(len(backbone.language_layers)) if config.layers is None else config.layers
        self.blocks = chosen_layers(backbone, layers)
        self.targets = {
            f"{index}.{name}": target
            for index, block in self.blocks.items()
            for name, target in chosen_within(linear_maps(block), config.targets, "targets", backbone).items()
        }

    @property
    def trained_parameters(self) -> int:
        """How many the adapters have: rank * (in + out) for each target."""
        return sum(self.config.rank * (target.in_features + target.out_features) for target in self.targets.values())

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        """Put adapters beside the targets and learn the edits, all in one batch."""
        with unwrapped(self.blocks):
            if edits:
                self._learn(self._inject(), edits)
            yield edited_model(self.backbone, edits)

    @contextmanager
    def edit_sequentially(self) -> Iterator[Callable[[Edit], EditedModel]]:
        """The same adapters go on learning, each edit by an optimisation of its own."""
        made: list[Edit] = []
        adapters: list[Any] = []
        with unwrapped(self.blocks):

            def make(edit: Edit) -> EditedModel:
                if not adapters:  # drawn under the first edit's seed, as for that edit alone
                    adapters.extend(self._inject())
                self._learn(adapters, [edit])
                made.append(edit)
                return edited_model(self.backbone, made)

            yield make

    def _learn(self, adapters: Sequence[Any], edits: Sequence[Edit]) -> None:
        parameters = [p for adapter in adapters for p in adapter.parameters() if p.requires_grad]
        for adapter in adapters:
            adapter.lora_dropout.train()
        optimise(lambda: edit_loss(self.backbone, edits), parameters, self.config)
        for adapter in adapters:
            adapter.lora_dropout.eval()

    def _inject(self) -> list[Any]:
        """Put an adapter beside every target, and return peft's modules, each of which holds a target and its own."""
        settings = self.peft.LoraConfig(
            r=self.config.rank,
            lora_alpha=self.config.alpha,
            lora_dropout=self.config.dropout,
            target_modules=list(self.targets),
        )
        # Not the language model itself: on that, peft would leave its settings behind.
        blocks = nn.ModuleDict({str(index): block for index, block in self.blocks.items()})
        self.peft.inject_adapter_in_model(settings, blocks)
        adapters: list[Any] = [blocks.get_submodule(target) for target in self.targets]
        for adapter in adapters:
            adapter.lora_A.float()
            adapter.lora_B.float()
        return adapters


@contextmanager
def unwrapped(blocks: Mapping[int, nn.Module]) -> Iterator[None]:
    """Let the `with` block put other modules in the place of these layers' linear maps; afterwards the same modules are
    there as before, and their parameters are trained or not as before."""
    maps = [
        (parent, name, module)
        for block in blocks.values()
        for parent in block.modules()
        for name, module in parent.named_children()
        if isinstance(module, nn.Linear)
    ]
    requires_grad = [(p, p.requires_grad) for block in blocks.values() for p in block.parameters()]
    try:
        yield
    finally:
        for parent, name, module in maps:
            setattr(parent, name, module)
        for parameter, flag in requires_grad:
            parameter.requires_grad_(flag)


def _peft() -> Any:
    """`peft`, which only this editor needs, and which takes seconds to import."""
    try:
        import peft
    except ImportError as error:
        raise FGVEditError(
            f"editor 'lora' needs the package 'peft', which cannot be imported ({error}); install it with "
            "pip install 'fgvedit[baselines]'"
        ) from error
    return peft
