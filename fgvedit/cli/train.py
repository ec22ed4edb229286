"""The command line that trains an editor: `python -m fgvedit.train`."""

from __future__ import annotations

from pathlib import Path

from fgvedit.cli.options import add_common_options, add_data_options, backbone_request, check_counts, parse_overrides
from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import FGVEditError

EPILOG = """\
examples:
  python -m fgvedit.train --editor mscke
      train MSCKE for the shipped backbone on the embedded data; the checkpoint goes to runs/train-mscke-tiny
  python -m fgvedit.train --editor mscke --limit 100 --set fusion=concat --out /tmp/concat
      a quick try with another option; an editor's options and their values stand in the config.yaml beside its module
  python -m fgvedit.run --editor mscke --checkpoint runs/train-mscke-tiny
      score what was trained

A training that was stopped goes on when the same command is given again.
"""


def parser() -> ArgumentParser:
    """The options of `python -m fgvedit.train`."""
    parser = ArgumentParser(
        prog="python -m fgvedit.train",
        description="Train an editor for a backbone and save its checkpoint.",
        epilog=EPILOG,
    )
    parser.add_argument("--editor", required=True, help="a registered name, package.module:Class or file.py:Class")
    add_data_options(parser, split="train")
    parser.add_argument(
        "--out", type=Path, help="where the checkpoint goes (default: runs/train-EDITOR-BACKBONE)", metavar="DIR"
    )
    add_common_options(parser)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Train an editor and save its checkpoint."""
    args = parser().parse_args(argv)
    check_counts(args, "limit")
    overrides = parse_overrides(args.set)

    # Not before: --help is quick without them.
    import torch

    from fgvedit.backbones import open_backbone
    from fgvedit.dataset import load_records
    from fgvedit.editors.registry import editor_class, editor_config, training_folder

    request = backbone_request(args)
    kind = editor_class(args.editor)
    if not kind.trained:
        raise FGVEditError(f"editor '{kind.name}' has nothing to train; run it with python -m fgvedit.run")
    records = load_records(args.dataset, args.split, args.limit).records
    backbone = open_backbone(**request)
    torch.manual_seed(args.seed)  # of the weights that start from nothing
    editor = kind(backbone, editor_config(kind, backbone.name, overrides))
    out = args.out or training_folder(kind, backbone.name)
    out.mkdir(parents=True, exist_ok=True)
    editor.train(records, out, args.seed)
    editor.save(out)
    print(f"saved in {out}; score it with python -m fgvedit.run --editor {args.editor} --checkpoint {out}")
