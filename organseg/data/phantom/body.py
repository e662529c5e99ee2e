"""Body wall: skin, subcutaneous fat, abdominal muscles, the cavity inside, and the diaphragm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organseg.data.phantom.canvas import Canvas, View, thin, unthin
from organseg.data.phantom.fields import FloatArray
from organseg.data.phantom.patient import Patient, Region
from organseg.data.phantom.tissues import Tissue

CENTER_Y_MM = -10.0
"""The contours' polar centre, on the midline."""

_ANGLES = 512

_LEVELS = (-330.0, -270.0, -220.0, -170.0, -120.0, -60.0, 0.0, 60.0, 110.0, 160.0, 210.0, 270.0)
_HALF_WIDTH = (140.0, 158.0, 150.0, 138.0, 126.0, 122.0, 128.0, 136.0, 141.0, 142.0, 140.0, 148.0)
_FRONT = (66.0, 70.0, 76.0, 84.0, 89.0, 92.0, 98.0, 104.0, 107.0, 106.0, 99.0, 85.0)
_BACK = (108.0, 112.0, 106.0, 98.0, 92.0, 90.0, 92.0, 96.0, 100.0, 100.0, 98.0, 94.0)
_SIDE_WALL = (98.0, 94.0, 74.0, 36.0, 20.0, 17.0, 17.0, 17.0, 17.0, 18.0, 20.0, 34.0)
_FRONT_WALL = (26.0, 18.0, 12.0, 11.0, 10.0, 10.0, 10.0, 12.0, 14.0, 15.0, 16.0, 20.0)
_BACK_WALL = (62.0, 48.0, 40.0, 42.0, 42.0, 38.0, 34.0, 30.0, 26.0, 25.0, 25.0, 28.0)
_FAT_SHARE = (1.4, 1.5, 1.5, 1.4, 1.3, 1.15, 1.0, 0.85, 0.7, 0.6, 0.6, 0.7)
_BELLY = (0.0, 0.05, 0.25, 0.6, 0.9, 1.0, 1.0, 0.8, 0.45, 0.15, 0.0, 0.0)


@dataclass(frozen=True)
class Contour:
    """A closed line around the body at every level: a superellipse with a front and a back."""

    half_width_mm: tuple[float, ...]
    """Along x, at each of the levels."""
    front_mm: tuple[float, ...]
    """From the centre to the front."""
    back_mm: tuple[float, ...]
    """From the centre to the back."""
    power_front: float = 2.15
    """2 is an ellipse, more is boxier."""
    power_back: float = 2.6
    """The same for the back half."""
    groove_mm: float = 0.0
    """How deep the midline of the back sinks in."""

    def radius(self, z_mm: FloatArray, angle: FloatArray) -> FloatArray:
        """Distance in mm from the centre; angle 0 is left, π/2 posterior. Broadcasts."""
        a = np.interp(z_mm, _LEVELS, self.half_width_mm)
        back = np.sin(angle) > 0
        b = np.where(
            back,
            np.interp(z_mm, _LEVELS, self.back_mm),
            np.interp(z_mm, _LEVELS, self.front_mm),
        )
        power = np.where(back, self.power_back, self.power_front)
        total = (np.abs(np.cos(angle)) / a) ** power + (np.abs(np.sin(angle)) / b) ** power
        radius = total ** (-1 / power)
        radius = radius - self.groove_mm * np.exp(-(((angle - np.pi / 2) / 0.2) ** 2))
        return np.asarray(radius, dtype=np.float32)

    def points(self, z_mm: FloatArray, angle: FloatArray, inward_mm: float = 0.0) -> FloatArray:
        """Points [n, 3] (x, y, z) of the contour at levels [n] in directions [n]."""
        r = self.radius(z_mm, angle) - np.float32(inward_mm)
        xyz = (r * np.cos(angle), CENTER_Y_MM + r * np.sin(angle), z_mm)
        line: FloatArray = np.stack(xyz, axis=1).astype(np.float32)
        return line

    def point(self, z_mm: float, angle: float, inward_mm: float = 0.0) -> tuple[float, float]:
        """x, y of the contour in this direction, `inward_mm` inside it."""
        at, turn = np.array([z_mm], np.float32), np.array([angle], np.float32)
        x, y, _ = self.points(at, turn, inward_mm)[0]
        return float(x), float(y)


@dataclass(frozen=True)
class Build:
    """The three contours of a patient."""

    skin: Contour
    """Outer surface."""
    muscle: Contour
    """Outer surface of the muscle layer."""
    cavity: Contour
    """Inner surface of the wall: thorax, abdomen, pelvis."""


def draw_build(patient: Patient) -> Build:
    """The body wall of this patient."""
    rng = patient.stream(Region.BODY)
    girth = patient.visceral_fat - 0.35
    belly = np.array(_BELLY)
    width = np.array(_HALF_WIDTH) * rng.normal(1.0, 0.025) + belly * (30.0 * girth)
    front = np.array(_FRONT) * rng.normal(1.0, 0.03) + belly * (58.0 * girth + rng.normal(0, 4))
    back = np.array(_BACK) * rng.normal(1.0, 0.02) + 6.0 * girth
    wall = 0.55 + 0.45 * patient.muscle
    side, fore, rear = (np.array(t) * wall for t in (_SIDE_WALL, _FRONT_WALL, _BACK_WALL))
    fat = patient.subcutaneous_fat_mm * np.array(_FAT_SHARE)
    side_fat, back_fat = rng.uniform(0.6, 1.1), rng.uniform(0.5, 1.1)

    def rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
        return tuple(float(value) for value in values)

    front_power, back_power = float(rng.uniform(2.0, 2.35)), float(rng.uniform(2.4, 2.9))
    return Build(
        skin=Contour(
            rounded(width + 3 + fat * side_fat), rounded(front + 3 + fat),
            rounded(back + 4 + fat * back_fat), front_power, back_power, float(rng.uniform(0, 6)),
        ),
        muscle=Contour(
            rounded(width), rounded(front), rounded(back), front_power, back_power + 0.1,
            float(rng.uniform(4, 12)),
        ),
        cavity=Contour(
            rounded(width - side), rounded(front - fore), rounded(back - rear),
            front_power + 0.05, back_power,
        ),
    )  # fmt: skip


