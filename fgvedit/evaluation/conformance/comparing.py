"""What checks compare: the whole state of a backbone, rows, answers and routes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch

from fgvedit.backbones.answering import Answerer, Forced, Query
from fgvedit.backbones.base import Backbone
from fgvedit.editors.contract import EditedModel, Route
from fgvedit.evaluation.conformance.bench import Bench, Broken
from fgvedit.evaluation.rows import AnyRow
from fgvedit.schema import Edit

DESTINATIONS = ("base", "edited", "counterfactual", "mixed")


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
    """Raises `Broken`, saying what and where, unless a backbone's state is what `snapshot` gave before."""
    after = snapshot(backbone)
    keys = list({**before, **after})
    changed = [key for key in keys if (key in before) != (key in after) or before[key] != after[key]]
    if changed:
        what, where = changed[0]
        more = f" (and {len(changed) - 1} more such things)" if changed[1:] else ""
        raise Broken(f"{when} the {what} of '{where}' is not what it was before{more}")


def compare_rows(expected: Sequence[AnyRow], found: Sequence[AnyRow], of: str) -> None:
    """Raises `Broken`, naming the column and the probe, unless both runs' rows are the same. `of`: of what they are."""
    for one, other in zip(expected, found, strict=True):
        for column in one:
            if one[column] != other[column]:
                raise Broken(
                    f"the rows {of}, differ: '{column}' of probe {one['probe']} ({one['kind']}, protocol "
                    f"{one['protocol']}) is {one[column]!r} and {other[column]!r}"
                )


def ask(edited: EditedModel, bench: Bench) -> None:
    """Put all questions to an edited model, both ways, and ask for their routes."""
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
    """Raises `Broken` unless there is a valid route for each query: a destination, an edit in force, rho 0 to 1 (to
    be there where answers are mixed)."""
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
        if route.to == "mixed" and route.rho is None:
            raise Broken(f"{where} has to='mixed' and no rho, expected the second model's weight, from 0 to 1")


def described(query: Query) -> str:
    """A query in words, for a finding."""
    return f"'{query.question}' " + (f"about '{query.image.image_id}'" if query.image else "without an image")
