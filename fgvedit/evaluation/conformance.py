"""The checks that any editor can be put through: what the rest of the house relies on an editor to keep to.

A check is a function that raises `Broken` with what is wrong, or `Skipped` with why it does not apply; the first line
of its docstring is its name, and what it returns, if anything, is a remark. Every check starts from editors, and
backbones, that were just opened, so that one broken promise does not spoil the checks after it.

What is compared exactly: the base model, answers left to the base model, the rows of a run, and, however the queries
are ordered, routes and generated answers. The ranks of a teacher-forced answer are not compared between batches of
another order, since the last bits of a batched sum may depend on it.
"""

from __future__ import annotations

import hashlib
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from fgvedit.backbones.answering import Answerer, Forced, Query
from fgvedit.backbones.base import Backbone
from fgvedit.editors.contract import EditedModel, Editor, Route
from fgvedit.evaluation.protocols import protocols
from fgvedit.evaluation.rows import AnyRow, Row
from fgvedit.evaluation.runs.plan import Plan
from fgvedit.evaluation.runs.probing import ProbedRecord, probe_record, set_seed
from fgvedit.schema import Edit, Record
from fgvedit.util.errors import FGVEditError, one_line

DESTINATIONS = ("base", "edited", "counterfactual")
NEAR_TIE = 2  # ranks within which a token generated and one forced are the same but for rounding


@dataclass(frozen=True)
class Finding:
    """What came of a check. `passed`: None where it was skipped; `why`: what is wrong, or a remark."""

    check: str
    passed: bool | None
    why: str = ""

    def __str__(self) -> str:
        word = {True: "ok", False: "FAILED", None: "skipped"}[self.passed]
        return f"{word:8}{self.check}" + (f": {self.why}" if self.why else "")


class Broken(Exception):
    """What an editor did that it may not do."""


class Skipped(Exception):
    """Why a check does not apply."""


def check(
    open_editor: Callable[[], Editor],
    records: Sequence[Record],
    *,
    seed: int = 0,
    report: Callable[[Finding], object] = lambda finding: None,
) -> list[Finding]:
    """Put an editor through every check, in order; each finding goes to `report` as soon as it is known.

    `open_editor` gives a new editor, ready to edit, on a backbone that was newly opened too, whenever it is called.
    `records` may be many: the first one is used, and the first of another image. Whatever the editor raises is a
    finding. Raises `FGVEditError` where all records share an image, and for what `open_editor` raises at first.
    """
    open_editor()  # whatever is wrong with its options is no finding
    bench = Bench(open_editor, two_records(records), seed)
    findings = []
    for function in CHECKS:
        findings.append(examine(function, bench))
        report(findings[-1])
    return findings


def examine(function: Callable[[Bench], str | None], bench: Bench) -> Finding:
    """What one of `CHECKS` finds."""
    set_seed(bench.seed, function.__name__)
    name = (function.__doc__ or "").partition("\n")[0].rstrip(".")
    try:
        return Finding(name, True, function(bench) or "")
    except Skipped as skipped:
        return Finding(name, None, str(skipped))
    except Broken as broken:
        return Finding(name, False, str(broken))
    except Exception as error:  # the editor's own, of any type
        return Finding(name, False, raised(error))


def two_records(records: Sequence[Record]) -> list[Record]:
    """The first record and the first of another image, with one probe of each kind."""
    for record in records:
        if record.image.key != records[0].image.key:
            return [replace(found, probes=one_of_each_kind(found)) for found in (records[0], record)]
    raise FGVEditError(f"an editor is checked on two images: found one in {len(records)} records, expected another")


def one_of_each_kind(record: Record) -> tuple:
    return tuple({probe.kind: probe for probe in reversed(record.probes)}.values())[::-1]


