from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from evaluation_shapes import SIZE_HW, SPACING_ZYX_MM, disk, labels_of

from organseg.evaluation.cases import Case, Prediction, Sample
from organseg.evaluation.runner import Evaluation
from organseg.evaluation.scores import score_case
from organseg.evaluation.summary import summarize
from organseg.evaluation.volumes import VolumeAssembler
from organseg.organs import ORGANS


@pytest.fixture
def make_sample() -> Callable[..., Sample]:
    """Builds a sample with a liver disk unless told otherwise."""

    def make(
        asked=(1,),
        labels=None,
        patient="a",
        slice_index=0,
        question="Which organ makes bile?",
        labelled=None,
        kind="",
    ) -> Sample:
        if labels is None:
            labels = labels_of((1, disk(12, 10, 5)))
        return Sample(
            patient_id=patient,
            slice_index=slice_index,
            pixels=np.full(SIZE_HW, 90, dtype=np.uint8),
            question=question,
            asked_organ_ids=tuple(asked),
            labels=labels,
            spacing_zyx_mm=SPACING_ZYX_MM,
            labelled_organ_ids=frozenset(labelled or (organ.id for organ in ORGANS)),
            kind=kind,
        )

    return make


@pytest.fixture
def make_prediction() -> Callable[..., Prediction]:
    """Builds a prediction from (organ id, verdict, mask or None) entries."""

    def make(*entries, similarity=None, presence=None) -> Prediction:
        blank = np.zeros(SIZE_HW, dtype=bool)
        masks = np.stack([blank if mask is None else mask for _, _, mask in entries])
        boxes = np.zeros((len(entries), 4), dtype=np.float32)
        for entry, mask in enumerate(masks):
            rows, columns = np.nonzero(mask)
            if rows.size:
                boxes[entry] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        return Prediction(
            organ_ids=tuple(organ_id for organ_id, _, _ in entries),
            verdicts=tuple(verdict for _, verdict, _ in entries),
            masks=masks,
            boxes_xyxy=boxes,
            similarity=None if similarity is None else np.asarray(similarity, dtype=np.float32),
            presence=None if presence is None else np.asarray(presence, dtype=np.float32),
        )

    return make


@pytest.fixture
def make_case(make_sample, make_prediction) -> Callable[..., Case]:
    """Builds a case from prediction entries and a sample's arguments."""

    def make(*entries, similarity=None, presence=None, **sample) -> Case:
        prediction = make_prediction(*entries, similarity=similarity, presence=presence)
        return Case.of(make_sample(**sample), prediction)

    return make


@pytest.fixture
def evaluation(make_case):
    """Three patients, two slices each: livers found, a spleen missed, questions out of scope."""
    assembler, cases, volumes = VolumeAssembler(), [], []
    for number, patient in enumerate("abc"):
        for index in range(2):
            liver, spleen = disk(12, 10, 5), disk(8, 26, 3)
            both = {"labels": labels_of((1, liver), (3, spleen)), "labelled": {1, 3, 5}}
            place = {"patient": patient, "slice_index": index, **both}
            presence = np.full(13, 0.1)
            presence[[0, 2]] = 0.95, 0.4 + 0.2 * number
            similarity = np.zeros(14)
            similarity[0] = 0.8
            scores = {"presence": presence, "similarity": similarity}
            drawn = disk(12, 10 + number, 5)
            refusal = {"presence": presence, "similarity": np.eye(14)[13]}
            for case in (
                make_case((1, "segmented", drawn), **place, **scores),
                make_case((3, "absent_in_image", None), asked=(3,), **place, **scores),
                make_case((5, "segmented", spleen), asked=(5,), **place, **scores),
                make_case((14, "out_of_scope", None), asked=(), **place, **refusal),
                make_case(
                    (1, "segmented", liver),
                    (3, "segmented", spleen),
                    asked=(1, 3),
                    **place,
                    **scores,
                ),
            ):
                cases.append(score_case(case))
                volumes.extend(assembler.add(case))
    volumes.extend(assembler.finish())
    return Evaluation(cases=tuple(cases), volumes=tuple(volumes))


@pytest.fixture
def record(evaluation):
    """The record of `evaluation`, beside itself as a baseline."""
    return summarize(
        evaluation,
        model="tiny | untrained",
        dataset="three patients",
        provenance={"commit": "abc1234", "seed": "0"},
        baselines={"oracle box": evaluation},
        resamples=300,
    )
