"""Which backbone a name opens: shipped, in a folder, on the hub, or described in a file of a user's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from families import SAVE
from local_hub import LocalHub, connected
from rows import image_ref

from fgvedit.backbones import NAMES, open_backbone
from fgvedit.backbones.answering import Query
from fgvedit.backbones.families.image_text import ImageTextBackbone
from fgvedit.dataset import load_records
from fgvedit.editors.registry import open_editor
from fgvedit.evaluation.protocols import open_protocols
from fgvedit.evaluation.runs.manifest import identity
from fgvedit.util.errors import FGVEditError

QUERIES = [Query("What colour is it?", image_ref(0)), Query("What?")]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with LocalHub() as hub, connected(hub, tmp_path / "cache"):
        yield hub


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("named") / "llava"
    SAVE["llava"](folder)
    return folder


def refusal(name: str, **options: str) -> str:
    with pytest.raises(FGVEditError) as caught:
        open_backbone(name, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_backbone_on_the_hub(hub: LocalHub, llava: Path, capsys):
    commit = hub.add("somebody/some-llava", llava)
    backbone = open_backbone("somebody/some-llava", dtype=torch.bfloat16)
    said = capsys.readouterr().err
    assert f"backbone: fetching somebody/some-llava from {hub.url}, commit {commit}" in said
    assert (backbone.name, backbone.revision) == ("some-llava", commit)
    assert backbone.generate(QUERIES, 3) == open_backbone(str(llava), dtype=torch.bfloat16).generate(QUERIES, 3)
    assert not open_backbone("somebody/some-llava").generate([], 3)
    assert capsys.readouterr().err == ""  # nothing more was fetched


def test_a_pinned_revision_is_recorded(hub: LocalHub, llava: Path, tmp_path: Path):
    import shutil

    first = hub.add("somebody/some-llava", llava)
    changed = Path(shutil.copytree(llava, tmp_path / "changed"))
    config = json.loads((changed / "generation_config.json").read_text())
    (changed / "generation_config.json").write_text(json.dumps({**config, "max_new_tokens": 7}))
    second = hub.add("somebody/some-llava", changed)
    assert open_backbone("somebody/some-llava").revision == second != first
    pinned = open_backbone("somebody/some-llava", revision=first)
    run = identity(
        open_editor("none", pinned),
        load_records("scenes", limit=1),
        open_protocols("paper"),
        seed=0,
        limit=1,
        checkpoint=None,
    )
    assert run["backbone"] == {
        "name": "some-llava",
        "source": "somebody/some-llava",
        "revision": first,
        "input_mode": "native",
    }
    assert "no-such-branch" in refusal("somebody/some-llava", revision="no-such-branch")


def test_a_hub_id_with_a_name_has_that_name(hub: LocalHub, random_blip2: Path):
    hub.add("Salesforce/blip2-opt-2.7b", random_blip2)
    assert open_backbone("Salesforce/blip2-opt-2.7b").name == open_backbone("blip2-opt-2.7b").name == "blip2-opt-2.7b"


def test_not_on_the_hub(hub: LocalHub):
    assert "somebody/nothing" in refusal("somebody/nothing")


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_shipped_or_on_the_hub(name: str):
    entry = NAMES[name]
    assert len({"shipped", "hub"} & entry.keys()) == 1
    assert entry.get("hub", "owner/name").count("/") == 1


# A file of a user's own


def described(folder: Path, text: str) -> str:
    path = folder / "my-model.yaml"
    path.write_text(text)
    return str(path)


def test_a_described_backbone(llava: Path):
    file = described(
        llava.parent,
        "folder: llava\n"
        "vision: model.vision_tower\n"
        "connector: [model.multi_modal_projector.linear_1]\n"
        "layers: model.language_model.layers\n"
        'question: "{question} In short:"\n',
    )
    backbone, found = open_backbone(file), open_backbone(str(llava))
    assert isinstance(backbone, ImageTextBackbone)
    assert backbone.name == "my-model" and backbone.revision == found.revision
    assert backbone.prompt("What?") == "What? In short:"
    assert {name for name, _ in backbone.connector.named_parameters()} == {"0.weight", "0.bias"}
    prompt = [found.prompt("What?")]
    with torch.no_grad():
        mine, own = (one.logits(one.inputs(prompt, [image_ref()])) for one in (backbone, found))
    torch.testing.assert_close(mine, own)


def test_a_described_backbone_can_ask_the_question_alone_as_easyedit_does(llava: Path):
    backbone = open_backbone(described(llava.parent, 'folder: llava\nquestion: "{question}"\n'))
    template = backbone.processor.apply_chat_template  # type: ignore[attr-defined]
    turn = [{"role": "user", "content": [{"type": "text", "text": "who wrote the odyssey"}]}]
    ids = template(turn, add_generation_prompt=True, tokenize=True, return_dict=True)["input_ids"]
    assert backbone.prompt_ids(backbone.prompt_of(Query("who wrote the odyssey")), with_image=False) == ids[0]


def test_a_described_backbone_on_the_hub(hub: LocalHub, llava: Path, tmp_path: Path):
    first = hub.add("somebody/some-llava", llava)
    hub.add("somebody/some-llava", {"README.md": b"nothing"})
    file = described(tmp_path, f"hub: somebody/some-llava\nrevision: {first}\n")
    assert open_backbone(file).revision == first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("folder: llava\nconector: [x]\n", "unknown option in '.*my-model.yaml' 'conector'.*did you mean 'connector'"),
        ("vision: x\n", "has to name either 'hub' or 'folder'"),
        ("folder: llava\nhub: a/b\n", "has to name either 'hub' or 'folder'"),
        ("- llava\n", "has to name either 'hub' or 'folder'"),
        ("folder: [\n", "my-model.yaml' is not YAML"),
        ("folder: llava\nconnector: x\n", "option 'connector' is 'x'; expected a list"),
        ("folder: llava\nlayers: 3\n", "option 'layers' is 3; expected a str"),
        ("folder: lava\n", "folder '.*lava' is missing"),
        ("folder: llava\nvision: model.eyes\n", r"there is no 'model.eyes' \(option 'vision'\)"),
        ("folder: llava\nconnector: [model.nothing]\n", r"there is no 'model.nothing' \(option 'connector'\)"),
        ("folder: llava\nlayers: model.layers\n", r"there is no 'model.layers' \(option 'layers'\)"),
        (
            "folder: llava\nconnector: [model.language_model.norm]\n",
            "images reach the language model past the connector",
        ),
    ],
)
def test_a_description_that_cannot_be(llava: Path, text: str, message: str):
    import re

    assert re.search(message, refusal(described(llava.parent, text)))


def test_no_such_file(tmp_path: Path):
    assert "there is no file" in refusal(str(tmp_path / "none.yaml"))


# Input modes and revisions


def test_an_unknown_input_mode(random_blip2: Path):
    assert "did you mean 'paper'" in refusal(str(random_blip2), input_mode="papers")


def test_the_papers_input_mode_is_for_the_papers_models(llava: Path):
    assert "has no input mode 'paper'" in refusal(str(llava), input_mode="paper")


def test_a_folder_has_no_revision(llava: Path):
    assert "--revision 'main'" in refusal(str(llava), revision="main")
