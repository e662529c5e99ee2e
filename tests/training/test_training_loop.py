"""The loop: a killed run goes on as if nothing had been, and refuses what does not fit."""

from __future__ import annotations

import csv

import pytest
import torch
from torch import nn

from organseg.errors import CheckpointError, TrainingDivergedError, TrainingOptionError
from organseg.training.loop import Stage, learning_rate, train
from organseg.training.options import LoopOptions
from organseg.training.state import options_wish

OPTIONS = LoopOptions(steps=12, batch=4, bf16=False, learning_rate=0.05, validate_every=4)


class Killed(Exception):
    """Stands for the power failing."""


class LineStage(Stage):
    """Learns a line from noisy points."""

    name = "line"

    def __init__(self, killed_at: int = -1, scores: tuple[float, ...] = ()) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Linear(2, 1)
        self.drawn, self.killed_at, self.scores = 0, killed_at, list(scores)

    def draw(self, rng, batch):
        self.drawn += 1
        if self.drawn == self.killed_at:
            raise Killed
        points = torch.from_numpy(rng.standard_normal((batch, 2))).float()
        return {"points": points, "values": points @ torch.tensor([[2.0], [-1.0]])}

    def forward(self, batch):
        noise = 0.01 * torch.randn(len(batch["points"]), 1)
        return {"square": ((self.line(batch["points"]) + noise - batch["values"]) ** 2).mean()}

    def validate(self, device):
        if self.scores:
            return {"score": self.scores.pop(0)}
        return {"score": -float((self.line.weight - torch.tensor([2.0, -1.0])).abs().sum())}


def run(folder, stage, options=OPTIONS):
    return train(stage, folder, options, options_wish(options))


def test_the_loss_falls(tmp_path):
    options = LoopOptions(steps=150, batch=8, bf16=False, learning_rate=0.1, validate_every=0)
    run(tmp_path, LineStage(), options)
    with (tmp_path / "train.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 150
    assert sum(losses[-10:]) < 0.05 * sum(losses[:10])


@pytest.mark.parametrize(
    ("budget", "shown"), [({"minutes": 0.004}, "/0.004 min ["), ({"steps": 5}, "5/5 steps [")]
)
def test_the_progress_bar_is_of_the_budget(tmp_path, capfd, budget, shown):
    options = {"steps": 10**6, "batch": 4, "bf16": False, "validate_every": 0, **budget}
    run(tmp_path, LineStage(), LoopOptions(**options))
    last = capfd.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]
    assert last.startswith("line 100%")
    assert shown in last
    assert "loss" in last


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_killed_run_that_goes_on_ends_like_one_that_was_not_killed(tmp_path, accumulate):
    options = LoopOptions(
        **{**vars(OPTIONS), "accumulate": accumulate, "save_minutes": 0.0, "clip": 0.5}
    )
    whole = run(tmp_path / "whole", LineStage(), options)
    with pytest.raises(Killed):
        run(tmp_path / "parts", LineStage(killed_at=6 * accumulate), options)
    resumed = run(tmp_path / "parts", LineStage(), options)
    for name, weight in whole.items():
        assert torch.equal(weight, resumed[name]), name
    steps = [line.split(",")[0] for line in (tmp_path / "parts/train.csv").read_text().split()[1:]]
    assert steps == [str(step) for step in range(1, 13)]


def test_threads_that_draw_ahead_change_nothing(tmp_path):
    threaded = LoopOptions(**{**vars(OPTIONS), "workers": 3})
    first, second = run(tmp_path / "a", LineStage()), run(tmp_path / "b", LineStage(), threaded)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_drawing_ahead_raises_ends_the_run(tmp_path):
    with pytest.raises(Killed):
        run(tmp_path, LineStage(killed_at=3), LoopOptions(**{**vars(OPTIONS), "workers": 1}))


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = run(tmp_path, LineStage())
    again = LineStage()
    second = run(tmp_path, again)
    assert again.drawn == 0
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_seed_gives_other_weights(tmp_path):
    other = LoopOptions(**{**vars(OPTIONS), "seed": 1})
    first, second = run(tmp_path / "a", LineStage()), run(tmp_path / "b", LineStage(), other)
    assert not torch.equal(first["line.weight"], second["line.weight"])


def test_a_folder_of_other_options_is_refused_by_name(tmp_path):
    run(tmp_path, LineStage())
    with pytest.raises(CheckpointError, match="learning_rate"):
        run(tmp_path, LineStage(), LoopOptions(**{**vars(OPTIONS), "learning_rate": 0.01}))


def test_a_broken_state_is_refused(tmp_path):
    (tmp_path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(CheckpointError, match="remove it to begin anew"):
        run(tmp_path, LineStage())


def test_training_stops_early_and_keeps_the_best_weights(tmp_path):
    options = LoopOptions(**{**vars(OPTIONS), "steps": 100, "validate_every": 2, "patience": 2})
    stage = LineStage(scores=(0.1, 0.9, 0.5, 0.4, 0.3, 0.2))
    run(tmp_path, stage, options)
    assert stage.drawn == 8  # Best at step 4, then two validations without a better one.
    with (tmp_path / "validation.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "4", "6", "8"]


def test_a_budget_of_minutes_ends_the_run(tmp_path):
    options = LoopOptions(**{**vars(OPTIONS), "steps": 10**6, "minutes": 0.002})
    stage = LineStage()
    run(tmp_path, stage, options)
    assert 0 < stage.drawn < 10**5


def test_a_loss_that_is_no_number_stops_the_run_with_advice(tmp_path):
    stage = LineStage()
    with torch.no_grad():
        stage.line.weight.fill_(float("nan"))
    with pytest.raises(TrainingDivergedError, match="lower --learning-rate"):
        run(tmp_path, stage)


def test_the_rate_warms_up_and_falls_to_its_final_share():
    options = LoopOptions(learning_rate=1.0, warm_up=0.1, final_rate=0.2)
    assert learning_rate(0.05, options) == pytest.approx(0.5)
    assert learning_rate(0.1, options) == pytest.approx(1.0)
    assert learning_rate(0.55, options) == pytest.approx(0.6)
    assert learning_rate(1.0, options) == pytest.approx(0.2)


def test_no_steps_are_refused():
    with pytest.raises(TrainingOptionError, match="at least one step"):
        LoopOptions(steps=0)
