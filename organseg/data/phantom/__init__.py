"""Synthetic anatomy: a 3-D phantom of the 13 organs and their surroundings, and its scans.

`generate(seed)` gives a `Phantom`: tissue labels, spacing, organ labels. `render(phantom,
modality, seed)` turns it into a CT in HU, an MR-like scan or random intensities. All arrays are
[slice, row, column]: slice 0 is nearest the feet, rows run to posterior, columns to the
patient's left. No patient's scan went into it.
"""

from __future__ import annotations

from organseg.data.phantom.appearance import Modality
from organseg.data.phantom.fields import FloatArray
from organseg.data.phantom.patient import Patient, Sex
from organseg.data.phantom.render_ct import render_ct
from organseg.data.phantom.render_mr import render_mr, render_random
from organseg.data.phantom.seeds import FIRST_TRAINING_SEED, phantom_patient_id
from organseg.data.phantom.tissues import Phase, Tissue
from organseg.data.phantom.volume import Coverage, Phantom, generate

__all__ = [
    "FIRST_TRAINING_SEED",
    "Coverage",
    "Modality",
    "Patient",
    "Phantom",
    "Phase",
    "Sex",
    "Tissue",
    "generate",
    "phantom_patient_id",
    "render",
    "render_ct",
    "render_mr",
    "render_random",
]


def render(phantom: Phantom, modality: Modality, seed: int) -> FloatArray:
    """One scan, float32 [slice, row, column]: HU for CT, intensities >= 0 for the others."""
    if modality is Modality.CT:
        return render_ct(phantom, seed)
    return render_mr(phantom, seed) if modality is Modality.MR else render_random(phantom, seed)
