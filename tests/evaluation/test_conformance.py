"""The conformance check: one editor for every promise that can be broken, and the guide's editor, which keeps all."""

from __future__ import annotations

import copy
import functools
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import torch
from dummy import InPrompt, _InPrompt
from rows import make_row
from torch import nn

from baselines.none.editor import NoEdit
from fgvedit.backbones.answering import MAX_NEW_TOKENS, Forced, Query
from fgvedit.backbones.base import Backbone
from fgvedit.cli import check_editor
from fgvedit.editors.checkpoints import load_checkpoint, save_checkpoint
from fgvedit.editors.contract import EditedModel, Editor, Route, SingleRoute, restored
from fgvedit.editors.registry import ENTRY_POINTS
from fgvedit.evaluation.conformance import Finding, check, examine
from fgvedit.evaluation.conformance.bench import Bench, two_records
from fgvedit.evaluation.conformance.checks import (
    CHECKS,
    base_answers_are_the_base_models,
    company_does_not_matter,
    edits_in_sequence,
    generated_and_forced_agree,
    given_back,
    given_back_after_an_error,
    memory_stays_the_base_models,
    no_edits,
    no_questions,
    no_trace,
    order_does_not_matter,
    routing_is_explained,
    same_seed_same_rows,
    saved_and_loaded,
    several_edits,
    without_an_image,
)
from fgvedit.schema import Edit, Record, record_from_row
from fgvedit.util.errors import FGVEditError

Check = Callable[[Bench], "str | None"]
GUIDE = Path(__file__).parents[2] / "docs" / "write-your-own-editor.md"


@pytest.fixture
def records() -> list[Record]:
    questions = ("What colour is the card?", "Which colour has it?")
    return [record_from_row(make_row(number, question=question)) for number, question in enumerate(questions)]


@pytest.fixture
def opener(backbone: Backbone) -> Callable[..., Callable[[], Editor]]:
    """class -> what opens a new editor of it, loaded from a checkpoint where one is given, on a new backbone."""

    def opens(kind: type[Editor], checkpoint: Path | None = None) -> Callable[[], Editor]:
        def open_editor() -> Editor:
            editor = kind(copy.deepcopy(backbone), kind.Config())
            if checkpoint:
                editor.load(checkpoint)
            return editor

        return open_editor

    return opens


@pytest.fixture
def found(opener: Callable[..., Callable[[], Editor]], records: list[Record]) -> Callable[..., Finding]:
    """What one check finds in an editor of a class."""

    def find(function: Check, kind: type[Editor], checkpoint: Path | None = None) -> Finding:
        return examine(function, Bench(opener(kind, checkpoint), records, seed=0))

    return find


class Good(InPrompt):
    """Keeps every promise. `inside` is what a broken one does when an edit begins, `answered` what it answers with."""

    answered: type[_InPrompt] = _InPrompt

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        self.inside(edits)
        yield (
            self.answered(self.backbone, *edits) if edits else SingleRoute(self.backbone.cached_answerer, Route("base"))
        )

    def inside(self, edits: Sequence[Edit]) -> None:
        pass

    @property
    def layer(self) -> Any:
        return self.backbone.language_layers[0]


@pytest.mark.parametrize("kind", [Good, NoEdit])
def test_a_good_editor_passes_every_check(opener, records, kind):
    *findings, checkpoint, supervision = check(opener(kind), records)
    assert all(finding.passed for finding in findings)
    assert (checkpoint.passed, checkpoint.why) == (None, "the editor is not trained")
    assert (supervision.passed, supervision.why) == (True, "none")


# The base model


class Hooked(Good):
    def inside(self, edits: Sequence[Edit]) -> None:
        self.layer.register_forward_hook(lambda module, inputs, outputs: None)


class PreHooked(Good):
    def inside(self, edits: Sequence[Edit]) -> None:
        self.layer.register_forward_pre_hook(lambda module, inputs: None)


