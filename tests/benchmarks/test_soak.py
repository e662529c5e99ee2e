"""Thousands of mixed requests: what is sent, and what its memory samples say."""

from __future__ import annotations

import pytest

from benchmarks.load.observation import Kept
from benchmarks.load.plan import WorkloadSpec
from benchmarks.load.target import Target, TargetKind, TargetSpec, build_target
from benchmarks.soak import MemorySample, Soak, caches_are_full, outcome_of
from benchmarks.workload import Question
from organseg.errors import ImageError, QuestionError, ServerFaultError

SPEC = WorkloadSpec(texts=("Show me the liver.", "Which organ stores bile?"))


class Strict:
    """Refuses what must be refused, and loses every tenth answer where it is told to."""

    def __init__(self, *, loses: bool = False) -> None:
        self.images: list[bytes] = []
        self._loses = loses

    def ask(self, question: Question) -> None:
        if len(question.text) > 1000:
            raise QuestionError("too long")
        if b"IEND" not in question.image:
            raise ImageError("not whole")
        self.images.append(question.image)
        if self._loses and not len(self.images) % 10:
            raise ServerFaultError("lost")

    def close(self) -> None:
        pass


class Careless(Strict):
    """Takes everything."""

    def ask(self, question: Question) -> None:
        pass


def kept(mib: int, evictions: int) -> dict[str, Kept]:
    return {"image_features": Kept(0, 0, mib << 20, evictions)}


def samples(
    memory: list[float], keeps: list[dict[str, Kept] | None] | None = None
) -> list[MemorySample]:
    return [
        MemorySample(100 * (number + 1), mib, keeps[number] if keeps else None)
        for number, mib in enumerate(memory)
    ]


def test_all_kinds_of_requests_are_sent_and_bad_ones_are_to_be_refused() -> None:
    made: list[Strict] = []

    def targets() -> tuple[Target, Target]:
        made.extend((Strict(), Strict()))
        return made[-2], made[-1]

    soak = Soak(SPEC, targets, users=3)
    soak.ask(400)
    assert sum(soak.asked.values()) == 400
    assert set(soak.asked) == {"distinct", "repeated", "sessions", "bad"}
    assert not soak.errors
    whole = [image for target in made[::2] for image in target.images]
    # Every distinct image, and the few repeated ones of each size, once.
    assert len(set(whole)) == soak.asked["distinct"] + 3 * SPEC.repeated_images
    in_sessions = {image for target in made[1::2] for image in target.images}
    assert not in_sessions & set(whole)


def test_a_lost_answer_and_a_bad_request_that_passes_are_errors() -> None:
    losing = Soak(SPEC, lambda: (Strict(loses=True), None), users=1)
    losing.ask(100)
    assert set(losing.errors) == {"ServerFaultError"}
    assert "sessions" not in losing.asked
    careless = Soak(SPEC, lambda: (Careless(), None), users=1)
    careless.ask(200)
    assert careless.errors["a bad request was not refused"] == careless.asked["bad"] > 0


def test_caches_are_full_once_they_drop_or_have_stood_still() -> None:
    growing = [kept(mib, 0) for mib in range(1, 9)]
    assert not caches_are_full(samples([1.0] * 8, growing))
    assert caches_are_full(samples([1.0] * 8, [*growing[:7], kept(8, 3)]))
    still = [kept(min(mib, 2), 0) for mib in range(1, 9)]
    assert not caches_are_full(samples([1.0] * 6, still[:6]))
    assert caches_are_full(samples([1.0] * 8, still))
    # All of them: one that grows still holds the others up.
    both = [{**one, "llava_med": Kept(0, 0, 1, 1)} for one in growing]
    assert not caches_are_full(samples([1.0] * 8, both))
    assert caches_are_full(samples([1.0]))


def test_the_ratio_is_of_medians_from_when_the_caches_were_full() -> None:
    memory = [500.0, 700.0, 900.0, 1000.0, 990.0, 1010.0, 1020.0, 5000.0, 1030.0, 1020.0]
    keeps: list[dict[str, Kept] | None] = [kept(mib, int(mib >= 4)) for mib in range(1, 11)]
    outcome = outcome_of(samples(memory, keeps), settle_requests=100)
    assert outcome is not None
    assert (outcome.full.requests, outcome.full.memory_mib) == (400, 1000.0)
    assert (outcome.end.requests, outcome.end.memory_mib) == (1000, 1030.0)
    assert outcome.ratio == pytest.approx(1.03)


def test_what_keeps_nothing_is_looked_at_after_a_fixed_number_of_requests() -> None:
    memory = [50.0] * 4 + [100.0] * 6
    outcome = outcome_of(samples(memory), settle_requests=500)
    assert outcome is not None
    assert outcome.full.requests == 500
    assert outcome.ratio == 1.0
    assert outcome_of(samples(memory), settle_requests=600) is None


@pytest.mark.server
def test_a_real_server_answers_the_mixed_requests_and_refuses_the_bad_ones(
    server_address: str,
) -> None:
    soak = Soak(
        SPEC, lambda: (build_target(TargetSpec(TargetKind.ORGAN_SEG, server_address)), None), 2
    )
    try:
        soak.ask(30)
    finally:
        soak.close()
    assert not soak.errors
    assert soak.asked["bad"] > 0
