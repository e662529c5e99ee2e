"""Sample slices for demonstrations: small 8-bit PNGs with their organ labels and a record."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from organseg.data.phantom import render
from organseg.data.phantom.appearance import Modality
from organseg.data.phantom.sheet import to_grey
from organseg.data.phantom.volume import generate
from organseg.imaging.windowing import CT_WINDOW_HU
from organseg.organs import organ_by_id

SAMPLE_SIZE = 320
"""Rows and columns of a sample."""
SLICE_MM = 4.0
"""Distance to the neighbouring slices, which lend a sample its thickness."""


@dataclass(frozen=True)
class Sample:
    """One slice to write."""

    name: str
    """File stem."""
    seed: int
    """The patient."""
    level_mm: float
    """The level, in mm of the reference adult above vertebra L1."""
    modality: Modality
    """How it is rendered."""


SAMPLES: tuple[Sample, ...] = (
    Sample("ct_upper_abdomen", 4, 40.0, Modality.CT),
    Sample("ct_middle_abdomen", 40, -12.0, Modality.CT),
    Sample("ct_lower_abdomen", 10, -42.0, Modality.CT),
    Sample("ct_pelvis", 6, -252.0, Modality.CT),
    Sample("ct_chest", 8, 175.0, Modality.CT),
    Sample("mr_upper_abdomen", 12, 38.0, Modality.MR),
)


def write_samples(out: Path, samples: tuple[Sample, ...] = SAMPLES) -> list[Path]:
    """Write each sample as NAME.png and NAME.labels.png, and samples.json; gives the paths.

    A label PNG holds the organ id (0 to 13) of every pixel as an 8-bit grey value.
    """
    out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    records: list[dict[str, object]] = []
    for sample in samples:
        around = (sample.level_mm - 2 * SLICE_MM, sample.level_mm + 2 * SLICE_MM)
        phantom = generate(
            sample.seed, coverage=around, slices=5, size_hw=(SAMPLE_SIZE, SAMPLE_SIZE)
        )
        k = len(phantom.tissues) // 2
        image = to_grey(render(phantom, sample.modality, 0), sample.modality)[k]
        labels = phantom.organ_labels[k]
        present = [organ_by_id(int(value)) for value in np.unique(labels[labels > 0])]
        for suffix, pixels in ((".png", image), (".labels.png", labels)):
            path = out / f"{sample.name}{suffix}"
            Image.fromarray(pixels).save(path, optimize=True)
            written.append(path)
        records.append(
            {
                "image": f"{sample.name}.png",
                "labels": f"{sample.name}.labels.png",
                "source": "synthetic phantom, no patient",
                "seed": sample.seed,
                "level_mm": round(float(phantom.levels_mm[k]), 1),
                "modality": sample.modality.value,
                "window_hu": list(CT_WINDOW_HU) if sample.modality is Modality.CT else None,
                "spacing_mm": [round(value, 3) for value in phantom.spacing_mm[1:]],
                "contrast_phase": phantom.patient.phase.name.lower(),
                "organs_present": [organ.name for organ in present],
                "organ_ids_present": [organ.id for organ in present],
            }
        )
    record = out / "samples.json"
    record.write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")
    return [*written, record]
