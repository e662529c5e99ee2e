"""The training loop of every stage: AdamW, warm-up and cosine, bf16, budget, resume, log.

Chance follows from (seed, stage, step, pass, process) alone, so a run that was killed and goes
on from its last saved state ends with the same weights as one that was not.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from accelerate import (  # type: ignore[import-untyped]
    Accelerator,
    DistributedDataParallelKwargs,
)
from accelerate.utils import broadcast_object_list  # type: ignore[import-untyped]
from torch import Tensor, nn
from tqdm import tqdm  # type: ignore[import-untyped]

from organseg.errors import TrainingDivergedError
from organseg.training.log import TrainingLog
from organseg.training.options import LoopOptions
from organseg.training.prefetch import Prefetcher
from organseg.training.state import (
    BEST_FILE,
    TrainingState,
    load_state,
    load_weights,
    put_weights,
    save_weights,
    trained_weights,
)

Batch = dict[str, Any]


class Stage(nn.Module, ABC):
    """One stage of training: what it learns, from what, and how well it does."""

    name: str
    """The stage's word on the command line, and its folder."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, batch: int) -> Batch:
        """One batch, on the CPU; all its chance is from `rng`."""

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Every loss by name, weighted; their sum is what is learned from."""

    @abstractmethod
    def validate(self, device: torch.device) -> dict[str, float]:
        """Figures on the validation set; `score` is the one to choose by, higher is better."""

    def rate_of(self, weight_name: str) -> float:
        """The learning rate of a weight relative to the stage's."""
        del weight_name
        return 1.0


def train(
    stage: Stage, folder: Path, options: LoopOptions, wish: dict[str, Any]
) -> dict[str, Tensor]:
    """Trains a stage to its end, or goes on where it was killed.

    Args:
        stage: what to train; only its weights that require gradients change.
        folder: where state, log and best weights are kept.
        options: the loop's.
        wish: all options of the stage; a state of other ones is refused.

    Returns:
        The best weights by validation, which are put into the stage, too.

    Raises:
        CheckpointError: the folder holds a run of other options.
    """
    state = load_state(folder, wish)
    if not state.finished:
        _Run(stage, folder, options, state).finish()
    best = load_weights(folder / BEST_FILE)
    put_weights(stage, best)
    stage.eval()
    return best


def learning_rate(progress: float, options: LoopOptions) -> float:
    """The rate at a progress of 0 to 1: linear warm-up, then a cosine to the final share."""
    if progress < options.warm_up:
        return options.learning_rate * max(progress, 1e-3) / options.warm_up
    along = (progress - options.warm_up) / max(1.0 - options.warm_up, 1e-9)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(along, 1.0)))
    return options.learning_rate * (options.final_rate + (1.0 - options.final_rate) * cosine)


