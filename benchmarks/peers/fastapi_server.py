"""FastAPI and uvicorn around a flow: a sync endpoint in the thread pool, the model behind a gate.

`at_once` is how many requests compute side by side; the others wait in their threads. Reading the
form, decoding the image and writing the reply are outside the gate.
"""

from __future__ import annotations

import threading
from typing import Annotated, Any, Protocol

import torch
import uvicorn
from fastapi import FastAPI, File, Form, UploadFile
from fastapi.requests import Request
from fastapi.responses import JSONResponse, Response

from benchmarks.load.http_target import PATH
from benchmarks.peers.readiness import tell_ready
from benchmarks.peers.reply import HEALTH_PATH, write_reply
from benchmarks.peers.settings import Peer, PeerOrder
from organseg.errors import InvalidInputError
from organseg.imaging.postprocess import Answer


class Flow(Protocol):
    """What answers a request, in two steps."""

    def prepare(self, image: bytes, question: bytes) -> Any:
        """Checks and decodes; raises `InvalidInputError`."""
        ...

    def answer(self, prepared: Any) -> Answer:
        """Runs the networks."""
        ...


def make_app(flow: Flow, at_once: int) -> FastAPI:
    """The application around one flow."""
    app = FastAPI(openapi_url=None)
    gate = threading.BoundedSemaphore(at_once)

    @app.post(PATH)
    def segment(image: Annotated[UploadFile, File()], question: Annotated[str, Form()]) -> Response:
        prepared = flow.prepare(image.file.read(), question.encode())
        with gate:
            answer = flow.answer(prepared)
        return Response(write_reply(answer), media_type="application/json")

    @app.get(HEALTH_PATH)
    async def health() -> dict[str, str]:
        return {"status": "ready"}

    @app.exception_handler(InvalidInputError)
    async def refuse(_: Request, error: InvalidInputError) -> JSONResponse:
        return JSONResponse({"detail": f"{type(error).__name__}: {error}"}, status_code=400)

    return app


def app_from_environment() -> FastAPI:
    """The application of the order that this process was started with; called once a worker."""
    order = PeerOrder.from_environment()
    app = make_app(_load(order), order.settings.at_once)
    tell_ready()
    return app


def serve(order: PeerOrder) -> None:
    """Serves until it is told to stop."""
    uvicorn.run(
        f"{__name__}:{app_from_environment.__name__}",
        factory=True,
        host="127.0.0.1",
        port=order.port,
        workers=order.settings.workers,
        log_level="warning",
        access_log=False,
    )


def _load(order: PeerOrder) -> Flow:
    if order.peer is Peer.FASTAPI_GRAPHS:
        from benchmarks.peers.graph_flow import GraphFlow

        return GraphFlow(order.release, order.settings.threads)
    from benchmarks.peers.torch_flow import TorchFlow
    from benchmarks.peers.weights import load_reference

    if order.settings.threads:
        torch.set_num_threads(order.settings.threads)
    return TorchFlow(load_reference(order.release, order.checkpoint))