def raised(error: Exception) -> str:
    """What was raised, and the last line of it that is not a library's."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    return f"{type(error).__name__}: {one_line(error)} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"


@dataclass
class Bench:
    """What a check works on: an editor as often as it is needed, two records of different images, their queries."""

    open_editor: Callable[[], Editor]
    records: Sequence[Record]
    seed: int

    def editor(self) -> Editor:
        """A new editor; its backbone has encoded the records' images in one batch, as in a run."""
        editor = self.open_editor()
        Plan(self.records).encode(self.records, editor.backbone)
        return editor

    def rows(self, editor: Editor, record: Record) -> list[Row]:
        """The rows of one edit, as a run writes them."""
        editor.backbone.cached_answerer.forget()  # an answer in a batch of another shape may be rounded in another way
        return probe_record(editor, record, list(protocols().values()), self.seed).rows

    @cached_property
    def rows_alone(self) -> list[Row]:
        """The rows of the second record from an editor that has made no other edit."""
        return self.rows(self.editor(), self.records[1])

    @cached_property
    def rows_again(self) -> list[Row]:
        """The same, from yet another editor."""
        return self.rows(self.editor(), self.records[1])

    @property
    def edit(self) -> Edit:
        return self.records[0].edit

    @property
    def queries(self) -> list[Query]:
        """The edit's question and the first record's probes, some without an image, and the second edit's question."""
        first, second = self.records
        asked = [(first.question, first.image), *((probe.question, probe.image) for probe in first.probes)]
        queries = [Query(*one) for one in (*asked, (first.question, None), (second.question, second.image))]
        return list({query.key: query for query in queries}.values())

    @property
    def answers(self) -> list[str]:
        """One for each of `queries`, not all the same."""
        return [(self.edit.target, self.records[0].answer)[number % 2] for number in range(len(self.queries))]


# The base model


def given_back(bench: Bench) -> None:
    """Leaving the edit gives the base model back, bit for bit."""
    editor = bench.editor()
    before = snapshot(editor.backbone)
    with editor.edit([bench.edit]) as edited:
        ask(edited, bench)
    compare(before, editor.backbone, "after the edit")


def given_back_after_an_error(bench: Bench) -> None:
    """An error inside the edit gives the base model back too, and is not swallowed."""
    editor = bench.editor()
    before = snapshot(editor.backbone)
    error = KeyError("raised on purpose")
    try:
        with editor.edit([bench.edit]) as edited:
            ask(edited, bench)
            raise error
    except KeyError as caught:
        if caught is not error:
            raise
    else:
        raise Broken("an exception raised inside `with editor.edit(...)` did not come out of it")
    compare(before, editor.backbone, "after an exception inside the edit")


# Rows


def same_seed_same_rows(bench: Bench) -> None:
    """The same seed gives the same rows."""
    compare_rows(bench.rows_alone, bench.rows_again, "of one edit and seed, made twice")


def no_trace(bench: Bench) -> None:
    """An edit leaves no trace in the next one."""
    if bench.rows_alone != bench.rows_again:
        raise Skipped("the rows differ even with the same seed")
    editor = bench.editor()
    bench.rows(editor, bench.records[0])
    after = bench.rows(editor, bench.records[1])
    compare_rows(bench.rows_alone, after, "of an edit in a new editor, and after another edit")


# How many edits


def several_edits(bench: Bench) -> str | None:
    """Two edits at once are made, or refused with an FGVEditError."""
    return made_or_refused(bench, [record.edit for record in bench.records])


def no_edits(bench: Bench) -> str | None:
    """An empty list of edits is taken, or refused with an FGVEditError."""
    return made_or_refused(bench, [])


def made_or_refused(bench: Bench, edits: Sequence[Edit]) -> str | None:
    editor = bench.editor()
    before = snapshot(editor.backbone)
    refusal = None
    try:
        with editor.edit(edits) as edited:
            ask(edited, bench)
            check_routes(edited.explain(bench.queries), bench.queries, edits)
    except FGVEditError as error:
        refusal = f"refused: {error}"
    compare(before, editor.backbone, f"after edit() of {len(edits)} edits" + (", refused" if refusal else ""))
    return refusal