class OtherBits(Good):
    """The numbers stay equal, the bits do not."""

    @torch.no_grad()
    def inside(self, edits: Sequence[Edit]) -> None:
        assert (self.layer.fc1.bias == 0).all()
        self.layer.fc1.bias.neg_()


class WithGradient(Good):
    def inside(self, edits: Sequence[Edit]) -> None:
        self.layer.fc1.weight.requires_grad_(True)


class LeavesGradient(Good):
    def inside(self, edits: Sequence[Edit]) -> None:
        self.layer.fc1.weight.grad = torch.zeros_like(self.layer.fc1.weight)


class InTraining(Good):
    def inside(self, edits: Sequence[Edit]) -> None:
        self.layer.fc1.train()


class Wrapped(Good):
    def inside(self, edits: Sequence[Edit]) -> None:
        self.layer.fc1 = nn.Sequential(self.layer.fc1)


class OtherClass(Good):
    def inside(self, edits: Sequence[Edit]) -> None:
        self.layer.fc1.__class__ = type("Linear", (nn.Linear,), {})


class OtherForward(Good):
    def inside(self, edits: Sequence[Edit]) -> None:
        self.layer.fc1.forward = functools.partial(nn.Linear.forward, self.layer.fc1)


class OtherPrompt(Good):
    def inside(self, edits: Sequence[Edit]) -> None:
        self.backbone.prompt = type(self.backbone).prompt.__get__(self.backbone)  # type: ignore[method-assign]


class ExtraBuffer(Good):
    def inside(self, edits: Sequence[Edit]) -> None:
        self.layer.register_buffer("extra", torch.zeros(1))


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (Hooked, "after the edit the dictionary _forward_hooks of '.*layers.0' is not what it was"),
        (PreHooked, "dictionary _forward_pre_hooks of '.*layers.0'"),
        (OtherBits, "the value of '.*layers.0.fc1.bias'"),
        (WithGradient, "the requires_grad of '.*layers.0.fc1.weight'"),
        (LeavesGradient, "the gradient of '.*layers.0.fc1.weight'"),
        (InTraining, "the training flag of '.*layers.0.fc1'"),
        (Wrapped, "of '.*layers.0.fc1.* is not what it was before .and .* more"),
        (OtherClass, "the class of '.*layers.0.fc1'"),
        (OtherForward, "the forward method of '.*layers.0.fc1'"),
        (OtherPrompt, "the identity of 'backbone.prompt'"),
        (ExtraBuffer, "of '.*layers.0.extra'"),
    ],
)
def test_a_base_model_that_is_not_what_it_was(found, kind, sentence):
    finding = found(given_back, kind)
    assert finding.passed is False and re.search(sentence, finding.why), finding


class NotAfterAnError(Good):
    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        handle = self.layer.register_forward_hook(lambda module, inputs, outputs: None)
        with super().edit(edits) as edited:
            yield edited
        handle.remove()


class Swallows(Good):
    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        try:
            with super().edit(edits) as edited:
                yield edited
        except KeyError:
            pass


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [(NotAfterAnError, "after an exception inside the edit the dictionary _forward_hooks"), (Swallows, "not come out")],
)
def test_an_error_inside_the_edit(found, kind, sentence):
    assert found(given_back, kind).passed
    finding = found(given_back_after_an_error, kind)
    assert finding.passed is False and sentence in finding.why, finding


# Rows


class Unseeded(Good):
    class answered(_InPrompt):
        def explain(self, queries: Sequence[Query]) -> list[Route]:
            return [Route(route.to, 0, random.SystemRandom().random()) for route in super().explain(queries)]


def test_another_row_for_the_same_seed(found):
    finding = found(same_seed_same_rows, Unseeded)
    assert finding.passed is False and "'rho' of probe -1 (edit, protocol paper)" in finding.why
    assert found(no_trace, Unseeded).passed is None


class RemembersTheFirst(Good):
    first: Edit | None = None

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        self.first = self.first or next(iter(edits), None)
        with super().edit([self.first] if self.first else []) as edited:
            yield edited


