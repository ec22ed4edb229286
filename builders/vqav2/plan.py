"""Which questions may become edits, about which images, in which split: decided before any labeller is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from builders.vqav2.draw import draw, shuffled
from builders.vqav2.official import Questions, VQAQuestion, normalised, question_key
from fgvedit.util.errors import FGVEditError

SPLITS = ("train", "test")
TEST_SHARE = 4  # one image in four
OTHERS = 8  # images with the same question that are kept for a record until its target is known, of each sort
SEARCHED = 1000  # questions with the same words, to find those
UNANSWERED = frozenset(
    ("", "unknown", "can't tell", "cannot tell", "impossible to tell", "not sure", "unsure", "unclear", "not possible")
) | frozenset(("not visible", "don't know", "i don't know", "idk", "no idea", "unanswerable", "na", "not applicable"))


@dataclass(frozen=True)
class Other:
    """The same question about another image."""

    file_name: str
    answer: str


@dataclass(frozen=True)
class Work:
    """An image, its questions that annotators agree on, and those of them that may become edits, in the order in which
    they are tried."""

    file_name: str
    questions: tuple[VQAQuestion, ...]
    candidates: tuple[VQAQuestion, ...]
    others: tuple[tuple[Other, ...], ...]  # for each candidate


class Plan:
    """The images of both splits, each in the order in which records are made of them.

    A question counts where at least `agreement` of its ten annotators gave the same answer, and it is an answer. An
    image is in one split alone, as a record's own and as another's `other_image`. Everything is drawn for each image
    and question by itself: what is left out elsewhere changes nothing.
    """

    def __init__(self, questions: Questions, agreement: int, seed: int) -> None:
        if not 3 <= agreement <= 10:
            raise FGVEditError(f"--agreement {agreement}: expected 3 to 10 annotators of a question's ten")
        self.questions, self.seed = questions, seed
        answers = questions.answers.dictionary_encode()
        none = [answer in UNANSWERED or not normalised(answer) for answer in answers.dictionary.to_pylist()]
        unanswered = np.asarray(none, bool)[answers.indices.to_numpy()]
        agreed = questions.agreed >= agreement
        self.counts = Counter(
            questions=len(questions),
            unanswerable=int(unanswered.sum()),
            **{"not agreed on": int((~agreed & ~unanswered).sum())},
        )
        self._good = np.flatnonzero(agreed & ~unanswered)
        self._of_image = _groups(questions.images[self._good])
        order = shuffled(seed, "images", self._of_image)
        self._test = {image for image in order if draw(seed, "split", image) % TEST_SHARE == 0}
        self._images = {
            "train": [i for i in order if i not in self._test],
            "test": [i for i in order if i in self._test],
        }
        self._index_questions()

    def images(self, split: str) -> list[int]:
        """The image ids of a split, in order."""
        return self._images[split]

    def questions_of(self, image: int) -> int:
        """How many of an image's questions may become edits."""
        return len(self._of_image[image])

    def file_name(self, image: int) -> str:
        """The COCO file name of one of its images."""
        return self.questions.file_name(int(self._good[self._of_image[image][0]]))

    def work(self, split: str) -> Iterator[Work]:
        """The images of a split with their questions, in order."""
        for image in self.images(split):
            rows = self._good[self._of_image[image]]
            asked = {int(row): self.questions[int(row)] for row in rows}
            ranked = sorted(asked, key=lambda row: self._rank(asked[row]))
            yield Work(
                file_name=self.questions.file_name(int(rows[0])),
                questions=tuple(asked.values()),
                candidates=tuple(asked[row] for row in ranked),
                others=tuple(tuple(self._others(row)) for row in ranked),
            )

    def _rank(self, asked: VQAQuestion) -> tuple[bool, int]:
        """Yes and no last: the other of the two tells an editor least."""
        return asked.answer in ("yes", "no"), draw(self.seed, "edit", asked.id)

    def _index_questions(self) -> None:
        """Let questions with the same words stand together, in an order drawn for each."""
        texts, codes = self.questions.texts, dict[str, int]()
        code = np.asarray([codes.setdefault(question_key(texts[int(row)].as_py()), len(codes)) for row in self._good])
        drawn = np.asarray([draw(self.seed, "other", self.questions.ids[row]) for row in self._good], dtype=np.uint64)
        order = np.lexsort((drawn, code))
        self._index = np.argsort(order)  # of each good question among them
        self._first = np.searchsorted(code[order], code)  # of the questions with its words
        self._last = np.searchsorted(code[order], code, side="right")
        self._rows = self._good[order]
        self._asked_of = self.questions.images[self._rows]
        self._answer = self.questions.answers.dictionary_encode().indices.to_numpy()[self._rows]
        self._in_test = np.isin(self._asked_of, list(self._test))

    def _others(self, row: int) -> Iterator[Other]:
        """Up to `OTHERS` images of the same split with the same question and the same answer, and as many with another
        one, from the row's own index among them onwards."""
        good = int(np.searchsorted(self._good, row))
        first, last, index = int(self._first[good]), int(self._last[good]), int(self._index[good])
        onwards = first + (index - first + np.arange(1, min(last - first, SEARCHED))) % (last - first)
        fit = self._asked_of[onwards] != self._asked_of[index]
        fit &= self._in_test[onwards] == self._in_test[index]
        same = self._answer[onwards] == self._answer[index]
        for sort in (same, ~same):
            for other in self._rows[onwards[fit & sort]][:OTHERS].tolist():
                yield Other(self.questions.file_name(other), self.questions.answers[other].as_py())


