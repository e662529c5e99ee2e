"""Esophagus, stomach and duodenum, and the pancreas in the duodenal loop."""

from __future__ import annotations

import numpy as np

from organseg.data.phantom.canvas import Canvas, Point
from organseg.data.phantom.patient import Patient, Region
from organseg.data.phantom.shapes import Path, Tube, smooth_path, trace, trace_hollow
from organseg.data.phantom.tissues import INTERIOR, Tissue, tissue_set

_NOT_STOMACH = INTERIOR & ~tissue_set(
    {Tissue.STOMACH_WALL, Tissue.STOMACH_FLUID, Tissue.STOMACH_FOOD, Tissue.STOMACH_GAS}
)
_DUODENUM = tissue_set({Tissue.DUODENUM_WALL, Tissue.DUODENUM_FLUID, Tissue.DUODENUM_GAS})
_LIVER = tissue_set({Tissue.LIVER, Tissue.HEPATIC_VEIN, Tissue.HEPATIC_PORTAL_BRANCH})


def _cardia(patient: Patient) -> Point:
    return (26.0, -14.0, 68.0 - 8.0 * patient.breath)


def pylorus(patient: Patient) -> Point:
    """Where the stomach ends and the duodenum starts."""
    rng = patient.stream(Region.STOMACH)
    shift = rng.normal(0, 1, 3)
    return (
        float(-20 + 5 * shift[0]),
        float(-50 - 8 * patient.visceral_fat + 3 * shift[1]),
        float(4 - 6 * patient.breath + 6 * shift[2]),
    )


def paint_stomach(canvas: Canvas) -> None:
    """The stomach from the fundus under the left dome to the pylorus, with what it holds."""
    patient = canvas.patient
    rng = np.random.default_rng([patient.seed, Region.STOMACH.value, 1])
    end = pylorus(patient)
    fill = float(np.clip(rng.beta(2.2, 2.0), 0.08, 1.0))
    wide = 0.55 + 0.62 * fill
    breath = -8.0 * patient.breath
    out = 10 * patient.visceral_fat
    sag = float(rng.normal(-6, 12))
    points = [
        (48 + out + rng.normal(0, 4), 8 + rng.normal(0, 5), 82 + breath),
        (50 + out + rng.normal(0, 5), -14 + rng.normal(0, 4), 60 + breath),
        (52 + out + rng.normal(0, 6), -44 + rng.normal(0, 5), 34 + breath + 0.3 * sag),
        (36 + rng.normal(0, 6), -62 - out + rng.normal(0, 4), 8 + sag),
        (6, end[1] - 8, end[2] - 4 + 0.5 * sag),
        end,
    ]
    radii = [27 * wide, 34 * wide, 32 * wide, 27 * wide, 17 * (0.75 + 0.3 * wide), 7.5]
    path = smooth_path(points, radii, 10.0)
    tube = trace_hollow(canvas, path, squash=(1.0, 1.0, 0.9))
    view = tube.view
    room = (view.cavity_depth > 2.5) & (view.dome_depth > 3.0)
    wall_mm = np.where(tube.along > 0.72, np.float32(5.0), np.float32(rng.uniform(2.6, 4.6)))
    folds = (
        np.float32(1.6 * (1.2 - fill))
        * np.sin(view.x * 0.55 + view.z * 0.4)
        * np.sin(view.y * 0.5 + 0.3 * view.z)
    )
    depth = np.minimum(tube.depth, np.minimum(view.cavity_depth - 3.0, view.dome_depth - 3.5))
    view.paint((depth > -1.4) & room, Tissue.VISCERAL_FAT)
    view.paint((depth > 0) & room, Tissue.STOMACH_WALL)
    lumen = (depth > wall_mm + folds) & room
    content = Tissue.STOMACH_FOOD if rng.random() < 0.45 else Tissue.STOMACH_FLUID
    view.paint(lumen, content)
    # Lying on the back, gas collects in front, with one level for the whole stomach.
    if rng.random() < 0.88:
        share = float(np.clip(rng.beta(1.6, 2.2), 0.0, 0.9))
        front = float((path.points_mm[:, 1] - path.radii_mm).min())
        back = float((path.points_mm[:, 1] + path.radii_mm).max())
        gas_level = front + share * (back - front)
        view.paint(lumen & (view.y < gas_level), Tissue.STOMACH_GAS)


