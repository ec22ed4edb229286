"""Reading data sets: the embedded one from anywhere, folders of Parquet, and every fault that they can have."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import image_ref, make_probe, make_row, png

import fgvedit
from fgvedit.dataset import load_records
from fgvedit.probes import changes, current_kinds, probe_kinds
from fgvedit.schema import OPTIONAL, features, record_from_row
from fgvedit.util.errors import FGVEditError
from fgvedit.util.revision import content_hash

PACKAGE = Path(fgvedit.__file__).parent
REQUIRED = [column for column in features() if column not in OPTIONAL]


def python(code: str, cwd: Path) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True
    ).stdout.strip()


# The embedded data


def test_importing_fgvedit_is_light(tmp_path):
    heavy = python(
        "import fgvedit, sys; print([m for m in ('torch', 'transformers', 'datasets') if m in sys.modules])", tmp_path
    )
    assert heavy == "[]"


def test_fgvedit_loads_its_data_in_an_empty_folder(tmp_path):
    code = "import fgvedit; d = fgvedit.load_dataset('fgvedit'); print(sorted(d), d['test'][0]['image'].size)"
    assert python(code, tmp_path).startswith("['test', 'train'] (")


def test_datasets_loads_it_at_the_checkouts_root():
    code = (
        "from datasets import load_dataset; d = load_dataset('fgvedit'); print(sorted(d), d['test'][0]['image'].size)"
    )
    assert python(code, PACKAGE.parent).startswith("['test', 'train'] (")


def test_one_split_of_a_configuration():
    assert fgvedit.load_dataset("fgvedit", "scenes", split="test").features == features()


def test_other_names_go_to_datasets(dataset_folder):
    splits = fgvedit.load_dataset(str(dataset_folder))
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 3, "test": 2}
    row = splits["test"][0]
    assert row["image"].size == (16, 16)
    assert [probe["image"] and probe["image"].size for probe in row["probes"]] == [None] * 4 + [(16, 16)]


def test_the_embedded_records():
    loaded = load_records("scenes", "test")
    assert (loaded.name, loaded.config, loaded.split) == ("scenes", "scenes", "test")
    assert loaded.revision == content_hash([PACKAGE / "data" / "scenes-test.parquet"])
    record = loaded.records[0]
    assert {probe.kind for probe in record.probes} == set(current_kinds())
    assert record.image.open().mode == "RGB"
    assert len(load_records("scenes", "train", limit=5).records) == 5


# A folder of Parquet files


def test_records_of_a_folder(dataset_folder):
    loaded = load_records(str(dataset_folder), "train")
    assert len(loaded.records) == 3
    assert loaded.records[-1].id == "record-2"
    assert [record.id for record in loaded.records[1:]] == ["record-1", "record-2"]
    assert [record.id for record in loaded.records] == ["record-0", "record-1", "record-2"]
    with pytest.raises(IndexError):
        loaded.records[3]
    record = loaded.records[0]
    own, none, other = (record.probes_of(kind)[0].image for kind in ("rephrase", "text_locality", "other_image"))
    assert own is record.image and none is None
    assert other is not None and other.data == image_ref(1).data
    assert record.box == (0.0, 0.0, 8.0, 8.0)


def test_the_limit(dataset_folder):
    assert len(load_records(str(dataset_folder), "train", limit=2).records) == 2
    assert len(load_records(str(dataset_folder), "train", limit=99).records) == 3


def test_the_revision_is_that_of_the_split_that_was_read(dataset_folder, tmp_path):
    train, test = (load_records(str(dataset_folder), split).revision for split in ("train", "test"))
    assert train != test
    copy = shutil.copytree(dataset_folder, tmp_path / "copy")
    assert load_records(str(copy), "train").revision == train
    shutil.copy(copy / "train.parquet", copy / "test.parquet")
    assert load_records(str(copy), "test").revision != test


def test_images_are_decoded_when_they_are_opened(tmp_path):
    damaged = {"bytes": image_ref().data[:60], "path": None}
    records = load_records(str(write(tmp_path, [make_row(image=damaged)]))).records
    image = records[0].image
    with pytest.raises(FGVEditError, match="image 'image-0': expected a readable PNG"):
        image.open()


def test_plain_binary_columns_are_images_too(tmp_path):
    rows = [make_row()]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "test.parquet")  # no metadata
    assert load_records(str(tmp_path)).records[0].image.data == image_ref().data


def test_loading_prints_nothing(dataset_folder, capfd):
    load_records(str(dataset_folder), "train")
    assert capfd.readouterr() == ("", "")


def write(folder: Path, rows: list[dict], split: str = "test") -> Path:
    columns = {column: [row[column] for row in rows] for column in features()}
    datasets.Dataset.from_dict(columns, features=features()).to_parquet(folder / f"{split}.parquet")
    return folder


def refusal(*arguments, **options) -> str:
    with pytest.raises(FGVEditError) as caught:
        load_records(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_unknown_data_set():
    assert "unknown data set 'scene'" in (message := refusal("scene")) and "did you mean 'scenes'?" in message


def test_an_unknown_split(dataset_folder):
    assert "did you mean 'test'?" in refusal(str(dataset_folder), "tests")
    assert "did you mean 'train'?" in refusal("scenes", "trian")


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one(dataset_folder, limit):
    assert f"found {limit}" in refusal(str(dataset_folder), limit=limit)


def test_a_folder_without_data(tmp_path):
    assert str(tmp_path) in refusal(str(tmp_path))


def test_a_folder_of_something_else(tmp_path):
    (tmp_path / "test.jsonl").write_text(json.dumps({"id": "a"}))
    assert "test.jsonl" in refusal(str(tmp_path))


def test_several_configurations_are_read_in_the_default_one(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / name, [make_row(id=name)])
    one = "- config_name: {0}\n  data_files:\n  - split: test\n    path: {0}/*.parquet\n"
    card = f"---\nconfigs:\n{one.format('one')}{one.format('two')}"
    (tmp_path / "README.md").write_text(f"{card}---\n")
    found = refusal(str(tmp_path))
    assert "has the configurations one, two and no default one" in found and "default: true" in found
    (tmp_path / "README.md").write_text(f"{card}  default: true\n---\n")
    loaded = load_records(str(tmp_path))
    assert loaded.config == "two" and loaded.records[0].id == "two"


def test_a_card_that_is_none_is_named(dataset_folder):
    for text in ("title: a: b", "- a list"):
        (dataset_folder / "README.md").write_text(f"---\n{text}\n---\n")
        assert f"data card '{dataset_folder / 'README.md'}'" in refusal(str(dataset_folder))


def test_an_empty_split(tmp_path):
    write(tmp_path, [])
    assert "split 'test' has no records" in refusal(str(tmp_path))


@pytest.mark.parametrize("column", REQUIRED)
def test_a_missing_column(tmp_path, column):
    table = datasets.Dataset.from_list([make_row()], features=features()).remove_columns(column)
    table.to_parquet(tmp_path / "test.parquet")
    message = refusal(str(tmp_path))
    assert f"column '{column}' is missing" in message and str(tmp_path / "test.parquet") in message


def without_groups(file: Path) -> None:
    datasets.Dataset(pyarrow.parquet.read_table(file)).remove_columns("group").to_parquet(file)


def test_a_group_is_what_the_data_say(tmp_path):
    rows = [make_row(n, group=group) for n, group in enumerate(("quad-1", "quad-1", "quad-2"))]
    loaded = load_records(str(write(tmp_path, rows)))
    assert loaded.groups == [record.group for record in loaded.records] == ["quad-1", "quad-1", "quad-2"]
    some = loaded.pick([2, 0])
    assert some.groups == [record.group for record in some.records] == ["quad-2", "quad-1"]


def test_groups_that_are_all_empty_are_none(tmp_path):
    loaded = load_records(str(write(tmp_path, [make_row(0, group=""), make_row(1, group=None)])))
    assert loaded.groups == [record.group for record in loaded.records] == ["image-0", "image-1"]


@pytest.mark.parametrize("empty", ["", None])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_groups_of_some_records_alone(tmp_path, empty, order):
    rows = [make_row(0, group="quad-7"), make_row(1, group="quad-7"), make_row(2, group=empty)]
    message = refusal(str(write(tmp_path, [rows[number] for number in order])))
    assert "record 'record-2' has no group and record 'record-0' has 'quad-7'" in message


def test_without_groups_an_image_is_one(dataset_folder):
    without_groups(dataset_folder / "test.parquet")
    loaded = load_records(str(dataset_folder), "test")
    assert loaded.groups == [record.group for record in loaded.records] == ["image-10", "image-11"]


@pytest.mark.parametrize("bare", [0, 1])
def test_groups_in_some_files_of_a_split_alone(tmp_path, bare):
    files = [
        write(tmp_path, [make_row(n)], f"test-0000{n}-of-00002") / f"test-0000{n}-of-00002.parquet" for n in (0, 1)
    ]
    without_groups(files[bare])
    message = refusal(str(tmp_path))
    assert "column 'group'" in message and all(str(file) in message for file in files)
    without_groups(files[1 - bare])
    assert load_records(str(tmp_path)).groups == ["image-0", "image-1"]


def test_a_column_of_another_type(tmp_path):
    table = datasets.Dataset.from_list([{**make_row(), "probes": "none", "image": None}])
    table.to_parquet(tmp_path / "test.parquet")
    assert str(tmp_path / "test.parquet") in refusal(str(tmp_path))


@pytest.mark.parametrize("size", [0, 10, 500, -8])
def test_truncated_parquet(dataset_folder, size):
    path = dataset_folder / "test.parquet"
    path.write_bytes(path.read_bytes()[:size])
    assert str(path) in refusal(str(dataset_folder))


def test_parquet_with_a_damaged_page(dataset_folder):
    path = dataset_folder / "test.parquet"
    content = bytearray(path.read_bytes())
    content[4:300] = bytes(296)
    path.write_bytes(content)
    assert str(path) in refusal(str(dataset_folder))


# The hub, without one


@pytest.fixture
def hub(dataset_folder, monkeypatch):
    """A hub that holds one data set, `owner/data`."""
    import huggingface_hub

    def dataset_info(api, name):
        if name != "owner/data":
            raise ConnectionError(f"no\n{name}")
        return huggingface_hub.hf_api.DatasetInfo(id=name, sha="abc123", downloads=0, likes=0, private=False, tags=[])

    load = datasets.load_dataset
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda name, revision: ["train", "test"])
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split, revision: load(str(dataset_folder), split=split))


def test_a_data_set_on_the_hub(hub):
    loaded = load_records("owner/data", "train", limit=2)
    assert (loaded.name, loaded.revision, len(loaded.records)) == ("owner/data", "abc123", 2)
    assert loaded.records[1].image.data == image_ref(1).data
    assert "did you mean 'train'?" in refusal("owner/data", "trian")


def test_a_data_set_on_the_hub_without_groups(hub, dataset_folder):
    assert load_records("owner/data", "train").groups == ["image-0", "image-1", "image-2"]
    for file in dataset_folder.glob("*.parquet"):
        without_groups(file)
    loaded = load_records("owner/data", "train")
    assert loaded.groups == [record.group for record in loaded.records] == ["image-0", "image-1", "image-2"]


def test_a_data_set_that_is_not_on_the_hub(hub):
    assert "'owner/other' is not a folder here" in refusal("owner/other")


# Records


@pytest.mark.parametrize("column", REQUIRED)
@pytest.mark.parametrize("absent", ["missing", None])
def test_a_record_without_a_field(column, absent):
    row = make_row()
    row.update({column: None})
    if absent == "missing":
        del row[column]
    with pytest.raises(FGVEditError, match=f"record.*'{column}'" if column != "id" else "record number 7.*'id'"):
        record_from_row(row, 7)


@pytest.mark.parametrize("column", ["question", "answer"])
def test_a_probe_without_a_field(column):
    probe = make_probe("rephrase", image_id="image-0")
    probe[column] = None
    with pytest.raises(FGVEditError, match=rf"record 'record-0': probe 0 \(rephrase\): field '{column}'"):
        record_from_row(make_row(probes=[probe]))


def test_an_unknown_probe_kind():
    with pytest.raises(FGVEditError, match=r"record 'record-0'.*'rephrased'.*did you mean 'rephrase'\?"):
        record_from_row(make_row(probes=[make_probe("rephrased")]))


@pytest.mark.parametrize("group", ["", None])
def test_a_record_without_a_group_is_in_its_images(group):
    assert record_from_row(make_row(group=group)).group == "image-0"
    assert record_from_row({key: value for key, value in make_row().items() if key != "group"}).group == "image-0"


def test_a_target_that_is_the_answer():
    with pytest.raises(FGVEditError, match="record 'record-0': field 'target'"):
        record_from_row(make_row(target="red"))


def test_a_probe_whose_image_is_not_there():
    with pytest.raises(FGVEditError, match=r"probe 0 \(other_image\).*'elsewhere'"):
        record_from_row(make_row(probes=[make_probe("other_image", image_id="elsewhere")]))


def test_an_image_given_by_its_path(tmp_path):
    path = tmp_path / "image.png"
    row = make_row(image={"bytes": None, "path": str(path)})
    with pytest.raises(FGVEditError, match=str(path)):
        record_from_row(row)
    path.write_bytes(png())
    assert record_from_row(row).image.open().size == (16, 16)


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(question=text, answer=text, target=text, kinds=st.lists(st.sampled_from(probe_kinds()), max_size=6))
def test_a_row_and_its_record_say_the_same(question, answer, target, kinds):
    probes = [make_probe(kind, image_id="image-0") for kind in kinds]
    row = make_row(question=question, answer=answer, target=target, probes=probes)
    if answer == target:
        with pytest.raises(FGVEditError):
            record_from_row(row)
        return
    record = record_from_row(row)
    assert (record.edit.question, record.answer, record.edit.target) == (question, answer, target)
    assert [probe.kind for probe in record.probes] == kinds
    assert sum(len(record.probes_of(kind)) for kind in probe_kinds() if changes(kind)) == sum(map(changes, kinds))


def test_real_photos(tmp_path, real_data):
    """Photos of many sizes, and questions that people asked of them, through Parquet and back."""
    source = real_data / "coco_vqa"
    images = sorted((source / "images").rglob("*.jpg"))[:4]
    rows = []
    with (source / "vqa.jsonl").open() as lines:
        questions = [json.loads(line)["question"] for line, _ in zip(lines, images, strict=False)]
    for path, question in zip(images, questions, strict=True):
        photo = {"bytes": path.read_bytes(), "path": None}
        probes = [make_probe("rephrase", image_id=path.stem), make_probe("text_locality")]
        rows.append(make_row(id=path.stem, image_id=path.stem, image=photo, question=question, probes=probes))
    records = load_records(str(write(tmp_path, rows))).records
    for record, path in zip(records, images, strict=True):
        assert record.image.data == path.read_bytes()
        assert record.image.open().mode == "RGB"
        assert record.probes[0].image is record.image
