"""The changes that a sweep tries, in groups of one knob each, made for what was best before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from organseg.contract import FEATURES_NAME, SESSIONS_NAME
from organseg.contract.deployment_file import StageChoice

Stages = Mapping[str, StageChoice]
"""How every stage is deployed, by name; or the choices that differ from a release."""

DELAYS_MICROSECONDS = (0, 500, 2_000)
THREADS = (1, 2, 4, 8, 16)
INSTANCES = (1, 2)
REPLICATED = ("image_encoder", "llava_med")
"""The stages that most of the work is in: another copy of one may be worth its memory."""
BRANCHES = (("image_encoder", FEATURES_NAME), ("llava_med", "extractors", "gate"))
"""The stages of a request's two branches, which work side by side."""


@dataclass(frozen=True)
class Move:
    """One change of a deployment."""

    label: str
    """What it does, in a few words."""
    changes: Stages
    """What it chooses, by stage."""


@dataclass(frozen=True)
class Group:
    """One knob: its changes, given how all stages are deployed now."""

    knob: str
    """The knob's name in deployment files."""
    moves: Callable[[Stages], Iterator[Move]]
    """The changes that would make a difference."""


def groups(
    heavy: Sequence[str], cores: Sequence[int], single: frozenset[str] = frozenset()
) -> tuple[Group, ...]:
    """All groups, in the order that they are tried.

    Args:
        heavy: the stages with an engine of their own: threads, company and delays matter to them.
        cores: the cores of the machine, as the system numbers them.
        single: the stages that must stay one instance.
    """

    def threads(stages: Stages) -> Iterator[Move]:
        for name in heavy:
            for count in THREADS:
                room = len(stages[name].cores or cores)
                if stages[name].threads not in (None, count) and count <= room:
                    yield Move(f"{name}: threads {count}", {name: StageChoice(threads=count)})

    def instances(stages: Stages) -> Iterator[Move]:
        for name in REPLICATED:
            for count in INSTANCES:
                if name in stages and name not in single and stages[name].instances != count:
                    yield Move(f"{name}: instances {count}", {name: StageChoice(instances=count)})

    def joining(stages: Stages) -> Iterator[Move]:
        for name in heavy:
            joins = not stages[name].joins_requests
            word = "on" if joins else "off"
            yield Move(f"{name}: joining {word}", {name: StageChoice(joins_requests=joins)})

    def delays(stages: Stages) -> Iterator[Move]:
        waiting = [name for name in heavy if stages[name].joins_requests]
        for delay in DELAYS_MICROSECONDS:
            chosen = StageChoice(queue_delay_microseconds=delay)
            if any(stages[name].queue_delay_microseconds != delay for name in waiting):
                yield Move(f"queue delay {delay} µs", dict.fromkeys(waiting, chosen))

    def pinning(stages: Stages) -> Iterator[Move]:
        half = len(cores) // 2
        if not half:
            return
        pinned: dict[str, StageChoice] = {}
        for branch, share in zip(BRANCHES, (cores[half:], cores[:half]), strict=True):
            for name in branch:
                if name in stages:
                    threads = min(stages[name].threads or 1, len(share))
                    pinned[name] = StageChoice(threads=threads, cores=tuple(share))
        if any(stages[name].cores for name in pinned):
            yield Move("branches free", dict.fromkeys(pinned, StageChoice(cores=())))
        else:
            yield Move("branches pinned, each to its cores", pinned)

    return (
        Group("threads", threads),
        Group("instances", instances),
        Group("joins_requests", joining),
        Group("queue_delay_microseconds", delays),
        Group("cores", pinning),
    )


def heavy_stages(stages: Stages, graphs: Sequence[str]) -> tuple[str, ...]:
    """The stages with an engine of their own: the graphs and the language model."""
    return tuple(name for name in stages if name in graphs or name == "llava_med")


def single_stages(one_process: Sequence[str]) -> frozenset[str]:
    """The stages that must stay one instance, those that know sessions among them."""
    return frozenset({*one_process, FEATURES_NAME, SESSIONS_NAME})


def merged(stages: Stages, changes: Stages, released: Stages) -> dict[str, StageChoice]:
    """The choices of both, the later winning; what the release has anyway is left out."""
    together = {
        name: changes[name].over(stages[name])
        if name in changes and name in stages
        else changes.get(name, stages.get(name, StageChoice()))
        for name in {**stages, **changes}
    }
    return {
        name: StageChoice(**differing)
        for name, choice in together.items()
        if (
            differing := {
                knob: value
                for knob, value in choice.chosen.items()
                if value != getattr(released[name], knob)
            }
        )
    }


def effective(choices: Stages, released: Stages) -> dict[str, StageChoice]:
    """How every stage is deployed once the choices are made."""
    return {
        name: choices[name].over(choice) if name in choices else choice
        for name, choice in released.items()
    }
