"""The slice set: deterministic, by patient, resumable, clear about what does not fit."""

from __future__ import annotations

import hashlib
from itertools import islice

import numpy as np
import pytest

from organseg.data.splits import Split, split_of
from organseg.errors import DatasetError
from organseg.training import slices as module
from organseg.training.options import SlicesOptions
from organseg.training.slices import open_slices, patient_seeds, write_slices

OPTIONS = SlicesOptions(volumes=2, validation_volumes=1, slices=3, size=48, processes=1)


def content(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


def test_the_same_options_write_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_slices(tmp_path / name, Split.TRAIN, OPTIONS)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    slices = open_slices(tmp_path / "a")
    assert slices.images.shape == slices.labels.shape == (6, 48, 48)
    assert slices.images.max() == 255
    assert slices.labels.max() <= 13
    assert slices.patients.tolist() == sorted(slices.patients.tolist())


def test_a_killed_run_goes_on_and_writes_what_a_whole_one_does(tmp_path, monkeypatch):
    write_slices(tmp_path / "whole", Split.TRAIN, OPTIONS)
    write, calls = module._write_volume, []

    def write_once(folder, index, seed, options):
        if calls:
            raise KeyboardInterrupt
        calls.append(index)
        return write(folder, index, seed, options)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write_volume", write_once)
        with pytest.raises(KeyboardInterrupt):
            write_slices(tmp_path / "parts", Split.TRAIN, OPTIONS)
    with pytest.raises(DatasetError, match="1 of 2 volumes"):
        open_slices(tmp_path / "parts")
    write_slices(tmp_path / "parts", Split.TRAIN, OPTIONS)
    assert content(tmp_path / "parts") == content(tmp_path / "whole")


def test_no_patient_is_in_two_splits():
    seeds = {split: list(islice(patient_seeds(split, OPTIONS), 40)) for split in Split}
    for split, found in seeds.items():
        assert all(split_of(f"phantom-{seed}", seed=0) is split for seed in found)
    every = [seed for found in seeds.values() for seed in found]
    assert len(every) == len(set(every))


def test_another_wish_on_the_same_folder_is_refused(tmp_path):
    write_slices(tmp_path, Split.VALIDATION, OPTIONS)
    other = SlicesOptions(**{**vars(OPTIONS), "ct_share": 0.1})
    with pytest.raises(DatasetError, match="name another folder"):
        write_slices(tmp_path, Split.VALIDATION, other)


def test_a_folder_without_slices_names_the_command_that_makes_them(tmp_path):
    with pytest.raises(DatasetError, match=r"python -m organseg\.training slices"):
        open_slices(tmp_path)


def test_modalities_are_mixed_as_asked():
    from organseg.data.phantom import generate

    options = SlicesOptions(ct_share=0.5, slices=2)
    names = [
        module.render_slices(generate(seed, slices=2, size_hw=(32, 32)), options)[1].value
        for seed in range(8)
    ]
    assert {"ct"} < set(names)
    assert 0 < names.count("ct") < 8
    assert not np.isin(names, ["ct", "mr", "random"], invert=True).any()
