"""Publishing: what the repository holds and says, that it loads, and that it arrives at a hub byte for byte."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import yaml
from local_hub_uploads import UploadHub, pushing
from PIL import Image
from rows import make_probe, make_row

from builders import coco
from builders.parquet import write_rows
from builders.provenance import told
from builders.publish import embed
from builders.publish.__main__ import main
from builders.publish.upload import push
from builders.review.apply import apply_marks
from builders.validate.__main__ import main as validate
from builders.validate.sources import open_source
from fgvedit.dataset import load_records
from fgvedit.util.errors import FGVEditError, command_line

REPO = "owner/photos"
TEXT = "Photos of my own, CC0."
CROISSANT = """
import json, sys
import mlcroissant
metadata = mlcroissant.Dataset(jsonld=sys.argv[1]).metadata  # raises where it is not valid
sets = [record_set.uuid for record_set in metadata.record_sets]
print(json.dumps({"errors": sorted(map(str, metadata.ctx.issues.errors)), "record_sets": sets}))
"""


def photo(seed: int) -> bytes:
    """A JPEG that looks like no other."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((64, 48), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def coco_row(number: int) -> dict[str, Any]:
    """A record about an image that is called as one of COCO 2014, with another such image in a probe."""
    name, other = f"COCO_train2014_{number:012d}", f"COCO_val2014_{number:012d}"
    kinds = ("rephrase", "in_scope", "out_of_scope")
    answers = {"rephrase": "blue", "in_scope": "yes", "out_of_scope": "2"}
    probes = [make_probe(kind, answers[kind], image_id=name) for kind in kinds]
    probes.append(make_probe("text_locality", "Paris"))
    probes.append(
        make_probe("other_image", "green", {"bytes": photo(number + 1000), "path": None}, other, question="What?")
    )
    image = {"bytes": photo(number), "path": None}
    entity = {"name": "card", "box": []}
    return make_row(number, image_id=name, image=image, entity=entity, probes=probes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two splits with what a labeller said beside them."""
    made = tmp_path / "rules"
    write_rows(map(coco_row, range(1, 4)), made, "train")
    write_rows(map(coco_row, range(11, 13)), made, "test")
    (made / "labels.jsonl").write_text('{"id": "record-1", "labeller": "rules"}\n')
    return made


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "repo"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    with UploadHub() as served, pushing(served, tmp_path / "cache"):
        monkeypatch.setenv("HF_TOKEN", "secret")
        served.members["secret"] = {"owner"}
        yield served


def run(folder: Path, out: Path, *options: str) -> None:
    main([str(folder), "--repo", REPO, "--out", str(out), *options])


def on_disk(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def metadata(out: Path) -> dict[str, Any]:
    return yaml.safe_load((out / "README.md").read_text().split("---\n")[1])


# -- the repository ------------------------------------------------------------------------------------------------


def test_datasets_loads_it_with_the_records_that_were_given(folder, out):
    run(folder, out, "--embed-images")
    loaded = datasets.load_dataset(str(out), "rules")
    assert {split: table["id"] for split, table in loaded.items()} == {
        "train": ["record-1", "record-2", "record-3"],
        "test": ["record-11", "record-12"],
    }
    assert loaded["test"][0]["image"].size == (64, 48)
    for split in ("train", "test"):
        given, got = load_records(str(folder), split).records, load_records(str(out), split).records
        assert [record.image.key for record in got] == [record.image.key for record in given]
        assert [[p.answer for p in record.probes] for record in got] == [[p.answer for p in r.probes] for r in given]
    assert validate([str(out)]) == 0


def test_images_are_referenced_unless_asked_for(folder, out, monkeypatch):
    monkeypatch.setattr(coco, "HOST", "http://images.example")
    run(folder, out)
    for name, content in on_disk(out).items():
        for number in (1, 2, 3, 11, 12, 1001):
            assert photo(number) not in content, name
    first = datasets.load_dataset(str(out), split="train").with_format("arrow")[0].to_pylist()[0]
    at = "http://images.example"
    assert first["image"] == {"bytes": None, "path": f"{at}/train2014/COCO_train2014_000000000001.jpg"}
    assert [probe["image"] for probe in first["probes"]] == [
        *[None] * 4,
        {"bytes": None, "path": f"{at}/val2014/COCO_val2014_000000000001.jpg"},
    ]
    text = (out / "README.md").read_text()
    assert "referenced, not embedded" in text and "CC BY 4.0" in text and "Flickr" in text


def test_natural_questions_is_named_where_it_is(folder, out, images, tmp_path):
    """With its licence and those of VQA v2.0 and COCO: on the card, in Croissant, and where images are put back."""
    run(folder, out)
    embed.main([str(out), "--images", str(images), "--out", str(tmp_path / "whole")])
    for card in (out, tmp_path / "whole"):
        text = (card / "README.md").read_text()
        assert all(
            name in text for name in ("Natural Questions", "CC BY-SA 3.0", "VQA v2.0", "CC BY 4.0", "COCO's terms")
        )
        assert metadata(card)["license"] == ["cc-by-4.0", "cc-by-sa-3.0"]
    said = json.loads((out / "croissant.json").read_text())
    assert [one["name"] for one in said["isBasedOn"]] == ["VQA v2.0", "COCO 2014", "Natural Questions"]
    shared = "https://creativecommons.org/licenses/by-sa/3.0/"
    assert said["isBasedOn"][2]["license"] == said["license"][1] == shared
    assert "Natural Questions" not in told(["rephrase", "worded_in"])  # where no probe is text alone


def test_referenced_images_can_be_put_back(folder, out, images, tmp_path):
    run(folder, out)
    embed.main([str(out), "--images", str(images), "--out", str(tmp_path / "whole")])
    for name in ("train-00000.parquet", "test-00000.parquet"):
        assert (tmp_path / "whole" / name).read_bytes() == (folder / name).read_bytes()
    assert len(datasets.load_dataset(str(tmp_path / "whole"), split="train")) == 3


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The images of `folder` as COCO has them."""
    images = tmp_path / "coco"
    for number in (1, 2, 3, 11, 12):
        for split, seed in (("train2014", number), ("val2014", number + 1000)):
            (images / split).mkdir(parents=True, exist_ok=True)
            (images / split / f"COCO_{split}_{number:012d}.jpg").write_bytes(photo(seed))
    return images


def test_labels_and_card_go_along_where_images_are_put_back(folder, out, images, tmp_path):
    (tmp_path / "about.md").write_text(TEXT)
    run(folder, out, "--licence", "cc0-1.0", "--provenance", str(tmp_path / "about.md"))
    whole = tmp_path / "whole"
    for _ in range(2):  # the second time in place of the first
        embed.main([str(out), "--images", str(images), "--out", str(whole)])
    assert (whole / "labels.jsonl").read_bytes() == (folder / "labels.jsonl").read_bytes()
    text = (whole / "README.md").read_text()
    assert text.count("Images stand in these files") == 1 and TEXT in text
    assert metadata(whole)["license"] == "cc0-1.0"
    assert [config["config_name"] for config in metadata(whole)["configs"]] == ["rules"]
    assert validate([str(whole)]) == 0


@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-300])])
def test_one_bad_image_and_nothing_is_put_back(folder, out, images, tmp_path, spoil, older):
    run(folder, out)
    whole = tmp_path / "whole"
    if older:
        embed.main([str(out), "--images", str(images), "--out", str(whole)])
    before = on_disk(whole)
    spoil(images / "val2014/COCO_val2014_000000000011.jpg")  # of test, which comes last
    with pytest.raises(FGVEditError, match="COCO_val2014_000000000011"):
        embed.main([str(out), "--images", str(images), "--out", str(whole)])
    assert on_disk(whole) == before and whole.exists() == older


