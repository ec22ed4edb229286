"""One image's records: what the labeller is asked for each, and what becomes of its answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from builders.coco import Images
from builders.labelling.base import Labelled, Labeller, Refused, Told, Unanswered
from builders.vqav2.draw import draw
from builders.vqav2.official import VQAQuestion, normalised, question_key
from builders.vqav2.plan import Other, Work
from fgvedit.probes import changes
from fgvedit.schema import NO_ANSWER, ImageRef

# What a question is about -> the kind of its probe: where one has to see the image, and where text settles it.
HARD = {"entailed": "in_scope", "unaffected": "out_of_scope"}
WORDED = {"entailed": "worded_in", "unaffected": "worded_out"}
# What a label says of a question that the labeller made: of the edit's words, so that they tell what it is about.
MADE = {"made": True, "settled_by_text": True}


@dataclass(frozen=True)
class Options:
    """`policy`: one of `POLICIES`. `per_image`: records of an image, at most; 0 for no bound. `easy`: one of `EASY`.
    `in_scope`: probes in scope that a record is to have, hard or worded, with questions made for it where the image's
    own are fewer; 0 for none that are made."""

    policy: str = "counterfactual"
    per_image: int = 0
    in_scope: int = 2
    easy: str = "keep"


@dataclass
class Made:
    """Rows without their `text_locality` probe, each with its line of `labels.jsonl`; and why others were left out."""

    rows: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


class _LeftOut(Exception):
    """A question of which no record is made, and why."""


@dataclass(frozen=True)
class _Job:
    """What the records of an image are made with; `left_out` is counted up."""

    work: Work
    image: ImageRef
    wrong: dict[int, str]
    labeller: Labeller
    images: Images
    options: Options
    left_out: Counter[str]


def make(work: Work, wrong: dict[int, str], labeller: Labeller, images: Images, options: Options) -> Made:
    """The records of an image. `wrong`: the model's wrong answers by question, for the policy `model-wrong`.

    Raises `FGVEditError`, naming the image, where it is missing or is none.
    """
    made = Made()
    image = images.ref(work.file_name)
    image.open()
    job = _Job(work, image, wrong, labeller, images, options, made.left_out)
    asked_for: set[str] = set()  # by records that are made
    for candidate, others in zip(work.candidates, work.others, strict=True):
        if options.per_image and len(made.rows) == options.per_image:
            made.left_out["enough records of its image"] += 1
            continue
        if not asked_for.isdisjoint(_keys(candidate.question)):
            made.left_out["asked twice about its image"] += 1
            continue
        try:
            made.rows.append(_record(job, candidate, others))
            asked_for.update(_keys(candidate.question))
        except _LeftOut as reason:
            made.left_out[str(reason)] += 1
        except Refused:
            made.left_out["the labeller gave no answer"] += 1
    return made


def _record(job: _Job, asked: VQAQuestion, others: tuple[Other, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The row of a question and its line of labels."""
    if job.options.policy == "model-wrong" and asked.id not in job.wrong:
        raise _LeftOut("the model answers it right")
    entity = _given(job.labeller.entity(job.image, asked.question, asked.answer), "about no one entity")
    target = _target(job, asked)
    told = Told(asked.question, job.wrong.get(asked.id, asked.answer), target.value)
    rephrase = _given(job.labeller.rephrase(asked.question), "no rephrasing")
    if not _keys(rephrase.value).isdisjoint(_keys(asked.question)):
        raise _LeftOut("no rephrasing")
    labels, probes = _scope(job, asked, told, rephrase.value)
    probes.insert(0, _probe("rephrase", rephrase.value, told.target, job.image))
    if other := _other_image(others, asked, told, job.images):
        probes.append(_probe("other_image", asked.question, other[1], other[0], shown=True))
    else:
        job.left_out["probe: no other image of the split has the question and an answer that is not the target"] += 1
    probes.append(_probe("no_image", asked.question, NO_ANSWER, None))

    name = f"{job.labeller.name}-{asked.id}"
    row = {
        "id": name,
        "group": job.image.image_id,
        "image_id": job.image.image_id,
        "image": _stored(job.image),
        "question": told.question,
        "answer": told.answer,
        "target": told.target,
        "entity": {"name": entity.value, "box": []},
        "probes": probes,
    }
    reasons = {"entity": entity.reason, "target": target.reason, "rephrase": rephrase.reason, "probes": labels}
    return row, {"id": name, "labeller": job.labeller.name, "policy": job.options.policy, "reasons": reasons}


def _target(job: _Job, asked: VQAQuestion) -> Labelled[str]:
    """What the edit is to make of the answer, by the policy."""
    if job.options.policy == "model-wrong":
        reason = f"what {asked.agreed} annotators say; the model says '{job.wrong[asked.id]}'"
        return Labelled(asked.answer, reason)
    target = _given(job.labeller.counterfactual(job.image, asked.question, asked.answer), "no counterfactual answer")
    _check_target(target.value, asked, job.work)
    return target


