"""Scores against computations written out by hand, and the normalisation of answers."""

from __future__ import annotations

import itertools
from importlib.metadata import EntryPoint

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rows import image_ref

from fgvedit.backbones.answering import TOP_K, Forced, Query
from fgvedit.backbones.base import Backbone
from fgvedit.evaluation.protocols import GROUP, open_protocols
from fgvedit.evaluation.protocols import protocols as all_protocols
from fgvedit.evaluation.protocols.generation import normalise
from fgvedit.probes import EDIT, ProbeKind, changes, kinds, probe_kinds
from fgvedit.util.errors import FGVEditError

OWN_PAPER = "fgvedit.evaluation.protocols.paper"
PAPER, GENERATION = all_protocols()["paper"], all_protocols()["generation"]


def forced(top: list[list[int]], answer: list[int]) -> Forced:
    return Forced(torch.tensor(top, dtype=torch.int32), torch.tensor(answer, dtype=torch.int32))


@st.composite
def predictions(draw: st.DrawFn, positions: int | None = None) -> Forced:
    positions = positions or draw(st.integers(2, 6))
    top = draw(st.lists(st.permutations(range(TOP_K)), min_size=positions, max_size=positions))
    answer = draw(st.lists(st.integers(0, TOP_K - 1), min_size=1, max_size=positions - 1))
    return forced([list(ranks) for ranks in top], answer)


def share_unchanged(old: list[list[int]], new: list[list[int]], ranks: int) -> float:
    """Position by position from the end, rank by rank."""
    same = 0
    for back in range(1, len(old) + 1):
        for rank in range(ranks):
            same += back <= len(new) and old[-back][rank] == new[-back][rank]
    return same / (len(old) * ranks)


@given(predictions(), predictions())
def test_paper_scores_are_the_definitions_written_out(before: Forced, after: Forced):
    old, new, answer = before.top.tolist(), after.top.tolist(), after.answer.tolist()
    # The token at a position predicts the next one: the answer's last token is predicted one before the end.
    exact = all(new[len(new) - 1 - len(answer) + i][0] == token for i, token in enumerate(answer))
    for kind in filter(changes, kinds()):
        assert PAPER.score(kind, "", before, after) == float(exact)
    assert PAPER.score("text_locality", "", before, after) == pytest.approx(share_unchanged(old, new, 1))
    for kind in ("out_of_scope", "other_image", "reference_out"):
        assert PAPER.score(kind, "", before, after) == pytest.approx(share_unchanged(old, new, TOP_K))


@given(predictions(), predictions())
def test_paper_scores_are_between_0_and_1_and_nothing_changed_is_1(before: Forced, after: Forced):
    for kind in (EDIT, *probe_kinds()):
        assert 0 <= PAPER.score(kind, "", before, after) <= 1
    for kind in itertools.filterfalse(changes, kinds()):
        assert PAPER.score(kind, "", before, before) == 1


def test_paper_exactness_asks_for_every_token():
    top = [[9] * TOP_K, [5] * TOP_K, [6] * TOP_K, [0] * TOP_K]
    assert PAPER.score("edit", "", None, forced(top, [5, 6])) == 1
    assert PAPER.score("edit", "", None, forced(top, [5, 7])) == 0


def test_paper_counts_the_ranks_it_names():
    old = forced([list(range(10)), list(range(10))], [1])
    new = forced([[0, 2, 1, *range(3, 10)], list(range(10))], [1])  # ranks 2 and 3 of one of two positions swapped
    assert PAPER.score("text_locality", "", old, new) == 1
    assert PAPER.score("out_of_scope", "", old, new) == 18 / 20


def test_paper_aligns_a_longer_input_at_its_end_and_counts_missing_positions_as_changed():
    short = forced([[position] * TOP_K for position in (1, 2, 3)], [3])
    long = forced([[position] * TOP_K for position in (8, 9, 1, 2, 3)], [3])
    assert PAPER.score("out_of_scope", "", short, long) == 1
    assert PAPER.score("out_of_scope", "", long, short) == 3 / 5


