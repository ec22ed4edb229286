"""The named backbones at their real size without weights: how many parameters they have, how many of them an editor
holds a second time, and what they compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import open_clip
import torch
import transformers
from packaging.version import Version
from PIL import Image
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import FlopCounterMode

import fgvedit.backbones.families.minigpt4.modeling  # noqa: F401 it is not one of transformers: this registers it there
from benchmarks.models import LLAMA_7B, OPT_2_7B, OPT_125M, QFORMER, VIT_G, clip_on_meta, language_model_on_meta
from fgvedit.backbones import HOME, NAMES
from fgvedit.backbones.base import Backbone, blocks_of
from fgvedit.backbones.families.image_text import CONNECTORS
from fgvedit.backbones.loading import quiet_transformers
from fgvedit.editors.contract import size
from fgvedit.editors.memory.clip import SHIPPED, Clip
from fgvedit.editors.memory.counterfactual import OF_BACKBONE, CounterfactualModel
from fgvedit.editors.parameters import chosen_parameters
from fgvedit.editors.registry import editor_class, editor_config
from fgvedit.util.errors import FGVEditError

PHOTO = (640, 480)
TEXT = 48  # tokens beside an image
# Not all of the versions that the package supports run their models on the meta device: 5.0 does not.
RUNS_ON_META = Version(transformers.__version__) >= Version("5.24")


@dataclass(frozen=True)
class Published:
    """`config`: of a model of `transformers`, as in its config.json; `image_processor`: a class of `transformers` and
    its options, as in preprocessor_config.json; `parameters`: of the published weights, where they are on record."""

    config: Mapping[str, Any]
    image_processor: tuple[str, Mapping[str, Any]]
    parameters: int | None = None


@dataclass(frozen=True)
class Counts:
    """Parameters of a backbone's parts, those that `ft_llm` changes and `mscke` trains, and, for `PHOTO` and `TEXT`,
    the tokens of the image and the operations of one pass; a multiplication and an addition are two."""

    name: str
    vision: int
    connector: int
    language: int
    ft_llm: int
    mscke: int
    image_tokens: int
    image_flop: int
    language_flop: int

    @property
    def total(self) -> int:
        """Parameters of the whole backbone."""
        return self.vision + self.connector + self.language


OPT_6_7B = {**OPT_2_7B, "hidden_size": 4096, "word_embed_proj_dim": 4096, "ffn_dim": 16384}
QWEN2_7B = {
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
}
BLIP_224 = ("BlipImageProcessor", {"size": {"height": 224, "width": 224}})
QWEN2_VL_PIXELS = {"patch_size": 14, "size": {"shortest_edge": 3136, "longest_edge": 12845056}}

PUBLISHED = {
    # Salesforce/blip2-opt-2.7b and -6.7b: config.json, and the defaults of Blip2Config for what it leaves out. The
    # tokenizer's 50266 tokens are padded to 50304. The number of parameters: keras-hub's preset of the same weights.
    "blip2-opt-2.7b": Published(
        {"model_type": "blip-2", "vision_config": VIT_G, "qformer_config": QFORMER, "text_config": OPT_2_7B},
        BLIP_224,
        3_744_761_856,
    ),
    "blip2-opt-6.7b": Published(
        {"model_type": "blip-2", "vision_config": VIT_G, "qformer_config": QFORMER, "text_config": OPT_6_7B},
        BLIP_224,
    ),
    # What fgvedit.backbones.families.minigpt4.convert puts together: Salesforce/blip2-flan-t5-xxl up to its Q-Former,
    # and Vision-CAIR/vicuna-7b, a Llama-7B.
    "minigpt4-7b": Published(
        {"model_type": "minigpt4", "vision_config": VIT_G, "qformer_config": QFORMER, "text_config": LLAMA_7B},
        BLIP_224,
    ),
    # Salesforce/instructblip-vicuna-7b: config.json. Llama's tokenizer and Bert's each have one token more.
    "instructblip-vicuna-7b": Published(
        {
            "model_type": "instructblip",
            "vision_config": VIT_G,
            "qformer_config": {**QFORMER, "vocab_size": 30523},
            "text_config": {**LLAMA_7B, "vocab_size": 32001},
        },
        BLIP_224,
    ),
    # llava-hf/llava-1.5-7b-hf: config.json; the number of parameters is its model card's.
    "llava-1.5-7b": Published(
        {
            "model_type": "llava",
            "vision_config": {
                "model_type": "clip_vision_model",
                "hidden_size": 1024,
                "intermediate_size": 4096,
                "num_hidden_layers": 24,
                "num_attention_heads": 16,
                "image_size": 336,
                "patch_size": 14,
                "projection_dim": 768,
            },
            "text_config": {**LLAMA_7B, "vocab_size": 32064},
        },
        ("CLIPImageProcessor", {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}),
        7_063_427_072,
    ),
    # llava-hf/llava-onevision-qwen2-7b-ov-hf: convert_llava_onevision_weights_to_hf.py of transformers (the last of
    # SigLIP's 27 layers and its head are dropped) and Qwen/Qwen2-7B-Instruct. Images are cut into at most 9 tiles.
    "llava-onevision-7b": Published(
        {
            "model_type": "llava_onevision",
            "vision_config": {
                "model_type": "siglip_vision_model",
                "hidden_size": 1152,
                "intermediate_size": 4304,
                "num_hidden_layers": 26,
                "num_attention_heads": 16,
                "image_size": 384,
                "patch_size": 14,
                "vision_use_head": False,
            },
            "text_config": {"model_type": "qwen2", **QWEN2_7B},
            "vision_aspect_ratio": "anyres_max_9",
        },
        ("LlavaOnevisionImageProcessor", {"size": {"height": 384, "width": 384}}),
    ),
    # Qwen/Qwen2-VL-7B-Instruct and the two below: config.json, preprocessor_config.json, and the number of parameters
    # that the hub shows of their safetensors.
    "qwen2-vl-7b": Published(
        {
            "model_type": "qwen2_vl",
            "vision_config": {"depth": 32, "embed_dim": 1280, "num_heads": 16, "mlp_ratio": 4, "hidden_size": 3584},
            "text_config": QWEN2_7B,
        },
        ("Qwen2VLImageProcessor", QWEN2_VL_PIXELS),
        8_291_375_616,
    ),
    "qwen2.5-vl-7b": Published(
        {
            "model_type": "qwen2_5_vl",
            "vision_config": {
                "depth": 32,
                "hidden_size": 1280,
                "intermediate_size": 3420,
                "num_heads": 16,
                "out_hidden_size": 3584,
                "window_size": 112,
                "fullatt_block_indexes": [7, 15, 23, 31],
            },
            "text_config": QWEN2_7B,
        },
        ("Qwen2VLImageProcessor", QWEN2_VL_PIXELS),
        8_292_166_656,
    ),
    "qwen3-vl-8b": Published(
        {
            "model_type": "qwen3_vl",
            "vision_config": {
                "depth": 27,
                "hidden_size": 1152,
                "intermediate_size": 4304,
                "num_heads": 16,
                "patch_size": 16,
                "out_hidden_size": 4096,
                "num_position_embeddings": 2304,
                "deepstack_visual_indexes": [8, 16, 24],
            },
            "text_config": {
                "vocab_size": 151936,
                "hidden_size": 4096,
                "intermediate_size": 12288,
                "num_hidden_layers": 36,
                "num_attention_heads": 32,
                "num_key_value_heads": 8,
                "head_dim": 128,
            },
        },
        ("Qwen2VLImageProcessor", {"patch_size": 16, "size": {"shortest_edge": 65536, "longest_edge": 16777216}}),
        8_767_123_696,
    ),
}

# The counterfactual models that configurations name.
LANGUAGE_MODELS = {"facebook/opt-125m": OPT_125M}

# Shipped ones first: they are there in files, and need no figures.
ALL = (*(name for name in NAMES if name not in PUBLISHED), *PUBLISHED)


def count(name: str) -> Counts:
    """The counts of a named backbone.

    Raises `FGVEditError` for a version of `transformers` whose models do not run without weights.
    """
    if not RUNS_ON_META:
        raise FGVEditError(
            f"transformers {transformers.__version__}: its models do not run without weights; expected 5.24 or newer"
        )
    model, image_processor = without_weights(name)
    bare = Bare(name, model)
    vision = set(bare.tower.parameters()) - set(bare.connector.parameters())
    language = {*bare.decoder.parameters(), *bare.head.parameters()}
    between = set(model.parameters()) - vision - language

    widths: list[int] = []
    bare.connector[0].register_forward_pre_hook(lambda _, inputs: widths.append(inputs[0].shape[-1]))
    photo, image_flop = counted(lambda: image_embeddings(model, image_processor))
    tokens, hidden = photo.shape
    prompt = torch.empty(1, tokens + TEXT, hidden, dtype=model.dtype, device="meta")
    _, language_flop = counted(lambda: bare.head(bare.decoder(inputs_embeds=prompt).last_hidden_state))
    # The features of an image are what the connector reads, or InstructBLIP's Q-Former, which reads the question, too.
    instructed = model.config.model_type == "instructblip"
    bare.feature_width = model.config.vision_config.hidden_size if instructed else widths[0]

    ft_llm = editor_config(editor_class("ft-llm"), name)
    changed = chosen_parameters(cast(Backbone, bare), ft_llm.layers, ft_llm.parameters).values()
    trained = trained_by_mscke(bare, editor_config(editor_class("mscke"), name))
    return Counts(
        name=name,
        vision=size(vision),
        connector=size(between),
        language=size(language),
        ft_llm=size(changed),
        mscke=size(trained),
        image_tokens=tokens,
        image_flop=image_flop,
        language_flop=language_flop,
    )


def without_weights(name: str) -> tuple[Any, Any]:
    """A model in bfloat16 on the meta device, and its image processor."""
    if shipped := NAMES.get(name, {}).get("shipped"):
        config = transformers.AutoConfig.from_pretrained(HOME / shipped)
        image_processor = transformers.AutoProcessor.from_pretrained(HOME / shipped).image_processor
    else:
        config = transformers.AutoConfig.for_model(**PUBLISHED[name].config)
        kind, options = PUBLISHED[name].image_processor
        image_processor = getattr(transformers, kind)(**options)
    with torch.device("meta"), quiet_transformers():
        model = transformers.AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    return model.eval().requires_grad_(False), image_processor


class Bare:
    """What editors ask of a backbone before they ask it anything, around a model without weights; the parts are those
    that `fgvedit.backbones` finds."""

    feed_forward = Backbone.feed_forward
    tokenizer = None
    device = torch.device("meta")
    feature_width: int

    def __init__(self, name: str, model: Any) -> None:
        self.name = name
        self.tower = model.get_encoder(modality="image")
        self.decoder = model.get_decoder().base_model
        self.head = model.get_output_embeddings()
        self.language_layers = blocks_of(self.decoder)
        if has_qformer(model):
            self.language_model = model.language_model
            self.connector = nn.ModuleList([model.language_projection])
            self.vision_parts: list[nn.Module] = []
        else:
            self.language_model = model
            named = [getattr(where, part, None) for part in CONNECTORS for where in (model.base_model, self.tower)]
            found = [part for part in named if part is not None]
            self.connector = nn.ModuleList(
                one for part in found for one in (part if isinstance(part, nn.ModuleList) else [part])
            )
            self.vision_parts = [self.tower, *self.connector]


def has_qformer(model: Any) -> bool:
    """Whether a Q-Former stands between the vision tower and the language model, as in BLIP-2's kin."""
    return hasattr(model, "qformer")


