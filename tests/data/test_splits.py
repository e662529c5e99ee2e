from __future__ import annotations

import subprocess
import sys

import pytest

from organseg.data.splits import (
    DEFAULT_SHARES,
    Split,
    SplitShares,
    seeded_fraction,
    split_by_patient,
    split_of,
)
from organseg.errors import DatasetError

PATIENTS = [f"FLARE22_Tr_{number:04d}" for number in range(1, 2001)]


def test_slices_of_one_patient_are_never_in_two_splits():
    slices = [(patient, index) for index in range(7) for patient in PATIENTS[:200]]
    parts = split_by_patient(slices, lambda item: item[0])
    patients = {split: {patient for patient, _ in part} for split, part in parts.items()}
    assert sum(len(part) for part in parts.values()) == len(slices)
    assert sum(len(names) for names in patients.values()) == 200
    assert all(len(part) == 7 * len(patients[split]) for split, part in parts.items())


def test_a_patient_who_joins_moves_no_other():
    before = split_by_patient(PATIENTS[:100], str)
    after = split_by_patient(["a new one", *reversed(PATIENTS[:100])], str)
    for split in Split:
        assert set(before[split]) == set(after[split]) - {"a new one"}


def test_the_shares_hold_on_average():
    parts = split_by_patient(PATIENTS, str)
    assert len(parts[Split.TEST]) / 2000 == pytest.approx(DEFAULT_SHARES.test, abs=0.03)
    assert len(parts[Split.VALIDATION]) / 2000 == pytest.approx(0.1, abs=0.03)


def test_another_seed_gives_another_split():
    assert split_by_patient(PATIENTS, str) != split_by_patient(PATIENTS, str, seed=1)


def test_another_validation_share_leaves_the_test_patients_alone():
    wide = split_by_patient(PATIENTS, str, shares=SplitShares(validation=0.4, test=0.2))
    assert wide[Split.TEST] == split_by_patient(PATIENTS, str)[Split.TEST]


def test_the_split_is_the_same_in_another_process():
    # Python's own hash of a string differs from process to process; this one must not.
    code = "from organseg.data.splits import split_of; print(split_of('FLARE22_Tr_0007').value)"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert printed == split_of("FLARE22_Tr_0007").value


def test_joined_names_do_not_collide():
    assert seeded_fraction(0, "ab", "c") != seeded_fraction(0, "a", "bc")
    assert all(0.0 <= seeded_fraction(0, patient) < 1.0 for patient in PATIENTS)


def test_an_empty_patient_id_is_refused():
    with pytest.raises(DatasetError, match="patient"):
        split_of(" ")


@pytest.mark.parametrize("shares", [(0.5, 0.5), (-0.1, 0.2), (0.2, 1.2)])
def test_shares_that_leave_nothing_to_train_on_are_refused(shares):
    with pytest.raises(DatasetError, match="Shares"):
        SplitShares(*shares)
