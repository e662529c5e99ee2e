"""What `--data` may name: phantoms, a FLARE22-shaped folder, an image with labels, shared scans.

Each becomes a tuple of `Scan`s, which know their patient and load when asked, so that one volume
is in memory at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from organseg.data import phantom
from organseg.data.flare22 import (
    MODALITY_OF_LABEL_MAP,
    LabelledVolume,
    ScanFiles,
    find_scans,
)
from organseg.data.phantom.sheet import to_grey
from organseg.data.splits import Split, split_of
from organseg.errors import DatasetError
from organseg.evaluation.labelled_pairs import LabelCoverage, load_pair
from organseg.imaging.windowing import Modality
from organseg.organs import ORGANS

__all__ = ["SHARED_FOLDER", "Scan", "ScanOptions", "open_data"]

SHARED_FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data"
"""Where `shared:NAME` looks: a folder `shared/data` beside the checkout."""

_SHARED_MODALITY = {"ts_ct": Modality.CT, "ts_mr": Modality.MR}
_GRAMMAR = "phantom:SEEDS[:ct|mr|random], flare22:DIR, scan:IMAGE,LABELS or shared:NAME"
_SEEDS = re.compile(r"\d{1,9}(-\d{1,9})?(,\d{1,9}(-\d{1,9})?)*")
_MOST_PHANTOMS = 10_000


@dataclass(frozen=True)
class ScanOptions:
    """How data is read, where its name leaves it open."""

    label_map: str = "flare22"
    """The dataset that label values come from: a key of `organs.LABEL_MAPS`."""
    modality: Modality | None = None
    """The scanner; `None` for the label map's own in a dataset folder. A lone scan is guessed."""
    coverage: LabelCoverage = LabelCoverage.ALL
    """Which organs the labels are trusted for."""
    split: Split | None = Split.TEST
    """Whose patients of a dataset folder are evaluated; `None` for all."""
    phantom_slices: int = 46
    """Slices of a phantom."""
    phantom_size: int = 256
    """Rows and columns of a phantom."""


@dataclass(frozen=True)
class Scan:
    """One labelled scan, not loaded yet."""

    patient_id: str
    """Who it is of."""
    load: Callable[[], LabelledVolume]
    """Reads or makes it: windowed pixels and organ ids in display orientation."""
    may_be_trained_on: bool = False
    """A phantom whose seed lies where training takes its patients from."""


def open_data(names: Iterable[str], options: ScanOptions | None = None) -> tuple[Scan, ...]:
    """The scans that the names stand for, in their order; nothing is loaded yet.

    Raises `DatasetError` for a name that says nothing, a folder that is not there or not laid
    out as it should be, an empty split, and a patient who comes twice.
    """
    options = options or ScanOptions()
    scans = tuple(scan for name in names for scan in _open_one(name, options))
    seen: set[str] = set()
    for scan in scans:
        if scan.patient_id in seen:
            raise DatasetError(
                f"wanted every patient once, got {scan.patient_id} twice: evaluate the second "
                "scan in a run of its own, since intervals are by patient"
            )
        seen.add(scan.patient_id)
    return scans


def _open_one(name: str, options: ScanOptions) -> tuple[Scan, ...]:
    kind, _, rest = name.partition(":")
    openers: dict[str, Callable[[str, ScanOptions], tuple[Scan, ...]]] = {
        "phantom": _open_phantoms,
        "flare22": _open_dataset,
        "scan": _open_scan,
        "shared": _open_shared,
    }
    if kind not in openers or not rest:
        raise DatasetError(f"wanted data named {_GRAMMAR}, got {name!r}: correct --data")
    return openers[kind](rest, options)


