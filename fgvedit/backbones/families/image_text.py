"""Any model of `AutoModelForImageTextToText`, through its own processor, chat template, forward pass and generation."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import transformers
from PIL import Image
from torch import nn

from fgvedit.backbones.base import IMAGE, Backbone, Inputs, blocks_of, left_pad
from fgvedit.backbones.families.image_features import EncodedImage, flat, merged, of_the_whole
from fgvedit.backbones.greedy import replaced
from fgvedit.backbones.loading import LoadSpec, fit_tokenizer, open_model, open_processor
from fgvedit.schema import ImageRef
from fgvedit.util.errors import FGVEditError, one_line

# LLaVA-1.5's words for a short answer, which models after it were trained and measured with.
QUESTION = "{question}\nAnswer the question using a single word or phrase."
CONNECTORS = ("multi_modal_projector", "connector", "projector", "aligner", "merger", "deepstack_merger_list")
WORD = "word"  # a prompt that shows how prompts are wrapped
SAMPLE = Image.radial_gradient("L").resize((112, 84)).convert("RGB")


class ImageTextBackbone(Backbone):
    """A folder that a model of `AutoModelForImageTextToText` and its `AutoProcessor` were saved in.

    What the vision tower makes of an image, up to the connector, is cached. Everything behind it (the connector, tiles
    and their order, positions, what goes into deeper layers) is the model's own code each time: its
    `get_image_features` runs again with the tower's blocks left out and the connector given what it read before, and
    its forward pass takes the result as its own.
    """

    def __init__(self, spec: LoadSpec) -> None:
        """Raises `FGVEditError` for a file that is missing or damaged, for a part that is not where it is said to be,
        or that the architecture does not show, and for an architecture whose images come in by another way."""
        super().__init__(spec)
        if self.input_mode != "native":
            raise FGVEditError(
                f"backbone '{self.name}': its architecture has no input mode '{self.input_mode}'; expected 'native'"
            )
        self.processor = open_processor(spec, transformers.AutoProcessor)
        self.model = open_model(spec, transformers.AutoModelForImageTextToText)
        self.language_model = self.model
        self.tokenizer = self.processor.tokenizer
        fit_tokenizer(spec, self.tokenizer, self.model)
        self.owner = self._owner()

        parts = spec.module_paths
        self.tower = self._tower(parts.vision)
        self.connectors = self._connectors(parts.connector)
        self.blocks = self._part("layers", parts.layers) if parts.layers else blocks_of(self.model.get_decoder())
        self.chat = bool(getattr(self.processor, "chat_template", None))
        self.question = parts.question or (QUESTION if self.chat else "Question: {question} Short answer:")
        self.skipped: list[nn.Module] = []  # of the tower, where features are there already
        try:
            self.marker = self._marker()
            self.answer_lead = self._answer_lead()
            self.sample = self._run_vision_tower(SAMPLE)
            self._skip_blocks()
            self._check_order()
        except FGVEditError:
            raise
        except Exception as error:  # of code that is the architecture's own
            raise self._unlike(f"it fails on a sample ({one_line(error)})") from error

    # Where things are

    def _unlike(self, found: str) -> FGVEditError:
        return FGVEditError(
            f"backbone '{self.name}': {type(self.model).__name__} is not supported, since {found}; expected a language "
            "model that reads an image's features as tokens among the text's, such as LLaVA or Qwen-VL"
        )

    def _owner(self) -> Any:
        """The module whose forward pass asks itself for image features."""
        for module in (self.model.base_model, self.model):
            asks = hasattr(module, "get_image_features") and hasattr(module.config, "image_token_id")
            if asks and not module.config.is_encoder_decoder:
                return module
        raise self._unlike("its images do not stand among the tokens that it continues")

    def _part(self, option: str, path: str) -> Any:
        try:
            return self.model.get_submodule(path)
        except AttributeError as error:
            within = ", ".join(name for name, _ in self.model.named_modules() if name and name.count(".") < 2)
            raise FGVEditError(
                f"backbone '{self.name}': there is no '{path}' (option '{option}'); expected the dotted path of a "
                f"module, such as one within {within}"
            ) from error

    def _tower(self, path: str | None) -> nn.Module:
        tower = self._part("vision", path) if path else self.model.get_encoder(modality="image")
        if tower in (None, self.model, self.owner):
            raise FGVEditError(f"backbone '{self.name}': found no vision tower; expected its path (option 'vision')")
        return tower

    def _connectors(self, paths: Sequence[str] | None) -> list[nn.Module]:
        """The connector's modules, each of which is called on its own."""
        if paths:
            found = [self._part("connector", path) for path in paths]
        else:
            found = [getattr(where, name, None) for name in CONNECTORS for where in (self.owner, self.tower)]
            found = [part for part in found if isinstance(part, nn.Module)]
        if not found:
            raise FGVEditError(
                f"backbone '{self.name}': found no connector; expected one called {', '.join(CONNECTORS)}, or its path "
                "(option 'connector')"
            )
        return [one for part in found for one in (part if isinstance(part, nn.ModuleList) else [part])]

    @property
    def connector(self) -> nn.Module:
        """The connector's modules as a list; each is called on its own."""
        return nn.ModuleList(self.connectors)

    @property
    def language_layers(self) -> nn.ModuleList:
        """The longest list of modules of the decoder, or the one that the entry names."""
        return self.blocks

    @property
    def vision_parts(self) -> list[nn.Module]:
        """The vision tower and the connector, which stand within the whole model."""
        return [self.tower, *self.connectors]

    @property
    def feature_width(self) -> int:
        """The width of what the connector reads."""
        return self.sample.features.shape[-1]

    # Prompts

    def prompt(self, question: str) -> str:
        """A question in the words of the backbone's entry, or in LLaVA's."""
        return self.question.format(question=question)

    def prompt_ids(self, prompt: str, with_image: bool) -> list[int]:
        """The tokens of a user's turn, up to where the model's begins, with `IMAGE` for its image's placeholder."""
        ids = self._read(self._turn(prompt, with_image))
        if not with_image:
            return ids
        start = find(self.marker, ids)
        return [*ids[:start], IMAGE, *ids[start + len(self.marker) :]]

    def _turn(self, prompt: str, with_image: bool) -> str:
        """A prompt as the user's turn of a conversation, up to where the model's begins."""
        if not self.chat:
            return prompt
        content = [*([{"type": "image"}] if with_image else []), {"type": "text", "text": prompt}]
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )

    def _read(self, text: str) -> list[int]:
        return self.tokenizer(text, **self._special_tokens(text))["input_ids"]

    def _special_tokens(self, text: str) -> dict[str, bool]:
        """What the tokenizer is to be told where a template has put the first token there already."""
        start = self.tokenizer.bos_token
        return {"add_special_tokens": False} if start and text.startswith(start) else {}

    def _process(self, image: Image.Image) -> dict[str, torch.Tensor]:
        text = self._turn(WORD, with_image=True)
        return dict(self.processor(text=[text], images=[image], return_tensors="pt", **self._special_tokens(text)))

    def _marker(self) -> list[int]:
        """The tokens that the processor puts an image's in place of; none where it puts them first by itself."""
        ids, made = self._read(self._turn(WORD, with_image=True)), self._process(SAMPLE)["input_ids"][0].tolist()
        placeholder = self.model.config.image_token_id
        start = end = 0
        while start < len(ids) and ids[start] == made[start] != placeholder:
            start += 1
        while end < len(ids) - start and ids[-1 - end] == made[-1 - end] != placeholder:
            end += 1
        return ids[start : len(ids) - end]

    def _answer_lead(self) -> str:
        turn = self._turn(WORD, with_image=True)
        end = turn[turn.rindex(WORD) + len(WORD) :] or ":"
        return end if end[-1].isspace() else f"{end} "

    # Images

    def encode_images(self, images: Sequence[ImageRef]) -> list[EncodedImage]:
        """What the vision tower makes of each image, one at a time, without gradient."""
        return [self._run_vision_tower(image.open()) for image in images]

    @torch.no_grad()
    def _run_vision_tower(self, image: Image.Image) -> EncodedImage:
        """An image through the processor and the vision tower."""
        made = self._process(image)
        ids, shape = made.pop("input_ids")[0].tolist(), made.pop("attention_mask").shape
        text = self._read(self._turn(WORD, with_image=True))
        start = find(self.marker, text)
        stop = len(ids) - (len(text) - start - len(self.marker))
        beside = {name: value[0, start:stop].to(self.device) for name, value in made.items() if value.shape == shape}
        pixels = {name: value for name, value in made.items() if value.is_floating_point()}
        about = {name: made[name].to(self.device) for name in made if name not in beside and name not in pixels}
        read: list[torch.Tensor] = []

        def record(_: nn.Module, inputs: tuple) -> None:
            read.append(inputs[0].detach())  # no copy of another layout, for which sums are rounded in another way

        with ExitStack() as hooks:
            for module in self.connectors:
                hooks.callback(module.register_forward_pre_hook(record).remove)
            weight = next(self.tower.parameters())
            shown = {name: value.to(weight.device, weight.dtype) for name, value in pixels.items()}
            self._image_features({**shown, **about})
        if not read:
            raise self._bypassed()
        shapes = {name: value.shape for name, value in pixels.items()}
        features = of_the_whole(read[0], image, next(iter(pixels.values())))
        return EncodedImage(read, features, ids[start:stop], beside, about, shapes)

    def _image_features(self, given: Mapping[str, torch.Tensor]) -> Any:
        """The model's own `get_image_features`."""
        taken = inspect.signature(self.owner.get_image_features).parameters
        known = {name: value for name, value in given.items() if name in taken}
        return self.owner.get_image_features(**known, return_dict=True)

    def _connected(self, encoded: EncodedImage) -> Any:
        """What `get_image_features` makes of an encoded image, with gradient into the connector."""
        weight = next(self.tower.parameters())
        # Of ones, since some models leave out tiles that are all zeros.
        blank = {
            name: torch.ones(shape, device=weight.device, dtype=weight.dtype) for name, shape in encoded.pixels.items()
        }
        rest = iter(encoded.read)
        with ExitStack() as stack:
            for module in self.connectors:
                hook = module.register_forward_pre_hook(lambda _, inputs: (next(rest), *inputs[1:]))
                stack.callback(hook.remove)
            for block in self.skipped:
                stack.enter_context(replaced(block, "forward", unchanged))
            return self._image_features({**blank, **encoded.about})

    @torch.no_grad()
    def _skip_blocks(self) -> None:
        """Leave the tower's blocks out from now on, where that changes nothing of what comes out of the connector.

        Raises `FGVEditError` where more than what the connector reads gets to the language model.
        """
        made = self._process(SAMPLE)
        weight = next(self.tower.parameters())
        given = {n: v.to(weight.device, weight.dtype if v.is_floating_point() else v.dtype) for n, v in made.items()}
        expected = flat(self._image_features(given))
        for skipped in (list(blocks_of(self.tower)), []):
            self.skipped = skipped
            try:
                found = flat(self._connected(self.sample))
            except Exception:  # blocks that change the shape of what they pass on fail in ways of their own
                continue
            if found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-3, atol=1e-3):
                return
        raise self._bypassed()

    def _bypassed(self) -> FGVEditError:
        return FGVEditError(
            f"backbone '{self.name}': its images reach the language model past the connector that was found; expected "
            "the paths of all modules that read the vision tower's states (option 'connector')"
        )

    @torch.no_grad()
    def _check_order(self) -> None:
        """Raises `FGVEditError` where a token reads those behind it, as an answer's would when it is forced."""
        if not self.sample.beside:
            return  # only what goes with each token can tell a model to
        made = self._process(SAMPLE)
        given = {n: v.to(self.device, self.dtype if v.is_floating_point() else v.dtype) for n, v in made.items()}
        before = self.model(**given).logits[0, -2].float()
        given["input_ids"][0, -1] = self.tokenizer.eos_token_id
        after = self.model(**given).logits[0, -2].float()
        if (after - before).norm() > 0.05 * before.norm():  # far more than rounding
            raise self._unlike("tokens of a prompt read those behind them")

    def features(self, images: Sequence[ImageRef]) -> list[torch.Tensor]:
        """What the connector reads of each image as a whole, (tokens, feature width); of its tiles nothing."""
        return [encoded.features for encoded in self.encoded(images)]

    def image_length(self, image: ImageRef) -> int:
        """How many tokens the processor puts in for an image, tiles and line breaks included."""
        return len(self.encoded([image])[0].tokens)

    # Asking the model

    def inputs(
        self,
        prompts: Sequence[str],
        images: Sequence[ImageRef | None],
        answer_ids: Sequence[Sequence[int]] | None = None,
    ) -> Inputs:
        """What the model's own forward pass is called with, padded on the left, with gradient into the connector.

        "image_features" stands for what the model would ask itself for (see `logits`).
        Raises `FGVEditError` for more tokens than the model takes.
        """
        encoded = {image.key: found for image in images if image for found in self.encoded([image])}
        inputs = self._token_inputs(self.rows(prompts, images, answer_ids), images, encoded)
        asked = [encoded[image.key] for image in images if image]
        if asked:
            connected = {key: self._connected(one) for key, one in encoded.items()}
            inputs["image_features"] = merged([connected[image.key] for image in images if image])
            # There are images: their features are given.
            inputs["pixel_values"] = inputs["attention_mask"].new_zeros(len(asked), 1)
            for name in asked[0].about:
                if not name.startswith("pixel"):
                    inputs[name] = torch.cat([one.about[name] for one in asked])
        if not asked or not hasattr(self.owner, "get_rope_index"):
            # As generation counts them; models whose images have rows and columns of positions count by themselves.
            mask = inputs["attention_mask"]
            inputs["position_ids"] = mask.cumsum(dim=1) * mask - 1
        return inputs

    def _token_inputs(
        self, rows: Sequence[list[int]], images: Sequence[ImageRef | None], encoded: Mapping[str, EncodedImage]
    ) -> Inputs:
        """Rows of tokens with those of each row's image in them, padded on the left, and what goes with each token.

        `encoded`: key of an image -> what the cache holds of it. Raises `FGVEditError` for a row that is too long.
        """
        filled: list[torch.Tensor] = []
        beside: dict[str, list[torch.Tensor]] = {name: [] for one in encoded.values() for name in one.beside}
        for row, image in zip(rows, images, strict=True):
            own = encoded[image.key] if image else None
            start = row.index(IMAGE) if own else 0
            tokens = [*row[:start], *own.tokens, *row[start + 1 :]] if own else row
            filled.append(torch.tensor(tokens, dtype=torch.long, device=self.device))
            for name, values in beside.items():
                values.append(torch.zeros_like(filled[-1]))
                if own:
                    values[-1][start : start + len(own.tokens)] = own.beside[name]
        self.check_length(max(map(len, filled)))
        ids, mask = left_pad(filled)
        inputs: Inputs = {"input_ids": ids.masked_fill(mask == 0, self.tokenizer.pad_token_id), "attention_mask": mask}
        return inputs | {name: left_pad(values)[0] for name, values in beside.items()}

    def logits(self, inputs: Inputs) -> torch.Tensor:
        """(n, length, vocabulary), by the model's own forward pass over given image features."""
        with self._given(inputs) as rest:
            return self.model(**rest).logits

    def continuations(self, inputs: Inputs, max_new_tokens: int) -> torch.Tensor:
        """(n, at most `max_new_tokens`): greedy, as `PromptedModel` has it, over given image features."""
        with self._given(inputs) as rest:
            tokens = super().continuations(rest, max_new_tokens)
        return tokens[:, inputs["input_ids"].shape[1] :]

    @contextmanager
    def _given(self, inputs: Inputs) -> Iterator[Inputs]:
        """Let the model take the image features that are given as those that it asks itself for."""
        rest = dict(inputs)
        features = rest.pop("image_features", None)
        own = self.owner.get_image_features

        @functools.wraps(own)
        def given(*_: Any, **__: Any) -> Any:
            return features

        with replaced(self.owner, "get_image_features", given if features is not None else own):
            yield rest


def find(part: Sequence[int], whole: Sequence[int]) -> int:
    """Where `part` begins within `whole`, the first time."""
    return next(start for start in range(len(whole)) if list(whole[start : start + len(part)]) == list(part))


def unchanged(hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    """The forward pass of a block that is left out."""
    return hidden_states