def test_a_trace_of_the_edit_before(found):
    assert found(same_seed_same_rows, RemembersTheFirst).passed
    finding = found(no_trace, RemembersTheFirst)
    assert finding.passed is False and "after another edit, differ: " in finding.why


# How many edits


class OneOnly(Good):
    error: type[Exception] = FGVEditError

    def inside(self, edits: Sequence[Edit]) -> None:
        if len(edits) != 1:
            raise self.error(f"found {len(edits)} edits, expected one")


class OneOnlyOrKeyError(OneOnly):
    error = KeyError


class RefusesTooLate(Good):
    def inside(self, edits: Sequence[Edit]) -> None:
        if len(edits) != 1:
            self.layer.fc1.weight.requires_grad_(True)
            raise FGVEditError("one edit is enough")


@pytest.mark.parametrize(("function", "count"), [(several_edits, 2), (no_edits, 0)])
def test_a_number_of_edits_may_be_refused_clearly_and_in_no_other_way(found, function, count):
    finding = found(function, OneOnly)
    assert finding.passed and finding.why == f"refused: found {count} edits, expected one"
    finding = found(function, OneOnlyOrKeyError)
    assert finding.passed is False
    assert re.search(rf"KeyError: .*found {count} edits.* \(test_conformance.py, line \d+\)", finding.why)
    finding = found(function, RefusesTooLate)
    assert finding.passed is False and f"after edit() of {count} edits, refused the requires_grad" in finding.why


class KeepsTheLast(Good):
    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        with super().edit(edits[-1:]) as edited:
            yield edited


class KeepsTheFirst(Good):
    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        with super().edit(edits[:1]) as edited:
            yield edited


@pytest.mark.parametrize(
    ("kind", "kept", "dropped"), [(KeepsTheLast, "second", "first"), (KeepsTheFirst, "first", "second")]
)
def test_none_of_two_edits_is_dropped(found, kind, kept, dropped):
    finding = found(several_edits, kind)
    assert finding.passed is False
    assert f"as under the {kept} alone, though the {dropped} alone changes an answer" in finding.why
    assert found(several_edits, Good).passed


def test_two_edits_of_one_question_may_be_one_to_an_editor(opener, records):
    alike = [replace(record, question="What colour is the card?") for record in records]
    assert examine(several_edits, Bench(opener(KeepsTheLast), alike, seed=0)).passed


def test_the_second_record_is_as_unlike_the_first_as_there_is():
    def record(number: int, **changes: Any) -> Record:
        return record_from_row(make_row(number, **changes))

    first = record(0, group="quad-0")
    own_image = record(0, id="again", group="quad-1", question="How many?", target="green")
    own_group = record(1, group="quad-0", question="How many?", target="green")
    own_words, own_target = record(2), record(3, question="How many?")
    unlike = record(4, question="How many?", target="green")
    for others, second in (
        ([own_image, own_group, own_words, own_target, unlike, record(5)], unlike),
        ([own_group, own_words, own_target], own_target),
        ([own_group, own_words], own_words),
        ([own_image, own_group], own_group),
    ):
        assert [found.id for found in two_records([first, *others])] == [first.id, second.id]


class LeavesTheLastOfARow(Good):
    @contextmanager
    def edit_sequentially(self) -> Iterator[Callable[[Edit], EditedModel]]:
        def make(edit: Edit) -> EditedModel:
            if made:
                self.layer.fc1.weight.data.add_(1)
            made.append(edit)
            return self.answered(self.backbone, edit)

        made: list[Edit] = []
        yield make


class AnotherFirst(Good):
    @contextmanager
    def edit_sequentially(self) -> Iterator[Callable[[Edit], EditedModel]]:
        yield lambda edit: SingleRoute(self.backbone.cached_answerer, Route("base"))


