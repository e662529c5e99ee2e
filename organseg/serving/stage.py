"""What a stage is to the server: arrays in, arrays or an error out, one per request.

A stage knows nothing of Triton, so it can be tested and timed in process; `triton_model` puts
it behind Triton's Python backend, and `triton_stream` one that answers in many pieces.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from organseg.contract import (
    CpuEngine,
    LanguageModel,
    Loading,
    Model,
    Preset,
    SessionLimits,
    model_of,
)
from organseg.serving.kept import KeptCounts
from organseg.serving.sessions import SessionCounts

Arrays = dict[str, npt.NDArray[Any]]
"""Tensors by name, each with the batch axis in front."""


@dataclass(frozen=True)
class StageContext:
    """What a stage is loaded with."""

    preset: Preset
    """The sizes it serves."""
    folder: Path
    """Its version folder, where its files lie."""
    threads: int
    """Threads that its engine may use."""
    device: str = "cpu"
    """Where it runs, as torch names devices."""
    language_model: LanguageModel | None = None
    """How the language model is kept, where the stage's config says so."""
    engines: tuple[CpuEngine, ...] = (CpuEngine.ONNXRUNTIME,)
    """What may compute it, best first; of no meaning for a stage without a choice."""
    loading: Loading = Loading.AT_START
    """When it reads its weights; of meaning where the deployment table has a choice."""
    cores: tuple[int, ...] = ()
    """The cores that its process keeps to; none for all."""
    kept_bytes: int = 0
    """The most that it keeps of images between questions, bytes."""
    queue_timeout_microseconds: int = 0
    """How long a request may wait before it is taken up, by the config of its queue; 0 for ever."""
    sessions: SessionLimits | None = None
    """How long and how many sessions are known; of meaning for the stage that knows them."""


@dataclass(frozen=True)
class StageRequest:
    """One request as a stage sees it."""

    inputs: Arrays
    """The inputs that came; an optional one may be missing."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The request's parameters."""
    timeout_microseconds: int = 0
    """How long it may wait in queues; 0 where the client did not say."""

    @property
    def batch_size(self) -> int:
        """The length of the batch axis."""
        return int(next(iter(self.inputs.values())).shape[0])


class ServedModel(ABC):
    """One model of a release, behind Triton's Python backend."""

    name: str
    """The stage's word, as the contract has it."""

    def __init__(self, context: StageContext) -> None:
        """Loads what the stage needs; raises an `OrganSegError` where a part is missing."""
        self.context = context
        self.model: Model = model_of(context.preset, self.name)

    def kept(self) -> KeptCounts | SessionCounts | None:
        """What it keeps between requests and how that went; none where it keeps nothing."""
        return None


class Stage(ServedModel):
    """One model of the flow."""

    @abstractmethod
    def run(self, requests: Sequence[StageRequest]) -> list[Arrays | Exception]:
        """Answers requests that Triton joined; an exception stands for a request that failed."""


class RequestStage(Stage):
    """A stage that works on one request at a time; a bad request fails alone."""

    def run(self, requests: Sequence[StageRequest]) -> list[Arrays | Exception]:
        """Answers one after the other."""
        return [_caught(self.answer, request) for request in requests]

    @abstractmethod
    def answer(self, request: StageRequest) -> Arrays:
        """The outputs of one request."""


class JoiningStage(Stage):
    """A stage that gains from working on several requests at once."""

    def run(self, requests: Sequence[StageRequest]) -> list[Arrays | Exception]:
        """Answers all at once; if that fails, one by one, so that only the bad ones fail."""
        try:
            return list(self.run_joined(requests))
        except Exception as error:
            if len(requests) == 1:
                return [error]
            return [answer for request in requests for answer in self.run([request])]

    @abstractmethod
    def run_joined(self, requests: Sequence[StageRequest]) -> list[Arrays]:
        """The outputs of each request; raises if any of them is bad."""


class BatchStage(JoiningStage):
    """A stage that joins requests along the batch axis."""

    @abstractmethod
    def infer(self, inputs: Arrays) -> Arrays:
        """The outputs of one joined batch."""

    def run_joined(self, requests: Sequence[StageRequest]) -> list[Arrays]:
        """Joins, infers and takes apart."""
        names = [tensor.name for tensor in self.model.inputs]
        joined = {name: np.concatenate([r.inputs[name] for r in requests]) for name in names}
        outputs = self.infer(joined)
        ends = np.cumsum([request.batch_size for request in requests])[:-1]
        parts = {name: np.split(array, ends) for name, array in outputs.items()}
        return [{name: parts[name][index] for name in outputs} for index in range(len(requests))]


class LaterStage(ServedModel):
    """A stage of the flow that takes a request now and answers it when it can, in any order."""

    @abstractmethod
    def begin(self, request: StageRequest, respond: Callable[[Arrays | Exception], None]) -> None:
        """Takes a request, or raises what is wrong with it.

        `respond` is called once for a request that was taken, from whatever thread, now or later.
        """

    @abstractmethod
    def close(self) -> None:
        """Takes no more; what was taken is still answered."""


class StreamStage(ServedModel):
    """A model beside the flow that answers one request in many pieces."""

    @abstractmethod
    def stream(self, request: StageRequest, is_cancelled: Callable[[], bool]) -> Iterator[Arrays]:
        """The pieces as they come; ends early, without an error, once nobody wants them."""


def _caught(work: Any, request: StageRequest) -> Arrays | Exception:
    try:
        answer: Arrays = work(request)
    except Exception as error:
        return error
    return answer
