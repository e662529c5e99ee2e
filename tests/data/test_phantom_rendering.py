"""Rendering of the phantom: plausible HU, finite MR, labels untouched, command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from organseg.data.phantom import (
    Coverage,
    Modality,
    Phantom,
    Phase,
    Tissue,
    generate,
    render,
    render_ct,
)
from organseg.data.phantom.__main__ import main
from organseg.data.phantom.patient import draw_patient
from organseg.data.phantom.samples import Sample, write_samples
from organseg.data.phantom.sheet import Row, draw_sheet
from organseg.organs import ORGANS


@pytest.fixture(scope="module")
def abdomen() -> Phantom:
    return generate(1, coverage=Coverage.ABDOMEN, slices=30, size_hw=(128, 128))


def test_tissues_have_plausible_hu(abdomen):
    image = render_ct(abdomen, 0)
    medians = {
        tissue: float(np.median(image[abdomen.tissues == tissue]))
        for tissue in (
            Tissue.AIR, Tissue.LUNG, Tissue.SUBCUTANEOUS_FAT, Tissue.MUSCLE, Tissue.LIVER,
            Tissue.CORTICAL_BONE,
        )
    }  # fmt: skip
    assert -1024 <= medians[Tissue.AIR] < -950
    assert -950 < medians[Tissue.LUNG] < -650
    assert -140 < medians[Tissue.SUBCUTANEOUS_FAT] < -60
    assert 20 < medians[Tissue.MUSCLE] < 100
    assert 0 < medians[Tissue.LIVER] < 190
    assert medians[Tissue.CORTICAL_BONE] > 180


def test_the_aorta_shines_in_the_arterial_phase_only():
    def aorta_hu(phase: Phase) -> float:
        seed = next(s for s in range(200) if draw_patient(s).phase is phase)
        phantom = generate(seed, coverage=Coverage.ABDOMEN, slices=16, size_hw=(96, 96))
        return float(np.median(render_ct(phantom, 0)[phantom.tissues == Tissue.AORTA]))

    assert aorta_hu(Phase.UNENHANCED) < 90 < aorta_hu(Phase.ARTERIAL)


@pytest.mark.parametrize("modality", list(Modality))
def test_rendering_is_deterministic_finite_and_leaves_the_labels_alone(abdomen, modality):
    slab = abdomen.slab(8, 14)
    before = slab.tissues.tobytes()
    first, again, other = (render(slab, modality, seed) for seed in (3, 3, 4))
    assert first.shape == slab.tissues.shape
    assert first.dtype == np.float32
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
    assert np.isfinite(first).all()
    assert slab.tissues.tobytes() == before
    if modality is Modality.CT:
        assert first.min() >= -1024
    else:
        assert first.min() >= 0


def test_scans_of_one_patient_scatter_widely(abdomen):
    slab = abdomen.slab(10, 14)
    kidney = slab.tissues == Tissue.LEFT_RENAL_CORTEX
    assert kidney.any()
    values = [float(np.median(render_ct(slab, seed)[kidney])) for seed in range(12)]
    assert max(values) - min(values) > 50


def test_the_sheet_has_a_tile_for_every_patient_and_level():
    sheet = draw_sheet((Row(0, Modality.CT, True),), levels_mm=(30.0, -220.0), tile=64)
    assert sheet.size == (92 + 2 * 64, 64)
    upper = np.asarray(sheet)[:, 92 : 92 + 64].astype(int)
    lower = np.asarray(sheet)[:, 92 + 64 :].astype(int)
    # Colour means organs: some at the kidneys' level, none in the pelvis.
    assert np.ptp(upper, axis=2).max() > 40
    assert np.ptp(lower, axis=2).max() == 0


def test_samples_come_with_labels_and_an_honest_record(tmp_path):
    sample = Sample("slice", 4, 40.0, Modality.CT)
    write_samples(tmp_path, (sample,))
    (record,) = json.loads((tmp_path / "samples.json").read_text())
    labels = np.asarray(Image.open(tmp_path / record["labels"]))
    image = np.asarray(Image.open(tmp_path / record["image"]))
    assert image.dtype == labels.dtype == np.uint8
    assert image.shape == labels.shape
    names = {organ.id: organ.name for organ in ORGANS}
    present = [names[value] for value in sorted(set(labels.ravel().tolist()) - {0})]
    assert record["organs_present"] == present
    assert {"liver", "aorta"} <= set(present)
    assert record["modality"] == "ct"


def test_help_teaches_the_commands(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for word in ("sheet", "samples", "speed", "examples:"):
        assert word in text
