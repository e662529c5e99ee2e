"""What every stage can be told: frozen dataclasses from which the command line is derived."""

from __future__ import annotations

from dataclasses import dataclass, field

from organseg.data.phantom.seeds import FIRST_TRAINING_SEED
from organseg.errors import TrainingOptionError


@dataclass(frozen=True)
class SlicesOptions:
    """Stage `slices`: how many phantoms, and how they are rendered."""

    volumes: int = 1200
    """Training phantoms."""
    validation_volumes: int = 40
    """Validation patients, other seeds."""
    slices: int = 36
    """Slices of a phantom."""
    size: int = 0
    """Rows and columns of a stored slice; 0: the segmenter's own, up to 512."""
    dataset: str = ""
    """A FLARE22-shaped folder (images/, labels/) to take the slices from, instead of phantoms."""
    label_map: str = "flare22"
    """Whose label values the dataset's are: a key of `organs.LABEL_MAPS`."""
    modality: str = ""
    """The dataset's scanner, ct or mr, where its label map does not say it (AMOS holds both)."""
    ct_share: float = 0.75
    """Share of CT-like volumes; the rest is MR-like or of random intensities, half and half."""
    window_jitter_share: float = 0.3
    """Share of volumes whose window is not the default one."""
    first_patient: int = FIRST_TRAINING_SEED
    """The first patient seed that is looked at."""
    processes: int = 2
    """Worker processes; with 1, this process works alone."""


@dataclass(frozen=True)
class LoopOptions:
    """The training loop, the same in every stage."""

    steps: int = 1000
    """Optimizer steps, also the length of the learning-rate schedule."""
    minutes: float = 0.0
    """Wall-clock budget of this stage in minutes; the schedule then follows the clock. 0: none."""
    batch: int = 8
    """Images of one forward pass on each device."""
    accumulate: int = 1
    """Forward passes of one optimizer step."""
    learning_rate: float = 3e-4
    """Peak learning rate."""
    warm_up: float = 0.03
    """Share of the schedule in which the rate rises."""
    final_rate: float = 0.03
    """Share of the peak rate that the cosine ends at."""
    weight_decay: float = 0.02
    """AdamW's weight decay."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    workers: int = 0
    """Threads that draw batches ahead; 0: drawn in turn, best on a CPU."""
    bf16: bool = True
    """Forward passes in bfloat16 by autocast; weights and optimizer stay float32."""
    seed: int = 0
    """What all chance follows from."""
    save_minutes: float = 3.0
    """Minutes between saved states; one is also saved at the end."""
    validate_every: int = 200
    """Steps between validations; 0: only at the end."""
    validation_slices: int = 96
    """Validation slices looked at each time."""
    patience: int = 0
    """Validations without a better score before the stage stops; 0: never."""

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.accumulate) < 1 or self.minutes < 0:
            raise TrainingOptionError(
                "wanted at least one step, one image and one pass, and minutes of at least 0; got "
                f"{self.steps} steps, batch {self.batch}, accumulate {self.accumulate}, "
                f"{self.minutes:g} minutes: correct these options"
            )


@dataclass(frozen=True)
class AugmentOptions:
    """How slices are changed anew each time they are seen."""

    zoom: float = 0.25
    """Largest change of each axis' scale on its own, as a share."""
    shift: float = 0.08
    """Largest shift, as a share of the image."""
    turn_degrees: float = 8.0
    """Largest rotation."""
    gamma: float = 0.35
    """Largest natural logarithm of the gamma curve."""
    coarse_share: float = 0.4
    """Share of batches shown at a lower resolution, as small scans are."""
    contrast: float = 0.1
    """Standard deviation of each tissue's change of grey, as a share of all greys; phantoms alone
    have tissues."""
    contrast_share: float = 0.5
    """Share of slices whose tissues are changed so."""
    warp: float = 0.025
    """Largest standard deviation of a smooth displacement, as a share of the image."""
    shading: float = 0.2
    """Largest standard deviation of the natural logarithm of a smooth field of brightness."""
    grain: float = 0.04
    """Largest standard deviation of noise, as a share of all greys."""


