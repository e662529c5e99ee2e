"""One patient: build, pose, contrast phase, what is missing and what is ill; drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from organseg.data.phantom.tissues import Phase


class Sex(Enum):
    """Decides the pelvis and its organs."""

    FEMALE = auto()
    MALE = auto()


class Region(Enum):
    """A part of the anatomy; each draws its random numbers from a stream of its own."""

    POSE = 1
    WARP = 2
    BODY = 3
    SKELETON = 4
    MUSCLES = 5
    THORAX = 6
    PELVIS = 7
    BOWEL = 8
    COLON = 9
    LIVER = 10
    BILIARY = 11
    SPLEEN = 12
    STOMACH = 13
    DUODENUM = 14
    PANCREAS = 15
    KIDNEYS = 16
    ADRENALS = 17
    VESSELS = 18
    LESIONS = 19
    SURROUNDINGS = 20
    DIAPHRAGM = 21


_ABSENCES = ((9, 0.14), (3, 0.04), (2, 0.03), (13, 0.03), (7, 0.01), (8, 0.01), (4, 0.01))
"""Organ id and the chance that surgery or nature left it out: cholecystectomy, splenectomy, …"""


@dataclass(frozen=True)
class Patient:
    """What is drawn once and shapes everything else."""

    seed: int
    """The phantom's seed."""
    sex: Sex
    """Female or male."""
    scale_xyz: tuple[float, float, float]
    """Size against the reference adult along x, y, z."""
    rotation_deg: float
    """Rotation about the long axis, positive towards the patient's left."""
    shift_xy_mm: tuple[float, float]
    """Where the patient lies in the field of view."""
    subcutaneous_fat_mm: float
    """Thickness of the subcutaneous fat at the belly."""
    visceral_fat: float
    """0 lean to 1 obese: room between the organs, girth of the cavity."""
    muscle: float
    """Muscle bulk, 1 typical."""
    age: float
    """0 young to 1 old: calcified, wide, tortuous aorta; fatty muscle; thin bone."""
    breath: float
    """-1 expiration to 1 inspiration: lifts or lowers the diaphragm and the organs under it."""
    phase: Phase
    """Contrast phase."""
    oral_contrast: float
    """HU added to stomach and small bowel contents; 0 for none."""
    absent_organs: frozenset[int]
    """Ids of organs that this patient does not have."""
    fatty_liver: float
    """0 healthy to 1: lowers the liver's HU below the spleen's."""

    arms_at_sides: bool
    """Whether the arms lie beside the trunk instead of over the head."""

    def stream(self, region: Region) -> np.random.Generator:
        """The random numbers of one region, independent of every other region's."""
        return np.random.default_rng([self.seed, region.value])

    def has(self, organ_id: int) -> bool:
        """Whether this patient has the organ."""
        return organ_id not in self.absent_organs


def draw_patient(seed: int) -> Patient:
    """The patient of this seed; the same seed always gives the same patient."""
    rng = np.random.default_rng([seed, 0])
    size = rng.normal(1.0, 0.055)
    sex = Sex.FEMALE if rng.random() < 0.5 else Sex.MALE
    if sex is Sex.FEMALE:
        size *= 0.96
    phases = list(Phase)
    return Patient(
        seed=seed,
        sex=sex,
        scale_xyz=(
            float(size * rng.normal(1.0, 0.03)),
            float(size * rng.normal(1.0, 0.03)),
            float(size * rng.normal(1.0, 0.03)),
        ),
        rotation_deg=float(np.clip(rng.normal(0.0, 3.5), -12, 12)),
        shift_xy_mm=(float(rng.normal(0, 7)), float(rng.normal(0, 7))),
        subcutaneous_fat_mm=float(np.clip(rng.gamma(2.6, 8.0), 4, 55)),
        visceral_fat=float(rng.beta(1.5, 1.8)),
        muscle=float(np.clip(rng.normal(1.0, 0.14), 0.65, 1.35)),
        age=float(rng.random()),
        breath=float(rng.normal(0.0, 0.5)),
        phase=phases[int(rng.choice(4, p=[0.22, 0.2, 0.42, 0.16]))],
        oral_contrast=float(rng.uniform(80, 330)) if rng.random() < 0.25 else 0.0,
        absent_organs=frozenset(
            organ_id for organ_id, chance in _ABSENCES if rng.random() < chance
        ),
        fatty_liver=float(rng.uniform(0.2, 1.0)) if rng.random() < 0.25 else 0.0,
        arms_at_sides=bool(rng.random() < 0.125),
    )