def paint_esophagus(canvas: Canvas) -> None:
    """The esophagus: left-anterior of the aorta, through the hiatus to the cardia."""
    patient = canvas.patient
    rng = np.random.default_rng([patient.seed, Region.STOMACH.value, 2])
    end = _cardia(patient)
    dx, dy = float(rng.normal(0, 2)), float(rng.normal(0, 2))
    points = [
        (end[0] + 8, end[1] + 2, end[2] - 1),
        (end[0] - 8, end[1] - 6, end[2] + 8),
        (8 + dx, -17 + dy, 88),
        (4 + dx, -12 + dy, 125),
        (-2 + dx, -2 + dy, 170),
        (2, -2, 230),
        (3, 0, 340),
    ]
    size = float(np.clip(rng.normal(1.0, 0.13), 0.7, 1.35))
    radii = [8.0, 8.0, 8.2, 8.0, 7.5, 7.5, 7.0]
    path = smooth_path(points, [r * size for r in radii], 10.0)
    tube = trace_hollow(canvas, path, squash=(0.85, 1.15, 1.0))
    view = tube.view
    view.paint(tube.depth > -2.0, Tissue.MEDIASTINAL_FAT, over=_NOT_STOMACH & ~_LIVER)
    over = INTERIOR | tissue_set({Tissue.LUNG, Tissue.DIAPHRAGM})
    inside = tube.depth > 0
    not_lumen = ~tissue_set({Tissue.STOMACH_FLUID, Tissue.STOMACH_FOOD, Tissue.STOMACH_GAS})
    view.paint(inside & not_lumen[view.tissues], Tissue.ESOPHAGUS_WALL, over=over)
    esophagus = tissue_set({Tissue.ESOPHAGUS_WALL})
    lumen = tube.depth > 4.6 * size
    view.paint(lumen & (tube.along > 0.2), Tissue.ESOPHAGUS_FLUID, over=esophagus)
    if rng.random() < 0.55:
        gas = lumen & (np.sin(view.z * 0.06 + rng.uniform(0, 6)) > 0.1) & (tube.along > 0.15)
        view.paint(gas, Tissue.ESOPHAGUS_GAS, over=esophagus | tissue_set({Tissue.ESOPHAGUS_FLUID}))


def _duodenal_path(patient: Patient, rng: np.random.Generator) -> Path:
    start = pylorus(patient)
    low = float(rng.normal(-62, 7))
    x = float(rng.normal(-46, 4))
    calibre = float(rng.normal(1.0, 0.1))
    points = [
        start,
        (start[0] - 13, start[1] + 2, start[2] + 7),
        (x + 2, -38, start[2] + 2),
        (x, -22, start[2] - 14),
        (x, -18, 0.5 * low - 10),
        (x + 5, -18, low + 4),
        (-26, -22, low - 5),
        (0, -27, low - 2),
        (20, -28, low + 6),
        (28, -32, low + 26),
        (34, -44, low + 32),
    ]
    radii = [8.0, 13.0, 12.5, 12.0, 12.5, 12.5, 11.5, 9.5, 10.5, 11.0, 10.5]
    return smooth_path(points, [r * calibre for r in radii], 8.0)