def test_images_are_not_put_into_a_folder_of_something_else(folder, out, images, tmp_path):
    run(folder, out)
    before = on_disk(tmp_path)
    for place, message in (
        (folder, "holds something else"),
        (out, "holds the data itself"),
        (images, "something else"),
    ):
        with pytest.raises(FGVEditError, match=message):
            embed.main([str(out), "--images", str(images), "--out", str(place)])
    assert on_disk(tmp_path) == before


def test_labels_of_a_published_folder_are_published_again(folder, out, tmp_path):
    run(folder, out, "--embed-images")
    main([str(out), "--repo", REPO, "--out", str(tmp_path / "second"), "--embed-images"])
    assert (tmp_path / "second/labels/repo.jsonl").read_bytes() == (folder / "labels.jsonl").read_bytes()
    assert "labels/repo.jsonl" in (tmp_path / "second/README.md").read_text()


def test_an_image_of_ones_own_is_only_published_when_told_to(dataset_folder, out):
    with pytest.raises(FGVEditError, match=r"image 'image-\d+' is none of COCO 2014.*--embed-images"):
        run(dataset_folder, out)
    assert not out.exists() and not list(out.parent.glob(".repo*"))


def test_the_card_counts_what_is_there(folder, out):
    run(folder, out, "--embed-images", "--title", "My photos", "--licence", "cc0-1.0")
    text = (out / "README.md").read_text()
    assert metadata(out)["license"] == ["cc0-1.0", "cc-by-sa-3.0"] and "# My photos\n" in text
    counted = dict(re.findall(r"^\| (.+?) \| (.+) \|$", text, re.MULTILINE))
    assert counted["records (edits)"] == "3 | 2"
    assert counted["images"] == "6 | 4"
    assert counted["probes `other_image`"] == counted["probes `in_scope`"] == "3 | 2"
    assert counted["targets: other"] == "3 | 2" and counted["targets: yes/no"] == "0 | 0"
    assert "probes `portability`" not in counted
    assert (out / "labels/rules.jsonl").read_bytes() == (folder / "labels.jsonl").read_bytes()
    assert "**embedded**" in text and "Flickr" in text


