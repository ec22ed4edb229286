"""The hub: what is said before a download, which files are fetched, and what happens where it gives none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from local_hub import LocalHub, connected, environment
from safetensors.torch import save

from fgvedit.util.errors import FGVEditError
from fgvedit.util.hub import RELEASED_AS_BIN, fetch, plan, wanted

NAME = "owner/model"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
ROWS = 70  # 70 x 1000 floats: 280 kB


def weights(seed: int = 0, rows: int = ROWS, dtype: torch.dtype = torch.float32) -> bytes:
    generator = torch.Generator().manual_seed(seed)
    return save({"embedding": torch.randn(rows, 1000, generator=generator).to(dtype), "bias": torch.zeros(10)})


def kilobytes(*contents: bytes) -> str:
    return f"{sum(map(len, contents)) / 1000:.1f} kB"


FILES = {
    "config.json": b'{"model_type": "test"}',
    "tokenizer.json": b"{}",
    "vocab.txt": b"one\ntwo\n",
    "model.safetensors": weights(),
}
TWINS = {
    "pytorch_model.bin": bytes(3000),
    "model.fp16.safetensors": weights(dtype=torch.float16),
    "consolidated.safetensors": weights(),
    "onnx/model.onnx": bytes(3000),
    "README.md": b"A model.",
}
SHARDED = {"config.json": b"{}", "model.safetensors.index.json": b"{}", SHARDS[0]: weights(1), SHARDS[1]: weights(2)}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with LocalHub() as served, connected(served, tmp_path / "cache"):
        yield served


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, hub: LocalHub) -> Iterator[Callable[[], None]]:
    """From when it is called on HF_HUB_OFFLINE is set, and nothing may be asked of the hub."""
    asked: list[list[str]] = []

    def set_offline() -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        asked.append(list(hub.requests))

    yield set_offline
    assert all(before == hub.requests for before in asked)


def requests(hub: LocalHub, call: Callable[[], object]) -> list[str]:
    """Those that a call makes."""
    before = len(hub.requests)
    call()
    return hub.requests[before:]


def held(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What is said


def test_before_a_download_one_statement_says_what_comes(hub: LocalHub, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=12_340_000_000))
    commit = hub.add(NAME, {**FILES, **TWINS})
    folder = fetch(NAME, "backbone", dtype=torch.bfloat16)
    out, said = capsys.readouterr()
    assert out == ""
    lines = said.splitlines()
    assert all("Fetching 4 files" in line for line in lines[3:] if line)  # the client's bar
    assert lines[0] == f"backbone: fetching owner/model from {hub.url}, commit {commit}"
    assert lines[1] == (
        f"  4 files of {kilobytes(*FILES.values())}, 0 of them (0 bytes) here already; "
        f"into {tmp_path / 'cache'}, which has 12.3 GB free"
    )
    assert re.fullmatch(
        r"  its weights \(70,010 parameters\) take 140\.0 kB of memory in bfloat16; free here: .*", lines[2]
    )
    assert folder.name == commit and held(folder) == FILES
    assert set(hub.sent) == set(FILES)


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        (torch.float32, "(70,010 parameters) take 280.0 kB of memory in float32"),
        (torch.bfloat16, "(70,010 parameters) take 140.0 kB of memory in bfloat16"),
        (None, f"(70,010 parameters) take {kilobytes(weights(dtype=torch.float16))} of memory as stored"),
    ],
)
def test_the_memory_is_that_of_the_type_in_which_the_weights_are_used(hub: LocalHub, capsys, dtype, words: str):
    hub.add(NAME, {**FILES, "model.safetensors": weights(dtype=torch.float16)})
    fetch(NAME, "backbone", dtype=dtype)
    assert words in capsys.readouterr().err


def test_where_the_hub_does_not_count_parameters_the_memory_is_that_of_the_files(hub: LocalHub, capsys):
    hub.add(NAME, {"open_clip_model.safetensors": weights(), "config.json": b"{}"})
    assert plan(NAME).parameters is None
    fetch(NAME, "CLIP", dtype=torch.bfloat16)
    assert f"its weights take {kilobytes(weights())} of memory as stored" in capsys.readouterr().err


def test_the_statement_says_what_memory_there_is(hub: LocalHub, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: ((79 - device) * 10**9, 80 * 10**9))
    hub.add(NAME, FILES)
    fetch(NAME, "backbone")
    said = re.search(
        r"free here: (?:at most )?([\d.]+) GB of RAM, 79\.0 GB on GPU 0, 78\.0 GB on GPU 1\n", capsys.readouterr().err
    )
    assert said and 0 < float(said[1]) <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9 + 0.1


def test_nothing_is_said_or_fetched_when_all_is_there(hub: LocalHub, capsys):
    hub.add(NAME, FILES)
    first = fetch(NAME, "backbone")
    capsys.readouterr()
    sent = dict(hub.sent)
    assert fetch(NAME, "backbone") == first
    assert capsys.readouterr() == ("", "")
    assert hub.sent == sent


def test_what_did_not_change_is_not_fetched_again(hub: LocalHub, capsys):
    hub.add(NAME, FILES)
    fetch(NAME, "backbone")
    changed = {**FILES, "config.json": b'{"model_type": "other"}'}
    commit = hub.add(NAME, changed)
    capsys.readouterr()
    folder = fetch(NAME, "backbone")
    same = [content for name, content in FILES.items() if name != "config.json"]
    assert (
        f"4 files of {kilobytes(*changed.values())}, 3 of them ({kilobytes(*same)}) here already"
        in capsys.readouterr().err
    )
    assert folder.name == commit and held(folder) == changed
    assert hub.sent["model.safetensors"] == len(FILES["model.safetensors"])


# Which files, of which commit


def test_a_plan(hub: LocalHub):
    commit = hub.add(NAME, {**SHARDED, **TWINS, "model.safetensors": weights()})
    before = plan(NAME)
    sizes = {name: len(content) for name, content in SHARDED.items()}
    assert (before.repo, before.revision, before.files) == (NAME, commit, sizes)
    assert (before.size, before.cached, set(before.missing)) == (sum(sizes.values()), 0, set(sizes))
    assert not hub.sent
    fetch(NAME, "backbone", patterns=("*.json",))
    after = plan(NAME)
    assert set(after.missing) == set(SHARDS) and after.cached == 4


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([*FILES, *TWINS], [*FILES]),
        ([*SHARDED, *TWINS, "model.safetensors"], [*SHARDED]),
        (["adapter_model.safetensors", "adapter_model.bin"], ["adapter_model.safetensors"]),
        (["model.safetensors", "2_Dense/model.safetensors"], ["model.safetensors", "2_Dense/model.safetensors"]),
        (["tokenizer.model", "chat_template.jinja", "code.py"], ["tokenizer.model", "chat_template.jinja"]),
    ],
)
def test_of_weights_one_copy_is_read(names: list[str], expected: list[str]):
    assert wanted(names, ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")) == sorted(expected)


def test_a_revision_picks_the_commit_and_its_files(hub: LocalHub, capsys):
    first = hub.add(NAME, FILES)
    second = hub.add(NAME, {**FILES, "model.safetensors": weights(1), "merges.txt": b""})
    tagged = hub.add(NAME, {**FILES, "vocab.txt": b"three\n"}, branch="refs/pr/1")
    assert held(fetch(NAME, "backbone", revision=first)) == FILES
    assert f"commit {first}" in capsys.readouterr().err
    assert fetch(NAME, "backbone").name == second
    folder = fetch(NAME, "backbone", revision="refs/pr/1")
    assert folder.name == tagged and (folder / "vocab.txt").read_bytes() == b"three\n"


def test_only_what_the_patterns_name_is_fetched(hub: LocalHub):
    hub.add(NAME, {**FILES, "open_clip_model.safetensors": weights(3, 10)})
    folder = fetch(NAME, "CLIP", patterns=("open_clip_model.safetensors",))
    assert held(folder) == {"open_clip_model.safetensors": weights(3, 10)}


def test_a_local_folder_is_taken_as_it_is(hub: LocalHub, tmp_path: Path, capsys):
    assert fetch(str(tmp_path), "backbone") == tmp_path
    assert not hub.requests and capsys.readouterr() == ("", "")


# Without the hub


def test_offline_the_cache_is_used(hub: LocalHub, offline, capsys):
    first, second = hub.add(NAME, FILES), hub.add(NAME, SHARDED)
    fetch(NAME, "backbone", revision=first)
    fetch(NAME, "backbone")
    hub.add(NAME, {**FILES, "vocab.txt": b"newer"})
    capsys.readouterr()
    offline()
    assert fetch(NAME, "backbone").name == second
    assert fetch(NAME, "backbone", revision=first).name == first
    assert capsys.readouterr() == ("", "")


def test_offline_main_is_known_where_its_commit_was_fetched_by_hash(hub: LocalHub, offline):
    commit = hub.add(NAME, FILES)
    fetch(NAME, "backbone", revision=commit)
    fetch(NAME, "backbone")
    offline()
    assert fetch(NAME, "backbone").name == commit


@pytest.mark.parametrize("lost", [None, *SHARDED])
def test_offline_what_is_not_whole_in_the_cache_is_refused(hub: LocalHub, offline, lost: str | None):
    hub.add(NAME, SHARDED)
    if lost is not None:
        (fetch(NAME, "backbone") / lost).unlink()
    offline()
    with pytest.raises(
        FGVEditError, match=r"the backbone 'owner/model' .*not whole, in the cache.*HF_HUB_OFFLINE is set"
    ):
        fetch(NAME, "backbone")


def test_offline_a_revision_that_was_not_fetched_is_refused(hub: LocalHub, offline):
    first = hub.add(NAME, FILES)
    hub.add(NAME, SHARDED)
    fetch(NAME, "backbone")
    offline()
    with pytest.raises(FGVEditError, match=f"'owner/model' at revision '{first}' .*HF_HUB_OFFLINE"):
        fetch(NAME, "backbone", revision=first)


def test_without_a_connection_the_cache_is_used(hub: LocalHub, capsys):
    commit = hub.add(NAME, FILES)
    fetch(NAME, "backbone")
    capsys.readouterr()
    hub.close()
    assert fetch(NAME, "backbone").name == commit
    assert capsys.readouterr() == ("", "")


def test_what_the_hub_has_no_more_is_in_the_cache(hub: LocalHub):
    commit = hub.add(NAME, FILES)
    folder = fetch(NAME, "backbone", revision=commit)
    del hub.repos[NAME].commits[commit]
    hub.add(NAME, SHARDED)
    assert fetch(NAME, "backbone", revision=commit) == folder
    del hub.repos[NAME]
    assert fetch(NAME, "backbone", revision=commit) == folder


def test_without_a_connection_or_cache_one_sentence_says_so(hub: LocalHub, tmp_path: Path):
    hub.close()
    cache = re.escape(str(tmp_path / "cache"))
    for ask in (lambda: plan(NAME), lambda: fetch(NAME, "backbone")):
        with pytest.raises(FGVEditError, match=rf"'owner/model' cannot be opened .*{hub.url}.*a connection.*'{cache}'"):
            ask()


# What the hub does not give


@pytest.mark.parametrize("token", [None, "hf_x"])
def test_a_gated_repo(hub: LocalHub, capsys, monkeypatch, token: str | None):
    hub.add(NAME, FILES, gated=True)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(FGVEditError, match=rf"'owner/model' .*gated.*{hub.url}/owner/model.*HF_TOKEN"):
        fetch(NAME, "backbone")
    assert capsys.readouterr() == ("", "") and not hub.sent


@pytest.mark.parametrize(
    ("name", "revision", "sentence"),
    [
        ("owner/other", None, r"'owner/other' .*has no such model.*expected a hub id or a folder.*HF_TOKEN"),
        ("no/such/folder", None, r"'no/such/folder' .*no such folder.*expected a hub id or a folder"),
        (NAME, "v9", r"'owner/model' at revision 'v9' .*no revision 'v9'.*expected a commit, branch or tag"),
        (NAME, "0" * 40, rf"'owner/model' at revision '{'0' * 40}' .*no revision"),
    ],
)
def test_what_is_not_there(hub: LocalHub, name: str, revision: str | None, sentence: str):
    hub.add(NAME, FILES)
    for ask in (lambda: plan(name, revision), lambda: fetch(name, "backbone", revision)):
        with pytest.raises(FGVEditError, match=sentence) as raised:
            ask()
        assert "\n" not in str(raised.value)


def test_a_repo_without_safetensors_is_refused(hub: LocalHub, capsys):
    commit = hub.add(NAME, {"config.json": b"{}", "pytorch_model.bin": bytes(3000)})
    with pytest.raises(
        FGVEditError,
        match=rf"the backbone 'owner/model' .*no \*\.safetensors at commit {commit}, found pytorch_model\.bin",
    ):
        fetch(NAME, "backbone")
    assert not hub.sent and capsys.readouterr() == ("", "")
    assert set(plan(NAME, patterns=("*.json",)).files) == {"config.json"}


def test_a_disk_without_room_is_named_before_anything_is_fetched(hub: LocalHub, tmp_path: Path, monkeypatch):
    hub.add(NAME, FILES)
    free = len(b"".join(FILES.values())) - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(
        FGVEditError,
        match=rf"'owner/model' cannot be fetched: {kilobytes(*FILES.values())} .*'{tmp_path / 'cache'}'.*HF_HOME",
    ):
        fetch(NAME, "backbone")
    assert not hub.sent
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free + 1))
    assert held(fetch(NAME, "backbone")) == FILES


# Downloads that stop


def test_a_download_that_stopped_goes_on_with_what_is_missing(hub: LocalHub, capsys):
    hub.add(NAME, SHARDED)
    hub.broken.add(SHARDS[1])
    with pytest.raises(FGVEditError, match=r"the backbone 'owner/model' could not be fetched whole .*goes on"):
        fetch(NAME, "backbone")
    assert plan(NAME).missing == (SHARDS[1],)
    hub.broken.clear()
    capsys.readouterr()
    assert held(fetch(NAME, "backbone")) == SHARDED
    there = [content for name, content in SHARDED.items() if name != SHARDS[1]]
    assert (
        f"4 files of {kilobytes(*SHARDED.values())}, 3 of them ({kilobytes(*there)}) here already"
        in capsys.readouterr().err
    )
    assert hub.sent[SHARDS[0]] == len(SHARDED[SHARDS[0]])


def test_a_hub_that_fails_before_the_download_leaves_no_half_a_model(hub: LocalHub):
    """Where it has a part of a model and the hub is gone, the client gives the part."""
    import huggingface_hub

    hub.add(NAME, FILES)
    huggingface_hub.hf_hub_download(NAME, "config.json")
    hub.broken.add(f"/api/models/{NAME}/revision/main")
    with pytest.raises(FGVEditError, match=r"'owner/model' could not be fetched whole \(model\.safetensors is missing"):
        fetch(NAME, "backbone")


def test_a_connection_that_breaks_within_a_file_is_taken_up_there(hub: LocalHub, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    hub.add(NAME, FILES)
    hub.cut["model.safetensors"] = 100_000
    assert held(fetch(NAME, "backbone")) == FILES
    assert hub.requests.count(f"GET /{NAME}/resolve/{plan(NAME).revision}/model.safetensors") == 2
    assert hub.sent["model.safetensors"] < 2 * len(FILES["model.safetensors"])


def test_another_process_fetches_then_needs_no_hub(hub: LocalHub, tmp_path: Path):
    """By the environment alone, as a user has it."""
    commit = hub.add(NAME, SHARDED)
    code = "from fgvedit.util.hub import fetch; print(fetch('owner/model', 'backbone'))"

    def process(**changes: str) -> subprocess.CompletedProcess[str]:
        environ = {**environment(hub, tmp_path / "home"), **changes}
        return subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=120)

    first = process()
    folder = Path(first.stdout.strip())
    assert folder.name == commit and tmp_path / "home" in folder.parents and held(folder) == SHARDED
    assert f"backbone: fetching owner/model from {hub.url}, commit {commit}" in first.stderr
    hub.close()
    second = process(HF_HUB_OFFLINE="1")
    assert (second.stdout, second.stderr) == (first.stdout, "")


# Who reads from the hub


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """The folder of a random DistilBERT with a tokenizer of its own."""
    from transformers import BertTokenizerFast, DistilBertConfig, DistilBertModel

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "what", "has", "the", "card"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    folder = tmp_path / "bert"
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(1)
    DistilBertModel(
        DistilBertConfig(vocab_size=len(words), dim=16, hidden_dim=32, n_layers=1, n_heads=2)
    ).half().save_pretrained(folder)
    return folder


@torch.no_grad()
def test_the_text_encoder_of_serac(hub: LocalHub, offline, bert: Path, backbone, capsys):
    from transformers import AutoModel

    from fgvedit.editors.memory.text_scope import TextEncoder

    hub.add("distilbert-base-cased", bert)
    model = AutoModel.from_pretrained(bert, dtype=torch.float32)
    ids = torch.tensor([[2, 5, 6, 7, 8, 3]])
    expected = model(input_ids=ids).last_hidden_state[:, 0]
    capsys.readouterr()
    for say in (True, False):
        encoder = TextEncoder(backbone, "distilbert-base-cased", 0, 0)
        assert encoder.width == 16
        torch.testing.assert_close(encoder(["what has the card"]), expected)
        statement = f"text encoder: fetching distilbert-base-cased from {hub.url}"
        needed = f"take {model.num_parameters() * 4 / 1000:.1f} kB of memory in float32"
        said = capsys.readouterr().err
        assert (statement in said) == (needed in said) == say
        if say:  # what transformers opens is the folder: it asks nothing itself
            asked = requests(hub, lambda: fetch("distilbert-base-cased", "text encoder"))
            assert requests(hub, lambda: TextEncoder(backbone, "distilbert-base-cased", 0, 0)) == asked
        offline()
    with pytest.raises(FGVEditError, match=r"option 'encoder': the text encoder 'owner/other' .*HF_HUB_OFFLINE"):
        TextEncoder(backbone, "owner/other", 0, 0)


@pytest.mark.parametrize("name", ["owner/counts", "counts"])
def test_the_sentence_encoder_of_ike(hub: LocalHub, offline, tmp_path: Path, capsys, name: str):
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    from baselines.ike.editor import open_encoder

    tokenizer = Tokenizer(models.WordLevel({"other": 0, "red": 1, "blue": 2}, "other"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    module = StaticEmbedding(tokenizer, embedding_weights=torch.eye(3).numpy())
    SentenceTransformer(modules=[module], device="cpu").save(str(tmp_path / "encoder"))
    repo = name if "/" in name else f"sentence-transformers/{name}"
    hub.add(repo, tmp_path / "encoder")
    capsys.readouterr()
    for say in (True, False):
        found = open_encoder(name, torch.device("cpu")).encode(["red red blue"])
        assert found[0].tolist() == pytest.approx([0, 2 / 3, 1 / 3])
        assert (f"sentence encoder: fetching {repo} from {hub.url}" in capsys.readouterr().err) == say
        if say:  # what sentence-transformers opens is the folder: it asks nothing itself
            asked = requests(hub, lambda: fetch(repo, "sentence encoder"))
            assert requests(hub, lambda: open_encoder(name, torch.device("cpu"))) == asked
        offline()
    with pytest.raises(FGVEditError, match=r"option 'encoder' of editor 'ike': .*'owner/other' .*HF_HUB_OFFLINE"):
        open_encoder("owner/other", torch.device("cpu"))


@pytest.fixture
def small_clip(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The configuration that ViT-B-32 and ViT-L-14 have here: their tags, repos and activations stay those of the
    real ones."""
    import open_clip

    vision = {"image_size": 32, "patch_size": 16, "width": 16, "layers": 2, "head_width": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
    config = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}
    known = {**open_clip.factory._MODEL_CONFIGS, "ViT-B-32": config, "ViT-L-14": config}
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", known)
    return config


