"""Tells Triton's metrics what a stage keeps, through the Python backend's own interface to them."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from threading import Lock
from typing import Any

from organseg.serving.kept import KeptCounts
from organseg.serving.sessions import SessionCounts
from organseg.serving.stage import ServedModel


@dataclass(frozen=True)
class _Metric:
    """One number of a stage as the server's metrics show it."""

    name: str
    """The metric's name."""
    field: str
    """The field of the stage's counts that it shows."""
    doc: str
    """What it counts."""
    is_gauge: bool = False
    """Whether it can fall: what is there now, and no count since the start."""


METRICS: dict[type[KeptCounts | SessionCounts], tuple[_Metric, ...]] = {
    KeptCounts: (
        _Metric(
            "organ_seg_kept_hits",
            "hits",
            "Requests for which the stage had not to compute an image",
        ),
        _Metric(
            "organ_seg_kept_misses",
            "misses",
            "Requests for which the stage had to compute an image",
        ),
        _Metric(
            "organ_seg_kept_evictions",
            "evictions",
            "Images that the stage forgot to make room for others",
        ),
        _Metric(
            "organ_seg_kept_bytes",
            "kept_bytes",
            "What the stage keeps of images now, bytes",
            is_gauge=True,
        ),
    ),
    SessionCounts: (
        _Metric("organ_seg_sessions_opened", "opened", "Sessions that were opened"),
        _Metric(
            "organ_seg_sessions_evictions",
            "evictions",
            "Sessions that ended early, to make room for others",
        ),
        _Metric("organ_seg_sessions_lost", "lost", "Questions whose session was not known"),
        _Metric(
            "organ_seg_sessions_open",
            "open",
            "Sessions that were open when one was last opened or asked",
            is_gauge=True,
        ),
    ),
}
"""The metrics of a stage, by what it counts; each has a label `stage`."""


class KeptMetrics:
    """The numbers of one stage; nothing where it keeps nothing, or the server has metrics off."""

    def __init__(self, stage: ServedModel) -> None:
        """Makes the stage known to the server's metrics."""
        self._stage = stage
        self._lock = Lock()
        self._metrics: list[tuple[_Metric, Any]] = []
        counts = stage.kept()
        if counts is not None:
            # The type's own zeros.
            self._told = type(counts)()
            self._declare(METRICS[type(counts)])

    def publish(self) -> None:
        """Brings the server's numbers up to date; costs a message for each that changed.

        No answer fails for them: where the server does not take them, they are not told again.
        """
        if not self._metrics:
            return
        import triton_python_backend_utils as pb_utils

        try:
            self._publish()
        except pb_utils.TritonModelException:
            pb_utils.Logger.log_warn(f"{self._stage.name}: the server takes no metrics any more")
            self._metrics = []

    def _publish(self) -> None:
        with self._lock:
            now, told = self._stage.kept() or self._told, self._told
            self._told = now
            for metric, shown in self._metrics:
                value, before = getattr(now, metric.field), getattr(told, metric.field)
                if value == before:
                    continue
                if metric.is_gauge:
                    shown.set(value)
                else:
                    shown.increment(value - before)

    def _declare(self, metrics: tuple[_Metric, ...]) -> None:
        import triton_python_backend_utils as pb_utils

        counter, gauge = pb_utils.MetricFamily.COUNTER, pb_utils.MetricFamily.GAUGE
        try:
            for metric in metrics:
                family = pb_utils.MetricFamily(
                    name=metric.name,
                    description=metric.doc,
                    kind=gauge if metric.is_gauge else counter,
                )
                shown = family.Metric(labels={"stage": self._stage.name})
                for each in (family, shown):
                    _never_let_go(each)
                self._metrics.append((metric, shown))
        except pb_utils.TritonModelException:
            # The server has its metrics off; the stage works as well without.
            self._metrics = []


def _never_let_go(thing: Any) -> None:
    """Keeps a metric or its family until the process is gone, without its end being told.

    In Triton 2.51, families of one name are one in the server: the stage that lets go of its own
    frees what others count by, and the server's heap breaks. One that lets go while the process
    ends tells a server that listens no more, and crashes.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
