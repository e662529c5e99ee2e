"""Aorta and vena cava with their forks, portal system, mesenteric and renal vessels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from organseg.data.phantom.canvas import Canvas, Frame, Point
from organseg.data.phantom.fields import FloatArray
from organseg.data.phantom.patient import Region
from organseg.data.phantom.shapes import Tube, smooth_path, trace, trace_hollow
from organseg.data.phantom.solid_organs import kidney_center
from organseg.data.phantom.tissues import FAT_INSIDE, INTERIOR, Tissue, tissue_set

_CHEST = INTERIOR | tissue_set({Tissue.LUNG, Tissue.LUNG_VESSEL, Tissue.DIAPHRAGM})
_BOWEL_TOO = FAT_INSIDE | tissue_set(
    {Tissue.BOWEL_WALL, Tissue.BOWEL_FLUID, Tissue.PANCREAS, Tissue.DUODENUM_WALL}
)
_AORTA = tissue_set({Tissue.AORTA, Tissue.AORTIC_WALL, Tissue.AORTIC_THROMBUS})


def paint_vessels(canvas: Canvas) -> None:
    """All large vessels of abdomen and pelvis, and the descending thoracic aorta."""
    rng = canvas.patient.stream(Region.VESSELS)
    _paint_cava(canvas, rng)
    _paint_portal(canvas, rng)
    _paint_aorta(canvas, rng)
    _paint_branches(canvas, rng)


def _tube(
    canvas: Canvas,
    points: Sequence[Point] | FloatArray,
    radii: Sequence[float],
    squash: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Tube:
    return trace(canvas, smooth_path(points, radii, 12.0), Frame.ORGANS, 3.0, squash)


def _paint_cava(canvas: Canvas, rng: np.random.Generator) -> None:
    dx, dy = float(rng.normal(0, 2)), float(rng.normal(0, 1.5))
    size = float(np.clip(rng.normal(1.0, 0.13), 0.65, 1.35))
    flat = float(np.clip(rng.normal(1.15, 0.2), 0.95, 1.75))
    lift = -9.0 * canvas.patient.breath
    points = [
        (-15 + dx, -4, -122), (-18 + dx, -9 + dy, -70), (-20 + dx, -11 + dy, -15),
        (-22 + dx, -10 + dy, 35), (-25 + dx, -10 + dy, 75), (-26 + dx, -22 + dy, 104 + lift),
        (-27, -34, 122 + lift),
    ]  # fmt: skip
    radii = [10.0, 10.2, 11.0, 11.5, 12.0, 12.5, 13.0]
    for side in (1.0, -1.0):
        iliac = _tube(
            canvas,
            [
                (-15 + dx, -4, -120), (side * 32 - 8, 8, -155), (side * 44, 6, -190),
                (side * 64, -30, -238), (side * 82, -44, -275), (side * 88, -40, -330),
            ],
            [8.5, 7.5, 6.8, 6.5, 6.5, 6.0],
        )  # fmt: skip
        iliac.view.paint(iliac.depth > -1, Tissue.VISCERAL_FAT)
        iliac.view.paint(iliac.depth > 0, Tissue.SYSTEMIC_VEIN)
    tube = _tube(canvas, points, [r * size for r in radii], (0.92, 0.92 * flat, 1.0))
    kept = ~tissue_set(
        {Tissue.RIGHT_HEART_BLOOD, Tissue.LIVER, Tissue.HEPATIC_VEIN, Tissue.MYOCARDIUM}
    )
    tube.view.paint((tube.depth > -1.2) & kept[tube.view.tissues], Tissue.VISCERAL_FAT)
    tube.view.paint(tube.depth > 0, Tissue.INFERIOR_VENA_CAVA, over=_CHEST)


def _paint_portal(canvas: Canvas, rng: np.random.Generator) -> None:
    lift = -8.0 * canvas.patient.breath
    size = float(rng.normal(1.0, 0.1))
    meet = (-9.0 + float(rng.normal(0, 2)), -38.0, 2.0 + 0.6 * lift)
    portal = _tube(
        canvas,
        [meet, (-22, -37, 16 + 0.8 * lift), (-38, -36, 34 + lift), (-50, -33, 38 + lift)],
        [7.5 * size, 7.5 * size, 7.2 * size, 6.0 * size],
    )
    portal.view.paint(portal.depth > -1.5, Tissue.VISCERAL_FAT)
    portal.view.paint(portal.depth > 0, Tissue.PORTAL_VEIN)
    mesenteric = _tube(
        canvas,
        [meet, (-11, -38, -25), (-12, -42, -60), (-14, -50, -95)],
        [6.2 * size, 5.8 * size, 5.0 * size, 3.5],
    )
    mesenteric.view.paint(mesenteric.depth > -1, Tissue.VISCERAL_FAT)
    mesenteric.view.paint(mesenteric.depth > 0, Tissue.PORTAL_VEIN)
    splenic = _tube(
        canvas,
        [
            meet, (8, -40, 10 + lift), (36, -30, 18 + lift), (60, -12, 27 + lift),
            (80, 8, 40 + lift),
        ],
        [5.0 * size, 4.6 * size, 4.2 * size, 4.0 * size, 3.2],
    )  # fmt: skip
    not_stomach = ~tissue_set(
        {Tissue.STOMACH_WALL, Tissue.STOMACH_GAS, Tissue.STOMACH_FLUID, Tissue.STOMACH_FOOD}
    )
    splenic.view.paint((splenic.depth > 0) & not_stomach[splenic.view.tissues], Tissue.PORTAL_VEIN)


def _paint_aorta(canvas: Canvas, rng: np.random.Generator) -> None:
    patient = canvas.patient
    size = float(np.clip(rng.normal(0.93 + 0.2 * patient.age, 0.08), 0.72, 1.35))
    bend = float(rng.normal(0, 2.5 + 5.0 * patient.age))
    aneurysm = rng.random() < 0.07 + 0.06 * (patient.age > 0.7)
    low = -108.0 + float(rng.normal(0, 7))
    points = [
        (26, 4, 248), (27, 10, 215), (24, 11, 160), (19, 6, 105), (11, -4, 58), (6, -12, 18),
        (5 + 0.6 * bend, -15, -30), (5 + bend, -17, -75), (3 + 0.5 * bend, -15, low),
    ]  # fmt: skip
    radii = [12.5, 12.5, 12.2, 11.8, 11.4, 10.6, 9.6, 9.2, 9.0]
    radii = [r * size for r in radii]
    if aneurysm:
        radii[7] *= float(rng.uniform(1.5, 2.5))
        radii[6] *= 1.15
    fork = points[-1]
    for side in (1.0, -1.0):
        iliac = _tube(
            canvas,
            [
                (fork[0], fork[1], fork[2] + 2), (side * 20 + 2, -14, fork[2] - 24),
                (side * 38, -4, -168), (side * 58, -30, -225), (side * 74, -48, -265),
                (side * 84, -50, -330),
            ],
            [6.6 * size, 6.0 * size, 5.4 * size, 5.0 * size, 5.0 * size, 4.8 * size],
        )  # fmt: skip
        iliac.view.paint(iliac.depth > -1, Tissue.VISCERAL_FAT)
        iliac.view.paint(iliac.depth > 0, Tissue.ARTERY)
        inner = _tube(
            canvas,
            [(side * 38, -4, -168), (side * 42, 22, -195), (side * 44, 34, -230)],
            [4.2, 3.8, 3.0],
        )
        inner.view.paint(inner.depth > 0, Tissue.ARTERY)
    tube = trace_hollow(canvas, smooth_path(points, radii, 12.0))
    view = tube.view
    view.paint((tube.depth > -1.3) & (view.z < 70), Tissue.VISCERAL_FAT)
    over = _CHEST | _AORTA
    view.paint(tube.depth > 0, Tissue.AORTIC_WALL, over=over)
    view.paint(tube.depth > 1.1, Tissue.AORTA, over=over)
    lumbar = view.z < -40
    if aneurysm:
        ring = (tube.depth < float(rng.uniform(4, 9))) & (tube.depth > 1.1) & lumbar
        view.paint(ring & (tube.rise > -6.0), Tissue.AORTIC_THROMBUS, over=_AORTA)
    if patient.age > 0.5:
        patchy = np.sin(view.x * 0.5 + view.z * 0.21) * np.sin(view.y * 0.5 - view.z * 0.17)
        plaque = (tube.depth > 0) & (tube.depth < 1.9) & (patchy > 1.25 - 0.75 * patient.age)
        view.paint(plaque, Tissue.AORTIC_CALCIFICATION, over=_AORTA)


def _paint_branches(canvas: Canvas, rng: np.random.Generator) -> None:
    patient = canvas.patient
    lift = -6.0 * patient.breath
    celiac = 24.0 + float(rng.normal(0, 3))
    for points, radii in (
        ([(6, -18, celiac), (5, -32, celiac + 2), (-6, -38, celiac + 4 + lift),
          (-30, -38, 24 + lift)], [4.0, 3.6, 2.8, 2.2]),
        ([(5, -32, celiac + 2), (24, -38, celiac + 2), (46, -26, 28 + lift), (78, 6, 42 + lift)],
         [3.2, 2.8, 2.5, 2.0]),
        ([(6, -20, 8), (5, -33, 0), (3, -40, -22), (1, -43, -60), (-4, -52, -110)],
         [4.4, 4.2, 4.0, 3.6, 2.2]),
        ([(5, -24, -68), (14, -26, -95), (30, -18, -135)], [2.2, 1.9, 1.5]),
    ):  # fmt: skip
        branch = _tube(canvas, points, radii)
        branch.view.paint(branch.depth > -1.3, Tissue.VISCERAL_FAT, over=_BOWEL_TOO)
        branch.view.paint(branch.depth > 0, Tissue.ARTERY, over=_BOWEL_TOO)
    open_tissues = FAT_INSIDE | tissue_set({Tissue.DUODENUM_WALL, Tissue.DIAPHRAGM})
    for organ_id, side in ((2, -1.0), (13, 1.0)):
        if not patient.has(organ_id):
            continue
        center = kidney_center(patient, organ_id)
        hilum = (center[0] - side * 20, center[1] - 8, center[2])
        artery = _tube(
            canvas,
            [(6 + side * 8, -10, -16), (0.5 * hilum[0], 1, 0.6 * hilum[2] - 4), hilum],
            [3.0, 2.8, 2.4],
        )
        artery.view.paint(artery.depth > 0, Tissue.ARTERY, over=open_tissues)
        # The left renal vein crosses in front of the aorta, under the mesenteric artery.
        bridge = (
            [(-14.0, -16.0, -14.0), (5.0, -28.0, -15.0)] if side > 0 else [(-24.0, -8.0, -22.0)]
        )
        vein = _tube(
            canvas,
            [*bridge, (0.6 * hilum[0], -10, 0.7 * hilum[2] - 4), hilum],
            [5.0] * len(bridge) + [4.8, 4.2],
        )
        vein.view.paint(vein.depth > 0, Tissue.RENAL_VEIN, over=open_tissues)