def test_provenance_is_told_in_the_authors_words(folder, out, tmp_path):
    (tmp_path / "about.md").write_text(TEXT)
    run(folder, out, "--embed-images", "--provenance", str(tmp_path / "about.md"))
    text = (out / "README.md").read_text()
    assert TEXT in text and "VQA v2.0" not in text and "Natural Questions" not in text
    assert "isBasedOn" not in json.loads((out / "croissant.json").read_text())


def test_several_configurations(folder, out):
    main([f"one={folder}", f"two={folder}", "--repo", REPO, "--out", str(out), "--embed-images"])
    assert datasets.get_dataset_config_names(str(out)) == ["one", "two"]
    assert [config.get("default") for config in metadata(out)["configs"]] == [True, None]
    assert len(datasets.load_dataset(str(out), "two", split="test")) == 2


def test_checksums_are_those_of_all_files(folder, out):
    run(folder, out, "--embed-images")
    lines = (out / "SHA256SUMS").read_text().splitlines()
    files = {name: content for name, content in on_disk(out).items() if name != "SHA256SUMS"}
    assert dict(reversed(line.split("  ")) for line in lines) == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }


@pytest.mark.parametrize("images", [(), ("--embed-images",)])
def test_croissant_is_valid_and_names_every_file(folder, out, images):
    if importlib.util.find_spec("mlcroissant") is None:
        pytest.skip("needs the Python package mlcroissant")
    run(folder, out, *images)
    # In a process of its own: absl, which it brings, ties the logging of the whole process to one test's output.
    read = subprocess.run([sys.executable, "-c", CROISSANT, out / "croissant.json"], capture_output=True, text=True)
    assert read.returncode == 0, read.stderr
    assert json.loads(read.stdout.splitlines()[-1]) == {"errors": [], "record_sets": ["rules"]}
    sums = dict(reversed(line.split("  ")) for line in (out / "SHA256SUMS").read_text().splitlines())
    said = json.loads((out / "croissant.json").read_text())["distribution"]
    files = {one["contentUrl"]: one["sha256"] for one in said if one.get("containedIn") and "sha256" in one}
    assert files == {name: total for name, total in sums.items() if name.endswith(".parquet")}


def test_the_same_records_make_the_same_files(folder, out, tmp_path):
    run(folder, out, "--embed-images")
    run(folder, tmp_path / "again", "--embed-images")
    assert on_disk(out) == on_disk(tmp_path / "again")


def test_a_second_repository_takes_the_place_of_the_first(folder, out):
    run(folder, out, "--embed-images")
    write_rows(map(coco_row, range(20, 24)), folder, "test")
    run(folder, out)
    assert len(datasets.load_dataset(str(out), split="test")) == 4
    assert not list(out.parent.glob(".repo*"))