def test_paper_reads_the_models_own_predictions(backbone: Backbone):
    question, answer = "What colour is the card?", "blue"
    response = PAPER.ask(backbone, [Query(question, image_ref())], [answer])[0]
    with torch.no_grad():
        inputs = backbone.inputs([f"{backbone.prompt(question)} {answer}"], [image_ref()])
        best = backbone.logits(inputs)[0].argmax(dim=-1)
    width = len(backbone.token_ids(" " + answer))
    expected = best[-width - 1 : -1]
    assert response.predicted.tolist() == expected.tolist()
    assert PAPER.text(response, backbone.tokenizer) == backbone.tokenizer.decode(expected).strip()


def test_generation_scores_the_expected_answer_or_the_one_before():
    for kind in filter(changes, kinds()):
        assert GENERATION.score(kind, "blue", "red", "Blue.") == 1
        assert GENERATION.score(kind, "blue", "red", "red") == 0
        assert GENERATION.score(kind, "blue", "red", "light blue") == 0
    for kind in itertools.filterfalse(changes, kinds()):
        assert GENERATION.score(kind, "blue", "red", "The red") == 1
        assert GENERATION.score(kind, "blue", "red", "blue") == 0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("A Red  Car.", "red car"),
        ("two", "2"),
        ("None", "0"),
        ("the ten apples", "10 apples"),
        ("red-green", "red green"),  # punctuation that joins becomes a space
        ("red - green", "red green"),
        ("yes, it is", "yes it is"),
        ("1,000", "1000"),
        ("2.5 m", "2.5 m"),
        ("St. Mary", "st mary"),
        ("dont", "don't"),
        ("couldnt've", "couldn't've"),
        ("its well", "its well"),  # words of their own, not contractions
        ("what?!", "what"),
        ("line\nbreak\ttab", "line break tab"),
        ("an", ""),
        ("", ""),
    ],
)
def test_normalisation(answer: str, expected: str):
    assert normalise(answer) == expected


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from(" .,;-'?!/0123456789aAtheonTENdw"))))
def test_normalisation_is_idempotent(answer: str):
    assert normalise(normalise(answer)) == normalise(answer)


@given(st.text(alphabet="abc 123"), st.sampled_from(["", " ", "\n", "!", " ?"]))
def test_normalisation_ignores_case_space_and_closing_marks(answer: str, end: str):
    assert normalise(answer.upper() + end) == normalise(answer)


def test_protocols_are_opened_once_each_in_their_order():
    assert [protocol.name for protocol in open_protocols("generation, paper,paper")] == ["paper", "generation"]
    with pytest.raises(FGVEditError, match=r"unknown protocol 'papers'.*did you mean 'paper'"):
        open_protocols("papers")
    with pytest.raises(FGVEditError, match="paper, generation"):
        open_protocols(" , ")


def test_a_protocol_that_cannot_be_loaded_is_nothing_to_the_others(monkeypatch):
    modules = {"broken": "nowhere", "paper": OWN_PAPER}
    points = [EntryPoint(name, f"{module}:Paper", GROUP) for name, module in modules.items()]
    monkeypatch.setattr("fgvedit.evaluation.protocols.entry_points", lambda group: points)
    found = all_protocols.__wrapped__()
    assert list(found) == ["paper", "broken"] and found["paper"].name == "paper"
    with pytest.raises(FGVEditError, match="protocol 'broken' needs the module 'nowhere'"):
        found["broken"]
    points[:] = [EntryPoint("wrong", f"{OWN_PAPER}:Paper", GROUP)]
    with pytest.raises(FGVEditError, match=r"protocol 'wrong' \(.*\) is called 'paper' by its class"):
        all_protocols.__wrapped__()["wrong"]
    points.clear()
    with pytest.raises(FGVEditError, match=r"no protocol is registered .* install fgvedit again"):
        all_protocols.__wrapped__()


def test_a_kind_is_scored_by_its_rule_or_refused(monkeypatch):
    kept = ProbeKind("kept", "", "as before", "kept_kind", rules={"paper": "top-1", "generation": "top-10"})
    monkeypatch.setitem(kinds(), "kept", kept)
    before, after = forced([[1, 2], [3, 4]], [3]), forced([[1, 9], [3, 9]], [3])
    assert PAPER.score("kept", "", before, after) == 1 and PAPER.score("out_of_scope", "", before, after) == 0.5
    with pytest.raises(FGVEditError, match="kind of probe 'kept' is to be scored by the rule 'top-10' under protocol"):
        GENERATION.score("kept", "blue", "red", "red")
