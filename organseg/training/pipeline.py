"""The stages in order, each from the folder of the one before it.

OUT/
  slices/train, slices/validation   the slice sets
  segmenter                         stage 0: state, log, best weights
  vision-tower, language            the same
  vision-language                   the same, from both of these
  base                              a checkpoint without an adapter: what stage 0 made
  extractors                        stage 1: the same, for adapters and heads
  checkpoint                        what `python -m export --checkpoint` reads, with a record of
                                    how it was made (training.json, log/)
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState  # type: ignore[import-untyped]
from torch import nn

from organseg.contract.presets import Preset
from organseg.data.splits import Split
from organseg.errors import CheckpointError
from organseg.networks.build import KERNEL_SPREAD, LANGUAGE_SPREAD, build_checkpoint
from organseg.networks.checkpoint import (
    Checkpoint,
    CheckpointCard,
    load_checkpoint,
    save_checkpoint,
)
from organseg.networks.context_cache import FILE_NAME
from organseg.networks.extractors import Extractors
from organseg.networks.lora import merge_adapter
from organseg.networks.organ_seg import OrganSeg
from organseg.networks.original_checkpoints import OriginalFiles, original_checkpoint
from organseg.networks.text_encoder import encoder_sha256
from organseg.training.calibrate import calibrate, validation_scores
from organseg.training.dataset_slices import write_dataset_slices
from organseg.training.extractors_stage import ExtractorsStage, part_way
from organseg.training.frozen import demand_unchanged, frozen_hashes, thaw
from organseg.training.language_stage import LanguageStage, start_from_encoder
from organseg.training.loop import Stage, train
from organseg.training.options import Recipe
from organseg.training.record import stage_options, write_training_record
from organseg.training.sampling import SliceSampler
from organseg.training.segmenter_stage import SegmenterStage
from organseg.training.sentences import QuestionBank
from organseg.training.slices import open_slices, slices_card, write_slices
from organseg.training.state import (
    BEST_FILE,
    load_weights,
    options_wish,
    put_weights,
    trained_weights,
)
from organseg.training.vision_language_stage import VisionLanguageStage
from organseg.training.vision_tower_stage import VisionTowerStage


@torch.no_grad()
def narrow(organ_seg: OrganSeg) -> None:
    """Takes back the wide spread of untrained weights: it tells answers apart, and learns badly."""
    for module in organ_seg.vision_language.llava.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            module.weight.div_(LANGUAGE_SPREAD)
    organ_seg.extractors.segment_information.kernel.weight.div_(KERNEL_SPREAD)


def attend_plainly(llava: Any) -> None:
    """Plain matrix products instead of the fused attention, where there is no GPU.

    PyTorch's fused attention is slower for a CPU and narrow heads: a training step of `tiny`
    takes 1.4 times as long with it. The numbers are the same.
    """
    if not torch.cuda.is_available():
        llava.set_attn_implementation("eager")


LARGEST_SLICE = 512
"""Rows and columns beyond which scans hold no more, pixels."""


class Pipeline:
    """The stages of one preset in one folder."""

    def __init__(
        self,
        out: Path,
        preset: Preset,
        recipe: Recipe,
        *,
        base: Path | OriginalFiles | None = None,
        start: Path | None = None,
    ) -> None:
        """Names folder, preset and options.

        Args:
            out: the folder of all stages.
            preset: the sizes.
            recipe: all options.
            base: whose weights stage 1 starts from instead of stage 0's: LLaVA-Med and MedSAM as
                they are published, or the checkpoint folder of another training.
            start: the checkpoint folder whose weights stage 0 goes on from, its adapter merged;
                by default it begins from nothing.
        """
        self.out, self.preset, self.base, self.start = out, preset, base, start
        size = recipe.slices.size or min(preset.segmenter.image_size, LARGEST_SLICE)
        self.recipe = replace(recipe, slices=replace(recipe.slices, size=size))

    def write_slices(self) -> None:
        """Stage `slices`."""
        write = write_dataset_slices if self.recipe.slices.dataset else write_slices
        for split in (Split.VALIDATION, Split.TRAIN):
            write(self._slices(split), split, self.recipe.slices)

    def train_segmenter(self) -> None:
        """Stage 0, the segmenter."""
        recipe = self.recipe
        stage = self._segmenter_stage(self._beginning(recipe.segmenter_loop.seed))
        wish = self._wish(recipe.segmenter, recipe.segmenter_loop)
        train(stage, self.out / stage.name, recipe.segmenter_loop, wish)

    def train_vision_tower(self) -> None:
        """Stage 0, the vision tower alone."""
        checkpoint = self._beginning(self.recipe.vision_tower_loop.seed)
        stage = self._vision_tower_stage(checkpoint)
        wish = self._wish(self.recipe.vision_tower, self.recipe.vision_tower_loop)
        train(stage, self.out / stage.name, self.recipe.vision_tower_loop, wish)

    def train_language(self) -> None:
        """Stage 0, the language model alone."""
        recipe = self.recipe
        checkpoint = self._beginning(recipe.language_loop.seed)
        if recipe.language.encoder_embeddings and self.start is None:
            start_from_encoder(checkpoint.organ_seg.vision_language)
        stage = self._language_stage(checkpoint)
        wish = self._wish(recipe.language, recipe.language_loop)
        train(stage, self.out / stage.name, recipe.language_loop, wish)

    def train_vision_language(self) -> None:
        """Stage 0, tower and language model together: from both, or from another training.

        Writes all of stage 0 as a checkpoint, too: to be averaged, or to be the `base` of others.
        """
        recipe = self.recipe
        checkpoint = self._both_parts()
        stage = self._vision_language_stage(checkpoint)
        wish = self._wish(recipe.vision_language, recipe.vision_language_loop)
        train(stage, self.out / stage.name, recipe.vision_language_loop, wish)
        if (self.out / SegmenterStage.name / BEST_FILE).is_file():
            self._put_trained(self._segmenter_stage(checkpoint))
        description = f"base weights before stage 1, seed {recipe.vision_language_loop.seed}"
        self._save(checkpoint, self.out / "base", description, dtype=torch.float32)

    def train_extractors(self) -> None:
        """Stage 1, the paper: then writes the checkpoint.

        Raises:
            CheckpointError: a frozen weight changed, or an earlier stage is missing.
        """
        recipe, loop = self.recipe, self.recipe.extractors_loop
        checkpoint = self._starting_point()
        samplers = self.samplers()
        # Seeded: the adapters are new, and so are the heads of the plain recipe.
        torch.manual_seed(loop.seed)
        if recipe.extractors.paper:
            size = self.preset.vision_language
            fresh = Extractors(self.preset.extractors, size, checkpoint.cache)
            checkpoint.organ_seg.extractors.load_state_dict(fresh.state_dict())
        stage = ExtractorsStage(
            checkpoint.organ_seg,
            *samplers,
            self.bank(),
            recipe.extractors,
            temperature=checkpoint.cache.temperature,
            validation_slices=self.recipe.extractors_loop.validation_slices,
        )
        before = frozen_hashes(stage)
        # A run goes on from its own base only.
        base = hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()
        wish = self._wish(recipe.extractors, loop)
        started = {name: weight.clone() for name, weight in trained_weights(stage).items()}
        learned = train(stage, self.out / stage.name, loop, {**wish, "base": base})
        put_weights(stage, part_way(started, learned, stage.options.kept))
        demand_unchanged(before, stage)
        taught_by = Path(slices_card(self._slices(Split.TRAIN)).get("dataset", "")).name
        description = (
            f"{'plain recipe of the paper' if recipe.extractors.paper else 'full recipe'}, "
            f"trained on {taught_by or 'synthetic phantoms'} by organseg.training, "
            f"seed {loop.seed}"
        )
        self._save(checkpoint, self.checkpoint_folder, description, dtype=torch.float16)
        if PartialState().is_main_process:
            write_training_record(self.out, self.checkpoint_folder)
        PartialState().wait_for_everyone()

    def calibrate(self) -> Checkpoint:
        """Stage `calibrate`: thresholds into the checkpoint's context cache, nothing else."""
        checkpoint = self.trained_checkpoint()
        options = self.recipe.calibration
        _, validation = self.samplers()
        scores = validation_scores(checkpoint, validation, self.bank(), options.slices)
        cache = calibrate(checkpoint.cache, scores, options)
        if PartialState().is_main_process:
            cache.save(self.checkpoint_folder / FILE_NAME)
        return replace(checkpoint, cache=cache)

    def trained_checkpoint(self) -> Checkpoint:
        """What stage 1 wrote, on the GPU where there is one."""
        checkpoint = load_checkpoint(self.checkpoint_folder, self.preset)
        checkpoint.organ_seg.to("cuda" if torch.cuda.is_available() else "cpu")
        return checkpoint

    def run_all(self) -> None:
        """Every stage; each goes on where it was killed."""
        # One process makes the slices, however many will train.
        if PartialState().is_main_process:
            self.write_slices()
        PartialState().wait_for_everyone()
        originals = self.base if isinstance(self.base, OriginalFiles) else OriginalFiles()
        from_stage_zero = self.base is None or isinstance(self.base, OriginalFiles)
        if from_stage_zero and originals.medsam is None:
            self.train_segmenter()
        if from_stage_zero and originals.llava_med is None:
            if self.start is None:
                self.train_vision_tower()
                self.train_language()
            self.train_vision_language()
        self.train_extractors()
        self.calibrate()

    @property
    def checkpoint_folder(self) -> Path:
        """Where stage 1 writes."""
        return self.out / "checkpoint"

    def _slices(self, split: Split) -> Path:
        return self.out / "slices" / split.value

    def _save(
        self, checkpoint: Checkpoint, folder: Path, description: str, *, dtype: torch.dtype
    ) -> None:
        # Whoever taught the language model on has taught it to talk, unless that was switched off.
        taught = stage_options(self.out, VisionLanguageStage.name)
        talks = checkpoint.card.talks or (
            taught.get("VisionLanguageOptions.explanation_weight", 0.0) > 0
        )
        card = CheckpointCard(self.preset.name, True, encoder_sha256(), description, talks)
        if PartialState().is_main_process:
            trained = replace(checkpoint, card=card, organ_seg=checkpoint.organ_seg.eval())
            save_checkpoint(trained, folder, dtype=dtype)

    def _fresh(self, seed: int) -> Checkpoint:
        checkpoint = build_checkpoint(self.preset, seed=seed)
        narrow(checkpoint.organ_seg)
        # What a stage adds to the model is seeded, too.
        torch.manual_seed(seed)
        return checkpoint

    def _beginning(self, seed: int) -> Checkpoint:
        """What stage 0 begins with: random weights, or another training's."""
        if self.start is None:
            return self._fresh(seed)
        checkpoint = load_checkpoint(self.start, self.preset)
        merge_adapter(checkpoint.organ_seg.vision_language)
        thaw(checkpoint.organ_seg)
        torch.manual_seed(seed)
        return checkpoint

    def _both_parts(self) -> Checkpoint:
        """Tower and language model, each as its own stage left it."""
        checkpoint = self._beginning(self.recipe.vision_language_loop.seed)
        # One after the other: each stage thaws its own part and freezes the rest.
        for make in (self._vision_tower_stage, self._language_stage):
            self._put_taught(make(checkpoint))
        return checkpoint

    def _starting_point(self) -> Checkpoint:
        if isinstance(self.base, OriginalFiles):
            return self._from_originals(self.base)
        if self.base is not None:
            checkpoint = load_checkpoint(self.base, self.preset)
            if hasattr(checkpoint.organ_seg.vision_language.llava, "get_base_model"):
                raise CheckpointError(
                    f"wanted base weights without an adapter in {self.base}, got some with one: "
                    "give the checkpoint of before stage 1"
                )
            return checkpoint
        checkpoint = self._beginning(self.recipe.extractors_loop.seed)
        self._put_taught(self._segmenter_stage(checkpoint))
        self._put_taught(self._vision_language_stage(checkpoint))
        return checkpoint

    def _from_originals(self, files: OriginalFiles) -> Checkpoint:
        """The originals; what is not among them comes from stage 0."""
        loop = self.recipe.extractors_loop
        # Frozen weights lose nothing that a bfloat16 pass would see.
        dtype = torch.bfloat16 if loop.bf16 else torch.float32
        checkpoint = original_checkpoint(files, self.preset, seed=loop.seed, dtype=dtype)
        if files.medsam is None:
            self._put_trained(self._segmenter_stage(checkpoint))
        if files.llava_med is None:
            self._put_trained(self._vision_language_stage(checkpoint))
        return checkpoint

    def _put_taught(self, stage: Stage) -> None:
        """Puts a stage's best weights in; going on from another training, if it was taught anew."""
        if self.start is None or (self.out / stage.name / BEST_FILE).is_file():
            self._put_trained(stage)

    def _put_trained(self, stage: Stage) -> None:
        """Puts a stage's best weights into the parts that it was made with."""
        put_weights(stage, load_weights(self.out / stage.name / BEST_FILE))

    def _segmenter_stage(self, checkpoint: Checkpoint) -> SegmenterStage:
        return SegmenterStage(
            checkpoint.organ_seg.segmenter,
            *self.samplers(),
            self.recipe.segmenter,
            validation_slices=self.recipe.segmenter_loop.validation_slices,
        )

    def _vision_tower_stage(self, checkpoint: Checkpoint) -> VisionTowerStage:
        return VisionTowerStage(
            checkpoint.organ_seg.vision_language,
            *self.samplers(),
            self.recipe.vision_tower,
            validation_slices=self.recipe.vision_tower_loop.validation_slices,
        )

    def _language_stage(self, checkpoint: Checkpoint) -> LanguageStage:
        parts = checkpoint.organ_seg
        attend_plainly(parts.vision_language.llava)
        return LanguageStage(
            parts.vision_language,
            parts.extractors,
            self.bank(),
            self.recipe.language,
            temperature=checkpoint.cache.temperature,
        )

    def _vision_language_stage(self, checkpoint: Checkpoint) -> VisionLanguageStage:
        parts = checkpoint.organ_seg
        attend_plainly(parts.vision_language.llava)
        return VisionLanguageStage(
            parts.vision_language,
            parts.extractors,
            *self.samplers(),
            self.bank(),
            self.recipe.vision_language,
            temperature=checkpoint.cache.temperature,
            validation_slices=self.recipe.vision_language_loop.validation_slices,
        )

    def samplers(self) -> tuple[SliceSampler, SliceSampler]:
        """Training and validation slices, opened once."""
        if not hasattr(self, "_made_samplers"):
            training, validation = (
                SliceSampler(open_slices(self._slices(split)), self.recipe.augment)
                for split in (Split.TRAIN, Split.VALIDATION)
            )
            self._made_samplers = (training, validation)
        return self._made_samplers

    def bank(self) -> QuestionBank:
        """Questions and sentences, embedded once."""
        if not hasattr(self, "_made_bank"):
            self._made_bank = QuestionBank(self.out / "embeddings")
        return self._made_bank

    def _wish(self, *options: Any) -> dict[str, Any]:
        wish = {"preset": self.preset.name, **options_wish(self.recipe.augment, *options)}
        return wish if self.start is None else {**wish, "start": self.start.name}