@dataclass(frozen=True)
class SegmenterOptions:
    """Stage 0 `segmenter`: the small SAM learns masks from boxes."""

    boxes: int = 4
    """Boxes decoded on each image."""
    jitter: float = 0.12
    """Largest error of a box's edges, as a share of its sides."""
    quality_weight: float = 0.1
    """Weight of the predicted IoU's squared error."""
    organ_weight: float = 0.5
    """Weight of the cross-entropy and Dice of the organs read from the image embedding."""
    tissue_weight: float = 0.5
    """Weight of the tissues read from the image embedding; phantoms alone have them."""


@dataclass(frozen=True)
class VisionTowerOptions:
    """Stage 0 `vision-tower`: the vision tower learns what slices show, and where."""

    organ_weight: float = 2.0
    """Weight of the cells' cross-entropy over the organs; their Dice weighs one."""
    tissue_weight: float = 0.5
    """Weight of the tissue of every cell; phantoms alone have it."""
    level_weight: float = 0.25
    """Weight of the slice's level in the body; phantoms alone have it."""


@dataclass(frozen=True)
class LanguageOptions:
    """Stage 0 `language`: the language model learns what questions ask for, without images."""

    texts: int = 192
    """Questions and sentences of each step."""
    typos: float = 0.2
    """Share of questions that are mistyped."""
    composed: float = 0.4
    """Share of texts that are a template filled with terms, names or clues."""
    distilled: float = 0.12
    """Share of texts that have no label, only the text encoder's embedding."""
    word_dropout: float = 0.05
    """Share of the words that are hidden in texts without an image, so that none is relied on."""
    answer_weight: float = 1.0
    """Weight of the 14 classes' cross-entropy."""
    distill_weight: float = 2.0
    """Weight of the distance to the text encoder's embedding."""
    explanations: int = 8
    """Explained answers of each step, for the model to talk."""
    explanation_weight: float = 0.2
    """Weight of their words' cross-entropy."""
    encoder_embeddings: bool = True
    """Whether token embeddings start from the text encoder's."""


@dataclass(frozen=True)
class VisionLanguageOptions:
    """Stage 0 `vision-language`: tower and language model learn to work together."""

    asked_images: int = 2
    """Images of each batch that questions are asked about; the others teach places alone."""
    questions: int = 12
    """Questions and sentences asked about each of them, sharing its prefix."""
    text_batch: int = 96
    """Questions and sentences of the pass over text alone that goes with each batch."""
    typos: float = 0.2
    """Share of questions that are mistyped."""
    composed: float = 0.4
    """Share of texts that are a template filled with terms, names or clues."""
    distilled: float = 0.12
    """Share of texts that have no label, only the text encoder's embedding."""
    word_dropout: float = 0.05
    """Share of the words that are hidden in texts without an image, so that none is relied on."""
    answer_weight: float = 1.0
    """Weight of the 14 classes' cross-entropy."""
    gap_weight: float = 0.5
    """Weight of the gap to the nearest organ, by which several asked organs are told apart."""
    distill_weight: float = 2.0
    """Weight of the distance to the text encoder's embedding."""
    explanation_weight: float = 0.2
    """Weight of the words' cross-entropy of explained answers, one about each asked image."""
    attention_weight: float = 1.0
    """Weight of the cells that the organs' queries claim."""
    box_weight: float = 0.5
    """Weight of the boxes' edges and overlap."""
    presence_weight: float = 1.0
    """Weight of presence's cross-entropy."""
    tissue_weight: float = 0.5
    """Weight of the tissue of every cell, read from its patch state; phantoms alone have it."""
    level_weight: float = 0.5
    """Weight of the slice's level in the body; phantoms alone have it."""
    tower_learning_rate: float = 0.5
    """Learning rate of the vision tower relative to all else."""


