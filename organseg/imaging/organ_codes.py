"""The organs in SNOMED CT, as DICOM writes them: a structure and, of a pair, the side.

Codes and meanings are those of DICOM PS3.16 (CID 4030 "CT, MR and PET Anatomy Imaged" and its
neighbours; sides: CID 244). DICOM has no single code for "right kidney": it is "Kidney" with the
modifier "Right".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["ANATOMICAL_STRUCTURE", "ORGAN_CODES", "OrganCode", "SnomedCode"]


@dataclass(frozen=True)
class SnomedCode:
    """One concept of SNOMED CT (coding scheme SCT)."""

    value: str
    """The concept's number."""
    meaning: str
    """Its English name."""


@dataclass(frozen=True)
class OrganCode:
    """What an organ is called in a coded entry."""

    structure: SnomedCode
    """The anatomical structure."""
    side: SnomedCode | None = None
    """Which of a pair; the patient's."""


ANATOMICAL_STRUCTURE = SnomedCode("91723000", "Anatomical Structure")
"""The category of every organ (CID 7150)."""

_RIGHT = SnomedCode("24028007", "Right")
_LEFT = SnomedCode("7771000", "Left")
_KIDNEY = SnomedCode("64033007", "Kidney")
_ADRENAL_GLAND = SnomedCode("23451007", "Adrenal gland")

ORGAN_CODES: Mapping[int, OrganCode] = MappingProxyType(
    {
        1: OrganCode(SnomedCode("10200004", "Liver")),
        2: OrganCode(_KIDNEY, _RIGHT),
        3: OrganCode(SnomedCode("78961009", "Spleen")),
        4: OrganCode(SnomedCode("15776009", "Pancreas")),
        5: OrganCode(SnomedCode("15825003", "Aorta")),
        6: OrganCode(SnomedCode("64131007", "Inferior vena cava")),
        7: OrganCode(_ADRENAL_GLAND, _RIGHT),
        8: OrganCode(_ADRENAL_GLAND, _LEFT),
        9: OrganCode(SnomedCode("28231008", "Gallbladder")),
        10: OrganCode(SnomedCode("32849002", "Esophagus")),
        11: OrganCode(SnomedCode("69695003", "Stomach")),
        12: OrganCode(SnomedCode("38848004", "Duodenum")),
        13: OrganCode(_KIDNEY, _LEFT),
    }
)
"""Every organ id, 1 to 13, and its codes."""
