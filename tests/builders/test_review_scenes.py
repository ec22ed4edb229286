"""Real records in the review page, and what is left where a page cannot be made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pages import Opened
from rows import make_row

from builders.parquet import write_rows
from builders.review.page import write_page
from fgvedit.dataset import load_records
from fgvedit.probes import kind_of
from fgvedit.util.errors import FGVEditError

DECODED = "alt => document.querySelector(`img[alt='${alt}']`)?.naturalWidth > 0"


def test_records_of_scenes_with_their_own_image_and_the_others(browser: Any, tmp_path: Path) -> None:
    write_page("scenes", tmp_path / "page", sample=3)
    records = {record.id: record for split in ("train", "test") for record in load_records("scenes", split).records}
    page = Opened(browser, tmp_path / "page")
    page.tab.wait_for_selector("body:not([inert])")
    shown = set()
    for _ in range(3):
        record = records[page.tab.locator(".sight p").first.inner_text().partition(" ")[0]]
        shown.add(record.id)
        images = {f"Image {record.image.image_id}": record.image}
        for number, probe in enumerate(record.probes):
            if probe.image is not None and kind_of(probe.kind).image == "other":
                images[f"The image of probe {number}"] = probe.image
        assert len(images) > 1
        assert page.tab.locator("img").count() == len(images)
        for alt, image in images.items():
            element = page.tab.get_by_alt_text(alt, exact=True)
            element.scroll_into_view_if_needed()  # it is loaded when it is near
            page.until(DECODED, alt)
            assert (tmp_path / "page" / element.get_attribute("src")).read_bytes() == image.data
            assert element.evaluate("image => [image.naturalWidth, image.naturalHeight]") == list(image.open().size)
        page.press("n")
    assert len(shown) == 3
    page.close()


def test_a_page_that_cannot_be_made_leaves_no_folder(tmp_path: Path) -> None:
    row = make_row(7)
    row["image"] = {"bytes": row["image"]["bytes"][:60], "path": None}
    write_rows([make_row(1), row], tmp_path / "bad", "test")
    with pytest.raises(FGVEditError, match=r"image 'image-7'.*do not decode"):
        write_page(str(tmp_path / "bad"), tmp_path / "page")
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


def test_a_folder_with_anything_else_is_no_place_for_a_page(tmp_path: Path) -> None:
    write_rows([make_row(1)], tmp_path / "records", "test")
    with pytest.raises(FGVEditError, match="records' holds something else; expected a new or empty folder"):
        write_page(str(tmp_path / "records"), tmp_path / "records")
    assert [path.suffix for path in (tmp_path / "records").iterdir()] == [".parquet"]
