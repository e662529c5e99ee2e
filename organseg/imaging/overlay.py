"""Pictures of an answer: masks, boxes and a legend over the image, and label maps as PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from organseg.errors import ImageError
from organseg.imaging.masks import flatten_masks
from organseg.organs import ORGANS, organ_by_id

__all__ = ["draw_overlay", "write_label_png"]

Color = tuple[int, int, int]

# Small slices are enlarged by a whole number until their longer side reaches this.
_SHOWN_SIDE_PIXELS = 512
_FILL_OPACITY = 0.38
_LEGEND_BACKGROUND: Color = (24, 26, 30)
_LEGEND_TEXT: Color = (235, 235, 235)
_LEGEND_TEXT_EMPTY: Color = (160, 160, 160)


def draw_overlay(
    pixels: NDArray[np.uint8],
    masks: NDArray[np.bool_],
    organ_ids: Sequence[int] | NDArray[Any],
    boxes_xyxy: NDArray[Any] | None = None,
    labels: Sequence[str] | None = None,
) -> Image.Image:
    """The image with each organ's mask tinted and outlined, its box, and a legend below; RGB.

    `pixels` is uint8 [H, W]; `masks` bool [K, H, W]; `organ_ids` K ids (1 to 13; 14 is none);
    `boxes_xyxy` [K, 4] in pixel edges of `pixels`, a box of zeros is not drawn; `labels` K texts
    of the legend, the organs' names by default. An entry with an empty mask stays in the legend,
    with a hollow mark. Small images are enlarged by a whole number.

    Raises `ImageError` where shapes or counts do not fit each other.
    """
    ids = [int(organ_id) for organ_id in organ_ids]
    _check_shapes(pixels, masks, ids, boxes_xyxy, labels)
    height, width = pixels.shape
    scale = max(1, math.ceil(_SHOWN_SIDE_PIXELS / max(height, width)))
    shown_size = (width * scale, height * scale)
    grey = Image.fromarray(np.ascontiguousarray(pixels))
    canvas = np.asarray(grey.resize(shown_size, Image.Resampling.BICUBIC).convert("RGB"))
    canvas = canvas.astype(np.float32)
    line = max(1, round(max(shown_size) / 400))
    colors = [organ_by_id(organ_id).color_rgb for organ_id in ids]
    # The largest first, so that a small organ is never painted over by a large one.
    for index in sorted(range(len(ids)), key=lambda entry: -int(masks[entry].sum())):
        _paint_mask(canvas, _enlarge(masks[index], shown_size), colors[index], line)
    image = Image.fromarray(np.rint(canvas).astype(np.uint8))
    if boxes_xyxy is not None:
        _draw_boxes(image, np.asarray(boxes_xyxy, dtype=np.float64) * scale, colors)
    names = list(labels) if labels is not None else [organ_by_id(each).name for each in ids]
    is_filled = [bool(mask.any()) for mask in masks]
    return _with_legend(image, names, colors, is_filled)


def write_label_png(
    path: str | Path | BinaryIO,
    masks: NDArray[np.bool_],
    organ_ids: Sequence[int] | NDArray[Any],
) -> None:
    """Writes one PNG whose pixel values are organ ids (0: background), with the organs' colours.

    `masks` is bool [K, H, W], `organ_ids` K ids. Readers that ignore the palette get the ids.
    Where masks overlap the smaller one wins. Raises `ImageError` for counts that do not fit.
    """
    ids = [int(organ_id) for organ_id in organ_ids]
    if masks.ndim != 3 or masks.shape[0] != len(ids):
        raise ImageError(
            f"wanted one mask [H, W] for each of {len(ids)} organs, came shape {masks.shape}; "
            "pass masks [K, H, W] with their K organ ids"
        )
    labels = flatten_masks(masks, ids)
    image = Image.fromarray(labels).convert("P")
    palette = np.zeros((256, 3), dtype=np.uint8)
    for organ in ORGANS:
        palette[organ.id] = organ.color_rgb
    # convert("P") keeps grey level i as index i; only the colours are set here.
    image.putpalette(palette.tobytes())
    image.save(path, "PNG")


def _check_shapes(
    pixels: NDArray[np.uint8],
    masks: NDArray[np.bool_],
    ids: list[int],
    boxes_xyxy: NDArray[Any] | None,
    labels: Sequence[str] | None,
) -> None:
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise ImageError(
            f"wanted grey levels uint8 [H, W], came {pixels.ndim} axes of dtype {pixels.dtype}; "
            "window the values first (organseg.imaging.windowing)"
        )
    if masks.shape != (len(ids), *pixels.shape):
        raise ImageError(
            f"wanted masks of shape {(len(ids), *pixels.shape)} for {len(ids)} organs, "
            f"came {masks.shape}; pass the masks of this very image"
        )
    boxes_fit = boxes_xyxy is None or np.shape(boxes_xyxy) == (len(ids), 4)
    labels_fit = labels is None or len(labels) == len(ids)
    if not (boxes_fit and labels_fit):
        raise ImageError(
            f"wanted one box and one label for each of {len(ids)} organs, came another number; "
            "pass boxes [K, 4] and K labels"
        )


def _enlarge(mask: NDArray[np.bool_], shown_size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask at (width, height) with smooth rather than staircase edges."""
    image = Image.fromarray(np.ascontiguousarray(mask, dtype=np.uint8) * np.uint8(255))
    return np.asarray(image.resize(shown_size, Image.Resampling.BILINEAR)) > 127