def _scope(
    job: _Job, asked: VQAQuestion, told: Told, rephrased: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What was said of each question, and the probes, by kind; there are some in scope and some out of it."""
    labels, probes = _label_others(job, asked, told)
    wanted = "hard question" if job.options.easy == "drop" else "question"
    if all(changes(probe["kind"]) for probe in probes):
        raise _LeftOut(f"no {wanted} that is surely out of scope")
    lacking = job.options.in_scope - sum(changes(probe["kind"]) for probe in probes)
    if lacking > 0:
        new = job.labeller.in_scope(job.image, told, lacking)
        texts = (asked.question, rephrased, *(probe["question"] for probe in probes))
        there = set[str]().union(*map(_keys, texts))
        for question, answer in new.value:
            if there.isdisjoint(_keys(question)):
                there.update(_keys(question))
                probes.append(_probe(WORDED["entailed"], question, answer, job.image))
                labels.append({"kind": WORDED["entailed"], "question": question, "reason": new.reason, **MADE})
    if not any(changes(probe["kind"]) for probe in probes):
        raise _LeftOut(f"no {wanted} in scope")
    return labels, sorted(probes, key=lambda probe: probe["kind"])  # stable


def _given(label: Labelled[str], otherwise: str) -> Labelled[str]:
    if not label.value.strip() or isinstance(label, Unanswered):
        raise _LeftOut(otherwise)
    return Labelled(label.value.strip(), label.reason)


def _keys(question: str) -> set[str]:
    """Two questions with one of these in common are the same: by their words, or as VQA v2 compares texts."""
    return {question_key(question), normalised(question)}


def _check_target(target: str, asked: VQAQuestion, work: Work) -> None:
    """A target is to be wrong: nobody said it, and nothing else that was asked about the image names it."""
    plain = normalised(target)
    if plain in asked.said:
        raise _LeftOut("an annotator gave the counterfactual answer")
    if plain in ("yes", "no") or plain.isdigit():
        return
    named = question_key(target)
    for other in work.questions:
        if other.id == asked.id:
            continue
        same_sort = question_key(other.question).split()[:2] == question_key(asked.question).split()[:2]
        if f" {named} " in f" {question_key(f'{other.question} {other.answer}')} " and not same_sort:
            raise _LeftOut("the counterfactual answer is named in another question about the image")


def _label_others(job: _Job, asked: VQAQuestion, told: Told) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Both stages over the image's other questions: a label for each, and probes of those that are clear."""
    labels: list[dict[str, Any]] = []
    probes: list[dict[str, Any]] = []
    seen = _keys(asked.question)
    for other in job.work.questions:
        if not seen.isdisjoint(_keys(other.question)):
            continue
        seen.update(_keys(other.question))
        effect = job.labeller.effect(job.image, told, other.question, other.answer)
        label: dict[str, Any] = {"question": other.question, "question_id": other.id, "reason": effect.reason}
        labels.append(label)
        relation, answer = effect.value.relation, effect.value.answer.strip()
        if relation == "unclear" or (relation == "entailed" and not answer):
            label["kind"] = "unclear"
            job.left_out["probe: whether the edit concerns it is unclear"] += 1
            continue
        settled = job.labeller.settled_by_text(told, other.question)
        label["kind"] = (WORDED if settled.value else HARD)[relation]
        label |= {"settled_by_text": settled.value, "settled_reason": settled.reason}
        if settled.value and job.options.easy == "drop":
            label["left_out"] = "text alone settles it"
            job.left_out["probe: text alone settles it"] += 1
            continue
        right = answer if relation == "entailed" else other.answer
        probes.append(_probe(label["kind"], other.question, right, job.image))
    return labels, probes


def _other_image(
    others: tuple[Other, ...], asked: VQAQuestion, told: Told, images: Images
) -> tuple[ImageRef, str] | None:
    """The first other image on which the right answer is, as a coin has it, the edit's old one or a third one; where
    there is none of these, one of the others. On none is it the target, which would hide that an edit went too far."""
    fit = [other for other in others if normalised(other.answer) != normalised(told.target)]
    old = bool(draw(0, "other_image", asked.id) % 2)
    fit.sort(key=lambda other: (normalised(other.answer) == normalised(told.answer)) != old)  # stable
    if not fit:
        return None
    image = images.ref(fit[0].file_name)
    image.open()
    return image, fit[0].answer


def _probe(kind: str, question: str, answer: str, image: ImageRef | None, shown: bool = False) -> dict[str, Any]:
    stored = _stored(image) if image and shown else None
    image_id = image.image_id if image else ""
    return {"kind": kind, "question": question, "answer": answer, "image": stored, "image_id": image_id}


def _stored(image: ImageRef) -> dict[str, Any]:
    return {"bytes": image.data, "path": f"{image.image_id}.jpg"}
