"""The stage `image_features`: image embeddings kept by their key, in front of the image encoder.

A hit is answered at once. A miss waits for the encoder in a thread of its own, so no hit waits
behind it; all who want one image while it is computed wait for one computation, and share its
error where it fails. An error is not kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from threading import Lock
from time import monotonic
from typing import Any

import numpy as np

from organseg.contract import FEATURES_NAME, names
from organseg.errors import ServerBusyError
from organseg.serving.kept import Kept, KeptCounts
from organseg.serving.request_checks import require_shapes, session_lost
from organseg.serving.stage import Arrays, LaterStage, StageContext, StageRequest

Respond = Callable[[Arrays | Exception], None]
AskModel = Callable[[str, Arrays, int], dict[str, Any]]
"""Asks another model of the server: its name, its inputs, how many microseconds they may wait in
its queue (0 for the queue's own limit); gives its outputs, each an array of numpy's or, on a GPU,
one that stays there. Raises what is to be answered where it fails."""

WAITING_AT_MOST = 64
"""Images that the encoder has at once on a GPU. Far more than it joins into a batch, so that these
wait in its own queue, which holds them to their limits of time; further ones wait here."""


def waiting_on_a_cpu() -> int:
    """Images that the encoder has at once on a CPU: one for each core of the server and two more.

    That keeps all of its instances busy. Its queue there has no limit of time, so all others wait
    here, where they are held to theirs.
    """
    # This process may be kept to a few cores; the server that started it is not.
    return len(os.sched_getaffinity(os.getppid())) + 2


class ImageFeaturesStage(LaterStage):
    """The image encoder's outputs, each computed once."""

    name = FEATURES_NAME

    def __init__(self, context: StageContext, ask_model: AskModel) -> None:
        """Keeps nothing yet.

        Args:
            context: what the stage is loaded with.
            ask_model: the way to the image encoder.
        """
        super().__init__(context)
        self._ask_model = ask_model
        self._kept: Kept[Any] = Kept(context.kept_bytes)
        self._flights: dict[bytes, list[Respond]] = {}
        self._lock = Lock()
        self._limit_microseconds = context.queue_timeout_microseconds
        at_once = waiting_on_a_cpu() if context.device == "cpu" else WAITING_AT_MOST
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="encoder")

    def kept(self) -> KeptCounts:
        """How keeping went."""
        return self._kept.counts()

    def begin(self, request: StageRequest, respond: Respond) -> None:
        """Answers a hit; joins or starts a computation for a miss."""
        require_shapes(self.model, request)
        key = request.inputs[names.IMAGE_KEY].tobytes()
        pixels = request.inputs.get(names.SAM_PIXELS)
        with self._lock:
            embedding, waiting = self._kept.get(key), self._flights.get(key)
            if embedding is None and waiting is not None:
                waiting.append(respond)
            elif embedding is None and pixels is not None:
                self._flights[key] = [respond]
        if embedding is not None:
            self._kept.count(hits=1)
            respond(_answer(embedding, is_kept=True))
        elif waiting is not None:
            self._kept.count(hits=1)
        elif pixels is not None:
            self._kept.count(misses=1)
            self._take_off(key, pixels, request.timeout_microseconds)
        else:
            raise session_lost()

    def close(self) -> None:
        """Starts no more computations; who waits for one that was not started is told so."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _take_off(self, key: bytes, pixels: Any, timeout_microseconds: int) -> None:
        flight: Future[Arrays]
        try:
            # The request's memory is Triton's, and may be gone before the thread begins.
            work = partial(self._encode, key, pixels.copy(), timeout_microseconds, monotonic())
            flight = self._threads.submit(work)
        except Exception as error:
            # Others may wait for it by now.
            flight = Future()
            flight.set_exception(error)
        flight.add_done_callback(partial(self._land, key))

    def _encode(self, key: bytes, pixels: Any, timeout_microseconds: int, taken_s: float) -> Arrays:
        waited = round((monotonic() - taken_s) * 1e6)
        limit = timeout_microseconds or self._limit_microseconds
        if limit and waited >= limit:
            raise ServerBusyError(
                "wanted a place in the image encoder's queue, the request's timeout expired "
                "before there was one: send fewer images at once, or give more time"
            )
        left = timeout_microseconds - waited if timeout_microseconds else 0
        outputs = self._ask_model("image_encoder", {names.SAM_PIXELS: pixels}, left)
        embedding = outputs[names.IMAGE_EMBEDDINGS]
        return _answer(embedding, is_kept=self._kept.put(key, embedding))

    def _land(self, key: bytes, flight: Future[Arrays]) -> None:
        """Answers all who wait for a computation, however it ended."""
        answer: Arrays | Exception
        try:
            answer = flight.result()
        except CancelledError:
            answer = ServerBusyError(
                "wanted an image encoded, the server is stopping: ask another, or again later"
            )
        except Exception as error:
            answer = error
        with self._lock:
            waiting = self._flights.pop(key)
        # Each of them, also where another's way back is broken.
        with ExitStack() as responses:
            for respond in reversed(waiting):
                responses.callback(respond, answer)


def _answer(embedding: Any, *, is_kept: bool) -> Arrays:
    return {names.IMAGE_EMBEDDINGS: embedding, names.FEATURES_KEPT: np.array([[is_kept]])}
