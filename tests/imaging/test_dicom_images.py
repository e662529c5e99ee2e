from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image

from hostile.images import (
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    RLE_LOSSLESS,
    dicom,
    encode,
    picture,
)
from organseg.errors import ImageError
from organseg.imaging.decoding import decode_image
from organseg.imaging.orientation import IDENTITY
from organseg.imaging.windowing import (
    CT_WINDOW_HU,
    Modality,
    percentile_window,
    window_to_uint8,
)


def _stored() -> np.ndarray:
    """Raw CT values of a slice: HU + 1024, from air to bone."""
    return np.linspace(0, 2500, 40 * 56).reshape(40, 56).astype(np.int16)


def test_ct_is_rescaled_to_hounsfield_units_and_gets_the_ct_window():
    decoded = decode_image(dicom(_stored(), RescaleIntercept=-1024))
    expected = window_to_uint8(_stored() - 1024, CT_WINDOW_HU)
    assert np.array_equal(decoded.pixels, expected)
    assert decoded.modality is Modality.CT
    assert decoded.orientation == IDENTITY


def test_slope_and_intercept_are_both_applied():
    decoded = decode_image(dicom(_stored(), RescaleSlope=0.5, RescaleIntercept=-300))
    assert np.array_equal(decoded.pixels, window_to_uint8(_stored() * 0.5 - 300, CT_WINDOW_HU))


def test_a_window_is_in_rescaled_units():
    decoded = decode_image(dicom(_stored(), RescaleIntercept=-1024), window=(-100, 100))
    assert np.array_equal(decoded.pixels, window_to_uint8(_stored() - 1024, (-100, 100)))


def test_mr_gets_the_percentile_window():
    decoded = decode_image(dicom(_stored(), Modality="MR"))
    assert np.array_equal(decoded.pixels, window_to_uint8(_stored(), percentile_window(_stored())))
    assert decoded.modality is Modality.MR


def test_monochrome1_shows_high_values_dark():
    light = decode_image(dicom(_stored(), Modality="MR"))
    dark = decode_image(dicom(_stored(), Modality="MR", PhotometricInterpretation="MONOCHROME1"))
    assert np.array_equal(dark.pixels, 255 - light.pixels)


def test_hounsfield_units_stay_bright_for_dense_whatever_the_photometric_says():
    plain = decode_image(dicom(_stored(), RescaleIntercept=-1024))
    inverted = decode_image(
        dicom(_stored(), RescaleIntercept=-1024, PhotometricInterpretation="MONOCHROME1")
    )
    assert np.array_equal(inverted.pixels, plain.pixels)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_colour_becomes_luminance(photometric):
    rgb = np.zeros((16, 24, 3), dtype=np.uint8)
    rgb[...] = (200, 30, 90)
    stored = rgb
    if photometric == "YBR_FULL":
        stored = np.asarray(Image.fromarray(rgb).convert("YCbCr"))
    decoded = decode_image(dicom(stored, Modality="OT", PhotometricInterpretation=photometric))
    luminance = 0.299 * 200 + 0.587 * 30 + 0.114 * 90
    assert decoded.display_size_hw == (16, 24)
    assert np.abs(decoded.pixels - luminance).max() <= 2


