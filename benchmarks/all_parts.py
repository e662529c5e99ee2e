"""What `python -m benchmarks all` runs, in its order: one command for each part, and its length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Part:
    """One measurement, a command of its own in a process of its own."""

    name: str
    """Its record is NAME.json, its log NAME.log."""
    what: str
    """A few words for those who wait."""
    command: str
    """The subcommand."""
    seconds: Mapping[str, float]
    """About how long it takes on two cores, by preset."""
    quick_seconds: float
    """The same for `tiny` in the quick form."""
    arguments: tuple[str, ...] = ()
    """Its arguments, quick or not; the server, images and questions, and `--json` are added."""
    full: tuple[str, ...] = ()
    """Further ones of the full form."""
    quick: tuple[str, ...] = ()
    """Further ones of the quick form."""
    more: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further ones of one preset, by its name, in the full form."""
    is_local: bool = False
    """Whether it serves the release itself, so that it cannot ask a server named by address."""


PARTS: tuple[Part, ...] = (
    Part(
        "stages",
        "every stage of one request, in process and through Triton",
        "stages",
        {"tiny": 45, "medsam": 240},
        25,
        full=("--requests", "60"),
        quick=("--requests", "5"),
        more={"medsam": ("--requests", "15")},
    ),
    Part(
        "follow-up",
        "further questions about the same image",
        "follow-up",
        {"tiny": 40, "medsam": 240},
        30,
        quick=("--count", "3"),
        more={"medsam": ("--count", "8")},
    ),
    Part(
        "load",
        "rising users, then a rising rate, distinct images",
        "load",
        {"tiny": 160, "medsam": 1500},
        45,
        arguments=("--mixes", "distinct"),
        full=("--seconds", "6"),
        quick=("--seconds", "2", "--users", "1", "8"),
        more={"medsam": ("--seconds", "60")},
    ),
    Part(
        "load-mixes",
        "repeated images and sessions",
        "load",
        {"tiny": 100, "medsam": 700},
        45,
        arguments=("--mixes", "repeated", "sessions", "--loops", "closed"),
        full=("--seconds", "6", "--users", "1", "8", "32"),
        quick=("--seconds", "2", "--users", "1", "8"),
        more={"medsam": ("--seconds", "60")},
    ),
    Part(
        "second-opinion",
        "the same load by perf_analyzer",
        "second-opinion",
        {"tiny": 150, "medsam": 900},
        60,
        full=("--users", "1", "2", "4", "--turns", "2", "--window-requests", "20"),
        quick=("--users", "1", "--turns", "1", "--window-requests", "5"),
        more={"medsam": ("--window-requests", "5")},
    ),
    Part(
        "peers",
        "what people would use instead, in turns",
        "peers",
        {"tiny": 600, "medsam": 5400},
        180,
        full=("--turns", "5"),
        quick=("--turns", "1", "--seconds", "2"),
        # Tuning alone would take hours at full size.
        more={"tiny": ("--tune", "--seconds", "3"), "medsam": ("--requests", "16")},
        is_local=True,
    ),
)
"""`memory-soak` is none of them: it takes as long as all of them, and has a command of its own."""
