"""The gRPC transport against a gRPC service in this process, and against a closed port."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import numpy as np
import pytest
from both_transports import KINDS, opened
from client_fakes import BOTH_KIDNEYS, RECEIVED, outputs_of
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import serialize_byte_tensor

from organseg import errors
from organseg.contract import CONTRACT_PARAMETER, CONTRACT_VERSION, ENSEMBLE_NAME, Verdict
from organseg_client import ApiKey, GrpcTransport, InferenceRequest, OrganSegClient, SharedMemory
from organseg_client.transports.programs import Program, Send, infer
from organseg_client.transports.shared_memory import Regions, Thresholds

QUESTION = "Show me both kidneys."


class Service(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Triton's protocol with canned answers, as large and as late as a test wants them."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.headers: list[dict[str, Any]] = []
        self.size_hw = (40, 60)
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self.is_ready = True
        self.answers_never = False
        self.let_go = threading.Event()

    def ModelReady(self, request: Any, context: grpc.ServicerContext) -> Any:
        return pb.ModelReadyResponse(ready=self.is_ready)

    def ModelConfig(self, request: Any, context: grpc.ServicerContext) -> Any:
        response = pb.ModelConfigResponse()
        response.config.name = request.name
        response.config.parameters[CONTRACT_PARAMETER].string_value = CONTRACT_VERSION
        return response

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests.append(request)
        self.headers.append(dict(context.invocation_metadata()))
        if self.answers_never:
            self.let_go.wait(timeout=30)
        if self.refusal is not None:
            context.abort(*self.refusal)
        response = pb.ModelInferResponse(model_name=request.model_name, id=request.id)
        for name, array in outputs_of(BOTH_KIDNEYS, self.size_hw).items():
            response.outputs.add(
                name=name, datatype=RECEIVED[name].dtype.value, shape=list(array.shape)
            )
            is_text = array.dtype == np.object_
            content = serialize_byte_tensor(array).item() if is_text else array.tobytes()
            response.raw_output_contents.append(content)
        return response


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.let_go.set()


@pytest.fixture
def url(service: Service) -> Iterator[str]:
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(4), options=unlimited)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    service.let_go.set()
    server.stop(grace=None).wait(timeout=10)


def test_a_request_arrives_as_it_was_built_and_the_answer_as_it_was_sent(
    service: Service, url: str
) -> None:
    image = np.zeros(service.size_hw, dtype=np.int16)
    with OrganSegClient(url) as client:
        result = client.segment(
            image, QUESTION, window=(-160, 240), deadline_s=20, request_id="case 7"
        )
    (request,) = service.requests
    assert (request.model_name, request.id) == (ENSEMBLE_NAME, "case 7")
    sent = {entry.name: (entry.datatype, list(entry.shape)) for entry in request.inputs}
    assert sent == {
        "IMAGE": ("BYTES", [1, 1]),
        "QUERY": ("BYTES", [1, 1]),
        "WINDOW": ("FP32", [1, 2]),
    }
    contents = dict(zip(sent, request.raw_input_contents, strict=True))
    assert contents["QUERY"] == len(QUESTION).to_bytes(4, "little") + QUESTION.encode()
    assert contents["IMAGE"][4:].startswith(b"\x93NUMPY")
    assert contents["WINDOW"] == np.float32([-160, 240]).tobytes()
    assert [entry.name for entry in request.outputs] == list(RECEIVED)
    assert request.parameters[CONTRACT_PARAMETER].string_param == CONTRACT_VERSION
    assert 19e6 < request.parameters["timeout"].int64_param <= 20e6

    expected = outputs_of(BOTH_KIDNEYS, service.size_hw)
    np.testing.assert_array_equal(result.masks, expected["MASKS"][0])
    np.testing.assert_array_equal(result.boxes, expected["BOXES"][0])
    assert [one.verdict for one in result.organs] == [Verdict.SEGMENTED] * 2


def request_with(headers: dict[str, str]) -> InferenceRequest:
    inputs = {"QUERY": np.array([[QUESTION.encode()]], dtype=object)}
    return InferenceRequest(ENSEMBLE_NAME, inputs, tuple(RECEIVED), {}, "7", 20, {}, headers)


@pytest.mark.parametrize("kind", KINDS)
def test_a_requests_own_headers_go_with_it_alone_beside_the_key(
    kind: str, service: Service, url: str
) -> None:
    with opened(kind, url, api_key=ApiKey("k3y", "x-key")) as transport:
        transport.infer(request_with({"organ-seg-session": "handle"}))
        transport.infer(request_with({}))
    first, second = service.headers
    assert (first["x-key"], first["organ-seg-session"]) == ("k3y", "handle")
    assert second["x-key"] == "k3y"
    assert "organ-seg-session" not in second


def sent_by(program: Program[Any]) -> Send:
    """What a program sends to have a model run; it is answered nothing before."""
    step = next(program)
    while not (isinstance(step, Send) and step.method == "ModelInfer"):
        step = program.send(None)
    program.close()
    return step


def test_a_requests_own_headers_go_with_it_through_shared_memory_too() -> None:
    request = request_with({"organ-seg-session": "handle"})
    thresholds = Thresholds(input_bytes=1)
    regions = Regions(SharedMemory.REQUIRED, is_loopback=True, thresholds=thresholds)
    for program in (infer(request, 20), regions.infer(request)):
        send = sent_by(program)
        assert send.metadata == (("organ-seg-session", "handle"),)
        assert "handle" not in repr(send) + repr(request)


def test_masks_larger_than_grpcs_own_limit_of_4_mb_arrive(service: Service, url: str) -> None:
    service.size_hw = (2048, 2048)
    with OrganSegClient(url) as client:
        result = client.segment(np.zeros(service.size_hw, dtype=np.uint8), QUESTION)
    assert result.masks.nbytes == 2 * 2048 * 2048


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        ("INVALID_ARGUMENT", "ImageError: wanted a PNG, came none; send one", errors.ImageError),
        ("INVALID_ARGUMENT", "in ensemble 'organ_seg', QuestionError: no", errors.QuestionError),
        ("UNAVAILABLE", "Request timeout expired", errors.ServerBusyError),
        ("INTERNAL", "Stub process 'gate_0_0' is not healthy.", errors.StageDeadError),
        ("NOT_FOUND", "Request for unknown model: 'x' is not found", errors.ServerFaultError),
        ("NOT_FOUND", "SessionLostError: wanted it known; send it", errors.SessionLostError),
        ("UNAUTHENTICATED", "no", errors.AuthenticationError),
        ("UNAVAILABLE", "Socket closed", errors.ServerUnreachableError),
    ],
)
def test_a_refusal_of_the_server_becomes_an_error_of_ours(
    status: str, message: str, kind: type[Exception], service: Service, url: str
) -> None:
    service.refusal = (grpc.StatusCode[status], message)
    with OrganSegClient(url) as client, pytest.raises(errors.OrganSegError) as caught:
        client.segment(np.zeros((40, 60), dtype=np.uint8), QUESTION)
    assert type(caught.value) is kind


def test_a_client_outlives_a_refusal(service: Service, url: str) -> None:
    image = np.zeros(service.size_hw, dtype=np.uint8)
    with OrganSegClient(url) as client:
        service.refusal = (grpc.StatusCode.INVALID_ARGUMENT, "ImageError: no")
        with pytest.raises(errors.ImageError):
            client.segment(image, QUESTION)
        service.refusal = None
        assert client.segment(image, QUESTION).verdict is Verdict.SEGMENTED


def test_a_server_that_never_answers_is_given_up_at_the_deadline(
    service: Service, url: str
) -> None:
    service.answers_never = True
    with OrganSegClient(url) as client:
        client.connect()
        started_s = time.monotonic()
        with pytest.raises(errors.DeadlineExceededError, match="within the deadline"):
            client.segment(np.zeros((40, 60), dtype=np.uint8), QUESTION, deadline_s=0.2)
        # The service would hold the call for 30 s.
        assert time.monotonic() - started_s < 10


def test_a_model_that_is_not_loaded_is_not_ready(service: Service, url: str) -> None:
    service.is_ready = False
    with OrganSegClient(url) as client, pytest.raises(errors.ServerBusyError, match="ready"):
        client.connect()


def test_nothing_listens_at_a_closed_port_and_the_error_says_what_to_check() -> None:
    with socket.socket() as reserved:
        # Bound but not listening: nobody else can take the port, and connections are refused.
        reserved.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        with (
            OrganSegClient(address, deadline_s=10) as client,
            pytest.raises(errors.ServerUnreachableError, match=r"8001 by default, 8000 is HTTP"),
        ):
            client.segment(np.zeros((40, 60), dtype=np.uint8), QUESTION)


def test_a_closed_transport_says_so_and_closes_twice_without_complaint(url: str) -> None:
    transport = GrpcTransport(url)
    assert transport.is_ready(ENSEMBLE_NAME, deadline_s=10)
    transport.close()
    transport.close()
    with pytest.raises(errors.ServerUnreachableError, match="was closed"):
        transport.is_ready(ENSEMBLE_NAME, deadline_s=10)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "localhost:",
        ":8001",
        "localhost:http",
        "localhost:0",
        "localhost:65536",
        "http://localhost:8000",
        "grpc://localhost:8001",
        "local host:8001",
        "localhost:8001/v2",
    ],
)
def test_an_address_that_is_not_host_and_port_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(errors.InvalidInputError, match=r"HOST:PORT, .* localhost:8001"):
        GrpcTransport(url)


@pytest.mark.parametrize("url", ["localhost:8001", "10.0.0.7:1", "[::1]:8001", "gpu-1.lab:65535"])
def test_an_address_is_taken_without_a_connection(url: str) -> None:
    GrpcTransport(url).close()
