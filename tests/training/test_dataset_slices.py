"""Slices of a FLARE22-shaped folder: every one, by patient, in display orientation, resumable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flare22_files import write_phantoms_as_flare22

from organseg.data.flare22 import find_scans, load_scan
from organseg.data.splits import Split, split_of
from organseg.errors import DatasetError
from organseg.training import dataset_slices
from organseg.training.dataset_slices import write_dataset_slices
from organseg.training.options import SlicesOptions

PATIENTS = 12


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "FLARE22"
    write_phantoms_as_flare22(folder, patients=PATIENTS)
    return SlicesOptions(size=48, dataset=str(folder))


def test_every_slice_of_a_splits_patients_is_there_and_no_other(options, tmp_path):
    scans = find_scans(Path(options.dataset))
    for split in (Split.TRAIN, Split.VALIDATION):
        seen = 0
        chosen = [scan for scan in scans if split_of(scan.patient_id) is split]
        slices = write_dataset_slices(tmp_path / split.value, split, options)
        assert len(slices) == 4 * len(chosen)
        assert np.isnan(slices.levels).all()
        assert not slices.tissues.any()
        for number, scan in enumerate(chosen):
            own = slices.labels[slices.patients == number]
            assert set(np.unique(own)) <= set(np.unique(load_scan(scan).labels))
            liver = (own == 1).any(axis=0)
            seen += int(liver.any())
            if liver.any():
                # The liver is on the patient's right: the left half of the picture.
                assert np.flatnonzero(liver.any(axis=0)).mean() < 24
        assert seen


def test_a_killed_run_goes_on(options, tmp_path, monkeypatch):
    whole = write_dataset_slices(tmp_path / "whole", Split.TRAIN, options)
    load, calls = dataset_slices.load_scan, []

    def load_two(*arguments, **settings):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(arguments)
        return load(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(dataset_slices, "load_scan", load_two)
        with pytest.raises(KeyboardInterrupt):
            write_dataset_slices(tmp_path / "killed", Split.TRAIN, options)
    redone = []

    def load_counted(*arguments, **settings):
        redone.append(arguments)
        return load(*arguments, **settings)

    monkeypatch.setattr(dataset_slices, "load_scan", load_counted)
    again = write_dataset_slices(tmp_path / "killed", Split.TRAIN, options)
    assert len(redone) == len(set(whole.patients.tolist())) - len(calls)
    assert (again.images == whole.images).all()
    assert (again.labels == whole.labels).all()


def test_a_set_too_small_for_the_split_is_refused(tmp_path):
    folder = tmp_path / "FLARE22"
    write_phantoms_as_flare22(folder, patients=1)
    options = SlicesOptions(size=48, dataset=str(folder))
    (scan,) = find_scans(folder)
    empty = next(split for split in Split if split is not split_of(scan.patient_id))
    with pytest.raises(DatasetError, match="got none"):
        write_dataset_slices(tmp_path / "slices", empty, options)


def test_an_unknown_label_map_is_refused_before_anything_is_written(options, tmp_path):
    with pytest.raises(DatasetError, match="flare23"):
        write_dataset_slices(tmp_path / "x", Split.TRAIN, replace(options, label_map="flare23"))
    assert not (tmp_path / "x").exists()
