"""A small folder laid out as FLARE22 is published, its scans phantoms."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

from organseg.data.phantom import Coverage, Modality, generate, render


def write_phantoms_as_flare22(folder: Path, *, patients: int, slices: int = 4) -> None:
    """`patients` CT scans with labels, each `slices` slices of 48 by 40 voxels, RAS+."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for seed in range(patients):
        phantom = generate(seed, coverage=Coverage.ABDOMEN, slices=slices, size_hw=(40, 48))
        depth, height, width = phantom.spacing_mm
        affine = np.diag([width, height, depth, 1.0])
        case = f"FLARE22_Tr_{seed + 1:04d}"
        for part, ending, values in (
            ("images", "_0000", render(phantom, Modality.CT, 0).astype(np.int16)),
            ("labels", "", phantom.organ_labels),
        ):
            # [slice, row to posterior, column to left] to (x to right, y to anterior, z).
            array = values[:, ::-1, ::-1].transpose(2, 1, 0)
            image = nibabel.Nifti1Image(np.ascontiguousarray(array), affine)
            nibabel.save(image, folder / part / f"{case}{ending}.nii.gz")
