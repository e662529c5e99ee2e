"""The stage `image_features` in process: one computation an image, errors, bounds, strangers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from organseg.contract import TINY, model_of, names
from organseg.errors import (
    InvalidInputError,
    ServerBusyError,
    ServerFaultError,
    SessionLostError,
)
from organseg.serving.stage import Arrays, StageContext, StageRequest
from organseg.serving.stages import image_features
from organseg.serving.stages.image_features import ImageFeaturesStage

DEADLINE_S = 30
EMBEDDING = model_of(TINY, "image_encoder").tensor(names.IMAGE_EMBEDDINGS)
ONE_BYTES = int(np.prod(EMBEDDING.shape())) * 2
SIDE = TINY.segmenter.image_size


class Encoder:
    """Stands for the image encoder: counts, and answers when it is let."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.timeouts: list[int] = []
        self.may_answer = Event()
        self.may_answer.set()
        self.fails_with: Exception | None = None

    def __call__(self, name: str, inputs: Arrays, timeout_microseconds: int) -> dict[str, Any]:
        assert name == "image_encoder"
        self.timeouts.append(timeout_microseconds)
        grey = int(inputs[names.SAM_PIXELS][0, 0, 0])
        self.asked.append(grey)
        assert self.may_answer.wait(DEADLINE_S)
        if self.fails_with:
            raise self.fails_with
        embedding = np.full((1, *EMBEDDING.shape()), grey, dtype=np.float16)
        return {names.IMAGE_EMBEDDINGS: embedding}


@contextmanager
def served(
    encoder: Encoder, images: float = 4, limit_microseconds: int = 0
) -> Iterator[Callable[..., Future[Arrays]]]:
    """A way to ask a stage that has room for so many images."""
    context = StageContext(
        TINY,
        Path(),
        threads=1,
        kept_bytes=int(images * ONE_BYTES),
        queue_timeout_microseconds=limit_microseconds,
    )
    stage = ImageFeaturesStage(context, encoder)

    def ask(
        grey: int, *, with_pixels: bool = True, timeout_microseconds: int = 0, broken: bool = False
    ) -> Future[Arrays]:
        answered: Future[Arrays] = Future()

        def respond(answer: Arrays | Exception) -> None:
            if broken:
                raise OSError("the way back")
            if isinstance(answer, Exception):
                answered.set_exception(answer)
            else:
                answered.set_result(answer)

        inputs = {names.IMAGE_KEY: np.full((1, 32), grey, dtype=np.uint8)}
        if with_pixels:
            inputs[names.SAM_PIXELS] = np.full((1, SIDE, SIDE), grey, dtype=np.uint8)
        request = StageRequest(inputs, timeout_microseconds=timeout_microseconds)
        stage.begin(request, respond)
        return answered

    ask.stage = stage  # type: ignore[attr-defined]
    try:
        yield ask
    finally:
        encoder.may_answer.set()
        stage.close()


def value(answered: Future[Arrays]) -> float:
    answer = answered.result(DEADLINE_S)
    return float(answer[names.IMAGE_EMBEDDINGS][0, 0, 0, 0])


def counts(ask: Any) -> Any:
    return ask.stage.kept()


def test_an_image_is_computed_once_and_known_without_its_pixels_afterwards():
    encoder = Encoder()
    with served(encoder) as ask:
        assert [value(ask(1)), value(ask(1)), value(ask(1, with_pixels=False))] == [1, 1, 1]
        assert encoder.asked == [1]
        assert ask(1).result(DEADLINE_S)[names.FEATURES_KEPT].tolist() == [[True]]
        assert (counts(ask).hits, counts(ask).misses) == (3, 1)
        assert counts(ask).kept_bytes == ONE_BYTES


def test_images_in_flight_are_computed_once_and_no_hit_waits_for_them():
    encoder = Encoder()
    with served(encoder) as ask:
        value(ask(1))
        encoder.may_answer.clear()
        waiting = [ask(2), ask(2), ask(2, with_pixels=False), ask(3)]
        assert value(ask(1)) == 1
        assert not any(each.done() for each in waiting)
        encoder.may_answer.set()
        assert [value(each) for each in waiting] == [2, 2, 2, 3]
        assert sorted(encoder.asked) == [1, 2, 3]


