"""What lies around the patient: the scanner's table, and at times the arms at the sides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from organseg.data.phantom.body import CENTER_Y_MM, Build
from organseg.data.phantom.canvas import Canvas, Frame
from organseg.data.phantom.fields import FloatArray
from organseg.data.phantom.patient import Patient, Region
from organseg.data.phantom.shapes import smooth_path, trace
from organseg.data.phantom.skeleton import paint_bone
from organseg.data.phantom.tissues import Tissue, tissue_set

_AIR = tissue_set({Tissue.AIR})


ARM_REACH_MM = 82.0
"""How far arms at the sides extend beyond the trunk."""


def paint_arms(canvas: Canvas, build: Build) -> None:
    """Arms at the sides, in the patients who have them there."""
    if not canvas.patient.arms_at_sides:
        return
    rng = canvas.patient.stream(Region.SURROUNDINGS)
    fat = float(rng.uniform(3, 9))
    for side in (1.0, -1.0):
        levels = (-230.0, -100.0, 0.0, 120.0, 260.0)
        points = [
            (side * (build.skin.point(z, 0.0)[0] + 34.0), CENTER_Y_MM + 22.0, z) for z in levels
        ]
        radii = [19.0, 28.0, 33.0, 36.0, 40.0]
        tube = trace(canvas, smooth_path(points, radii, 22.0), Frame.BODY)
        tube.view.paint(tube.depth > 0, Tissue.SUBCUTANEOUS_FAT, over=_AIR)
        arm = tissue_set({Tissue.SUBCUTANEOUS_FAT})
        tube.view.paint(tube.depth > fat, Tissue.MUSCLE, over=arm)
        bone = trace(canvas, smooth_path(points, [7.0, 8.0, 9.0, 10.5, 12.0], 22.0), Frame.BODY)
        paint_bone(bone.view, bone.depth, 3.0)


def paint_table(
    tissues: NDArray[np.uint8], scan_y: FloatArray, scan_x: FloatArray, patient: Patient
) -> None:
    """The scanner's table under the back, in most scans; `tissues` is the whole volume."""
    rng = np.random.default_rng([patient.seed, Region.SURROUNDINGS.value, 1])
    rows = np.flatnonzero((tissues != Tissue.AIR).any(axis=(0, 2)))
    if rng.random() > 0.9 or rows.size == 0:
        return
    # The patient lies on it: the lowest row of skin in the whole stack touches the mat.
    top = float(scan_y[rows[-1]]) - float(rng.uniform(0, 5))
    curve = float(rng.uniform(0.0, 0.0012))
    half_width = float(rng.uniform(190, 260))
    mat_mm, board_mm = float(rng.uniform(6, 22)), float(rng.uniform(20, 45))
    below = scan_y[:, None] - top + np.float32(curve) * scan_x[None, :] ** 2
    on_table = (np.abs(scan_x)[None, :] < half_width) & (below > 0)
    foam = on_table & (below < mat_mm + board_mm)
    inner = (below > mat_mm + 3.5) & (below < mat_mm + board_mm - 3.5)
    shell = foam & (below > mat_mm) & ~inner
    plane = np.where(shell, np.uint8(Tissue.TABLE), np.uint8(Tissue.TABLE_FOAM))
    first = int(np.argmax(foam.any(axis=1)))
    part = tissues[:, first:]
    free = foam[None, first:] & (part == Tissue.AIR)
    part[free] = np.broadcast_to(plane[first:], part.shape)[free]