def test_the_first_repository_stays_where_the_second_cannot_take_its_place(folder, out, monkeypatch):
    run(folder, out, "--embed-images")
    before = on_disk(out)

    def refuse(path: Path, target: Path) -> Path:
        if path.name.endswith(".fgvedit-new"):
            raise PermissionError("no")
        return rename(path, target)

    rename = Path.rename
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", refuse)
        with pytest.raises(PermissionError):
            run(folder, out)
    assert on_disk(out) == before

    out.rename(out.with_name(".repo.fgvedit-old"))  # as a kill at the worst moment leaves it
    (folder / "test-00000.parquet").write_bytes(b"no Parquet any more")
    with pytest.raises(FGVEditError):
        run(folder, out, "--embed-images")
    write_rows(map(coco_row, range(11, 13)), folder, "test")
    run(folder, out, "--embed-images")
    assert on_disk(out) == before
    assert not list(out.parent.glob(".repo*"))


def test_other_folders_are_not_overwritten(folder, out):
    out.mkdir()
    (out / "thesis.tex").write_text("all of it")
    (out / "SHA256SUMS").write_text("of the thesis")
    before = on_disk(out)
    with pytest.raises(FGVEditError, match="holds something else"):
        run(folder, out)
    assert on_disk(out) == before


def test_what_is_wrong_is_not_published(folder, out, hub):
    write_rows([{**coco_row(1), "id": "another"}], folder, "test")  # its images are in train
    with pytest.raises(FGVEditError, match=r"is not published: \d+ errors.*image_in_splits"):
        run(folder, out, "--push")
    assert not out.exists() and not hub.pushed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--repo", "photos"], "--repo: found 'photos', expected OWNER/NAME"),
        (["--pull-request"], "--pull-request: found it without --push"),
        (["--private"], "--private: found it without --push"),
        (["--message", "First"], "--message: found it without --push"),
        (["--provenance", "missing.md"], "no file 'missing.md'"),
        (["--embed"], "unknown option '--embed'"),
    ],
)
def test_bad_options_in_a_sentence(folder, out, options, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        command_line(lambda _: run(folder, out, *options))
    assert stopped.value.code == 2 and re.search(message, capsys.readouterr().err)
    assert not out.exists()


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["{0}/nowhere"], "found no folder '.*nowhere'"),
        (["{0}/rules", "rules={0}"], "a second configuration 'rules'"),
        (["my rules={0}/rules"], "found 'my rules' as a configuration's name"),
        (["here={0}"], "found no files|expected files of records|holds the data"),
    ],
)
def test_bad_folders_in_a_sentence(folder, tmp_path, folders, message):
    out = tmp_path / "repo" if folders != ["here={0}"] else tmp_path
    with pytest.raises(FGVEditError, match=message):
        main([*(text.format(tmp_path) for text in folders), "--repo", REPO, "--out", str(out)])
    assert set(on_disk(folder)) == {"train-00000.parquet", "test-00000.parquet", "labels.jsonl"}


def test_a_folder_of_several_configurations_in_a_sentence(folder, out, tmp_path):
    main([f"one={folder}", f"two={folder}", "--repo", REPO, "--out", str(out), "--embed-images"])
    card = out / "README.md"
    card.write_text(card.read_text().replace("  default: true\n", ""))
    with pytest.raises(FGVEditError, match="and no default one; expected a folder with the files of one"):
        main([str(out), "--repo", REPO, "--out", str(tmp_path / "second")])


# -- the push ------------------------------------------------------------------------------------------------------


def test_files_arrive_byte_for_byte(folder, out, hub, capsys):
    run(folder, out, "--embed-images", "--push", "--message", "First records")
    files = {name: content for name, content in hub.files(REPO).items() if name != ".gitattributes"}
    assert files == on_disk(out)
    assert hub.messages == ["First records"] and not hub.pulls
    assert "visibility" not in hub.created[REPO] and hub.created[REPO]["type"] == "dataset"
    assert f"pushed: {hub.url}/datasets/{REPO}/commit/{hub.repos[REPO].refs['main']}" in capsys.readouterr().out
    assert any(len(content) > 1000 for content in hub.large.values())  # the way that Parquet goes


