"""The 13 organs: ids, letters, names, synonyms, colours, and other datasets' label maps.

An organ's id is its FLARE22 label value (1 to 13), and its answer letter in the paper's
multiple-choice prompt is the letter of that position (A to M). `NONE` stands behind them as
id 14, letter N: "none of them", the answer to an out-of-scope question.

Left and right are the patient's. Sources: FLARE22 challenge label definition; the AMOS22
and TotalSegmentator (v2 `total`, `total_mr`) label tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Organ:
    """One class of the answer: an organ, or `NONE`."""

    id: int
    """1 to 13: the FLARE22 label value; 14: none of them."""
    name: str
    """The canonical English name, lower case."""
    synonyms: tuple[str, ...]
    """Other names, Latin terms and abbreviations; shown to users, never used to answer."""
    color_rgb: tuple[int, int, int]
    """The overlay colour, 0 to 255 per channel."""

    @property
    def letter(self) -> str:
        """The answer letter of the multiple-choice prompt: A to M, N for none."""
        return chr(ord("A") + self.id - 1)

    @property
    def key(self) -> str:
        """The name as an identifier, for file names and tables (`right_kidney`)."""
        return self.name.replace(" ", "_")


ORGANS: tuple[Organ, ...] = (
    Organ(1, "liver", ("hepar", "hepatic parenchyma"), (176, 87, 62)),
    Organ(2, "right kidney", ("ren dexter", "RK", "right renal parenchyma"), (238, 140, 40)),
    Organ(3, "spleen", ("lien", "splen"), (150, 70, 170)),
    Organ(4, "pancreas", ("pancreatic gland",), (245, 205, 80)),
    Organ(5, "aorta", ("abdominal aorta", "aorta abdominalis"), (222, 45, 45)),
    Organ(6, "inferior vena cava", ("IVC", "vena cava inferior", "postcava"), (60, 105, 220)),
    Organ(
        7,
        "right adrenal gland",
        ("RAG", "right suprarenal gland", "glandula suprarenalis dextra"),
        (25, 165, 125),
    ),
    Organ(
        8,
        "left adrenal gland",
        ("LAG", "left suprarenal gland", "glandula suprarenalis sinistra"),
        (120, 210, 170),
    ),
    Organ(9, "gallbladder", ("vesica biliaris", "vesica fellea", "GB"), (70, 150, 45)),
    Organ(10, "esophagus", ("oesophagus", "gullet", "food pipe"), (205, 130, 165)),
    Organ(11, "stomach", ("gaster", "ventriculus"), (240, 120, 140)),
    Organ(12, "duodenum", ("first part of the small intestine",), (165, 195, 60)),
    Organ(13, "left kidney", ("ren sinister", "LK", "left renal parenchyma"), (250, 180, 105)),
)

NONE = Organ(14, "none", ("none of them",), (128, 128, 128))

ANSWERS: tuple[Organ, ...] = (*ORGANS, NONE)
"""The 14 classes of the answer, in the order of the `similarity` tensor's last axis."""

_BY_ID = {organ.id: organ for organ in ANSWERS}
_BY_NAME = {organ.name: organ for organ in ANSWERS}
_BY_LETTER = {organ.letter: organ for organ in ANSWERS}


def organ_by_id(organ_id: int) -> Organ:
    """The organ with this id (1 to 13; 14 is `NONE`). Raises `KeyError` for any other."""
    return _BY_ID[int(organ_id)]


def organ_by_name(name: str) -> Organ:
    """The organ of this canonical name, in any case. Raises `KeyError` for any other."""
    return _BY_NAME[name.strip().lower().replace("_", " ")]


def organ_by_letter(letter: str) -> Organ:
    """The organ of this answer letter (A to M; N is `NONE`). Raises `KeyError` for any other."""
    return _BY_LETTER[letter.strip().upper()]


def listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them, at least one: `a`, `a and b`, `a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


LABEL_MAPS: Mapping[str, Mapping[int, int]] = MappingProxyType(
    {
        "flare22": MappingProxyType({organ.id: organ.id for organ in ORGANS}),
        "amos22": MappingProxyType(
            {6: 1, 2: 2, 1: 3, 10: 4, 8: 5, 9: 6, 11: 7, 12: 8, 4: 9, 5: 10, 7: 11, 13: 12, 3: 13}
        ),
        "totalsegmentator_v2": MappingProxyType(
            {5: 1, 2: 2, 1: 3, 7: 4, 52: 5, 63: 6, 8: 7, 9: 8, 4: 9, 15: 10, 6: 11, 19: 12, 3: 13}
        ),
        "totalsegmentator_mr": MappingProxyType(
            {5: 1, 2: 2, 1: 3, 7: 4, 23: 5, 24: 6, 8: 7, 9: 8, 4: 9, 12: 10, 6: 11, 14: 12, 3: 13}
        ),
    }
)
"""Each dataset's label value to our organ id; values that are not listed are background."""
