"""The phantom's anatomy: determinism, volumes, places, and what may be missing."""

from __future__ import annotations

import numpy as np
import pytest

from organseg.data.phantom import Coverage, Phantom, Tissue, generate
from organseg.data.phantom.patient import draw_patient
from organseg.data.phantom.tissues import ORGAN_OF_TISSUE, PROPERTIES
from organseg.data.phantom.volume import draw_levels
from organseg.errors import InvalidInputError
from organseg.organs import ORGANS, organ_by_name

SEEDS = (1, 2, 5, 7)
SIZE = (128, 128)
# mL: from the smallest to the largest that a radiologist would still believe of an adult.
VOLUMES_ML = {
    "liver": (600, 2600),
    "right kidney": (45, 330),
    "spleen": (25, 420),
    "pancreas": (15, 130),
    "aorta": (60, 420),
    "inferior vena cava": (35, 220),
    "right adrenal gland": (1, 14),
    "left adrenal gland": (1, 14),
    "gallbladder": (3, 120),
    "esophagus": (12, 100),
    "stomach": (80, 1100),
    "duodenum": (15, 150),
    "left kidney": (45, 330),
}


@pytest.fixture(scope="module")
def trunks() -> dict[int, Phantom]:
    return {
        seed: generate(seed, coverage=Coverage.WHOLE, slices=84, size_hw=SIZE) for seed in SEEDS
    }


def _middle(phantom: Phantom, name: str) -> np.ndarray:
    """Mean voxel position (slice, row, column) of an organ."""
    return np.argwhere(phantom.organ_labels == organ_by_name(name).id).mean(axis=0)


def test_the_same_seed_gives_the_same_bytes():
    first = generate(11, slices=12, size_hw=(96, 96))
    again = generate(11, slices=12, size_hw=(96, 96))
    assert first.tissues.tobytes() == again.tissues.tobytes()
    assert first.spacing_mm == again.spacing_mm
    assert first.patient == again.patient


def test_different_seeds_give_different_patients():
    seeds = range(40, 44)
    volumes = {generate(seed, slices=6, size_hw=(64, 64)).tissues.tobytes() for seed in seeds}
    assert len(volumes) == 4


def test_every_organ_has_a_plausible_volume(trunks):
    for phantom in trunks.values():
        for organ in ORGANS:
            volume = phantom.volume_ml(organ.id)
            if not phantom.patient.has(organ.id):
                assert volume == 0.0, f"seed {phantom.patient.seed}: {organ.name}"
                continue
            low, high = VOLUMES_ML[organ.name]
            assert low <= volume <= high, f"seed {phantom.patient.seed}: {organ.name} {volume:.1f}"


def test_every_organ_appears_in_some_phantom(trunks):
    seen = set()
    for phantom in trunks.values():
        seen.update(np.unique(phantom.organ_labels).tolist())
    assert seen == set(range(14))


def test_the_patients_right_is_on_the_left_of_the_image(trunks):
    for phantom in trunks.values():
        spine = np.argwhere(phantom.tissues == Tissue.SPINAL_CANAL).mean(axis=0)[2]
        for name in ("liver", "right kidney", "right adrenal gland", "inferior vena cava"):
            if phantom.patient.has(organ_by_name(name).id):
                assert _middle(phantom, name)[2] < spine, name
        for name in ("spleen", "left kidney", "left adrenal gland", "stomach"):
            if phantom.patient.has(organ_by_name(name).id):
                assert _middle(phantom, name)[2] > spine, name


def test_the_spine_is_behind_the_aorta_and_the_stomach_in_front(trunks):
    for phantom in trunks.values():
        spine = np.argwhere(phantom.tissues == Tissue.SPINAL_CANAL).mean(axis=0)[1]
        aorta = _middle(phantom, "aorta")[1]
        assert _middle(phantom, "stomach")[1] < aorta < spine


