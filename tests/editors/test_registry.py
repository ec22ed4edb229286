"""The registry of editors, their configurations, and the promise that the base model comes back."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from rows import image_ref

from fgvedit.backbones.answering import CachedAnswerer, Query
from fgvedit.editors.contract import Editor, Route, SingleRoute, restored
from fgvedit.editors.registry import checkpoint_folder, editor_class, editor_config, open_editor
from fgvedit.util.errors import FGVEditError

SOURCE = '''
from dataclasses import dataclass
from fgvedit.editors.contract import Editor

class Mine(Editor):
    """An editor of one's own, in a file of one's own."""
    name = "mine"
    trained = TRAINED

    @dataclass
    class Config:
        lr: float = 0.1
        steps: int = 3
        fusion: str = "dot"

    def edit(self, edits):
        raise NotImplementedError
'''


@pytest.fixture
def mine(tmp_path):
    """file.py:Class of an editor, with a config.yaml beside it."""
    (tmp_path / "mine.py").write_text(SOURCE.replace("TRAINED", "False"))
    (tmp_path / "config.yaml").write_text("default: {steps: 5}\nother: {lr: 0.5}\n")
    return f"{tmp_path / 'mine.py'}:Mine"


SHIPPED = ["mscke", "mscke-mend", "serac", "serac-switch", "mend", "ike", "ft-llm", "ft-align", "ft-linf"]
SHIPPED += ["lora", "grace", "wise", "none"]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_editors_are_registered(name):
    kind = editor_class(name)
    assert issubclass(kind, Editor) and kind.name == name


def test_ft_is_short_for_ft_llm():
    assert editor_class("ft") is editor_class("ft-llm")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_editors_have_a_configuration_for_any_backbone(name):
    kind = editor_class(name)
    for backbone in ("tiny", "some-other"):
        assert isinstance(editor_config(kind, backbone), kind.Config)


def test_an_unknown_editor():
    with pytest.raises(FGVEditError, match=r"unknown editor 'msck'.*did you mean 'mscke'\?"):
        editor_class("msck")


def test_a_class_in_a_file(mine):
    assert editor_class(mine).name == "mine"


def test_a_class_in_a_module(mine, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)  # of another test's file
    assert editor_class("mine:Mine").name == "mine"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere.py:Mine", "no file 'nowhere.py'"),
        ("no_such_module:Mine", "no module 'no_such_module'"),
        ("pathlib:Path", "expected a subclass of fgvedit.editors.contract.Editor"),
    ],
)
def test_a_class_that_is_not_there(target, message):
    with pytest.raises(FGVEditError, match=message):
        editor_class(target)


def test_a_class_that_is_not_in_the_file(mine):
    with pytest.raises(FGVEditError, match=r"'Mina'.*did you mean 'Mine'\?"):
        editor_class(mine.replace(":Mine", ":Mina"))


BROKEN = [
    ("import no_such_package", "needs the module 'no_such_package', which is not installed"),
    ("from fgvedit.editors.contract import Edytor", "cannot be imported .ImportError: cannot import name 'Edytor'"),
    ("class Mine(", "cannot be imported .SyntaxError: "),
    ("raise RuntimeError('no GPU\\nhere')", "cannot be imported .RuntimeError: no GPU here."),
]


@pytest.mark.parametrize(("source", "message"), BROKEN)
def test_a_module_that_cannot_be_imported(tmp_path, monkeypatch, source, message):
    (tmp_path / "broken_editor.py").write_text(source + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("broken", "broken_editor:Mine", "fgvedit.editors")
    monkeypatch.setattr("fgvedit.editors.registry.entry_points", lambda group: [point])
    for target in ("broken", "broken_editor:Mine", f"{tmp_path / 'broken_editor.py'}:Mine"):
        monkeypatch.delitem(sys.modules, "broken_editor", raising=False)
        with pytest.raises(FGVEditError, match=message) as raised:
            editor_class(target)
        assert f"editor '{target}'" in str(raised.value) and "\n" not in str(raised.value)


def test_configurations(mine):
    kind = editor_class(mine)
    assert editor_config(kind, "tiny") == kind.Config(steps=5)
    assert editor_config(kind, "other") == kind.Config(lr=0.5)
    assert editor_config(kind, "other", {"fusion": "cat"}) == kind.Config(lr=0.5, fusion="cat")
    assert isinstance(editor_config(kind, "tiny", {"lr": 1}).lr, float)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"stepz": 1}, r"unknown option of editor 'mine' 'stepz'.*did you mean 'steps'\?"),
        ({"steps": "many"}, "option 'steps' of editor 'mine': found 'many', expected a int"),
        ({"lr": float("inf")}, "option 'lr' of editor 'mine': found inf, expected a finite float"),
        ({"steps": 1.5}, "option 'steps'"),
        ({"steps": True}, "option 'steps'"),
        ({"lr": "fast"}, "option 'lr'"),
        ({"lr": None}, "option 'lr'"),
        ({"fusion": 3}, "option 'fusion'"),
    ],
)
def test_bad_options(mine, overrides, message):
    with pytest.raises(FGVEditError, match=message):
        editor_config(editor_class(mine), "tiny", overrides)


class Typed(Editor):
    name = "typed"

    @dataclass
    class Config:
        layers: int
        names: list[str]
        rates: list[float] = field(default_factory=list)
        bound: float | None = None
        norm: Literal["l2", "inf"] = "l2"
        anything: Any = 0

    def edit(self, edits):
        raise NotImplementedError


GIVEN = {"layers": 2, "names": ["fc1", "fc2"]}


@pytest.fixture
def typed(tmp_path, monkeypatch):
    monkeypatch.setattr(Typed, "home", lambda: tmp_path)
    return Typed


def test_options_of_any_type(typed):
    config = editor_config(typed, "tiny", {**GIVEN, "rates": [1, 0.5], "bound": 0.1, "norm": "inf", "anything": {}})
    assert config == Typed.Config(2, ["fc1", "fc2"], [1, 0.5], 0.1, "inf", {})
    assert editor_config(typed, "tiny", {**GIVEN, "bound": None}) == Typed.Config(2, ["fc1", "fc2"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": True}, "option 'layers' of editor 'typed': found True, expected a int"),
        ({"layers": "2"}, "option 'layers' of editor 'typed': found '2', expected a int"),
        ({"names": "fc1"}, r"option 'names' of editor 'typed': found 'fc1', expected a list\[str\]"),
        ({"names": ["fc1", 2]}, r"option 'names' .* expected a list\[str\]"),
        ({"rates": [True]}, r"option 'rates' .* expected a list\[float\]"),
        ({"bound": "small"}, r"option 'bound' .* expected a float \| None such as None"),
        ({"norm": "l1"}, "option 'norm' .*'l2', 'inf'"),
    ],
)
def test_bad_options_of_any_type(typed, changes, message):
    with pytest.raises(FGVEditError, match=message):
        editor_config(typed, "tiny", {**GIVEN, **changes})


def test_an_option_without_a_value(typed):
    with pytest.raises(FGVEditError, match="option 'names' of editor 'typed' has no value for backbone 'tiny'"):
        editor_config(typed, "tiny", {"layers": 2})


@pytest.mark.parametrize("text", ["a: [", "[1, 2]", "tiny: 3"])
def test_a_config_file_that_is_not_one(typed, tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(FGVEditError, match=r"config\.yaml' cannot be read"):
        editor_config(typed, "tiny", GIVEN)


@pytest.mark.parametrize("text", ["", "tiny:\n", "other: {layers: 3}"])
def test_a_config_file_without_a_value(typed, tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    assert editor_config(typed, "tiny", GIVEN).layers == 2


def test_where_a_checkpoint_lies(mine):
    kind = editor_class("mscke")
    assert checkpoint_folder(kind, "tiny") == kind.home() / "checkpoints" / "tiny"
    assert checkpoint_folder(kind, "tiny", Path("here")) == Path("here")
    assert checkpoint_folder(editor_class(mine), "tiny") is None
    with pytest.raises(FGVEditError, match="editor 'mine' takes no checkpoint, found --checkpoint 'here'"):
        checkpoint_folder(editor_class(mine), "tiny", Path("here"))


def test_opening_editors(mine, tmp_path, backbone):
    assert open_editor(mine, backbone, {"steps": 7}).config.steps == 7
    with pytest.raises(FGVEditError, match="takes no checkpoint"):
        open_editor(mine, backbone, checkpoint=tmp_path)
    (tmp_path / "mine.py").write_text(SOURCE.replace("TRAINED", "True"))
    with pytest.raises(FGVEditError, match=r"no checkpoint for backbone 'random'.*python -m fgvedit.train"):
        open_editor(mine, backbone)
    with pytest.raises(FGVEditError, match="nothing to load"):
        open_editor(mine, backbone, checkpoint=tmp_path)


def bits(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone().view(torch.int32) for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("fails", [False, True])
def test_restored_gives_back_every_bit(backbone, fails):
    layer = backbone.language_layers[-1]
    with torch.no_grad():
        layer.fc1.weight[0, 0] = float("nan")  # not equal to itself, but the same bits
        layer.fc1.weight[0, 1] = -0.0
    before = bits(backbone.model)
    chosen = dict(layer.named_parameters())
    try:
        with restored(chosen):
            for parameter in chosen.values():
                parameter.requires_grad_(True)
                parameter.grad = torch.ones_like(parameter)
            torch.optim.Adam(chosen.values(), lr=1.0).step()
            assert any(not torch.equal(now, before[name]) for name, now in bits(backbone.model).items())
            if fails:
                raise RuntimeError("out of memory")
    except RuntimeError:
        assert fails
    after = bits(backbone.model)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in chosen.values())


class Counting:
    """An answerer that says how often it was asked."""

    def __init__(self, backbone):
        self.backbone = backbone
        self.asked = 0

    def generate(self, queries, max_new_tokens=10):
        self.asked += len(queries)
        return self.backbone.generate(queries, max_new_tokens)

    def teacher_force(self, queries, answers):
        self.asked += len(queries)
        return self.backbone.teacher_force(queries, answers)


def test_what_is_cached_is_not_asked_again(backbone):
    base = Counting(backbone)
    remembered = CachedAnswerer(base)
    queries = [Query("What?", image_ref()), Query("What?"), Query("What?", image_ref())]
    answers = remembered.generate(queries)
    assert answers == backbone.generate(queries[:2]) + answers[:1]
    forced = remembered.teacher_force(queries, ["a", "b", "c"])
    assert base.asked == 2 + 3
    assert remembered.generate(queries) == answers
    assert remembered.teacher_force(queries, ["a", "b", "c"]) == forced
    assert base.asked == 5
    assert len(remembered.generate(queries[:1], 1)) == 1 and base.asked == 6
    remembered.forget()
    assert remembered.generate(queries) == answers and base.asked == 8
    assert remembered.generate([]) == [] and backbone.generate([]) == []


def test_rerouted_answers_through_one_answerer(backbone):
    edited = SingleRoute(backbone, Route("edited", 0, 0.75))
    queries = [Query("What?", image_ref()), Query("Which?")]
    assert edited.generate(queries) == backbone.generate(queries)
    found, expected = edited.teacher_force(queries, ["a", "b"]), backbone.teacher_force(queries, ["a", "b"])
    assert all(torch.equal(f.top, e.top) for f, e in zip(found, expected, strict=True))
    assert edited.explain(queries) == [Route("edited", 0, 0.75)] * 2
