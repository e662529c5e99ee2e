"""The slice set: slices as serving would show them, memory-mapped on disk.

Made from phantoms here, from a dataset's scans by `dataset_slices`.

FOLDER/
  card.json        what was asked for; another wish on the same folder is refused
  images.npy       uint8 [N, S, S] in display orientation, windowed and stretched
  labels.npy       uint8 [N, S, S] organ ids, 0 for background
  tissues.npy      uint8 [N, S, S] the phantom's tissues; 0 where they are not known
  levels.npy       float32 [N] mm above vertebra L1 of the reference adult; NaN where not known
  patients.npy     int32 [N] the patient's seed, or number in the dataset
  modalities.npy   uint8 [N] index into `MODALITIES`
  done.npy         bool [volumes] which volumes are complete: where a killed run goes on

Training and validation never share a patient: a seed's split follows from its hash.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from itertools import count, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm  # type: ignore[import-untyped]

from organseg.data.phantom import Modality, Phantom, generate, phantom_patient_id, render
from organseg.data.splits import Split, split_of
from organseg.errors import DatasetError
from organseg.imaging.resizing import model_pixels
from organseg.imaging.windowing import CT_WINDOW_HU, percentile_window, window_to_uint8
from organseg.training.options import SlicesOptions

MODALITIES = (Modality.CT, Modality.MR, Modality.RANDOM)
"""The renderings in the order of their stored index."""

_ARRAYS = ("images", "labels", "tissues", "levels", "patients", "modalities")


@dataclass(frozen=True, eq=False)
class SliceSet:
    """A complete slice set, read from disk as it is asked for."""

    images: npt.NDArray[np.uint8]
    """uint8 [N, S, S], grey levels."""
    labels: npt.NDArray[np.uint8]
    """uint8 [N, S, S], organ ids, 0 for background."""
    tissues: npt.NDArray[np.uint8]
    """uint8 [N, S, S], `Tissue` values; 0 everywhere where they are not known."""
    levels: npt.NDArray[np.float32]
    """float32 [N], mm above vertebra L1 of the reference adult; NaN where it is not known."""
    patients: npt.NDArray[np.int32]
    """int32 [N], the patient's seed, or number in the dataset."""
    modalities: npt.NDArray[np.uint8]
    """uint8 [N], index into `MODALITIES`."""

    def __len__(self) -> int:
        return len(self.images)


def patient_seeds(split: Split, options: SlicesOptions) -> Iterator[int]:
    """The patients of a split, endless: the same for the same first seed."""
    seeds = count(options.first_patient)
    return (seed for seed in seeds if split_of(phantom_patient_id(seed), seed=0) is split)


def write_slices(folder: Path, split: Split, options: SlicesOptions) -> SliceSet:
    """Makes the slice set of a split, or goes on with it where a run was killed.

    Raises:
        DatasetError: the folder holds a slice set that was asked for otherwise.
    """
    volumes = options.volumes if split is Split.TRAIN else options.validation_volumes
    card = {"split": split.value, "volumes": volumes, **lasting(options)}
    make_set(folder, card, volumes * options.slices, options.size, parts=volumes)
    done: npt.NDArray[np.bool_] = np.load(folder / "done.npy", mmap_mode="r+")
    seeds = list(islice(patient_seeds(split, options), volumes))
    waiting = [index for index in range(volumes) if not done[index]]
    bar = tqdm(total=volumes, initial=volumes - len(waiting), desc=f"{split.value} volumes")
    if options.processes < 2:
        for index in waiting:
            done[_write_volume(folder, index, seeds[index], options)] = True
            bar.update()
    else:
        _write_together(folder, waiting, seeds, options, done, bar)
    bar.close()
    return open_slices(folder)


def open_slices(folder: Path) -> SliceSet:
    """The slice set of a folder, memory-mapped.

    Raises:
        DatasetError: there is none, or it is not complete.
    """
    if not (folder / "card.json").is_file():
        raise DatasetError(
            f"wanted a slice set in {folder}, found none: make it with "
            "`python -m organseg.training slices`"
        )
    done = np.load(folder / "done.npy")
    if not done.all():
        raise DatasetError(
            f"wanted a complete slice set in {folder}, got {int(done.sum())} of {done.size} "
            "volumes: run `python -m organseg.training slices` again, it goes on"
        )
    arrays: Any = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    return SliceSet(**arrays)


