"""The contact sheet: several patients at several levels, as CT and MR-like, with overlays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from organseg.data.phantom import render
from organseg.data.phantom.appearance import Modality
from organseg.data.phantom.fields import FloatArray
from organseg.data.phantom.volume import Coverage, generate
from organseg.imaging.windowing import CT_WINDOW_HU, percentile_window, window_to_uint8
from organseg.organs import ORGANS

SHEET_LEVELS_MM = (165.0, 95.0, 58.0, 34.0, 8.0, -18.0, -50.0, -110.0, -195.0, -255.0)
"""Columns of the sheet, in mm of the reference adult above vertebra L1."""

_OVERLAY_SHARE = 0.45


@dataclass(frozen=True)
class Row:
    """One row of the sheet."""

    seed: int
    """The patient."""
    modality: Modality
    """How it is rendered."""
    overlay: bool
    """Whether the organs are coloured."""


def to_grey(image: FloatArray, modality: Modality) -> NDArray[np.uint8]:
    """Grey levels as a server would make them: CT by its window, others by percentiles."""
    return window_to_uint8(
        image, CT_WINDOW_HU if modality is Modality.CT else percentile_window(image)
    )


def color_organs(grey: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The slice in RGB with every organ tinted in its colour of `organseg.organs`."""
    palette = np.zeros((256, 3), dtype=np.float32)
    for organ in ORGANS:
        palette[organ.id] = organ.color_rgb
    rgb = np.repeat(grey[..., None], 3, axis=2).astype(np.float32)
    tinted = (1 - _OVERLAY_SHARE) * rgb + _OVERLAY_SHARE * palette[labels]
    colored = np.where((labels > 0)[..., None], tinted, rgb)
    result: NDArray[np.uint8] = colored.round().astype(np.uint8)
    return result


def default_rows(seed: int) -> tuple[Row, ...]:
    """Seven patients: two as CT with and without organs, two as CT, three MR-like or random."""
    ct, mr, lot = Modality.CT, Modality.MR, Modality.RANDOM
    return (
        Row(seed, ct, False), Row(seed, ct, True),
        Row(seed + 1, ct, False), Row(seed + 1, ct, True),
        Row(seed + 2, ct, False), Row(seed + 3, ct, False),
        Row(seed + 4, mr, False), Row(seed + 5, mr, True), Row(seed + 6, lot, False),
    )  # fmt: skip


def draw_sheet(
    rows: tuple[Row, ...], levels_mm: tuple[float, ...] = SHEET_LEVELS_MM, tile: int = 224
) -> Image.Image:
    """The sheet as an RGB image: one row per `Row`, one column per level, from head to feet."""
    label_width = 92
    sheet = Image.new("RGB", (label_width + tile * len(levels_mm), tile * len(rows)))
    draw = ImageDraw.Draw(sheet)
    for top, row in enumerate(rows):
        phantom = generate(row.seed, coverage=Coverage.WHOLE, slices=92, size_hw=(tile, tile))
        image = to_grey(render(phantom, row.modality, 0), row.modality)
        labels = phantom.organ_labels
        patient = phantom.patient
        lines = [
            f"seed {row.seed}", row.modality.value.upper(), patient.phase.name.lower(),
            patient.sex.name.lower(), *(f"no {ORGANS[i - 1].name}" for i in patient.absent_organs),
        ]  # fmt: skip
        draw.text((4, top * tile + 6), "\n".join(lines), fill=(220, 220, 220))
        for column, level in enumerate(levels_mm):
            k = int(np.argmin(np.abs(phantom.levels_mm - level)))
            grey = image[k]
            rgb = color_organs(grey, labels[k] if row.overlay else np.zeros_like(labels[k]))
            sheet.paste(Image.fromarray(rgb), (label_width + column * tile, top * tile))
    return sheet


def write_sheet(out: Path, seed: int, tile: int) -> None:
    """Draw the default sheet and write it as a PNG of 256 colours."""
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet = draw_sheet(default_rows(seed), tile=tile)
    palette = sheet.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette.save(out, optimize=True)
