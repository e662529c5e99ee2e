"""Turns: in each, every target gets one window; another target is first each time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def rotated(items: Sequence[T], turn: int) -> tuple[T, ...]:
    """The items from another one on in every turn, so that none is always first or last."""
    first = turn % len(items)
    return (*items[first:], *items[:first])


def in_turns(items: Sequence[T], turns: int) -> Iterator[tuple[int, T]]:
    """Every turn's number and its items, in the order in which they are measured."""
    for turn in range(turns):
        for item in rotated(items, turn):
            yield turn, item