def edits_in_a_row(bench: Bench) -> str | None:
    """Edits in a row: the first is as it is alone, and the base model comes back from all."""
    if bench.rows_alone != bench.rows_again:
        raise Skipped("the rows differ even with the same seed")
    editor = bench.editor()
    editor.backbone.cached_answerer.forget()
    second, first = bench.records  # the one that was edited alone comes first
    asked = ProbedRecord(editor.backbone, first, list(protocols().values()))
    before = snapshot(editor.backbone)
    refusal = None
    try:
        with editor.edit_sequentially() as make:
            set_seed(bench.seed, first.id)
            compare_rows(bench.rows_alone, asked.rows(make(first.edit)), "of an edit alone, and as the first in a row")
            edited = make(second.edit)
            ask(edited, bench)
            check_routes(edited.explain(bench.queries), bench.queries, [first.edit, second.edit])
    except FGVEditError as error:
        refusal = f"refused: {error}"
    compare(before, editor.backbone, "after edits in a row" + (", refused" if refusal else ""))
    return refusal


# Routing


def routing_is_explained(bench: Bench) -> None:
    """Every query has a route that says where its answer is from."""
    editor = bench.editor()
    with editor.edit([bench.edit]) as edited:
        check_routes(edited.explain(bench.queries), bench.queries, [bench.edit])


def base_answers_are_the_base_models(bench: Bench) -> str | None:
    """What is routed to the base model is answered exactly as the base model answers it."""
    editor = bench.editor()
    queries, answers = bench.queries, bench.answers
    base = editor.backbone.cached_answerer
    written, forced = base.generate(queries), base.teacher_force(queries, answers)
    with editor.edit([bench.edit]) as edited:
        routes = edited.explain(queries)
        written_after, forced_after = edited.generate(queries), edited.teacher_force(queries, answers)
    outside = [row for row, route in enumerate(routes) if route.to == "base"]
    for row in outside:
        query = described(queries[row])
        advice = "answer it through backbone.cached_answerer"
        if written_after[row] != written[row]:
            found, expected = written_after[row], written[row]
            raise Broken(f"{query} is routed to the base model and answered '{found}', expected '{expected}'; {advice}")
        if not torch.equal(forced_after[row].top, forced[row].top):
            raise Broken(
                f"{query} is routed to the base model, but its most likely tokens under teacher forcing are not the "
                f"base model's; {advice}"
            )
    return f"{len(outside)} of {len(queries)} queries" if outside else "no query is routed there"


def memory_stays_the_base_models(bench: Bench) -> None:
    """What was asked only under the edit is not remembered as the base model's answer."""
    editor = bench.editor()
    backbone = editor.backbone
    with editor.edit([bench.edit]) as edited:
        routes = edited.explain(bench.queries)
        outside = [query for query, route in zip(bench.queries, routes, strict=True) if route.to == "base"][:1]
        if not outside:
            raise Skipped("no query is routed to the base model")
        edited.generate(outside)
        edited.teacher_force(outside, [bench.edit.target])
    remembered, own = (
        (model.generate(outside), model.teacher_force(outside, [bench.edit.target])[0].top.tolist())
        for model in (backbone.cached_answerer, backbone)
    )
    if remembered != own:
        raise Broken(
            f"{described(outside[0])} was answered through backbone.cached_answerer while the base model was changed, "
            "and its answer is now taken for the base model's; make the change only around what the edit answers"
        )


# Questions


def without_an_image(bench: Bench) -> None:
    """A question without an image is answered."""
    editor = bench.editor()
    query = Query(bench.edit.question)
    with editor.edit([bench.edit]) as edited:
        check_answers(edited, [query], [bench.edit.target])
        check_routes(edited.explain([query]), [query], [bench.edit])


def no_questions(bench: Bench) -> None:
    """An empty list of queries gives an empty list of answers."""
    editor = bench.editor()
    with editor.edit([bench.edit]) as edited:
        check_answers(edited, [], [])
        check_routes(edited.explain([]), [], [bench.edit])


