"""The walk over the knobs: one change after another against what is best, which it may become."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.tuning.moves import Group, Stages, effective, merged
from benchmarks.tuning.trial import Outcome, Rule, Trial
from organseg.contract.deployment_file import StageChoice

Compare = Callable[[Stages, Stages, str], Trial]
"""Measures two sets of choices by turns: those of now, those of a change, and what it is called."""

CONFIRMATION = "all that was kept, against the release"


@dataclass(frozen=True)
class Step:
    """One change that was tried."""

    knob: str
    """The knob that was turned; empty for the confirmation."""
    trial: Trial
    """What it was found to be worth."""
    outcome: Outcome
    """What became of it."""


@dataclass(frozen=True)
class Found:
    """What a sweep has found."""

    choices: Mapping[str, StageChoice]
    """What differs from the release, by stage; empty where nothing gained."""
    steps: Sequence[Step]
    """All that was tried, in order."""


def search(
    released: Stages,
    groups: Sequence[Group],
    compare: Compare,
    rule: Rule,
    *,
    tell: Callable[[Step], object] = lambda step: None,
) -> Found:
    """Walks over the groups once and gives what is best at the end.

    Many small tries find a gain by chance now and then; so what was kept is measured once more as
    a whole against the release, and is given up where no gain is left.

    Args:
        released: how every stage of the release is deployed.
        groups: the knobs, in order.
        compare: measures a change.
        rule: what a change must reach.
        tell: is told of every change that was tried.
    """
    best: dict[str, StageChoice] = {}
    steps: list[Step] = []

    def attempt(knob: str, standing: Stages, challenger: Stages, label: str) -> bool:
        trial = compare(standing, challenger, label)
        steps.append(Step(knob, trial, trial.outcome(rule)))
        tell(steps[-1])
        return steps[-1].outcome is Outcome.KEPT

    for group in groups:
        # Made from how things stand before the group, so that no change is undone at once.
        for move in list(group.moves(effective(best, released))):
            challenger = merged(best, move.changes, released)
            if challenger != best and attempt(group.knob, best, challenger, move.label):
                best = challenger
    if best and not attempt("", {}, best, CONFIRMATION):
        best = {}
    return Found(best, steps)
