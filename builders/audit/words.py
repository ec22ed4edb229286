"""Features of the words of an edit and a probe: what each says, what both say, what one says alone; and of what a base
model answers to them. No images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from math import log

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction import FeatureHasher

from builders.audit.cases import Case
from fgvedit.evaluation.normalise import normalise

HASHED = 1 << 17  # columns of the sparse matrix
COMMON = 250  # of the marks that are not pairs: as many as the dense matrix has columns for
_PAIR = "edit|probe:"


def sparse(cases: Sequence[Case]) -> csr_matrix:
    """(cases, HASHED): the marks of each, pairs of a word of the edit and one of the probe among them."""
    return _hashed([*_marks(case), *_pairs(case)] for case in cases)


def dense(cases: Sequence[Case]) -> np.ndarray:
    """(cases, COMMON + some): the most common marks, and how much the texts have in common, also by rare words."""
    rarity = _rarity(cases)
    amounts = np.array([_amounts(case, rarity) for case in cases], dtype=np.float32)
    return np.hstack([_table([_marks(case) for case in cases]), amounts])


def sparse_said(cases: Sequence[Case]) -> csr_matrix:
    """(cases, HASHED): the marks of what a base model says, with each word of the probe, too."""
    return _hashed([*_said(case), *_said_of(case)] for case in cases)


def dense_said(cases: Sequence[Case]) -> np.ndarray:
    """(cases, COMMON): the most common marks of what a base model says."""
    return _table([_said(case) for case in cases])


def sparse_asked(cases: Sequence[Case]) -> csr_matrix:
    """(cases, HASHED): the words of each probe alone, and each two that follow each other."""
    asked = [("", *words(case.asked), "") for case in cases]
    return _hashed([*some, *map("|".join, pairwise(some))] for some in asked)


def _hashed(marks: Iterable[Iterable[str]]) -> csr_matrix:
    hasher = FeatureHasher(HASHED, input_type="string", alternate_sign=False)
    return hasher.transform(marks).tocsr()


def _table(marks: Sequence[set[str]]) -> np.ndarray:
    """(cases, COMMON): which of the most common marks each has."""
    frequent = sorted(Counter(mark for some in marks for mark in some).items(), key=lambda item: (-item[1], item[0]))
    columns = {mark: column for column, (mark, _) in enumerate(frequent[:COMMON])}
    table = np.zeros((len(marks), COMMON), dtype=np.float32)
    for row, some in enumerate(marks):
        table[row, [columns[mark] for mark in some if mark in columns]] = 1
    return table


@lru_cache(maxsize=1 << 16)
def words(text: str) -> tuple[str, ...]:
    """The words of a text as answers are compared: lower case, no punctuation, no articles."""
    return tuple(normalise(text).split())


def _parts(case: Case) -> tuple[set[str], set[str], set[str]]:
    return set(words(case.question)), set(words(case.target)), set(words(case.asked))


def _marks(case: Case) -> set[str]:
    edit, target, probe = _parts(case)
    marks = {
        *_named("edit", edit),
        *_named("target", target),
        *_named("probe", probe),
        *_named("both", edit & probe),
        *_named("edit alone", edit - probe),
        *_named("probe alone", probe - edit - target),
        *_named("target in probe", target & probe),
        f"whole target in probe:{target <= probe}",
        f"begins:{' '.join(words(case.asked)[:2])}",
        f"ends:{case.asked[-1:]}",
        f"same words:{words(case.question) == words(case.asked)}",
        f"image:{bool(case.shown)}",
    }
    amounts = {"both": edit & probe, "edit alone": edit - probe, "probe alone": probe - edit - target}
    return marks | {f"so many {name}:{min(len(some), 9)}" for name, some in amounts.items()}


def _pairs(case: Case) -> list[str]:
    edit, _, probe = _parts(case)
    return [f"{_PAIR}{one}|{other}" for one in sorted(edit) for other in sorted(probe)]


def _said(case: Case) -> set[str]:
    assert case.said is not None, "a base model was asked"
    edit, probe = (words(said) for said in case.said)
    _, target, asked = _parts(case)
    return {
        f"edit's answer:{' '.join(edit)}",
        f"probe's answer:{' '.join(probe)}",
        f"answers agree:{edit == probe}",
        f"edit's answer in probe:{set(edit) <= asked}",
        f"probe's answer is target:{set(probe) == target}",
        f"both answers:{' '.join(edit)}|{' '.join(probe)}",
        f"probe's answer, target in probe:{' '.join(probe)}|{target <= asked}",
    }


def _said_of(case: Case) -> list[str]:
    return [f"{mark}|{word}" for mark in sorted(_said(case)) for word in sorted(_parts(case)[2])]


def _named(name: str, some: Iterable[str]) -> Iterable[str]:
    return (f"{name}:{word}" for word in some)


def _rarity(cases: Sequence[Case]) -> dict[str, float]:
    """How rare a word is among probes and edits: log of one over its share."""
    counts = Counter(word for case in cases for word in set(words(case.asked)) | set(words(case.question)))
    return {word: log((len(cases) + 1) / count) for word, count in counts.items()}


def _amounts(case: Case, rarity: dict[str, float]) -> list[float]:
    edit, target, probe = _parts(case)
    amounts: list[float] = []
    for some in (edit & probe, probe - edit - target, edit - probe):
        rare = [rarity[word] for word in sorted(some)]
        amounts += [len(rare), sum(rare), max(rare, default=0)]
    lengths = [len(case.asked), len(case.asked) - len(case.question), len(words(case.asked)), len(words(case.question))]
    return [*amounts, len(target & probe) / max(1, len(target)), *lengths]
