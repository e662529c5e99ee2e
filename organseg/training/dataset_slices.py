"""The slice set of a FLARE22-shaped dataset: every slice of every patient of a split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm  # type: ignore[import-untyped]

from organseg.data.flare22 import (
    MODALITY_OF_LABEL_MAP,
    LabelledVolume,
    find_scans,
    load_scan,
)
from organseg.data.phantom import Modality
from organseg.data.splits import Split, split_of
from organseg.errors import DatasetError
from organseg.imaging.resizing import model_pixels
from organseg.imaging.volumes import read_nifti
from organseg.imaging.windowing import Modality as Scanner
from organseg.organs import LABEL_MAPS
from organseg.training.options import SlicesOptions
from organseg.training.slices import (
    MODALITIES,
    SliceSet,
    lasting,
    make_set,
    open_slices,
    put_slices,
)


def write_dataset_slices(folder: Path, split: Split, options: SlicesOptions) -> SliceSet:
    """Makes the slice set of a split of `options.dataset`, or goes on where a run was killed.

    Patients are split as the evaluation splits them, so none is trained on and evaluated.
    Volumes are windowed whole, each slice squeezed to a square as serving does. The labels must
    cover all organs: one that they leave out is taught as absent.

    Raises:
        DatasetError: an option names nothing, the folder is not laid out as FLARE22, the split
            is empty, or `folder` holds a slice set that was asked for otherwise.
    """
    scanner = _scanner(options)
    scans = [
        scan for scan in find_scans(Path(options.dataset)) if split_of(scan.patient_id) is split
    ]
    if not scans:
        raise DatasetError(
            f"wanted patients of the {split.value} split in {options.dataset}, got none: "
            "a set of a few dozen patients is the least that fills every split"
        )
    # Only the label files are read twice; they are small.
    counts = [len(read_nifti(scan.labels).values) for scan in scans]
    patients = [scan.patient_id for scan in scans]
    card = {"split": split.value, "patients": patients, **lasting(options)}
    make_set(folder, card, sum(counts), options.size, parts=len(scans))
    done: npt.NDArray[np.bool_] = np.load(folder / "done.npy", mmap_mode="r+")
    starts = np.cumsum([0, *counts])
    modality = MODALITIES.index(Modality.MR if scanner is Scanner.MR else Modality.CT)
    for index, scan in enumerate(tqdm(scans, desc=f"{split.value} patients")):
        if done[index]:
            continue
        volume = load_scan(scan, label_map=options.label_map, modality=scanner)
        put_slices(
            folder,
            slice(int(starts[index]), int(starts[index + 1])),
            {
                **_squares(volume, options.size),
                "levels": np.nan,
                "patients": index,
                "modalities": modality,
            },
        )
        done[index] = True
        done.flush()  # type: ignore[attr-defined]
    return open_slices(folder)


def _scanner(options: SlicesOptions) -> Scanner:
    if options.label_map not in LABEL_MAPS:
        raise DatasetError(
            f"wanted a label map among {', '.join(sorted(LABEL_MAPS))}, got "
            f"{options.label_map!r}: use the one of the dataset that the labels come from"
        )
    if options.modality not in ("", "ct", "mr"):
        raise DatasetError(f"wanted the modality ct or mr, got {options.modality!r}: correct it")
    if options.modality:
        return Scanner(options.modality.upper())
    return MODALITY_OF_LABEL_MAP[options.label_map]


def _squares(volume: LabelledVolume, size: int) -> dict[str, npt.NDArray[np.uint8]]:
    """Images and labels uint8 [Z, size, size]."""
    labels = [
        np.asarray(Image.fromarray(each).resize((size, size), Image.Resampling.NEAREST))
        for each in volume.labels
    ]
    images = [model_pixels(each, size) for each in volume.pixels]
    return {"images": np.stack(images), "labels": np.stack(labels)}