@pytest.mark.parametrize(
    ("name", "repo"),
    [("ViT-B-32", "timm/vit_base_patch32_clip_224.openai"), ("ViT-L-14", "timm/vit_large_patch14_clip_224.openai")],
)
@torch.no_grad()
def test_clip_by_name(hub: LocalHub, offline, small_clip: dict[str, Any], capsys, name: str, repo: str):
    import open_clip

    from fgvedit.editors.memory.clip import Clip

    torch.manual_seed(0)
    model = open_clip.CLIP(**small_clip, quick_gelu=True).eval()
    content = save({key: value.contiguous() for key, value in model.state_dict().items()})
    hub.add(repo, {"open_clip_model.safetensors": content, "model.safetensors": weights(), "config.json": b"{}"})
    pixels = torch.randn(2, 3, 32, 32)
    tokens = open_clip.tokenize(["a red card"])
    for say in (True, False):
        clip = Clip(name, "openai").eval()
        said = capsys.readouterr().err
        assert (f"CLIP: fetching {repo} from {hub.url}" in said) == ("1 file of" in said) == say
        torch.testing.assert_close(clip.see(pixels)[0], model.encode_image(pixels))
        torch.testing.assert_close(clip.read(["a red card"]), model.encode_text(tokens))
        offline()
    other = open_clip.CLIP(**small_clip, quick_gelu=False).eval()
    other.load_state_dict(model.state_dict())
    assert (other.encode_image(pixels) - model.encode_image(pixels)).abs().max() > 1e-3
    assert set(hub.sent) == {"open_clip_model.safetensors"}


