"""`python -m builders.vqav2`: the paper's construction, from the official files of VQA v2.0, COCO images and Natural
Questions: edits of what photos show, each with probes."""

from __future__ import annotations

import os
from pathlib import Path

from builders.vqav2 import POLICIES
from fgvedit.cli import ArgumentParser, add_common_options, backbone_request, parse_overrides
from fgvedit.errors import FGVEditError, command_line, unknown

EPILOG = """examples:
  what would be worked on, in a minute or so, with nothing asked or written:
    python -m builders.vqav2 --dry-run --out vqav2-rules --images coco --locality nq.jsonl \\
        --questions v2_OpenEnded_mscoco_train2014_questions.json v2_OpenEnded_mscoco_val2014_questions.json \\
        --annotations v2_mscoco_train2014_annotations.json v2_mscoco_val2014_annotations.json
  as many records as the paper has, labelled by a model behind an API:
    python -m builders.vqav2 … --limit 11112 --labeller openai --set model=gpt-4o-mini \\
        --set input_price=0.15 --set output_price=0.6 --set budget=50    # with --dry-run: what it is likely to cost
  the same, and then what people are to look at; and what is left of it by what they marked:
    python -m builders.vqav2 … --out built --review page
    python -m builders.vqav2 … --out built --apply-review marks.json
  corrections of what a backbone gets wrong, in place of counterfactual answers:
    python -m builders.vqav2 … --policy model-wrong --backbone blip2-opt-2.7b --device cuda
"""


def main(argv: list[str] | None = None) -> None:
    parser = ArgumentParser(prog="python -m builders.vqav2", description=__doc__, epilog=EPILOG)
    parser.add_argument(
        "--questions",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="v2_OpenEnded_mscoco_{train,val}2014_questions.json, or one of them",
    )
    parser.add_argument(
        "--annotations",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="v2_mscoco_{train,val}2014_annotations.json, of the same",
    )
    parser.add_argument(
        "--images",
        type=Path,
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="of COCO 2014 images, or above train2014/",
    )
    parser.add_argument(
        "--locality", type=Path, required=True, metavar="NQ.jsonl", help="lines with 'question' and 'answer'"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="to be made: it is whole or absent")
    parser.add_argument(
        "--labeller", default="rules", metavar="NAME", help="rules, openai, local, or a class (default: %(default)s)"
    )
    parser.add_argument(
        "--policy",
        default="counterfactual",
        help="an edit's target: counterfactual (an answer of the labeller's, wrong for the photo) or model-wrong (the "
        "annotators' answer, where --backbone answers otherwise); default: %(default)s",
    )
    parser.add_argument(
        "--agreement",
        type=int,
        default=7,
        help="annotators of ten who must give the same answer (default: %(default)s)",
    )
    parser.add_argument(
        "--per-image", type=int, default=0, metavar="N", help="records of an image at most (default: all)"
    )
    parser.add_argument("--in-scope", type=int, default=2, metavar="N", help="in_scope probes a record is to have")
    parser.add_argument(
        "--keep-easy", action="store_true", help="keep probes that text alone settles even beside harder ones"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="records in all at most, a quarter of them for test")
    parser.add_argument("--num-proc", type=int, default=1, metavar="N", help="processes, with the labeller rules")
    parser.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="of what has been answered (default: beside --out, NAME.cache)"
    )
    parser.add_argument(
        "--review",
        type=Path,
        metavar="PAGE_FOLDER",
        help="then write a page on which people mark a sample of the records",
    )
    parser.add_argument(
        "--sample",
        type=int,
        default=100,
        metavar="N",
        help="records on that page, drawn with --seed (default: %(default)s)",
    )
    parser.add_argument(
        "--apply-review",
        type=Path,
        metavar="MARKS.json",
        help="then write the records without what is marked wrong into a folder beside --out, NAME-reviewed, and with "
        "--review the page of these; the marks are of the records in --out",
    )
    parser.add_argument("--dry-run", action="store_true", help="check the input and say what would be worked on")
    add_common_options(parser)
    options = parser.parse_args(argv)
    if options.policy not in POLICIES:
        raise unknown("policy", options.policy, POLICIES)
    for name in ("num_proc", "in_scope", "sample"):
        if getattr(options, name) < 1:
            raise FGVEditError(f"--{name.replace('_', '-')} {getattr(options, name)}: expected at least 1")
    if not options.out.name:
        raise FGVEditError(f"--out '{options.out}': expected a folder with a name, to be made")
    if options.per_image < 0:
        raise FGVEditError(f"--per-image {options.per_image}: expected at least 0, for all")
    for option, given in (("--review", options.review), ("--apply-review", options.apply_review)):
        if options.dry_run and given:
            raise FGVEditError(f"{option} {given}: found it with --dry-run, which writes nothing; expected one of them")
    if options.apply_review:
        from builders.review.apply import read_marks

        read_marks(options.apply_review)  # what is no file of marks is said before a long build
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

    from builders.vqav2.build import Request, build, describe
    from builders.vqav2.record import Options

    request = Request(
        questions=tuple(options.questions),
        annotations=tuple(options.annotations),
        images=tuple(options.images),
        locality=options.locality,
        out=options.out,
        cache=options.cache or options.out.with_name(f"{options.out.name}.cache"),
        labeller=options.labeller,
        labeller_options=parse_overrides(options.set),
        options=Options(options.policy, options.per_image, options.in_scope, options.keep_easy),
        agreement=options.agreement,
        seed=options.seed,
        limit=options.limit,
        workers=options.num_proc,
        backbone=backbone_request(options) if options.policy == "model-wrong" else {},
    )
    print(describe(request) if options.dry_run else build(request), flush=True)
    shown = options.out
    if options.apply_review:
        from builders.review.apply import apply_marks

        shown = options.out.with_name(f"{options.out.name}-reviewed")
        print(apply_marks(str(options.out), options.apply_review, shown))
    if options.review:
        from builders.review.page import write_page

        print(write_page(str(shown), options.review, sample=options.sample, seed=options.seed))


if __name__ == "__main__":
    command_line(main)
