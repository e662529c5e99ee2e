"""Solids as depth fields: mm inside the surface, negative outside; ellipsoids, tubes, sheets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from organseg.data.phantom.canvas import Canvas, Frame, Point, View, corners_around
from organseg.data.phantom.fields import FloatArray

_FAR_MM = np.float32(-99.0)


def ellipsoid_depth(
    view: View, center: Point, radii: Point, turn_deg: Point = (0.0, 0.0, 0.0)
) -> FloatArray:
    """Depth in an ellipsoid whose axes are turned about x, then y, then z."""
    ax, ay, az = np.deg2rad(turn_deg)
    about_x = np.array([[1, 0, 0], [0, np.cos(ax), -np.sin(ax)], [0, np.sin(ax), np.cos(ax)]])
    about_y = np.array([[np.cos(ay), 0, np.sin(ay)], [0, 1, 0], [-np.sin(ay), 0, np.cos(ay)]])
    about_z = np.array([[np.cos(az), -np.sin(az), 0], [np.sin(az), np.cos(az), 0], [0, 0, 1]])
    # Rows: the ellipsoid's own axes, divided by its radii.
    basis = ((about_z @ about_y @ about_x).T / np.array(radii)[:, None]).astype(np.float32)
    dx, dy, dz = (
        view.x - np.float32(center[0]),
        view.y - np.float32(center[1]),
        view.z - np.float32(center[2]),
    )
    square = np.zeros(view.x.shape, dtype=np.float32)
    for row in basis:
        along = row[0] * dx + row[1] * dy + row[2] * dz
        square += along * along
    return (np.float32(1.0) - np.sqrt(square)) * np.float32(min(radii))


def smooth_min(first: FloatArray, second: FloatArray, blend_mm: float) -> FloatArray:
    """The smaller depth, with the edge between the two surfaces rounded over `blend_mm`."""
    h = np.clip(0.5 + (second - first) * np.float32(0.5 / blend_mm), 0, 1)
    result: FloatArray = second + (first - second) * h - np.float32(blend_mm) * h * (1 - h)
    return result


def smooth_step(values: FloatArray, low: float, high: float) -> FloatArray:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    result: FloatArray = t * t * (3 - 2 * t)
    return result


@dataclass(frozen=True)
class Path:
    """A centreline with a radius at every point."""

    points_mm: FloatArray
    """[n, 3] x, y, z."""
    radii_mm: FloatArray
    """[n]."""


def smooth_path(
    control_mm: Sequence[Point] | FloatArray, radii_mm: Sequence[float], step_mm: float
) -> Path:
    """A smooth curve through control points, resampled about every `step_mm`."""
    control = np.asarray(control_mm, dtype=np.float64)
    chord = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(control, axis=0), axis=1))])
    count = max(2, round(float(chord[-1]) / step_mm) + 1)
    at = np.linspace(0.0, float(chord[-1]), count)
    # Cubic Hermite pieces whose tangents are the slopes across each point's neighbours.
    steps = np.maximum(np.diff(chord), 1e-6)
    slopes = np.gradient(
        control, np.maximum.accumulate(chord + 1e-6 * np.arange(len(chord))), axis=0
    )
    piece = np.clip(np.searchsorted(chord, at, side="right") - 1, 0, len(control) - 2)
    h = steps[piece][:, None]
    t = (at - chord[piece])[:, None] / h
    points = (
        (2 * t**3 - 3 * t**2 + 1) * control[piece]
        + (t**3 - 2 * t**2 + t) * h * slopes[piece]
        + (3 * t**2 - 2 * t**3) * control[piece + 1]
        + (t**3 - t**2) * h * slopes[piece + 1]
    )
    radii = np.interp(at, chord, np.asarray(radii_mm, dtype=np.float64))
    return Path(points.astype(np.float32), radii.astype(np.float32))


@dataclass(frozen=True)
class Tube:
    """A tube evaluated on a view."""

    view: View
    """The voxels around it."""
    depth: FloatArray
    """mm inside the tube's surface."""


@dataclass(frozen=True)
class HollowTube(Tube):
    """A tube that knows, at every voxel, where along its centreline it is."""

    along: FloatArray
    """Position along the path, 0 to 1, of the nearest point."""
    rise: FloatArray
    """mm above (anterior to) the nearest point of the centreline."""


_Squash = tuple[float, float, float]


