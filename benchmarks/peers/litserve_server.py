"""LitServe with dynamic batching around the torch modules.

A request that cannot be used fails alone: within a batch its error takes its place, and becomes
its reply. LitServe would answer the whole batch with an exception that is raised.
"""

# No `from __future__ import annotations`: LitServe reads the annotations of its hooks.

from collections.abc import Sequence

import litserve  # type: ignore[import-untyped]
import torch
from fastapi import Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import FormData

from benchmarks.load.http_target import PATH
from benchmarks.peers.readiness import tell_ready
from benchmarks.peers.reply import HEALTH_PATH, IMAGE_FIELD, QUESTION_FIELD, write_reply
from benchmarks.peers.settings import PeerOrder
from benchmarks.peers.torch_flow import answer_batch
from benchmarks.peers.weights import load_reference, release_preset
from organseg.errors import InvalidInputError
from organseg.imaging.postprocess import Answer
from organseg.imaging.preprocess import PreparedRequest, prepare

Prepared = PreparedRequest | InvalidInputError
Answered = Answer | InvalidInputError

_PATIENCE_S = 600.0


class OrganSegApi(litserve.LitAPI):  # type: ignore[misc]
    """The hooks of LitServe, called in its worker processes."""

    def setup(self, device: str) -> None:
        """Loads the weights."""
        order = PeerOrder.from_environment()
        if order.settings.threads:
            torch.set_num_threads(order.settings.threads)
        self._preset = release_preset(order.release)
        self._reference = load_reference(order.release, order.checkpoint)
        tell_ready()

    def decode_request(self, request: Request) -> Prepared:
        """A form to a prepared request, or to what is wrong with it."""
        # LitServe hands the form over, not the request.
        form = request
        assert isinstance(form, FormData)
        image, question = form.get(IMAGE_FIELD), form.get(QUESTION_FIELD)
        if image is None or isinstance(image, str) or not isinstance(question, str):
            return InvalidInputError(
                f"wanted a form with the file {IMAGE_FIELD!r} and the text {QUESTION_FIELD!r}, "
                "got another: send both"
            )
        try:
            return prepare(image.file.read(), question.encode(), None, self._preset)
        except InvalidInputError as error:
            return error

    def batch(self, inputs: list[Prepared]) -> list[Prepared]:
        """The requests as they are: they are stacked where they are computed."""
        return inputs

    def predict(self, x: Prepared | list[Prepared]) -> Answered | list[Answered]:
        """One request, or all of a batch."""
        return self._answered(x) if isinstance(x, list) else self._answered([x])[0]

    def unbatch(self, output: list[Answered]) -> list[Answered]:
        """The answers as they are."""
        return output

    def encode_response(self, output: Answered) -> Response:
        """The reply to one request."""
        if isinstance(output, InvalidInputError):
            text = f"{type(output).__name__}: {output}"
            return JSONResponse({"detail": text}, status_code=400)
        return Response(write_reply(output), media_type="application/json")

    def _answered(self, requests: Sequence[Prepared]) -> list[Answered]:
        good = [request for request in requests if isinstance(request, PreparedRequest)]
        answers = iter(answer_batch(self._reference, good) if good else [])
        return [
            next(answers) if isinstance(request, PreparedRequest) else request
            for request in requests
        ]


def serve(order: PeerOrder) -> None:
    """Serves until it is told to stop; writes no client file and opens no page."""
    settings = order.settings
    api = OrganSegApi(
        max_batch_size=settings.batch, batch_timeout=settings.batch_timeout_s, api_path=PATH
    )
    server = litserve.LitServer(
        api,
        accelerator="cpu",
        devices=1,
        workers_per_device=settings.workers,
        timeout=_PATIENCE_S,
        healthcheck_path=HEALTH_PATH,
        disable_openapi_url=True,
    )
    server.run(
        host="127.0.0.1",
        port=order.port,
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
