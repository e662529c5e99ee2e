"""The record of an evaluation: plain frozen values that JSON, tables and plots are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from organseg.evaluation.calibration import ReliabilityBin
from organseg.evaluation.intervals import Interval

__all__ = [
    "Answers",
    "BaselineRow",
    "Calibration",
    "EvaluationRecord",
    "KindAccuracy",
    "OrganMetrics",
    "Referring",
    "Rejection",
]


@dataclass(frozen=True)
class OrganMetrics:
    """Mask and box scores of one organ, or their mean over the organs that have them."""

    name: str
    """The organ's name, or "mean"."""
    dice_present: Interval
    """Dice over queries whose organ is in the image (the paper's Table III)."""
    dice_empty_aware: Interval
    """Dice over all queries for the organ; both empty 1, one empty 0."""
    iou_present: Interval
    """Intersection over union, organ in the image."""
    box_iou_present: Interval
    """Intersection over union of the predicted box and the true mask's box."""
    surface_dice_slice: Interval
    """Surface Dice within slices, at FLARE22's tolerance."""
    volume_dice_shown: Interval
    """One Dice over all slices of a volume that show the organ, where thin ends count little."""
    volume_dice_official: Interval
    """Volume Dice as FLARE22's script, with its half-open z range."""
    volume_dice_fixed: Interval
    """Volume Dice with the z range's last slice included."""
    surface_dice_official: Interval
    """Volume surface Dice as FLARE22's script, with its half-open z range."""
    surface_dice_fixed: Interval
    """Volume surface Dice with the z range's last slice included."""
    volumes_not_scored: int
    """Volumes with slices missing, or with a single labelled slice in the official z range."""


@dataclass(frozen=True)
class BaselineRow:
    """A row beside the method."""

    name: str
    """Oracle box, whole-image box, no question."""
    dice_present: tuple[Interval, ...]
    """Dice of the 13 organs in id order, organ in the image."""
    mean: Interval
    """Their mean."""


@dataclass(frozen=True)
class Answers:
    """How often the right organ was answered."""

    organ_choice: Interval
    """Questions for one organ answered with that organ."""
    choice_by_name: Interval
    """Of them, questions that say the organ's name, a synonym, Latin, an abbreviation."""
    choice_by_knowledge: Interval
    """Of them, questions that describe it: function, place, neighbours, disease, surgery, ..."""
    all_answers: Interval
    """The same with out-of-scope questions, whose right answer is none."""
    multi_organ_exact_match: Interval
    """Questions for several organs answered with exactly those."""


@dataclass(frozen=True)
class KindAccuracy:
    """How often questions of one kind were answered rightly."""

    kind: str
    """A `QuestionKind`'s value."""
    accuracy: Interval
    """The right organ, exactly the right organs, or none, whatever the image shows."""


@dataclass(frozen=True)
class Rejection:
    """What was rejected, and what should not have been."""

    scope_n_acc: Interval
    """Out-of-scope questions answered "none" (the paper's false-premise recognition)."""
    scope_t_acc: Interval
    """Questions for organs not answered "none"."""
    absence_n_acc: Interval
    """Asked organs not in the image for which nothing was offered."""
    absence_n_acc_strict: Interval
    """Asked organs not in the image that were answered `absent_in_image`."""
    absence_t_acc: Interval
    """Asked organs in the image that were not rejected."""
    scope_auc: float | None
    """How well the similarity margin ranks out-of-scope questions above others."""


@dataclass(frozen=True)
class Referring:
    """Referring segmentation scores, each question one mask."""

    generalized_iou: Interval
    """gIoU, the mean over questions."""
    cumulative_iou: Interval
    """cIoU, summed over questions."""


@dataclass(frozen=True)
class Calibration:
    """Whether stated probabilities can be believed."""

    count: int
    """Stated probabilities."""
    bins: tuple[ReliabilityBin, ...]
    """The reliability diagram."""
    expected_calibration_error: float | None
    """ECE over those bins."""
    brier: float | None
    """Mean squared error."""
    auc: float | None
    """Ranking of all together, `None` where one class is missing."""
    auc_per_organ: tuple[float | None, ...] = ()
    """Of presence: ranking of slices within each of the 13 organs."""


@dataclass(frozen=True)
class EvaluationRecord:
    """Everything one evaluation says."""

    model: str
    """What answered."""
    dataset: str
    """On what."""
    provenance: Mapping[str, str]
    """Commit, command, machine, versions, checkpoint, seed."""
    questions: int
    """Questions asked."""
    patients: int
    """Patients they are about."""
    organs: tuple[OrganMetrics, ...]
    """The 13 organs in id order."""
    mean: OrganMetrics
    """Their mean."""
    baselines: tuple[BaselineRow, ...]
    """Rows beside the method."""
    confusion: tuple[tuple[int, ...], ...]
    """Counts 14 × 14, rows asked, columns answered."""
    confusion_order: tuple[str, ...]
    """Names of its rows and columns: alphabetical, none last."""
    answers: Answers
    """Choice of organ."""
    rejection: Rejection
    """Refusals."""
    referring: Referring
    """gIoU and cIoU."""
    kinds: tuple[KindAccuracy, ...]
    """Right answers by the kind of question."""
    presence: Calibration
    """Probabilities that a slice shows an organ, one for each slice and labelled organ: the
    mean over the slice's questions for organs."""
    refusal: Calibration
    """Probabilities that a question is out of scope, one for each question."""
    notices: tuple[str, ...] = ()
    """What a reader must know before any number, such as that the weights are untrained."""
