"""Small bowel loops, the colon in its frame, and the mesentery with its vessels."""

from __future__ import annotations

import numpy as np

from organseg.data.phantom.body import Build
from organseg.data.phantom.canvas import Canvas, Point
from organseg.data.phantom.fields import FloatArray, fine_grain
from organseg.data.phantom.patient import Region
from organseg.data.phantom.shapes import Path, smooth_path, trace, trace_hollow
from organseg.data.phantom.tissues import FAT_INSIDE, GUT, Tissue, tissue_set

_OPEN = FAT_INSIDE | GUT | tissue_set({Tissue.ARTERY, Tissue.PORTAL_VEIN, Tissue.LYMPH_NODE})


def paint_mesentery(canvas: Canvas) -> None:
    """Vessels that fan from the mesenteric root, small nodes, and a little free fluid at times."""
    patient = canvas.patient
    rng = np.random.default_rng([patient.seed, Region.BOWEL.value, 1])
    root = np.array([2.0, -40.0, -25.0])
    for _ in range(16):
        tip = np.array(
            [rng.uniform(-75, 80), rng.uniform(-85, -35), rng.uniform(-175, 0)], dtype=np.float64
        )
        middle = root + 0.5 * (tip - root) + rng.normal(0, 9, 3)
        start = root + np.array([rng.normal(0, 4), 0, rng.uniform(-45, 5)])
        tissue = Tissue.ARTERY if rng.random() < 0.45 else Tissue.PORTAL_VEIN
        wide = 1.9 if tissue is Tissue.ARTERY else 2.6
        tube = trace(canvas, smooth_path(np.stack([start, middle, tip]), [wide, wide, 1.1], 18.0))
        tube.view.paint(tube.depth > 0, tissue, over=FAT_INSIDE)
    for _ in range(int(rng.integers(2, 8))):
        at = root + rng.normal(0, 1, 3) * [28, 9, 35]
        size = float(rng.uniform(2.0, 4.5))
        ends = np.stack([at, at + np.array([4.0, 1.0, 3.0])])
        node = trace(canvas, smooth_path(ends, [size, size], 5.0))
        node.view.paint(node.depth > 0, Tissue.LYMPH_NODE, over=FAT_INSIDE)


def _wander(
    rng: np.random.Generator, start: FloatArray, center: FloatArray, radii: FloatArray, steps: int
) -> FloatArray:
    """A smooth random walk that stays in an ellipsoid."""
    at = start.astype(np.float64)
    heading = rng.normal(0, 1, 3)
    walk = [at]
    for _ in range(steps):
        heading = heading + rng.normal(0, 0.85, 3)
        off = (at - center) / radii
        out = float(np.sqrt(np.dot(off, off)))
        if out > 0.85:
            heading = heading - 9.0 * (out - 0.85) * off / max(out, 1e-6)
        heading = heading / max(float(np.linalg.norm(heading)), 1e-6)
        at = at + 11.0 * heading * [1, 1, 0.85]
        walk.append(at)
    return np.stack(walk).astype(np.float32)


def paint_small_bowel(canvas: Canvas, build: Build) -> None:
    """Loops of jejunum (upper left, feathery) and ileum (lower right) with fluid and some gas."""
    patient = canvas.patient
    rng = patient.stream(Region.BOWEL)
    width, front = build.cavity.point(-70, 0.0)[0], build.cavity.point(-70, -np.pi / 2)[1]
    calibre = float(np.clip(rng.normal(1.0, 0.13), 0.7, 1.5))
    gassy = float(rng.beta(1.0, 4.0))
    loops = int(rng.integers(13, 19))
    wall_mm = float(rng.uniform(1.6, 2.6))
    middle_y = (front - 14.0) / 2 - 3
    depth_y = (-14.0 - front) / 2 - 9
    for k in range(loops):
        low = k >= loops // 2  # ileum
        center = np.array(
            [
                rng.normal(18 if not low else -8, 8),
                middle_y,
                -58.0 if not low else -135.0,
            ]
        )
        radii = np.array([0.74 * width, max(depth_y, 18.0), 50.0 if not low else 62.0])
        if low:
            center[1], radii[1] = center[1] + 10, radii[1] + 9
        if low and rng.random() < 0.4:
            center += [0, 16, -55]
            radii = np.array([56.0, 30.0, 38.0])
        start = (center + rng.normal(0, 0.55, 3) * radii).astype(np.float32)
        walk = _wander(rng, start, center.astype(np.float32), radii.astype(np.float32), 26)
        width_mm = calibre * (12.5 if not low else 10.5) * float(rng.normal(1.0, 0.08))
        wave = 1 + 0.16 * np.sin(np.arange(len(walk)) * 0.9 + rng.uniform(0, 6))
        path = Path(walk, (width_mm * wave).astype(np.float32))
        tube = trace_hollow(canvas, path, margin_mm=2.0)
        view = tube.view
        view.paint((tube.depth > -1.3) & (view.cavity_depth > 2), Tissue.VISCERAL_FAT, over=_OPEN)
        room = view.cavity_depth > 3.0
        view.paint((tube.depth > 0) & room, Tissue.BOWEL_WALL, over=_OPEN)
        folds = 1.3 * np.sin(tube.along * np.float32(26 * 11 / 2.4)) if not low else np.float32(0)
        squeezed = 3.5 * (np.sin(tube.along * np.float32(rng.uniform(9, 20))) > 0.55)
        lumen = (tube.depth > wall_mm + folds + squeezed) & room
        own = tissue_set({Tissue.BOWEL_WALL})
        view.paint(lumen, Tissue.BOWEL_FLUID, over=own)
        if rng.random() < 0.25 + gassy:
            level = float(rng.uniform(0.05, 0.7)) * width_mm
            here = np.sin(tube.along * np.float32(rng.uniform(5, 12)) + rng.uniform(0, 6)) > 0.2
            view.paint(
                lumen & (tube.rise > level) & here,
                Tissue.BOWEL_GAS,
                over=own | tissue_set({Tissue.BOWEL_FLUID}),
            )


