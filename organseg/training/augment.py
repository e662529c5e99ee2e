"""Slices changed anew each time: contrast, shape, sharpness, shading, noise. Never mirrored.

A mirror image would swap the kidneys. Each axis is scaled on its own, because serving squeezes
slices of any shape to a square.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from organseg.data.phantom import Tissue
from organseg.training.options import AugmentOptions

_WARP_KNOTS = 6
"""Knots of a displacement along each axis: bends about as large as an organ."""

_SHADING_KNOTS = 4
"""Knots of a field of brightness along each axis, as wide as a coil's sensitivity."""


def recolour(
    images: Tensor, tissues: Tensor, rng: np.random.Generator, options: AugmentOptions
) -> Tensor:
    """Images whose tissues are each a little darker or brighter than they were rendered.

    A phantom is rendered once, so its liver is always as bright beside its spleen. What real
    scans look like is hardly known; greys by lot carry over to them (Billot et al. 2023,
    "SynthSeg"). Air stays, and so do images whose tissues are not known.

    Args:
        images: uint8 [B, H, W].
        tissues: uint8 [B, H, W], `Tissue` values; 0 for air, or everywhere.
        rng: all chance.
        options: how much is changed, and how many images.

    Returns:
        uint8 [B, H, W], stretched where it was changed.
    """
    batch = len(images)
    shifts = rng.normal(0.0, 255.0 * options.contrast, (batch, 256)).astype(np.float32)
    shifts[:, Tissue.AIR] = 0.0
    chosen = torch.from_numpy(rng.random(batch) < options.contrast_share)
    chosen &= (tissues > 0).flatten(1).any(dim=1)
    if not chosen.any():
        return images
    table = torch.from_numpy(shifts)[chosen]
    shift = table.gather(1, tissues[chosen].flatten(1).long()).view(-1, 1, *images.shape[1:])
    # Pixels at a border hold both tissues.
    shift = functional.avg_pool2d(shift, 3, stride=1, padding=1, count_include_pad=False)
    changed = images.clone()
    changed[chosen] = _to_uint8(stretch(images[chosen].unsqueeze(1) + shift)[:, 0])
    return changed


def augment(
    images: Tensor, maps: Tensor, rng: np.random.Generator, options: AugmentOptions
) -> tuple[Tensor, Tensor]:
    """Changed images, and the maps that belong to them.

    Args:
        images: uint8 [B, H, W].
        maps: uint8 [B, M, H, W], M label maps of each image; no new values arise in them.
        rng: all chance.
        options: how much is changed.

    Returns:
        Both again; images and maps move together, and only images change their greys.
    """
    batch, height, width = images.shape
    grid = functional.affine_grid(
        _transforms(batch, rng, options), [batch, 1, height, width], align_corners=False
    )
    # The grid's coordinates run from -1 to 1: two for the whole image.
    bend = _smooth_fields((batch, 2, height, width), rng, 2.0 * options.warp, _WARP_KNOTS)
    grid = grid + bend.movedim(1, -1)
    grey = functional.grid_sample(
        images.unsqueeze(1).float(), grid, mode="bilinear", align_corners=False
    )
    moved = functional.grid_sample(maps.float(), grid, mode="nearest", align_corners=False)
    if rng.random() < options.coarse_share:
        side = int(rng.integers(round(0.35 * height), height))
        grey = functional.interpolate(grey, size=(side, side), mode="bilinear", antialias=True)
        grey = functional.interpolate(grey, size=(height, width), mode="bicubic")
    shape = (batch, 1, 1, 1)
    exponents = np.exp(rng.uniform(-options.gamma, options.gamma, shape)).astype(np.float32)
    grey = stretch(grey.clamp(0.0, 255.0)).pow(torch.from_numpy(exponents))
    grey = grey * _smooth_fields(tuple(grey.shape), rng, options.shading, _SHADING_KNOTS).exp()
    # Where there is nothing, there is no noise either.
    brightest = grey.amax(dim=(-2, -1), keepdim=True)
    grey = grey + brightest * _noise(tuple(grey.shape), rng, options.grain)
    grey = stretch(255.0 * grey.clamp(min=0.0))
    return _to_uint8(grey[:, 0]), moved.to(torch.uint8)


def stretch(grey: Tensor) -> Tensor:
    """Per-image min-max to 0..1 of float [B, 1, H, W], as serving does; constant images to 0."""
    low, high = grey.amin(dim=(-2, -1), keepdim=True), grey.amax(dim=(-2, -1), keepdim=True)
    return (grey - low) / (high - low).clamp(min=1.0)


def resize_grey(images: Tensor, side: int) -> Tensor:
    """Uint8 [B, H, W] to uint8 [B, side, side], cubic with anti-aliasing, then stretched."""
    if images.shape[-1] == side:
        return images
    grey = functional.interpolate(
        images.unsqueeze(1).float(), size=(side, side), mode="bicubic", antialias=True
    )
    return _to_uint8(stretch(grey.clamp(0.0, 255.0))[:, 0])


def _to_uint8(grey: Tensor) -> Tensor:
    return (grey * 255.0).round().clamp(0, 255).to(torch.uint8)


def _smooth_fields(
    shape: tuple[int, ...], rng: np.random.Generator, largest: float, knots: int
) -> Tensor:
    """Float32 [B, C, H, W]: normal values at a few knots and smooth between them.

    Their standard deviation is up to `largest`, of each image its own.
    """
    batch, channels, height, width = shape
    deviations = rng.uniform(0.0, largest, (batch, 1, 1, 1))
    values = deviations * rng.standard_normal((batch, channels, knots, knots))
    return functional.interpolate(
        torch.from_numpy(values.astype(np.float32)),
        size=(height, width),
        mode="bicubic",
        align_corners=True,
    )


def _noise(shape: tuple[int, ...], rng: np.random.Generator, largest: float) -> Tensor:
    """Float32 [B, 1, H, W]: normal noise of a standard deviation up to `largest`."""
    deviations = rng.uniform(0.0, largest, (shape[0], 1, 1, 1)).astype(np.float32)
    return torch.from_numpy(deviations * rng.standard_normal(shape, dtype=np.float32))


def _transforms(batch: int, rng: np.random.Generator, options: AugmentOptions) -> Tensor:
    matrices: npt.NDArray[np.float32] = np.zeros((batch, 2, 3), dtype=np.float32)
    for matrix in matrices:
        angle = math.radians(options.turn_degrees) * rng.uniform(-1, 1)
        scale = np.exp(rng.uniform(-options.zoom, options.zoom, 2))
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        matrix[:, :2] = turn * scale
        matrix[:, 2] = rng.uniform(-2 * options.shift, 2 * options.shift, 2)
    return torch.from_numpy(matrices)