def order_does_not_matter(bench: Bench) -> None:
    """Answers and routes come in the order of the queries, of which some may be equal."""
    editor = bench.editor()
    queries, answers = [*bench.queries, bench.queries[0]], [*bench.answers, bench.answers[0]]
    with editor.edit([bench.edit]) as edited:
        written, forced = check_answers(edited, queries, answers)
        routes = edited.explain(queries)
        written_back, forced_back = check_answers(edited, queries[::-1], answers[::-1])
        routes_back = edited.explain(queries[::-1])
    advice = "asked in the reverse order"
    for query, one, other in zip(queries, written, written_back[::-1], strict=True):
        if one != other:
            raise Broken(f"{described(query)} is answered '{one}', and, {advice}, '{other}'")
    for query, ranks, ranks_back in zip(queries, forced, forced_back[::-1], strict=True):
        if ranks.answer.tolist() != ranks_back.answer.tolist():
            raise Broken(f"teacher forcing of {described(query)}, {advice}, holds another query's answer")
    for query, route, back in zip(queries, routes, routes_back[::-1], strict=True):
        if (route.to, route.edit) != (back.to, back.edit):
            raise Broken(f"the route of {described(query)} is {route}, and, {advice}, {back}")


def generated_and_forced_agree(bench: Bench) -> None:
    """The first token is the same generated and teacher-forced."""
    editor = bench.editor()
    tokenizer = editor.backbone.tokenizer
    with editor.edit([bench.edit]) as edited:
        written = edited.generate(bench.queries, max_new_tokens=1)
        forced = edited.teacher_force(bench.queries, bench.answers)
    for query, text, ranks in zip(bench.queries, written, forced, strict=True):
        likely = ranks.top[-len(ranks.answer) - 1, :NEAR_TIE].tolist()
        tokens = [tokenizer.decode([token], skip_special_tokens=True).strip() for token in likely]
        if text not in tokens:
            raise Broken(
                f"the answer to {described(query)} begins with '{text}' when it is generated and with '{tokens[0]}' "
                "under teacher forcing"
            )


# Checkpoints


def saved_and_loaded(bench: Bench) -> None:
    """A checkpoint that is saved and loaded again gives the same rows; one that is not there is refused."""
    editor = bench.editor()
    if not editor.trained:
        raise Skipped("the editor is not trained")
    rows = bench.rows(editor, bench.records[1])
    with tempfile.TemporaryDirectory() as folder:
        saved, empty = Path(folder, "saved"), Path(folder, "empty")
        saved.mkdir()
        empty.mkdir()
        editor.save(saved)
        set_seed(bench.seed + 1, "untrained")  # what is not loaded shall not be the same by chance
        loaded = type(editor)(editor.backbone, editor.config)
        try:
            loaded.load(empty)
        except FGVEditError:
            pass
        except Exception as error:
            raise Broken(f"load() of an empty folder: {raised(error)}; expected an FGVEditError") from error
        else:
            raise Broken("load() of an empty folder raises nothing; expected an FGVEditError that names the file")
        loaded.load(saved)
    compare_rows(rows, bench.rows(loaded, bench.records[1]), "before save() and after load()")


CHECKS: tuple[Callable[[Bench], str | None], ...] = (
    given_back,
    given_back_after_an_error,
    same_seed_same_rows,
    no_trace,
    several_edits,
    no_edits,
    edits_in_a_row,
    routing_is_explained,
    base_answers_are_the_base_models,
    memory_stays_the_base_models,
    without_an_image,
    no_questions,
    order_does_not_matter,
    generated_and_forced_agree,
    saved_and_loaded,
)


# What checks are made of


