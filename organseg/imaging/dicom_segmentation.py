"""The masks of a DICOM series as a DICOM-SEG object (BINARY) that refers to its slices."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organseg import __version__
from organseg.errors import ImageError, NothingSegmentedError
from organseg.imaging.dicom import quiet_pydicom
from organseg.imaging.label_volume import LabelVolume
from organseg.imaging.organ_codes import ANATOMICAL_STRUCTURE, ORGAN_CODES, SnomedCode
from organseg.imaging.volume_geometry import VolumeGeometry
from organseg.organs import organ_by_id

__all__ = ["write_dicom_segmentation"]

_NAME = "Organ-Seg"
_DESCRIPTION = "Organ-Seg organs; research only, not for diagnosis"
_UTF_8 = "ISO_IR 192"
# Behind the scanner's own series, which count from 1.
_SERIES_OFFSET = 1000
_NEEDED = (
    "FrameOfReferenceUID",
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
)
# May be empty, must be there (type 2 of the modules Patient and General Study).
_MAY_BE_EMPTY = (
    "AccessionNumber",
    "PatientBirthDate",
    "PatientID",
    "PatientName",
    "PatientSex",
    "ReferringPhysicianName",
    "StudyDate",
    "StudyID",
    "StudyTime",
)
_OTHERS = (
    "ClinicalTrialCoordinatingCenterName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSponsorName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialTimePointID",
    "Columns",
    "DeidentificationMethod",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "LossyImageCompression",
    "LossyImageCompressionMethod",
    "LossyImageCompressionRatio",
    "Modality",
    "PatientAge",
    "PatientIdentityRemoved",
    "PixelSpacing",
    "PositionReferenceIndicator",
    "Rows",
    "SeriesNumber",
    "SliceThickness",
    "StudyDescription",
)


def write_dicom_segmentation(
    path: str | Path, labels: LabelVolume, geometry: VolumeGeometry, source_files: Sequence[Path]
) -> None:
    """Writes every organ that has a voxel as a segment of one DICOM-SEG object, type BINARY.

    Frames lie in the source slices' own frame and refer to them; slices without an organ have no
    frame. Segments carry SNOMED codes and the project's colours, and may overlap. Patient and
    study are those of the source. `source_files` are the DICOM files of each slice, feet to
    head; their headers are read again, from the first slice with an organ to the last, and their
    masks are mapped from a temporary file.

    Raises `NothingSegmentedError` where no organ has a voxel, `ImageError` for a scan that is no
    DICOM series or whose headers lack the identifiers to refer to, `OSError` where the file
    cannot be written.
    """
    if not labels.organ_ids:
        raise NothingSegmentedError(
            "wanted a DICOM-SEG object, came an answer in which no organ was segmented, and the "
            "standard knows no empty one; read the verdicts (the CSV lists them slice by slice)"
        )
    if geometry.nifti_header is not None or len(source_files) != geometry.shape_zhw[0]:
        raise ImageError(
            "wanted a DICOM series for a DICOM-SEG object, which refers to its instances, came a "
            "scan of another kind; write NIfTI instead"
        )
    shown = sorted({index for organ in labels.organ_ids for index in labels.slices_of(organ)})
    indices = range(shown[0], shown[-1] + 1)
    try:
        import highdicom
    except ImportError as error:
        raise ImageError(
            "wanted highdicom to write a DICOM-SEG object, came an installation without it; "
            "pip install 'organseg[volumes]'"
        ) from error
    path = Path(path)
    with quiet_pydicom(), tempfile.TemporaryFile(prefix="organseg-") as room:
        sources = [_source_header(source_files[index]) for index in indices]
        try:
            segmentation = highdicom.seg.Segmentation(
                source_images=sources,
                pixel_array=_pixels(room, labels, geometry, indices),
                segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=[
                    _segment(number, organ_id)
                    for number, organ_id in enumerate(labels.organ_ids, start=1)
                ],
                series_instance_uid=highdicom.UID(),
                series_number=_SERIES_OFFSET + int(sources[0].get("SeriesNumber") or 0),
                sop_instance_uid=highdicom.UID(),
                instance_number=1,
                manufacturer=_NAME,
                manufacturer_model_name=_NAME,
                software_versions=__version__,
                device_serial_number="1",
                content_label="ORGANS",
                content_description=_DESCRIPTION,
                series_description=_NAME,
                specific_character_set=_UTF_8,
            )
        except (AttributeError, TypeError, ValueError) as error:
            raise ImageError(
                "wanted source headers that a DICOM-SEG object can refer to, came some that "
                f"highdicom refuses ({type(error).__name__}); repair the series, or write NIfTI"
            ) from error
        # Beside its place, so that moving it there is one step.
        partial = path.with_name(f".{path.name}.part")
        try:
            segmentation.save_as(partial)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def _pixels(
    room: Any, labels: LabelVolume, geometry: VolumeGeometry, indices: range
) -> NDArray[np.uint8]:
    """The masks in the stored frame, mapped from the file `room`, uint8.

    Segment numbers [F, rows, columns]; where organs overlap a plane each, [F, rows, columns, S].
    """
    organ_ids = labels.organ_ids
    _, rows, columns = geometry.file_shape
    planes = (len(organ_ids),) if labels.has_overlaps else ()
    pixels = np.memmap(
        room, dtype=np.uint8, mode="w+", shape=(len(indices), rows, columns, *planes)
    )
    numbers = np.zeros(256, dtype=np.uint8)
    numbers[list(organ_ids)] = np.arange(1, len(organ_ids) + 1)
    for frame, index in enumerate(indices):
        if labels.has_overlaps:
            for plane, organ_id in enumerate(organ_ids):
                mask = labels.mask_at(index, organ_id)[np.newaxis]
                pixels[frame, ..., plane] = geometry.axis_order.invert(mask)[0]
        else:
            shown = numbers[labels.labels_at(index)][np.newaxis]
            pixels[frame] = geometry.axis_order.invert(shown)[0]
    return pixels


def _source_header(path: Path) -> Any:
    """What a reference to a slice needs, with every attribute that must be there."""
    import pydicom

    keywords = [*_NEEDED, *_MAY_BE_EMPTY, *_OTHERS]
    try:
        header = pydicom.dcmread(path, specific_tags=keywords, force=True, stop_before_pixels=True)
        # Text of whatever character set, to be written as UTF-8.
        header.decode()
    except Exception as error:
        raise ImageError(
            "wanted the DICOM files of the series once more, to refer to them, came one that is "
            "missing or changed; keep the series where it is until the DICOM-SEG is written"
        ) from error
    # De-identified files may have kept them in the file's own header alone.
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        if not header.get(keyword):
            setattr(header, keyword, header.file_meta.get(f"MediaStorage{keyword}", ""))
    missing = [keyword for keyword in _NEEDED if not header.get(keyword)]
    if missing:
        raise ImageError(
            "wanted DICOM slices that a DICOM-SEG object can refer to, came some without "
            f"{', '.join(missing)} (de-identified?); give them identifiers, or write NIfTI"
        )
    for keyword in _MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, None)
    return header


def _segment(number: int, organ_id: int) -> Any:
    import highdicom
    from pydicom.sr.codedict import codes

    organ, code = organ_by_id(organ_id), ORGAN_CODES[organ_id]
    description = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=organ.name,
        segmented_property_category=_concept(ANATOMICAL_STRUCTURE),
        segmented_property_type=_concept(code.structure),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=_NAME, version=__version__, family=codes.DCM.ArtificialIntelligence
        ),
        tracking_uid=highdicom.UID(),
        tracking_id=organ.key,
        display_color=highdicom.color.CIELabColor.from_rgb(*organ.color_rgb),
    )
    if code.side is not None:
        (structure,) = description.SegmentedPropertyTypeCodeSequence
        structure.SegmentedPropertyTypeModifierCodeSequence = [_concept(code.side)]
    return description


def _concept(code: SnomedCode) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, "SCT", code.meaning)