@dataclass(frozen=True)
class ExtractorsOptions:
    """Stage 1 `extractors`: the paper's recipe, and what goes beyond it."""

    paper: bool = False
    """Only the paper's two losses: switches all additions off."""
    questions: int = 6
    """Questions asked about each image, sharing its prefix."""
    organs: int = 3
    """Organs of each image whose masks are drawn for the Dice loss."""
    lora_rank: int = 8
    """Rank of the adapters."""
    lora_alpha: int = 16
    """Scale of the adapters."""
    dice_weight: float = 1.0
    """L2: Dice of the mask drawn through the frozen prompt encoder and decoder (the paper)."""
    box_weight: float = 2.0
    """Addition: L1 and generalised IoU of the boxes."""
    presence_weight: float = 1.0
    """Addition: binary cross-entropy of presence."""
    mask_weight: float = 0.0
    """Addition: binary cross-entropy of the mask."""
    attention_weight: float = 0.5
    """Addition: the cells that the organs' queries claim."""
    several_weight: float = 1.0
    """Addition: questions for several organs, as a sum over the right answers."""
    gap_weight: float = 0.5
    """Addition: the gap to the nearest organ, by which several asked organs are told apart."""
    distill_weight: float = 0.5
    """Addition: distance to the text encoder's embedding."""
    composed: float = 0.4
    """Addition: share of texts that are a template filled with terms, names or clues."""
    typos: float = 0.2
    """Addition: share of questions that are mistyped."""
    small_learning_rate: float = 1.0
    """Learning rate of the heads relative to the adapters'."""
    kept: float = 1.0
    """Addition: share of what was learned that is kept, the rest is as before the stage; below 1
    only where the heads were trained before."""


@dataclass(frozen=True)
class CalibrationOptions:
    """Stage `calibrate`: what is asked of the thresholds."""

    slices: int = 600
    """Validation slices looked at."""
    acceptance: float = 0.975
    """Share of organ questions that must not be rejected."""
    presence_acceptance: float = 0.975
    """Share of present organs that must be offered."""


@dataclass(frozen=True)
class Recipe:
    """Everything that the stages can be told."""

    slices: SlicesOptions = field(default_factory=SlicesOptions)
    """Stage `slices`."""
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    """How slices are changed, in every stage."""
    segmenter: SegmenterOptions = field(default_factory=SegmenterOptions)
    """Stage `segmenter`."""
    segmenter_loop: LoopOptions = field(
        default_factory=lambda: LoopOptions(
            steps=20000,
            minutes=45.0,
            batch=4,
            learning_rate=1e-3,
            validate_every=500,
            validation_slices=80,
        )
    )
    """Its loop."""
    vision_tower: VisionTowerOptions = field(default_factory=VisionTowerOptions)
    """Stage `vision-tower`."""
    vision_tower_loop: LoopOptions = field(
        default_factory=lambda: LoopOptions(
            steps=40000, minutes=25.0, batch=10, learning_rate=1e-3, validate_every=1000
        )
    )
    """Its loop."""
    language: LanguageOptions = field(default_factory=LanguageOptions)
    """Stage `language`."""
    language_loop: LoopOptions = field(
        default_factory=lambda: LoopOptions(
            steps=40000, minutes=30.0, batch=1, learning_rate=1e-3, validate_every=500
        )
    )
    """Its loop; a step's texts are counted apart, its batch is of no matter."""
    vision_language: VisionLanguageOptions = field(default_factory=VisionLanguageOptions)
    """Stage `vision-language`."""
    vision_language_loop: LoopOptions = field(
        default_factory=lambda: LoopOptions(
            steps=20000, minutes=43.0, batch=10, learning_rate=8e-4, validate_every=300
        )
    )
    """Its loop."""
    extractors: ExtractorsOptions = field(default_factory=ExtractorsOptions)
    """Stage `extractors`."""
    extractors_loop: LoopOptions = field(
        default_factory=lambda: LoopOptions(
            steps=20000, minutes=12.0, batch=6, learning_rate=4e-4, validate_every=200
        )
    )
    """Its loop."""
    calibration: CalibrationOptions = field(default_factory=CalibrationOptions)
    """Stage `calibrate`."""
