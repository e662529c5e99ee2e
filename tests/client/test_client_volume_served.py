"""Volumes on the real Triton server: every slice's answer is that of the slice alone."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from constructed import PICTURES
from organseg.contract import Verdict
from organseg_client import NothingSegmentedError, OrganSegClient

nibabel = pytest.importorskip("nibabel")
pytestmark = pytest.mark.server

PIXELS_THAT_MAY_DIFFER = 0.001
"""Of a mask: half-precision states move a logit near zero over the threshold in another batch."""

LIVER_AND_AORTA = "Show me the liver and the aorta."
WINDOW = (0.0, 255.0)
"""With it a slice's values are the grey levels of the picture that it was made of."""


@pytest.fixture(scope="module")
def client(server_address: str) -> Iterator[OrganSegClient]:
    with OrganSegClient(server_address, deadline_s=120) as client:
        yield client


@pytest.fixture(scope="module")
def scan_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three slices of one picture with a blank one between, stored the other way round."""
    with Image.open(io.BytesIO(PICTURES[0])) as picture:
        pixels = np.asarray(picture, dtype=np.int16)
    shown = np.stack([pixels, np.full_like(pixels, 77), pixels])
    # Display (Z, H, W) as a file's (W, H, Z) in LPS.
    path = tmp_path_factory.mktemp("scans") / "scan.nii.gz"
    affine = np.diag([-2.0, -2.0, 5.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(shown.transpose(2, 1, 0), affine), path)
    return path


def test_slices_are_answered_as_they_are_alone(
    client: OrganSegClient, scan_path: Path, tmp_path: Path
) -> None:
    with client.segment_volume(scan_path, LIVER_AND_AORTA, window=WINDOW) as result:
        assert result.failures == ()
        assert [organ.name for organ in result.organs] == ["liver", "aorta"]
        assert result.slices[1].verdict is Verdict.ABSENT_IN_IMAGE
        alone = client.segment(PICTURES[0], LIVER_AND_AORTA)
        assert alone.verdict is Verdict.SEGMENTED
        for organ, mask in zip(alone.organs, alone.masks, strict=True):
            together = result.mask_of(organ.id)
            assert not together[1].any()
            for index in (0, 2):
                assert np.mean(together[index] != mask) <= PIXELS_THAT_MAY_DIFFER
        result.write_nifti(tmp_path / "labels.nii.gz")
        written = nibabel.load(tmp_path / "labels.nii.gz")
        stored = np.asanyarray(written.dataobj)
        assert np.array_equal(stored.transpose(2, 1, 0), result.label_map)
        assert np.array_equal(written.affine, nibabel.load(scan_path).affine)


def test_a_question_out_of_scope_is_answered_by_verdicts(
    client: OrganSegClient, scan_path: Path, tmp_path: Path
) -> None:
    question = "What is the capital of France?"
    with client.segment_volume(scan_path, question, window=WINDOW) as result:
        assert result.verdict is Verdict.OUT_OF_SCOPE
        assert not result.label_map.any()
        with pytest.raises(NothingSegmentedError):
            result.write_dicom_seg(tmp_path / "seg.dcm")


def test_a_real_series_and_a_real_nifti_are_answered_slice_by_slice(
    client: OrganSegClient, shared_data: Path, tmp_path: Path
) -> None:
    highdicom = pytest.importorskip("highdicom")
    series = shared_data / "dcmqi_liver"
    with client.segment_volume(series, "Outline the liver, please.") as result:
        assert len(result.slices) == 3
        if result.verdict is Verdict.SEGMENTED:
            result.write_dicom_seg(tmp_path / "seg.dcm")
            assert highdicom.seg.segread(tmp_path / "seg.dcm").number_of_segments >= 1
    with client.segment_volume(shared_data / "ts_mr" / "image.nii.gz", "Segment it") as result:
        assert len(result.slices) + len(result.failures) == 20
        result.write_nifti(tmp_path / "labels.nii.gz")
    source = nibabel.load(shared_data / "ts_mr" / "image.nii.gz")
    assert nibabel.load(tmp_path / "labels.nii.gz").shape == source.shape
