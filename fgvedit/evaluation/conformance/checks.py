"""The checks, in their order.

A check is a function that raises `Broken` with what is wrong, or `Skipped` with why it does not apply; the first line
of its docstring is its name, and what it returns, if anything, is a remark. Every check starts from editors, and
backbones, that were just opened, so that one broken promise does not spoil the checks after it.

What is compared exactly: the base model, answers left to the base model, the rows of a run, and, however the queries
are ordered or shared out, routes and generated answers. The ranks of a teacher-forced answer are not compared between
batches of another order or size, since the last bits of a batched sum may depend on it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

from fgvedit.backbones.answering import Forced, Query
from fgvedit.editors.contract import Editor, Route
from fgvedit.editors.supervision import checked_supervision
from fgvedit.evaluation.conformance.bench import Bench, Broken, Skipped, raised
from fgvedit.evaluation.conformance.comparing import (
    ask,
    check_answers,
    check_routes,
    compare,
    compare_rows,
    described,
    snapshot,
)
from fgvedit.evaluation.protocols import protocols
from fgvedit.evaluation.runs.probing import ProbedRecord, set_seed
from fgvedit.schema import Edit
from fgvedit.util.errors import FGVEditError

NEAR_TIE = 2  # ranks within which a token generated and one forced are the same but for rounding
RHO_DIFFERS = 1e-3  # of two similarities: more than the rounding of a batch of another shape


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
    refusal = made_or_refused(bench, [record.edit for record in bench.records])
    if refusal is None:
        none_is_dropped(bench)
    return refusal


def none_is_dropped(bench: Bench) -> None:
    """Raises `Broken` where two edits answer all questions as one of them does alone, though the other one, alone, does
    change an answer. Edits of one question are let pass: to an editor that reads no image the later one replaces the
    other."""
    first, second = (record.edit for record in bench.records)
    if first.question == second.question:
        return
    both, without = answers_under(bench, [first, second]), answers_under(bench, [])
    alone = [answers_under(bench, [edit]) for edit in (first, second)]
    for dropped, kept in ((0, 1), (1, 0)):
        if both == alone[kept] and alone[dropped] != without:
            names = ("first", "second")
            raise Broken(
                f"under both edits every question is answered as under the {names[kept]} alone, though the "
                f"{names[dropped]} alone changes an answer; expected both in force, or an FGVEditError"
            )


def answers_under(bench: Bench, edits: Sequence[Edit]) -> list[tuple[str, list[list[int]]]]:
    """What is answered, generated and forced, to each query under edits made together; the base model's answers where
    there are none."""
    editor = bench.editor()
    set_seed(bench.seed, "several edits")
    with editor.edit(edits) if edits else nullcontext(editor.backbone.cached_answerer) as answerer:
        written, forced = check_answers(answerer, bench.queries, bench.answers)
    return [(text, ranks.top.tolist()) for text, ranks in zip(written, forced, strict=True)]


def no_edits(bench: Bench) -> str | None:
    """An empty list of edits is taken, or refused with an FGVEditError."""
    return made_or_refused(bench, [])


def made_or_refused(bench: Bench, edits: Sequence[Edit]) -> str | None:
    """Make edits together and ask under them; a refusal as a remark. The base model is to come back in both cases."""
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


def edits_in_sequence(bench: Bench) -> str | None:
    """Edits in sequence: the first is as it is alone, and the base model comes back from all."""
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
            compare_rows(
                bench.rows_alone, asked.rows(make(first.edit)), "of an edit alone, and as the first of a sequence"
            )
            edited = make(second.edit)
            ask(edited, bench)
            check_routes(edited.explain(bench.queries), bench.queries, [first.edit, second.edit])
    except FGVEditError as error:
        refusal = f"refused: {error}"
    compare(before, editor.backbone, "after edits in sequence" + (", refused" if refusal else ""))
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
    """What was asked only under the edit is not cached as the base model's answer."""
    editor = bench.editor()
    backbone = editor.backbone
    with editor.edit([bench.edit]) as edited:
        routes = edited.explain(bench.queries)
        outside = [query for query, route in zip(bench.queries, routes, strict=True) if route.to == "base"][:1]
        if not outside:
            raise Skipped("no query is routed to the base model")
        edited.generate(outside)
        edited.teacher_force(outside, [bench.edit.target])
    cached, own = (
        (model.generate(outside), model.teacher_force(outside, [bench.edit.target])[0].top.tolist())
        for model in (backbone.cached_answerer, backbone)
    )
    if cached != own:
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


