"""The voxel grid that the anatomy is painted on, and its two coordinate frames.

Axes of every array: (slice, row, column); slice 0 is the lowest (towards the feet), rows run to
posterior, columns to the patient's left. Coordinates in mm: x to the patient's left, y to
posterior, z to the head; the origin is at the front of the first lumbar vertebra.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from organseg.data.phantom.fields import FloatArray, smooth_field
from organseg.data.phantom.patient import Patient, Region
from organseg.data.phantom.tissues import INTERIOR, Tissue

EXTENT_MM = ((-380.0, 360.0), (-300.0, 300.0), (-300.0, 300.0))
"""What the deformation knots span, along z, y, x."""

_BODY_WARP_MM = 2.2
_ORGAN_WARP_MM = 2.8
_REACH_MM = 12.0
"""How far the soft warps may move a point, at most."""
_LOCAL_REACH_MM = 5.0
"""How much they may differ between the ends of a short piece."""

Box = tuple[slice, slice, slice]
Point = tuple[float, float, float]


def scan_origin(patient: Patient) -> tuple[float, float]:
    """Row and column position in mm, from the image centre, of the anatomy's origin."""
    return (10.0 + patient.shift_xy_mm[1], patient.shift_xy_mm[0])


class Frame(Enum):
    """Which deformation a structure follows."""

    BODY = auto()
    """The patient's pose and a gentle bend: bone, muscle, body wall."""
    ORGANS = auto()
    """That, and a second displacement in all three directions."""


@dataclass(frozen=True)
class View:
    """A box of the canvas with the coordinates of its voxels; may be empty."""

    tissues: NDArray[np.uint8]
    """Tissue labels [slice, row, column]; writing here writes on the canvas."""
    x: FloatArray
    """mm to the patient's left, for every voxel."""
    y: FloatArray
    """mm to posterior."""
    z: FloatArray
    """mm to the head; in the body frame of shape [slice, 1, 1]."""
    cavity_depth: FloatArray
    """mm inside the inner surface of the body wall; negative in the wall."""
    dome_depth: FloatArray
    """mm below the diaphragm, along z; negative above it."""
    box: Box
    """Where the view lies on the canvas."""

    def paint(
        self,
        mask: NDArray[np.bool_],
        tissue: Tissue,
        over: NDArray[np.bool_] | None = INTERIOR,
    ) -> None:
        """Write a tissue where the mask holds and the present tissue is in `over` (None: any)."""
        if over is None:
            self.tissues[mask] = tissue
            return
        present = self.tissues[mask]
        present[over[present]] = tissue
        self.tissues[mask] = present


