"""The stage `image_features`: image embeddings kept by their key, in front of the image encoder.

A hit is answered at once. A miss waits for the encoder in a thread of its own, so no hit waits
behind it; all who want one image while it is computed wait for one computation, and share its
error where it fails. An error is not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import numpy as np

from organseg.contract import FEATURES_NAME, names
from organseg.serving.kept import Kept, KeptCounts
from organseg.serving.request_checks import require_shapes, session_lost
from organseg.serving.stage import Arrays, LaterStage, StageContext, StageRequest

Respond = Callable[[Arrays | Exception], None]
AskModel = Callable[[str, Arrays], dict[str, Any]]
"""Asks another model of the server: its name and inputs to its outputs, each an array of numpy's
or, on a GPU, one that stays there. Raises what is to be answered where it fails."""

WAITING_AT_MOST = 64
"""Images that wait for the encoder at once. Far more than it joins into a batch, so that the others
wait in the encoder's own queue, whose limits of time then hold for them."""


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
        self._threads = ThreadPoolExecutor(WAITING_AT_MOST, thread_name_prefix="encoder")

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
            # The request's memory is Triton's, and may be gone before the thread begins.
            self._threads.submit(self._encode, key, pixels.copy())
        else:
            raise session_lost()

    def close(self) -> None:
        """Starts no more computations."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _encode(self, key: bytes, pixels: Any) -> None:
        answer: Arrays | Exception
        try:
            outputs = self._ask_model("image_encoder", {names.SAM_PIXELS: pixels})
            embedding = outputs[names.IMAGE_EMBEDDINGS]
            answer = _answer(embedding, is_kept=self._kept.put(key, embedding))
        except Exception as error:
            answer = error
        with self._lock:
            waiting = self._flights.pop(key)
        for respond in waiting:
            respond(answer)


def _answer(embedding: Any, *, is_kept: bool) -> Arrays:
    return {names.IMAGE_EMBEDDINGS: embedding, names.FEATURES_KEPT: np.array([[is_kept]])}
