"""`python -m builders.vqav2`: the paper's construction, from the official files of VQA v2.0, COCO images and Natural
Questions: edits of what photos show, each with probes."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.vqav2 import EASY, POLICIES
from fgvedit.cli.options import add_backbone_options, backbone_request, parse_overrides
from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.errors import FGVEditError, command_line, unknown
from fgvedit.util.files import check_out

if TYPE_CHECKING:
    from builders.vqav2.build import Request

SAMPLE = 100
IN_SCOPE = 2  # probes of a record, with --easy keep
OF_A_BACKBONE = ("backbone", "revision", "input_mode", "device", "device_map", "dtype")
EPILOG = """examples:
  what would be worked on, in a minute or so, with nothing asked or written:
    python -m builders.vqav2 --dry-run --out vqav2-rules --images coco --locality nq.jsonl \\
        --questions v2_OpenEnded_mscoco_train2014_questions.json v2_OpenEnded_mscoco_val2014_questions.json \\
        --annotations v2_mscoco_train2014_annotations.json v2_mscoco_val2014_annotations.json
  as many records as the paper has, with hard probes alone, labelled by a model behind an API:
    python -m builders.vqav2 … --limit 11112 --easy drop --labeller openai --set model=gpt-4o-mini \\
        --set input_price=0.15 --set output_price=0.6 --set budget=50    # with --dry-run: what it is likely to cost
  the same, and then what people are to check; and what is left of it by what they marked:
    python -m builders.vqav2 … --out built --review page
    python -m builders.vqav2 … --out built --apply-review marks.json
  corrections of what a backbone gets wrong, in place of counterfactual answers:
    python -m builders.vqav2 … --policy model-wrong --backbone blip2-opt-2.7b --device cuda
