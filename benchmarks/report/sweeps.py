"""Windows of load in order: one sweep for each target, mix and loop, one level for each load."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.load.knee import Knee, Level, find_knee
from benchmarks.load.window import Latency, Loop, Mix, Window


@dataclass(frozen=True)
class LoadLevel:
    """All windows of one sweep at one load; every value is their median."""

    windows: tuple[Window, ...]
    """One at least."""

    @property
    def load(self) -> float:
        """Users, or requests due per second of an open loop."""
        window = self.windows[0]
        return float(window.users if window.rate_per_s is None else window.rate_per_s)

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return median(window.per_second for window in self.windows)

    def latency(self, of: Callable[[Latency], float]) -> float | None:
        """One of the latencies, milliseconds; None where nothing was answered."""
        return _median_of(of(w.latency) if w.latency else None for w in self.windows)

    def value(self, of: Callable[[Window], float | None]) -> float | None:
        """Any other value; None where no window has it."""
        return _median_of(map(of, self.windows))

    def stage(self, name: str, of: str) -> float | None:
        """A value of one stage, by the name of its field; None where it is not known."""
        return _median_of(
            float(getattr(stage, of))
            for window in self.windows
            for stage in window.stages or ()
            if stage.name == name
        )

    @property
    def stages(self) -> tuple[str, ...]:
        """The models whose times are known, in their order."""
        return tuple(stage.name for stage in self.windows[0].stages or ())


@dataclass(frozen=True)
class Sweep:
    """Rising load of one kind on one target."""

    target: str
    """Who was asked."""
    mix: Mix
    """Which images and questions were sent."""
    loop: Loop
    """What decided when."""
    levels: tuple[LoadLevel, ...]
    """From the lowest load to the highest."""

    @property
    def knee(self) -> Knee | None:
        """Where more load only makes users wait; None of fewer than two levels."""
        return find_knee(
            [
                Level(level.load, level.per_second, level.latency(p95) or float("inf"))
                for level in self.levels
            ]
        )

    def at(self, load: float) -> LoadLevel | None:
        """The level of that load, or None."""
        return next((level for level in self.levels if level.load == load), None)


def sweeps_of(windows: Iterable[Window]) -> tuple[Sweep, ...]:
    """The sweeps in these windows, in the order in which each begins."""
    found: dict[tuple[str, Mix, Loop], list[Window]] = {}
    for window in windows:
        found.setdefault((window.target, window.mix, window.loop), []).append(window)
    return tuple(Sweep(*key, _levels(members)) for key, members in found.items())


def turn_ratio(
    ours: LoadLevel, theirs: LoadLevel, of: Callable[[Window], float | None]
) -> float | None:
    """The median over the turns of ours divided by theirs; None where no turn has both."""
    by_turn = {window.turn: of(window) for window in theirs.windows}
    ratios = []
    for window in ours.windows:
        value, other = of(window), by_turn.get(window.turn)
        if value is not None and other:
            ratios.append(value / other)
    return median(ratios) if ratios else None


def p95(latency: Latency) -> float:
    """What 95 of 100 answers keep within, milliseconds."""
    return latency.p95_ms


def _levels(windows: Sequence[Window]) -> tuple[LoadLevel, ...]:
    found: dict[float, list[Window]] = {}
    for window in windows:
        found.setdefault(LoadLevel((window,)).load, []).append(window)
    return tuple(LoadLevel(tuple(found[load])) for load in sorted(found))


def _median_of(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
