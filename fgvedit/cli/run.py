"""The command line that scores an editor: `python -m fgvedit.run`."""

from __future__ import annotations

import re
from pathlib import Path

from fgvedit.cli.options import add_common_options, add_data_options, backbone_request, check_counts, parse_overrides
from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.devices import parse_dtype

EXAMPLES = """\
examples:
  python -m fgvedit.run --editor mscke --limit 200
      the embedded data and backbone; a few minutes on two cores
  python -m fgvedit.run --editor ft --set lr=0.001 --protocol generation
      another editor, one option of its config.yaml changed, scored by free generation alone
  python -m fgvedit.run --editor my_editor.py:MyEditor --out runs/mine
      an editor of your own, from a file (or package.module:Class)
  python -m fgvedit.run --editor mscke --sequence 10
      sequential editing: ten edits, one on top of the other; scored right after each and once more after all ten
  accelerate launch --num_processes 4 -m fgvedit.run --editor mscke --backbone blip2-opt-2.7b
      several processes; the rows are the same

what is written to --out:
  result.json   what was run, on what, and the metrics with their 95 % intervals
  rows.jsonl    every probe: asked, answered before and after, expected, score, and how it was routed
  looks.jsonl   where the classifier attended, of editors whose router reads images
  run.json      which run the folder holds
A run that was stopped goes on where it was when the same command is given again.
See a run as a page with: python -m fgvedit.report DIR
Compare result files with: python -m leaderboard.table runs
"""


def parser() -> ArgumentParser:
    """The options of `python -m fgvedit.run`."""
    options = ArgumentParser(
        prog="python -m fgvedit.run",
        description="Edit a backbone, one record after the other, and score every probe before and after.",
        epilog=EXAMPLES,
    )
    options.add_argument(
        "--editor", required=True, metavar="NAME", help="a registered editor, PACKAGE.MODULE:CLASS or FILE.py:CLASS"
    )
    add_data_options(options)
    options.add_argument(
        "--protocol", default="paper,generation", metavar="NAMES", help="separated by commas; default: %(default)s"
    )
    options.add_argument(
        "--sequence",
        type=int,
        metavar="N",
        help="sequential editing: N edits, of N groups of records, one on top of the other; of the records (after "
        "--limit) the first of each group, or image where data name no groups, N at a time; what is left over is left "
        "out",
    )
    options.add_argument(
        "--out", type=Path, metavar="DIR", help="default: runs/EDITOR-BACKBONE-DATASET[-LIMIT][-sequence-N]-SEED"
    )
    options.add_argument(
        "--checkpoint", type=Path, metavar="DIR", help="of a trained editor; default: the one shipped for the backbone"
    )
    add_common_options(options)
    return options


def main(argv: list[str] | None = None) -> None:
    """Run an editor, or go on with a run, and print its metrics."""
    options = parser().parse_args(argv)
    check_counts(options, "limit")
    overrides = parse_overrides(options.set)
    parse_dtype(options.dtype)

    # What can be wrong with the options is said before anything that takes long is imported or opened.
    from fgvedit.backbones import open_backbone
    from fgvedit.dataset import load_records
    from fgvedit.editors.registry import checkpoint_folder, editor_class, open_editor
    from fgvedit.evaluation.protocols import open_protocols
    from fgvedit.evaluation.runs.processes import is_main_process
    from fgvedit.evaluation.runs.runner import run
    from fgvedit.evaluation.sequential import sequences
    from fgvedit.evaluation.summary import summary

    request = backbone_request(options)
    protocols = open_protocols(options.protocol)
    kind = editor_class(options.editor)
    data = load_records(options.dataset, options.split, options.limit)
    if options.sequence is not None:
        sequences(data.groups, options.sequence)  # whatever is wrong is said before the backbone opens
    backbone = open_backbone(**request)
    editor = open_editor(options.editor, backbone, overrides, options.checkpoint)
    checkpoint = checkpoint_folder(kind, backbone.name, options.checkpoint)
    limit, sequence, seed = options.limit, options.sequence, options.seed
    out = options.out or default_folder(kind.name, backbone.name, data.name, limit, sequence, seed)

    finished = (out / "result.json").exists()
    result = run(editor, data, protocols, out, seed=seed, limit=limit, sequence=sequence, checkpoint=checkpoint)
    if is_main_process():
        _print(summary(result), out, finished)


def _print(metrics: str, out: Path, finished: bool) -> None:
    """Print a run's metrics and where it is; `finished`: whether it was before the command was given."""
    if finished:
        print(f"this run was finished before; nothing was run again (another --out runs it anew): {out}\n")
    print(metrics)
    print(f"\nresult: {out / 'result.json'}\nrows:   {out / 'rows.jsonl'}")


def default_folder(
    editor: str, backbone: str, dataset: str, limit: int | None, sequence: int | None, seed: int
) -> Path:
    """Where a run goes that was given no --out: `runs/EDITOR-BACKBONE-DATASET[-LIMIT][-sequence-N]-SEED`."""
    parts = [editor, Path(backbone).name, Path(dataset).name]
    parts += [str(limit)] if limit else []
    parts += [f"sequence-{sequence}"] if sequence else []
    return Path("runs") / re.sub(r"[^\w.-]+", "-", "-".join([*parts, str(seed)]))
