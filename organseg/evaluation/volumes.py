"""Volume scores from slice cases: one patient's masks at a time, cropped, then dropped.

FLARE22 scores volumes. Cases are slices, so those of one patient are put together again per
organ, over the slices that were asked about. Cases must come patient by patient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from organseg.errors import DatasetError
from organseg.evaluation.cases import Case
from organseg.evaluation.overlap import Mask, count_pixels
from organseg.evaluation.surface import VolumeScore, ZRange, score_volume
from organseg.organs import NONE

__all__ = ["VolumeAssembler", "VolumeScores"]


@dataclass(frozen=True)
class VolumeScores:
    """One organ in one patient's volume, scored the official way and the fixed way."""

    patient_id: str
    """Who the volume is of."""
    organ_id: int
    """The organ, 1 to 13."""
    slices: int
    """Slices put together."""
    scores: Mapping[ZRange, VolumeScore] | None
    """Both scores, or `None` where slices are missing in between, so that there is no volume."""
    dice_where_shown: float | None
    """One Dice over the pixels of all slices that show the organ, whether or not some are missing
    in between; `None` where none shows it."""


@dataclass(frozen=True, eq=False)
class _Crop:
    """A mask cut to its bounding box."""

    top_left: tuple[int, int]
    """Row and column of the crop's first pixel."""
    mask: Mask
    """The crop, 0 × 0 where the mask is blank."""

    @staticmethod
    def of(mask: Mask) -> _Crop:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if rows.size == 0:
            return _Crop((0, 0), np.zeros((0, 0), dtype=np.bool_))
        window = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return _Crop((int(rows[0]), int(columns[0])), window.copy())

    def paste(self, plane: Mask) -> None:
        top, left = self.top_left
        height, width = self.mask.shape
        plane[top : top + height, left : left + width] = self.mask


class VolumeAssembler:
    """Takes cases patient by patient and gives the volume scores of each one that is complete.

    Where several questions ask for one organ in one slice, the first counts.
    """

    def __init__(self) -> None:
        self._patient_id: str | None = None
        self._finished: set[str] = set()
        self._spacing_zyx_mm = (1.0, 1.0, 1.0)
        self._size_hw = (0, 0)
        self._crops: dict[int, dict[int, tuple[_Crop, _Crop]]] = {}

    def add(self, case: Case) -> list[VolumeScores]:
        """Takes a case; gives the scores of the patient before, when this is another one.

        Raises `DatasetError` where a patient comes back or the slices' sizes differ.
        """
        done: list[VolumeScores] = []
        if case.patient_id != self._patient_id:
            done = self.finish()
            if case.patient_id in self._finished:
                raise DatasetError(
                    "Cases patient by patient are wanted; a patient came back after another one. "
                    "Sort the samples by patient, then by slice."
                )
            self._patient_id = case.patient_id
            self._spacing_zyx_mm = case.spacing_zyx_mm
            self._size_hw = (case.pixels.shape[0], case.pixels.shape[1])
        if case.pixels.shape != self._size_hw or case.spacing_zyx_mm != self._spacing_zyx_mm:
            raise DatasetError(
                "Slices of one size and spacing are wanted for a patient; got "
                f"{case.pixels.shape} after {self._size_hw}. Give each series its own patient id."
            )
        for organ_id, truth in zip(case.asked_organ_ids, case.truth_masks, strict=True):
            if organ_id != NONE.id:
                slices = self._crops.setdefault(organ_id, {})
                if case.slice_index not in slices:
                    predicted = _predicted_mask(case, organ_id)
                    slices[case.slice_index] = (_Crop.of(truth), _Crop.of(predicted))
        return done

    def finish(self) -> list[VolumeScores]:
        """The scores of the patient in hand; call once more after the last case."""
        if self._patient_id is None:
            return []
        scores = [self._score(self._patient_id, organ_id) for organ_id in sorted(self._crops)]
        self._finished.add(self._patient_id)
        self._patient_id = None
        self._crops = {}
        return scores

    def _score(self, patient_id: str, organ_id: int) -> VolumeScores:
        slices = self._crops[organ_id]
        indices = sorted(slices)
        whole = indices[-1] - indices[0] + 1 == len(indices)
        truth, predicted = np.zeros((2, len(indices), *self._size_hw), dtype=np.bool_)
        for plane, index in enumerate(indices):
            slices[index][0].paste(truth[plane])
            slices[index][1].paste(predicted[plane])
        scores: dict[ZRange, VolumeScore] | None = None
        if whole:
            scores = {
                z_range: score_volume(truth, predicted, organ_id, self._spacing_zyx_mm, z_range)
                for z_range in ZRange
            }
        shown = truth.any(axis=(1, 2))
        dice = count_pixels(truth[shown], predicted[shown]).dice if shown.any() else None
        return VolumeScores(patient_id, organ_id, len(indices), scores, dice)


def _predicted_mask(case: Case, organ_id: int) -> Mask:
    if organ_id in case.prediction.organ_ids:
        mask: Mask = case.prediction.masks[case.prediction.organ_ids.index(organ_id)]
        return mask
    return np.zeros(case.pixels.shape, dtype=np.bool_)