class CountsFromOne(Good):
    @contextmanager
    def edit_sequentially(self) -> Iterator[Callable[[Edit], EditedModel]]:
        made: list[Edit] = []

        def make(edit: Edit) -> EditedModel:
            made.append(edit)
            model = self.answered(self.backbone, made[0])
            return model if len(made) == 1 else SingleRoute(model, Route("edited", len(made)))

        yield make


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (
            LeavesTheLastOfARow,
            "after edits in sequence the value of '.*fc1.weight' is not what it was",
        ),
        (AnotherFirst, "the rows of an edit alone, and as the first of a sequence, differ"),
        (CountsFromOne, "has edit=2, expected None or the index of one of 2 edits"),
    ],
)
def test_edits_in_sequence_have_to_keep_what_single_ones_do(found, kind, why):
    finding = found(edits_in_sequence, kind)
    assert finding.passed is False and re.search(why, finding.why)


def test_edits_in_sequence_may_be_refused(found):
    finding = found(edits_in_sequence, OneOnly)
    assert finding.passed and finding.why == "refused: found 2 edits, expected one"


def test_an_editor_that_fails_without_edits(found):
    finding = found(no_edits, InPrompt)
    assert finding.passed is False and "IndexError: list index out of range (dummy.py, line" in finding.why


def test_a_route_to_an_edit_that_is_not_in_force(found):
    class Always(Good):
        @contextmanager
        def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
            yield SingleRoute(self.backbone, Route("edited", 0))

    assert "has edit=0, expected None or the index of one of 0 edits" in found(no_edits, Always).why


# Routing


@pytest.mark.parametrize(
    ("route", "sentence"),
    [
        (Route("edit"), "has to='edit', expected one of base, edited, counterfactual, mixed"),
        (Route("edited", 1), "has edit=1, expected None or the index of one of 1 edits"),
        (Route("edited", -1), "has edit=-1"),
        (Route("edited", torch.tensor(0)), "has edit=tensor(0)"),  # type: ignore[arg-type]
        (Route("edited", 0, 1.5), "has rho=1.5, expected None or a number from 0 to 1"),
        (Route("edited", 0, -0.1), "has rho=-0.1"),
        (Route("edited", 0, float("nan")), "has rho=nan"),
        (Route("edited", 0, torch.tensor(0.5)), "has rho=tensor(0.5"),  # type: ignore[arg-type]
        (Route("mixed", 0), "has to='mixed' and no rho, expected the second model's weight"),
        ("edited", "is 'edited', expected a Route"),
    ],
)
def test_a_route_that_is_none(found, route, sentence):
    class Astray(Good):
        class answered(_InPrompt):
            def explain(self, queries: Sequence[Query]) -> list[Route]:
                return [*super().explain(queries)[:-1], route]

    finding = found(routing_is_explained, Astray)
    assert finding.passed is False and sentence in finding.why


class TooFewRoutes(Good):
    class answered(_InPrompt):
        def explain(self, queries: Sequence[Query]) -> list[Route]:
            return super().explain(queries)[:7]


def test_a_route_is_missing(found):
    assert "explain() gives 7 routes to 8 queries" in found(routing_is_explained, TooFewRoutes).why