def _open_phantoms(rest: str, options: ScanOptions) -> tuple[Scan, ...]:
    seeds_text, _, modality_text = rest.partition(":")
    known = {modality.value: modality for modality in phantom.Modality}
    if not _SEEDS.fullmatch(seeds_text) or (modality_text or "ct") not in known:
        raise DatasetError(
            f"wanted phantoms named phantom:SEEDS[:{'|'.join(known)}], such as phantom:1000-1003 "
            f"or phantom:7,9:mr, got {rest!r} behind phantom: correct --data"
        )
    seeds: list[int] = []
    for part in seeds_text.split(","):
        first, _, last = part.partition("-")
        seeds.extend(range(int(first), min(int(last or first), int(first) + _MOST_PHANTOMS) + 1))
    if not 1 <= len(seeds) <= _MOST_PHANTOMS:
        raise DatasetError(
            f"wanted 1 to {_MOST_PHANTOMS} phantoms with rising seeds, got {seeds_text!r}: "
            "correct --data"
        )
    modality = known[modality_text or "ct"]
    return tuple(
        Scan(
            phantom.phantom_patient_id(seed),
            partial(_make_phantom, seed, modality, options),
            may_be_trained_on=seed >= phantom.FIRST_TRAINING_SEED,
        )
        for seed in seeds
    )


def _make_phantom(seed: int, modality: phantom.Modality, options: ScanOptions) -> LabelledVolume:
    anatomy = phantom.generate(
        seed,
        slices=options.phantom_slices,
        size_hw=(options.phantom_size, options.phantom_size),
    )
    return LabelledVolume(
        patient_id=phantom.phantom_patient_id(seed),
        # The windows that a client sends with the slices of such a volume.
        pixels=to_grey(phantom.render(anatomy, modality, seed=0), modality),
        labels=anatomy.organ_labels,
        spacing_zyx_mm=anatomy.spacing_mm,
        labelled_organ_ids=frozenset(organ.id for organ in ORGANS),
    )


def _open_dataset(rest: str, options: ScanOptions) -> tuple[Scan, ...]:
    folder = Path(rest)
    if not folder.is_dir():
        raise DatasetError(
            f"wanted a dataset folder with images/ and labels/, got {rest!r}, which is no "
            "folder: correct --data"
        )
    found = find_scans(folder)
    chosen = [
        files
        for files in found
        if options.split is None or split_of(files.patient_id) is options.split
    ]
    if options.split is not None and not chosen:
        raise DatasetError(
            f"wanted patients of the {options.split.value} split, got none among {len(found)}: "
            "use --split all if nothing was trained on this dataset"
        )
    return tuple(_pair(files, options, options.modality, options.coverage) for files in chosen)


def _open_scan(rest: str, options: ScanOptions) -> tuple[Scan, ...]:
    image, comma, labels = rest.partition(",")
    if not comma or not Path(image).exists() or not Path(labels).is_file():
        raise DatasetError(
            "wanted scan:IMAGE,LABELS with a NIfTI file or a DICOM folder before the comma and a "
            f"NIfTI label map behind it, got {rest!r}, where one is missing: correct --data"
        )
    files = ScanFiles(_name_of(Path(image)), Path(image), Path(labels))
    # Its values tell CT from the rest; only a label map of MR alone says more.
    is_mr = MODALITY_OF_LABEL_MAP[options.label_map] is Modality.MR
    modality = options.modality or (Modality.MR if is_mr else Modality.UNKNOWN)
    return (_pair(files, options, modality, options.coverage),)


def _open_shared(rest: str, options: ScanOptions) -> tuple[Scan, ...]:
    folder = SHARED_FOLDER / rest
    labels = folder / "seg_flare22.nii.gz"
    image = folder / "dicom" if (folder / "dicom").is_dir() else folder / "image.nii.gz"
    if not labels.is_file() or not image.exists():
        raise DatasetError(
            "wanted a folder with image.nii.gz or dicom/ and seg_flare22.nii.gz in shared/data "
            f"beside the checkout, found none named {rest!r}: name another, or use "
            "scan:IMAGE,LABELS"
        )
    modality = options.modality or _SHARED_MODALITY.get(folder.name, Modality.UNKNOWN)
    # These labels leave organs out without saying which.
    return (_pair(ScanFiles(folder.name, image, labels), options, modality, LabelCoverage.FOUND),)


def _pair(
    files: ScanFiles, options: ScanOptions, modality: Modality | None, coverage: LabelCoverage
) -> Scan:
    load = partial(
        load_pair,
        files,
        label_map=options.label_map,
        modality=modality,
        coverage=coverage,
    )
    return Scan(files.patient_id, load)


def _name_of(image: Path) -> str:
    return image.name.removesuffix(".gz").removesuffix(".nii")