class Canvas:
    """Tissue labels and coordinates of one phantom while it is painted."""

    def __init__(
        self, patient: Patient, axes_mm: tuple[FloatArray, FloatArray, FloatArray]
    ) -> None:
        self.patient = patient
        self.axes_mm = axes_mm
        self.shape = (len(axes_mm[0]), len(axes_mm[1]), len(axes_mm[2]))
        shape = self.shape
        self.tissues: NDArray[np.uint8] = np.zeros(shape, dtype=np.uint8)
        self._first_mm = [float(axis[0]) for axis in axes_mm]
        self._step_mm = [float(axis[1] - axis[0]) for axis in axes_mm]
        self._place(patient)
        empty = np.zeros(shape, dtype=np.float32)
        self.cavity_depth: FloatArray = empty
        self.dome_depth: FloatArray = empty

    def _place(self, patient: Patient) -> None:
        scan_z, scan_y, scan_x = self.axes_mm
        pose = patient.stream(Region.POSE)
        angle = math.radians(patient.rotation_deg)
        self._cos_sin = (math.cos(angle), math.sin(angle))
        self._scale = patient.scale_xyz
        self._origin = scan_origin(patient)
        cos, sin = self._cos_sin
        scale_x, scale_y, scale_z = patient.scale_xyz
        self.z: FloatArray = (scan_z / scale_z).astype(np.float32)[:, None, None]
        # Scoliosis and lordosis: the whole section moves slowly with the level.
        bend_x = np.float32(pose.normal(0, 3.5)) * np.sin(
            self.z / 110.0 + pose.uniform(0, 6.3), dtype=np.float32
        )
        bend_y = np.float32(pose.normal(0, 3.0)) * np.sin(
            self.z / 120.0 + pose.uniform(0, 6.3), dtype=np.float32
        )
        y0 = (scan_y - np.float32(self._origin[0]))[None, :, None]
        x0 = (scan_x - np.float32(self._origin[1]))[None, None, :]
        warp = patient.stream(Region.WARP)
        bends = [smooth_field(warp, self.axes_mm, (55.0, 60.0, 60.0), EXTENT_MM) for _ in range(2)]
        self.body_y: FloatArray = (
            y0 * np.float32(cos / scale_y)
            + x0 * np.float32(sin / scale_y)
            + _BODY_WARP_MM * bends[0]
            + bend_y
        ).astype(np.float32)
        self.body_x: FloatArray = (
            x0 * np.float32(cos / scale_x)
            - y0 * np.float32(sin / scale_x)
            + _BODY_WARP_MM * bends[1]
            + bend_x
        ).astype(np.float32)
        amount = _ORGAN_WARP_MM * np.float32(warp.uniform(0.6, 1.25))
        knots = (28.0, 26.0, 26.0)
        self.organ_x: FloatArray = self.body_x + amount * smooth_field(
            warp, self.axes_mm, knots, EXTENT_MM
        )
        self.organ_y: FloatArray = self.body_y + amount * smooth_field(
            warp, self.axes_mm, knots, EXTENT_MM
        )
        self.organ_z: FloatArray = self.z + amount * smooth_field(
            warp, self.axes_mm, knots, EXTENT_MM
        )

    def _scan_yx(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the anatomy lies on the scanner's axes, but for the soft warps."""
        scaled_y, scaled_x = y * self._scale[1], x * self._scale[0]
        cos, sin = self._cos_sin
        return (
            cos * scaled_y - sin * scaled_x + self._origin[0],
            sin * scaled_y + cos * scaled_x + self._origin[1],
        )

    def _slices(self, low: list[float], high: list[float]) -> Box:
        parts = []
        for k in range(3):
            start = math.ceil((low[k] - self._first_mm[k]) / self._step_mm[k])
            stop = math.floor((high[k] - self._first_mm[k]) / self._step_mm[k]) + 1
            start = min(max(start, 0), self.shape[k])
            parts.append(slice(start, max(start, min(stop, self.shape[k]))))
        return (parts[0], parts[1], parts[2])

    def _box(self, low: Point, high: Point, reach_mm: float = _REACH_MM) -> Box:
        corners = [self._scan_yx(x, y) for x in (low[0], high[0]) for y in (low[1], high[1])]
        rows, columns = [c[0] for c in corners], [c[1] for c in corners]
        scale_z = self._scale[2]
        return self._slices(
            [low[2] * scale_z - reach_mm, min(rows) - reach_mm, min(columns) - reach_mm],
            [high[2] * scale_z + reach_mm, max(rows) + reach_mm, max(columns) + reach_mm],
        )

    def boxes_around(
        self, starts: FloatArray, ends: FloatArray, margins_mm: FloatArray, frame: Frame
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First and past-the-last voxel [n, 3] of tight boxes around segments [n, 3] (x, y, z).

        The boxes follow the local warp, so they need less room than `view` takes.
        """
        first, step = np.array(self._first_mm), np.array(self._step_mm)
        cos, sin = self._cos_sin
        scale = np.array(self._scale)
        origin = np.array([0.0, *self._origin])
        middle = 0.5 * (starts + ends).astype(np.float64)

        def to_scan(points: NDArray[np.float64]) -> NDArray[np.float64]:
            x, y, z = (points * scale).T
            rows, columns = cos * y - sin * x, sin * y + cos * x
            return np.stack([z + origin[0], rows + origin[1], columns + origin[2]], axis=1)

        nearest = np.rint((to_scan(middle) - first) / step).astype(np.intp)
        at = tuple(np.clip(nearest, 0, np.array(self.shape) - 1).T)
        # What the warps add at the nearest voxel, taken off before the box is laid.
        z, y, x = (first + np.stack(at, axis=1) * step - origin).T
        plain = np.stack([cos * x - sin * y, cos * y + sin * x, z], axis=1) / scale
        if frame is Frame.BODY:
            warped = np.stack([self.body_x[at], self.body_y[at], plain[:, 2]], axis=1)
        else:
            warped = np.stack([self.organ_x[at], self.organ_y[at], self.organ_z[at]], axis=1)
        center = to_scan(middle - (warped - plain))
        x, y, z = ((0.5 * np.abs(ends - starts) + margins_mm[:, None]) * scale).T
        half = np.stack([z, cos * y + abs(sin) * x, abs(sin) * y + cos * x], axis=1)
        half = half + _LOCAL_REACH_MM
        low = np.ceil((center - half - first) / step).astype(np.int64)
        high = np.floor((center + half - first) / step).astype(np.int64) + 1
        return low, high

    def view(self, low: Point, high: Point, frame: Frame = Frame.ORGANS) -> View:
        """The voxels whose coordinates may lie between two corners (x, y, z) in mm."""
        return self._view(self._box(low, high), frame)

    def whole(self, frame: Frame = Frame.BODY) -> View:
        """All voxels."""
        return self._view((slice(None), slice(None), slice(None)), frame)

    def _view(self, box: Box, frame: Frame) -> View:
        rigid = frame is Frame.BODY
        return View(
            tissues=self.tissues[box],
            x=(self.body_x if rigid else self.organ_x)[box],
            y=(self.body_y if rigid else self.organ_y)[box],
            z=self.z[box[0]] if rigid else self.organ_z[box],
            cavity_depth=self.cavity_depth[box],
            dome_depth=self.dome_depth[box],
            box=box,
        )


def thin(view: View) -> View:
    """Every second row and column of a view, for solids that are costly to evaluate."""
    part = (slice(None), slice(None, None, 2), slice(None, None, 2))
    return View(
        view.tissues[part],
        view.x[part],
        view.y[part],
        view.z[part] if view.z.shape[1:] != (1, 1) else view.z,
        view.cavity_depth[part],
        view.dome_depth[part],
        view.box,
    )


def unthin(depth: FloatArray, view: View) -> FloatArray:
    """Undo `thin` for a depth field: values between the kept rows and columns are averages."""
    full = np.empty(view.x.shape, dtype=np.float32)
    full[:, ::2, ::2] = depth
    between = full[:, ::2, 1::2]
    right = depth[:, :, 1 : between.shape[2] + 1]
    between[:, :, : right.shape[2]] = 0.5 * (depth[:, :, : right.shape[2]] + right)
    between[:, :, right.shape[2] :] = depth[:, :, right.shape[2] : between.shape[2]]
    odd = full[:, 1::2]
    below = full[:, 2::2][:, : odd.shape[1]]
    odd[:, : below.shape[1]] = 0.5 * (full[:, ::2][:, : below.shape[1]] + below)
    odd[:, below.shape[1] :] = full[:, ::2][:, below.shape[1] : odd.shape[1]]
    return full


def corners_around(points: Sequence[Point] | FloatArray, margin_mm: float) -> tuple[Point, Point]:
    """The two corners of the box around points [n, 3] with a margin on all sides."""
    array = np.asarray(points, dtype=np.float64)
    low, high = array.min(axis=0) - margin_mm, array.max(axis=0) + margin_mm
    return (
        (float(low[0]), float(low[1]), float(low[2])),
        (float(high[0]), float(high[1]), float(high[2])),
    )
