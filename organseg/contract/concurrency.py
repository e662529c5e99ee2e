"""How many threads the stages of a release can have at work, from their configs.

Two stages of one request work side by side where neither waits for the other. More threads than
cores gain nothing: each is slowed by the others, and the machine changes between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from organseg.contract.deployed_config import choices_in
from organseg.contract.models import FEATURES_NAME
from organseg.contract.pbtxt import parse_config

_CALLS = {FEATURES_NAME: "image_encoder"}
"""Stages that call another and wait for it: its threads work in their place."""


def threads_of_a_request(configs: Mapping[str, str]) -> int:
    """The most threads that one request has at work at once, on any way through a release."""
    messages = [parse_config(text) for text in configs.values()]
    threads = {name: choice.threads or 1 for name, choice in choices_in(configs).items()}
    return max(_widest(message, threads) for message in messages)


def threads_in_all(configs: Mapping[str, str]) -> int:
    """The threads of all instances of a release, as many users may have them at work."""
    return sum(
        (choice.threads or 1) * (choice.instances or 1) for choice in choices_in(configs).values()
    )


def _widest(ensemble: Any, threads: Mapping[str, int]) -> int:
    waits = _waits(list(ensemble.ensemble_scheduling.step))
    groups = (group for size in range(1, len(waits) + 1) for group in combinations(waits, size))
    return max(
        (
            sum(threads[_CALLS.get(name, name)] for name in group)
            for group in groups
            if not any(_ordered(one, other, waits) for one, other in combinations(group, 2))
        ),
        default=0,
    )


def _waits(steps: list[Any]) -> dict[str, set[str]]:
    """All stages that each one waits for, near and far; steps are in the order data walks them."""
    writers = {tensor: step.model_name for step in steps for tensor in step.output_map.values()}
    waits: dict[str, set[str]] = {}
    for step in steps:
        near = {writers[tensor] for tensor in step.input_map.values() if tensor in writers}
        waits[step.model_name] = near.union(*(waits[name] for name in near))
    return waits


def _ordered(one: str, other: str, waits: Mapping[str, set[str]]) -> bool:
    return one in waits[other] or other in waits[one]
