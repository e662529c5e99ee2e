"""The search for a deployment, on a made-up machine whose best one is known."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.record import RecordError
from benchmarks.tuning.journal import Journal
from benchmarks.tuning.moves import (
    Stages,
    effective,
    groups,
    heavy_stages,
    merged,
    single_stages,
)
from benchmarks.tuning.search import CONFIRMATION, Found, Step, search
from benchmarks.tuning.trial import Outcome, Rule, Trial
from organseg.contract.deployment_file import StageChoice

RULE = Rule(gain_percent=3, alone_percent=10)
HEAVY = ("image_encoder", "llava_med", "extractors", "mask_decoder")
RELEASED = {
    "preprocess": StageChoice(1, 1, False, 0, ()),
    **{name: StageChoice(1, 1, True, 2_000, ()) for name in HEAVY},
    "gate": StageChoice(1, 1, False, 0, ()),
}
GROUPS = groups(HEAVY, (0, 1))


@dataclass
class Machine:
    """Two cores: replicas of the encoder help, two threads for it help more, delays cost."""

    noise: float = 0.0
    asked: list[tuple[str, dict[str, StageChoice], dict[str, StageChoice]]] = field(
        default_factory=list
    )
    random: random.Random = field(default_factory=lambda: random.Random(7))

    def per_second(self, choices: Stages) -> float:
        stages = effective(choices, RELEASED)
        encoder = stages["image_encoder"]
        speed = 10.0
        speed *= 1.3 if encoder.threads == 2 else 1.0
        speed *= 1.1 if encoder.instances == 2 and encoder.threads == 1 else 1.0
        speed *= 1.05 if stages["extractors"].queue_delay_microseconds == 500 else 1.0
        speed *= 0.7 if encoder.cores else 1.0
        return speed * self.random.uniform(1 - self.noise, 1 + self.noise)

    def alone_ms(self, choices: Stages) -> float:
        return 100.0

    def compare(self, standing: Stages, challenger: Stages, label: str) -> Trial:
        self.asked.append((label, dict(standing), dict(challenger)))
        pairs = range(2)
        trial = Trial(
            label,
            tuple(self.per_second(standing) for _ in pairs),
            tuple(self.per_second(challenger) for _ in pairs),
        )
        if not trial.gains(RULE):
            return trial
        return Trial(
            label,
            trial.standing_per_second,
            trial.challenger_per_second,
            tuple(self.alone_ms(standing) for _ in pairs),
            tuple(self.alone_ms(challenger) for _ in pairs),
        )


def test_the_best_deployment_is_found_and_nothing_else_is_changed() -> None:
    found = search(RELEASED, GROUPS, Machine().compare, RULE)
    best = {name: StageChoice(queue_delay_microseconds=500) for name in HEAVY}
    best["image_encoder"] = StageChoice(threads=2, queue_delay_microseconds=500)
    assert found.choices == best
    assert [step.trial.label for step in found.steps if step.outcome is Outcome.KEPT] == [
        "image_encoder: threads 2",
        "queue delay 500 µs",
        CONFIRMATION,
    ]


def test_each_change_is_measured_against_what_was_best_before_it() -> None:
    machine = Machine()
    search(RELEASED, GROUPS, machine.compare, RULE)
    standing = {label: before for label, before, _ in machine.asked}
    assert standing["image_encoder: threads 2"] == {}
    assert standing["llava_med: threads 2"] == {"image_encoder": StageChoice(threads=2)}
    assert standing[CONFIRMATION] == {}
    assert all(before != after for _, before, after in machine.asked)


def test_noise_below_the_margin_changes_nothing() -> None:
    class Level(Machine):
        def per_second(self, choices: Stages) -> float:
            return 10.0 * self.random.uniform(0.99, 1.01)

    found = search(RELEASED, GROUPS, Level().compare, RULE)
    assert found.choices == {}
    assert {step.outcome for step in found.steps} == {Outcome.NO_GAIN}


def test_a_gain_that_a_single_user_pays_for_is_not_kept() -> None:
    class Impatient(Machine):
        def alone_ms(self, choices: Stages) -> float:
            encoder = effective(choices, RELEASED)["image_encoder"]
            return 111.0 if encoder.threads == 2 else 100.0

    found = search(RELEASED, GROUPS, Impatient().compare, RULE)
    assert found.choices["image_encoder"].threads is None
    assert found.choices["image_encoder"].instances == 2
    assert found.steps[0].outcome is Outcome.SLOWER_ALONE


def test_what_does_not_gain_as_a_whole_is_given_up() -> None:
    class Lucky(Machine):
        def compare(self, standing: Stages, challenger: Stages, label: str) -> Trial:
            gain = 1.0 if label == CONFIRMATION else 1.05
            return Trial(label, (10.0,), (10.0 * gain,), (50.0,), (50.0,))

    found = search(RELEASED, GROUPS, Lucky().compare, RULE)
    assert found.choices == {}
    assert found.steps[-1].outcome is Outcome.NO_GAIN


def test_a_change_that_fails_is_passed_over() -> None:
    class Small(Machine):
        def compare(self, standing: Stages, challenger: Stages, label: str) -> Trial:
            if "instances" in label:
                return Trial(label, failure="no room")
            return super().compare(standing, challenger, label)

    told: list[Step] = []
    found = search(RELEASED, GROUPS, Small().compare, RULE, tell=told.append)
    assert found.choices["image_encoder"].threads == 2
    failed = [step.trial.label for step in told if step.outcome is Outcome.FAILED]
    assert failed == ["image_encoder: instances 2", "llava_med: instances 2"]


def test_the_changes_fit_the_machine_and_the_stages() -> None:
    stages = {**RELEASED, "image_features": StageChoice(1, 1, False, 0, ())}
    one_core = groups(HEAVY, (5,), single_stages(["llava_med"]))
    labels = [move.label for group in one_core for move in group.moves(stages)]
    assert "image_encoder: instances 2" in labels
    assert not [label for label in labels if "threads" in label or "pinned" in label]
    assert "llava_med: instances 2" not in labels
    [pinning] = [group for group in groups(HEAVY, (2, 3)) if group.knob == "cores"]
    [move] = pinning.moves(stages)
    assert move.changes["image_encoder"] == StageChoice(threads=1, cores=(3,))
    assert move.changes["llava_med"].cores == (2,)
    assert "preprocess" not in move.changes
    assert heavy_stages(stages, HEAVY[:1]) == HEAVY[:2]


def test_what_the_release_has_anyway_is_no_choice() -> None:
    changed = merged({}, {"gate": StageChoice(threads=2, cores=(1,))}, RELEASED)
    assert changed == {"gate": StageChoice(threads=2, cores=(1,))}
    back = merged(changed, {"gate": StageChoice(threads=1, cores=())}, RELEASED)
    assert back == {}


class Stopped(Exception):
    """A sweep that is stopped."""


def test_a_sweep_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    path, noisy = tmp_path / "record.json", Machine(noise=0.01)

    def run(most: int) -> Found:
        journal = Journal(path, {"load": (8, 6.0)}, {"preset": "tiny"})
        left = most - journal.count

        def compare(standing: Stages, challenger: Stages, label: str) -> Trial:
            nonlocal left
            if not left:
                raise Stopped
            left -= 1
            return noisy.compare(standing, challenger, label)

        return search(RELEASED, GROUPS, journal.remembering(compare), RULE)

    with pytest.raises(Stopped):
        run(5)
    assert len(json.loads(path.read_text())["trials"]) == 5
    found = run(99)
    assert len(noisy.asked) == len({label for label, _, _ in noisy.asked}) == len(found.steps)
    assert found.choices["image_encoder"].threads == 2
    assert run(0).choices == found.choices


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"trials": [1], "identity": {}}'])
def test_a_file_that_is_no_record_is_left_and_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=r"'record\.json'"):
        Journal(path, {}, {})
    assert path.read_text() == text


def test_the_record_of_another_sweep_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    Journal(path, {"release": "a", "cores": [0]}, {}).conclude(chosen={})
    with pytest.raises(RecordError, match="it had another cores, release: name another --json"):
        Journal(path, {"release": "b", "cores": [0, 1]}, {})


def test_a_trial_reads_back_as_it_was_written() -> None:
    trial = Trial("a", (1.0, 2.0), (2.0, 5.0), (10.0,), (11.0,), more={"windows": 2})
    assert Trial.from_json(json.loads(json.dumps(trial.to_json()))) == trial
    assert trial.gain == pytest.approx(2.25)
    with pytest.raises(RecordError, match="name another --json"):
        Trial.from_json({"label": "a"})