def test_slices_run_from_the_bladder_to_the_adrenals_and_the_heart(trunks):
    for phantom in trunks.values():
        for side in ("right", "left"):
            kidney, adrenal = (f"{side} {organ}" for organ in ("kidney", "adrenal gland"))
            ids = {organ_by_name(kidney).id, organ_by_name(adrenal).id}
            if not ids & phantom.patient.absent_organs:
                assert _middle(phantom, kidney)[0] < _middle(phantom, adrenal)[0]
        bladder = np.argwhere(phantom.tissues == Tissue.BLADDER_URINE).mean(axis=0)[0]
        heart = np.argwhere(phantom.tissues == Tissue.LEFT_HEART_BLOOD).mean(axis=0)[0]
        organs = [_middle(phantom, o.name)[0] for o in ORGANS if phantom.patient.has(o.id)]
        assert bladder < min(organs)
        assert heart > _middle(phantom, "left adrenal gland")[0]
        assert np.all(np.diff(phantom.levels_mm) > 0)


def test_chest_and_pelvis_show_no_liver(trunks):
    for phantom in trunks.values():
        levels = phantom.levels_mm
        outside = (levels > 170) | (levels < -140)
        assert outside.any()
        assert not np.any(phantom.organ_labels[outside] == organ_by_name("liver").id)
        pelvis = phantom.organ_labels[levels < -200]
        assert not pelvis.any()


def test_the_liver_lies_in_one_piece_under_the_lung(trunks):
    for phantom in trunks.values():
        liver = phantom.organ_labels == 1
        columns = liver.any(axis=0)
        top = np.where(liver, np.arange(len(liver))[:, None, None], -1).max(axis=0)
        lung = phantom.tissues == Tissue.LUNG
        lowest_lung = np.where(lung, np.arange(len(lung))[:, None, None], 999).min(axis=0)
        both = columns & (lowest_lung < 999)
        assert both.any()
        assert np.mean(lowest_lung[both] > top[both]) > 0.97


def test_some_patients_lack_an_organ_and_then_it_is_not_painted():
    patients = [draw_patient(seed) for seed in range(400)]
    share = np.mean([9 in patient.absent_organs for patient in patients])
    assert 0.08 < share < 0.22
    missing = next(patient.seed for patient in patients if 3 in patient.absent_organs)
    phantom = generate(missing, coverage=Coverage.ABDOMEN, slices=24, size_hw=(96, 96))
    assert phantom.volume_ml(3) == 0.0
    assert phantom.volume_ml(1) > 0.0


def test_an_empty_level_is_natural_in_random_coverage():
    drawn = [draw_levels(seed, Coverage.RANDOM) for seed in range(200)]
    chest = next(seed for seed, (low, _) in enumerate(drawn) if low > 60)
    pelvis = next(seed for seed, (_, high) in enumerate(drawn) if high < -60)
    for seed in (chest, pelvis):
        labels = generate(seed, slices=12, size_hw=(64, 64)).organ_labels
        empty = ~np.isin(labels, (1, 2, 3, 4, 9, 11, 12, 13)).any(axis=(1, 2))
        assert empty.any(), f"seed {seed}"
    share = np.mean([low < -60 and high > 60 for low, high in drawn])
    assert 0.7 < share < 0.95


def test_a_slab_keeps_its_levels(trunks):
    phantom = trunks[SEEDS[0]]
    slab = phantom.slab(10, 20)
    np.testing.assert_allclose(slab.levels_mm, phantom.levels_mm[10:20], atol=1e-3)
    assert np.array_equal(slab.tissues, phantom.tissues[10:20])
    with pytest.raises(InvalidInputError, match="slab needs"):
        phantom.slab(5, 5)


def test_the_anatomy_does_not_depend_on_the_number_of_slices():
    coarse = generate(2, coverage=Coverage.ABDOMEN, slices=24, size_hw=(96, 96))
    fine = generate(2, coverage=Coverage.ABDOMEN, slices=47, size_hw=(96, 96))
    same = coarse.organ_labels == fine.organ_labels[::2]
    organs = (coarse.organ_labels > 0) | (fine.organ_labels[::2] > 0)
    assert np.mean(same[organs]) > 0.97


def test_every_tissue_has_properties_and_every_organ_a_tissue():
    assert set(PROPERTIES) == set(Tissue)
    assert set(ORGAN_OF_TISSUE.tolist()) == set(range(14))


def test_a_negative_seed_is_refused_with_a_remedy():
    with pytest.raises(InvalidInputError, match="Correct these arguments"):
        generate(-1)
    with pytest.raises(InvalidInputError, match="rising levels"):
        generate(1, coverage=(50.0, -50.0))
