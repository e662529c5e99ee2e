"""MR-like rendering and random intensities: every tissue class by its relaxation, or by lot."""

from __future__ import annotations

import numpy as np

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
from organseg.data.phantom.tissues import PROPERTIES, Signal, Tissue
from organseg.data.phantom.volume import Phantom

SCALE = 1000.0
"""Intensity of a tissue that gives full signal."""


def draw_signals(phantom: Phantom, rng: np.random.Generator) -> dict[Tissue, float]:
    """Signal of every tissue in one MR-like scan, 0 to about `SCALE`."""
    kind = int(rng.integers(3))  # T1 gradient echo, T2 spin echo, balanced
    repetition_ms = (rng.uniform(90, 420), rng.uniform(2500, 6000), 5.0)[kind]
    echo_ms = (rng.uniform(1.5, 6.0), rng.uniform(60, 130), 2.0)[kind]
    fat_kept = float(rng.uniform(0.02, 0.25)) if rng.random() < 0.45 else 1.0
    enhanced = kind == 0 and rng.random() < 0.45
    flow_void = kind == 1 or rng.random() < 0.25
    by_signal: dict[Signal, float] = {}
    for signal in Signal:
        t1, t2, density = signal.value
        if enhanced:
            # Contrast shortens T1 where blood goes.
            uptake = PROPERTIES[_example(signal)].hu
            t1 = 1.0 / (1.0 / t1 + max(uptake[2] - uptake[0], 0.0) * 2.4e-5)
        if kind == 2:
            value = density / (1.0 + t1 / t2) * 1.8
        else:
            value = density * (1 - np.exp(-repetition_ms / t1)) * np.exp(-echo_ms / t2)
        if signal is Signal.FAT or signal is Signal.MARROW:
            value *= fat_kept
        if signal is Signal.BLOOD and flow_void:
            value *= rng.uniform(0.05, 0.5)
        by_signal[signal] = float(value)
    top = max(by_signal[s] for s in (Signal.FAT, Signal.SPLEEN, Signal.FLUID, Signal.LIVER))
    gain = SCALE / max(top, 1e-6)
    return {
        tissue: max(0.0, by_signal[properties.signal] * gain * float(rng.lognormal(0.0, 0.09)))
        for tissue, properties in PROPERTIES.items()
    }


def _example(signal: Signal) -> Tissue:
    return next(tissue for tissue, row in PROPERTIES.items() if row.signal is signal)


def render_mr(phantom: Phantom, seed: int) -> FloatArray:
    """One MR-like scan, float32 [slice, row, column], not negative; deterministic by seed."""
    rng = np.random.default_rng([phantom.patient.seed, seed, 202])
    signals = draw_signals(phantom, rng)
    # The table is invisible to MR.
    signals[Tissue.TABLE] = signals[Tissue.TABLE_FOAM] = signals[Tissue.AIR] = 0.0
    return _expose(phantom, signals, rng, float(rng.uniform(0.15, 0.5)))


def render_random(phantom: Phantom, seed: int) -> FloatArray:
    """A random intensity per tissue class, float32, not negative; deterministic by seed."""
    rng = np.random.default_rng([phantom.patient.seed, seed, 203])
    by_signal = {signal: float(rng.uniform(0.02, 1.0)) * SCALE for signal in Signal}
    by_signal[Signal.VOID] = float(rng.choice([0.0, 1.0], p=[0.85, 0.15])) * SCALE
    values = {
        tissue: max(0.0, by_signal[row.signal] + float(rng.normal(0, 0.06)) * SCALE)
        for tissue, row in PROPERTIES.items()
    }
    # Vessels, walls and contents may differ from their class.
    for tissue in rng.choice(len(PROPERTIES), size=len(PROPERTIES) // 4, replace=False):
        values[Tissue(int(tissue))] = float(rng.uniform(0, 1)) * SCALE
    values[Tissue.RIGHT_RENAL_CORTEX] = values[Tissue.LEFT_RENAL_CORTEX]
    values[Tissue.RIGHT_RENAL_MEDULLA] = values[Tissue.LEFT_RENAL_MEDULLA]
    return _expose(phantom, values, rng, float(rng.uniform(0.0, 0.4)))


def _expose(
    phantom: Phantom, values: dict[Tissue, float], rng: np.random.Generator, bias: float
) -> FloatArray:
    """Tissue values to an image: texture, blur, coil shading, Rician noise."""
    shape = phantom.tissues.shape
    image = labels_to_values(phantom.tissues, lookup(values))
    grain = texture(rng, shape, float(rng.uniform(1.6, 3.2)), 1.4)
    strength = np.float32(rng.uniform(0.3, 1.2) * SCALE / 300.0)
    image += grain * labels_to_values(phantom.tissues, TEXTURE_HU.clip(0, 12) * strength)
    image = thicken(image, float(rng.uniform(0.0, 0.2)))
    image = blur(image, float(rng.uniform(0.5, 1.1)))
    image *= np.exp(np.float32(bias) * shading(rng, shape, shape[2] / 2.5))
    sigma = np.float32(SCALE * np.exp(rng.uniform(np.log(0.006), np.log(0.05))))
    real = image + sigma * noise(rng, shape, float(rng.uniform(0.0, 0.7)))
    imaginary = sigma * noise(rng, shape, 0.0)
    result: FloatArray = np.sqrt(real * real + imaginary * imaginary)
    return result
