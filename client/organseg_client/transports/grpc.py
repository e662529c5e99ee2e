"""The transport for threads, also under gevent: blocking calls over Triton's gRPC protocol."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from organseg.errors import OrganSegError
from organseg_client.options import ApiKey, SharedMemory, Tls
from organseg_client.transport import (
    InferenceRequest,
    InferenceResponse,
    ModelConfig,
    ModelStatistics,
    ServerMetadata,
)
from organseg_client.transports import messages, programs
from organseg_client.transports.channel import (
    PATIENCE_S,
    Endpoint,
    closed_error,
    error_of_call,
    make_endpoint,
    service_of,
)
from organseg_client.transports.programs import Pause, Program
from organseg_client.transports.shared_memory import Regions, Thresholds

__all__ = ["GrpcResponseStream", "GrpcTransport", "release_regions"]

T = TypeVar("T")


class GrpcTransport:
    """A connection to one Triton server; connects on the first call.

    Args:
        url: `HOST:PORT` of Triton's gRPC service.
        tls: encryption; None for none.
        api_key: the header that goes with every call; None for none.
        shared_memory: whether large tensors travel through shared memory.
        thresholds: which are large; None for what the measurements say.

    Several threads may use one transport at once, streams beside other calls. Every call raises
    errors of `organseg.errors` alone. Raises `InvalidInputError` where an argument cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        tls: Tls | None = None,
        api_key: ApiKey | None = None,
        shared_memory: SharedMemory = SharedMemory.AUTO,
        thresholds: Thresholds | None = None,
    ) -> None:
        self._endpoint = make_endpoint(url, tls, api_key)
        self._regions = Regions(
            shared_memory,
            is_loopback=self._endpoint.is_loopback,
            thresholds=thresholds or Thresholds(),
        )
        # Only here, so that the package imports fast and works with other transports without it.
        import grpc

        self._channel = self._endpoint.open(grpc)
        self._service = service_of(self._channel)
        self._is_closed = False
        # A transport that is never closed gives its regions back when it is forgotten, at the
        # latest when the process ends.
        self._forget = weakref.finalize(self, release_regions, self._endpoint, self._regions, 0.0)

    def infer(self, request: InferenceRequest) -> InferenceResponse:
        """Runs a model once; the server drops the request from its queues at the deadline."""
        return self._run(self._regions.infer(request))

    def stream(self, request: InferenceRequest) -> GrpcResponseStream:
        """Runs a decoupled model: any number of responses, all within the request's deadline."""
        message = messages.infer_message(request, request.deadline_s)
        with self._translated():
            call = self._service.ModelStreamInfer(
                iter((message,)),
                timeout=request.deadline_s,
                metadata=(*self._endpoint.metadata, *request.metadata.items()),
            )
        return GrpcResponseStream(call)

    def model_config(self, model_name: str, deadline_s: float) -> ModelConfig:
        """The configuration of a loaded model."""
        return self._run(programs.model_config(model_name, deadline_s))

    def is_ready(self, model_name: str, deadline_s: float) -> bool:
        """Whether the server answers and has the model loaded."""
        return self._run(programs.is_ready(model_name, deadline_s))

    def server_metadata(self, deadline_s: float) -> ServerMetadata:
        """What the server says of itself."""
        return self._run(programs.server_metadata(deadline_s))

    def statistics(self, deadline_s: float) -> tuple[ModelStatistics, ...]:
        """What each loaded model has done, by name."""
        return self._run(programs.statistics(deadline_s))

    def close(self) -> None:
        """Ends the connection and every call on it; a second call does nothing.

        Waits a few seconds at most for the server to let go of shared memory that a call which
        was given up still uses.
        """
        if not self._is_closed:
            self._is_closed = True
            self._forget.detach()
            self._channel.close()
            release_regions(self._endpoint, self._regions, PATIENCE_S)

    def _run(self, program: Program[T]) -> T:
        with self._translated():
            return _drive(program, self._service, self._endpoint)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            # What gRPC raises where the channel was closed, maybe by another thread.
            if self._is_closed and not isinstance(error, OrganSegError):
                raise closed_error() from error
            raise


class GrpcResponseStream:
    """The responses of one streamed request, in order; `close` may come from another thread."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._is_over = False

    def __iter__(self) -> GrpcResponseStream:
        return self

    def __next__(self) -> InferenceResponse:
        """The next response.

        Raises `StopIteration` once the model has ended or the stream was closed, and the
        `OrganSegError` that the call ended in.
        """
        import grpc

        if self._is_over:
            raise StopIteration
        try:
            return messages.read_streamed(next(self._call))
        except grpc.RpcError as error:
            was_closed, self._is_over = self._is_over, True
            if was_closed:
                raise StopIteration from None
            raise error_of_call(error) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Cancels what has not arrived; a second call does nothing."""
        self._is_over = True
        self._call.cancel()


def release_regions(endpoint: Endpoint, regions: Regions, patience_s: float) -> None:
    """Takes shared memory back from the server, by a connection of its own."""
    if not regions.has_any():
        return
    import grpc

    with endpoint.open(grpc) as channel:
        _drive(regions.release(patience_s), service_of(channel), endpoint)


def _drive(program: Program[T], service: Any, endpoint: Endpoint) -> T:
    """Runs a program by blocking calls."""
    import grpc

    answer: Any = None
    error: OrganSegError | None = None
    try:
        while True:
            step = program.send(answer) if error is None else program.throw(error)
            answer, error = None, None
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                continue
            try:
                headers = (*endpoint.metadata, *step.metadata)
                answer = getattr(service, step.method)(
                    step.message, timeout=step.deadline_s, metadata=headers
                )
            except grpc.RpcError as failure:
                error = error_of_call(failure)
                error.__cause__ = failure
    except StopIteration as end:
        return cast(T, end.value)
    finally:
        program.close()
