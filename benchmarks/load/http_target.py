"""Asks a peer by HTTP: POST /segment with a multipart form, as `requests` or a browser would.

The answer is JSON with verdicts, boxes, and masks as PNG in base64. All of it is decoded, masks
to arrays: what the other targets' client has in hand when its call returns.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import secrets
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.workload import Question
from organseg.errors import (
    DeadlineExceededError,
    InvalidInputError,
    OrganSegError,
    ServerBusyError,
    ServerFaultError,
    ServerUnreachableError,
)

PATH = "/segment"
_BUSY = (429, 503)


class HttpTarget:
    """One kept-alive connection to a peer; raises `ServerUnreachableError` where nobody answers."""

    def __init__(self, address: str, deadline_s: float) -> None:
        self._address = address
        host, _, port = address.rpartition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=deadline_s)
        self._boundary = secrets.token_hex(16)
        try:
            self._connection.connect()
        except OSError as error:
            raise self._unreachable(error) from None

    def ask(self, question: Question) -> None:
        """Sends one image and question and decodes the whole answer."""
        headers = {"Content-Type": f"multipart/form-data; boundary={self._boundary}"}
        try:
            self._connection.request("POST", PATH, form(question, self._boundary), headers)
            response = self._connection.getresponse()
            body = response.read()
        except TimeoutError:
            self._connection.close()
            raise DeadlineExceededError(
                f"wanted an answer within {self._connection.timeout:g} s, none came: ask less "
                "at once, or allow more time"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            # The next request opens another connection.
            self._connection.close()
            raise self._unreachable(error) from None
        if response.status != http.HTTPStatus.OK:
            raise _error_of(response.status)
        decode(body)

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def _unreachable(self, error: Exception) -> ServerUnreachableError:
        return ServerUnreachableError(
            f"wanted a connection to {self._address}, got {type(error).__name__}: look whether "
            "the server runs"
        )


def form(question: Question, boundary: str) -> bytes:
    """Image and question as the body of a multipart form with the parts `image` and `question`."""
    return b"".join(
        (
            f'--{boundary}\r\nContent-Disposition: form-data; name="question"\r\n\r\n'.encode(),
            question.text.encode(),
            f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="image"; '
            'filename="image"\r\nContent-Type: application/octet-stream\r\n\r\n'.encode(),
            question.image,
            f"\r\n--{boundary}--\r\n".encode(),
        )
    )


def decode(body: bytes) -> tuple[dict[str, Any], list[np.ndarray[Any, Any]]]:
    """The answer's document and its `masks` as arrays; raises `ServerFaultError` for another."""
    try:
        document = json.loads(body)
        return document, [
            np.asarray(Image.open(io.BytesIO(base64.b64decode(mask)))) for mask in document["masks"]
        ]
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise ServerFaultError(
            f"wanted JSON with `masks` as PNG in base64, got another answer "
            f"({type(error).__name__}): look at the peer's log"
        ) from None


def _error_of(status: int) -> OrganSegError:
    said = f"wanted an answer, the server says {status}"
    if status in _BUSY:
        return ServerBusyError(f"{said}: ask again later")
    if http.HTTPStatus.BAD_REQUEST <= status < http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return InvalidInputError(f"{said}: look at image and question")
    return ServerFaultError(f"{said}: look at its log")
