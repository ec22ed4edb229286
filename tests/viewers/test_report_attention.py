"""Where a classifier attended, drawn on the page of a run, and images as models see them."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from made_runs import attention_of, editor, photo, turned
from pages import Opened
from PIL import Image
from rows import make_row

from fgvedit.schema import record_from_row

WIDE = {"squash": (3, 1), "shortest": (1, 1), "longest": (3, 3)}  # what is seen of a photo of 3 by 1, in its height


def pixels(picture: Any) -> np.ndarray:
    """(height, width, 3)"""
    return np.asarray(Image.open(io.BytesIO(picture.screenshot())).convert("RGB"), dtype=float)


def test_the_heat_map_lies_where_the_weights_are(page: Opened) -> None:
    card = page.tab.locator(".card").nth(1)
    card.scroll_into_view_if_needed()
    for probe in (0, 2, 4):  # 4: about another image
        card.locator(f'tr[data-probe="{probe}"] input').check()
        for name, strong in ((".edit", 0), (".asked", (probe + 2) % 8)):
            picture = card.locator(f"{name} .picture")
            page.until("image => image.complete", picture.locator("img").element_handle())
            hot = pixels(picture)
            page.press("h")
            plain = pixels(picture)
            page.press("h")
            for cell in range(8):
                row, column = divmod(cell, 2)
                at = (int((row + 0.6) * len(hot) / 4), int((column + 0.4) * hot.shape[1] / 2))
                colour, opacity = ((255, 150, 0), 0.65) if cell == strong else ((12, 12, 44), 0.55)
                blend = (1 - opacity) * plain[at] + opacity * np.array(colour)
                assert np.abs(hot[at] - blend).max() < 5
        row, column = divmod((probe + 2) % 8, 2)
        assert f"row {row + 1} column {column + 1}: 100 %" in card.locator(".asked figcaption").inner_text()
    assert "Another image" in (card.locator(".asked img").get_attribute("alt") or "")


def test_questions_without_an_image_and_about_others(page: Opened) -> None:
    card = page.tab.locator(".card").first
    card.locator('tr[data-probe="3"] input').check()
    assert "A question without an image" in card.locator(".asked").inner_text()
    assert card.locator(".asked img").count() == 0
    card.locator('tr[data-probe="4"] input').check()
    own, other = (card.locator(f"{name} img").get_attribute("src") for name in (".edit", ".asked"))
    assert own != other and card.locator(".asked rect").count() == 0
    box, image = card.locator(".edit rect.over").bounding_box(), card.locator(".edit img").bounding_box()
    for side in ("width", "height"):  # the box is 0, 0, 8, 8 in an image of 16 pixels
        assert box[side] == pytest.approx(image[side] / 2, abs=4)


@pytest.mark.parametrize(
    "fits, clip, assumed",
    [
        (["shortest", "squash", "longest"], "folder/of/then", None),
        ([None], "ViT-B-32", "shortest"),
        ([None], "tiny-clip", "squash"),
    ],
)
def test_on_a_wide_photo_the_heat_map_lies_where_clip_attended(
    show: Callable[..., Opened], fits: list[str | None], clip: str, assumed: str | None
) -> None:
    attention = [attention_of(f"record-{number}", 5, fit) for number, fit in enumerate(fits)]
    data = [make_row(number, image=photo(300, 100)) for number in range(len(fits))]
    page = show(data, attention=attention, editor=editor(clip=clip))
    for number, fit in enumerate(fits):
        shown = page.tab.locator(".card").nth(number).locator(".edit")
        shown.scroll_into_view_if_needed()
        page.until("image => image.complete", shown.locator("img").element_handle())
        image, heat = (shown.locator(tag).bounding_box() for tag in ("img", "canvas"))
        assert image["width"] == pytest.approx(3 * image["height"], abs=2)
        for start, size, part in zip("xy", ("width", "height"), WIDE[fit or assumed or ""], strict=True):
            assert heat[size] == pytest.approx(part * image["height"], abs=2)
            assert heat[start] + heat[size] / 2 == pytest.approx(image[start] + image[size] / 2, abs=2)
    words = {"shortest": "it was the square in the middle", "squash": "it was the whole image"}
    said = page.tab.locator("#assumed").inner_text()
    assert f"on the assumption that {words[assumed]}" in said if assumed else said == ""


def test_a_photo_that_its_camera_wants_turned_is_shown_as_models_see_it(show: Callable[..., Opened]) -> None:
    entity = {"name": "card", "box": [0.0, 0.0, 100.0, 100.0]}  # the red square
    row = make_row(0, image=photo(300, 100, exif=turned(), quality=95), entity=entity)
    assert record_from_row(row).image.open().size == (300, 100)  # what models are given
    page = show([row], attention=[attention_of("record-0", 5)])
    page.press("h")  # the heat map off
    shown = page.tab.locator(".edit .picture")
    page.until("image => image.complete", shown.locator("img").element_handle())
    size = "image => [image.naturalWidth, image.naturalHeight, image.width, image.height]"
    *natural, width, height = shown.locator("img").evaluate(size)
    assert natural == [300, 100] and width == pytest.approx(3 * height, abs=2)
    box, image = (shown.locator(name).bounding_box() for name in ("rect.over", "img"))
    assert (box["x"], box["y"]) == (pytest.approx(image["x"], abs=4), pytest.approx(image["y"], abs=4))
    assert box["width"] == pytest.approx(image["width"] / 3, abs=4)
    colours = pixels(shown)
    middle = colours.shape[0] // 2
    assert np.abs(colours[middle, middle] - (200, 40, 40)).max() < 20
    assert np.abs(colours[middle, -middle] - (90, 140, 60)).max() < 20
