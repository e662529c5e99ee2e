"""One picture of many answers: each overlay under the question that was asked."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_TILE_PIXELS = 400
_TEXT_PIXELS = 64
_LETTERS = 46
_COLUMNS = 4
_BACKGROUND = (24, 26, 30)
_TEXT = (235, 235, 235)


def write_sheet(answers: Sequence[tuple[str, Image.Image]], path: Path) -> None:
    """Writes overlays, four in a row, each under its question, as one PNG or JPEG."""
    columns = min(_COLUMNS, len(answers))
    rows = -(-len(answers) // columns)
    tiles = [overlay.copy() for _, overlay in answers]
    for tile in tiles:
        tile.thumbnail((_TILE_PIXELS, 2 * _TILE_PIXELS))
    height = max(tile.height for tile in tiles) + _TEXT_PIXELS
    sheet = Image.new("RGB", (columns * _TILE_PIXELS, rows * height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=17)
    for number, ((question, _), tile) in enumerate(zip(answers, tiles, strict=True)):
        row, column = divmod(number, columns)
        left, top = column * _TILE_PIXELS, row * height
        lines = textwrap.wrap(question, _LETTERS)[:2]
        draw.multiline_text((left + 8, top + 10), "\n".join(lines), fill=_TEXT, font=font)
        sheet.paste(tile, (left + (_TILE_PIXELS - tile.width) // 2, top + _TEXT_PIXELS))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)