def snapshot(backbone: Backbone) -> dict[tuple[str, str], Any]:
    """(what, where) -> a value that is equal as long as nothing there has changed."""
    state: dict[tuple[str, str], Any] = {}
    for name, tensor in [*backbone.model.named_parameters(), *backbone.model.named_buffers()]:
        state["value", name] = digest(tensor)
        state["requires_grad", name] = tensor.requires_grad
        state["gradient", name] = None if tensor.grad is None else digest(tensor.grad)
    for name, module in backbone.model.named_modules():
        where = name or "the model"
        state["class", where] = type(module)
        state["training flag", where] = module.training
        state["forward method", where] = (type(module).forward, vars(module).get("forward"))
        for attribute, value in vars(module).items():
            if attribute.endswith(("_hooks", "_pre_hooks")) and not attribute.startswith("_state_dict"):
                state[f"dictionary {attribute}", where] = tuple(value.values())
    for name, value in vars(backbone).items():
        if name != "encoded_images":
            state["identity", f"backbone.{name}"] = (id(value), value)  # kept, so that no other gets its id
    return state


def digest(tensor: torch.Tensor) -> tuple[str, torch.dtype, torch.device]:
    """A hash of the bits (NaN is NaN here, and -0 is not 0), and what they are the bits of."""
    bits = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(bits).hexdigest(), tensor.dtype, tensor.device


def compare(before: dict[tuple[str, str], Any], backbone: Backbone, when: str) -> None:
    after = snapshot(backbone)
    keys = list({**before, **after})
    changed = [key for key in keys if (key in before) != (key in after) or before[key] != after[key]]
    if changed:
        what, where = changed[0]
        more = f" (and {len(changed) - 1} more such things)" if changed[1:] else ""
        raise Broken(f"{when} the {what} of '{where}' is not what it was before{more}")


def compare_rows(expected: Sequence[AnyRow], found: Sequence[AnyRow], of: str) -> None:
    for one, other in zip(expected, found, strict=True):
        for column in one:
            if one[column] != other[column]:
                raise Broken(
                    f"the rows {of}, differ: '{column}' of probe {one['probe']} ({one['kind']}, protocol "
                    f"{one['protocol']}) is {one[column]!r} and {other[column]!r}"
                )


def ask(edited: EditedModel, bench: Bench) -> None:
    check_answers(edited, bench.queries, bench.answers)
    edited.explain(bench.queries)


def check_answers(
    answerer: Answerer, queries: Sequence[Query], answers: Sequence[str]
) -> tuple[list[str], list[Forced]]:
    """Asks both ways and checks that there is one answer of the right type for each query."""
    written, forced = answerer.generate(queries), answerer.teacher_force(queries, answers)
    for method, found, kind in (("generate", written, str), ("teacher_force", forced, Forced)):
        if len(found) != len(queries) or not all(isinstance(answer, kind) for answer in found):
            types = ", ".join(sorted({type(answer).__name__ for answer in found}))
            raise Broken(
                f"{method}() gives {len(found)} answers ({types}) to {len(queries)} queries, expected as many, of "
                f"type {kind.__name__}"
            )
    return written, forced


def check_routes(routes: Sequence[Route], queries: Sequence[Query], edits: Sequence[Edit]) -> None:
    if len(routes) != len(queries):
        raise Broken(f"explain() gives {len(routes)} routes to {len(queries)} queries, expected as many")
    for route, query in zip(routes, queries, strict=True):
        where = f"the route of {described(query)}"
        if not isinstance(route, Route):
            raise Broken(f"{where} is {route!r}, expected a Route")
        if route.to not in DESTINATIONS:
            raise Broken(f"{where} has to={route.to!r}, expected one of {', '.join(DESTINATIONS)}")
        if route.edit is not None and not (type(route.edit) is int and 0 <= route.edit < len(edits)):
            raise Broken(f"{where} has edit={route.edit!r}, expected None or the index of one of {len(edits)} edits")
        if route.rho is not None and not (type(route.rho) in (int, float) and 0 <= route.rho <= 1):
            raise Broken(f"{where} has rho={route.rho!r}, expected None or a number from 0 to 1")


def described(query: Query) -> str:
    return f"'{query.question}' " + (f"about '{query.image.image_id}'" if query.image else "without an image")