def image_embeddings(model: Any, image_processor: Any) -> torch.Tensor:
    """(tokens, hidden): what the language model reads of a photo, through the model's own image processor."""
    made = image_processor(Image.new("RGB", PHOTO), return_tensors="pt")
    pixels = made.pop("pixel_values").to("meta", model.dtype)
    if not has_qformer(model):
        features = model.get_image_features(pixels, **made, return_dict=True).pooler_output
        return features if isinstance(features, torch.Tensor) else torch.cat(list(features))
    words = torch.zeros(1, TEXT, dtype=torch.long, device="meta")
    asked = model.qformer(
        query_embeds=model.query_tokens,
        encoder_hidden_states=model.vision_model(pixels).last_hidden_state,
        **({"input_ids": words} if model.config.model_type == "instructblip" else {}),
    ).last_hidden_state
    return model.language_projection(asked[:, : model.config.num_query_tokens])[0]


def counted(forward: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, int]:
    """What a forward pass gives, and its operations."""
    with torch.no_grad(), WithoutValues(), FlopCounterMode(display=False) as counter:
        made = forward()
    return made, counter.get_total_flops()


class WithoutValues(TorchDispatchMode):
    """What has values, such as an image's rows and columns, loses them where it meets a tensor that has none."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = (args, kwargs or {})
        if any(isinstance(leaf, torch.Tensor) and leaf.is_meta for leaf in tree_leaves(given)):
            given = tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), given)
        return func(*given[0], **given[1])


def trained_by_mscke(bare: Bare, config: Any) -> list[nn.Parameter]:
    """All that `MSCKE` trains, which is what it holds beside the backbone: CLIP (the fusion `dot` has no parameters),
    the counterfactual model and its projection."""
    shipped = (SHIPPED / config.clip).is_dir()
    with torch.device("meta"):
        if config.counterfactual == OF_BACKBONE:
            layers, trained = config.counterfactual_layers, config.counterfactual_trained
            parts: list[nn.Module] = [CounterfactualModel(cast(Backbone, bare), OF_BACKBONE, layers, trained)]
        else:
            own = language_model_on_meta(LANGUAGE_MODELS[config.counterfactual])
            parts = [own, nn.Linear(bare.feature_width, own.get_input_embeddings().embedding_dim)]
    parts.append(Clip(config.clip) if shipped else clip_on_meta(open_clip.get_model_config(config.clip)))
    return [parameter for part in parts for parameter in part.parameters()]
