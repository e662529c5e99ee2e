"""Times several ways to do the same work, turn by turn, so that a machine's moods hit all alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.gpu.device import Device
from benchmarks.stages import Latencies, summarise_latencies
from organseg.errors import OrganSegError

Work = Callable[[], object]


@dataclass(frozen=True)
class Rounds:
    """How often each piece of work is done."""

    warm_up: int
    """Calls in front that are not counted."""
    timed: int
    """Calls that are."""


@dataclass(frozen=True)
class Timing:
    """What one contender took."""

    latencies: Latencies
    """Milliseconds from an idle device to an idle device."""
    calls: int
    """How many calls they are of."""
    peak_memory_bytes: int | None
    """The most that torch had in use during one call, weights of all that is loaded included."""
    used_memory_bytes: int | None
    """What the driver said was in use after it, all libraries included."""


@dataclass(frozen=True)
class Skipped:
    """Something that was to be measured and was not."""

    what: str
    """The stage, engine and batch."""
    reason: str
    """Why, in one line."""


def time_in_turn(
    device: Device, contenders: Mapping[str, Work], rounds: Rounds
) -> tuple[dict[str, Timing], list[Skipped]]:
    """Warms every contender up, then times them in turn, round by round.

    One that fails while it warms up is left out, with the reason: engines compile then. All are
    called with autograd off.
    """
    import torch

    memory: dict[str, tuple[int | None, int | None]] = {}
    skipped: list[Skipped] = []
    with torch.no_grad():
        for name, work in contenders.items():
            try:
                for _ in range(rounds.warm_up):
                    work()
                device.synchronise()
                device.reset_peak_memory()
                work()
                device.synchronise()
            except Exception as error:  # every engine has errors of its own
                skipped.append(Skipped(name, reason_of(error)))
                continue
            memory[name] = (device.peak_memory_bytes(), device.used_memory_bytes())
        milliseconds: dict[str, list[float]] = {name: [] for name in memory}
        for _ in range(rounds.timed):
            for name, taken in milliseconds.items():
                taken.append(device.time_ms(contenders[name]))
    timings = {
        name: Timing(summarise_latencies(taken), len(taken), *memory[name])
        for name, taken in milliseconds.items()
    }
    return timings, skipped


def reason_of(error: BaseException) -> str:
    """An error as one line of a report: our own words, or a foreign error's class and first line.

    Records are published, so nothing in it that looks like a path is kept.
    """
    words = " ".join(str(error).split("\n")[0].split()[:40])
    kept = " ".join("…" if "/" in word and len(word) > 3 else word for word in words.split())
    return kept if isinstance(error, OrganSegError) else f"{type(error).__name__}: {kept}"
