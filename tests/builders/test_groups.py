"""The column `group` through the builders: carried along where records are written anew, the image's in older data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
from official_vqa import Folder
from reviews import write_marks
from rows import make_row

from builders import quality
from builders.parquet import write_rows
from builders.publish import embed
from builders.publish.__main__ import main as publish
from builders.review.apply import apply_marks
from builders.review.page import write_page
from builders.validate.__main__ import main as validate

SHOWN = [f"COCO_val2014_{number:012d}" for number in range(4)]
GROUPS = ["quad-1", "quad-1", "quad-2", "quad-2"]
Write = Callable[[Path, Path], object]


@pytest.fixture(params=["new", "old"])
def given(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[str]]:
    """Records of photos, whose images lie beside them too, with groups or, as older data, without; and their groups."""
    rows = []
    for number, name in enumerate(SHOWN):
        row = make_row(number, image_id=name, group=GROUPS[number])
        for probe in row["probes"][:3]:
            probe["image_id"] = name
        row["probes"][4]["image_id"] = name.replace("val", "train")
        for image, shown in ((name, row), (name.replace("val", "train"), row["probes"][4])):
            (tmp_path / "photos").mkdir(exist_ok=True)
            (tmp_path / "photos" / f"{image}.jpg").write_bytes(shown["image"]["bytes"])
        rows.append(row)
    (file,) = write_rows(rows, tmp_path / "data", "test")
    if request.param == "old":
        datasets.Dataset(pq.read_table(file)).remove_columns("group").to_parquet(file)
    return tmp_path / "data", GROUPS if request.param == "new" else SHOWN


def groups(folder: Path) -> list[str]:
    """As they stand in the only file below a folder."""
    (file,) = folder.rglob("*.parquet")
    return pq.read_table(file)["group"].to_pylist()


def published(folder: Path, out: Path, *options: str) -> None:
    publish([str(folder), "--repo", "owner/data", "--out", str(out), *options])


def reviewed(folder: Path, out: Path) -> None:
    marks = write_marks(out.with_suffix(".json"), folder, {"record-0": {"probes": {"4": "wrong"}}})
    apply_marks(str(folder), marks, out)


def put_back(folder: Path, out: Path) -> None:
    embed.main([str(folder), "--images", str(folder.parent / "photos"), "--out", str(out)])


WAYS: dict[str, Write] = {
    "published": published,
    "published with images": lambda folder, out: published(folder, out, "--embed-images"),
    "reviewed": reviewed,
    "images put back": put_back,
}


@pytest.mark.parametrize("way", WAYS)
def test_records_that_are_written_anew_keep_their_groups(
    given: tuple[Path, list[str]], tmp_path: Path, way: str
) -> None:
    folder, expected = given
    WAYS[way](folder, tmp_path / "out")
    assert groups(tmp_path / "out") == expected


def test_what_is_said_of_groups(given: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, expected = given
    published(folder, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| `group` |" in card
    fields = json.loads((tmp_path / "out" / "croissant.json").read_text())["recordSet"][0]["field"]
    assert [field["source"]["extract"]["column"] for field in fields if field["name"] == "group"] == ["group"]
    sample = quality.report(str(folder))["sample"]
    assert [record["group"] for record in sample] == expected
    assert "4 records" in write_page(str(folder), tmp_path / "page")
    assert validate([str(folder)]) == 0


def test_a_photo_is_a_group_where_data_are_built(small: Folder) -> None:
    out = small.build("out", "--limit", "4")
    for file in out.glob("*.parquet"):
        table = pq.read_table(file)
        assert table["group"].to_pylist() == table["image_id"].to_pylist() != []
