"""What a caller may give as an image, and what is sent of it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from organseg.errors import ImageError, WindowError
from organseg.imaging import limits
from organseg.imaging.decoding import decode_image
from organseg.imaging.volumes import read_nifti
from organseg.imaging.windowing import CT_WINDOW_HU
from organseg_client.images import encode_image

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_scans = pytest.mark.skipif(
    not SHARED_DATA.is_dir(), reason="the shared test scans are not beside this checkout"
)

GREY = np.add.outer(np.arange(32) * 3, np.arange(48) * 2).astype(np.uint8)
HOUNSFIELD = np.linspace(-1000, 1500, 32 * 48).reshape(32, 48)


def png_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_is_sent_as_it_is(kind: type, tmp_path: Path) -> None:
    path = tmp_path / "slice.png"
    path.write_bytes(png_bytes(GREY))
    assert encode_image(kind(path)).content == path.read_bytes()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_are_sent_as_they_are(kind: type) -> None:
    sent = encode_image(kind(b"not even an image: that is for the server to say"))
    assert sent.content == b"not even an image: that is for the server to say"
    assert type(sent.content) is bytes
    assert sent.window is None


def test_grey_levels_survive_the_way_to_the_server() -> None:
    for array in (GREY, np.asfortranarray(GREY), GREY[::2, ::-1]):
        sent = encode_image(array)
        assert sent.content.startswith(b"\x89PNG")
        np.testing.assert_array_equal(decode_image(sent.content).pixels, array)
        np.testing.assert_array_equal(sent.pixels(), array)


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        (np.int16, np.int16),
        (np.float16, np.float16),
        (np.float32, np.float32),
        (np.float64, np.float32),
        (np.int64, np.float32),
        (np.dtype(">i2"), np.dtype(">i2")),
    ],
)
def test_other_numbers_travel_as_npy_with_their_values(dtype: type, stored: type) -> None:
    array = np.rint(HOUNSFIELD).astype(dtype)
    sent = encode_image(array, window=(-100, 100))
    received = np.load(io.BytesIO(sent.content), allow_pickle=False)
    assert received.dtype == stored
    np.testing.assert_array_equal(received, array)
    assert sent.window == (-100, 100)
    assert sent.pixels()[0, 0] == 0
    assert sent.pixels()[-1, -1] == 255


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_pictures_of_every_mode_are_sent_as_png_and_look_alike(mode: str) -> None:
    picture = Image.fromarray(GREY).convert(mode)
    seen = decode_image(encode_image(picture).content).pixels.astype(int)
    expected = np.asarray(picture.convert("RGB").convert("L")).astype(int)
    assert np.abs(seen - expected).max() <= 2


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_pictures_of_more_than_8_bits_keep_their_values(mode: str) -> None:
    values = (HOUNSFIELD + 1000).astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode])
    picture = Image.fromarray(values)
    assert picture.mode == mode
    received = np.load(io.BytesIO(encode_image(picture).content), allow_pickle=False)
    np.testing.assert_array_equal(received, values)


def test_a_constant_image_is_legal() -> None:
    assert decode_image(encode_image(np.zeros((16, 16), dtype=np.uint8)).content).is_blank
    assert decode_image(encode_image(np.full((16, 16), -1000.0)).content).is_blank


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((3, 32, 48), np.uint8), r"\[H, W\], came an array of 3 axes"),
        (np.zeros((32, 48, 3), np.uint8), "colour as a PIL image"),
        (np.zeros(48, np.uint8), "came an array of 1 axes"),
        (np.zeros((32, 48), np.complex64), "came dtype complex64"),
        (np.zeros((32, 48), bool), "came dtype bool"),
        (np.zeros((32, 48), object), "came dtype object"),
        (np.array([["a"] * 48] * 32), "came dtype <U1"),
        (np.full((32, 48), np.nan), "NaN or infinity"),
        (np.full((32, 48), -np.inf, np.float32), "NaN or infinity"),
        (np.full((32, 48), 1e300), "NaN or infinity"),
        (np.zeros((0, 48), np.uint8), "came 0 rows x 48 columns"),
        (np.zeros((limits.MIN_SIDE_PIXELS - 1, 48), np.uint8), "came 7 rows"),
        (np.zeros((1, limits.MAX_SIDE_PIXELS + 1), np.uint8), "came 1 rows x 4097 columns"),
        (Image.new("L", (limits.MAX_SIDE_PIXELS + 1, 16)), "came 16 rows x 4097 columns"),
        (Image.fromarray(np.full((32, 48), np.nan, np.float32)), "NaN or infinity"),
        (b"", "came 0 bytes"),
        (bytes(limits.MAX_IMAGE_BYTES + 1), f"at most {limits.MAX_IMAGE_BYTES} bytes"),
        ([[0, 1], [2, 3]], "came list"),
        (None, "came NoneType"),
        (7, "came int"),
    ],
)
def test_what_cannot_be_an_image_is_refused_and_says_why(image: object, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        encode_image(image)  # type: ignore[arg-type]


def test_a_truncated_picture_is_refused_although_pillow_opens_it_lazily() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    picture = Image.open(io.BytesIO(png_bytes(noise)[:600]))
    with pytest.raises(ImageError, match="truncated, damaged or closed"):
        encode_image(picture)


def test_a_missing_file_an_empty_file_and_an_oversized_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="found none at the path"):
        encode_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="found none at the path"):
        encode_image(tmp_path / "none.nii.gz", slice_index=0)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match="came 0 bytes"):
        encode_image(tmp_path / "empty.png")
    with (tmp_path / "large.dcm").open("wb") as large:
        large.truncate(limits.MAX_IMAGE_BYTES + 1)
    with pytest.raises(ImageError, match="crop it"):
        encode_image(tmp_path / "large.dcm")


def test_no_path_stands_in_a_message_since_scans_are_named_after_patients(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        encode_image(tmp_path / "DOE^JANE.png")
    assert "JANE" not in str(caught.value)


@pytest.mark.parametrize(
    "window",
    [
        (240, -160),
        (0, 0),
        (0, float("nan")),
        (float("-inf"), 0),
        (1,),
        (1, 2, 3),
        "ab",
        5,
        (0, 1e300),
        (1e9, 1e9 + 1),
    ],
)
def test_a_window_that_is_none_is_refused_also_where_float32_cannot_hold_it(
    window: object,
) -> None:
    with pytest.raises(WindowError):
        encode_image(GREY, window=window)  # type: ignore[arg-type]


def test_a_slice_index_is_for_volumes_only() -> None:
    with pytest.raises(ImageError, match="with a volume only"):
        encode_image(GREY, slice_index=0)


def write_nifti(path: Path, values_xyz: np.ndarray) -> Path:
    """A RAS+ NIfTI of 2 mm voxels."""
    import nibabel

    nibabel.save(nibabel.Nifti1Image(values_xyz, np.diag([2.0, 2.0, 2.0, 1.0])), path)
    return path


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_a_nifti_slice_is_sent_in_display_orientation_with_the_window_of_the_volume(
    name: str, tmp_path: Path
) -> None:
    values = np.full((20, 30, 5), -1000, dtype=np.int16)
    values[1, 2, 3] = 100  # Near the patient's left (x rises to the right) and back.
    path = write_nifti(tmp_path / name, values)
    sent = encode_image(path, slice_index=3)
    shown = np.load(io.BytesIO(sent.content), allow_pickle=False)
    assert shown.shape == (30, 20)
    assert np.argwhere(shown == 100).tolist() == [[27, 18]]
    assert sent.window == CT_WINDOW_HU
    assert encode_image(path, window=(0, 50), slice_index=3).window == (0, 50)


def test_slices_of_a_scan_that_is_not_ct_share_one_window(tmp_path: Path) -> None:
    values = np.random.default_rng(0).gamma(2.0, 100.0, (20, 30, 5)).astype(np.float32)
    values[..., 4] *= 5
    path = write_nifti(tmp_path / "mr.nii.gz", values)
    windows = {encode_image(path, slice_index=index).window for index in range(5)}
    assert len(windows) == 1
    (window,) = windows
    assert window == tuple(np.float32(read_nifti(path).default_window()).tolist())


def test_a_volume_needs_a_slice_index_that_it_has(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "scan.nii.gz", np.zeros((20, 30, 5), dtype=np.int16))
    with pytest.raises(ImageError, match=r"a volume of 5; give a slice index from 0 \(feet\) to 4"):
        encode_image(path)
    for index in (-1, 5):
        with pytest.raises(ImageError, match=f"came {index}"):
            encode_image(path, slice_index=index)
    with pytest.raises(ImageError, match="whole number, came float"):
        encode_image(path, slice_index=1.5)  # type: ignore[arg-type]


@needs_scans
def test_a_slice_of_a_real_ct_volume_is_sent_with_the_ct_window() -> None:
    sent = encode_image(SHARED_DATA / "ts_ct" / "image.nii.gz", slice_index=60)
    assert sent.window == CT_WINDOW_HU
    pixels = sent.pixels()
    assert pixels.std() > 20


@needs_scans
def test_a_slice_of_a_real_mr_volume_is_not_taken_for_ct() -> None:
    sent = encode_image(SHARED_DATA / "ts_mr" / "image.nii.gz", slice_index=10)
    assert sent.window is not None
    assert sent.window != CT_WINDOW_HU
    assert sent.pixels().std() > 20


@needs_scans
def test_a_real_dicom_file_and_its_slice_in_a_folder_show_the_same_pixels(tmp_path: Path) -> None:
    folder = SHARED_DATA / "ts_dicom" / "dicom"
    # Three slices of twenty, linked: JPEG 2000 takes its time.
    for name in ("IM0006.dcm", "IM0007.dcm", "IM0008.dcm"):
        (tmp_path / name).symlink_to(folder / name)
    from_file = encode_image(folder / "IM0007.dcm").pixels()
    from_folder = encode_image(tmp_path, slice_index=1).pixels()
    np.testing.assert_array_equal(from_folder, from_file)
    assert from_file.std() > 20