def company_does_not_matter(bench: Bench) -> None:
    """An answer does not depend on which other questions are asked with it, nor on their order."""
    editor = bench.editor()
    queries, answers = bench.queries, bench.answers
    together = answers_in(bench, editor, [range(len(queries))])
    *rest, last = range(len(queries))
    apart = [[last], rest[:0:-1], [0]]  # the first and the last alone, the others without these, backwards
    alone = answers_in(bench, editor, apart)
    company = {row: len(rows) - 1 for rows in apart for row in rows}
    for row, query in enumerate(queries):
        (written, forced, route), (written_alone, forced_alone, route_alone) = together[row], alone[row]
        told = f"{described(query)}, asked with {len(queries) - 1} others and with {company[row]},"
        if written != written_alone:
            raise Broken(f"{told} is answered '{written}' and '{written_alone}'")
        if (route.to, route.edit) != (route_alone.to, route_alone.edit):
            raise Broken(f"{told} has the routes {route} and {route_alone}")
        if (route.rho is None) != (route_alone.rho is None) or abs(
            (route.rho or 0) - (route_alone.rho or 0)
        ) > RHO_DIFFERS:
            raise Broken(f"{told} has rho {route.rho} and {route_alone.rho}")
        likely = forced_alone.top[-len(forced.answer) - 1 : -1, :NEAR_TIE]
        if not (forced.predicted[:, None] == likely).any(dim=1).all():
            raise Broken(f"{told} has other most likely tokens when '{answers[row]}' is forced")


def answers_in(bench: Bench, editor: Editor, groups: Sequence[Sequence[int]]) -> dict[int, tuple[str, Forced, Route]]:
    """What a newly made edit answers to the queries of these rows, a group at a time, and how it routes them."""
    editor.backbone.cached_answerer.forget()
    set_seed(bench.seed, "company")
    found: dict[int, tuple[str, Forced, Route]] = {}
    with editor.edit([bench.edit]) as edited:
        for rows in groups:
            queries, answers = [bench.queries[row] for row in rows], [bench.answers[row] for row in rows]
            written, forced = check_answers(edited, queries, answers)
            found.update(zip(rows, zip(written, forced, edited.explain(queries), strict=True), strict=True))
    return found


def generated_and_forced_agree(bench: Bench) -> None:
    """The first token is the same generated and teacher-forced."""
    editor = bench.editor()
    with editor.edit([bench.edit]) as edited:
        written = edited.generate(bench.queries, max_new_tokens=1)
        forced = edited.teacher_force(bench.queries, bench.answers)
    for query, text, ranks in zip(bench.queries, written, forced, strict=True):
        likely = ranks.top[-len(ranks.answer) - 1, :NEAR_TIE].tolist()
        tokens = [editor.backbone.written([token]) for token in likely]
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


# What is said of the editor


def supervision_is_said(bench: Bench) -> str:
    """What the editor learned from beforehand is said in the words that tables have for it."""
    try:
        return checked_supervision(bench.editor().supervision, "editor.supervision")
    except FGVEditError as error:
        raise Broken(str(error)) from error


CHECKS: tuple[Callable[[Bench], str | None], ...] = (
    given_back,
    given_back_after_an_error,
    same_seed_same_rows,
    no_trace,
    several_edits,
    no_edits,
    edits_in_sequence,
    routing_is_explained,
    base_answers_are_the_base_models,
    memory_stays_the_base_models,
    without_an_image,
    no_questions,
    order_does_not_matter,
    company_does_not_matter,
    generated_and_forced_agree,
    saved_and_loaded,
    supervision_is_said,
)