class _Run:
    """One run: the stage with its optimizer on its devices."""

    def __init__(
        self, stage: Stage, folder: Path, options: LoopOptions, state: TrainingState
    ) -> None:
        self.stage, self.folder, self.options, self.state = stage, folder, options, state
        # SAM's unused mask tokens, and losses that a batch lacks, leave weights without gradient.
        sharing = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator = Accelerator(kwargs_handlers=[sharing])
        if state.weights:
            put_weights(stage, state.weights)
        optimizer = torch.optim.AdamW(self._groups(), lr=options.learning_rate, betas=(0.9, 0.98))
        if state.optimizer:
            optimizer.load_state_dict(state.optimizer)
        self.module: Any
        self.module, self.optimizer = self.accelerator.prepare(stage, optimizer)
        self.weights = [weight for weight in stage.parameters() if weight.requires_grad]
        self.log = TrainingLog(folder, state.step, enabled=self.accelerator.is_main_process)
        self.saved_at = time.monotonic()
        self.batches = Prefetcher(
            self._draw, workers=options.workers, start=state.step * options.accumulate
        )

    def finish(self) -> None:
        """Steps until the budget is spent or validation stops rising."""
        options, state = self.options, self.state
        bar = self._bar()
        try:
            self._learn(bar)
        finally:
            self.batches.close()
        if not options.validate_every or state.step % options.validate_every:
            self._validate()
        bar.close()
        state.finished = True
        self._save()
        self.log.close()

    def _learn(self, bar: Any) -> None:
        options, state = self.options, self.state
        while self._progress() < 1.0:
            started = time.monotonic()
            losses = self._step()
            state.step += 1
            state.seconds = self._agree(state.seconds + time.monotonic() - started)
            bar.update(self._progress() * bar.total - bar.n)
            shown = (f"{key} {value:.3f}" for key, value in losses.items())
            bar.set_postfix_str(" ".join([f"step {state.step}", *shown]))
            if options.validate_every and state.step % options.validate_every == 0:
                self._validate()
                if options.patience and state.stale >= options.patience:
                    break
            if time.monotonic() - self.saved_at > 60.0 * options.save_minutes:
                self._save()

    def _bar(self) -> Any:
        """A progress bar of the budget: minutes where there is a budget of them, else steps."""
        unit, total, done = "steps", float(self.options.steps), "{n:.0f}"
        if self.options.minutes:
            unit, total, done = "min", self.options.minutes, "{n:.1f}"
        return tqdm(
            total=total,
            initial=self._progress() * total,
            desc=self.stage.name,
            unit=unit,
            bar_format="{desc} {percentage:3.0f}%|{bar}| "
            f"{done}/{{total:g}} {{unit}} [{{elapsed}}<{{remaining}}{{postfix}}]",
            disable=not self.accelerator.is_main_process,
        )

    def _progress(self) -> float:
        """The share of the budget that is spent, 0 to 1."""
        spent = self.state.step / self.options.steps
        if self.options.minutes:
            spent = max(spent, self.state.seconds / (60.0 * self.options.minutes))
        return min(spent, 1.0)

    def _step(self) -> dict[str, float]:
        options = self.options
        rate = learning_rate(self._progress(), options)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["relative_rate"]
        self.module.train()
        sums: dict[str, float] = {}
        for index in range(options.accumulate):
            number = self.state.step * options.accumulate + index
            seed = np.random.SeedSequence(self._seed(number)).generate_state(1)[0]
            torch.manual_seed(int(seed))
            batch = self.batches.next()
            with ExitStack() as stack:
                if index + 1 < options.accumulate:
                    stack.enter_context(self.accelerator.no_sync(self.module))
                losses = self._forward(batch)
                total = torch.stack(list(losses.values())).sum()
                self.accelerator.backward(total / options.accumulate)
            for key, value in {"loss": total, **losses}.items():
                sums[key] = sums.get(key, 0.0) + float(value.detach()) / options.accumulate
        if not math.isfinite(sums["loss"]):
            raise TrainingDivergedError(
                f"wanted a finite loss, got {sums} at step {self.state.step} of "
                f"{self.stage.name}: lower --learning-rate, or train with --no-bf16"
            )
        self.accelerator.clip_grad_norm_(self.weights, options.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.log.step(self.state.step + 1, self.state.seconds, {"rate": rate, **sums})
        return sums

    def _forward(self, batch: Batch) -> dict[str, Tensor]:
        device = self.accelerator.device
        moved = {
            name: value.to(device) if isinstance(value, Tensor) else value
            for name, value in batch.items()
        }
        with torch.autocast(device.type, torch.bfloat16, enabled=self.options.bf16):
            losses: dict[str, Tensor] = self.module(moved)
        return losses

    def _validate(self) -> None:
        started = time.monotonic()
        self.stage.eval()
        with (
            torch.no_grad(),
            torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=self.options.bf16),
        ):
            figures = self.stage.validate(self.accelerator.device)
        self.state.stale += 1
        if figures["score"] > self.state.best_score:
            self.state.best_score, self.state.stale = figures["score"], 0
            if self.accelerator.is_main_process:
                save_weights(trained_weights(self.stage), self.folder / BEST_FILE)
        self.log.validation(self.state.step, self.state.seconds, figures)
        self.state.seconds = self._agree(self.state.seconds + time.monotonic() - started)
        self.accelerator.wait_for_everyone()

    def _agree(self, seconds: float) -> float:
        """The first process's clock, so that all stop at the same step."""
        if self.accelerator.num_processes == 1:
            return seconds
        shared = [seconds]
        broadcast_object_list(shared)
        return shared[0]

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            self.state.weights = trained_weights(self.stage)
            self.state.optimizer = self.optimizer.state_dict()
            self.state.save(self.folder)
        self.saved_at = time.monotonic()

    def _draw(self, number: int) -> Batch:
        """The batch of this number, counted in forward passes from the stage's beginning."""
        return self.stage.draw(np.random.default_rng(self._seed(number)), self.options.batch)

    def _seed(self, number: int) -> list[int]:
        step, index = divmod(number, self.options.accumulate)
        stage = crc32(self.stage.name.encode())
        return [self.options.seed, stage, step, index, self.accelerator.process_index]

    def _groups(self) -> Iterator[dict[str, Any]]:
        """Matrices decay, vectors do not; each rate apart."""
        groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
        for name, weight in self.stage.named_parameters():
            if weight.requires_grad:
                key = (weight.ndim > 1, self.stage.rate_of(name))
                groups.setdefault(key, []).append(weight)
        for (decays, rate), weights in groups.items():
            yield {
                "params": weights,
                "weight_decay": self.options.weight_decay if decays else 0.0,
                "relative_rate": rate,
            }
