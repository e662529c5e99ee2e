"""Arguments that several commands take, checked where they are read."""

from __future__ import annotations

import argparse
import math
from pathlib import Path


def count(text: str) -> int:
    """A whole number of 1 or more; raises `argparse.ArgumentTypeError` for another."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number of 1 or more, got {text!r}")
    return int(text)


def positive(text: str) -> float:
    """A finite number above 0; raises `argparse.ArgumentTypeError` for another."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"wanted a number above 0, got {text!r}")
    return number


def concurrency_range(text: str) -> str:
    """`FIRST:LAST:STEP`, from the right left out; raises `argparse.ArgumentTypeError` else."""
    parts = text.split(":")
    if len(parts) > 3:
        raise argparse.ArgumentTypeError(f"wanted FIRST:LAST:STEP, got {text!r}")
    numbers = [count(part) for part in parts]
    if len(numbers) > 1 and numbers[1] < numbers[0]:
        raise argparse.ArgumentTypeError(f"wanted LAST not below FIRST, got {text!r}")
    return text


def add_workload_options(parser: argparse.ArgumentParser, *, requests: int, doc: str) -> None:
    """Adds `--requests`, `--images`, `--questions` and `--seed`: what the requests are made of."""
    parser.add_argument(
        "--requests", type=count, default=requests, metavar="N", help=f"{doc} (default: {requests})"
    )
    add_input_options(parser)


def add_input_options(
    parser: argparse.ArgumentParser,
    questions: str = "questions to ask in turn (default: the held-out questions, in random order)",
) -> None:
    """Adds `--images`, `--questions` and `--seed`: what is sent, however often.

    `questions` is the help of that option.
    """
    parser.add_argument(
        "--images",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="image files to send (default: the sample slices of the demo, else made-up pictures)",
    )
    parser.add_argument(
        "--questions",
        nargs="+",
        default=[],
        metavar="TEXT",
        help=questions,
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the pictures and of the questions' order"
    )
