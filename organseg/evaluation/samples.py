"""Samples, made patient by patient while they are asked for: one volume in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np
from tqdm import tqdm  # type: ignore[import-untyped]

from organseg.evaluation.cases import Sample
from organseg.evaluation.questionnaire import Questionnaire
from organseg.evaluation.scans import Scan

__all__ = ["make_samples", "showing_organs"]


def make_samples(
    scans: Sequence[Scan], questionnaire: Questionnaire, *, show_progress: bool = False
) -> Iterator[Sample]:
    """The questionnaire's samples of all scans, patient by patient, slice by slice.

    Samples of one slice share one array of pixels. Raises what loading raises, `DatasetError`.
    """
    for scan in tqdm(scans, desc="patients", unit="patient", disable=not show_progress):
        volume = scan.load()
        put = questionnaire.put_to(volume)
        for index, on_slice in groupby(put, key=lambda item: item.slice_index):
            pixels = np.ascontiguousarray(volume.pixels[index])
            labels = np.ascontiguousarray(volume.labels[index])
            for item in on_slice:
                yield Sample(
                    patient_id=volume.patient_id,
                    slice_index=index,
                    pixels=pixels,
                    question=item.question.text,
                    asked_organ_ids=item.question.organ_ids,
                    labels=labels,
                    spacing_zyx_mm=volume.spacing_zyx_mm,
                    labelled_organ_ids=volume.labelled_organ_ids,
                    kind=item.question.kind.value,
                )


def showing_organs(samples: Iterable[Sample]) -> Iterator[Sample]:
    """The samples whose image shows an organ that they ask for: what baselines are scored on."""
    return (sample for sample in samples if np.isin(sample.labels, sample.asked_organ_ids).any())
