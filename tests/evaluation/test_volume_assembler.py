from __future__ import annotations

import numpy as np
import pytest
from evaluation_shapes import SPACING_ZYX_MM, disk, labels_of

from organseg.errors import DatasetError
from organseg.evaluation.overlap import count_pixels
from organseg.evaluation.surface import ZRange, score_volume
from organseg.evaluation.volumes import VolumeAssembler

AORTA = 5
BLANK = (14, "out_of_scope", None)


def cases_of(make_case, patient, radii, predicted, organ_id=AORTA):
    for index, (radius, drawn) in enumerate(zip(radii, predicted, strict=True)):
        labels = labels_of((organ_id, disk(10, 12, radius))) if radius else labels_of()
        entry = (organ_id, "segmented", disk(10, 13, drawn)) if drawn else BLANK
        yield make_case(
            entry, asked=(organ_id,), labels=labels, patient=patient, slice_index=index + 40
        )


def test_slices_put_together_score_as_the_volume(make_case):
    radii, drawn = [0, 3, 4, 5, 4, 0], [3, 3, 4, 0, 4, 2]
    cases = list(cases_of(make_case, "a", radii, drawn))
    assembler = VolumeAssembler()
    for case in reversed(cases):
        assert assembler.add(case) == []
    (volume,) = assembler.finish()
    assert (volume.patient_id, volume.organ_id, volume.slices) == ("a", AORTA, 6)
    truth = np.concatenate([case.truth_masks for case in cases])
    predicted = np.stack([case.prediction.masks[0] for case in cases])
    for z_range in ZRange:
        expected = score_volume(truth, predicted, AORTA, SPACING_ZYX_MM, z_range)
        assert volume.scores[z_range] == expected
    assert volume.scores[ZRange.OFFICIAL] != volume.scores[ZRange.FIXED]
    assert volume.dice_where_shown == count_pixels(truth[1:5], predicted[1:5]).dice


def test_a_patient_is_scored_when_the_next_one_comes(make_case):
    assembler = VolumeAssembler()
    for case in cases_of(make_case, "a", [3, 3], [3, 3]):
        assembler.add(case)
    (first, *_) = cases_of(make_case, "b", [3], [3])
    (volume,) = assembler.add(first)
    assert volume.patient_id == "a"
    assert [later.patient_id for later in assembler.finish()] == ["b"]
    assert assembler.finish() == []


def test_a_volume_with_missing_slices_is_not_scored(make_case):
    cases = list(cases_of(make_case, "a", [3, 3, 3], [3, 3, 3]))
    assembler = VolumeAssembler()
    for case in (cases[0], cases[2]):
        assembler.add(case)
    (volume,) = assembler.finish()
    assert volume.scores is None
    assert 0.5 < volume.dice_where_shown < 1.0


def test_where_no_slice_shows_the_organ_there_is_no_dice_of_those_that_do(make_case):
    assembler = VolumeAssembler()
    for case in cases_of(make_case, "a", [0, 0], [3, 0]):
        assembler.add(case)
    (volume,) = assembler.finish()
    assert volume.dice_where_shown is None


def test_of_two_questions_for_one_organ_and_slice_the_first_counts(make_case):
    assembler = VolumeAssembler()
    for drawn in (3, 0):
        for case in cases_of(make_case, "a", [3, 3], [drawn, drawn], organ_id=1):
            assembler.add(case)
    (volume,) = assembler.finish()
    assert volume.scores[ZRange.FIXED].dice > 0.5


def test_a_patient_who_comes_back_is_refused(make_case):
    assembler = VolumeAssembler()
    for patient in ("a", "b"):
        assembler.add(next(cases_of(make_case, patient, [3], [3])))
    with pytest.raises(DatasetError, match="Sort the samples"):
        assembler.add(next(cases_of(make_case, "a", [3], [3])))


def test_out_of_scope_questions_belong_to_no_volume(make_case):
    assembler = VolumeAssembler()
    assembler.add(make_case(BLANK, asked=()))
    assert assembler.finish() == []
