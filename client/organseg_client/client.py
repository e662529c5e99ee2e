"""The synchronous client: signatures over the verbs in `core`, carried out by blocking calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from organseg_client.capabilities import Capabilities
from organseg_client.core import every_server, many, segment, volume
from organseg_client.core.addresses import DEFAULT_URL, addresses, connecting, transports
from organseg_client.core.capabilities import capabilities
from organseg_client.core.drive import Driver, Iteration
from organseg_client.core.explain import explain
from organseg_client.core.open_image import open_image
from organseg_client.core.session import Session
from organseg_client.deadline import DEFAULT_DEADLINE_S
from organseg_client.explanation import Explanation
from organseg_client.health import Health
from organseg_client.images import ImageInput
from organseg_client.open_image import OpenImage
from organseg_client.options import ConnectionOptions
from organseg_client.outcome import Outcome, SegmentRequest
from organseg_client.request import new_request_id
from organseg_client.result import SegmentationResult
from organseg_client.statistics import Statistics
from organseg_client.transport import Transport
from organseg_client.transports import GrpcTransport
from organseg_client.volume.plan import FailurePolicy, ScanInput, VolumeProgress
from organseg_client.volume.result import VolumeResult

__all__ = ["DEFAULT_URL", "OrganSegClient"]


class OrganSegClient:
    """Asks Organ-Seg servers questions about images.

    ```python
    with OrganSegClient("localhost:8001") as client:
        result = client.segment("slice.png", "Which organ stores bile?")
        print(result.verdict.value, [organ.name for organ in result.organs])
        result.overlay().save("overlay.png")
    ```

    Args:
        url: `HOST:PORT` of a server's gRPC service, or several of them. Of several, the least
            busy that is believed to be well is asked; one that fails rests, and is asked again.
        deadline_s: seconds that a call may take in all, where the call names no other.
        options: retries, encryption, key and shared memory.
        transport: what carries the calls, or a function that makes one from an address; the
            default speaks gRPC. With a transport of your own, code that uses this client is tested
            without a server.

    One client may be used by several threads at once. Every error is an `OrganSegError`. Calls
    that fail for now are retried (`RetryPolicy`), always within the deadline.
    """

    def __init__(
        self,
        url: str | Sequence[str] = DEFAULT_URL,
        *,
        deadline_s: float = DEFAULT_DEADLINE_S,
        options: ConnectionOptions | None = None,
        transport: Transport | Callable[[str], Transport] | None = None,
    ) -> None:
        options = options or ConnectionOptions()
        urls = addresses(url)
        self._session = Session(urls, deadline_s, options.retry)
        self._driver = Driver(transports(urls, transport, connecting(GrpcTransport, options)))

    def __enter__(self) -> OrganSegClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections; a second call does nothing."""
        self._session.is_closed = True
        self._driver.close()

    def connect(self, deadline_s: float | None = None) -> None:
        """Makes sure that a server is there, is ready, and speaks this client's contract.

        The other verbs do so for each server on first use; call it to find out earlier. A server
        is asked once, and again after its connection has failed.

        Raises:
            ServerUnreachableError: nothing answers at the address.
            ServerBusyError: the server is there, its model `organ_seg` is not (yet) ready.
            ContractError: the server speaks another version of the contract.
        """
        self._driver.run(segment.connect(self._session, deadline_s))

    def segment(
        self,
        image: ImageInput,
        question: str | bytes,
        *,
        window: Sequence[float] | NDArray[Any] | None = None,
        slice_index: int | None = None,
        deadline_s: float | None = None,
        request_id: str | None = None,
    ) -> SegmentationResult:
        """The organs that a question asks for, with a verdict, a mask and a box each.

        Args:
            image: the path of a PNG, JPEG, single-frame DICOM or `.npy` file or its bytes; a
                PIL image; an array [H, W] (uint8 are display grey levels, other numbers HU or
                signal); or the path of a NIfTI file or a DICOM folder, with `slice_index`.
            question: one sentence in plain words; bytes are UTF-8.
            window: (low, high) of the intensities that become black and white, in the image's
                own values; None for CT's abdominal window or one from the image.
            slice_index: which axial slice of a volume, 0 at the feet. Masks and boxes are then
                in that slice's display frame.
            deadline_s: seconds that the call may take in all; None for the client's.
            request_id: the id for the server's logs; None for a random one.

        Raises:
            ImageError, QuestionError, WindowError: the input cannot be used.
            ServerUnreachableError, ServerBusyError, DeadlineExceededError: no answer for now.
            AuthenticationError, ContractError, ServerFaultError: no answer until someone
                changes client or server.
        """
        asked = SegmentRequest(image, question, window, slice_index, request_id)
        return self._driver.run(segment.segment(self._session, asked, deadline_s))

    def open(
        self,
        image: ImageInput,
        *,
        window: Sequence[float] | NDArray[Any] | None = None,
        slice_index: int | None = None,
        deadline_s: float | None = None,
        request_id: str | None = None,
    ) -> OpenImage:
        """An image that is open for questions: it is sent and encoded now, and they travel alone.

        ```python
        with client.open("slice.png") as scan:
            print(scan.ask("Which organ stores bile?").reason)
            print(scan.ask("Where is the liver?").reason)
        ```

        It sticks to the server that keeps it. Where that one has lost it, or fails, the image is
        sent again, there or to another. A server whose release keeps no images gets it with each
        question (`image_sent` says so); its answers are the same.

        Args:
            image: as `segment` takes it.
            window: the same.
            slice_index: the same.
            deadline_s: seconds until it is open; None for the client's.
            request_id: the id for the server's logs; None for a random one.

        Raises the errors of `segment` but for those of a question.
        """
        opened = self._driver.run(
            open_image(self._session, image, window, slice_index, deadline_s, request_id)
        )
        return OpenImage(self._session, self._driver, opened)

    def segment_many(
        self,
        requests: Iterable[many.Asked],
        *,
        concurrency: int = 8,
        deadline_s: float | None = None,
    ) -> Iteration[Outcome]:
        """What came of each of many requests, in their order; errors are kept apart.

        ```python
        questions = ((path, "Where is the liver?") for path in paths)
        for outcome in client.segment_many(questions):
            print(outcome.index, outcome.error or outcome.result.verdict.value)
        ```

        Args:
            requests: `SegmentRequest`s or pairs of image and question. They are taken when there
                is room for them, so they may be more than fit the memory.
            concurrency: how many are taken at most whose outcome was not yet given; at least 1.
            deadline_s: seconds for each of them, from its start; None for the client's.

        Returns:
            An iterator of `Outcome`s; `close` cancels what is under way. An error of `requests`
            itself is raised behind the outcomes of what came before it.
        """
        return self._driver.iterate(
            many.segment_many(self._session, requests, concurrency, deadline_s)
        )

    def segment_volume(
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
        """One question about every slice of a scan: label map, organ volumes, verdicts.

        ```python
        with client.segment_volume("ct.nii.gz", "Where is the liver?") as result:
            print(result.reason, [(organ.name, organ.volume_ml) for organ in result.organs])
            result.write_nifti("liver.nii.gz")
        ```

        Slices are read when they are sent, and masks are kept on the disk: memory does not grow
        with the scan.

        Args:
            scan: the path of a NIfTI file or of a folder with one DICOM series, or an open scan.
            question: one sentence in plain words, asked of each slice.
            window: (low, high) of the intensities that become black and white in all slices;
                None for CT's abdominal window or one from the whole scan.
            concurrency: how many slices are under way at once, at least 1.
            deadline_s: seconds for each slice, from its start; None for the client's.
            progress: is called after each slice.
            on_failure: whether slices that get no answer are listed in the result, or the first
                one's error is raised. What would meet all slices (credentials, contract,
                question, no server at all) is raised in any case.

        Raises:
            ImageError, QuestionError, WindowError: the input cannot be used.
            ServerUnreachableError, AuthenticationError, ContractError: no slice can be answered.
            OrganSegError: the first slice's error where none has an answer.
        """
        return self._driver.run(
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
    ) -> Explanation:
        """The answer in words, in the paper's format, piece by piece as the server writes it.

        Letter and segmentation lines are those of the result; only the explanation between them
        is the language model's, which goes on from a sentence that states the verdict.

        Args:
            image: as `segment` takes it; not read where a result is given, which holds its own.
            question: as `segment` takes it.
            result: what `segment` answered to this question; None to ask it first.
            max_tokens: most tokens that the model may write; None for the server's default.
            window: as `segment` takes it; of no meaning where a result is given.
            slice_index: the same.
            deadline_s: seconds for all of it, `segment` included; None for the client's.
            request_id: the id for the server's logs; None for a random one.

        Raises:
            NotServedError: while it is read, where the server's release leaves explanations out.
            the errors of `segment`: at once where `segment` is asked first.
        """
        identity = new_request_id(request_id)
        asked = SegmentRequest(image, question, window, slice_index, identity)
        steps = explain(self._session, asked, result, max_tokens, deadline_s)
        return Explanation(self._driver.iterate(steps), identity)

    def capabilities(self, deadline_s: float | None = None) -> Capabilities:
        """What can be asked, and which release of what, under which terms, answers.

        Raises the errors of `connect`.
        """
        return self._driver.run(capabilities(self._session, deadline_s))

    def health(self, deadline_s: float | None = None) -> Health:
        """What each server does with a small real question; never raises for a server's sake.

        A server whose stage has died still reports that it is ready: only a question finds out.
        """
        return self._driver.run(every_server.health(self._session, deadline_s))

    def statistics(self, deadline_s: float | None = None) -> Statistics:
        """What the models of each server have done since they were loaded.

        A server that does not say has its error in its entry; where none says, the first one's
        is raised.
        """
        return self._driver.run(every_server.statistics(self._session, deadline_s))
