"""CT rendering: Hounsfield units by tissue and phase, blur, noise texture, streaks, shading."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter1d

from organseg.data.phantom.appearance import (
    TEXTURE_HU,
    blur,
    labels_to_values,
    lookup,
    noise,
    shading,
    texture,
    thicken,
)
from organseg.data.phantom.fields import FloatArray
from organseg.data.phantom.patient import Patient
from organseg.data.phantom.tissues import PROPERTIES, Phase, Tissue
from organseg.data.phantom.volume import Phantom

_ORAL = (
    Tissue.STOMACH_FLUID, Tissue.DUODENUM_FLUID, Tissue.BOWEL_FLUID, Tissue.STOMACH_FOOD,
)  # fmt: skip
_TIED = (
    (Tissue.RIGHT_RENAL_CORTEX, Tissue.LEFT_RENAL_CORTEX),
    (Tissue.RIGHT_RENAL_MEDULLA, Tissue.LEFT_RENAL_MEDULLA),
    (Tissue.RIGHT_ADRENAL, Tissue.LEFT_ADRENAL),
    (Tissue.AORTA, Tissue.ARTERY),
    (Tissue.AORTA, Tissue.LEFT_HEART_BLOOD),
    (Tissue.SUBCUTANEOUS_FAT, Tissue.VISCERAL_FAT),
)
"""Pairs that look alike in every scan: the second follows the first."""


def draw_hu(patient: Patient, rng: np.random.Generator) -> dict[Tissue, float]:
    """CT number of every tissue in one scan of this patient, in HU."""
    # Bolus timing and dose differ: enhancement is scaled and slides between phases.
    phase = patient.phase.value
    other = min(phase + 1, 3) if patient.phase is not Phase.UNENHANCED else 0
    slide = float(rng.uniform(0, 0.55)) if rng.random() < 0.6 else 0.0
    gain = float(np.clip(rng.lognormal(0.0, 0.24), 0.55, 1.8))
    dose = float(rng.normal(0, 0.35))
    values: dict[Tissue, float] = {}
    for tissue, properties in PROPERTIES.items():
        base = properties.hu[0]
        enhanced = (1 - slide) * properties.hu[phase] + slide * properties.hu[other]
        scatter = properties.scatter_hu * float(np.clip(rng.normal(dose * 0.3, 1.0), -2.6, 2.6))
        values[tissue] = base + gain * (enhanced - base) + scatter
    for first, second in _TIED:
        shift = values[first] - PROPERTIES[first].hu[phase]
        values[second] = PROPERTIES[second].hu[phase] + shift + float(rng.normal(0, 4))
    if patient.fatty_liver > 0:
        values[Tissue.LIVER] -= 48.0 * patient.fatty_liver
    if patient.oral_contrast > 0:
        for tissue in _ORAL:
            values[tissue] += patient.oral_contrast * float(rng.uniform(0.6, 1.1))
    for tissue in (Tissue.COLON_GAS, Tissue.STOMACH_GAS, Tissue.LUNG, Tissue.AIRWAY, Tissue.AIR):
        values[tissue] = max(values[tissue], -1005.0)
    return values


def render_ct(phantom: Phantom, seed: int) -> FloatArray:
    """One CT scan of the phantom in HU, float32 [slice, row, column]; deterministic by seed.

    The labels are not touched: noise, blur and streaks change the image only.
    """
    rng = np.random.default_rng([phantom.patient.seed, seed, 201])
    shape = phantom.tissues.shape
    values = draw_hu(phantom.patient, rng)
    image = labels_to_values(phantom.tissues, lookup(values))
    grain = texture(rng, shape, float(rng.uniform(1.6, 3.2)), 1.4)
    strength = float(rng.uniform(0.5, 1.5))
    image += grain * labels_to_values(phantom.tissues, TEXTURE_HU * np.float32(strength))
    image = thicken(image, float(rng.uniform(0.0, 0.16)))
    image = blur(image, float(rng.uniform(0.45, 0.95)))
    image += shading(rng, shape, shape[2] / 3.0) * np.float32(rng.uniform(0.0, 5.0))
    sigma = float(np.exp(rng.uniform(np.log(3.5), np.log(28.0))))
    image += noise(rng, shape, float(rng.uniform(0.45, 1.2))) * np.float32(sigma)
    if rng.random() < 0.25:
        image += _streaks(phantom, rng)
    np.maximum(image, np.float32(-1024), out=image)
    return image


def _streaks(phantom: Phantom, rng: np.random.Generator) -> FloatArray:
    """Horizontal streaks between dense parts, strongest where bone, metal or arms widen the row."""
    tissues = phantom.tissues
    dense = (tissues == Tissue.CORTICAL_BONE) | (tissues == Tissue.METAL)
    load = np.count_nonzero(dense, axis=2).astype(np.float32) / tissues.shape[2]
    lines = rng.standard_normal(tissues.shape, dtype=np.float32)
    lines = uniform_filter1d(lines, max(9, tissues.shape[2] // 6), axis=2, mode="wrap")
    lines /= max(float(lines.std()), 1e-6)
    inside = tissues != Tissue.AIR
    streaks: FloatArray = (
        lines * inside * (np.float32(2.0) + np.float32(160.0) * load[:, :, None])
    ) * np.float32(rng.uniform(0.4, 1.4))
    return streaks.astype(np.float32)
