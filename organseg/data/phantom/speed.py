"""How many slices per second generation and CT rendering give on this machine."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from organseg.data.phantom.render_ct import render_ct
from organseg.data.phantom.volume import generate


@dataclass(frozen=True)
class SpeedRecord:
    """One measurement."""

    processes: int
    """Worker processes."""
    volumes: int
    """Volumes generated and rendered."""
    slices: int
    """Slices in all."""
    seconds: float
    """Wall time, without the start of the workers."""
    cpu_seconds: float
    """CPU time of all workers: what counts on a machine that others use too."""

    @property
    def slices_per_second(self) -> float:
        """Slices generated and rendered per second, all processes together."""
        return self.slices / self.seconds


def _make(job: tuple[int, int, int]) -> tuple[int, float]:
    """Slices made and CPU seconds spent on one volume."""
    seed, slices, size = job
    start = time.process_time()
    phantom = generate(seed, slices=slices, size_hw=(size, size))
    made = len(render_ct(phantom, 0))
    return made, time.process_time() - start


def measure_speed(
    processes: int = 2, volumes: int = 16, slices: int = 46, size: int = 256
) -> SpeedRecord:
    """Generate and render `volumes` random phantoms; the workers are warmed up first."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        list(pool.map(_make, [(seed, 4, 64) for seed in range(4 * processes)]))
        start = time.perf_counter()
        made = list(pool.map(_make, [(seed, slices, size) for seed in range(volumes)]))
        seconds = time.perf_counter() - start
    return SpeedRecord(
        processes, volumes, sum(n for n, _ in made), seconds, sum(cpu for _, cpu in made)
    )