def slices_card(folder: Path) -> dict[str, Any]:
    """What a slice set was asked for as."""
    card: dict[str, Any] = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    return card


def render_slices(
    phantom: Phantom, options: SlicesOptions
) -> tuple[npt.NDArray[np.uint8], Modality]:
    """The phantom's slices as the server would see them, uint8 [S, H, W], and their modality."""
    rng = np.random.default_rng([phantom.patient.seed, 301])
    chances = (options.ct_share, (1 - options.ct_share) / 2, (1 - options.ct_share) / 2)
    modality = MODALITIES[int(rng.choice(3, p=chances))]
    scan = render(phantom, modality, 0)
    low, high = CT_WINDOW_HU if modality is Modality.CT else percentile_window(scan)
    if rng.random() < options.window_jitter_share:
        # Users send other windows, and arterial organs saturate MedSAM's: widen more than narrow.
        width = high - low
        low -= width * float(rng.uniform(-0.10, 0.20))
        high += width * float(rng.uniform(-0.15, 0.50))
    grey = window_to_uint8(scan, (low, high))
    side = phantom.tissues.shape[1]
    return np.stack([model_pixels(each, side) for each in grey]), modality


def _write_together(
    folder: Path,
    waiting: list[int],
    seeds: list[int],
    options: SlicesOptions,
    done: npt.NDArray[np.bool_],
    bar: Any,
) -> None:
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        running: set[Future[int]] = set()
        for index in waiting:
            if len(running) >= 2 * options.processes:
                running = _collect(running, done, bar)
            running.add(pool.submit(_write_volume, folder, index, seeds[index], options))
        while running:
            running = _collect(running, done, bar)


def _write_volume(folder: Path, index: int, seed: int, options: SlicesOptions) -> int:
    phantom = generate(seed, slices=options.slices, size_hw=(options.size, options.size))
    images, modality = render_slices(phantom, options)
    rows = slice(index * options.slices, (index + 1) * options.slices)
    put_slices(
        folder,
        rows,
        {
            "images": images,
            "labels": phantom.organ_labels,
            "tissues": phantom.tissues,
            "levels": phantom.levels_mm,
            "patients": seed,
            "modalities": MODALITIES.index(modality),
        },
    )
    return index


def _collect(running: set[Future[int]], done: npt.NDArray[np.bool_], bar: Any) -> set[Future[int]]:
    finished, left = wait(running, return_when=FIRST_COMPLETED)
    for job in finished:
        done[job.result()] = True
        bar.update()
    done.flush()  # type: ignore[attr-defined]
    return left


def lasting(options: SlicesOptions) -> dict[str, Any]:
    """The options that change what is written."""
    passing = {"processes", "volumes", "validation_volumes"}
    return {name: value for name, value in asdict(options).items() if name not in passing}


def make_set(folder: Path, card: dict[str, Any], total: int, size: int, *, parts: int) -> None:
    """Makes the arrays of a slice set, all zero, unless they are there already.

    Args:
        folder: where to.
        card: what is asked for.
        total: N, the number of slices.
        size: their rows and columns.
        parts: how many pieces `done.npy` tells of.

    Raises:
        DatasetError: the folder holds a slice set that was asked for otherwise.
    """
    path = folder / "card.json"
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != card:
            raise DatasetError(
                f"wanted a slice set of {card}, found one of {found} in {folder}: "
                "name another folder, or remove this one"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    square = (total, size, size)
    shapes: tuple[tuple[str, tuple[int, ...], Any], ...] = (
        ("images", square, np.uint8),
        ("labels", square, np.uint8),
        ("tissues", square, np.uint8),
        ("levels", (total,), np.float32),
        ("patients", (total,), np.int32),
        ("modalities", (total,), np.uint8),
        ("done", (parts,), np.bool_),
    )
    for name, shape, dtype in shapes:
        _make_array(folder / f"{name}.npy", shape, dtype)
    # Last, so that a folder with a card has all its arrays.
    path.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def put_slices(folder: Path, rows: slice, values: dict[str, Any]) -> None:
    """Writes some rows of the arrays that `values` names."""
    for name, value in values.items():
        array = np.load(folder / f"{name}.npy", mmap_mode="r+")
        array[rows] = value
        array.flush()


def _make_array(path: Path, shape: tuple[int, ...], dtype: Any) -> None:
    """An array of zeros on disk, without holding it in memory."""
    make: Any = np.lib.format.open_memmap
    make(path, mode="w+", dtype=dtype, shape=shape)