def dome_height(patient: Patient, x: FloatArray, y: FloatArray) -> FloatArray:
    """Level z in mm of the diaphragm above each point: two domes, the right one higher."""
    rng = patient.stream(Region.DIAPHRAGM)
    lift = -10.0 * patient.breath
    right = 118.0 + lift + rng.normal(0, 6)
    left = 104.0 + lift + rng.normal(0, 6)
    steep = float(rng.uniform(0.85, 1.2))

    def dome(top: float, center_x: float, lateral_sign: float) -> FloatArray:
        dx = (x - np.float32(center_x)) * np.float32(lateral_sign)
        # Steep towards the ribs, gentle towards the heart; steep behind, gentle in front.
        qx = dx * np.where(dx > 0, np.float32(1 / 82.0), np.float32(1 / 115.0))
        dy = y + np.float32(25.0)
        qy = dy * np.where(dy > 0, np.float32(1 / 98.0), np.float32(1 / 125.0))
        q = qx * qx + qy * qy
        surface: FloatArray = np.float32(top) - np.float32(55.0 * steep) * q * (1 + q / 2)
        return surface

    height: FloatArray = np.maximum(dome(right, -62.0, -1.0), dome(left, 60.0, 1.0))
    return height


def paint_body(canvas: Canvas, build: Build) -> None:
    """Skin, fat, muscle and the fat-filled cavity; sets the canvas's depth fields."""
    patient = canvas.patient
    rng = patient.stream(Region.MUSCLES)
    whole = canvas.whole()
    # The contours are smooth: every second row and column is enough to know them.
    view = thin(whole)
    dy = view.y - np.float32(CENTER_Y_MM)
    radius = np.sqrt(view.x * view.x + dy * dy)
    turn = np.arctan2(dy, view.x)
    bins = ((turn + np.float32(np.pi)) * np.float32(_ANGLES / (2 * np.pi))).astype(np.int32)
    np.clip(bins, 0, _ANGLES - 1, out=bins)
    bins += (np.arange(canvas.shape[0], dtype=np.int32) * _ANGLES)[:, None, None]
    angles = ((np.arange(_ANGLES) + 0.5) * (2 * np.pi / _ANGLES) - np.pi).astype(np.float32)

    def depth(contour: Contour) -> FloatArray:
        table = contour.radius(canvas.z[:, :, 0], angles[None, :])
        return unthin(np.take(table.ravel(), bins, mode="clip") - radius, whole)

    skin, muscle = depth(build.skin), depth(build.muscle)
    canvas.cavity_depth = depth(build.cavity)
    # Only these levels can hold the diaphragm; elsewhere the sign is all that matters.
    near = (canvas.z[:, 0, 0] > -10) & (canvas.z[:, 0, 0] < 165)
    level = np.where(near[:, None, None], np.float32(0), np.float32(100))
    dome = np.broadcast_to(level, view.x.shape).copy()
    if near.any():
        part = slice(int(np.argmax(near)), len(near) - int(np.argmax(near[::-1])))
        dome[part] = dome_height(patient, view.x[part], view.y[part])
    canvas.dome_depth = unthin(dome - canvas.z, whole)
    tissues = canvas.tissues
    tissues[skin > 0] = Tissue.SKIN
    tissues[skin > 2.0] = Tissue.SUBCUTANEOUS_FAT
    wall = muscle > 0
    tissues[wall] = Tissue.MUSCLE
    cavity = canvas.cavity_depth
    _paint_fascia(canvas, whole, muscle, cavity, float(rng.uniform(0.6, 2.2)))
    tissues[cavity > 0] = Tissue.VISCERAL_FAT


def _paint_fascia(
    canvas: Canvas, view: View, muscle: FloatArray, cavity: FloatArray, line_mm: float
) -> None:
    """Fat planes: between the three lateral muscles, beside the rectus, and on the midline."""
    # The wall is a small share of the voxels: gather them once.
    wall = np.flatnonzero((muscle > 0) & (cavity < 0))
    levels = np.broadcast_to(view.z, view.x.shape)
    x, y, z = (
        view.x.ravel()[wall],
        view.y.ravel()[wall],
        levels[np.unravel_index(wall, view.x.shape)],
    )
    outer = muscle.ravel()[wall]
    thickness = outer - cavity.ravel()[wall]
    flat = canvas.tissues.reshape(-1)
    side = (np.abs(x) > 62) & (y < 42) & (z < 45) & (z > -190)
    for share in (0.36, 0.7):
        plane = np.abs(outer - thickness * np.float32(share)) < np.float32(0.5 * line_mm)
        flat[wall[side & plane]] = Tissue.MUSCLE_FAT
    front = (y < CENTER_Y_MM) & (z < 85)
    half_gap = 2.5 + 3.0 * canvas.patient.visceral_fat
    flat[wall[front & (np.abs(x) < half_gap) & (z > -230)]] = Tissue.FASCIA
    beside = np.abs(np.abs(x) - 60.0) < 2.2
    flat[wall[front & beside & (z > -200)]] = Tissue.MUSCLE_FAT