def paint_duodenum(canvas: Canvas) -> None:
    """The duodenum: bulb, descending part, third part between aorta and SMA, flexure."""
    patient = canvas.patient
    rng = patient.stream(Region.DUODENUM)
    tube = trace_hollow(canvas, _duodenal_path(patient, rng))
    view = tube.view
    soft = _NOT_STOMACH
    collapse = 0.5 + 0.5 * np.sin(tube.along * np.float32(rng.uniform(14, 30)) + rng.uniform(0, 6))
    depth = tube.depth - np.float32(2.4) * collapse
    view.paint((depth > -1.3), Tissue.VISCERAL_FAT, over=soft & ~_LIVER)
    view.paint(depth > 0, Tissue.DUODENUM_WALL, over=soft)
    lumen = depth > 3.2 - 0.6 * np.sin(view.x * 1.1) * np.sin(view.z * 0.9)
    view.paint(lumen, Tissue.DUODENUM_FLUID, over=_DUODENUM)
    if rng.random() < 0.7:
        level = float(rng.uniform(-2, 6))
        gas = lumen & (tube.rise > level) & (tube.along < rng.uniform(0.15, 0.5))
        view.paint(gas, Tissue.DUODENUM_GAS, over=_DUODENUM)


def paint_pancreas(canvas: Canvas) -> None:
    """The pancreas: head and uncinate in the duodenal loop, body over the aorta, tail."""
    patient = canvas.patient
    if not patient.has(4):
        return
    rng = patient.stream(Region.PANCREAS)
    breath = -6.0 * patient.breath
    plump = float(np.clip(rng.normal(1.0, 0.12) - 0.2 * max(patient.age - 0.6, 0), 0.65, 1.3))
    lift = float(rng.normal(0, 6)) + breath
    tail_z = float(rng.normal(36, 8)) + breath
    head_y = -34.0
    points = [
        (-27, head_y + 6, -42 + 0.4 * lift),
        (-29, head_y, -20 + 0.6 * lift),
        (-20, head_y - 10, -3 + lift),
        (-4, head_y - 14, 6 + lift),
        (16, head_y - 17, 12 + lift),
        (40, -40 + rng.normal(0, 3), 19 + lift),
        (62, -22 + rng.normal(0, 4), 0.5 * (tail_z + 22)),
        (80, -2 + rng.normal(0, 5), tail_z),
    ]
    radii = [13.0, 16.5, 14.5, 10.5, 10.5, 11.5, 11.5, 9.5]
    path = smooth_path(points, [r * plump for r in radii], 7.0)
    tube = trace(canvas, path, squash=(1.0, 1.0, 0.8))
    uncinate = smooth_path(
        [(-26, head_y + 8, -30 + 0.5 * lift), (-9, head_y + 14, -34 + 0.5 * lift)],
        [10.5 * plump, 6.5 * plump],
        7.0,
    )
    lobules = float(rng.uniform(0.5, 1.5)) + 1.4 * patient.age * patient.visceral_fat
    _paint_gland(tube, lobules)
    _paint_gland(trace(canvas, uncinate), lobules)
    duct_mm = float(rng.uniform(2.5, 5.0)) if rng.random() < 0.12 else 1.1
    duct = trace(canvas, Path(path.points_mm[2:], np.full(len(path.points_mm) - 2, duct_mm)))
    duct.view.paint(duct.depth > 0, Tissue.PANCREATIC_DUCT, over=tissue_set({Tissue.PANCREAS}))


def _paint_gland(tube: Tube, lobules_mm: float) -> None:
    view = tube.view
    bumps = np.sin(view.x * 0.62 + 0.2 * view.z) * np.sin(view.y * 0.7) * np.sin(view.z * 0.5)
    clefts = np.sin(view.x * 0.31 - view.y * 0.37 + 1.0)
    depth = tube.depth + np.float32(lobules_mm) * (bumps + 0.5 * clefts)
    free = _NOT_STOMACH & ~_DUODENUM & ~_LIVER
    view.paint(tube.depth > -1.5, Tissue.VISCERAL_FAT, over=free)
    view.paint(depth > 0, Tissue.PANCREAS, over=free | _LIVER)
