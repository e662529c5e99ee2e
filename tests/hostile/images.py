"""Malformed and hostile images, made on the fly: a name to the bytes that a client might send.

Each must be refused with `ImageError` from its header, within bounded time and memory. The
DICOM builder also makes well-formed files for the tests of the reader.
"""

from __future__ import annotations

import io
import pickle
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
RLE_LOSSLESS = "1.2.840.10008.1.2.5"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"


def picture(height: int = 40, width: int = 56) -> NDArray[np.uint8]:
    """A slice with a gradient and a bright corner, so that no flip looks like another."""
    rows, columns = np.mgrid[:height, :width]
    grey = (rows * 2 + columns).astype(np.uint8)
    grey[: height // 4, : width // 4] = 250
    return grey


def encode(image: Image.Image, file_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int, bits: int = 8) -> bytes:
    return _PNG_SIGNATURE + png_chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    )


def png_bomb() -> bytes:
    """12,000 x 12,000 one-bit pixels in some 20 kB."""
    body = zlib.compress(bytes(12_000 * (1 + 1_500)), 9)
    return png_header(12_000, 12_000, bits=1) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


def png_text_bomb() -> bytes:
    """A small picture with a compressed comment that inflates to 16 MiB."""
    whole = encode(Image.fromarray(picture()), "PNG")
    comment = b"Comment\x00\x00" + zlib.compress(bytes(2**24), 9)
    end = whole.rindex(b"IEND") - 4
    return whole[:33] + png_chunk(b"zTXt", comment) + whole[33:end] + whole[end:]


