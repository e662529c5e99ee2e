from __future__ import annotations

import numpy as np
import pytest

from organseg.data.flare22 import LabelledVolume
from organseg.errors import DatasetError
from organseg.evaluation.questionnaire import Questionnaire
from organseg.evaluation.samples import make_samples, showing_organs
from organseg.evaluation.scans import Scan


def scan_of(patient, loaded=None):
    def load():
        if loaded is not None:
            loaded.append(patient)
        labels = np.zeros((3, 8, 8), dtype=np.uint8)
        labels[1:, 2:4, 2:4], labels[2, 5:7, 5:7] = 1, 3
        pixels = np.arange(labels.size, dtype=np.uint8).reshape(labels.shape)
        return LabelledVolume(patient, pixels, labels, (5.0, 2.0, 2.0), frozenset({1, 3, 5}))

    return Scan(patient, load)


def test_a_volume_is_loaded_only_when_its_samples_are_asked_for():
    loaded: list[str] = []
    samples = make_samples([scan_of("a", loaded), scan_of("b", loaded)], Questionnaire())
    assert loaded == []
    assert next(samples).patient_id == "a"
    assert loaded == ["a"]
    assert [sample.patient_id for sample in samples][-1] == "b"
    assert loaded == ["a", "b"]


def test_samples_carry_their_slice_and_what_their_question_is():
    for sample in make_samples([scan_of("a")], Questionnaire(slices_per_organ=None)):
        volume = scan_of("a").load()
        assert (sample.pixels == volume.pixels[sample.slice_index]).all()
        assert (sample.labels == volume.labels[sample.slice_index]).all()
        assert sample.spacing_zyx_mm == volume.spacing_zyx_mm
        assert sample.labelled_organ_ids == {1, 3, 5}
        assert sample.kind


def test_samples_of_one_slice_share_its_pixels():
    samples = list(make_samples([scan_of("a")], Questionnaire(slices_per_organ=None)))
    assert len({id(sample.pixels) for sample in samples}) == 3


def test_baselines_get_the_samples_whose_organs_are_in_the_image():
    samples = list(make_samples([scan_of("a")], Questionnaire(slices_per_organ=None)))
    shown = list(showing_organs(samples))
    assert 0 < len(shown) < len(samples)
    for sample in samples:
        is_shown = any((sample.labels == organ_id).any() for organ_id in sample.asked_organ_ids)
        assert is_shown == any(sample is other for other in shown)


def test_what_loading_raises_is_raised():
    def load():
        raise DatasetError("wanted a file, got none: copy it")

    with pytest.raises(DatasetError, match="got none"):
        list(make_samples([Scan("a", load)], Questionnaire()))
