"""An answer in words as it comes: the text's pieces, the result it explains, and a way to stop."""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import Any

from organseg.contract import Finish
from organseg.errors import InvalidInputError
from organseg_client.core.drive import Iteration
from organseg_client.core.drive_aio import AsyncIteration
from organseg_client.core.explain import Piece
from organseg_client.result import SegmentationResult

__all__ = ["AsyncExplanation", "Explanation"]


class _Written:
    """What has been read of an explanation so far."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        """The id under which the server's logs know the request."""
        self._pieces: list[str] = []
        self._finish: Finish | None = None
        self._result: SegmentationResult | None = None

    @property
    def text(self) -> str:
        """The text so far: letter line, explanation, segmentation line."""
        return "".join(self._pieces)

    @property
    def finish(self) -> Finish | None:
        """Why the words ended; None until the last piece was read, or where it was stopped."""
        return self._finish

    @property
    def result(self) -> SegmentationResult:
        """The answer that is explained: the text says no other verdict.

        Raises `InvalidInputError` before an `AsyncExplanation` was awaited, entered or read.
        """
        if self._result is None:
            raise InvalidInputError(
                "wanted an explanation that has begun, this one has not; await it, enter it with "
                "`async with`, or read its first piece"
            )
        return self._result

    def _take(self, piece: Piece) -> str:
        self._pieces.append(piece.text)
        self._finish = piece.finish
        return piece.text


class Explanation(_Written):
    """An iterator of text pieces, as the server writes them.

    ```python
    with client.explain("slice.png", "Which organ stores bile?") as explanation:
        for piece in explanation:
            print(piece, end="", flush=True)
    print(explanation.result.verdict.value)
    ```

    `close`, or the end of the `with` block, stops the server's writing; another thread may do it.
    """

    def __init__(self, steps: Iteration[Any], request_id: str) -> None:
        """Waits for the result that is explained; raises what `segment` does."""
        super().__init__(request_id)
        self._steps = steps
        self._result = next(steps)

    def __iter__(self) -> Explanation:
        return self

    def __next__(self) -> str:
        return self._take(next(self._steps))

    def __enter__(self) -> Explanation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stops the writing; a second call, or one behind the end, does nothing."""
        self._steps.close()


class AsyncExplanation(_Written):
    """As `Explanation`, for `async for` and `async with`.

    Asks for nothing until it is awaited, entered or read; then `result` is there.
    """

    def __init__(self, steps: AsyncIteration[Any], request_id: str) -> None:
        super().__init__(request_id)
        self._steps = steps

    def __await__(self) -> Generator[Any, None, AsyncExplanation]:
        return self._begun().__await__()

    def __aiter__(self) -> AsyncExplanation:
        return self

    async def __anext__(self) -> str:
        await self._begun()
        return self._take(await anext(self._steps))

    async def __aenter__(self) -> AsyncExplanation:
        return await self._begun()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stops the writing; a second call, or one behind the end, does nothing."""
        await self._steps.aclose()

    async def _begun(self) -> AsyncExplanation:
        if self._result is None:
            self._result = await anext(self._steps)
        return self
