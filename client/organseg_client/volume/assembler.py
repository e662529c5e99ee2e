"""Puts the answers to a volume's slices together, one after another, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from organseg.contract import Verdict
from organseg.errors import (
    AuthenticationError,
    ContractError,
    OrganSegError,
    QuestionError,
    ServerUnreachableError,
    WindowError,
)
from organseg.imaging.label_volume import LabelVolume
from organseg.organs import NONE, organ_by_id
from organseg_client.outcome import Outcome
from organseg_client.result import SegmentationResult
from organseg_client.volume.plan import FailurePolicy, VolumePlan, VolumeProgress
from organseg_client.volume.result import (
    OrganInVolume,
    SliceAnswer,
    SliceFailure,
    SliceOrgan,
    VolumeResult,
)

__all__ = ["VolumeAssembler"]

# What is wrong with one slice's request then is wrong with all of them.
_SHARED_FAILURES = (AuthenticationError, ContractError, QuestionError, WindowError)


class VolumeAssembler:
    """Takes the outcome of each slice, in any order, and gives the result of the volume."""

    def __init__(
        self,
        plan: VolumePlan,
        policy: FailurePolicy = FailurePolicy.FINISH,
        progress: Callable[[VolumeProgress], None] | None = None,
    ) -> None:
        self._plan = plan
        self._policy = policy
        self._progress = progress
        self._labels = LabelVolume(plan.scan.geometry.shape_zhw)
        self._answers: list[SliceAnswer] = []
        self._failures: list[SliceFailure] = []
        self._started_s = time.monotonic()

    def add(self, outcome: Outcome) -> None:
        """Keeps what came of the slice with the outcome's index.

        Raises the outcome's error where the policy says so, where it would meet every slice
        alike (credentials, contract, question, window), or where no server was reached at all.
        """
        error = outcome.error
        if error is not None:
            is_lost = isinstance(error, ServerUnreachableError) and not self._answers
            if self._policy is FailurePolicy.STOP or isinstance(error, _SHARED_FAILURES) or is_lost:
                raise error
            self._failures.append(SliceFailure(outcome.index, error))
        else:
            self._keep(outcome.index, outcome.unwrap())
        if self._progress is not None:
            failed = len(self._failures)
            total = self._labels.shape_zhw[0]
            self._progress(VolumeProgress(len(self._answers) + failed, total, failed))

    def finish(self) -> VolumeResult:
        """The result. Raises the first failure where no slice has an answer."""
        if not self._answers:
            self.discard()
            raise self._first_failure()
        question = self._plan.question
        organs = self._organs()
        return VolumeResult(
            question=question.decode() if isinstance(question, bytes) else question,
            verdict=_strongest([answer.verdict for answer in self._answers]),
            organs=organs,
            slices=tuple(sorted(self._answers, key=lambda answer: answer.index)),
            failures=tuple(sorted(self._failures, key=lambda failure: failure.index)),
            geometry=self._plan.scan.geometry,
            modality=self._plan.scan.modality,
            source_files=self._plan.scan.source_files,
            window=self._plan.window,
            seconds=time.monotonic() - self._started_s,
            labels=self._labels,
        )

    def discard(self) -> None:
        """Gives back the disk that the masks take."""
        self._labels.close()

    def _first_failure(self) -> OrganSegError:
        return min(self._failures, key=lambda failure: failure.index).error

    def _keep(self, index: int, result: SegmentationResult) -> None:
        self._labels.write_slice(index, result.masks, [organ.id for organ in result.organs])
        rows = zip(result.organs, result.areas_pixels(), result.boxes, result.quality, strict=True)
        self._answers.append(
            SliceAnswer(
                index=index,
                verdict=result.verdict,
                organs=tuple(
                    SliceOrgan(
                        id=organ.id,
                        letter=organ.letter,
                        name=organ.name,
                        verdict=organ.verdict,
                        area_pixels=area,
                        box_xyxy=tuple(np.asarray(box, dtype=np.float64).tolist()),
                        quality=float(quality),
                    )
                    for organ, area, box, quality in rows
                ),
                request_id=result.request_id,
                server=result.server,
                seconds=result.seconds,
            )
        )

    def _organs(self) -> tuple[OrganInVolume, ...]:
        verdicts: dict[int, list[Verdict]] = {}
        for answer in self._answers:
            for one in answer.organs:
                verdicts.setdefault(one.id, []).append(one.verdict)
        # A slice or two that were taken to ask for nothing do not make "none" an answer.
        if len(verdicts) > 1:
            verdicts.pop(NONE.id, None)
        geometry = self._plan.scan.geometry
        found = []
        for organ_id in sorted(verdicts):
            organ, shown = organ_by_id(organ_id), self._labels.slices_of(organ_id)
            voxels = self._labels.voxels_of(organ_id)
            found.append(
                OrganInVolume(
                    id=organ.id,
                    letter=organ.letter,
                    name=organ.name,
                    verdict=_strongest(verdicts[organ_id]),
                    voxels=voxels,
                    volume_ml=voxels * geometry.voxel_ml,
                    slice_range=(shown[0], shown[-1]) if shown else None,
                    slice_count=len(shown),
                )
            )
        return tuple(found)


def _strongest(verdicts: list[Verdict]) -> Verdict:
    """Segmented if any is, else absent, else out of scope: as one image's verdict is made."""
    for verdict in (Verdict.SEGMENTED, Verdict.ABSENT_IN_IMAGE):
        if verdict in verdicts:
            return verdict
    return Verdict.OUT_OF_SCOPE