def trace(
    canvas: Canvas,
    path: Path,
    frame: Frame = Frame.ORGANS,
    margin_mm: float = 3.0,
    squash: _Squash = (1.0, 1.0, 1.0),
) -> Tube:
    """Evaluate a tube; `squash` stretches distances along x, y, z (above 1: flatter that way)."""
    widest = float(path.radii_mm.max()) + margin_mm
    view = canvas.view(*corners_around(path.points_mm, widest), frame)
    tube = Tube(view, np.full(view.x.shape, _FAR_MM, dtype=np.float32))
    _walk(canvas, path, frame, margin_mm, squash, tube)
    return tube


def trace_hollow(
    canvas: Canvas,
    path: Path,
    margin_mm: float = 3.0,
    squash: _Squash = (1.0, 1.0, 1.0),
) -> HollowTube:
    """Evaluate a tube in the organs' frame, for an organ with contents."""
    widest = float(path.radii_mm.max()) + margin_mm
    view = canvas.view(*corners_around(path.points_mm, widest), Frame.ORGANS)
    shape = view.x.shape
    tube = HollowTube(
        view,
        np.full(shape, _FAR_MM, dtype=np.float32),
        np.zeros(shape, dtype=np.float32),
        np.zeros(shape, dtype=np.float32),
    )
    _walk(canvas, path, Frame.ORGANS, margin_mm, squash, tube)
    return tube


def _walk(
    canvas: Canvas, path: Path, frame: Frame, margin_mm: float, squash: _Squash, tube: Tube
) -> None:
    """Fill a tube's fields segment by segment, each within a small box of its own."""
    view = tube.view
    if tube.depth.size == 0:
        return
    points, radii = path.points_mm, path.radii_mm
    margins = np.maximum(radii[:-1], radii[1:]) / np.float32(min(squash)) + np.float32(margin_mm)
    low, high = canvas.boxes_around(points[:-1], points[1:], margins, frame)
    first = np.array([part.start for part in view.box])
    low = np.maximum(low - first, 0)
    high = np.minimum(high - first, tube.depth.shape)
    weight = np.array(squash, dtype=np.float32) ** 2
    segments = len(points) - 1
    rigid = frame is Frame.BODY
    for k in np.flatnonzero((high > low).all(axis=1)):
        inner = tuple(slice(int(a), int(b)) for a, b in zip(low[k], high[k], strict=True))
        a, ab = points[k], points[k + 1] - points[k]
        dx, dy = view.x[inner] - a[0], view.y[inner] - a[1]
        dz = view.z[inner[0] if rigid else inner] - a[2]
        pull = ab * weight / max(float(np.dot(ab, ab * weight)), 1e-3)
        t = dx * pull[0] + dy * pull[1] + dz * pull[2]
        np.minimum(np.maximum(t, 0, out=t), 1, out=t)
        dx -= t * ab[0]
        dy -= t * ab[1]
        dz = dz - t * ab[2]
        here = np.sqrt(weight[0] * dx * dx + weight[1] * dy * dy + weight[2] * dz * dz)
        np.subtract(radii[k] + t * (radii[k + 1] - radii[k]), here, out=here)
        target = tube.depth[inner]
        if isinstance(tube, HollowTube):
            nearer = here > target
            np.copyto(tube.along[inner], (t + np.float32(k)) / segments, where=nearer)
            np.copyto(tube.rise[inner], -dy, where=nearer)
        np.maximum(target, here, out=target)


def axial_band(
    view: View, start: tuple[FloatArray, FloatArray], end: tuple[FloatArray, FloatArray]
) -> FloatArray:
    """Distance in mm, within the axial plane, to a segment whose ends move with the level."""
    ax, ay = start
    abx, aby = end[0] - ax, end[1] - ay
    dx, dy = view.x - ax, view.y - ay
    length2 = np.maximum(abx * abx + aby * aby, np.float32(1e-3))
    t = np.clip((dx * abx + dy * aby) / length2, 0, 1)
    ox, oy = dx - t * abx, dy - t * aby
    result: FloatArray = np.sqrt(ox * ox + oy * oy)
    return result


def by_level(z: FloatArray, levels_mm: Sequence[float], values: Sequence[float]) -> FloatArray:
    """A value that changes with the level z, interpolated from a short table (rising levels)."""
    return np.interp(z, levels_mm, values).astype(np.float32)