def asks(
    plan: Plan, counterfactual: bool, making: bool, per_image: int, limits: Mapping[str, int | None]
) -> dict[str, int]:
    """How often a labeller is asked each of its tasks, where every question that is tried becomes a record.

    `counterfactual`: whether for targets; `making`: whether for questions in scope; `per_image`: records of an image at
    most, 0 for no bound; `limits`: records of each split at most. What is tried in vain is not counted where there is a
    bound, and without one there are no more asks than these.
    """
    records = pairs = 0
    for split in SPLITS:
        limit = limits[split]
        left = len(plan.questions) if limit is None else limit
        for image in plan.images(split):
            if not left:
                break
            questions = plan.questions_of(image)
            tried = min(questions, per_image or questions, left)
            left -= tried
            records += tried
            pairs += tried * (questions - 1)
    of_some = {"counterfactual": records * counterfactual, "in_scope": records * making}
    return {"entity": records, "rephrase": records, **of_some, "effect": pairs, "settled_by_text": pairs}


def _groups(values: np.ndarray) -> dict[int, np.ndarray]:
    """Each value with the positions at which it stands."""
    order = np.argsort(values, kind="stable")
    found, first = np.unique(values[order], return_index=True)
    return dict(zip(found.tolist(), np.split(order, first[1:]), strict=True)) if len(found) else {}


def summary(plan: Plan, files: Sequence[object]) -> str:
    """What a build would work on, in a few lines."""
    lines = [f"{plan.counts['questions']:,} questions in {len(files)} files"]
    lines += [f"  {plan.counts[reason]:,} left out: {reason}" for reason in ("unanswerable", "not agreed on")]
    for split in SPLITS:
        candidates = with_other = pairs = 0
        for work in plan.work(split):
            candidates += len(work.candidates)
            with_other += sum(map(bool, work.others))
            pairs += len(work.candidates) * (len(work.questions) - 1)
        lines.append(
            f"{split}: {candidates:,} questions about {len(plan.images(split)):,} images may become edits; "
            f"{with_other:,} of them are asked about another image of the split, too; "
            f"{pairs:,} pairs of an edit and another question to label, at most"
        )
    return "\n".join(lines)
