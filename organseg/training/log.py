"""The log of a stage: two CSV files, and TensorBoard where it is installed."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path
from typing import Any


class TrainingLog:
    """Appends rows to `train.csv` and `validation.csv` of a folder."""

    def __init__(self, folder: Path, step: int, *, enabled: bool = True) -> None:
        """Goes on behind `step`: rows of steps that a killed run did not save are dropped."""
        self.folder, self.enabled = folder, enabled
        self._board: Any = None
        if not enabled:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("train.csv", "validation.csv"):
            _cut(folder / name, step)
        if find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step)

    def step(self, step: int, seconds: float, values: dict[str, float]) -> None:
        """One optimizer step's rate and losses."""
        self._row("train", step, seconds, values)

    def validation(self, step: int, seconds: float, values: dict[str, float]) -> None:
        """One validation's figures."""
        self._row("validation", step, seconds, values)

    def close(self) -> None:
        """Closes TensorBoard's file."""
        if self._board is not None:
            self._board.close()

    def _row(self, name: str, step: int, seconds: float, values: dict[str, float]) -> None:
        if not self.enabled:
            return
        path = self.folder / f"{name}.csv"
        is_new = not path.is_file()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(["step", "minutes", *values])
            writer.writerow(
                [step, f"{seconds / 60:.3f}", *(f"{value:.6g}" for value in values.values())]
            )
        if self._board is not None:
            for key, value in values.items():
                self._board.add_scalar(f"{name}/{key}", value, step)


def _cut(path: Path, step: int) -> None:
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = lines[:1] + [line for line in lines[1:] if int(line.split(",", 1)[0]) <= step]
    path.write_text("".join(kept), encoding="utf-8")