def _paint_mask(
    canvas: NDArray[np.float32], mask: NDArray[np.bool_], color: Color, line: int
) -> None:
    """Tints `canvas` (float32 [H, W, 3]) where the mask is, and draws its outline, in place."""
    tint = np.array(color, dtype=np.float32)
    canvas[mask] += (tint - canvas[mask]) * _FILL_OPACITY
    inner = mask
    for _ in range(line):
        inner = _erode(inner)
    canvas[mask & ~inner] = tint


def _erode(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels whose four neighbours belong to the mask too; the border counts as outside."""
    padded = np.pad(mask, 1)
    rows = padded[:-2, 1:-1] & padded[2:, 1:-1]
    columns = padded[1:-1, :-2] & padded[1:-1, 2:]
    inner: NDArray[np.bool_] = mask & rows & columns
    return inner


def _draw_boxes(image: Image.Image, boxes_xyxy: NDArray[np.float64], colors: list[Color]) -> None:
    draw = ImageDraw.Draw(image)
    for box, color in zip(boxes_xyxy, colors, strict=True):
        if not np.isfinite(box).all() or not box.any():
            continue
        limits = np.array([image.width, image.height] * 2) - 1
        # From edges to the pixels inside them, kept on the picture.
        left, top, right, bottom = np.clip(np.rint(box - [0, 0, 1, 1]), 0, limits).tolist()
        draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=color, width=1)


def _with_legend(
    image: Image.Image, names: list[str], colors: list[Color], is_filled: list[bool]
) -> Image.Image:
    """The image with a strip below it: a mark and a name for each entry, wrapped to the width."""
    if not names:
        return image
    size = max(13, round(image.width / 38))
    font = ImageFont.load_default(size)
    gap = size // 2
    row_height = round(size * 1.6)
    places: list[tuple[int, int]] = []
    x, row = gap, 0
    for name in names:
        entry_width = size + gap + math.ceil(font.getlength(name))
        if x > gap and x + entry_width > image.width - gap:
            x, row = gap, row + 1
        places.append((x, row))
        x += entry_width + 2 * gap
    strip_height = (row + 1) * row_height + gap
    shown = Image.new("RGB", (image.width, image.height + strip_height), _LEGEND_BACKGROUND)
    shown.paste(image, (0, 0))
    draw = ImageDraw.Draw(shown)
    for (left, row), name, color, filled in zip(places, names, colors, is_filled, strict=True):
        middle = image.height + gap // 2 + row * row_height + row_height // 2
        mark = (left, middle - size // 2, left + size - 1, middle - size // 2 + size - 1)
        draw.rectangle(mark, fill=color if filled else None, outline=color, width=2)
        text_color = _LEGEND_TEXT if filled else _LEGEND_TEXT_EMPTY
        draw.text((left + size + gap, middle), name, fill=text_color, font=font, anchor="lm")
    return shown