class SaysBase(Good):
    """Says that all is answered by the base model."""

    class answered(_InPrompt):
        def explain(self, queries: Sequence[Query]) -> list[Route]:
            return [Route("base")] * len(queries)

        def generate(self, queries: Sequence[Query], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
            return _InPrompt(self.backbone, *self.made).generate(queries, max_new_tokens)

        def teacher_force(self, queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]:
            return self.backbone.cached_answerer.teacher_force(queries, answers)


class ForcesOtherwise(SaysBase):
    class answered(SaysBase.answered):
        def generate(self, queries: Sequence[Query], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
            return self.backbone.cached_answerer.generate(queries, max_new_tokens)

        def teacher_force(self, queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]:
            return _InPrompt(self.backbone, *self.made).teacher_force(queries, answers)


@pytest.mark.parametrize(("kind", "sentence"), [(SaysBase, "and answered '"), (ForcesOtherwise, "teacher forcing")])
def test_an_answer_that_is_not_the_base_models(found, kind, sentence):
    finding = found(base_answers_are_the_base_models, kind)
    assert finding.passed is False and sentence in finding.why


class ChangedAllThrough(Good):
    """Leaves questions to what the base model said before, and asks the changed model where it said nothing."""

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        weight = self.layer.fc2.weight
        with restored({"fc2": weight}), super().edit(edits) as edited:
            with torch.no_grad():
                weight.mul_(-3)
            yield edited


def test_the_base_models_memory(found):
    assert found(base_answers_are_the_base_models, ChangedAllThrough).passed
    finding = found(memory_stays_the_base_models, ChangedAllThrough)
    assert finding.passed is False and "cached_answerer while the base model was changed" in finding.why


# Questions


class NeedsAnImage(Good):
    class answered(_InPrompt):
        def explain(self, queries: Sequence[Query]) -> list[Route]:
            assert all([query.image.key for query in queries])  # type: ignore[union-attr]
            return super().explain(queries)


class NeedsAQuestion(Good):
    class answered(_InPrompt):
        def explain(self, queries: Sequence[Query]) -> list[Route]:
            assert max(map(len, (query.question for query in queries)))
            return super().explain(queries)


class Shuffles(Good):
    class answered(_InPrompt):
        def generate(self, queries: Sequence[Query], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
            return sorted(super().generate(queries, max_new_tokens))


class ForcesInAnotherOrder(Good):
    class answered(_InPrompt):
        def teacher_force(self, queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]:
            return sorted(super().teacher_force(queries, answers), key=lambda forced: forced.answer.tolist())


class RoutesByIndex(Good):
    class answered(_InPrompt):
        def explain(self, queries: Sequence[Query]) -> list[Route]:
            return [Route(r.to, None if index else 0, r.rho) for index, r in enumerate(super().explain(queries))]


class DropsEqualOnes(Good):
    class answered(_InPrompt):
        def generate(self, queries: Sequence[Query], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
            return super().generate(list({query.key: query for query in queries}.values()), max_new_tokens)


class RoutesByTheOthers(Good):
    """The similarity of a query is relative to that of the queries asked with it."""

    class answered(_InPrompt):
        def explain(self, queries: Sequence[Query]) -> list[Route]:
            return [Route(route.to, route.edit, 1 / len(queries)) for route in super().explain(queries)]


class HasRhoByTheOthers(Good):
    """A query that is alone is as unlike an edit as can be; with others, nothing is said of it."""

    class answered(_InPrompt):
        def explain(self, queries: Sequence[Query]) -> list[Route]:
            rho = 0.0 if len(queries) == 1 else None
            return [Route(route.to, route.edit, rho) for route in super().explain(queries)]


class AnswersByTheOthers(Good):
    class answered(_InPrompt):
        def generate(self, queries: Sequence[Query], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
            longest = max((query.question for query in queries), key=len, default="")
            return [f"{answer} {longest}" for answer in super().generate(queries, max_new_tokens)]


class ForgetsToForce(Good):
    class answered(_InPrompt):
        def teacher_force(self, queries: Sequence[Query], answers: Sequence[str]) -> list[Forced]:
            return self.backbone.cached_answerer.teacher_force(queries, answers)


@pytest.mark.parametrize(
    ("kind", "function", "sentence"),
    [
        (NeedsAnImage, without_an_image, "AttributeError: 'NoneType' object has no attribute 'key'"),
        (NeedsAQuestion, no_questions, "ValueError: max"),
        (Shuffles, order_does_not_matter, "asked in the reverse order, '"),
        (ForcesInAnotherOrder, order_does_not_matter, "holds another query's answer"),
        (RoutesByIndex, order_does_not_matter, "asked in the reverse order, Route("),
        (DropsEqualOnes, order_does_not_matter, "generate() gives 8 answers (str) to 9 queries"),
        (RoutesByTheOthers, company_does_not_matter, "asked with 7 others and with 0, has rho 0.125 and 1.0"),
        (HasRhoByTheOthers, company_does_not_matter, "asked with 7 others and with 0, has rho None and 0.0"),
        (AnswersByTheOthers, company_does_not_matter, "asked with 7 others and with 0, is answered '"),
        (ForgetsToForce, generated_and_forced_agree, "under teacher forcing"),
    ],
)
def test_a_question_that_is_not_answered_well(found, kind, function, sentence):
    finding = found(function, kind)
    assert finding.passed is False and sentence in finding.why


# Checkpoints


class Learnt(Good):
    """Its rho is what was trained."""

    trained = True

    def __init__(self, backbone: Backbone, config: Any) -> None:
        super().__init__(backbone, config)
        self.parts = nn.Linear(2, 1)

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        rho = torch.sigmoid(self.parts.weight.sum() + self.parts.bias).item()
        yield SingleRoute(self.backbone.cached_answerer, Route("base", rho=rho))

    def save(self, folder: Path) -> None:
        save_checkpoint(folder, self.parts, self.name, self.backbone, {})

    def load(self, folder: Path) -> None:
        load_checkpoint(folder, self.parts, self.name, self.backbone, {})


class LosesTheBias(Learnt):
    def load(self, folder: Path) -> None:
        bias = self.parts.bias.detach().clone()
        super().load(folder)
        self.parts.bias.data.copy_(bias)


class LoadsNothing(Learnt):
    def load(self, folder: Path) -> None:
        pass


class CannotFind(Learnt):
    def load(self, folder: Path) -> None:
        (folder / "model.safetensors").read_bytes()
        super().load(folder)


@pytest.fixture
def checkpoint(backbone: Backbone, tmp_path: Path) -> Path:
    Learnt(backbone, Learnt.Config()).save(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_a_trained_editor_passes_every_check(opener, records, checkpoint):
    assert all(finding.passed for finding in check(opener(Learnt, checkpoint), records))


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (LosesTheBias, "before save() and after load(), differ: 'rho'"),
        (LoadsNothing, "load() of an empty folder raises nothing"),
        (CannotFind, "load() of an empty folder: FileNotFoundError"),
    ],
)
def test_a_checkpoint_that_is_not_kept_well(found, checkpoint, kind, sentence):
    finding = found(saved_and_loaded, kind, checkpoint)
    assert finding.passed is False and sentence in finding.why


# What the check itself is told


def test_an_editor_that_cannot_be_opened_is_no_finding(records):
    def open_editor() -> Editor:
        raise FGVEditError("no such checkpoint")

    with pytest.raises(FGVEditError, match="no such checkpoint"):
        check(open_editor, records)


def test_two_images_are_needed(records, opener):
    with pytest.raises(FGVEditError, match="two images: found one in 1 records"):
        check(opener(NoEdit), records[:1])


def test_findings_are_reported_as_they_are_found(records, opener):
    reported = []
    findings = check(opener(NoEdit), records, report=reported.append)
    assert reported == findings and len({finding.check for finding in findings}) == len(CHECKS)


@pytest.mark.parametrize(
    ("finding", "line"),
    [
        (Finding("A promise", True), "ok      A promise"),
        (Finding("A promise", False, "it is broken"), "FAILED  A promise: it is broken"),
        (Finding("A promise", None, "none was made"), "skipped A promise: none was made"),
    ],
)
def test_a_finding_as_it_is_printed(finding, line):
    assert str(finding) == line


# The command line, and the guide


BROKEN = """
from baselines.none.editor import NoEdit

class Broken(NoEdit):
    name = "broken"
    supervision = "a lot"

    def edit(self, edits):
        self.backbone.model.train()
        return super().edit(edits)
"""


@pytest.fixture
def common(random_blip2: Path, dataset_folder: Path) -> list[str]:
    return ["--backbone", str(random_blip2), "--dataset", str(dataset_folder), "--device", "cpu"]


def test_the_command_tells_what_failed(tmp_path, common, capsys):
    (tmp_path / "broken.py").write_text(BROKEN)
    assert check_editor.main([f"{tmp_path / 'broken.py'}:Broken", *common]) == 1
    out = capsys.readouterr().out
    assert "FAILED  Leaving the edit gives the base model back, bit for bit: after the edit the training flag" in out
    assert "tables have for it: editor.supervision is 'a lot'; expected one of \"none\", " in out
    assert re.search(r"^17 checks, \d+ failed$", out, re.MULTILINE)


def test_the_command_passes_a_good_editor(common, capsys):
    assert check_editor.main(["none", *common]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == len(CHECKS) + 2 and out.endswith("17 checks, 0 failed\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["noen"], "unknown editor 'noen'.*did you mean 'none'"),
        (["none", "--checkpoint", "nowhere"], "takes no checkpoint"),
        (["none", "--set", "steps"], "expected KEY=VALUE"),
        (["none", "--set", "steps=1"], "unknown option .*'steps'"),
        (["none", "--dataset", "scene"], "did you mean 'scenes'"),
        (["none", "--backbone", "tinny"], "did you mean 'tiny'"),
        (["none", "--dtype", "fp32"], "unknown dtype 'fp32'"),
    ],
)
def test_the_command_refuses_bad_input(arguments, message):
    with pytest.raises(FGVEditError, match=message):
        check_editor.main([*arguments, "--device", "cpu"])


def test_the_command_says_that_a_checkpoint_is_missing(tmp_path, common):
    (tmp_path / "learnt.py").write_text(BROKEN.replace('name = "broken"', "trained = True"))
    with pytest.raises(FGVEditError, match=r"no checkpoint .* at 'nowhere'.* train"):
        check_editor.main([f"{tmp_path / 'learnt.py'}:Broken", "--checkpoint", "nowhere", *common])


def test_the_help_teaches(capsys):
    with pytest.raises(SystemExit) as caught:
        check_editor.main(["--help"])
    assert caught.value.code == 0
    assert "examples:" in capsys.readouterr().out


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_guides_editor_passes_the_check_and_runs(tmp_path, common):
    (editor,), (config,) = blocks("python"), blocks("yaml")
    (tmp_path / "my_editor.py").write_text(editor, encoding="utf-8")
    (tmp_path / "config.yaml").write_text(config, encoding="utf-8")

    def call(module: str, *arguments: str) -> str:
        command = [sys.executable, "-m", module, *arguments, *common]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "17 checks, 0 failed" in call("fgvedit.check_editor", "my_editor.py:InPrompt")
    call("fgvedit.run", "--editor", "my_editor.py:InPrompt", "--out", "out", "--set", "fact=Know {target}")
    rows = (tmp_path / "out" / "rows.jsonl").read_text()
    assert '"route": "edited"' in rows and '"route": "base"' in rows


def test_the_guides_commands_have_the_options_they_name():
    from fgvedit.cli import run, train

    parsers = {"fgvedit.check_editor": check_editor, "fgvedit.run": run, "fgvedit.train": train}
    commands = [line.split() for block in blocks("bash") for line in block.splitlines()]
    asked = [words for words in commands if words[2] in parsers]
    assert len(asked) >= 6
    for _, _, module, *arguments in asked:
        parsers[module].parser().parse_args(arguments)


# Every shipped editor


REGISTERED = {point.value: point.name for point in entry_points(group=ENTRY_POINTS)}  # an editor of two names once


# What an editor learns does not matter here, nor how long a prompt it makes.
FEW_STEPS = ["--set", "steps=2"]
QUICKLY = {name: FEW_STEPS for name in ("ft-align", "ft-linf", "ft-llm", "grace", "lora", "wise")} | {
    "ike": ["--set", "k=2"]
}


@pytest.mark.parametrize("name", sorted(REGISTERED.values()))
def test_every_registered_editor_passes_on_tiny(name, capsys):
    code = check_editor.main([name, "--device", "cpu", *QUICKLY.get(name, ())])
    assert code == 0, capsys.readouterr().out
