"""Whether to believe the rest: another load generator's opinion, and memory over a long time."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from benchmarks.report.blocks import Block, Plot, Table, Text
from benchmarks.report.plots import Line, Panel, line_panels
from benchmarks.report.records import Document, Kind, PresetRecords
from benchmarks.report.wording import counted, mebibytes, milliseconds, number, ratio, share, whole
from benchmarks.second_opinion import TOLERANCE

_YES = {True: "yes", False: "no"}


def second_opinion_blocks(records: PresetRecords) -> Iterator[Block]:
    """Locust beside perf_analyzer; nothing where they were not compared."""
    record = records.latest(Kind.SECOND_OPINION)
    if record is None:
        return
    levels = record.document["levels"]
    verdict = "agree" if record.document["agree"] else "**do not agree**"
    yield Text(
        "The same users, images and questions by locust and by perf_analyzer, in turns. Where they "
        f"must, up to the knee, they {verdict} within {TOLERANCE:.0%}."
    )

    def draw() -> Figure:
        def lines(of: str) -> tuple[Line, ...]:
            return tuple(
                Line(name, tuple((float(one["users"]), one[name][of]) for one in levels))
                for name in ("locust", "perf_analyzer")
            )

        panels = (
            Panel("throughput", "answers per second", lines("per_second")),
            Panel("median latency", "p50, ms", lines("p50_ms")),
        )
        return line_panels(panels, "users")

    yield Plot(
        "Locust and perf_analyzer",
        "Left: answers per second over users. Right: the median latency. One line for each of the "
        "two load generators; the table below holds the same numbers.",
        draw,
    )
    yield Table(
        "Medians of the turns",
        (
            "users",
            "locust, answers/s",
            "perf_analyzer",
            "differ",
            "locust, p50 ms",
            "perf_analyzer",
            "differ",
            "must agree",
            "agree",
        ),
        tuple(
            (
                whole(one["users"]),
                number(one["locust"]["per_second"]),
                number(one["perf_analyzer"]["per_second"]),
                share(one["rate_difference"]),
                milliseconds(one["locust"]["p50_ms"]),
                milliseconds(one["perf_analyzer"]["p50_ms"]),
                share(one["latency_difference"]),
                _YES[one["is_within_knee"]],
                _YES[one["agrees"]],
            )
            for one in levels
        ),
        text_columns=0,
    )


def memory_blocks(records: PresetRecords) -> Iterator[Block]:
    """The server's memory over thousands of requests; nothing where it was not watched."""
    record = records.latest(Kind.MEMORY_SOAK)
    if record is None:
        return
    document = record.document
    samples, full, end = document["samples"], document["full"], document["end"]
    asked = ", ".join(f"{count:,} {kind}" for kind, count in document["asked"].items())
    errors = ", ".join(f"{count:,} {kind}" for kind, count in document["errors"].items())
    yield Text(
        f"{document['requests']:,} mixed requests ({asked}) by {counted(document['users'], 'user')}"
        f"; errors: {errors or 'none'}."
    )
    yield Text(
        "The caches were not full soon enough to see what comes afterwards."
        if full is None
        else f"Memory at the end over memory with the caches full: **{ratio(document['ratio'])}**, "
        f"at most {ratio(document['goal'])} wanted."
    )
    points = tuple((float(sample["requests"]), sample["memory_mib"]) for sample in samples)
    yield Plot(
        "Server memory over requests",
        "One line: the memory of all processes of the server over the requests done; the table "
        "below holds its ends, its peak and what was kept.",
        lambda: line_panels(
            [
                Panel(
                    "",
                    "MiB",
                    (Line("memory", points, full["requests"] if full else None, "caches full"),),
                )
            ],
            "requests done",
        ),
    )
    peak = max(samples, key=lambda sample: float(sample["memory_mib"]))
    rows = (("first look", samples[0]), ("caches full", full), ("peak", peak), ("end", end))
    yield Table(
        "The server's memory",
        ("", "after requests", "memory, MiB", "kept, MiB", "evictions"),
        tuple((name, *_sample_cells(sample)) for name, sample in rows if sample),
    )


def _sample_cells(sample: Document) -> tuple[str, ...]:
    kept = (sample.get("kept") or {}).values()
    return (
        whole(sample["requests"]),
        number(sample["memory_mib"], 1),
        mebibytes(sum(one["bytes"] for one in kept)),
        whole(sum(one["evictions"] for one in kept)),
    )
