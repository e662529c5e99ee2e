"""An image that is open for questions: a server keeps it, so that they travel alone."""

from __future__ import annotations

from collections.abc import Callable, Generator
from enum import Enum
from types import TracebackType

from organseg.errors import InvalidInputError
from organseg_client.core.drive import Driver
from organseg_client.core.drive_aio import AsyncDriver
from organseg_client.core.effects import Steps
from organseg_client.core.open_image import Opened, ask
from organseg_client.core.session import Session
from organseg_client.result import SegmentationResult

__all__ = ["AsyncOpenImage", "ImageSent", "OpenImage"]


class ImageSent(Enum):
    """How often an open image travels."""

    ONCE = "once"
    """A server keeps it: it is sent again only where it was lost, or to another server."""
    EACH_TIME = "each time"
    """The server's release keeps no images: it goes along with each question."""


class _Open:
    """What both kinds of open images say of themselves."""

    def __init__(self, opened: Opened | None) -> None:
        self._opened = opened

    @property
    def image_sent(self) -> ImageSent:
        """How often the image travels; the answers are the same."""
        return ImageSent.EACH_TIME if self._begun().kept is None else ImageSent.ONCE

    @property
    def times_encoded(self) -> int:
        """How often it was encoded to be kept: once, and again where it was lost or moved."""
        return self._begun().times_encoded

    @property
    def server(self) -> str | None:
        """The address of the server that keeps the image; None where none does."""
        kept = self._begun().kept
        return None if kept is None else kept.server.url

    @property
    def lifetime_s(self) -> float | None:
        """How long that server means to keep it, seconds; None where none does."""
        kept = self._begun().kept
        return None if kept is None else kept.lifetime_s

    def _begun(self) -> Opened:
        if self._opened is None:
            raise InvalidInputError(
                "wanted an image that is open, this one is not yet; await it, or enter it with "
                "`async with`"
            )
        return self._opened


class OpenImage(_Open):
    """An image that is open for questions.

    ```python
    with client.open("slice.png") as scan:
        for question in ("Which organ stores bile?", "Where is the liver?"):
            print(scan.ask(question).reason)
    ```

    Several threads may ask at once.
    """

    def __init__(self, session: Session, driver: Driver, opened: Opened) -> None:
        super().__init__(opened)
        self._session = session
        self._driver = driver

    def ask(
        self,
        question: str | bytes,
        *,
        deadline_s: float | None = None,
        request_id: str | None = None,
    ) -> SegmentationResult:
        """The organs that a question asks for, as `OrganSegClient.segment` answers it.

        Where the server has lost the image, it is sent again, once; where the server fails, it is
        sent to another.

        Args:
            question: one sentence in plain words; bytes are UTF-8.
            deadline_s: seconds that the call may take, encoding included; None for the client's.
            request_id: the id for the server's logs; None for a random one.

        Raises:
            SessionLostError: the server lost the image once more.
            InvalidInputError: the image was closed.
            the errors of `OrganSegClient.segment`.
        """
        return self._driver.run(ask(self._session, self._begun(), question, deadline_s, request_id))

    def __enter__(self) -> OpenImage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the image; the server does when its time is up. A second call does nothing."""
        self._begun().image = None


class AsyncOpenImage(_Open):
    """As `OpenImage`, for `async with`; many tasks may ask at once.

    Nothing is sent until it is awaited or entered.
    """

    def __init__(
        self, session: Session, driver: AsyncDriver, opening: Callable[[], Steps[Opened]]
    ) -> None:
        super().__init__(None)
        self._session = session
        self._driver = driver
        self._opening = opening

    async def ask(
        self,
        question: str | bytes,
        *,
        deadline_s: float | None = None,
        request_id: str | None = None,
    ) -> SegmentationResult:
        """As `OpenImage.ask`."""
        return await self._driver.run(
            ask(self._session, self._begun(), question, deadline_s, request_id)
        )

    def __await__(self) -> Generator[object, None, AsyncOpenImage]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncOpenImage:
        return await self._open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """As `OpenImage.close`."""
        if self._opened is not None:
            self._opened.image = None

    async def _open(self) -> AsyncOpenImage:
        if self._opened is None:
            self._opened = await self._driver.run(self._opening())
        return self
