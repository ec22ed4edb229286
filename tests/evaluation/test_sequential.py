"""Sequential editing: which records, how each editor makes them, their rows and metrics, stopping and going on."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from dummy import Drawn, InPrompt, write_dataset
from hypothesis import given
from hypothesis import strategies as st
from samples import EDITS, QUERIES, answers, bits, same

from baselines.ft_align.editor import FineTuneAlign
from baselines.ft_linf.editor import FineTuneLinf
from baselines.ft_llm.editor import FineTuneLLM
from baselines.grace.editor import GRACE
from baselines.lora.editor import LoRA
from baselines.mend.editor import MEND
from baselines.wise.editor import WISE
from fgvedit.backbones import open_backbone
from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone
from fgvedit.cli import run as command
from fgvedit.dataset import Loaded, load_records
from fgvedit.editors.contract import EditedModel, Editor
from fgvedit.editors.fine_tuning import edit_loss
from fgvedit.editors.registry import editor_config
from fgvedit.evaluation.metrics import END, metrics_from_rows, paired_differences, router_from_rows
from fgvedit.evaluation.protocols import open_protocols
from fgvedit.evaluation.runs.plan import CHUNK, Plan
from fgvedit.evaluation.runs.runner import run
from fgvedit.evaluation.sequential import sequences
from fgvedit.evaluation.summary import summary
from fgvedit.probes import current_kinds
from fgvedit.probes import metrics as all_metrics
from fgvedit.schema import Edit
from fgvedit.util.errors import FGVEditError, command_line
from leaderboard.table import read_result

BOTH = open_protocols("paper,generation")
METRICS = {name: metric.kinds for name, metric in all_metrics().items() if not metric.retired}  # that data now have
FC = {"layers": [-2, -1], "parameters": ["fc1.weight", "fc2.weight"]}
OPTIONS: dict[type[Editor], dict[str, Any]] = {
    FineTuneLLM: {**FC, "lr": 0.01, "steps": 3, "stop_loss": 0.0},
    FineTuneAlign: {"lr": 0.01, "steps": 3, "stop_loss": 0.0},
    FineTuneLinf: {**FC, "lr": 0.01, "steps": 3, "stop_loss": 0.0, "bound": 0.015},
    LoRA: {"targets": ["fc1"], "rank": 2, "alpha": 8, "lr": 0.02, "steps": 3, "stop_loss": 0.0},
    MEND: {**FC, "rank": 4, "edit_lr": 0.01, "rate_speed": 10.0},
    GRACE: {"layer": 0, "module": "fc2", "epsilon": 2.0, "lr": 1.0, "steps": 3},
    WISE: {"layer": 0, "module": "fc2", "irrelevant": ["Who was it?"], "lr": 0.1, "steps": 3, "mask_ratio": 0.5},
}
every_kind = pytest.mark.parametrize("kind", OPTIONS, ids=lambda kind: kind.name)


def opened(kind: type[Editor], backbone: Backbone, **options: Any) -> Any:
    return kind(backbone, editor_config(kind, backbone.name, {**OPTIONS[kind], **options}))


@contextmanager
def kept(backbone: Backbone) -> Iterator[None]:
    """Checks that the model has its own bits, modules and hooks afterwards, and trains nothing."""
    before, modules = bits(backbone.model), list(backbone.model.modules())
    yield
    assert same(bits(backbone.model), before)
    assert all(one is other for one, other in zip(backbone.model.modules(), modules, strict=True))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in backbone.model.modules())
    assert not any(p.requires_grad or p.grad is not None for p in backbone.model.parameters())


# Which records


@given(st.lists(st.integers(0, 12)), st.integers(2, 5))
def test_sequences_are_whole_in_order_and_hold_the_first_record_of_each_group(groups: list[int], edits: int):
    names = [f"group-{group}" for group in groups]
    if len(set(groups)) < edits:
        with pytest.raises(FGVEditError, match=rf"--sequence is {edits}.*{len(set(groups))} different groups"):
            sequences(names, edits)
        return
    found = sequences(names, edits)
    places = [place for these in found for place in these]
    assert all(len(these) == edits for these in found)
    assert places == sorted(places) and all(groups[place] not in groups[:place] for place in places)
    assert len(set(groups)) - edits < len(places) == len({groups[place] for place in places})


@pytest.mark.parametrize("edits", [1, 0, -3])
def test_a_sequence_of_fewer_than_two_edits_is_refused(edits: int):
    with pytest.raises(FGVEditError, match=f"--sequence is {edits}; expected 2 or more"):
        sequences(["a", "b", "c"], edits)


def test_it_needs_no_torch():
    code = "import fgvedit.evaluation.sequential, fgvedit.evaluation.metrics, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# How editors make them


@every_kind
def test_the_first_of_a_sequence_is_as_it_is_alone_and_all_are_taken_back(kind: type[Editor], backbone: Backbone):
    editor = opened(kind, backbone)
    torch.manual_seed(0)
    with editor.edit(EDITS[:1]) as edited:
        alone, routes = answers(edited, QUERIES), edited.explain(QUERIES)
    torch.manual_seed(0)
    with kept(backbone), editor.edit_sequentially() as make:
        edited = make(EDITS[0])
        assert (answers(edited, QUERIES), edited.explain(QUERIES)) == (alone, routes)
        for edit in EDITS[1:3]:
            edited = make(edit)
            answers(edited, QUERIES)
            assert all(route.edit in (None, 0, 1, 2) for route in edited.explain(QUERIES))


@every_kind
def test_all_are_taken_back_after_an_error(kind: type[Editor], backbone: Backbone):
    editor = opened(kind, backbone)
    with kept(backbone), pytest.raises(KeyError, match="on purpose"), editor.edit_sequentially() as make:
        make(EDITS[0])
        make(EDITS[1])
        raise KeyError("on purpose")
    with kept(backbone), editor.edit_sequentially():
        pass


def parameters_of(editor: Any) -> list[torch.nn.Parameter]:
    if isinstance(editor, FineTuneAlign):
        return list(editor.backbone.connector.parameters())
    layers = editor.backbone.language_layers
    return [layers[i].get_parameter(name) for i in editor.config.layers for name in editor.config.parameters]


@pytest.mark.parametrize("kind", [FineTuneLLM, FineTuneAlign], ids=lambda kind: kind.name)
@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.AdamW], ids=["sgd", "adamw"])
def test_fine_tuning_goes_on_from_the_weights_that_the_edit_before_left(
    kind: type[Editor], optimiser: Any, backbone: Backbone
):
    editor = opened(kind, backbone, optimiser=optimiser.__name__.lower())
    parameters, before = parameters_of(editor), bits(backbone.model)
    expected = []
    for edit in EDITS[:3]:
        for parameter in parameters:
            parameter.requires_grad_(True)
        own = optimiser(parameters, lr=0.01, weight_decay=0)
        for _ in range(3):
            own.zero_grad()
            edit_loss(backbone, [edit]).backward()
            own.step()
        expected.append([parameter.detach().clone() for parameter in parameters])
    for parameter in parameters:
        parameter.requires_grad_(False).grad = None
    backbone.model.load_state_dict(before)

    with kept(backbone), editor.edit_sequentially() as make:
        for edit, right in zip(EDITS[:3], expected, strict=True):
            make(edit)
            torch.testing.assert_close([p.detach() for p in parameters], right, rtol=0, atol=1e-5)


def test_the_bound_of_ft_linf_stays_around_the_original_weights(backbone: Backbone):
    editor = opened(FineTuneLinf, backbone)
    before = [parameter.detach().clone() for parameter in parameters_of(editor)]
    with editor.edit_sequentially() as make:
        for edit in EDITS[:4]:
            make(edit)
            farthest = [
                (now - then).abs().max().item() for now, then in zip(parameters_of(editor), before, strict=True)
            ]
            assert max(farthest) <= 0.015 * (1 + 1e-5)
    assert max(farthest) > 0.0149


def test_the_same_adapters_of_lora_go_on_learning(backbone: Backbone):
    editor = opened(LoRA, backbone)
    module = backbone.language_layers[0].get_submodule("fc1")
    base, updates, adapters = module.get_parameter("weight").detach().clone(), [], set()
    with kept(backbone), editor.edit_sequentially() as make:
        for edit in EDITS[:3]:
            make(edit)
            adapter: Any = backbone.language_layers[0].get_submodule("fc1")
            adapters.add(id(adapter))
            assert torch.equal(adapter.base_layer.weight, base)
            updates.append(adapter.get_delta_weight("default").detach().clone())
    assert len(adapters) == 1 and torch.linalg.matrix_rank(updates[-1]) <= 2
    assert not torch.equal(updates[0], updates[1])
    one, other = updates[0].flatten(), updates[1].flatten()
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.3


def test_a_step_of_mend_is_computed_on_the_weights_as_they_are_then(backbone: Backbone):
    torch.manual_seed(0)
    editor, before = opened(MEND, backbone), bits(backbone.model)
    parameters = parameters_of(editor)
    expected = []
    for edit in EDITS[:3]:  # before it is trained, MEND makes a step of gradient descent
        for parameter in parameters:
            parameter.requires_grad_(True)
        found = torch.autograd.grad(edit_loss(backbone, [edit]), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, found, strict=True):
                parameter.requires_grad_(False).sub_(0.01 * gradient)
        expected.append([parameter.detach().clone() for parameter in parameters])
    backbone.model.load_state_dict(before)

    with kept(backbone), editor.edit_sequentially() as make:
        for edit, right in zip(EDITS[:3], expected, strict=True):
            make(edit)
            torch.testing.assert_close([p.detach() for p in parameters], right, rtol=0, atol=1e-7)


# Of these two, the second is in the ball of the first; the others are not.
BALLS = [EDITS[0], replace(EDITS[0], question="What colour has this card?"), *EDITS[1:3]]


@pytest.mark.parametrize("epsilon", [0.5, 100.0])
def test_the_codebook_of_grace_is_that_of_all_edits_together(epsilon: float, backbone: Backbone, monkeypatch):
    editor = opened(GRACE, backbone, epsilon=epsilon)
    learnt, learn = [], GRACE._learn

    def noted(self: GRACE, entry: Any, edits: Any) -> torch.Tensor:
        learnt.append(entry)
        return learn(self, entry, edits)

    monkeypatch.setattr(GRACE, "_learn", noted)
    asked = [Query(edit.question, edit.image) for edit in BALLS] + QUERIES
    torch.manual_seed(0)  # the values are drawn one after the other both ways
    turns = []
    with editor.edit_sequentially() as make:
        for edit in BALLS:
            edited = make(edit)
            turns.append((edited.explain(asked), answers(edited, asked)))
    assert len(learnt) == len(BALLS)  # each edit is learnt from once, or once more with its ball
    for count, turn in enumerate(turns, 1):
        torch.manual_seed(0)
        with editor.edit(BALLS[:count]) as edited:
            assert turn == (edited.explain(asked), answers(edited, asked))


def test_wise_goes_on_from_the_side_memory_that_the_edits_before_left(backbone: Backbone):
    editor = opened(WISE, backbone, shard=2)
    main = editor.module.weight.detach().clone()
    asked = [Query(edit.question, edit.image) for edit in EDITS[:3]]
    torch.manual_seed(0)
    mask = torch.rand(main.shape) < 0.5
    torch.manual_seed(0)
    with kept(backbone), editor.edit_sequentially() as make:
        first = make(EDITS[0]).in_scope.side
        editor.optimisation = replace(editor.optimisation, stop_loss=1e9)  # from here on nothing has to be learnt
        assert torch.equal(make(EDITS[1]).in_scope.side, first) and not torch.equal(first, main)
        assert torch.equal(first[~mask], main[~mask])
        edited = make(EDITS[2])  # a shard of its own, in which nothing changed
        assert [route.to for route in edited.explain(asked)] == ["edited"] * 3  # the earlier edits stay inside


def test_an_editor_that_says_nothing_makes_the_edits_so_far_together(backbone: Backbone):
    made: list[list[Edit]] = []
    open_now: list[int] = []

    class Noted(InPrompt):
        @contextmanager
        def edit(self, edits: Any) -> Iterator[EditedModel]:
            assert not open_now  # the edits before were taken back first
            open_now.append(1)
            made.append(list(edits))
            with super().edit(edits) as edited:
                yield edited
            open_now.pop()

    with Noted(backbone, Noted.Config()).edit_sequentially() as make:
        for edit in EDITS[:3]:
            make(edit)
    assert made == [EDITS[:1], EDITS[:2], EDITS[:3]] and not open_now


# A run

RECORDS, N = 13, 3  # of seven groups, each with two records but the last: two sequences of three
HELD = [0, 2, 4, 6, 8, 10]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "cards", RECORDS)


@pytest.fixture(scope="module")
def data(folder: Path) -> Loaded:
    return load_records(str(folder))


@pytest.fixture
def drawn(backbone: Backbone) -> Editor:
    return Drawn(backbone, Drawn.Config())


@pytest.fixture(scope="module")
def unbroken(random_blip2: Path, data: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "unbroken"
    run(Drawn(open_backbone(str(random_blip2)), Drawn.Config()), data, BOTH, out, sequence=N)
    return out


def rows_in(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]


def finished(out: Path) -> tuple[str, dict[str, Any]]:
    result, changing = json.loads((out / "result.json").read_text()), {"cost": None, "git": None, "hardware": None}
    return (out / "rows.jsonl").read_text(), {**result, "manifest": {**result["manifest"], **changing}}


def test_a_record_is_asked_after_its_own_edit_and_after_the_last_one(unbroken: Path, data: Loaded):
    expected = []
    for places in (HELD[:3], HELD[3:]):
        moments = [(place, turn, 0) for turn, place in enumerate(places, 1)]
        moments += [(place, N, N - turn) for turn, place in enumerate(places[:-1], 1)]
        for place, edits, age in moments:
            record = data.records[place]
            expected += [
                (record.id, record.image.image_id, record.group, protocol.name, probe, edits, age)
                for protocol in BOTH
                for probe in range(-1, len(record.probes))
            ]
    keys = ("record_id", "image_id", "group", "protocol", "probe", "edits", "age")
    assert [tuple(row[key] for key in keys) for row in rows_in(unbroken)] == expected
    assert sorted(path.name for path in unbroken.iterdir()) == ["result.json", "rows.jsonl", "run.json"]
    manifest = read_result(unbroken / "result.json")["manifest"]  # which holds it to the schema
    assert (manifest["sequence"], manifest["dataset"]["records"], manifest["dataset"]["limit"]) == (N, 6, None)


def test_before_is_the_base_models_answer_asked_once_a_record(backbone: Backbone, data: Loaded, tmp_path, monkeypatch):
    asked, teacher_force = [], backbone.teacher_force
    editor = InPrompt(backbone, InPrompt.Config())

    def noted(queries: Any, given: Any) -> Any:
        asked.append(queries)
        return teacher_force(queries, given)

    monkeypatch.setattr(backbone, "teacher_force", noted)
    run(editor, data, BOTH[:1], tmp_path / "out", sequence=N)
    assert len(asked) == len(HELD)
    before: dict[tuple, set[str]] = {}
    for row in rows_in(tmp_path / "out"):
        before.setdefault((row["record_id"], row["probe"]), set()).add(row["before"])
    assert all(len(found) == 1 for found in before.values())
    run(editor, data, BOTH[:1], tmp_path / "single")
    for row in rows_in(tmp_path / "single"):
        if (key := (row["record_id"], row["probe"])) in before:
            assert before[key] == {row["before"]}


def test_a_records_seed_is_its_own_and_the_first_edit_of_a_sequence_is_as_it_is_alone(drawn, data, unbroken, tmp_path):
    run(drawn, data, BOTH, tmp_path / "single")
    alone = {(r["record_id"], r["protocol"], r["probe"]): r for r in rows_in(tmp_path / "single")}
    right_after = [row for row in rows_in(unbroken) if row["age"] == 0]
    assert len(right_after) == len(HELD) * 2 * (1 + len(current_kinds()))
    for row in right_after:  # this editor's noise is all that it does: only the seed counts
        assert row == {**alone[row["record_id"], row["protocol"], row["probe"]], "edits": row["edits"]}


def test_metrics_are_of_right_after_and_of_the_end(unbroken: Path):
    rows = rows_in(unbroken)
    metrics = json.loads((unbroken / "result.json").read_text())["metrics"]
    assert metrics == metrics_from_rows(rows)
    for protocol in ("paper", "generation"):
        for moment, chosen in (("", lambda r: r["age"] == 0), (END, lambda r: r["edits"] == N)):
            for metric, kinds in METRICS.items():
                scores = [r["score"] for r in rows if chosen(r) and r["protocol"] == protocol and r["kind"] in kinds]
                if metric == "specificity":
                    halves = [metrics[f"{protocol}/{half}{moment}"]["value"] for half in ("in_scope", "retention")]
                    assert metrics[f"{protocol}/{metric}{moment}"]["value"] == pytest.approx(sum(halves) / 2, abs=1e-3)
                else:
                    assert len(scores) == len(HELD)
                    expected = 100 * statistics.fmean(scores)
                    assert metrics[f"{protocol}/{metric}{moment}"]["value"] == pytest.approx(expected, abs=1e-3)
    assert len(metrics) == 2 * 2 * len(METRICS)


def made_up(edits: int, age: int, score: float, image: int = 0, route: str = "edited", **changes: Any) -> dict:
    row = {"record_id": f"r{image}", "image_id": f"i{image}", "protocol": "paper", "kind": "edit", "probe": -1}
    return {**row, "score": score, "rho": 0.5, "route": route, "edits": edits, "age": age, **changes}


def test_the_last_edit_of_a_sequence_counts_for_both_points():
    rows = [made_up(1, 0, 1.0), made_up(2, 0, 1.0, 1), made_up(2, 1, 0.0, route="base")]
    values = {name: metric["value"] for name, metric in metrics_from_rows(rows).items()}
    assert values == {"paper/reliability": 100, "paper/reliability@end": 50}
    caught = {name: router["caught"]["value"] for name, router in router_from_rows(rows).items()}
    assert caught == {"paper": 100, "paper@end": 50}


def test_sequential_runs_are_compared_point_by_point():
    ours = [made_up(1, 0, 1.0), made_up(2, 0, 1.0, 1), made_up(2, 1, 0.0)]
    theirs = [made_up(1, 0, 0.5), made_up(2, 0, 1.0, 1), made_up(2, 1, 1.0)]
    values = {name: metric["value"] for name, metric in paired_differences(ours, theirs).items()}
    assert values == {"paper/reliability": 25, "paper/reliability@end": -50}
    with pytest.raises(FGVEditError, match="record 'r1', protocol 'paper', probe -1, after 2 edits is missing"):
        paired_differences(ours, theirs[:1])
    with pytest.raises(FGVEditError, match="probe -1, after 2 edits is there twice"):
        paired_differences([*ours, ours[-1]], theirs)


def test_rows_of_format_1_are_of_one_edit():
    old = [{key: value for key, value in made_up(1, 0, 1.0).items() if key not in ("edits", "age")}]
    assert set(metrics_from_rows(old)) == {"paper/reliability"}
    assert paired_differences(old, [made_up(1, 0, 1.0)])["paper/reliability"]["value"] == 0


def test_the_summary_shows_both_moments(unbroken: Path):
    result = json.loads((unbroken / "result.json").read_text())
    title, *lines = summary(result).splitlines()
    assert "6 records of" in title and "3 edits in sequence" in title
    ends = [index for index, line in enumerate(lines) if not line]
    assert lines[0].startswith("right after") and lines[ends[0] + 1].startswith("after all 3")
    shown = [re.findall(r"[\d.]+", line)[0] for line in lines[: ends[1]] if line.startswith("retention")]
    assert shown == [f"{result['metrics'][f'paper/retention{moment}']['value']:.2f}" for moment in ("", END)]


# Stopping and going on, and several processes


@pytest.mark.parametrize("stop_at", [2, N + 1, 2 * N])
def test_an_interrupted_run_goes_on_and_ends_the_same(stop_at, unbroken, drawn, data, tmp_path, monkeypatch):
    made, edit = [0], Drawn.edit

    def interrupted(self: Drawn, edits: Any) -> Any:
        made[0] += 1
        if made[0] == stop_at:
            raise KeyboardInterrupt
        return edit(self, edits)

    monkeypatch.setattr(Drawn, "edit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(drawn, data, BOTH, tmp_path / "out", sequence=N)
    run(drawn, data, BOTH, tmp_path / "out", sequence=N)
    assert finished(tmp_path / "out") == finished(unbroken)
    assert made[0] == 2 * N + 1 + (stop_at - 1) % N  # only the sequence that was stopped in is made again


def _stop(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_a_sequence_without_its_end_is_made_again(unbroken, drawn, data, tmp_path, monkeypatch):
    monkeypatch.setattr("fgvedit.evaluation.runs.runner.merge", _stop)
    with pytest.raises(KeyboardInterrupt):
        run(drawn, data, BOTH, tmp_path / "out", sequence=N)
    monkeypatch.undo()
    path = tmp_path / "out" / "chunks" / "000001.json"
    chunk = json.loads(path.read_text())
    path.write_text(json.dumps({**chunk, "rows": [row for row in chunk["rows"] if row["age"] == 0]}))
    Drawn.edits = 0
    run(drawn, data, BOTH, tmp_path / "out", sequence=N)
    assert Drawn.edits == N
    assert finished(tmp_path / "out") == finished(unbroken)


def test_processes_share_the_sequences(unbroken, random_blip2, data, tmp_path, monkeypatch):
    for name, alone in (("runner.join", lambda device: None), ("runner.wait", lambda: None)):
        monkeypatch.setattr(f"fgvedit.evaluation.runs.{name}", alone)
    monkeypatch.setattr("fgvedit.evaluation.runs.folder.from_the_first", lambda value: value)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):  # one after the other here; the first one merges, so it comes again
        monkeypatch.setenv("RANK", rank)
        Drawn.edits = 0
        with pytest.raises(FileNotFoundError if rank == "1" else FGVEditError):
            run(Drawn(open_backbone(str(random_blip2)), Drawn.Config()), data, BOTH, tmp_path / "out", sequence=N)
        assert Drawn.edits == N
        assert len(list((tmp_path / "out" / "chunks").glob("*.json"))) == int(rank) + 1
    monkeypatch.setenv("RANK", "0")
    run(Drawn(open_backbone(str(random_blip2)), Drawn.Config()), data, BOTH, tmp_path / "out", sequence=N)
    assert Drawn.edits == N  # nothing was made again
    assert finished(tmp_path / "out") == finished(unbroken)


def test_images_are_encoded_in_the_same_batches_wherever_a_run_goes_on(random_blip2, data, tmp_path, monkeypatch):
    monkeypatch.setattr("fgvedit.evaluation.runs.plan.CHUNK", 2)  # batches that are not of a sequence alone

    def batches_of(chunks: Any) -> list[list[str]]:
        backbone, found = open_backbone(str(random_blip2)), []
        encode = backbone.encode_images

        def noted(images: Any) -> Any:
            found.append([image.key for image in images])
            return encode(images)

        monkeypatch.setattr(backbone, "encode_images", noted)
        plan = Plan(data.pick(HELD).records, N)
        for number in chunks:
            for record in plan.chunk(number):
                plan.encode([record], backbone)
        return found

    whole, second = batches_of([0, 1]), batches_of([1])
    assert len(whole) == 3 and second == whole[1:]


def test_a_sequence_larger_than_a_batch_is_one_chunk(data: Loaded):
    plan = Plan(data.records, CHUNK + 4)
    assert [len(plan.indices(number)) for number in range(len(plan))] == [CHUNK + 4, 1]
    assert max(plan.batches.values()) == (RECORDS - 1) // CHUNK


# Refusals, and the command line


def test_another_number_of_edits_is_another_run(unbroken, drawn, data):
    for sequence, found in ((2, "2"), (None, "None")):
        with pytest.raises(FGVEditError, match=rf"holds another run: its \S+ is \S+, this one's is {found}|records"):
            run(drawn, data, BOTH, unbroken, sequence=sequence)


def test_a_sequence_that_the_data_does_not_fill_is_refused_and_nothing_is_written(drawn, data, tmp_path):
    with pytest.raises(FGVEditError, match="--sequence is 8, but the 13 records are of 7 different groups"):
        run(drawn, data, BOTH, tmp_path / "out", sequence=8)
    assert not (tmp_path / "out").exists()


def cli(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fgvedit.run", *arguments])
    with pytest.raises(SystemExit) as stop:
        command_line(command.main)
    return int(stop.value.code or 0)


def test_the_command_names_its_folder_and_counts_the_limit_before_it_chooses(
    monkeypatch, capsys, random_blip2, folder, tmp_path
):
    monkeypatch.chdir(tmp_path)
    arguments = ["--editor", "none", "--backbone", str(random_blip2), "--dataset", str(folder), "--device", "cpu"]
    assert cli(monkeypatch, *arguments, "--limit", "6", "--sequence", "3", "--protocol", "paper") == 0
    assert "after all 3" in capsys.readouterr().out
    out = Path("runs") / "none-random-cards-6-sequence-3-0"
    manifest = json.loads((out / "result.json").read_text())["manifest"]
    assert (manifest["dataset"]["records"], manifest["dataset"]["limit"], manifest["sequence"]) == (3, 6, 3)
    assert {row["record_id"] for row in rows_in(out)} == {"record-0", "record-2", "record-4"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--sequence", "1"], "--sequence is 1; expected 2 or more"),
        (["--sequence", "4", "--limit", "6"], "--sequence is 4, but the 6 records are of 3 different groups"),
        (["--sequence", "many"], "--sequence: .*'many'"),
    ],
)
def test_bad_rows_end_in_one_sentence(arguments, sentence, monkeypatch, capsys, folder):
    monkeypatch.setattr("fgvedit.backbones.open_backbone", None)  # it is said before a backbone is opened
    assert cli(monkeypatch, "--editor", "none", "--dataset", str(folder), *arguments) == 2
    error = capsys.readouterr().err
    assert re.search(sentence, error) and error.count("\n") == 1
