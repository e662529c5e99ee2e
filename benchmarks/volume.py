"""How fast a volume goes through a server: slices one after another, and several at once.

Four ways, by turns, over the same scan and question:

- a call a slice, each given the path, as one would write it first: every call opens the scan
  and finds the window again;
- a call a slice on a scan that was opened once, with the window;
- `segment_volume` with one slice at a time: the same, and the masks put together;
- `segment_volume` with several at once.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.statistics import NO_COUNTS, Counters, StatisticsReader
from organseg.contract import ENSEMBLE_NAME
from organseg_client import OrganSegClient, Scan, open_scan

__all__ = ["VolumeSpeed", "time_volume"]

DEADLINE_S = 120.0
QUESTION = "Where is the liver?"
_ENCODER = "image_encoder"
_WINDOW_STEP = 1e-2
"""HU: another key for a slice, and not a grey level's difference."""

Window = tuple[float, float]


@dataclass(frozen=True)
class VolumeSpeed:
    """One way to segment the scan, the median of its turns."""

    way: str
    """What was called."""
    slices: int
    """How many slices that were."""
    seconds: float
    """For all of them."""
    slices_per_second: float
    """Slices by seconds."""
    batch: float
    """Slices that the image encoder took at once, on average, by Triton's statistics."""
    server_ms: float
    """From a slice's arrival in the server to its answer, mean: waiting included."""


def time_volume(
    address: str, scan_path: Path, concurrencies: list[int], turns: int, naive_slices: int
) -> list[VolumeSpeed]:
    """Times every way `turns` times, taking turns. `naive_slices` bounds the slow first way.

    Raises `OrganSegError` where the server cannot be reached, or a slice fails.
    """
    with (
        OrganSegClient(address, deadline_s=DEADLINE_S) as client,
        StatisticsReader(address) as reader,
    ):
        client.connect()
        scan = open_scan(scan_path)
        depth = scan.geometry.shape_zhw[0]
        window = scan.default_window()
        ways: dict[str, tuple[int, Callable[[float], None]]] = {
            "`segment(path, …)`, one after another": (
                min(naive_slices, depth),
                partial(_by_path, client, scan_path, min(naive_slices, depth)),
            ),
            "`segment(scan, …)`, one after another": (
                depth,
                lambda shift: _by_scan(client, scan, _shifted(window, shift)),
            ),
        }
        for concurrency in concurrencies:
            ways[f"`segment_volume`, {concurrency} at once"] = (
                depth,
                partial(_whole, client, scan_path, concurrency),
            )
        _by_path(client, scan_path, 2, 0.0)
        measured: dict[str, list[tuple[float, Counters, Counters]]] = {way: [] for way in ways}
        # Each time through a window of its own, however little: the server would know the slices.
        shifts = (_WINDOW_STEP * number for number in itertools.count(1))
        for _ in range(turns):
            for way, (count, run) in ways.items():
                measured[way].append(_measure(reader, count, partial(run, next(shifts))))
        scan.close()
    return [_speed(way, ways[way][0], turns_of) for way, turns_of in measured.items()]


def _measure(
    reader: StatisticsReader, count: int, run: Callable[[], None]
) -> tuple[float, Counters, Counters]:
    before = reader.read_settled({})
    started = time.perf_counter()
    run()
    seconds = time.perf_counter() - started
    wanted = {
        name: before.get(name, NO_COUNTS).requests + count for name in (ENSEMBLE_NAME, _ENCODER)
    }
    after = reader.read_settled(wanted)
    of = [after[name].since(before.get(name, NO_COUNTS)) for name in (ENSEMBLE_NAME, _ENCODER)]
    return seconds, of[0], of[1]


def _speed(way: str, slices: int, turns: list[tuple[float, Counters, Counters]]) -> VolumeSpeed:
    seconds = statistics.median(turn[0] for turn in turns)
    ensemble, encoder = turns[0][1], turns[0][2]
    for _, more, more_encoder in turns[1:]:
        ensemble, encoder = ensemble.plus(more), encoder.plus(more_encoder)
    return VolumeSpeed(
        way=way,
        slices=slices,
        seconds=seconds,
        slices_per_second=slices / seconds,
        batch=encoder.requests / max(1, encoder.executions),
        server_ms=ensemble.in_server_ns / 1e6 / max(1, ensemble.requests),
    )


def _by_path(client: OrganSegClient, path: Path, count: int, shift: float) -> None:
    # As a call with the path does it, with another window.
    for index in range(count):
        scan = open_scan(path)
        window = _shifted(scan.default_window(), shift)
        client.segment(scan, QUESTION, window=window, slice_index=index)
        scan.close()


def _by_scan(client: OrganSegClient, scan: Scan, window: Window) -> None:
    for index in range(scan.geometry.shape_zhw[0]):
        client.segment(scan, QUESTION, window=window, slice_index=index)


def _whole(client: OrganSegClient, path: Path, concurrency: int, shift: float) -> None:
    scan = open_scan(path)
    window = _shifted(scan.default_window(), shift)
    with client.segment_volume(scan, QUESTION, window=window, concurrency=concurrency) as result:
        for failure in result.failures:
            raise failure.error
    scan.close()


def _shifted(window: Window, shift: float) -> Window:
    return window[0], window[1] + shift
