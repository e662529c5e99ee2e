"""What a sweep has tried, as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.tuning.search import Step
from benchmarks.tuning.trial import Outcome


def tune_table(steps: Sequence[Step]) -> str:
    """One row a change: its ratios to what was best before it, and what became of it."""
    header = [
        "| change | answers/s | p50 of one user | threads ready or running, before → after | |",
        "|:--|--:|--:|--:|:--|",
    ]
    return "\n".join([*header, *(_row(step) for step in steps)])


def step_line(step: Step) -> str:
    """The same of one change, for the console."""
    trial = step.trial
    ratios = f"{_times(trial.gain)} answers/s, {_times(trial.alone)} p50 alone"
    reason = f" ({trial.failure})" if trial.failure else ""
    return f"{trial.label}: {ratios}: {step.outcome.value}{reason}"


def _row(step: Step) -> str:
    trial = step.trial
    became = f"**{step.outcome.value}**" if step.outcome is Outcome.KEPT else step.outcome.value
    if trial.failure:
        became += f": {trial.failure}".replace("|", "/").replace("\n", " ")
    return (
        f"| {trial.label} | {_times(trial.gain)} | {_times(trial.alone)} | {_runnable(step)} "
        f"| {became} |"
    )


def _runnable(step: Step) -> str:
    sides = [step.trial.more.get(side, {}).get("windows") for side in ("standing", "challenger")]
    if not all(sides):
        return "–"
    return " → ".join(f"{side[0]['contention']['runnable']:.1f}" for side in sides if side)


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f} ×"
