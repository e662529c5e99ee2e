"""Tells Triton's metrics what a stage keeps, through the Python backend's own interface to them."""

from __future__ import annotations

from threading import Lock
from typing import Any

from organseg.serving.kept import KeptCounts
from organseg.serving.stage import ServedModel

PREFIX = "organ_seg_kept_"
"""What the names of all these metrics begin with; each has a label `stage`."""


class KeptMetrics:
    """The counters of one stage; nothing where it keeps nothing, or the server has metrics off."""

    def __init__(self, stage: ServedModel) -> None:
        """Makes the stage known to the server's metrics."""
        self._stage = stage
        self._told = KeptCounts()
        self._lock = Lock()
        self._families: list[Any] = []
        self._metrics: dict[str, Any] = {}
        if stage.kept() is not None:
            self._declare()

    def publish(self) -> None:
        """Brings the server's numbers up to date; costs a message for each that changed."""
        if not self._metrics:
            return
        with self._lock:
            now, told = self._stage.kept() or KeptCounts(), self._told
            self._told = now
            for name in ("hits", "misses", "evictions"):
                more = getattr(now, name) - getattr(told, name)
                if more:
                    self._metrics[name].increment(more)
            if now.kept_bytes != told.kept_bytes:
                self._metrics["bytes"].set(now.kept_bytes)

    def _declare(self) -> None:
        import triton_python_backend_utils as pb_utils

        counter, gauge = pb_utils.MetricFamily.COUNTER, pb_utils.MetricFamily.GAUGE
        kinds = {
            "hits": (counter, "Requests for which the stage had not to compute an image"),
            "misses": (counter, "Requests for which the stage had to compute an image"),
            "evictions": (counter, "Images that the stage forgot to make room for others"),
            "bytes": (gauge, "What the stage keeps of images now, bytes"),
        }
        try:
            for name, (kind, description) in kinds.items():
                family = pb_utils.MetricFamily(
                    name=f"{PREFIX}{name}", description=description, kind=kind
                )
                # A metric does not keep its family alive.
                self._families.append(family)
                self._metrics[name] = family.Metric(labels={"stage": self._stage.name})
        except pb_utils.TritonModelException:
            # The server has its metrics off; the stage works as well without.
            self._metrics = {}
