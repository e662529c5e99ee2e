"""Liver with its lobes, fissure and vessels; gallbladder and bile duct."""

from __future__ import annotations

import numpy as np

from organseg.data.phantom.canvas import Canvas, View, thin, unthin
from organseg.data.phantom.fields import FloatArray
from organseg.data.phantom.patient import Patient, Region
from organseg.data.phantom.shapes import smooth_min, smooth_path, smooth_step, trace, trace_hollow
from organseg.data.phantom.tissues import Tissue, tissue_set

_LIVER_ONLY = tissue_set({Tissue.LIVER})
_LIVER_AND_TREE = tissue_set({Tissue.LIVER, Tissue.HEPATIC_VEIN, Tissue.HEPATIC_PORTAL_BRANCH})


def paint_liver(canvas: Canvas) -> None:
    """The liver: what fills the space under the right dome down to its visceral surface."""
    patient = canvas.patient
    rng = patient.stream(Region.LIVER)
    view = canvas.view((-165, -150, -110), (125, 85, 150))
    if view.x.size == 0:
        return
    depth = unthin(_liver_depth(patient, rng, thin(view)), view)
    view.paint((depth > -1.6) & (view.cavity_depth > 2), Tissue.VISCERAL_FAT)
    view.paint(depth > 0, Tissue.LIVER)
    _paint_tree(canvas, rng, _drop(patient))


def _drop(patient: Patient) -> float:
    """How many mm higher than usual the liver hangs."""
    own = np.random.default_rng([patient.seed, Region.LIVER.value, 1])
    return float(own.normal(0, 7)) - 9.0 * patient.breath


def _liver_depth(patient: Patient, rng: np.random.Generator, view: View) -> FloatArray:
    """Depth in mm inside the liver's surface."""
    x, y, z = view.x, view.y, view.z
    drop = _drop(patient)
    tip = float(rng.uniform(28, 92))  # how far the left lobe reaches
    riedel = float(rng.uniform(20, 60)) if rng.random() < 0.1 else 0.0
    room = smooth_min(view.cavity_depth - np.float32(2.2), (view.dome_depth - 2.5) * 0.8, 6.0)

    # The visceral surface rises from the lower right edge to the left lobe and to the back.
    lateral = smooth_step(-x, 40, 120)
    floor = (
        np.float32(-12.0 + drop)
        - np.float32(38.0 + rng.normal(0, 9) + riedel) * lateral
        + np.float32(0.30 + rng.normal(0, 0.05)) * (x + 40) * (x > -40)
        + np.float32(0.24 + rng.normal(0, 0.07)) * np.clip(y + 55, -30, 60)
    )
    under = (z - floor) * np.float32(0.85)

    # Medial and posterior limits: in front of the spine and the cava, thinning to the left.
    left = smooth_step(x, -18, 30)
    caudate_y = np.float32(rng.normal(-6, 4)) + 0.10 * np.clip(z - 40, -30, 60)
    lobe_y = np.float32(-34 + rng.normal(0, 5)) - np.float32(0.36) * np.clip(x - 10, 0, 200)
    lobe_y = lobe_y + np.float32(0.38) * np.clip(z - 55, -40, 60)
    right_y = np.float32(70) + np.clip(-x - 25, 0, 80)
    steep = smooth_step(-x, 24, 46)
    back = caudate_y * (1 - left) * (1 - steep) + lobe_y * left + right_y * steep * (1 - left)
    behind = (back - y) * np.float32(0.8)
    side = np.float32(tip) - x - np.float32(0.35) * np.clip(60 - z, 0, 80)
    side = (side - np.float32(0.0085) * np.clip(y + 75, 0, 110) ** 2) * np.float32(0.8)
    # Low down only the right lobe is left: its medial wall retreats towards the flank.
    medial = -x - np.float32(36) + 0.75 * (z - np.float32(drop)) - 0.3 * np.clip(y + 50, -20, 60)
    medial = medial * np.float32(0.75)
    medial = np.maximum(medial, (z - np.float32(28 + drop)) * np.float32(0.9))

    depth = smooth_min(room, smooth_min(under, behind, 10.0), 8.0)
    depth = smooth_min(depth, smooth_min(side, medial, 14.0), 9.0)
    if rng.random() < 0.2:  # cirrhosis: a knobbly surface
        wave = np.sin(x * 0.42) * np.sin(y * 0.39 + 1.0) * np.sin(z * 0.37 + 2.0)
        depth = depth + np.float32(rng.uniform(1.0, 3.0)) * wave
    cleft_x = np.float32(rng.normal(2, 7)) + 0.25 * (y + 60) + 3.0 * np.sin(0.09 * y + 0.05 * z)
    # The fissure of the round ligament: open below and in front, closed above and behind.
    open_mm = np.float32(rng.uniform(0.8, 5.5)) * smooth_step(-z, -58, 0) - 0.09 * (y + 70)
    cleft = np.where(
        (y < -30) & (z < 56), (np.abs(x - cleft_x) - open_mm) * np.float32(0.8), np.float32(99)
    )
    return np.minimum(depth, cleft).astype(np.float32)


