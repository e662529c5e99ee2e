"""Keeps transformers' own progress bars out of our logs and tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers.utils import logging as transformers_logging


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars while the block reads or writes a model."""
    logging: Any = transformers_logging
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()
