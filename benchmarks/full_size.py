"""What one edit takes at the paper's size: python -m benchmarks.full_size --help"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import command_line, unknown
from fgvedit.util.files import write_json

EPILOG = """\
The weights are random and nothing is trained: what is told is what an edit takes, not how good it is.

examples:
  python -m benchmarks.full_size --model blip2-opt-2.7b
      builds the models in runs/full-size (9 GB of disk), where the next run finds them
  python -m benchmarks.full_size --model minigpt4-7b --meta
      what can be counted without weights, in seconds

Exit code: 0; 1 where the memory went above --limit-gb or an edit left a trace in the weights; 2 for bad input.
"""

RELEASED_PASSES = 9  # of one image through vision tower and Q-Former, in the released code, for each test record


def parser() -> ArgumentParser:
    """The command's options."""
    parser = ArgumentParser(
        prog="python -m benchmarks.full_size",
        description="Build a model of the paper's size, edit it on the CPU, and say what each step took.",
        epilog=EPILOG,
    )
    parser.add_argument("--model", required=True, metavar="NAME", help="blip2-opt-2.7b or minigpt4-7b")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("runs/full-size"),
        metavar="DIR",
        help="where the models and NAME.json, the result, go (default: %(default)s)",
    )
    parser.add_argument("--meta", action="store_true", help="only what is counted without weights")
    parser.add_argument(
        "--limit-gb", type=float, default=24, metavar="GB", help="memory, at most (default: %(default)s)"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command, and its exit code; `argv`: its arguments, those of the process where it is None."""
    args = parser().parse_args(argv)

    # Not before: --help is quick without them.
    from benchmarks.measuring import measure
    from benchmarks.models import SIZES

    if args.model not in SIZES:
        raise unknown("model", args.model, SIZES)
    args.work.mkdir(parents=True, exist_ok=True)
    result = measure(SIZES[args.model], args.model, args.work, args.meta)
    write_json(args.work / f"{args.model}.json", result)
    print(f"\n{report(result)}\n\nresult: {args.work / f'{args.model}.json'}")

    faults = [f"{name} left a trace in the weights" for name in traces(result)]
    if result.get("peak_gb", 0) > args.limit_gb:
        faults.append(f"{result['peak_gb']:.2f} GB of memory were used, more than --limit-gb {args.limit_gb:g}")
    for fault in faults:
        print(fault)
    return 1 if faults else 0


def traces(result: dict[str, Any]) -> list[str]:
    """The editors after which a weight was not what it was."""
    return [name for name, editor in result.get("editors", {}).items() if not editor["undone"]]


def report(result: dict[str, Any]) -> str:
    """A result as Markdown."""
    lines = ["| part | parameters | GB | TFLOP, one pass |", "|---|---|---|---|"]
    parts = {row["part"]: row for row in result["parts"]}
    for name, row in parts.items():
        lines.append(f"| {name} | {row['parameters']:,} | {row['gb']:.2f} | {row['tflop']:.3f} |")
    if "steps" not in result:
        return "\n".join(lines)

    lines += ["", "| step | seconds | peak so far, GB | increase, GB |", "|---|---|---|---|"]
    for row in result["steps"]:
        lines.append(f"| {row['step']} | {row['seconds']:.1f} | {row['peak_gb']:.2f} | {row['increase_gb']:.2f} |")
    passes, pass_tflop = result["encoded_images"], parts["vision tower"]["tflop"] + parts["Q-Former"]["tflop"]
    lines += [
        "",
        f"- Passes of the image through vision tower and Q-Former: {passes} for both editors "
        f"({passes * pass_tflop:.2f} TFLOP); the released code makes {RELEASED_PASSES} for each "
        f"({RELEASED_PASSES * pass_tflop:.2f} TFLOP).",
    ]
    for name, editor in result["editors"].items():
        routes = ", ".join(f"{asked['kind']} {asked['route']}" for asked in editor["questions"])
        changed = sum(asked["changed"] for asked in editor["questions"])
        trace = "a trace is left in the weights" if name in traces(result) else "all weights are their bits again"
        lines.append(f"- `{name}`: {changed} of {len(editor['questions'])} answers change ({routes}); undone, {trace}.")
    machine, packages = result["machine"], result["packages"]
    lines.append(
        f"- Machine: {machine['cores']} CPU cores, {machine['threads']} threads, {machine['memory_gb']:.1f} GB of "
        f"memory; torch {packages['torch']}, transformers {packages['transformers']}."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    command_line(main)
