"""Put MiniGPT-4 together from what is released of it: python -m fgvedit.backbones.families.minigpt4.convert --help"""

from __future__ import annotations

import functools
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
import transformers
from huggingface_hub import split_torch_state_dict_into_shards
from tqdm import tqdm

from fgvedit.backbones.families.minigpt4.modeling import (
    MiniGPT4Config,
    MiniGPT4ForConditionalGeneration,
    MiniGPT4Processor,
)
from fgvedit.backbones.loading import quiet_transformers
from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.devices import DTYPES, parse_dtype
from fgvedit.util.errors import FGVEditError, command_line, one_line
from fgvedit.util.files import check_out, read_json, whole_folder, write_json
from fgvedit.util.tensors import write_tensors

EPILOG = """\
what is needed, as it is released:
  --blip2       Salesforce/blip2-flan-t5-xxl from the Hugging Face hub. Its T5 is not read: of the weights' files only
                those are needed that the index names for vision_model, qformer and query_tokens
  --vicuna      Vicuna-7B, the version that the projection was trained with: v0, Vision-CAIR/vicuna-7b on the hub
  --projection  pretrained_minigpt4_7b.pth, which the README of github.com/Vision-CAIR/MiniGPT-4 links to

example:
  python -m fgvedit.backbones.families.minigpt4.convert --blip2 blip2-flan-t5-xxl --vicuna vicuna-7b \\
      --projection pretrained_minigpt4_7b.pth --out models/minigpt4-7b
  python -m fgvedit.run --backbone models/minigpt4-7b --editor mscke
      the folder's name is the backbone's: for minigpt4-7b the editors have the values of the released code
"""

# Of BLIP-2 the first make the model; the others are its own language model's, of which nothing is read.
OF_BLIP2 = ("vision_model.", "qformer.", "query_tokens")
BLIP2_LANGUAGE = ("language_model.", "language_projection.")
SINGLE_PRECISION = ("qformer.", "query_tokens")  # as transformers has them in a model of half precision
# Buffers in checkpoints of 2023, MiniGPT-4's own among them. The model computes them, so that they are left out.
COMPUTED = (".rotary_emb.inv_freq", ".position_ids")
# What Llama's tokenizer calls its first three tokens. Some of Vicuna's files leave them blank, and config.json may give
# other numbers.
SPECIAL = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}


@dataclass(frozen=True)
class Stored:
    """A tensor in a file, not read yet."""

    file: Path
    shape: tuple[int, ...]
    read: Callable[[], torch.Tensor]