def test_clip_without_weights_is_refused(hub: LocalHub, small_clip: dict[str, Any]):
    from fgvedit.editors.memory.clip import Clip

    with pytest.raises(FGVEditError, match=r"unknown weights of CLIP 'ViT-B-32' '': expected one of .*openai"):
        Clip("ViT-B-32", "")
    with pytest.raises(FGVEditError, match=r"CLIP 'timm/vit_base_patch32_clip_224\.openai' .*has no such model"):
        Clip("ViT-B-32", "openai")


# What is released for torch alone


def test_files_for_torch_are_read_where_they_are_asked_for_and_there_is_nothing_else(hub: LocalHub, offline, capsys):
    files = {"config.json": b"{}", "pytorch_model.bin": bytes(3000), "tf_model.h5": bytes(5000)}
    hub.add(NAME, files)
    with pytest.raises(FGVEditError, match=r"has no \*\.safetensors .* found pytorch_model.bin, tf_model.h5"):
        fetch(NAME, "counterfactual model")
    folder = fetch(NAME, "counterfactual model", patterns=RELEASED_AS_BIN)
    assert set(held(folder)) == {"config.json", "pytorch_model.bin"}
    assert "its weights take 3.0 kB of memory as stored" in capsys.readouterr().err
    offline()
    assert fetch(NAME, "counterfactual model", patterns=RELEASED_AS_BIN) == folder


def test_files_for_torch_are_left_where_there_are_safetensors(hub: LocalHub):
    hub.add(NAME, {**FILES, "pytorch_model.bin": bytes(3000)})
    assert held(fetch(NAME, "counterfactual model", patterns=RELEASED_AS_BIN)) == FILES
    assert wanted(["pytorch_model.bin", "a/model.safetensors"], RELEASED_AS_BIN) == [
        "a/model.safetensors",
        "pytorch_model.bin",
    ]
