"""A run and the code that makes it, and that one process works on a run at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dummy import Drawn, InPrompt, write_dataset

from baselines.none.editor import NoEdit
from fgvedit.backbones.base import Backbone
from fgvedit.dataset import Loaded, load_records
from fgvedit.editors.contract import EditedModel
from fgvedit.editors.registry import editor_class
from fgvedit.evaluation.protocols import open_protocols
from fgvedit.evaluation.runs import code
from fgvedit.evaluation.runs.plan import CHUNK
from fgvedit.evaluation.runs.runner import run
from fgvedit.schema import Edit
from fgvedit.util.errors import FGVEditError
from fgvedit.util.plugins import class_at

BOTH = open_protocols("paper,generation")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return load_records(str(write_dataset(tmp_path_factory.mktemp("data") / "cards", CHUNK + 1)))


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project's sources, of which runs take their code to be."""
    root = tmp_path / "checkout"
    for path in (path for package in code.OWN for path in (code.ROOT / package).rglob("*.py")):
        copy = root / path.relative_to(code.ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    monkeypatch.setattr(code, "ROOT", root)
    return root


@pytest.mark.parametrize("name", ["none", "mscke", "mscke-mend"])
def test_the_code_of_a_run_is_what_its_rows_pass_through(backbone: Backbone, name: str):
    editor = object.__new__(editor_class(name))  # as it would be opened, without its checkpoint
    editor.backbone = backbone
    found = code.code_of(editor, BOTH)
    shaping = ("fgvedit.evaluation.protocols.paper", "fgvedit.backbones.families.blip2", "fgvedit.probes")
    assert {type(editor).__module__, *shaping} <= set(found)
    assert not [name for name in found if name.startswith(("fgvedit.viewers", "fgvedit.cli", "fgvedit.studies"))]
    assert ("fgvedit.editors.memory.scope" in found) == (name != "none")
    assert "baselines.wise.editor" not in found and all(len(value) == 64 for value in found.values())


def test_the_code_is_the_same_from_another_place_and_with_other_line_ends(backbone, checkout, tmp_path):
    editor = NoEdit(backbone, NoEdit.Config())
    found = code.code_of(editor, BOTH)
    for path in checkout.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert code.code_of(editor, BOTH) == found
    (checkout / "fgvedit" / "viewers" / "pages" / "fit.py").write_text("changed = 1\n")
    (checkout / "fgvedit" / "evaluation" / "metrics.py").write_text("changed = 1\n")
    assert code.code_of(editor, BOTH) == found
    with (checkout / "fgvedit" / "evaluation" / "protocols" / "paper.py").open("a") as file:
        file.write("changed = 1\n")
    assert code.code_of(editor, BOTH) != found


def test_an_editor_in_a_package_of_ones_own_that_is_called_like_ours_counts(backbone, tmp_path, monkeypatch):
    (tmp_path / "baselines").mkdir()
    mine = tmp_path / "baselines" / "mine_alone.py"
    mine.write_text("from baselines.none.editor import NoEdit\n\n\nclass Mine(NoEdit):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    kind = editor_class("baselines.mine_alone:Mine")
    found = code.code_of(kind(backbone, kind.Config()), BOTH)
    assert found["the editor's mine_alone.py"] == code.content(mine) and "baselines.none.editor" in found
    mine.write_text("changed = 1\n")
    assert code.code_of(kind(backbone, kind.Config()), BOTH) != found


def test_files_of_one_name_count_each(backbone, tmp_path):
    files = {}
    for role, text in (
        ("editor", "from baselines.none.editor import NoEdit\n\n\nclass Mine(NoEdit):\n    pass\n"),
        ("protocol", "from fgvedit.evaluation.protocols.paper import Paper\n\n\nclass Mine(Paper):\n    pass\n"),
    ):
        files[role] = tmp_path / role / "mine.py"
        files[role].parent.mkdir()
        files[role].write_text(text)
    editor = class_at(f"{files['editor']}:Mine", object, "editor")
    protocol = class_at(f"{files['protocol']}:Mine", object, "protocol")
    found = []
    for changed in (None, "editor", "protocol"):
        if changed:
            files[changed].write_text(files[changed].read_text() + "# changed\n")
        found.append(code.code_of(editor(backbone, editor.Config()), [protocol()]))
    assert found[0] != found[1] != found[2] != found[0]


class Stopped(Drawn):
    """Is stopped at an edit of its second chunk, where it is told to."""

    stop = True
    made = 0

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        self.made += 1
        if self.stop and self.made > CHUNK:
            raise KeyboardInterrupt
        with super().edit(edits) as edited:
            yield edited


def test_a_stopped_run_does_not_go_on_with_other_code(backbone, data, checkout, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(Stopped(backbone, Stopped.Config()), data, BOTH, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert (out / "chunks" / "000000.json") in before
    changed = checkout / "fgvedit" / "evaluation" / "protocols" / "generation.py"
    source = changed.read_text()
    changed.write_text(source + "\n# another score\n")
    again = Stopped(backbone, Stopped.Config())
    again.stop = False
    with pytest.raises(FGVEditError, match=r"made by other code \(fgvedit.evaluation.protocols.generation is not what"):
        run(again, data, BOTH, out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    changed.write_text(source)
    result = run(again, data, BOTH, out)
    assert again.made == 1  # the first chunk was kept
    assert len(result["manifest"]["code"]) == 64


def test_a_run_that_does_not_say_its_code_goes_on_only_where_it_is_finished(backbone, data, tmp_path):
    out = tmp_path / "out"
    stopped = Stopped(backbone, Stopped.Config())
    with pytest.raises(KeyboardInterrupt):
        run(stopped, data, BOTH, out)
    stopped.stop = False
    said = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**said, "code": None}))  # as runs of earlier versions
    with pytest.raises(FGVEditError, match="holds another run: it does not say which code made it"):
        run(stopped, data, BOTH, out)
    (out / "run.json").write_text(json.dumps(said))
    result = run(stopped, data, BOTH, out)
    (out / "run.json").write_text(json.dumps({**said, "code": None}))
    assert run(stopped, data, BOTH, out) == result


class Interrupted(InPrompt):
    """While its first edit is made, another process comes to the run's folder."""

    comes: Any

    @contextmanager
    def edit(self, edits: Sequence[Edit]) -> Iterator[EditedModel]:
        if self.comes:
            came, self.comes = self.comes, None
            came()
        with super().edit(edits) as edited:
            yield edited


@pytest.mark.parametrize(
    ("seed", "sentence"),
    [
        (0, r"this run is under way in folder '.*out', in another process; expected to wait"),
        (1, r"another run is under way in folder '.*out': its seed is 0, this one's is 1; expected to wait"),
    ],
)
def test_a_second_process_is_told_and_changes_nothing(backbone, data, tmp_path, seed, sentence):
    out = tmp_path / "out"

    def second() -> None:
        before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        with pytest.raises(FGVEditError, match=sentence):
            run(Interrupted(backbone, Interrupted.Config()), data, BOTH, out, seed=seed)
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before

    first = Interrupted(backbone, Interrupted.Config())
    first.comes = second
    result = run(first, data, BOTH, out)
    assert first.comes is None and result == json.loads((out / "result.json").read_text())
    assert sorted(path.name for path in out.iterdir()) == ["result.json", "rows.jsonl", "run.json"]


def test_a_second_process_at_the_very_end_takes_nothing_away(backbone, data, tmp_path, monkeypatch):
    """It comes when the result is there and the chunks are about to go."""
    out, came = tmp_path / "out", []

    def rmtree(path: Path, **_: Any) -> None:
        came.append(path)
        if len(came) == 1:
            with pytest.raises(FGVEditError, match="this run is under way"):
                run(NoEdit(backbone, NoEdit.Config()), data, BOTH, out)
        shutil_rmtree(path)

    shutil_rmtree = shutil.rmtree
    monkeypatch.setattr("fgvedit.evaluation.runs.runner.shutil.rmtree", rmtree)
    result = run(NoEdit(backbone, NoEdit.Config()), data, BOTH, out)
    assert came == [out / "chunks"] and result == json.loads((out / "result.json").read_text())
    assert sorted(path.name for path in out.iterdir()) == ["result.json", "rows.jsonl", "run.json"]


def test_the_other_processes_of_a_run_that_is_refused_say_the_same(backbone, data, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("fgvedit.evaluation.runs.runner.join", lambda device: None)
    monkeypatch.setattr("fgvedit.evaluation.runs.folder.from_the_first", lambda own: ("this run is under way", False))
    with pytest.raises(FGVEditError, match=r"^this run is under way$"):
        run(NoEdit(backbone, NoEdit.Config()), data, BOTH, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_needs_no_locks(backbone, data, tmp_path, monkeypatch, capsys):
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    run(NoEdit(backbone, NoEdit.Config()), data, BOTH, tmp_path / "out")
    assert "out' cannot be locked (No locks available): one process at a time" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["result.json", "rows.jsonl", "run.json"]
