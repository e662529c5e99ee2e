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
    Volumes are windowed whole, each slice squeezed to a square as serving does.

    Raises:
        DatasetError: the folder is not laid out as FLARE22, the split is empty, or `folder` holds
            a slice set that was asked for otherwise.
    """
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
    is_mr = MODALITY_OF_LABEL_MAP[options.label_map] is Scanner.MR
    modality = MODALITIES.index(Modality.MR if is_mr else Modality.CT)
    for index, scan in enumerate(tqdm(scans, desc=f"{split.value} patients")):
        if done[index]:
            continue
        volume = load_scan(scan, label_map=options.label_map)
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


def _squares(volume: LabelledVolume, size: int) -> dict[str, npt.NDArray[np.uint8]]:
    """Images and labels uint8 [Z, size, size]."""
    labels = [
        np.asarray(Image.fromarray(each).resize((size, size), Image.Resampling.NEAREST))
        for each in volume.labels
    ]
    images = [model_pixels(each, size) for each in volume.pixels]
    return {"images": np.stack(images), "labels": np.stack(labels)}