def paint_colon(canvas: Canvas, build: Build) -> None:
    """Cecum to rectum: haustra, stool, fluid and gas, each stretch filled in its own way."""
    patient = canvas.patient
    rng = patient.stream(Region.COLON)
    breath = -7.0 * patient.breath
    right, left = (build.cavity.point(-50, angle)[0] for angle in (np.pi, 0.0))
    front = build.cavity.point(-40, -np.pi / 2)[1]
    sag = float(rng.uniform(0, 75))
    forward = front + 22.0
    hepatic = float(rng.normal(-34, 10)) + breath
    splenic = float(rng.normal(26, 14)) + breath

    def jitter(x: float, y: float, z: float) -> Point:
        dx, dy, dz = rng.normal(0, 5, 3)
        return (float(x + dx), float(y + 0.6 * dy), float(z + dz))

    calibre = float(np.clip(rng.normal(1.0, 0.16), 0.6, 1.5))
    stretches = (
        (
            [
                jitter(right * 0.62, -28, -168), jitter(right * 0.72, -8, -140),
                jitter(right * 0.78, 6, -95), jitter(right * 0.76, 0, -60),
                jitter(right * 0.70, -22, hepatic),
            ],
            [25, 27, 24, 23, 22],
        ),
        (
            [
                jitter(right * 0.70, -22, hepatic), jitter(right * 0.52, forward + 8, hepatic - 14),
                jitter(-30, forward, -28 - 0.8 * sag), jitter(18, forward, -30 - sag),
                jitter(62, forward + 4, -14 - 0.5 * sag), jitter(left * 0.72, -20, splenic - 14),
                jitter(left * 0.76, 8, splenic),
            ],
            [20, 20, 21, 21, 19, 18, 18],
        ),
        (
            [
                jitter(left * 0.76, 8, splenic), jitter(left * 0.80, 18, splenic - 45),
                jitter(left * 0.80, 14, -75), jitter(left * 0.76, 4, -125),
                jitter(left * 0.66, -18, -162),
            ],
            [17, 15, 14, 14, 14],
        ),
        (
            [
                (left * 0.66, -18, -162), jitter(50, -22, -205), jitter(10, -30, -190),
                jitter(-26, -16, -206), jitter(-6, 14, -226), (4, 34, -240), (0, 40, -262),
                (0, 32, -292), (0, 36, -325),
            ],
            [14, 13, 14, 15, 15, 16, 19, 18, 9],
        ),
    )  # fmt: skip
    grain = fine_grain(rng, canvas.axes_mm, 5.0)
    for points, radii in stretches:
        path = smooth_path(points, [r * calibre for r in radii], 9.0)
        stretch_mm = 9.0 * (len(path.points_mm) - 1)
        haustra = 0.86 + 0.2 * np.abs(np.sin(np.arange(len(path.points_mm)) * 9.0 * np.pi / 42))
        path = Path(path.points_mm, (path.radii_mm * haustra).astype(np.float32))
        tube = trace_hollow(canvas, path, margin_mm=3.0)
        view = tube.view
        depth = np.minimum(tube.depth, view.cavity_depth - 3.0)
        depth = depth - np.float32(2.2) * np.exp(
            -((np.sin(tube.along * np.float32(stretch_mm * np.pi / 42)) / 0.22) ** 2)
        ) * (view.x * 0.0 + 1.0)
        view.paint((depth > -2.0) & (view.cavity_depth > 2), Tissue.VISCERAL_FAT, over=_OPEN)
        view.paint(depth > 0, Tissue.COLON_WALL, over=_OPEN)
        lumen = depth > float(rng.uniform(1.5, 2.6))
        own = tissue_set({Tissue.COLON_WALL})
        kind = rng.choice(4, p=[0.42, 0.28, 0.14, 0.16])
        if kind == 3:  # collapsed: no more than a streak of content
            lumen = depth > float(rng.uniform(6.0, 9.0))
        base = Tissue.COLON_FLUID if kind == 2 else Tissue.COLON_STOOL
        view.paint(lumen, base, over=own)
        contents = own | tissue_set({base})
        bubbles = grain[view.box] > (0.9 if kind == 0 else 1.4)
        if base is Tissue.COLON_STOOL:
            view.paint(lumen & bubbles, Tissue.COLON_GAS, over=contents)
        level = {0: rng.uniform(6, 18), 1: rng.uniform(-14, 6), 2: rng.uniform(-4, 10), 3: 14.0}
        view.paint(lumen & (tube.rise > float(level[int(kind)])), Tissue.COLON_GAS, over=contents)
