"""The stages in order, each from the folder of the one before it.

OUT/
  slices/train, slices/validation   the slice sets
  segmenter, vision-language        stage 0: state, log, best weights
  extractors                        stage 1: the same, for adapters and heads
  checkpoint                        what `python -m export --checkpoint` reads
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
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
from organseg.networks.organ_seg import OrganSeg
from organseg.networks.original_checkpoints import OriginalFiles, original_checkpoint
from organseg.networks.text_encoder import encoder_sha256
from organseg.training.calibrate import calibrate, validation_scores
from organseg.training.dataset_slices import write_dataset_slices
from organseg.training.extractors_stage import ExtractorsStage
from organseg.training.frozen import demand_unchanged, frozen_hashes
from organseg.training.loop import train
from organseg.training.options import Recipe
from organseg.training.sampling import SliceSampler
from organseg.training.segmenter_stage import SegmenterStage
from organseg.training.sentences import QuestionBank
from organseg.training.slices import open_slices, write_slices
from organseg.training.state import BEST_FILE, load_weights, options_wish, put_weights
from organseg.training.vision_language_stage import VisionLanguageStage, start_from_encoder


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


class Pipeline:
    """The stages of one preset in one folder."""

    def __init__(
        self,
        out: Path,
        preset: Preset,
        recipe: Recipe,
        *,
        base: Path | OriginalFiles | None = None,
    ) -> None:
        """Names folder, preset and options.

        Args:
            out: the folder of all stages.
            preset: the sizes.
            recipe: all options.
            base: whose weights stage 1 starts from instead of stage 0's: LLaVA-Med and MedSAM as
                they are published, or the checkpoint folder of another training.
        """
        self.out, self.preset, self.recipe, self.base = out, preset, recipe, base

    def write_slices(self) -> None:
        """Stage `slices`."""
        write = write_dataset_slices if self.recipe.slices.dataset else write_slices
        for split in (Split.VALIDATION, Split.TRAIN):
            write(self.out / "slices" / split.value, split, self.recipe.slices)

    def train_segmenter(self) -> None:
        """Stage 0, the segmenter."""
        recipe = self.recipe
        organ_seg = self._fresh(recipe.segmenter_loop.seed).organ_seg
        stage = SegmenterStage(
            organ_seg.segmenter,
            *self.samplers(),
            recipe.segmenter,
            validation_slices=recipe.segmenter_loop.validation_slices,
        )
        wish = self._wish(recipe.segmenter, recipe.segmenter_loop)
        train(stage, self.out / stage.name, recipe.segmenter_loop, wish)

    def train_vision_language(self) -> None:
        """Stage 0, the vision-language model."""
        recipe = self.recipe
        checkpoint = self._fresh(recipe.vision_language_loop.seed)
        stage = self._vision_language_stage(checkpoint)
        if recipe.vision_language.encoder_embeddings:
            start_from_encoder(checkpoint.organ_seg.vision_language)
        wish = self._wish(recipe.vision_language, recipe.vision_language_loop)
        train(stage, self.out / stage.name, recipe.vision_language_loop, wish)

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
            fresh = self._fresh(loop.seed + 1).organ_seg.extractors
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
        folder = self.out / stage.name
        train(stage, folder, loop, self._wish(recipe.extractors, loop))
        demand_unchanged(before, stage)
        taught_by = Path(recipe.slices.dataset).name or "synthetic phantoms"
        description = (
            f"{'plain recipe of the paper' if recipe.extractors.paper else 'full recipe'}, "
            f"trained on {taught_by} by organseg.training, seed {loop.seed}"
        )
        card = CheckpointCard(self.preset.name, True, encoder_sha256(), description)
        trained = replace(checkpoint, card=card, organ_seg=checkpoint.organ_seg.eval())
        save_checkpoint(trained, self.checkpoint_folder, dtype=torch.float16)
        self._write_recipe()

    def calibrate(self) -> Checkpoint:
        """Stage `calibrate`: thresholds into the checkpoint's context cache, nothing else."""
        checkpoint = load_checkpoint(self.checkpoint_folder, self.preset)
        options = self.recipe.calibration
        _, validation = self.samplers()
        scores = validation_scores(checkpoint, validation, self.bank(), options.slices)
        cache = calibrate(checkpoint.cache, scores, options)
        cache.save(self.checkpoint_folder / FILE_NAME)
        return replace(checkpoint, cache=cache)

    def run_all(self) -> None:
        """Every stage; each goes on where it was killed."""
        self.write_slices()
        if self.base is None:
            self.train_segmenter()
            self.train_vision_language()
        self.train_extractors()
        self.calibrate()

    @property
    def checkpoint_folder(self) -> Path:
        """Where stage 1 writes."""
        return self.out / "checkpoint"

    def _fresh(self, seed: int) -> Checkpoint:
        checkpoint = build_checkpoint(self.preset, seed=seed)
        narrow(checkpoint.organ_seg)
        # What a stage adds to the model is seeded, too.
        torch.manual_seed(seed)
        return checkpoint

    def _starting_point(self) -> Checkpoint:
        if isinstance(self.base, OriginalFiles):
            loop = self.recipe.extractors_loop
            # Frozen weights lose nothing that a bfloat16 pass would see.
            dtype = torch.bfloat16 if loop.bf16 else torch.float32
            return original_checkpoint(self.base, self.preset, seed=loop.seed, dtype=dtype)
        if self.base is not None:
            checkpoint = load_checkpoint(self.base, self.preset)
            if hasattr(checkpoint.organ_seg.vision_language.llava, "get_base_model"):
                raise CheckpointError(
                    f"wanted base weights without an adapter in {self.base}, got some with one: "
                    "give the checkpoint of before stage 1"
                )
            return checkpoint
        recipe = self.recipe
        checkpoint = self._fresh(recipe.extractors_loop.seed)
        parts = checkpoint.organ_seg
        segmenter = SegmenterStage(parts.segmenter, *self.samplers(), recipe.segmenter)
        put_weights(segmenter, load_weights(self.out / segmenter.name / BEST_FILE))
        words = self._vision_language_stage(checkpoint)
        put_weights(words, load_weights(self.out / words.name / BEST_FILE))
        return checkpoint

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
                SliceSampler(open_slices(self.out / "slices" / split.value), self.recipe.augment)
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
        return {"preset": self.preset.name, **options_wish(self.recipe.augment, *options)}

    def _write_recipe(self) -> None:
        text = json.dumps({"preset": self.preset.name, **asdict(self.recipe)}, indent=2)
        (self.checkpoint_folder / "training.json").write_text(text + "\n", encoding="utf-8")
