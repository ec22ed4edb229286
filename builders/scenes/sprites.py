"""The pictures on the cards: a sheet of sprites drawn once from Noto Color Emoji (SIL Open Font License 1.1).

`python -m builders.scenes.sprites FONT` draws `sprites.png` again from the font file (Debian's package
`fonts-noto-color-emoji`). Building or using the data needs the sheet alone, never the font.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

PICTURES = {
    "cat": "\U0001f431",
    "dog": "\U0001f436",
    "frog": "\U0001f438",
    "panda": "\U0001f43c",
    "pig": "\U0001f437",
    "penguin": "\U0001f427",
    "fish": "\U0001f41f",
    "turtle": "\U0001f422",
    "butterfly": "\U0001f98b",
    "apple": "\U0001f34e",
    "banana": "\U0001f34c",
    "grape": "\U0001f347",
    "pizza": "\U0001f355",
    "car": "\U0001f697",
    "bus": "\U0001f68c",
    "rocket": "\U0001f680",
    "boat": "\u26f5",
    "tree": "\U0001f332",
    "mushroom": "\U0001f344",
    "umbrella": "\u2614",
    "key": "\U0001f511",
    "guitar": "\U0001f3b8",
    "clock": "\u23f0",
    "crown": "\U0001f451",
}
SHEET = Path(__file__).with_name("sprites.png")
SIZE = 64
_FONT_SIZE = 109  # the only size that Noto Color Emoji's bitmaps have


def draw_sheet(font_file: Path) -> None:
    """Draw every picture side by side, in the order of `PICTURES`, into `SHEET`."""
    font = ImageFont.truetype(str(font_file), _FONT_SIZE)
    sheet = Image.new("RGBA", (SIZE * len(PICTURES), SIZE))
    for column, character in enumerate(PICTURES.values()):
        glyph = Image.new("RGBA", (160, 160))
        ImageDraw.Draw(glyph).text((12, 12), character, font=font, embedded_color=True)
        glyph = glyph.crop(glyph.getbbox())
        glyph.thumbnail((SIZE, SIZE), Image.Resampling.LANCZOS)
        sheet.paste(glyph, (column * SIZE + (SIZE - glyph.width) // 2, (SIZE - glyph.height) // 2))
    sheet.save(SHEET, optimize=True)


@cache
def sprite(kind: str, size: int) -> Image.Image:
    """The picture of `kind`, RGBA, size x size pixels."""
    column = list(PICTURES).index(kind)
    with Image.open(SHEET) as sheet:
        picture = sheet.convert("RGBA").crop((column * SIZE, 0, (column + 1) * SIZE, SIZE))
    return picture.resize((size, size), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    draw_sheet(Path(sys.argv[1]))
