from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from organseg.errors import ImageError
from organseg.imaging.volumes import Volume, read_nifti
from organseg.imaging.windowing import CT_WINDOW_HU, Modality, percentile_window

nibabel = pytest.importorskip("nibabel")

# The display axes Z, H, W as RAS+ directions: to the head, the back and the left.
DISPLAY_DIRECTIONS = np.array([[0, 0, 1], [0, -1, 0], [-1, 0, 0]], dtype=np.float64)
SPACING_ZYX_MM = (5.0, 0.7, 0.9)
ORIENTATIONS = [
    (axes, flips)
    for axes in itertools.permutations(range(3))
    for flips in itertools.product([False, True], repeat=3)
]


def _display_values() -> np.ndarray:
    """An object without any symmetry: every voxel differs."""
    return np.arange(9 * 10 * 12, dtype=np.int16).reshape(9, 10, 12)


def _as_file(display: np.ndarray, axes: tuple[int, ...], flips: tuple[bool, ...]):
    """The array and affine of a file whose axis a runs along display axis axes[a], maybe back."""
    array = display.transpose(axes)
    affine = np.eye(4)
    affine[:3, 3] = [11.0, -7.0, 400.0]
    for axis, (display_axis, is_flipped) in enumerate(zip(axes, flips, strict=True)):
        step = DISPLAY_DIRECTIONS[display_axis] * SPACING_ZYX_MM[display_axis]
        affine[:3, axis] = -step if is_flipped else step
        array = np.flip(array, axis) if is_flipped else array
    return array, affine


def _write(path, array, affine, **header) -> None:
    image = nibabel.Nifti1Image(array, affine)
    for key, value in header.items():
        image.header[key] = value
    nibabel.save(image, path)


@pytest.fixture
def write_and_read(tmp_path):
    def write_and_read(array, affine=None, name="scan.nii", modality=Modality.UNKNOWN) -> Volume:
        affine = np.diag([1.0, 1.0, 1.0, 1.0]) if affine is None else affine
        _write(tmp_path / name, array, affine)
        return read_nifti(tmp_path / name, modality)

    return write_and_read


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
def test_every_axis_orientation_shows_alike_and_goes_back_voxel_by_voxel(
    axes, flips, write_and_read
):
    array, affine = _as_file(_display_values(), axes, flips)
    volume = write_and_read(array, affine)
    assert np.array_equal(volume.values, _display_values())
    assert volume.spacing_zyx_mm == pytest.approx(SPACING_ZYX_MM)
    assert np.array_equal(volume.restore(volume.values), array)
    assert volume.affine == pytest.approx(affine)


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS[::7])
def test_a_slightly_oblique_scan_takes_its_nearest_axes(axes, flips, write_and_read):
    array, affine = _as_file(_display_values(), axes, flips)
    angle = np.radians(20)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    volume = write_and_read(array, tilt @ affine)
    assert np.array_equal(volume.values, _display_values())
    assert volume.spacing_zyx_mm == pytest.approx(SPACING_ZYX_MM)


def test_a_compressed_file_is_read_alike(write_and_read):
    array, affine = _as_file(_display_values(), (2, 1, 0), (False, True, False))
    assert np.array_equal(write_and_read(array, affine, "scan.nii.gz").values, _display_values())


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.full((9, 9, 9), 32767, dtype=np.int32), np.int16),
        (np.full((9, 9, 9), 32768, dtype=np.int32), np.float32),
        (np.full((9, 9, 9), 13, dtype=np.uint8), np.int16),
        (np.full((9, 9, 9), 13.0, dtype=np.float64), np.int16),
        (np.full((9, 9, 9), 0.25, dtype=np.float32), np.float32),
    ],
)
def test_whole_numbers_that_fit_are_kept_as_int16(values, dtype, write_and_read):
    volume = write_and_read(values)
    assert volume.values.dtype == dtype
    assert (volume.values == values.flat[0]).all()


def test_the_headers_slope_and_intercept_are_applied(tmp_path):
    image = nibabel.Nifti1Image(np.full((9, 9, 9), 100, dtype=np.int16), np.eye(4))
    image.header.set_slope_inter(0.5, -10.25)
    path = tmp_path / "scan.nii"
    nibabel.save(image, path)
    raw = bytearray(path.read_bytes())
    # nibabel rescales the data when it saves: put the plain numbers under the same header.
    raw[352:] = np.full(9 * 9 * 9, 100, dtype="<i2").tobytes()
    path.write_bytes(raw)
    assert (read_nifti(path).values == 39.75).all()


def test_a_slice_is_contiguous_and_counted_from_the_feet(write_and_read):
    array, affine = _as_file(_display_values(), (2, 1, 0), (True, True, True))
    volume = write_and_read(array, affine)
    assert np.array_equal(volume.slice_at(3), _display_values()[3])
    assert volume.slice_at(3).flags.c_contiguous
    assert volume.slice_at(3).dtype == np.int16