def test_all_who_wait_share_an_error_and_nobody_after_them():
    encoder = Encoder()
    with served(encoder) as ask:
        encoder.may_answer.clear()
        encoder.fails_with = ServerFaultError("out of order")
        waiting = [ask(1), ask(1)]
        encoder.may_answer.set()
        for each in waiting:
            with pytest.raises(ServerFaultError, match="out of order"):
                each.result(DEADLINE_S)
        encoder.fails_with = None
        assert value(ask(1)) == 1
        assert encoder.asked == [1, 1]


def test_where_one_cannot_be_answered_the_others_are():
    encoder = Encoder()
    with served(encoder) as ask:
        encoder.may_answer.clear()
        before, _, behind = ask(1), ask(1, broken=True), ask(1)
        encoder.may_answer.set()
        assert [value(before), value(behind)] == [1, 1]


def test_the_time_that_a_request_has_left_is_the_encoders_queue_to_hold():
    encoder = Encoder()
    with served(encoder) as ask:
        value(ask(1, timeout_microseconds=90_000_000))
        value(ask(2))
        assert 0 < encoder.timeouts[0] <= 90_000_000
        assert encoder.timeouts[1] == 0


def test_on_a_cpu_the_cores_of_the_server_count_not_those_that_this_process_keeps_to(monkeypatch):
    cores = {os.getppid(): {0, 3, 5}, 0: {3}, os.getpid(): {3}}
    monkeypatch.setattr(os, "sched_getaffinity", cores.__getitem__)
    assert image_features.waiting_on_a_cpu() == 5


@pytest.mark.parametrize(("said", "limit"), [(1, 0), (0, 1), (1, 90_000_000)])
def test_an_image_whose_time_is_up_before_its_turn_is_not_computed(monkeypatch, said, limit):
    monkeypatch.setattr(image_features, "waiting_on_a_cpu", lambda: 1)
    encoder = Encoder()
    with served(encoder, limit_microseconds=limit) as ask:
        encoder.may_answer.clear()
        first, second = ask(1, timeout_microseconds=90_000_000), ask(2, timeout_microseconds=said)
        encoder.may_answer.set()
        assert value(first) == 1
        with pytest.raises(ServerBusyError, match="timeout expired"):
            second.result(DEADLINE_S)
        assert encoder.asked == [1]


def test_who_waits_when_the_stage_ends_is_told(monkeypatch):
    monkeypatch.setattr(image_features, "waiting_on_a_cpu", lambda: 1)
    encoder = Encoder()
    with served(encoder) as ask:
        encoder.may_answer.clear()
        begun, *waiting = ask(1), ask(2), ask(2)
        ask.stage.close()
        for each in waiting:
            with pytest.raises(ServerBusyError, match="server is stopping"):
                each.result(DEADLINE_S)
        with pytest.raises(RuntimeError):
            ask(3).result(DEADLINE_S)
        encoder.may_answer.set()
        assert value(begun) == 1


def test_a_stranger_without_pixels_is_told_to_send_the_image():
    with served(Encoder()) as ask, pytest.raises(SessionLostError, match="send the image again"):
        ask(1, with_pixels=False)


def test_the_least_recently_asked_image_is_forgotten():
    encoder = Encoder()
    with served(encoder, images=2.5) as ask:
        for grey in (1, 2, 1, 3):
            value(ask(grey))
        value(ask(1, with_pixels=False))
        with pytest.raises(SessionLostError):
            ask(2, with_pixels=False)
        assert counts(ask).evictions == 1
        assert counts(ask).kept_bytes == 2 * ONE_BYTES


def test_without_room_for_one_every_image_is_computed_and_the_answer_says_that_it_is_not_kept():
    encoder = Encoder()
    with served(encoder, images=0.5) as ask:
        answers = [ask(1).result(DEADLINE_S) for _ in range(2)]
        assert [answer[names.FEATURES_KEPT].item() for answer in answers] == [False, False]
        assert encoder.asked == [1, 1]


def test_a_key_of_another_length_is_refused():
    context = StageContext(TINY, Path(), threads=1, kept_bytes=ONE_BYTES)
    stage = ImageFeaturesStage(context, Encoder())
    request = StageRequest({names.IMAGE_KEY: np.zeros((1, 16), dtype=np.uint8)})
    with pytest.raises(InvalidInputError, match="image_key"):
        stage.begin(request, lambda answer: None)
    stage.close()
