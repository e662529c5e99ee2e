"""Windows of load as a Markdown table."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.load.window import Latency, Window

_HEADER = (
    "| mix | loop | users | due/s | answers/s | p50, ms | p95, ms | p99, ms | rejected | errors "
    "| server CPU, s/answer | largest mean batch | kept: hits | memory, MiB |",
    "|---|---|--:|--:|--:|--:|--:|--:|--:|---|--:|--:|--:|--:|",
)
_NONE = "–"


def windows_table(windows: Iterable[Window]) -> str:
    """One row per window; in the mix `sessions` the latencies of first and follow-up below."""
    lines = list(_HEADER)
    for window in windows:
        lines.append(_row(window))
        for what, latency in (
            ("… first question", window.first_latency),
            ("… follow-up", window.follow_up_latency),
        ):
            if latency is not None:
                lines.append(f"| {what} | | | | | {_latency(latency)} | | | | | | |")
    return "\n".join(lines)


def describe_window(window: Window) -> str:
    """One line: how many answers a second, how fast, and what went wrong."""
    latency = window.latency
    text = f"{window.per_second:.2f} answers/s"
    if latency is not None:
        text += f", p50 {latency.p50_ms:.0f} ms, p95 {latency.p95_ms:.0f} ms"
    if window.rejected:
        text += f", {window.rejected} rejected"
    return f"{text}, {window.failed} errors" if window.failed else text


def _row(window: Window) -> str:
    errors = ", ".join(f"{name} {count}" for name, count in window.errors.items()) or "0"
    cells = (
        window.mix.value,
        window.loop.value,
        str(window.users),
        _number(window.rate_per_s, 2),
        f"{window.per_second:.2f}",
        _latency(window.latency),
        str(window.rejected),
        errors,
        _number(window.server_cpu_s_per_answer, 3),
        _number(max((stage.mean_batch for stage in window.stages or ()), default=None), 2),
        _hits(window),
        _number(window.server_memory_mib, 0),
    )
    return "| " + " | ".join(cells) + " |"


def _latency(latency: Latency | None) -> str:
    if latency is None:
        return " | ".join([_NONE] * 3)
    return " | ".join(f"{ms:.1f}" for ms in (latency.p50_ms, latency.p95_ms, latency.p99_ms))


def _number(value: float | None, digits: int) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"


def _hits(window: Window) -> str:
    rates = {name: kept.hit_rate for name, kept in (window.cache or {}).items()}
    said = [f"{name} {100 * rate:.0f} %" for name, rate in rates.items() if rate is not None]
    return ", ".join(said) or _NONE