def npy(array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npy_header(text: str, version: tuple[int, int] = (1, 0)) -> bytes:
    body = text.encode("latin1") + b"\n"
    length = struct.pack("<H" if version == (1, 0) else "<I", len(body))
    return b"\x93NUMPY" + bytes(version) + length + body


def jpeg_of_many_scans() -> bytes:
    """A progressive JPEG whose first scan is repeated: each costs the decoder a pass."""
    whole = encode(Image.fromarray(picture()), "JPEG", progressive=True)
    start = whole.index(b"\xff\xda")
    end = whole.index(b"\xff", start + 2)
    return whole[:end] + whole[start:end] * 2_000 + whole[end:]


def jpeg_header(width: int, height: int) -> bytes:
    whole = encode(Image.fromarray(picture()), "JPEG")
    start = whole.index(b"\xff\xc0") + 5
    return whole[:start] + struct.pack(">HH", height, width) + whole[start + 4 :]


def dicom(
    stored: NDArray[Any] | bytes,
    *,
    size_hw: tuple[int, int] | None = None,
    syntax: str = EXPLICIT_LITTLE,
    preamble: bool = True,
    drop: tuple[str, ...] = (),
    **elements: Any,
) -> bytes:
    """A single-frame DICOM file: an array stored as it is, or one frame already compressed.

    `elements` replace or add header elements by keyword; `drop` names those to leave out.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, CTImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["instance"])
    meta.TransferSyntaxUID = UID(syntax)
    image = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    image.Modality = "CT"
    image.SeriesInstanceUID = generate_uid(entropy_srcs=["series"])
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.ImagePositionPatient = [0, 0, 0]
    image.PixelSpacing = [1, 1]
    if isinstance(stored, bytes):
        rows, columns = size_hw or picture().shape
        bits, is_signed, samples = 8, 0, 1
    else:
        rows, columns = size_hw or stored.shape[:2]
        bits = stored.dtype.itemsize * 8
        is_signed, samples = int(stored.dtype.kind == "i"), 1 if stored.ndim == 2 else 3
    image.Rows, image.Columns = rows, columns
    image.SamplesPerPixel = samples
    image.PhotometricInterpretation = "MONOCHROME2" if samples == 1 else "RGB"
    if samples == 3:
        image.PlanarConfiguration = 0
    image.BitsAllocated = image.BitsStored = bits
    image.HighBit = bits - 1
    image.PixelRepresentation = is_signed
    image.RescaleIntercept, image.RescaleSlope = 0, 1
    encoded = encapsulate([stored]) if isinstance(stored, bytes) else stored.tobytes()
    image.add_new("PixelData", "OB" if bits == 8 else "OW", encoded)
    if isinstance(stored, bytes):
        image["PixelData"].is_undefined_length = True
    for keyword, value in elements.items():
        setattr(image, keyword, value)
    for keyword in drop:
        delattr(image, keyword)
    stream = io.BytesIO()
    image.save_as(stream, enforce_file_format=True)
    whole = stream.getvalue()
    if preamble:
        return whole
    # The file meta group says its own length in its first element.
    meta_end = 144 + struct.unpack("<I", whole[140:144])[0]
    return whole[meta_end:]


def dicom_rle_bomb() -> bytes:
    """One RLE segment of runs that expand 64-fold, far past the declared 40 x 56 pixels."""
    header = struct.pack("<16I", 1, 64, *([0] * 14))
    return dicom(header + b"\x81\x00" * 2_000_000, syntax=RLE_LOSSLESS)


def dicom_deflated_bomb() -> bytes:
    """16 MiB of zeros behind the deflated transfer syntax, which parsers inflate at once."""
    whole = dicom(picture())
    meta_end = 144 + struct.unpack("<I", whole[140:144])[0]
    # The deflated syntax is written padded to 22 bytes + NUL; the plain one has 19 + NUL.
    plain = b"\x02\x00\x10\x00UI" + struct.pack("<H", 20) + b"1.2.840.10008.1.2.1\x00"
    deflated = b"\x02\x00\x10\x00UI" + struct.pack("<H", 22) + b"1.2.840.10008.1.2.1.99"
    group_length = struct.unpack("<I", whole[140:144])[0] + 2
    meta = whole[:140] + struct.pack("<I", group_length) + whole[144:meta_end]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return meta.replace(plain, deflated) + packer.compress(bytes(2**24)) + packer.flush()


def deep_dicom() -> bytes:
    """Sequences nested thousands deep, each of undefined length."""
    whole = dicom(picture())
    nest = b"\x40\x00\x60\x02SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return whole[: 144 + struct.unpack("<I", whole[140:144])[0]] + nest * 5_000


def build_hostile_images() -> dict[str, bytes]:
    """Every malformed image by name."""
    grey = picture()
    image = Image.fromarray(grey)
    png, jpeg = encode(image, "PNG"), encode(image, "JPEG")
    not_a_number = np.full((16, 16), np.nan, dtype=np.float32)
    half_infinite = np.zeros((16, 16), dtype=np.float32)
    half_infinite[:8] = np.inf
    jp2 = encode(image, "JPEG2000")
    jpeg_2000 = encode(Image.fromarray(picture(200, 200)), "JPEG2000", no_jp2=True)
    giant = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s,), }"
    return {
        "empty": b"",
        "one byte": b"\x89",
        "text": b"Which organ stores bile?",
        "html": b"<!doctype html><html><body>not found</body></html>",
        "gif": encode(image, "GIF"),
        "bmp": encode(image, "BMP"),
        "tiff": encode(image, "TIFF"),
        "zip": b"PK\x03\x04" + bytes(60),
        "zeros": bytes(4096),
        "too many bytes": png + bytes(64 * 2**20),
        "png signature alone": _PNG_SIGNATURE,
        "png truncated in its header": png[:20],
        "png truncated in its pixels": png[: len(png) // 2],
        "png 50,000 x 50,000 header": png_header(50_000, 50_000),
        "png greatest header": png_header(2**31 - 1, 2**31 - 1),
        "png without width": png_header(0, 40),
        "png of one pixel": encode(Image.fromarray(grey[:1, :1]), "PNG"),
        "png bomb": png_bomb(),
        "png text bomb": png_text_bomb(),
        "png one side too long": encode(Image.new("L", (4097, 8)), "PNG"),
        "png animated": encode(image, "PNG", save_all=True, append_images=[image.rotate(180)]),
        "jpeg signature alone": b"\xff\xd8\xff\xe0",
        "jpeg truncated": jpeg[: len(jpeg) // 2],
        "jpeg 65,000 x 65,000 header": jpeg_header(65_000, 65_000),
        "jpeg of many scans": jpeg_of_many_scans(),
        "npy signature alone": b"\x93NUMPY",
        "npy pickled": npy(np.array([{"a": 1}, None], dtype=object)),
        "npy pickle bytes": pickle.dumps(grey),
        "npy giant shape": npy_header(giant % "50000, 50000") + bytes(64),
        "npy overflowing shape": npy_header(giant % "4096, 9223372036854775807") + bytes(64),
        "npy negative shape": npy_header(giant % "-8, -8") + bytes(256),
        "npy truncated": npy(grey)[:-100],
        "npy huge header": npy_header("{" + " " * 200_000 + "}", (2, 0)),
        "npy header beyond its end": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1),
        "npy header with code": npy_header("__import__('os').getcwd()"),
        "npy deeply nested header": npy_header("(" * 4_000 + ")" * 4_000),
        "npy unknown version": b"\x93NUMPY\x09\x00" + bytes(64),
        "npy NaN": npy(not_a_number),
        "npy infinite": npy(half_infinite),
        "npy beyond float32": npy(np.full((16, 16), 1e300)),
        "npy 1-D": npy(np.zeros(256, dtype=np.float32)),
        "npy 3-D": npy(np.zeros((16, 16, 16), dtype=np.float32)),
        "npy colour": npy(np.zeros((16, 16, 3), dtype=np.uint8)),
        "npy no axis": npy(np.float32(1.0)[...]),
        "npy empty": npy(np.zeros((0, 16), dtype=np.float32)),
        "npy complex": npy(np.zeros((16, 16), dtype=np.complex64)),
        "npy text": npy(np.full((16, 16), "liver")),
        "npy bytes": npy(np.full((16, 16), b"liver")),
        "npy bool": npy(np.zeros((16, 16), dtype=bool)),
        "npy dates": npy(np.zeros((16, 16), dtype="datetime64[s]")),
        "npy records": npy(np.zeros((16, 16), dtype=[("a", "f4"), ("b", "i4")])),
        "dicom preamble alone": bytes(128) + b"DICM",
        "dicom truncated in its header": dicom(grey)[:400],
        "dicom truncated in its pixels": dicom(grey)[:-1000],
        "dicom random header": bytes(128) + b"DICM" + np.random.default_rng(0).bytes(4096),
        "dicom without pixel data": dicom(grey, drop=("PixelData",)),
        "dicom without rows": dicom(grey, drop=("Rows",)),
        "dicom rows of zero": dicom(grey, Rows=0),
        "dicom 60,000 x 60,000 header": dicom(grey, Rows=60_000, Columns=60_000),
        "dicom header larger than its pixels": dicom(grey, Rows=4_000, Columns=4_000),
        "dicom multi-frame": dicom(np.tile(grey, (3, 1)), size_hw=grey.shape, NumberOfFrames=3),
        "dicom segmentation": dicom(grey, Modality="SEG"),
        "dicom of one bit": dicom(grey, BitsAllocated=1, BitsStored=1, HighBit=0),
        "dicom sagittal": dicom(grey, ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
        "dicom coronal": dicom(grey, ImageOrientationPatient=[1, 0, 0, 0, 0, -1]),
        "dicom oblique": dicom(grey, ImageOrientationPatient=[1, 0, 0, 0, 0.6, -0.8]),
        "dicom directions of zero": dicom(grey, ImageOrientationPatient=[0, 0, 0, 0, 0, 0]),
        "dicom infinite slope": dicom(grey, RescaleSlope="1e39"),
        "dicom deflated bomb": dicom_deflated_bomb(),
        "dicom rle bomb": dicom_rle_bomb(),
        "dicom deeply nested": deep_dicom(),
        "dicom jpeg-ls": dicom(b"\xff\xd8\xff\xf7" + bytes(60), syntax="1.2.840.10008.1.2.4.80"),
        "dicom broken jpeg 2000": dicom(b"\xff\x4f\xff\x51" + bytes(60), syntax=JPEG_2000_LOSSLESS),
        "dicom jpeg 2000 of another size": dicom(jpeg_2000, syntax=JPEG_2000_LOSSLESS),
        "dicom jpeg 2000 in a box": dicom(jp2, syntax=JPEG_2000_LOSSLESS),
        "dicom jpeg of another size": dicom(jpeg_header(65_000, 65_000), syntax=JPEG_BASELINE),
        "dicom truncated jpeg": dicom(jpeg[: len(jpeg) // 2], syntax=JPEG_BASELINE),
    }


HOSTILE_IMAGES: dict[str, bytes] = build_hostile_images()
