"""One pass over samples: ask, score, drop the masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from tqdm import tqdm  # type: ignore[import-untyped]

from organseg.evaluation.baselines import Baseline, Predictor, Segmenter, answer_by
from organseg.evaluation.cases import Case, Prediction, Sample
from organseg.evaluation.scores import CaseScores, score_case
from organseg.evaluation.volumes import VolumeAssembler, VolumeScores

__all__ = ["Evaluation", "Observer", "evaluate", "evaluate_baseline"]


@dataclass(frozen=True)
class Evaluation:
    """The scores of one model or baseline on one set of samples."""

    cases: tuple[CaseScores, ...]
    """One for each sample, in their order."""
    volumes: tuple[VolumeScores, ...]
    """One for each organ asked about in each patient."""


class Observer(Protocol):
    """Something that looks at each case before its masks are dropped, such as the gallery."""

    def observe(self, case: Case, scores: CaseScores) -> None:
        """Called once for each case."""
        ...


def evaluate(
    predictor: Predictor,
    samples: Iterable[Sample],
    *,
    observer: Observer | None = None,
    label: str = "evaluate",
    with_volumes: bool = True,
    show_progress: bool = True,
) -> Evaluation:
    """Asks the predictor every sample's question and scores the answers.

    Samples come patient by patient and may be a generator: one case's masks are held at a time,
    and one patient's cropped masks for the volume scores, which `with_volumes` leaves out where it
    is false (surface distances in 3-D take their time). What the predictor raises is raised.
    """
    return _evaluate(
        lambda sample: predictor.predict(sample.pixels, sample.question),
        samples,
        observer=observer,
        label=label,
        with_volumes=with_volumes,
        show_progress=show_progress,
    )


def evaluate_baseline(
    segmenter: Segmenter,
    baseline: Baseline,
    samples: Iterable[Sample],
    *,
    with_volumes: bool = True,
    show_progress: bool = True,
) -> Evaluation:
    """Scores a baseline that is told the organ and prompts the segmenter with its own box."""
    return _evaluate(
        answer_by(segmenter, baseline),
        samples,
        observer=None,
        label=baseline.value,
        with_volumes=with_volumes,
        show_progress=show_progress,
    )


def _evaluate(
    answer: Callable[[Sample], Prediction],
    samples: Iterable[Sample],
    *,
    observer: Observer | None,
    label: str,
    with_volumes: bool,
    show_progress: bool,
) -> Evaluation:
    assembler = VolumeAssembler()
    cases: list[CaseScores] = []
    volumes: list[VolumeScores] = []
    for sample in tqdm(samples, desc=label, unit="question", disable=not show_progress):
        case = Case.of(sample, answer(sample))
        scores = score_case(case)
        cases.append(scores)
        if with_volumes:
            volumes.extend(assembler.add(case))
        if observer is not None:
            observer.observe(case, scores)
    volumes.extend(assembler.finish())
    return Evaluation(cases=tuple(cases), volumes=tuple(volumes))