def test_what_was_pushed_is_read_from_the_hub(folder, out, hub, capsys):
    run(folder, out, "--embed-images", "--push")
    assert validate([REPO]) == 0
    assert "train: 3 records, 6 images" in capsys.readouterr().out


def test_a_review_of_what_is_on_the_hub_keeps_its_licence(folder, out, hub, tmp_path):
    (folder / "labels.jsonl").unlink()
    run(folder, out, "--embed-images", "--push", "--licence", "cc0-1.0")
    marks = {"format": 1, "data": open_source(REPO).revision, "marks": {"record-1": {"edit": "wrong"}}}
    (tmp_path / "marks.json").write_text(json.dumps(marks))
    apply_marks(REPO, tmp_path / "marks.json", tmp_path / "reviewed")
    assert metadata(tmp_path / "reviewed")["license"] == ["cc0-1.0", "cc-by-sa-3.0"]
    text = (tmp_path / "reviewed/README.md").read_text()
    assert "Flickr" in text and "CC BY-SA 3.0" in text and "what a person left out" in text


def test_a_new_repository_is_private_when_wanted(folder, out, hub):
    run(folder, out, "--push", "--private")
    assert hub.created[REPO]["visibility"] == "private"


def test_a_second_push_takes_old_shards_away(folder, out, hub):
    hub.add(REPO, {"data/rules/train-00007.parquet": b"old", "mine.txt": b"kept"})
    run(folder, out, "--push")
    assert set(hub.files(REPO)) == {*on_disk(out), "mine.txt"}


def test_a_pull_request_leaves_main_as_it_was(folder, out, hub, capsys):
    hub.add("others/photos", {"README.md": b"theirs"})
    main([str(folder), "--repo", "others/photos", "--out", str(out), "--push", "--pull-request"])
    assert hub.files("others/photos") == {"README.md": b"theirs"}
    assert len(hub.pulls) == 1 and hub.files("others/photos", "refs/pr/1") == on_disk(out)
    assert f"{hub.url}/datasets/others/photos/discussions/1" in capsys.readouterr().out


@pytest.mark.parametrize("step", ["/preupload/", "^/lfs/", "objects/batch", "/commit/"])
def test_an_interrupted_push_can_be_given_again(folder, out, hub, step):
    hub.refused[step] = 400
    with pytest.raises(FGVEditError, match=r"could not be pushed.*the same command goes on"):
        run(folder, out, "--embed-images", "--push")
    assert set(hub.files(REPO)) == {".gitattributes"}  # nothing of it is seen
    there = len(hub.large)
    hub.pushed.clear()
    run(folder, out, "--embed-images", "--push")
    assert {**on_disk(out), ".gitattributes": b""} == hub.files(REPO)
    sent = [line for line in hub.pushed if line.startswith("PUT")]
    assert len(sent) == len(hub.large) - there  # what had arrived is not sent again


@pytest.mark.parametrize(
    ("repo", "token", "message"),
    [
        (REPO, "", "does not know who asks.*HF_TOKEN"),
        (REPO, "wrong", "does not know who asks.*HF_TOKEN"),
        ("others/photos", "secret", "may not write to 'others/photos'.*--pull-request"),
    ],
)
def test_without_the_right_a_sentence(folder, out, hub, monkeypatch, repo, token, message):
    run(folder, out)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    else:
        monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(FGVEditError, match=message):
        push(out, repo, "message")
    assert not hub.messages


@pytest.mark.parametrize(
    ("step", "status", "message"),
    [
        ("/commit/", 409, "changed in the meantime"),
        ("^/lfs/", 403, f"may not write to '{REPO}'"),  # the client says so in an error of another type
        ("/preupload/", 401, "does not know who asks"),
    ],
)
def test_a_refusal_on_the_way_in_a_sentence(folder, out, hub, step, status, message):
    hub.refused[step] = status
    with pytest.raises(FGVEditError, match=message):
        run(folder, out, "--embed-images", "--push")


def test_no_hub_in_a_sentence(folder, out, hub):
    hub.close()
    with pytest.raises(FGVEditError, match=f"'{REPO}' could not be pushed to {hub.url}"):
        run(folder, out, "--push")
    assert (out / "SHA256SUMS").is_file()
