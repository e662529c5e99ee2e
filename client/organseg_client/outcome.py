"""Many questions at once: what is asked, and what came of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from organseg.errors import OrganSegError
from organseg_client.images import ImageInput
from organseg_client.result import SegmentationResult

__all__ = ["Outcome", "SegmentRequest"]


@dataclass(frozen=True, eq=False)
class SegmentRequest:
    """One image and one question of many, as `segment` takes them."""

    image: ImageInput = field(repr=False)
    """The image, in any of the forms that `segment` takes."""
    question: str | bytes = field(repr=False)
    """One sentence in plain words."""
    window: Sequence[float] | NDArray[Any] | None = None
    """(low, high) of the intensities that become black and white; None for the image's own."""
    slice_index: int | None = None
    """Which axial slice of a volume, 0 at the feet."""
    request_id: str | None = None
    """The id for the server's logs; None for a random one."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of one request of many: a result or an error, never both."""

    index: int
    """Which request it was, 0 for the first."""
    request: SegmentRequest
    """The request."""
    result: SegmentationResult | None
    """The answer; None where there is an error."""
    error: OrganSegError | None
    """Why there is no answer; None where there is one."""

    def unwrap(self) -> SegmentationResult:
        """The answer; raises the error where there is none."""
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result