@pytest.mark.parametrize("index", [-1, 9, 1000])
def test_a_slice_beyond_the_volume_is_refused(index, write_and_read):
    array, affine = _as_file(_display_values(), (2, 1, 0), (True, True, True))
    with pytest.raises(ImageError, match=r"from 0 \(feet\) to 8 \(head\)"):
        write_and_read(array, affine).slice_at(index)


def test_a_mask_of_another_shape_is_refused(write_and_read):
    array, affine = _as_file(_display_values(), (2, 1, 0), (True, True, True))
    with pytest.raises(ImageError, match=r"^wanted .+, came .+; .+"):
        write_and_read(array, affine).restore(np.zeros((9, 12, 10), dtype=bool))


def test_ct_and_anything_with_air_get_the_ct_window(write_and_read):
    air = np.linspace(-1000, 500, 9**3).reshape(9, 9, 9).astype(np.int16)
    assert write_and_read(air).default_window() == CT_WINDOW_HU
    soft = np.abs(air)
    assert write_and_read(soft, modality=Modality.CT).default_window() == CT_WINDOW_HU


def test_mr_gets_one_percentile_window_for_all_slices_even_with_undershoot(write_and_read):
    signal = np.linspace(-47, 833, 9**3).reshape(9, 9, 9).astype(np.int16)
    for modality in (Modality.MR, Modality.UNKNOWN):
        assert write_and_read(signal, modality=modality).default_window() == percentile_window(
            signal
        )


def test_a_blank_volume_has_a_window_too(write_and_read):
    low, high = write_and_read(np.zeros((9, 9, 9), dtype=np.int16)).default_window()
    assert low < high


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((9, 9, 9, 2), dtype=np.int16), "wanted a 3-D NIfTI, came one of 4 axes"),
        (np.zeros((9, 9), dtype=np.int16), "came one of 2 axes"),
        (np.zeros((9, 9, 9), dtype=np.complex64), "complex"),
        (np.zeros((9, 9, 9), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]), "colour"),
        (np.full((9, 9, 9), np.nan, dtype=np.float32), "NaN"),
        (np.full((9, 9, 9), 1e300), "infinity"),
        (np.zeros((4, 9, 9), dtype=np.int16), "4 columns"),
        (np.zeros((9, 5000, 9), dtype=np.int8), "5000 rows"),
    ],
)
def test_a_nifti_that_is_no_usable_volume_is_refused(array, words, write_and_read):
    with pytest.raises(ImageError, match=words) as caught:
        write_and_read(array)
    assert re.match(r"^wanted .+, came .+; .+", str(caught.value))


def test_a_nifti_that_hides_left_and_right_is_refused(tmp_path):
    _write(tmp_path / "a.nii", np.zeros((9, 9, 9), np.int16), None, qform_code=0, sform_code=0)
    with pytest.raises(ImageError, match="where left and right are"):
        read_nifti(tmp_path / "a.nii")


@pytest.mark.parametrize(("code", "unit"), [(1, "meter"), (3, "micron")])
def test_a_nifti_in_another_unit_than_millimetres_is_refused(tmp_path, code, unit):
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    _write(tmp_path / "a.nii", np.zeros((9, 9, 9), np.int16), affine, xyzt_units=code)
    with pytest.raises(ImageError, match=unit):
        read_nifti(tmp_path / "a.nii")


def _patched(path, offset: int, patch: bytes) -> None:
    raw = bytearray(path.read_bytes())
    raw[offset : offset + len(patch)] = patch
    path.write_bytes(raw)


def test_a_giant_header_is_refused_before_a_voxel_is_read(tmp_path):
    path = tmp_path / "giant.nii"
    _write(path, np.zeros((9, 9, 9), np.int16), np.eye(4))
    _patched(path, 42, np.array([30000, 30000, 30000], dtype="<i2").tobytes())
    with pytest.raises(ImageError, match="voxels"):
        read_nifti(path)


def test_a_singular_affine_is_refused(tmp_path):
    path = tmp_path / "flat.nii"
    _write(path, np.zeros((9, 9, 9), np.int16), np.eye(4))
    _patched(path, 280, bytes(48))  # the three rows of the sform
    with pytest.raises(ImageError, match="affine"):
        read_nifti(path)


def test_broken_missing_and_foreign_files_are_refused_by_name_only(tmp_path):
    whole = tmp_path / "whole.nii.gz"
    _write(whole, np.random.default_rng(0).integers(0, 99, (9, 9, 9), np.int16), np.eye(4))
    (tmp_path / "cut.nii.gz").write_bytes(whole.read_bytes()[:-300])
    (tmp_path / "text.nii").write_text("no scan")
    (tmp_path / "empty.nii.gz").write_bytes(b"")
    for name in ("cut.nii.gz", "text.nii", "empty.nii.gz", "missing.nii"):
        with pytest.raises(ImageError, match=r"^wanted .+, came .+; .+") as caught:
            read_nifti(tmp_path / name)
        assert name in str(caught.value)
        assert str(tmp_path) not in str(caught.value)
