"""The tissues a phantom is made of: their organ, their CT numbers, how MR sees them.

CT numbers are typical values in HU for unenhanced, arterial, portal venous and late scans; the
renderers scatter them widely. A lesion belongs to the organ it sits in, as in FLARE22's labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray


class Phase(Enum):
    """When the scan was made, counted from the injection of contrast."""

    UNENHANCED = 0
    ARTERIAL = 1
    PORTAL_VENOUS = 2
    LATE = 3


class Signal(Enum):
    """What a tissue is to an MR scanner: rough T1 (ms), T2 (ms) and proton density at 1.5 T."""

    VOID = (1000.0, 1.0, 0.0)
    CORTICAL = (1000.0, 2.0, 0.15)
    LUNG = (1200.0, 8.0, 0.15)
    FAT = (290.0, 75.0, 0.95)
    MUSCLE = (950.0, 36.0, 0.80)
    FIBROUS = (900.0, 25.0, 0.60)
    MARROW = (480.0, 60.0, 0.75)
    DISC = (1100.0, 70.0, 0.80)
    BLOOD = (1450.0, 150.0, 0.90)
    FLUID = (3000.0, 600.0, 1.00)
    BILE = (1900.0, 400.0, 1.00)
    CONTENT = (750.0, 60.0, 0.65)
    WALL = (900.0, 58.0, 0.82)
    LIVER = (580.0, 44.0, 0.80)
    SPLEEN = (1050.0, 80.0, 0.86)
    CORTEX = (980.0, 84.0, 0.86)
    MEDULLA = (1400.0, 105.0, 0.90)
    PANCREAS = (590.0, 48.0, 0.82)
    GLAND = (750.0, 60.0, 0.80)
    TUMOUR = (1150.0, 92.0, 0.88)


class Tissue(IntEnum):
    """The value of a voxel of `Phantom.tissues`."""

    AIR = 0
    TABLE = auto()
    TABLE_FOAM = auto()
    SKIN = auto()
    SUBCUTANEOUS_FAT = auto()
    MUSCLE = auto()
    MUSCLE_FAT = auto()
    FASCIA = auto()
    VISCERAL_FAT = auto()
    ASCITES = auto()
    CORTICAL_BONE = auto()
    CANCELLOUS_BONE = auto()
    DISC = auto()
    SPINAL_CANAL = auto()
    CARTILAGE = auto()
    METAL = auto()
    LUNG = auto()
    LUNG_VESSEL = auto()
    AIRWAY = auto()
    PLEURAL_FLUID = auto()
    MEDIASTINAL_FAT = auto()
    MYOCARDIUM = auto()
    LEFT_HEART_BLOOD = auto()
    RIGHT_HEART_BLOOD = auto()
    DIAPHRAGM = auto()
    AORTA = auto()
    AORTIC_WALL = auto()
    AORTIC_THROMBUS = auto()
    AORTIC_CALCIFICATION = auto()
    INFERIOR_VENA_CAVA = auto()
    ARTERY = auto()
    SYSTEMIC_VEIN = auto()
    PORTAL_VEIN = auto()
    RENAL_VEIN = auto()
    LYMPH_NODE = auto()
    LIVER = auto()
    HEPATIC_VEIN = auto()
    HEPATIC_PORTAL_BRANCH = auto()
    LIVER_CYST = auto()
    LIVER_TUMOUR = auto()
    LIVER_BRIGHT_TUMOUR = auto()
    GALLBLADDER_WALL = auto()
    GALLBLADDER_BILE = auto()
    GALLSTONE = auto()
    BILE_DUCT = auto()
    SPLEEN = auto()
    SPLEEN_LESION = auto()
    PANCREAS = auto()
    PANCREATIC_DUCT = auto()
    PANCREATIC_TUMOUR = auto()
    PANCREATIC_CYST = auto()
    RIGHT_RENAL_CORTEX = auto()
    RIGHT_RENAL_MEDULLA = auto()
    RIGHT_RENAL_CYST = auto()
    RIGHT_RENAL_TUMOUR = auto()
    LEFT_RENAL_CORTEX = auto()
    LEFT_RENAL_MEDULLA = auto()
    LEFT_RENAL_CYST = auto()
    LEFT_RENAL_TUMOUR = auto()
    RENAL_PELVIS = auto()
    RENAL_STONE = auto()
    RIGHT_ADRENAL = auto()
    RIGHT_ADRENAL_NODULE = auto()
    LEFT_ADRENAL = auto()
    LEFT_ADRENAL_NODULE = auto()
    ESOPHAGUS_WALL = auto()
    ESOPHAGUS_FLUID = auto()
    ESOPHAGUS_GAS = auto()
    STOMACH_WALL = auto()
    STOMACH_FLUID = auto()
    STOMACH_FOOD = auto()
    STOMACH_GAS = auto()
    DUODENUM_WALL = auto()
    DUODENUM_FLUID = auto()
    DUODENUM_GAS = auto()
    BOWEL_WALL = auto()
    BOWEL_FLUID = auto()
    BOWEL_GAS = auto()
    COLON_WALL = auto()
    COLON_FLUID = auto()
    COLON_STOOL = auto()
    COLON_GAS = auto()
    BLADDER_WALL = auto()
    BLADDER_URINE = auto()
    UTERUS = auto()
    PROSTATE = auto()


@dataclass(frozen=True)
class TissueProperties:
    """What the renderers and the labels need to know of a tissue."""

    organ_id: int
    """FLARE22 label, 1 to 13; 0 where the tissue belongs to none of the 13 organs."""
    hu: tuple[float, float, float, float]
    """Mean CT number in HU, in the order of `Phase`."""
    scatter_hu: float
    """Standard deviation of that mean between patients, in HU."""
    texture_hu: float
    """Standard deviation of the slow texture inside the tissue, in HU."""
    signal: Signal
    """How MR sees it."""


def _row(
    hu: float | tuple[float, float, float, float],
    scatter_hu: float,
    texture_hu: float,
    signal: Signal,
    organ_id: int = 0,
) -> TissueProperties:
    values = hu if isinstance(hu, tuple) else (hu, hu, hu, hu)
    return TissueProperties(organ_id, values, scatter_hu, texture_hu, signal)


_T, _S = Tissue, Signal

PROPERTIES: Mapping[Tissue, TissueProperties] = MappingProxyType(
    {
        _T.AIR: _row(-1000, 3, 0, _S.VOID),
        _T.TABLE: _row(-150, 120, 10, _S.VOID),
        _T.TABLE_FOAM: _row(-940, 30, 5, _S.VOID),
        _T.SKIN: _row((25, 35, 45, 45), 15, 5, _S.FIBROUS),
        _T.SUBCUTANEOUS_FAT: _row(-105, 8, 7, _S.FAT),
        _T.MUSCLE: _row((52, 56, 62, 64), 9, 9, _S.MUSCLE),
        _T.MUSCLE_FAT: _row(-70, 25, 10, _S.FAT),
        _T.FASCIA: _row(25, 20, 8, _S.FIBROUS),
        _T.VISCERAL_FAT: _row(-100, 9, 8, _S.FAT),
        _T.ASCITES: _row(8, 6, 2, _S.FLUID),
        _T.CORTICAL_BONE: _row(620, 190, 60, _S.CORTICAL),
        _T.CANCELLOUS_BONE: _row(190, 65, 40, _S.MARROW),
        _T.DISC: _row(85, 18, 9, _S.DISC),
        _T.SPINAL_CANAL: _row(28, 10, 8, _S.FLUID),
        _T.CARTILAGE: _row(115, 40, 18, _S.FIBROUS),
        _T.METAL: _row(2400, 400, 0, _S.VOID),
        _T.LUNG: _row(-845, 45, 22, _S.LUNG),
        _T.LUNG_VESSEL: _row((-250, -120, -150, -200), 120, 40, _S.MUSCLE),
        _T.AIRWAY: _row(-990, 10, 4, _S.VOID),
        _T.PLEURAL_FLUID: _row(10, 6, 3, _S.FLUID),
        _T.MEDIASTINAL_FAT: _row(-90, 12, 10, _S.FAT),
        _T.MYOCARDIUM: _row((45, 95, 115, 95), 16, 8, _S.MUSCLE),
        _T.LEFT_HEART_BLOOD: _row((42, 300, 165, 120), 40, 6, _S.BLOOD),
        _T.RIGHT_HEART_BLOOD: _row((42, 240, 155, 118), 55, 12, _S.BLOOD),
        _T.DIAPHRAGM: _row((48, 55, 62, 62), 10, 8, _S.MUSCLE),
        _T.AORTA: _row((42, 310, 160, 118), 40, 4, _S.BLOOD, 5),
        _T.AORTIC_WALL: _row((48, 75, 80, 78), 12, 4, _S.FIBROUS, 5),
        _T.AORTIC_THROMBUS: _row(40, 10, 6, _S.CONTENT, 5),
        _T.AORTIC_CALCIFICATION: _row(520, 160, 60, _S.CORTICAL, 5),
        _T.INFERIOR_VENA_CAVA: _row((40, 80, 145, 115), 26, 8, _S.BLOOD, 6),
        _T.ARTERY: _row((42, 285, 152, 112), 40, 6, _S.BLOOD),
        _T.SYSTEMIC_VEIN: _row((40, 60, 125, 112), 22, 8, _S.BLOOD),
        _T.PORTAL_VEIN: _row((42, 95, 168, 118), 28, 6, _S.BLOOD),
        _T.RENAL_VEIN: _row((40, 170, 160, 118), 30, 8, _S.BLOOD),
        _T.LYMPH_NODE: _row((40, 60, 85, 80), 15, 5, _S.TUMOUR),
        _T.LIVER: _row((56, 68, 108, 94), 16, 5, _S.LIVER, 1),
        _T.HEPATIC_VEIN: _row((42, 65, 150, 112), 20, 5, _S.BLOOD, 1),
        _T.HEPATIC_PORTAL_BRANCH: _row((42, 90, 158, 112), 22, 5, _S.BLOOD, 1),
        _T.LIVER_CYST: _row(6, 7, 2, _S.FLUID, 1),
        _T.LIVER_TUMOUR: _row((42, 58, 66, 68), 15, 9, _S.TUMOUR, 1),
        _T.LIVER_BRIGHT_TUMOUR: _row((48, 130, 112, 90), 24, 10, _S.TUMOUR, 1),
        _T.GALLBLADDER_WALL: _row((35, 48, 68, 64), 14, 5, _S.WALL, 9),
        _T.GALLBLADDER_BILE: _row(10, 9, 3, _S.BILE, 9),
        _T.GALLSTONE: _row(150, 140, 40, _S.CORTICAL, 9),
        _T.BILE_DUCT: _row(10, 7, 3, _S.BILE),
        _T.SPLEEN: _row((48, 118, 120, 100), 17, 5, _S.SPLEEN, 3),
        _T.SPLEEN_LESION: _row((30, 45, 55, 58), 20, 6, _S.TUMOUR, 3),
        _T.PANCREAS: _row((42, 100, 92, 78), 16, 11, _S.PANCREAS, 4),
        _T.PANCREATIC_DUCT: _row(12, 6, 2, _S.FLUID, 4),
        _T.PANCREATIC_TUMOUR: _row((40, 50, 62, 66), 14, 7, _S.TUMOUR, 4),
        _T.PANCREATIC_CYST: _row(10, 7, 2, _S.FLUID, 4),
        _T.RIGHT_RENAL_CORTEX: _row((34, 195, 188, 170), 30, 6, _S.CORTEX, 2),
        _T.RIGHT_RENAL_MEDULLA: _row((32, 85, 170, 185), 25, 8, _S.MEDULLA, 2),
        _T.RIGHT_RENAL_CYST: _row(7, 8, 2, _S.FLUID, 2),
        _T.RIGHT_RENAL_TUMOUR: _row((38, 120, 105, 90), 32, 16, _S.TUMOUR, 2),
        _T.LEFT_RENAL_CORTEX: _row((34, 195, 188, 170), 30, 6, _S.CORTEX, 13),
        _T.LEFT_RENAL_MEDULLA: _row((32, 85, 170, 185), 25, 8, _S.MEDULLA, 13),
        _T.LEFT_RENAL_CYST: _row(7, 8, 2, _S.FLUID, 13),
        _T.LEFT_RENAL_TUMOUR: _row((38, 120, 105, 90), 32, 16, _S.TUMOUR, 13),
        _T.RENAL_PELVIS: _row((6, 10, 18, 320), 30, 6, _S.FLUID),
        _T.RENAL_STONE: _row(620, 220, 60, _S.CORTICAL),
        _T.RIGHT_ADRENAL: _row((28, 78, 82, 62), 16, 5, _S.GLAND, 7),
        _T.RIGHT_ADRENAL_NODULE: _row((12, 60, 62, 45), 20, 5, _S.GLAND, 7),
        _T.LEFT_ADRENAL: _row((28, 78, 82, 62), 16, 5, _S.GLAND, 8),
        _T.LEFT_ADRENAL_NODULE: _row((12, 60, 62, 45), 20, 5, _S.GLAND, 8),
        _T.ESOPHAGUS_WALL: _row((42, 62, 72, 68), 12, 5, _S.WALL, 10),
        _T.ESOPHAGUS_FLUID: _row(25, 15, 5, _S.CONTENT, 10),
        _T.ESOPHAGUS_GAS: _row(-850, 90, 20, _S.VOID, 10),
        _T.STOMACH_WALL: _row((42, 78, 85, 78), 15, 6, _S.WALL, 11),
        _T.STOMACH_FLUID: _row(14, 13, 5, _S.FLUID, 11),
        _T.STOMACH_FOOD: _row(38, 25, 34, _S.CONTENT, 11),
        _T.STOMACH_GAS: _row(-960, 25, 5, _S.VOID, 11),
        _T.DUODENUM_WALL: _row((40, 90, 90, 78), 16, 6, _S.WALL, 12),
        _T.DUODENUM_FLUID: _row(20, 14, 6, _S.FLUID, 12),
        _T.DUODENUM_GAS: _row(-900, 60, 10, _S.VOID, 12),
        _T.BOWEL_WALL: _row((40, 92, 96, 82), 18, 7, _S.WALL),
        _T.BOWEL_FLUID: _row(24, 15, 10, _S.FLUID),
        _T.BOWEL_GAS: _row(-880, 80, 15, _S.VOID),
        _T.COLON_WALL: _row((40, 70, 82, 76), 15, 6, _S.WALL),
        _T.COLON_FLUID: _row(25, 18, 9, _S.FLUID),
        _T.COLON_STOOL: _row(30, 45, 55, _S.CONTENT),
        _T.COLON_GAS: _row(-940, 45, 10, _S.VOID),
        _T.BLADDER_WALL: _row((38, 50, 62, 62), 10, 5, _S.MUSCLE),
        _T.BLADDER_URINE: _row((5, 6, 8, 160), 45, 2, _S.FLUID),
        _T.UTERUS: _row((48, 85, 108, 98), 16, 9, _S.TUMOUR),
        _T.PROSTATE: _row((42, 60, 78, 76), 12, 7, _S.GLAND),
    }
)


def tissue_set(tissues: Iterable[Tissue]) -> NDArray[np.bool_]:
    """A lookup table, bool [256]: True for these tissues."""
    table = np.zeros(256, dtype=np.bool_)
    table[[int(tissue) for tissue in tissues]] = True
    return table


def _organ_table() -> NDArray[np.uint8]:
    table = np.zeros(256, dtype=np.uint8)
    for tissue, properties in PROPERTIES.items():
        table[tissue] = properties.organ_id
    return table


ORGAN_OF_TISSUE: NDArray[np.uint8] = _organ_table()
"""Lookup table, uint8 [256]: tissue to organ id, 0 for background."""

_FRAME = (
    Tissue.AIR, Tissue.TABLE, Tissue.TABLE_FOAM, Tissue.SKIN, Tissue.SUBCUTANEOUS_FAT,
    Tissue.MUSCLE, Tissue.MUSCLE_FAT, Tissue.FASCIA, Tissue.CORTICAL_BONE,
    Tissue.CANCELLOUS_BONE, Tissue.DISC, Tissue.SPINAL_CANAL, Tissue.CARTILAGE, Tissue.METAL,
    Tissue.LUNG, Tissue.LUNG_VESSEL, Tissue.AIRWAY, Tissue.PLEURAL_FLUID, Tissue.DIAPHRAGM,
)  # fmt: skip

INTERIOR: NDArray[np.bool_] = tissue_set(set(Tissue) - set(_FRAME))
"""What organs may be painted over: all that is inside the body's frame of bone and muscle."""

FAT_INSIDE: NDArray[np.bool_] = tissue_set({Tissue.VISCERAL_FAT, Tissue.MEDIASTINAL_FAT})
"""The fat of the abdomen and the mediastinum."""

GUT: NDArray[np.bool_] = tissue_set(
    {
        Tissue.BOWEL_WALL, Tissue.BOWEL_FLUID, Tissue.BOWEL_GAS, Tissue.COLON_WALL,
        Tissue.COLON_FLUID, Tissue.COLON_STOOL, Tissue.COLON_GAS,
    }
)  # fmt: skip
"""Small bowel and colon."""
