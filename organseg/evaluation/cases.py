"""What is evaluated: a sample asked, the prediction that came back, and both as one case.

Frame of all arrays: the display orientation at the image's own size, row ↓ posterior, column →
the patient's left. Boxes are `[x0, y0, x1, y1]` in pixels, corners on pixel edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from organseg.contract import Verdict
from organseg.errors import DatasetError, InvalidInputError
from organseg.evaluation.overlap import Mask
from organseg.organs import ANSWERS, NONE, ORGANS

__all__ = ["Case", "Prediction", "Sample"]

_ORGAN_IDS = frozenset(organ.id for organ in ORGANS)


@dataclass(frozen=True, eq=False)
class Sample:
    """One image and one question, with the truth."""

    patient_id: str
    """Who the image is of: the unit of splits and of bootstrap."""
    slice_index: int
    """The slice's place in the patient's volume, 0 at the feet."""
    pixels: npt.NDArray[np.uint8]
    """The windowed slice, uint8 [H, W]."""
    question: str
    """The question in plain words."""
    asked_organ_ids: tuple[int, ...]
    """Organ ids 1 to 13 that the question asks for; empty where it is out of scope."""
    labels: npt.NDArray[np.uint8]
    """The organ id of each pixel, 0 for background, uint8 [H, W]."""
    spacing_zyx_mm: tuple[float, float, float]
    """Distance to the next slice, row height and column width in millimetres."""
    labelled_organ_ids: frozenset[int] = _ORGAN_IDS
    """The organs that this volume's labels cover; others are neither present nor absent."""
    kind: str = ""
    """From which side the question comes at its subject (a `QuestionKind`); empty: not told."""

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or self.pixels.shape != self.labels.shape:
            raise DatasetError(
                "Pixels and labels of one shape [H, W] are wanted; got "
                f"{self.pixels.shape} and {self.labels.shape}. Check that they are one slice."
            )
        unlabelled = set(self.asked_organ_ids) - self.labelled_organ_ids
        if unlabelled or not self.labelled_organ_ids <= _ORGAN_IDS:
            raise DatasetError(
                "Questions about labelled organs (ids 1 to 13) are wanted; this volume labels "
                f"{sorted(self.labelled_organ_ids)} and the question asks for "
                f"{sorted(self.asked_organ_ids)}. Leave such questions out."
            )
        if len(set(self.asked_organ_ids)) != len(self.asked_organ_ids):
            raise DatasetError(
                f"Each organ is asked for once; got {self.asked_organ_ids}. Remove repetitions."
            )


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the model, or a baseline, answered; K entries, at least one."""

    organ_ids: tuple[int, ...]
    """The K organs answered, 1 to 13, or 14 (`NONE`) for the one entry of a refusal."""
    verdicts: tuple[str, ...]
    """A verdict's value for each entry."""
    masks: Mask
    """Bool [K, H, W]; blank where the verdict is not `segmented`."""
    boxes_xyxy: npt.NDArray[np.float32]
    """Float32 [K, 4] in pixels; zeros where there is no box."""
    similarity: npt.NDArray[np.float32] | None = None
    """Float32 [14] over the answers in id order, higher is nearer; `None` from a baseline."""
    presence: npt.NDArray[np.float32] | None = None
    """Float32 [13], the probability of each organ being in the image; `None` from a baseline."""

    def __post_init__(self) -> None:
        entries = len(self.organ_ids)
        known = {organ.id for organ in ANSWERS}
        fits = (
            entries > 0
            and len(self.verdicts) == entries
            and self.masks.ndim == 3
            and self.masks.dtype == np.bool_
            and len(self.masks) == entries
            and self.boxes_xyxy.shape == (entries, 4)
            and (self.similarity is None or self.similarity.shape == (len(ANSWERS),))
            and (self.presence is None or self.presence.shape == (len(ORGANS),))
        )
        if not fits or not set(self.organ_ids) <= known:
            raise InvalidInputError(
                "A prediction of K ≥ 1 organs (1 to 14), K verdicts, boolean masks [K, H, W], "
                "boxes [K, 4], similarity [14] and presence [13] is wanted; got "
                f"{self.organ_ids}, {len(self.verdicts)} verdicts, masks {self.masks.dtype} "
                f"{self.masks.shape}, boxes {self.boxes_xyxy.shape}. Check the predictor."
            )
        wrong = set(self.verdicts) - {verdict.value for verdict in Verdict}
        if wrong:
            raise InvalidInputError(
                f"Verdicts {[verdict.value for verdict in Verdict]} are wanted; got "
                f"{sorted(wrong)}. Check the predictor's version."
            )


@dataclass(frozen=True, eq=False)
class Case:
    """A sample and its prediction, in the terms that the metrics need."""

    patient_id: str
    """Who the image is of."""
    slice_index: int
    """The slice's place in the patient's volume, 0 at the feet."""
    question: str
    """The question in plain words."""
    asked_organ_ids: tuple[int, ...]
    """N organ ids asked for; `(14,)` where the question is out of scope."""
    truth_verdicts: tuple[Verdict, ...]
    """N verdicts that a perfect model would give."""
    truth_masks: Mask
    """Bool [N, H, W]; blank where the organ is absent or the question out of scope."""
    truth_presence: tuple[bool | None, ...]
    """For each of the 13 organs whether the image shows it; `None` where it is not labelled."""
    spacing_zyx_mm: tuple[float, float, float]
    """Distance to the next slice, row height and column width in millimetres."""
    pixels: npt.NDArray[np.uint8]
    """The windowed slice, uint8 [H, W], for the gallery."""
    prediction: Prediction
    """What came back."""
    kind: str = ""
    """The question's kind; empty where it was not told."""

    @staticmethod
    def of(sample: Sample, prediction: Prediction) -> Case:
        """The case of a sample and its prediction.

        Raises `InvalidInputError` where the predicted masks are not of the image's size.
        """
        if prediction.masks.shape[1:] != sample.pixels.shape:
            raise InvalidInputError(
                f"Masks of the image's size {sample.pixels.shape} are wanted; got "
                f"{prediction.masks.shape[1:]}. Resize the masks before they are scored."
            )
        asked = sample.asked_organ_ids or (NONE.id,)
        masks = np.stack([_mask_of(sample, organ_id) for organ_id in asked])
        return Case(
            patient_id=sample.patient_id,
            slice_index=sample.slice_index,
            question=sample.question,
            asked_organ_ids=asked,
            truth_verdicts=tuple(
                _true_verdict(organ_id, mask) for organ_id, mask in zip(asked, masks, strict=True)
            ),
            truth_masks=masks,
            truth_presence=tuple(
                bool((sample.labels == organ.id).any())
                if organ.id in sample.labelled_organ_ids
                else None
                for organ in ORGANS
            ),
            spacing_zyx_mm=sample.spacing_zyx_mm,
            pixels=sample.pixels,
            prediction=prediction,
            kind=sample.kind,
        )


def _mask_of(sample: Sample, organ_id: int) -> Mask:
    mask: Mask = sample.labels == organ_id
    return np.zeros_like(mask) if organ_id == NONE.id else mask


def _true_verdict(organ_id: int, mask: Mask) -> Verdict:
    if organ_id == NONE.id:
        return Verdict.OUT_OF_SCOPE
    return Verdict.SEGMENTED if mask.any() else Verdict.ABSENT_IN_IMAGE
