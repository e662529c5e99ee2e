"""What all renderers share: the choice of modality, blur, noise texture, slow shading."""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from organseg.data.phantom.fields import FloatArray, spline_matrix
from organseg.data.phantom.tissues import PROPERTIES, Tissue


class Modality(Enum):
    """How a phantom is turned into an image."""

    CT = "ct"
    """Hounsfield units by tissue and contrast phase, widely scattered."""
    MR = "mr"
    """MR-like: spin-echo or gradient-echo weighting, fat suppression, bias field, Rician noise."""
    RANDOM = "random"
    """Every tissue class at an intensity of its own, for domain randomisation."""


def lookup(values: dict[Tissue, float]) -> FloatArray:
    """A table float32 [256] from tissue to value."""
    table = np.zeros(256, dtype=np.float32)
    for tissue, value in values.items():
        table[tissue] = value
    return table


TEXTURE_HU: FloatArray = lookup({t: p.texture_hu for t, p in PROPERTIES.items()})
"""How strongly each tissue is textured, in HU; the other modalities scale it."""


def gaussian_taps(sigma: float) -> FloatArray:
    """Weights of a short Gaussian of this width in pixels; they add up to 1."""
    reach = max(1, int(np.ceil(2.2 * sigma)))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
    result: FloatArray = (taps / taps.sum()).astype(np.float32)
    return result


def blur(image: FloatArray, sigma_pixels: float) -> FloatArray:
    """In-plane Gaussian blur of [slice, row, column]: the partial volume at tissue borders."""
    if sigma_pixels < 0.2:
        return image
    taps = gaussian_taps(sigma_pixels)
    smooth: FloatArray = correlate1d(
        correlate1d(image, taps, axis=2, mode="nearest"), taps, axis=1, mode="nearest"
    )
    return smooth


def thicken(image: FloatArray, share: float) -> FloatArray:
    """Mix a share of both neighbouring slices into each slice, as thick slices do."""
    if share < 0.01 or len(image) < 2:
        return image
    mixed = image * np.float32(1 - 2 * share)
    mixed[1:] += np.float32(share) * image[:-1]
    mixed[:-1] += np.float32(share) * image[1:]
    mixed[0] += np.float32(share) * image[0]
    mixed[-1] += np.float32(share) * image[-1]
    return mixed


def texture(
    rng: np.random.Generator, shape: tuple[int, ...], knot_pixels: float, knot_slices: float
) -> FloatArray:
    """A smooth random volume of standard deviation near 1 on a voxel grid."""
    steps = (knot_slices, knot_pixels, knot_pixels)
    counts = [int(np.ceil(n / step)) + 4 for n, step in zip(shape, steps, strict=True)]
    knots = rng.standard_normal(counts, dtype=np.float32) / np.float32(0.479**1.5)
    along = [
        spline_matrix(np.arange(n, dtype=np.float32), step, 0.0, count)
        for n, step, count in zip(shape, steps, counts, strict=True)
    ]
    field = np.matmul(along[1], np.tensordot(along[0], knots, axes=1))
    result: FloatArray = np.matmul(field, along[2].T)
    return result


def noise(
    rng: np.random.Generator, shape: tuple[int, ...], grain_pixels: float, patterns: int = 6
) -> FloatArray:
    """Noise of standard deviation 1 with a grain; a few patterns, rolled anew for every slice.

    `grain_pixels` is the kernel: 0 is white (sharp), about 1 is soft. A part of the low
    frequencies is taken out again, as filtered back-projection does.
    """
    count = min(patterns, shape[0])
    pool = rng.standard_normal((count, *shape[1:]), dtype=np.float32)
    if grain_pixels > 0.2:
        pool = blur(pool, grain_pixels) - np.float32(0.7) * blur(pool, 2.6 * grain_pixels)
    pool /= max(float(pool.std()), 1e-6)
    result = np.empty(shape, dtype=np.float32)
    for k in range(shape[0]):
        pattern = pool[int(rng.integers(count))]
        roll = (int(rng.integers(shape[1])), int(rng.integers(shape[2])))
        result[k] = np.roll(pattern, roll, axis=(0, 1))
        if rng.random() < 0.5:
            np.negative(result[k], out=result[k])
    return result


def shading(rng: np.random.Generator, shape: tuple[int, ...], order_pixels: float) -> FloatArray:
    """A very slow random field over the image, standard deviation near 1."""
    return texture(rng, shape, order_pixels, max(6.0, shape[0] / 3))


def labels_to_values(tissues: NDArray[np.uint8], table: FloatArray) -> FloatArray:
    """The table's value at every voxel, float32."""
    return np.take(table, tissues, mode="clip")