def parser() -> ArgumentParser:
    """The command's options."""
    parser = ArgumentParser(
        prog="python -m fgvedit.backbones.families.minigpt4.convert",
        description="Put the folder of MiniGPT-4 together from BLIP-2, Vicuna and the released projection.",
        epilog=EPILOG,
    )
    parser.add_argument("--blip2", type=Path, required=True, metavar="FOLDER", help="BLIP-2 with Flan-T5-XXL")
    parser.add_argument("--vicuna", type=Path, required=True, metavar="FOLDER", help="Vicuna-7B")
    parser.add_argument("--projection", type=Path, required=True, metavar="FILE", help="pretrained_minigpt4_7b.pth")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new; 16 GB in float16")
    parser.add_argument(
        "--dtype",
        default="float16",
        help=f"of the weights, {', '.join(DTYPES)} (default: %(default)s); the Q-Former's stay float32",
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    """The command; `argv`: its arguments, those of the process where it is None."""
    args = parser().parse_args(argv)
    convert(args.blip2, args.vicuna, args.projection, args.out, parse_dtype(args.dtype))
    print(f"saved in {args.out}; run it with python -m fgvedit.run --backbone {args.out} --editor mscke")


def convert(blip2: Path, vicuna: Path, projection: Path, out: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write the folder `out`, whole or not at all; of the weights one file at a time is in memory.

    `dtype`: of the weights, but for the Q-Former's.
    Raises `FGVEditError` where a part is not what it should be, down to the name and shape of each tensor, and where
    `out` is there already, unless it is an empty folder.
    """
    check_out(out)
    if not projection.is_file():
        raise FGVEditError(f"--projection '{projection}': there is no such file; expected pretrained_minigpt4_7b.pth")
    unpickled.cache_clear()  # the files may have changed
    vision_config = read_config("--blip2", blip2, transformers.Blip2Config)
    if vision_config.text_config.model_type != "t5":
        warnings.warn(
            f"--blip2 '{blip2}': its Q-Former was trained with a language model of type "
            f"'{vision_config.text_config.model_type}'; the released projection belongs to that of "
            "Salesforce/blip2-flan-t5-xxl, and reads any other's words as noise",
            stacklevel=2,
        )
    language_config = read_config("--vicuna", vicuna, transformers.LlamaConfig)
    processor = read_processor(blip2, vicuna, vision_config.num_query_tokens, language_config.vocab_size)
    config = merged(vision_config, language_config, processor.tokenizer, dtype)
    tensors = tensors_of(config, blip2, vicuna, projection)
    dtypes = {name: torch.float32 if name.startswith(SINGLE_PRECISION) else dtype for name in tensors}
    with whole_folder(out) as partial:
        write_weights(partial, tensors, dtypes)
        config.save_pretrained(partial)
        processor.save_pretrained(partial)


# Configuration and tokenizer


def read_config(option: str, folder: Path, kind: Any) -> Any:
    """The configuration in a folder. Raises `FGVEditError` where it is none, or not one of `kind`."""
    if not folder.is_dir():
        raise FGVEditError(f"{option} '{folder}': there is no such folder; expected one as downloaded from the hub")
    with quiet_transformers():
        try:
            config = transformers.AutoConfig.from_pretrained(folder)
        except Exception as error:  # transformers raises many types
            raise FGVEditError(
                f"{option} '{folder}': its config.json cannot be read ({one_line(error)}); expected one of model_type "
                f"'{kind.model_type}'"
            ) from error
    if type(config) is not kind:
        raise FGVEditError(
            f"{option} '{folder}': its config.json is of model_type '{config.model_type}'; expected '{kind.model_type}'"
        )
    return config


def read_processor(blip2: Path, vicuna: Path, num_query_tokens: int, vocab_size: int) -> MiniGPT4Processor:
    """BLIP-2's image processor and Vicuna's tokenizer, which pads with `</s>`: `<unk>` is for images."""
    with quiet_transformers():
        try:
            images = transformers.AutoImageProcessor.from_pretrained(blip2)
        except Exception as error:  # transformers raises many types
            raise FGVEditError(
                f"--blip2 '{blip2}': its image processor cannot be read; expected preprocessor_config.json"
            ) from error
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                vicuna, **SPECIAL, pad_token=SPECIAL["eos_token"], padding_side="left", add_bos_token=True
            )
        except Exception as error:  # tokenizers raise whatever their parsers do
            raise FGVEditError(
                f"--vicuna '{vicuna}': its tokenizer cannot be read; expected tokenizer.json, or tokenizer.model and "
                "the packages sentencepiece and protobuf, which read it"
            ) from error
    numbers = tokenizer.convert_tokens_to_ids(list(SPECIAL.values()))
    if numbers != [0, 1, 2] or len(tokenizer) > vocab_size:
        raise FGVEditError(
            f"--vicuna '{vicuna}': its tokenizer has {len(tokenizer)} tokens, with {', '.join(SPECIAL.values())} at "
            f"{', '.join(map(str, numbers))}; expected Llama's, with at most the {vocab_size} of config.json and these "
            "at 0, 1, 2"
        )
    return MiniGPT4Processor(images, tokenizer, num_query_tokens)


def merged(
    vision: transformers.Blip2Config, language: transformers.LlamaConfig, tokenizer: Any, dtype: torch.dtype
) -> MiniGPT4Config:
    """The whole model's configuration, of BLIP-2's and Vicuna's, with the tokenizer's special tokens."""
    language.update({name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")})
    language.name_or_path = ""  # the same parts give the same files, wherever they were
    for config in (vision.vision_config, vision.qformer_config, language):
        config.dtype = None  # the whole has one
    return MiniGPT4Config(
        vision_config=vision.vision_config,
        qformer_config=vision.qformer_config,
        text_config=language,
        num_query_tokens=vision.num_query_tokens,
        image_token_index=tokenizer.unk_token_id,
        architectures=[MiniGPT4ForConditionalGeneration.__name__],
        dtype=dtype,
    )


# Weights


def tensors_of(config: MiniGPT4Config, blip2: Path, vicuna: Path, projection: Path) -> dict[str, Stored]:
    """The tensors of the model that `config` describes, in its order, each in the file of the part that it is from.

    Raises `FGVEditError` for one that is missing, left over or of another shape.
    """
    with torch.device("meta"):
        model = MiniGPT4ForConditionalGeneration(config).state_dict()
    own = {name: name for name in model if name.startswith(OF_BLIP2)}
    spoken = {name: name.removeprefix("language_model.") for name in model if name.startswith("language_model.")}
    linear = {f"language_projection.{name}": f"llama_proj.{name}" for name in ("weight", "bias")}
    found = {
        **matched("--blip2", blip2, stored_in("--blip2", blip2, without=BLIP2_LANGUAGE), own, model),
        **matched("--vicuna", vicuna, stored_in("--vicuna", vicuna), spoken, model),
        **matched("--projection", projection, stored(projection, within="model"), linear, model),
    }
    return {name: found[name] for name in model}


def stored_in(option: str, folder: Path, without: tuple[str, ...] = ()) -> dict[str, Stored]:
    """The tensors, by name, in the files of a folder that `save_pretrained` wrote, but for those whose names begin with
    one of `without`; of files that hold no other nothing is asked.

    Raises `FGVEditError`, naming the file, for one that is missing or damaged.
    """
    for whole in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{whole}.index.json"
        if index.is_file():
            files = {folder / file for name, file in _weight_map(index).items() if not name.startswith(without)}
            break
        if (folder / whole).is_file():
            files = {folder / whole}
            break
    else:
        raise FGVEditError(
            f"{option} '{folder}' has no weights; expected model.safetensors or pytorch_model.bin, or the index of "
            "several such files"
        )
    for file in sorted(files):
        if not file.is_file():
            raise FGVEditError(f"{option}: weights '{file}' are missing; expected the files that '{index}' names")
    found = {name: tensor for file in sorted(files) for name, tensor in stored(file).items()}
    return {name: tensor for name, tensor in found.items() if not name.startswith(without)}


def _weight_map(index: Path) -> dict[str, str]:
    """Tensor -> the name of its file, of the index of several files."""
    try:
        return dict(read_json(index)["weight_map"].items())
    except (KeyError, TypeError, AttributeError) as error:
        raise FGVEditError(f"'{index}': expected the JSON index of the weights' files, found another") from error


def stored(file: Path, within: str | None = None) -> dict[str, Stored]:
    """All tensors of a file, by name; `within`: see `unpickled`."""
    if file.suffix != ".safetensors":
        return {
            name: Stored(file, tuple(value.shape), lambda name=name: unpickled(file, within)[name])  # type: ignore[misc]
            for name, value in unpickled(file, within).items()
        }

    def read(name: str) -> torch.Tensor:
        with safetensors.safe_open(file, framework="pt") as opened:
            return opened.get_tensor(name)

    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise FGVEditError(
            f"weights '{file}' are truncated or damaged: expected a whole safetensors file, found "
            f"{file.stat().st_size} bytes ({error})"
        ) from error
    return {name: Stored(file, shape, functools.partial(read, name)) for name, shape in shapes.items()}


@functools.lru_cache(maxsize=1)
def unpickled(file: Path, within: str | None = None) -> Mapping[str, torch.Tensor]:
    """The tensors, by name, that `torch.save` wrote, alone or with other things as the entry `within`.

    Of a file in its newer format they stay on disk until they are used. Raises `FGVEditError` for one that holds more
    than tensors and plain values: reading it would run what is in it.
    """
    expected = "a dictionary of tensors" + (f" in the entry '{within}'" if within else "")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except OSError:
        raise
    except Exception as error:  # torch raises whatever the bytes lead to
        raise FGVEditError(
            f"'{file}' is damaged or holds more than tensors and plain values, and is not read; expected {expected}, "
            "as torch.save writes it"
        ) from error
    if within and isinstance(content, dict):
        content = content.get(within)
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise FGVEditError(f"'{file}' holds something else; expected {expected}, as torch.save writes it")
    return content


def matched(
    option: str,
    source: Path,
    found: Mapping[str, Stored],
    names: Mapping[str, str],
    model: Mapping[str, torch.Tensor],
) -> dict[str, Stored]:
    """What is found, by the model's names. `names`: the model's name -> the source's, for all that it is to hold.

    Raises `FGVEditError` for a tensor that is missing, left over (`COMPUTED` may be) or of another shape.
    """
    asked = f"expected the {len(names)} that the configuration asks for"
    if missing := names.values() - found.keys():
        raise FGVEditError(f"{option} '{source}' lacks {some(missing)}; {asked}")
    if left := {name for name in found.keys() - names.values() if not name.endswith(COMPUTED)}:
        file = found[min(left)].file
        raise FGVEditError(f"{option}: '{file}' holds {some(left)}, for which the model has no place; {asked}")
    for ours, theirs in names.items():
        if found[theirs].shape != tuple(model[ours].shape):
            raise FGVEditError(
                f"{option}: in '{found[theirs].file}' tensor '{theirs}' has shape {list(found[theirs].shape)}; "
                f"expected {list(model[ours].shape)}"
            )
    return {ours: found[theirs] for ours, theirs in names.items()}


def some(names: Iterable[str]) -> str:
    """Tensors in words: the first by name, and how many more there are."""
    first, *more = sorted(names)
    return f"tensor '{first}'" + (f" and {len(more)} more" if more else "")


def write_weights(folder: Path, tensors: Mapping[str, Stored], dtypes: Mapping[str, torch.dtype]) -> None:
    """The files of weights that `from_pretrained` reads, one after the other."""
    described = {name: torch.empty(tensor.shape, dtype=dtypes[name], device="meta") for name, tensor in tensors.items()}
    plan = split_torch_state_dict_into_shards(described)
    size = sum(tensor.nbytes for tensor in described.values())
    with tqdm(desc="writing", total=size, unit="B", unit_scale=True) as bar:
        for file, names in plan.filename_to_tensors.items():
            shard = {}
            for name in names:
                shard[name] = tensors[name].read().to(dtypes[name])
                bar.update(shard[name].nbytes)
            write_tensors(folder / file, shard, format="pt")
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        write_json(folder / "model.safetensors.index.json", index)


if __name__ == "__main__":
    command_line(main)
