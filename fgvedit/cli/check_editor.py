"""The command line that checks that an editor keeps to its contract: `python -m fgvedit.check_editor`."""

from __future__ import annotations

from pathlib import Path

from fgvedit.cli.options import add_common_options, backbone_request, parse_overrides
from fgvedit.util.arguments import ArgumentParser

EPILOG = """\
examples:
  python -m fgvedit.check_editor ft --set steps=2
      a registered editor, quickly: what it learns does not matter here
  python -m fgvedit.check_editor my_editor.py:MyEditor
      one of your own, from a file (or package.module:Class)
  python -m fgvedit.check_editor mscke --checkpoint runs/train-mscke-tiny
      a trained one, from a checkpoint that is not the shipped one

Exit code: 0 where no check failed, 1 where one did, 2 for bad input.
How to write an editor: docs/write-your-own-editor.md
"""


def parser() -> ArgumentParser:
    """The options of `python -m fgvedit.check_editor`."""
    parser = ArgumentParser(
        prog="python -m fgvedit.check_editor",
        description="Put an editor through the checks that every editor has to pass, on two records.",
        epilog=EPILOG,
    )
    parser.add_argument("editor", help="a registered name, package.module:Class or file.py:Class")
    parser.add_argument("--dataset", default="scenes", help="of which two records are used (default: %(default)s)")
    parser.add_argument("--split", default="test", help="default: %(default)s")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="DIR", help="of a trained editor; default: the one shipped for the backbone"
    )
    add_common_options(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Check an editor and print what was found; 1 where a check failed."""
    args = parser().parse_args(argv)
    overrides = parse_overrides(args.set)

    # Not before: --help is quick without them.
    from fgvedit.backbones import open_backbone
    from fgvedit.dataset import load_records
    from fgvedit.editors.contract import Editor
    from fgvedit.editors.registry import checkpoint_folder, editor_class, open_editor
    from fgvedit.evaluation.conformance import check

    request = backbone_request(args)
    checkpoint_folder(editor_class(args.editor), args.backbone, args.checkpoint)  # a bad name is told at once
    records = load_records(args.dataset, args.split).records

    def open_both() -> Editor:
        return open_editor(args.editor, open_backbone(**request), overrides, args.checkpoint)

    findings = check(open_both, records, seed=args.seed, report=lambda finding: print(finding, flush=True))
    failed = [finding for finding in findings if finding.passed is False]
    print(f"\n{len(findings)} checks, {len(failed)} failed")
    return 1 if failed else 0
