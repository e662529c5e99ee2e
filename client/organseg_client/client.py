"""The synchronous client: one image and one question in, the answer out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from organseg.contract import CONTRACT_PARAMETER, CONTRACT_VERSION, ENSEMBLE_NAME
from organseg.errors import (
    ContractError,
    DeadlineExceededError,
    ServerBusyError,
    ServerUnreachableError,
)
from organseg_client.deadline import DEFAULT_DEADLINE_S, Deadline
from organseg_client.grpc_transport import GrpcTransport
from organseg_client.images import ImageInput, encode_image
from organseg_client.request import build_request, encode_question, new_request_id
from organseg_client.response import read_response
from organseg_client.result import SegmentationResult
from organseg_client.transport import Transport

__all__ = ["DEFAULT_URL", "OrganSegClient"]

DEFAULT_URL = "localhost:8001"
"""Where `make serve` listens for gRPC."""


class OrganSegClient:
    """Asks an Organ-Seg server questions about images.

    ```python
    with OrganSegClient("localhost:8001") as client:
        result = client.segment("slice.png", "Which organ stores bile?")
        print(result.verdict.value, [organ.name for organ in result.organs])
        result.overlay().save("overlay.png")
    ```

    Args:
        url: `HOST:PORT` of the server's gRPC service.
        deadline_s: seconds that a call may take in all, where the call names no other.
        transport: what carries the calls; the default speaks gRPC to `url`. With a transport
            of your own, code that uses this client is tested without a server.

    One client may be used by several threads at once. Every error is an `OrganSegError`.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        deadline_s: float = DEFAULT_DEADLINE_S,
        transport: Transport | None = None,
    ) -> None:
        Deadline(deadline_s)
        self._deadline_s = deadline_s
        self._transport: Transport = GrpcTransport(url) if transport is None else transport
        self._connecting = threading.Lock()
        self._is_connected = False
        self._is_closed = False

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
        """Ends the connection; a second call does nothing."""
        self._is_closed = True
        self._transport.close()

    def connect(self, deadline_s: float | None = None) -> None:
        """Makes sure that the server is there, is ready, and speaks this client's contract.

        `segment` does so on first use; call it to find out earlier. It asks the server once: a
        server that is replaced later refuses the requests themselves.

        Raises:
            ServerUnreachableError: nothing answers at the address.
            ServerBusyError: the server is there, its model `organ_seg` is not (yet) ready.
            ContractError: the server speaks another version of the contract.
        """
        self._connect(self._deadline(deadline_s))

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
        deadline = self._deadline(deadline_s)
        identity = new_request_id(request_id)
        encoded_question = encode_question(question)
        encoded_image = encode_image(image, window, slice_index)
        self._connect(deadline)
        sent_at_s = deadline.elapsed_s
        request = build_request(
            encoded_image, encoded_question, deadline.remaining_s(), request_id=identity
        )
        response = self._transport.infer(request)
        return read_response(
            response,
            encoded_image,
            request_id=identity,
            seconds=deadline.elapsed_s - sent_at_s,
        )

    def _deadline(self, seconds: float | None) -> Deadline:
        return Deadline(self._deadline_s if seconds is None else seconds)

    def _connect(self, deadline: Deadline) -> None:
        if self._is_closed:
            raise ServerUnreachableError(
                "wanted an open client, this one was closed; make another OrganSegClient"
            )
        # Another thread may be connecting, with more time than this call has.
        if not self._connecting.acquire(timeout=deadline.remaining_s()):
            raise DeadlineExceededError(
                f"wanted an answer within {deadline.seconds:g} s, the time was up while another "
                "thread was connecting; give a longer deadline, or see whether the server answers"
            )
        try:
            if self._is_connected:
                return
            if not self._transport.is_ready(ENSEMBLE_NAME, deadline.remaining_s()):
                raise ServerBusyError(
                    f"wanted the model {ENSEMBLE_NAME!r} ready, the server has it not or not yet; "
                    "wait until it has loaded, and if it stays so, start the server with a "
                    "release of Organ-Seg"
                )
            config = self._transport.model_config(ENSEMBLE_NAME, deadline.remaining_s())
            served = config.parameters.get(CONTRACT_PARAMETER, "none")
            if served != CONTRACT_VERSION:
                raise ContractError(
                    f"wanted a server of contract version {CONTRACT_VERSION}, which this client "
                    f"speaks, got one of version {served}; install the client of the server's "
                    "release, or serve a release that was exported with this version of organseg"
                )
            self._is_connected = True
        finally:
            self._connecting.release()
