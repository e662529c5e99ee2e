"""A fake server that keeps images: `organ_seg_encode` and `organ_seg_ask` on a `FakeTransport`."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from client_fakes import Calls, FakeTransport
from scenarios import IMAGE

from organseg.contract import ASK_NAME, ENCODE_NAME
from organseg.errors import ServerFaultError, SessionLostError
from organseg_client import InferenceRequest, InferenceResponse

LIFETIME_S = 600.0
FIRST, SECOND = "server-0:8001", "server-1:8001"

_NUMBERS = itertools.count()


@dataclass
class KeepingTransport(FakeTransport):
    """Keeps every image until it forgets it, and answers about those that it keeps."""

    keeps: bool = True
    """Whether its release keeps images at all."""
    losses: int = 0
    """How many of the next questions find their image lost."""
    encoding_failure: BaseException | None = None
    """What each encoding comes to; None for a handle."""
    changed_encoding: dict[str, Any] = field(default_factory=dict)
    """Outputs of the encoding that are not as they should be; None for none."""
    kept: dict[bytes, InferenceRequest] = field(default_factory=dict)
    """What encoded each image, by its handle."""

    def is_ready(self, model_name: str, deadline_s: float) -> bool:
        is_ready = super().is_ready(model_name, deadline_s)
        return is_ready and (self.keeps or model_name not in (ENCODE_NAME, ASK_NAME))

    def respond(self, request: InferenceRequest) -> InferenceResponse:
        if request.model_name not in (ENCODE_NAME, ASK_NAME):
            return super().respond(request)
        if not self.keeps:
            raise ServerFaultError(f"wanted the model, got '{request.model_name}' is not found")
        if request.model_name == ENCODE_NAME:
            if self.encoding_failure is not None:
                raise self.encoding_failure
            handle = f"handle-{next(_NUMBERS)}".encode()
            self.kept[handle] = request
            outputs = {
                "HANDLE": np.array([[handle]], dtype=object),
                "LIFETIME_S": np.array([[LIFETIME_S]], dtype=np.float32),
            } | self.changed_encoding
            return InferenceResponse(
                {name: array for name, array in outputs.items() if array is not None},
                request.request_id,
            )
        handle = request.inputs["HANDLE"][0, 0]
        if self.losses:
            self.losses -= 1
            self.kept.pop(handle, None)
        if handle not in self.kept:
            raise SessionLostError("wanted a session that is known here, got none; send the image")
        return super().respond(replace(request, inputs=self.kept[handle].inputs))

    @property
    def asked(self) -> list[str]:
        """The models of the requests, in their order."""
        return [request.model_name for request in self.requests]


def opened(calls: Calls, **options: Any) -> Any:
    """The calls of an image that the client has opened."""
    return calls.on(calls.call("open", IMAGE, **options))