"""


def options_of(argv: list[str] | None) -> argparse.Namespace:
    """The options, checked as far as they can be by themselves."""
    parser = _parser()
    # An option of the backbone that is not given stays None, for now.
    options = parser.parse_args(argv, argparse.Namespace(**dict.fromkeys(OF_A_BACKBONE)))
    for name, known in (("policy", POLICIES), ("easy", EASY)):
        if getattr(options, name) not in known:
            raise unknown(name, getattr(options, name), known)
    check_out(options.out, lambda _: True)  # what is in it is checked with more knowledge
    _check_numbers(options)
    _check_pairs(options)
    _settle_easy(options)
    _settle_backbone(options, parser)
    return options


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m builders.vqav2", description=__doc__, epilog=EPILOG, conflict_handler="resolve"
    )
    _add_files(parser)
    _add_choices(parser)
    _add_review(parser)
    add_backbone_options(parser)
    parser.add_argument(  # in place of one that says another default
        "--backbone", metavar="NAME", help="with --policy model-wrong, which needs it: a name, a folder, a hub id, …"
    )
    return parser


def _add_files(parser: ArgumentParser) -> None:
    """What a build is made of, and where it goes."""
    for name, metavar, about in (
        ("questions", "FILE", "v2_OpenEnded_mscoco_{train,val}2014_questions.json, or one of them"),
        ("annotations", "FILE", "v2_mscoco_{train,val}2014_annotations.json, of the same"),
        ("images", "FOLDER", "of COCO 2014 images, or above train2014/"),
    ):
        parser.add_argument(f"--{name}", type=Path, nargs="+", required=True, metavar=metavar, help=about)
    parser.add_argument(
        "--locality", type=Path, required=True, metavar="NQ.jsonl", help="lines with 'question' and 'answer'"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="to be made: it is whole or absent")
    parser.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="of what has been answered (default: beside --out, NAME.cache)"
    )
    parser.add_argument("--dry-run", action="store_true", help="check the input and say what would be worked on")


def _add_choices(parser: ArgumentParser) -> None:
    """Who labels, and what becomes a record."""
    parser.add_argument(
        "--labeller", default="rules", metavar="NAME", help="rules, openai, local, or a class (default: %(default)s)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one option of the labeller, such as model=gpt-4o-mini; may be given several times",
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
    number: dict[str, Any] = {"type": int, "metavar": "N"}
    parser.add_argument("--per-image", default=0, **number, help="records of an image at most (default: all)")
    parser.add_argument(
        "--easy",
        default="keep",
        metavar="keep|drop",
        help="what becomes of questions that text alone settles: probes of the kinds worded_in and worded_out, or, as "
        "in the paper, none (default: %(default)s)",
    )
    parser.add_argument(
        "--in-scope",
        **number,
        help="probes in scope that a record is to have: where the image's own questions are fewer, some are made for "
        f"it, of the kind worded_in; 0: none are made (default: {IN_SCOPE}, and 0 with --easy drop)",
    )
    parser.add_argument("--limit", **number, help="records in all at most, a quarter of them for test")
    parser.add_argument("--num-proc", default=1, **number, help="processes, with the labeller rules")


def _add_review(parser: ArgumentParser) -> None:
    """What becomes of a build."""
    parser.add_argument(
        "--review",
        type=Path,
        metavar="PAGE_FOLDER",
        help="then write a page on which people mark a sample of the records",
    )
    parser.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help=f"with --review: records on that page, drawn with --seed (default: {SAMPLE})",
    )
    parser.add_argument(
        "--apply-review",
        type=Path,
        metavar="MARKS.json",
        help="then write the records without what is marked wrong into a folder beside --out, NAME-reviewed, and with "
        "--review the page of these; the marks are of the records in --out",
    )


def _check_numbers(options: argparse.Namespace) -> None:
    for name, least, why in (
        ("num_proc", 1, ""),
        ("sample", 1, ""),
        ("in_scope", 0, ", for none that are made"),
        ("per_image", 0, ", for all"),
    ):
        if (number := getattr(options, name)) is not None and number < least:
            raise FGVEditError(f"--{name.replace('_', '-')} {number}: expected at least {least}{why}")


def _check_pairs(options: argparse.Namespace) -> None:
    """Refuse options that need another one, or exclude it."""
    for option, given in (("--review", options.review), ("--apply-review", options.apply_review)):
        if options.dry_run and given:
            raise FGVEditError(f"{option} {given}: found it with --dry-run, which writes nothing; expected one of them")
    if options.sample is not None and not options.review:
        raise FGVEditError(f"--sample {options.sample}: found it without --review, expected both")
    if options.num_proc > 1 and options.labeller != "rules":
        raise FGVEditError(
            f"--num-proc {options.num_proc}: found it with labeller '{options.labeller}', expected 'rules', or "
            "--set concurrency=N for a labeller that has this option"
        )
    if options.cache and options.out.resolve() in (options.cache.resolve(), *options.cache.resolve().parents):
        raise FGVEditError(f"--cache '{options.cache}': lies in --out '{options.out}'; expected them apart")


def _settle_easy(options: argparse.Namespace) -> None:
    """With --easy drop no question is made for a record, since text settles those that are; `rules` has no others."""
    if options.easy == "drop":
        if options.labeller == "rules":
            raise FGVEditError(
                "--easy drop: found it with labeller 'rules', which reads words alone, so that text settles whatever "
                "it says; expected 'keep', or a labeller that sees images"
            )
        if options.in_scope:
            raise FGVEditError(
                f"--in-scope {options.in_scope}: found it with --easy drop, and text settles the questions that are "
                "made for a record; expected 0, or --easy keep"
            )
    if options.in_scope is None:
        options.in_scope = 0 if options.easy == "drop" else IN_SCOPE


def _settle_backbone(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse options of a backbone where there is to be none, or give those that are not given their defaults."""
    wanted = options.policy == "model-wrong"
    if wanted and options.backbone is None:
        raise FGVEditError("--policy model-wrong: found no --backbone, expected the one whose wrong answers are edited")
    for name in OF_A_BACKBONE:
        if getattr(options, name) is None:
            setattr(options, name, parser.get_default(name))
        elif not wanted:
            given = f"--{name.replace('_', '-')} {getattr(options, name)}"
            raise FGVEditError(f"{given}: found it without --policy model-wrong, expected both")


def main(argv: list[str] | None = None) -> None:
    """Build or, with --dry-run, say what would be built; then review."""
    options = options_of(argv)
    if options.apply_review:
        from builders.review.apply import read_marks

        read_marks(options.apply_review)  # what is no file of marks is said before a long build
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

    from builders.vqav2.build import build, describe

    request = _request(options)
    print(describe(request) if options.dry_run else build(request), flush=True)
    shown = options.out
    if options.apply_review:
        from builders.review.apply import apply_marks

        shown = options.out.with_name(f"{options.out.name}-reviewed")
        print(apply_marks(str(options.out), options.apply_review, shown))
    if options.review:
        from builders.review.page import write_page

        print(write_page(str(shown), options.review, sample=options.sample or SAMPLE, seed=options.seed))


def _request(options: argparse.Namespace) -> Request:
    from builders.vqav2.build import Request
    from builders.vqav2.record import Options

    return Request(
        questions=tuple(options.questions),
        annotations=tuple(options.annotations),
        images=tuple(options.images),
        locality=options.locality,
        out=options.out,
        cache=options.cache or options.out.with_name(f"{options.out.name}.cache"),
        labeller=options.labeller,
        labeller_options=parse_overrides(options.set),
        options=Options(options.policy, options.per_image, options.in_scope, options.easy),
        agreement=options.agreement,
        seed=options.seed,
        limit=options.limit,
        workers=options.num_proc,
        backbone=backbone_request(options) if options.policy == "model-wrong" else {},
    )


if __name__ == "__main__":
    command_line(main)
