"""The verb `segment_volume`: one question about every slice of a scan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from numpy.typing import NDArray

from organseg_client.core.effects import Steps, handing_over, work
from organseg_client.core.many import segment_many
from organseg_client.core.session import Session
from organseg_client.request import encode_question
from organseg_client.volume.assembler import VolumeAssembler
from organseg_client.volume.plan import FailurePolicy, ScanInput, VolumeProgress, plan_volume
from organseg_client.volume.result import VolumeResult

__all__ = ["segment_volume"]


def segment_volume(
    session: Session,
    scan: ScanInput,
    question: str | bytes,
    window: Sequence[float] | NDArray[Any] | None,
    concurrency: int,
    deadline_s: float | None,
    progress: Callable[[VolumeProgress], None] | None,
    on_failure: FailurePolicy,
) -> Steps[VolumeResult]:
    """The answers to all slices put together; the scan is closed if a path was given."""
    session.require_open()
    session.deadline(deadline_s)
    # A bad question is found before a large file is read.
    encode_question(question)
    plan = yield from work(partial(plan_volume, scan, question, window))
    assembler = None
    try:
        assembler = VolumeAssembler(plan, on_failure, progress)
        yield from handing_over(
            segment_many(session, plan.requests(), concurrency, deadline_s), assembler.add
        )
        return assembler.finish()
    except BaseException:
        if assembler is not None:
            assembler.discard()
        raise
    finally:
        if plan.scan is not scan:
            plan.scan.close()