def _paint_tree(canvas: Canvas, rng: np.random.Generator, drop: float) -> None:
    def jitter(scale: float) -> FloatArray:
        return rng.normal(0, scale, 3).astype(np.float32)

    cava = np.array([-24.0, -14.0, 92.0 + 0.5 * drop], dtype=np.float32)
    for tip in ((-98, 15, 40), (-72, -62, 42), (20, -62, 60)):
        end = np.array(tip, dtype=np.float32) + jitter(9)
        middle = cava + 0.5 * (end - cava) + np.array([0, 0, 9], np.float32) + jitter(4)
        path = smooth_path(np.stack([cava, middle, end]), [6.2, 4.6, 2.0], 13.0)
        tube = trace(canvas, path)
        tube.view.paint(tube.depth > 0, Tissue.HEPATIC_VEIN, over=_LIVER_ONLY)
        for share in (0.45, 0.7):
            start = path.points_mm[int(share * (len(path.points_mm) - 1))]
            goal = start + np.array([rng.normal(-8, 16), rng.normal(0, 22), rng.normal(-14, 10)])
            twig = trace(canvas, smooth_path(np.stack([start, goal]), [3.2, 1.4], 13.0))
            twig.view.paint(twig.depth > 0, Tissue.HEPATIC_VEIN, over=_LIVER_ONLY)
    porta = np.array([-38.0, -36.0, 34.0 + drop], dtype=np.float32)
    for tips in (
        ((-62, -22, 40), (-96, 8, 24), (-112, 20, 0)),
        ((-66, -30, 42), (-92, -38, 60), (-104, -42, 78)),
        ((-58, -44, 38), (-82, -62, 20), (-95, -68, 2)),
        ((-22, -48, 48), (2, -56, 58), (34, -60, 66)),
    ):
        down = np.array([0.0, 0.0, drop], np.float32)
        branch = [np.array(t, np.float32) + down + jitter(6) for t in tips]
        path = smooth_path(np.stack([porta, *branch]), [7.0, 5.2, 3.6, 1.6], 13.0)
        tube = trace(canvas, path)
        tube.view.paint(tube.depth > 0, Tissue.HEPATIC_PORTAL_BRANCH, over=_LIVER_ONLY)


def paint_gallbladder(canvas: Canvas) -> None:
    """The gallbladder in its bed under the liver, and the common bile duct."""
    patient = canvas.patient
    rng = patient.stream(Region.BILIARY)
    drop = -9.0 * patient.breath
    x, y = float(rng.normal(8, 6)), float(rng.normal(-2, 6))
    size = float(np.clip(rng.normal(1.0, 0.24), 0.4, 1.7))
    thick = float(rng.uniform(1.0, 1.9)) if rng.random() < 0.88 else float(rng.uniform(2.5, 5))
    duct = smooth_path(
        [(-38, -36, 30 + drop), (-34, -32, 12 + drop), (-31, -24, -20), (-34, -20, -38)],
        [3.0, 3.2, 3.4, 2.6] if rng.random() < 0.8 else [5.5, 7.0, 7.5, 4.0],
        10.0,
    )
    tube = trace(canvas, duct)
    tube.view.paint(tube.depth > 0, Tissue.BILE_DUCT)
    if not patient.has(9):
        return
    sag = float(rng.normal(0, 8))
    path = smooth_path(
        [
            (-41 + x, -38 + y, 26 + drop),
            (-48 + x, -48 + y, 12 + drop),
            (-57 + x, -60 + y, -6 + drop + sag),
            (-63 + x, -68 + y, -24 + drop + sag),
        ],
        [3.0, 10.5 * size, 16.0 * size, 14.0 * size],
        8.0,
    )
    tube = trace_hollow(canvas, path, margin_mm=4.0)
    view = tube.view
    view.paint((tube.depth > -1.2) & ~_LIVER_AND_TREE[view.tissues], Tissue.VISCERAL_FAT)
    view.paint(tube.depth > 0, Tissue.GALLBLADDER_WALL)
    lumen = tube.depth > thick
    view.paint(lumen, Tissue.GALLBLADDER_BILE)
    if rng.random() < 0.22:
        # Stones sink: they lie at the back of the lumen.
        level = -float(rng.uniform(0.35, 0.8)) * 12.0 * size
        grain = np.sin(view.x * 0.9) * np.sin(view.z * 0.5 + 1.0) > -0.2
        view.paint(lumen & (tube.rise < level) & grain, Tissue.GALLSTONE)
