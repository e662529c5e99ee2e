"""The answer to one question about one image, as a client sees it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from organseg.contract import Verdict
from organseg.organs import ANSWERS, ORGANS, listed
from organseg_client.images import SentImage

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["OrganAnswer", "SegmentationResult", "Timings", "sentence_of"]


@dataclass(frozen=True)
class Timings:
    """Where the time of one call went, seconds."""

    encode_s: float
    """Checking and encoding of image and question."""
    connect_s: float
    """Asking servers whether they are ready and speak this contract; only a server's first call."""
    round_trip_s: float
    """From the sending of the attempt that succeeded to its parsed answer."""
    total_s: float
    """The whole call: also failed attempts and the pauses between them."""
    attempts: int
    """How often the call was tried, the one that succeeded included."""


@dataclass(frozen=True)
class OrganAnswer:
    """What the answer says of one organ that the question asks for."""

    id: int
    """1 to 13, the FLARE22 label value; 14 for none of them."""
    letter: str
    """The answer letter of the paper's multiple-choice prompt: A to M, N for none."""
    name: str
    """The organ's English name; "none" for none of them."""
    verdict: Verdict
    """Whether it was segmented, is absent in this image, or is out of scope."""


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """The answer: K organs with verdict, mask and box each, K at least 1.

    Masks and boxes are in the pixels of the image that was given, in its own orientation; for
    a slice of a volume, in its display frame (rows down to the posterior, columns right to the
    patient's left). The arrays may be read-only: copy one to change it.
    """

    verdict: Verdict
    """The whole answer's: segmented if any organ was, else absent, else out of scope."""
    organs: tuple[OrganAnswer, ...]
    """The K organs that the question asks for; one entry "none" where it asks for none."""
    masks: NDArray[np.bool_] = field(repr=False)
    """bool [K, H, W]; blank unless segmented."""
    boxes: NDArray[np.float32] = field(repr=False)
    """float32 [K, 4], x1 y1 x2 y2 in pixel edges; zeros unless segmented."""
    quality: NDArray[np.float32] = field(repr=False)
    """float32 [K], the overlap (IoU) that the mask decoder predicts; zero unless segmented."""
    similarity: NDArray[np.float32] = field(repr=False)
    """float32 [14], cosine of question and organ 1 to 13, then of question and "none"."""
    presence: NDArray[np.float32] = field(repr=False)
    """float32 [13], probability that the image shows organ 1 to 13."""
    request_id: str
    """The id under which the server's logs know the request."""
    server: str
    """The address of the server that answered."""
    timings: Timings
    """Where the call's time went."""
    image: SentImage = field(repr=False)
    """The image as it was sent."""

    @property
    def seconds(self) -> float:
        """Round trip, from the sending of the request to the parsed answer."""
        return self.timings.round_trip_s

    @property
    def reason(self) -> str:
        """One plain sentence: what was found, or why the masks are blank."""
        return sentence_of(self.verdict, self.organs, "the image")

    def areas_pixels(self) -> tuple[int, ...]:
        """The number of pixels in each of the K masks."""
        return tuple(int(np.count_nonzero(mask)) for mask in self.masks)

    def overlay(self) -> Image.Image:
        """The image with masks, boxes and a legend over it, as an RGB picture.

        Raises `ImageError` where the image sent cannot be decoded here (DICOM needs the extra
        `volumes`).
        """
        from organseg.imaging.overlay import draw_overlay

        labels = [
            organ.name
            if organ.verdict is Verdict.SEGMENTED
            else f"{organ.name}: {organ.verdict.value.replace('_', ' ')}"
            for organ in self.organs
        ]
        return draw_overlay(self.image.pixels(), self.masks, self._ids(), self.boxes, labels)

    def write_label_png(self, path: str | Path) -> None:
        """Writes all masks as one PNG whose pixel values are organ ids, 0 for background.

        Where masks overlap, the smaller one holds. Raises `OSError` where the file cannot be
        written.
        """
        from organseg.imaging.overlay import write_label_png

        write_label_png(path, self.masks, self._ids())

    def _ids(self) -> list[int]:
        return [organ.id for organ in self.organs]

    def to_dict(self) -> dict[str, Any]:
        """The answer in plain values for JSON: without masks, with their areas in pixels."""
        rows = zip(self.organs, self.boxes, self.quality, self.areas_pixels(), strict=True)
        return {
            "verdict": self.verdict.value,
            "reason": self.reason,
            "organs": [
                {
                    "id": organ.id,
                    "letter": organ.letter,
                    "name": organ.name,
                    "verdict": organ.verdict.value,
                    "box_xyxy": [round(float(edge), 2) for edge in box],
                    "area_pixels": area,
                    "quality": round(float(quality), 4),
                }
                for organ, box, quality, area in rows
            ],
            "image_size_hw": list(self.masks.shape[1:]),
            "similarity": _by_name([organ.name for organ in ANSWERS], self.similarity),
            "presence": _by_name([organ.name for organ in ORGANS], self.presence),
            "request_id": self.request_id,
            "server": self.server,
            "seconds": round(self.seconds, 4),
            "timings": {
                name: value if isinstance(value, int) else round(value, 4)
                for name, value in asdict(self.timings).items()
            },
        }

    def to_json(self, indent: int | None = None) -> str:
        """`to_dict` as JSON text, one line unless `indent` is given."""
        return json.dumps(self.to_dict(), indent=indent)


def sentence_of(verdict: Verdict, organs: Iterable[OrganAnswer], subject: str) -> str:
    """What was found in `subject` ("the image"), or why nothing was, as one sentence."""
    if verdict is Verdict.OUT_OF_SCOPE:
        return "The question asks for none of the 13 organs."
    answers = tuple(organs)
    found = [one.name for one in answers if one.verdict is Verdict.SEGMENTED]
    absent = [one.name for one in answers if one.verdict is Verdict.ABSENT_IN_IMAGE]
    clauses = []
    if found:
        clauses.append(f"{subject} shows the {listed(found)}")
    if absent:
        clauses.append(f"{'it' if found else subject} does not show the {listed(absent)}")
    sentence = ", but ".join(clauses)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _by_name(names: list[str], values: NDArray[np.float32]) -> dict[str, float]:
    return {
        name: round(float(value), 4) for name, value in zip(names, values.tolist(), strict=True)
    }
