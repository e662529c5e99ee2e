"""The asynchronous client: signatures over the verbs in `core`, carried out on an event loop."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from organseg_client.capabilities import Capabilities
from organseg_client.core import every_server, many, segment, volume
from organseg_client.core.addresses import DEFAULT_URL, addresses, connecting, transports
from organseg_client.core.capabilities import capabilities
from organseg_client.core.drive_aio import AsyncDriver, AsyncIteration
from organseg_client.core.explain import explain
from organseg_client.core.open_image import open_image
from organseg_client.core.session import Session
from organseg_client.deadline import DEFAULT_DEADLINE_S
from organseg_client.explanation import AsyncExplanation
from organseg_client.health import Health
from organseg_client.images import ImageInput
from organseg_client.open_image import AsyncOpenImage
from organseg_client.options import ConnectionOptions
from organseg_client.outcome import Outcome, SegmentRequest
from organseg_client.request import new_request_id
from organseg_client.result import SegmentationResult
from organseg_client.statistics import Statistics
from organseg_client.transport import AsyncTransport
from organseg_client.transports import AsyncGrpcTransport
from organseg_client.volume.plan import FailurePolicy, ScanInput, VolumeProgress
from organseg_client.volume.result import VolumeResult

__all__ = ["AsyncOrganSegClient"]


class AsyncOrganSegClient:
    """`OrganSegClient` with `await`, `async for` and `async with`: the same verbs and arguments.

    ```python
    async with AsyncOrganSegClient("localhost:8001") as client:
        result = await client.segment("slice.png", "Which organ stores bile?")
    ```

    One client belongs to one event loop; any number of its tasks may use it at once. Images are
    read and encoded on other threads. Where a task is cancelled, nothing more is sent for it; a
    request that is under way goes on to its end or its deadline, and its answer is dropped.
    """

    def __init__(
        self,
        url: str | Sequence[str] = DEFAULT_URL,
        *,
        deadline_s: float = DEFAULT_DEADLINE_S,
        options: ConnectionOptions | None = None,
        transport: AsyncTransport | Callable[[str], AsyncTransport] | None = None,
    ) -> None:
        options = options or ConnectionOptions()
        urls = addresses(url)
        self._session = Session(urls, deadline_s, options.retry)
        self._driver = AsyncDriver(
            transports(urls, transport, connecting(AsyncGrpcTransport, options))
        )

    async def __aenter__(self) -> AsyncOrganSegClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connections; a second call does nothing."""
        self._session.is_closed = True
        await self._driver.close()

    async def connect(self, deadline_s: float | None = None) -> None:
        """As `OrganSegClient.connect`."""
        await self._driver.run(segment.connect(self._session, deadline_s))

    async def segment(
        self,
        image: ImageInput,
        question: str | bytes,
        *,
        window: Sequence[float] | NDArray[Any] | None = None,
        slice_index: int | None = None,
        deadline_s: float | None = None,
        request_id: str | None = None,
    ) -> SegmentationResult:
        """As `OrganSegClient.segment`."""
        asked = SegmentRequest(image, question, window, slice_index, request_id)
        return await self._driver.run(segment.segment(self._session, asked, deadline_s))

    def open(
        self,
        image: ImageInput,
        *,
        window: Sequence[float] | NDArray[Any] | None = None,
        slice_index: int | None = None,
        deadline_s: float | None = None,
        request_id: str | None = None,
    ) -> AsyncOpenImage:
        """As `OrganSegClient.open`, for `async with`; sent when it is entered or awaited."""
        opening = partial(
            open_image, self._session, image, window, slice_index, deadline_s, request_id
        )
        return AsyncOpenImage(self._session, self._driver, opening)

    def segment_many(
        self,
        requests: Iterable[many.Asked] | AsyncIterable[many.Asked],
        *,
        concurrency: int = 8,
        deadline_s: float | None = None,
    ) -> AsyncIteration[Outcome]:
        """As `OrganSegClient.segment_many`, for `async for`; `requests` may be async as well.

        `aclose` of what it returns cancels what is under way.
        """
        return self._driver.iterate(
            many.segment_many(self._session, requests, concurrency, deadline_s)
        )

    async def segment_volume(
        self,
        scan: ScanInput,
        question: str | bytes,
        *,
        window: Sequence[float] | NDArray[Any] | None = None,
        concurrency: int = 4,
        deadline_s: float | None = None,
        progress: Callable[[VolumeProgress], None] | None = None,
        on_failure: FailurePolicy = FailurePolicy.FINISH,
    ) -> VolumeResult:
        """As `OrganSegClient.segment_volume`; `progress` is called on the event loop."""
        return await self._driver.run(
            volume.segment_volume(
                self._session,
                scan,
                question,
                window,
                concurrency,
                deadline_s,
                progress,
                on_failure,
            )
        )

    def explain(
        self,
        image: ImageInput,
        question: str | bytes,
        *,
        result: SegmentationResult | None = None,
        max_tokens: int | None = None,
        window: Sequence[float] | NDArray[Any] | None = None,
        slice_index: int | None = None,
        deadline_s: float | None = None,
        request_id: str | None = None,
    ) -> AsyncExplanation:
        """As `OrganSegClient.explain`, for `async with` and `async for`; begins when it is used."""
        identity = new_request_id(request_id)
        asked = SegmentRequest(image, question, window, slice_index, identity)
        steps = explain(self._session, asked, result, max_tokens, deadline_s)
        return AsyncExplanation(self._driver.iterate(steps), identity)

    async def capabilities(self, deadline_s: float | None = None) -> Capabilities:
        """As `OrganSegClient.capabilities`."""
        return await self._driver.run(capabilities(self._session, deadline_s))

    async def health(self, deadline_s: float | None = None) -> Health:
        """As `OrganSegClient.health`."""
        return await self._driver.run(every_server.health(self._session, deadline_s))

    async def statistics(self, deadline_s: float | None = None) -> Statistics:
        """As `OrganSegClient.statistics`."""
        return await self._driver.run(every_server.statistics(self._session, deadline_s))