def test_a_palette_becomes_luminance():
    ramp = (np.arange(256, dtype=np.uint16) * 257).astype("<u2").tobytes()
    tables = {}
    for color in ("Red", "Green", "Blue"):
        tables[f"{color}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tables[f"{color}PaletteColorLookupTableData"] = ramp
    encoded = dicom(picture(), Modality="OT", PhotometricInterpretation="PALETTE COLOR", **tables)
    assert np.abs(decode_image(encoded).pixels.astype(int) - picture()).max() <= 1


@pytest.mark.parametrize(
    ("cosines", "turn"),
    [
        ([1, 0, 0, 0, 1, 0], lambda shown: shown),
        ([1, 0, 0, 0, -1, 0], lambda shown: shown[::-1]),
        ([-1, 0, 0, 0, 1, 0], lambda shown: shown[:, ::-1]),
        ([0, 1, 0, 1, 0, 0], lambda shown: shown.T),
        ([0, -1, 0, -1, 0, 0], lambda shown: shown[::-1, ::-1].T),
    ],
)
def test_a_slice_comes_out_in_display_orientation_and_goes_back(cosines, turn):
    plain = decode_image(dicom(_stored())).pixels
    stored = np.ascontiguousarray(turn(_stored()))
    decoded = decode_image(dicom(stored, ImageOrientationPatient=cosines))
    assert np.array_equal(decoded.pixels, plain)
    assert np.array_equal(decoded.orientation.invert(decoded.pixels), turn(plain))


def test_an_image_without_orientation_is_taken_as_it_is():
    decoded = decode_image(dicom(_stored(), drop=("ImageOrientationPatient",)))
    assert decoded.orientation == IDENTITY


def test_a_file_without_its_preamble_is_read():
    whole = decode_image(dicom(_stored(), RescaleIntercept=-1024))
    bare = decode_image(dicom(_stored(), RescaleIntercept=-1024, preamble=False))
    assert np.array_equal(bare.pixels, whole.pixels)


def test_jpeg_2000_pixels_are_read_exactly():
    pytest.importorskip("openjpeg")
    frame = encode(Image.fromarray(picture()), "JPEG2000", no_jp2=True)
    decoded = decode_image(dicom(frame, syntax=JPEG_2000_LOSSLESS), window=(0, 255))
    assert np.array_equal(decoded.pixels, picture())


def test_jpeg_baseline_pixels_are_read():
    frame = encode(Image.fromarray(picture()), "JPEG", quality=95)
    decoded = decode_image(dicom(frame, syntax=JPEG_BASELINE), window=(0, 255))
    with Image.open(io.BytesIO(frame)) as image:
        assert np.array_equal(decoded.pixels, np.asarray(image))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_run_length_pixels_are_read_exactly(dtype):
    pydicom = pytest.importorskip("pydicom")
    stored = np.repeat(np.arange(40), 56).reshape(40, 56).astype(dtype)
    image = pydicom.dcmread(io.BytesIO(dicom(stored)))
    image.compress(RLE_LOSSLESS, generate_instance_uid=False)
    stream = io.BytesIO()
    image.save_as(stream, enforce_file_format=True)
    assert np.array_equal(decode_image(stream.getvalue(), window=(0, 255)).pixels, stored)


def test_a_constant_slice_is_legal_and_blank():
    assert decode_image(dicom(np.zeros((16, 16), dtype=np.int16))).is_blank


def test_messages_carry_nothing_of_the_patient():
    encoded = dicom(
        picture(), PatientName="Doe^Jane", PatientID="SECRET-7", Rows=60_000, StudyID="SECRET-8"
    )
    with pytest.raises(ImageError) as caught:
        decode_image(encoded)
    assert "Doe" not in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_without_pydicom_the_remedy_is_named(monkeypatch):
    encoded = dicom(picture())
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImageError, match=r"organseg\[volumes\]"):
        decode_image(encoded)


def test_damaged_dicom_gives_an_image_or_an_image_error_and_nothing_else():
    encoded = dicom(_stored(), RescaleIntercept=-1024)
    frame = encode(Image.fromarray(picture()), "JPEG2000", no_jp2=True)
    generator = np.random.default_rng(5)
    outcomes = set()
    for source in (encoded, dicom(frame, syntax=JPEG_2000_LOSSLESS)):
        for _ in range(150):
            damaged = bytearray(source)
            for place in generator.integers(132, min(len(damaged), 1200), 4):
                damaged[place] = generator.integers(0, 256)
            cut = (
                len(damaged) if generator.random() < 0.5 else generator.integers(132, len(damaged))
            )
            try:
                assert decode_image(bytes(damaged[:cut])).pixels.ndim == 2
                outcomes.add("image")
            except ImageError:
                outcomes.add("error")
    assert outcomes == {"image", "error"}
