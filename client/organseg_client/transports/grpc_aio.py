"""The transport for asyncio: awaited calls over Triton's gRPC protocol."""

from __future__ import annotations

import asyncio
import weakref
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
    closed_error,
    error_of_call,
    make_endpoint,
    service_of,
)
from organseg_client.transports.grpc import release_regions
from organseg_client.transports.programs import Pause, Program
from organseg_client.transports.shared_memory import Regions, Thresholds

__all__ = ["AsyncGrpcResponseStream", "AsyncGrpcTransport"]

T = TypeVar("T")


class AsyncGrpcTransport:
    """A connection to one Triton server, as `GrpcTransport` takes its arguments.

    It is made outside a running loop too and connects on the first call; used on another loop
    later, it connects anew. Many tasks may use one at once, streams beside other calls.

    A call whose task is cancelled is left to its end or its deadline, as a blocking one is, and its
    answer is dropped: cancelling it on the wire stops no step that has begun, and servers before
    Triton 24.12 come down of it (decision 21). A stream that is closed is cancelled, so that the
    model stops.
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
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: Any = None
        self._service: Any = None
        self._given_up: set[asyncio.Task[Any]] = set()
        self._is_closed = False
        # Without a loop that runs, what is left is given back by blocking calls.
        self._forget = weakref.finalize(self, release_regions, self._endpoint, self._regions, 0.0)

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        """Runs a model once; the server drops the request from its queues at the deadline."""
        return await self._run(self._regions.infer(request))

    def stream(self, request: InferenceRequest) -> AsyncGrpcResponseStream:
        """Runs a decoupled model: any number of responses, all within the request's deadline."""
        return AsyncGrpcResponseStream(self, request)

    async def model_config(self, model_name: str, deadline_s: float) -> ModelConfig:
        """The configuration of a loaded model."""
        return await self._run(programs.model_config(model_name, deadline_s))

    async def is_ready(self, model_name: str, deadline_s: float) -> bool:
        """Whether the server answers and has the model loaded."""
        return await self._run(programs.is_ready(model_name, deadline_s))

    async def server_metadata(self, deadline_s: float) -> ServerMetadata:
        """What the server says of itself."""
        return await self._run(programs.server_metadata(deadline_s))

    async def statistics(self, deadline_s: float) -> tuple[ModelStatistics, ...]:
        """What each loaded model has done, by name."""
        return await self._run(programs.statistics(deadline_s))

    async def close(self) -> None:
        """Ends the connection and every call on it; a second call does nothing.

        Waits a few seconds at most for calls that were given up, and then for the server to let go
        of shared memory that one of them still uses.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._forget.detach()
        if self._channel is not None and self._loop is asyncio.get_running_loop():
            if self._given_up:
                await asyncio.wait(self._given_up, timeout=PATIENCE_S)
            await self._channel.close()
        if self._regions.has_any():
            from grpc import aio

            async with self._endpoint.open(aio) as channel:
                await self._drive(self._regions.release(PATIENCE_S), service_of(channel))

    def connect(self) -> Any:
        """The service on the running loop; raises `ServerUnreachableError` once closed."""
        if self._is_closed:
            raise closed_error()
        from grpc import aio

        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._channel = self._endpoint.open(aio)
            self._service = service_of(self._channel)
            self._loop = loop
        return self._service

    def open_stream(self, request: InferenceRequest) -> Any:
        """The call of a stream."""
        message = messages.infer_message(request, request.deadline_s)
        return self.connect().ModelStreamInfer(
            iter((message,)),
            timeout=request.deadline_s,
            metadata=(*self._endpoint.metadata, *request.metadata.items()),
        )

    def was_cut(self) -> bool:
        """Whether closing this transport, not its own caller, cancelled the current task's call."""
        task = asyncio.current_task()
        # Python 3.10 does not say whether a task was asked to end.
        is_asked = task is not None and getattr(task, "cancelling", int)() > 0
        return self._is_closed and not is_asked

    async def _run(self, program: Program[T]) -> T:
        try:
            return await self._drive(program, self.connect())
        except asyncio.CancelledError:
            if self.was_cut():
                raise closed_error() from None
            raise

    async def _drive(self, program: Program[T], service: Any) -> T:
        import grpc

        answer: Any = None
        error: OrganSegError | None = None
        try:
            while True:
                step = program.send(answer) if error is None else program.throw(error)
                answer, error = None, None
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    continue
                try:
                    headers = (*self._endpoint.metadata, *step.metadata)
                    answer = await self._answer(
                        getattr(service, step.method)(
                            step.message, timeout=step.deadline_s, metadata=headers
                        )
                    )
                except grpc.RpcError as failure:
                    error = error_of_call(failure)
                    error.__cause__ = failure
        except StopIteration as end:
            return cast(T, end.value)
        finally:
            program.close()

    async def _answer(self, call: Any) -> Any:
        """A call's answer; where the current task is cancelled, the call goes on without it."""
        running = asyncio.ensure_future(_to_end(call))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if not running.done():
                self._given_up.add(running)
                running.add_done_callback(self._forget_given_up)
            raise

    def _forget_given_up(self, running: asyncio.Task[Any]) -> None:
        self._given_up.discard(running)
        if not running.cancelled():
            # Nobody waits for its error; looked at, it is not told as one that was lost.
            running.exception()


async def _to_end(call: Any) -> Any:
    return await call


class AsyncGrpcResponseStream:
    """The responses of one streamed request, in order; `aclose` may come from another task.

    The request is sent when the first response is asked for.
    """

    def __init__(self, transport: AsyncGrpcTransport, request: InferenceRequest) -> None:
        self._transport = transport
        self._request = request
        self._call: Any = None
        self._is_over = False

    def __aiter__(self) -> AsyncGrpcResponseStream:
        return self

    async def __anext__(self) -> InferenceResponse:
        """The next response.

        Raises `StopAsyncIteration` once the model has ended or the stream was closed, and the
        `OrganSegError` that the call ended in.
        """
        import grpc

        if self._is_over:
            raise StopAsyncIteration
        try:
            if self._call is None:
                self._call = self._transport.open_stream(self._request)
            message = await self._call.read()
            if message is grpc.aio.EOF:
                self._is_over = True
                raise StopAsyncIteration
            return messages.read_streamed(message)
        except grpc.RpcError as error:
            was_closed, self._is_over = self._is_over, True
            if was_closed:
                raise StopAsyncIteration from None
            raise error_of_call(error) from error
        except asyncio.CancelledError:
            if self._is_over:
                raise StopAsyncIteration from None
            await self.aclose()
            if self._transport.was_cut():
                raise closed_error() from None
            raise
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Cancels what has not arrived; a second call does nothing."""
        self._is_over = True
        if self._call is not None:
            self._call.cancel()
